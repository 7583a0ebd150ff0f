"""`pipeline mask` with other simulators, other profiles, other formats, and a disk that is full."""

import json
import subprocess
from pathlib import Path

import datasets
import numpy as np
import pytest
from makers import encode, noise, tone, write_corpus
from outputs import digests

from pipeline.audio import decode
from pipeline.corpus import open_corpus
from pipeline.masking.mask import StftSettings, apply_mask, gains, normalize
from pipeline.masking.profiles import HearingProfile, get_profile
from pipeline.masking.simulators import SIMULATORS, SimulationSettings, make_simulator

EARS = "name,ear,250,1000,4000\np9,left,20,25,70\np9,right,10,,15\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    clips = [tone(300, 0.4), noise(0.5), np.zeros(2_000, np.float32), noise(1 / 16_000)]
    return write_corpus(tmp_path / "speech", {"test": clips})


@pytest.mark.parametrize("name", SIMULATORS)
def test_each_simulator_is_what_the_option_names(command, root, name):
    given = ("--simulator", name, "--speech-level-db-spl", 70, "--profiles", "N2", "flat40")
    assert command("mask", "--input-dir", root, *given).status == 0
    profiles = (get_profile("N2"), get_profile("flat40"))
    settings = SimulationSettings(name, speech_level_db_spl=70.0)
    simulator = make_simulator(profiles, StftSettings(), settings)
    source = open_corpus(root)["test"]
    for row in range(len(source)):
        waveform = source.waveform(row)
        variants = simulator.simulate(waveform)
        expected = normalize(variants, "shared", float(np.abs(waveform).max()))
        for number, profile in enumerate(profiles):
            stored = open_corpus(f"{root}_{profile.name}")["test"].waveform(row)
            np.testing.assert_allclose(stored, expected.waveforms[number], atol=2**-23)


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("mask", {"simulator", "interpolation"}),
        ("audibility", {"simulator", "interpolation", "speech_level_db_spl", "threshold"}),
        ("cochlear", {"simulator", "interpolation", "speech_level_db_spl"}),
    ],
)
def test_settings_without_effect_are_not_part_of_the_configuration(command, root, name, recorded):
    command("mask", "--input-dir", root, "--simulator", name, "--profiles", "N1")
    config = json.loads(Path(f"{root}_N1/run.json").read_text())["config"]
    known = {"simulator", "interpolation", "speech_level_db_spl", "threshold"}
    assert config["simulator"] == name
    assert known & config.keys() == recorded
    assert command(
        *("mask", "--input-dir", root, "--simulator", name, "--profiles", "N1"),
        *("--speech-level-db-spl", 80),
    ).status == (0 if name == "mask" else 2)


def test_an_audiogram_file_gives_profiles_among_built_in_ones(command, root):
    ears = root.parent / "ears.csv"
    ears.write_text(EARS)
    assert command("mask", "--input-dir", root, "--profiles", "normal", ears, "flat25").status == 0
    waveform = open_corpus(root)["test"].waveform(1)
    left = HearingProfile("p9_left", (250.0, 1000.0, 4000.0), (20.0, 25.0, 70.0))
    expected = apply_mask(waveform, gains((left,), StftSettings()), StftSettings())
    row = open_corpus(f"{root}_p9_left")["test"].row(1)
    gain = 10 ** (row["output_gain_db"] / 20)
    stored = open_corpus(f"{root}_p9_left")["test"].waveform(1)
    np.testing.assert_allclose(stored, expected[0] * gain, atol=2**-23)
    assert row["profile"] == "p9_left"
    assert [Path(f"{root}_{name}").exists() for name in ("p9_right", "normal", "flat25")] == [
        True
    ] * 3


def test_one_ear_of_a_file(command, root):
    ears = root.parent / "ears.csv"
    ears.write_text(EARS)
    assert command("mask", "--input-dir", root, "--profiles", f"{ears}:p9_right").status == 0
    assert [path.name for path in root.parent.glob("speech_*")] == ["speech_p9_right"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--simulator", "magic"), "--simulator 'magic' is not one of: mask, audibility, cochlear"),
        (("--threshold", "wall"), "--threshold 'wall' is not one of: noise, gate"),
        (("--audio-format", "mp3"), "--audio-format 'mp3' is not one of: flac24, flac16, wav32"),
        (("--speech-level-db-spl", "5"), "--speech-level-db-spl 5 is not between 20 and 110; "),
        (("--simulator", "cochlear", "--sample-rate", "8000"), "the cochlear simulator works at "),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    command, root, options, complaint
):
    outcome = command("mask", "--input-dir", root, *options)
    assert outcome.status == 2
    assert outcome.complaint.startswith(complaint)
    assert not list(root.parent.glob("speech_*"))


@pytest.mark.parametrize(("audio_format", "step"), [("flac16", 2**-15), ("wav32", 0.0)])
def test_variants_can_be_stored_smaller_or_exactly(command, root, audio_format, step):
    given = ("--profiles", "hfloss", "--audio-format", audio_format)
    assert command("mask", "--input-dir", root, *given).status == 0
    waveform = open_corpus(root)["test"].waveform(1)
    masked = apply_mask(waveform, gains((get_profile("hfloss"),), StftSettings()), StftSettings())
    expected = normalize(masked, "shared", float(np.abs(waveform).max())).waveforms[0]
    variant = open_corpus(f"{root}_hfloss")["test"]
    np.testing.assert_allclose(variant.waveform(1), expected, rtol=0, atol=step)
    opened = datasets.load_from_disk(f"{root}_hfloss/dataset")["test"]
    stored = opened.cast_column("audio", datasets.Audio(decode=False))[1]["audio"]
    assert stored["path"] == f"test-1.{audio_format[:-2]}"
    assert decode(stored["bytes"]).sampling_rate == 16_000


@pytest.mark.parametrize("rate", [8_000, 44_100])
@pytest.mark.parametrize("kind", ["int16", "float64", "stereo"])
def test_clips_of_any_kind_are_taken(command, tmp_path, rate, kind):
    samples = tone(500, 0.2, rate)
    if kind == "stereo":
        clip = encode(np.stack([samples, samples], axis=1), rate)
    else:
        clip = encode(samples, rate, subtype={"int16": "PCM_16", "float64": "DOUBLE"}[kind])
    corpus = write_corpus(tmp_path / "kinds", {"test": [clip]}, sampling_rate=rate)
    outcome = command("mask", "--input-dir", corpus, "--profiles", "N1", "--json")
    assert outcome.report["splits"]["test"] == {"clips_in": 1, "clips_out": 1, "quarantined": 0}
    assert open_corpus(f"{corpus}_N1")["test"].waveform(0).shape == (3_200,)


@pytest.mark.parametrize("name", SIMULATORS)
@pytest.mark.parametrize("audio_format", ["flac24", "flac16", "wav32"])
def test_a_clip_too_loud_for_the_arithmetic_is_kept_right_or_quarantined(
    command, quarantine, tmp_path, name, audio_format
):
    clips = [encode(noise(0.3) * np.float32(f), 16_000, subtype="FLOAT") for f in (1, 3e36, 3e38)]
    root = write_corpus(tmp_path / "loud", {"test": clips})
    given = ("--simulator", name, "--audio-format", audio_format, "--profiles", "normal", "N1")
    outcome = command("mask", "--input-dir", root, *given, "--json")
    assert outcome.status == 0
    counts = outcome.report["splits"]["test"]
    assert counts["clips_out"] + counts["quarantined"] == 3
    variant = open_corpus(f"{root}_N1")["test"]
    for row in range(len(variant)):
        assert np.isfinite(variant.row(row)["output_gain_db"])
        assert 1e-3 < np.abs(variant.waveform(row)).max() <= 1
    for reason in quarantine(Path(f"{root}_N1")).values():
        assert reason.startswith("samples too large to be masked")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--sample-rate", 96_001), "--sample-rate 96001 cannot be stored as FLAC; give a mult"),
        (("--n-fft", 10**11, "--hop-length", 100), "n_fft 100000000000 is more than 1048576; "),
        (("--output-base", "/"), "--output-base / has no name to add a profile's to"),
    ],
)
def test_what_nothing_can_store_or_hold_is_refused(command, root, options, complaint):
    outcome = command("mask", "--input-dir", root, *options)
    assert outcome.status == 2
    assert outcome.complaint.startswith(complaint)


def test_a_plot_that_cannot_be_written_is_one_sentence(command, tmp_path):
    for path in (tmp_path / "none" / "x.png", tmp_path):
        outcome = command("profiles", "N1", "--plot", path, workers=None)
        assert outcome.status == 2
        assert outcome.complaint.startswith(f"--plot {path} ")


def test_a_full_disk_is_told_of_and_after_it_the_bytes_are_the_same(command, tmp_path):
    root = write_corpus(tmp_path / "speech", {"test": [noise(1.0)] * 40})
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs privileges")
    try:
        arguments = ("mask", "--input-dir", root, "--profiles", "N1", "--output-base")
        outcome = command(*arguments, small / "x")
        assert outcome.status == 2
        assert outcome.complaint.startswith("no space left on the disk of ")
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        assert command(*arguments, small / "x").status == 0
        assert command(*arguments, tmp_path / "y").status == 0
        assert digests(small / "x_N1") == digests(tmp_path / "y_N1")
    finally:
        subprocess.run(["umount", str(small)], check=True)
