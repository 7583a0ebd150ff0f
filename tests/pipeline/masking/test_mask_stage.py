"""`pipeline mask`: a corpus becomes aligned variants of itself."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from makers import encode, mp3, noise, tone, write_corpus
from outputs import digests, stamps

from pipeline.audio import decode, load_mono
from pipeline.corpus import open_corpus
from pipeline.masking.mask import StftSettings, apply_mask, gains, normalize
from pipeline.masking.profiles import PILOT_PROFILES, get_profile
from pipeline.masking.stage import variant_root

TRAIN = (tone(300, 0.3), noise(0.5), b"no sound", tone(3_000, 0.2), b"", noise(0.1))
KEPT = [0, 1, 3, 5]
NAN = encode(np.float32([0.1, np.nan]), 16_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "speech", {"train": TRAIN, "test": [noise(0.4), NAN]})


def test_three_aligned_variants_are_made_by_default(command, root):
    outcome = command("mask", "--input-dir", root, "--json")
    assert outcome.status == 0
    assert outcome.report["outputs"] == [f"{root}_{name}" for name in PILOT_PROFILES]
    assert outcome.report["splits"] == {
        "train": {"clips_in": 6, "clips_out": 4, "quarantined": 2},
        "test": {"clips_in": 2, "clips_out": 1, "quarantined": 1},
    }
    for name in PILOT_PROFILES:
        variant = open_corpus(f"{root}_{name}")
        assert variant.splits == ("train", "test")
        assert variant["train"].column("id").to_pylist() == [f"train-{i}" for i in KEPT]
        assert variant["test"].column("id").to_pylist() == ["test-0"]


def test_a_clip_is_quarantined_for_all_profiles_with_one_reason(command, quarantine, root):
    command("mask", "--input-dir", root)
    reasons = [quarantine(Path(f"{root}_{name}")) for name in PILOT_PROFILES]
    assert reasons[0] == reasons[1] == reasons[2]
    assert reasons[0].keys() == {"train-2.mp3", "train-4.mp3", "test-1.mp3"}
    assert reasons[0]["train-2.mp3"].startswith("not decodable as audio: ")
    assert reasons[0]["train-4.mp3"] == "empty file (0 bytes)"
    assert reasons[0]["test-1.mp3"] == "NaN or infinite samples"


def test_a_row_keeps_its_columns_and_gets_two_more(command, root):
    command("mask", "--input-dir", root)
    source = open_corpus(root)["train"]
    for name in PILOT_PROFILES:
        variant = open_corpus(f"{root}_{name}")["train"]
        assert variant.columns == (*source.columns, "profile", "output_gain_db")
        for place, index in enumerate(KEPT):
            row = variant.row(place)
            assert row.pop("profile") == name
            assert isinstance(row.pop("output_gain_db"), float)
            assert row == source.row(index)


@pytest.mark.parametrize("normalization", ["shared", "peak", "limit", "none"])
def test_the_audio_is_that_of_the_pure_functions(command, root, normalization):
    command("mask", "--input-dir", root, "--normalize", normalization)
    profiles = tuple(map(get_profile, PILOT_PROFILES))
    settings = StftSettings()
    for place, index in enumerate(KEPT):
        waveform = open_corpus(root)["train"].waveform(index)
        expected = normalize(
            apply_mask(waveform, gains(profiles, settings), settings),
            normalization,
            float(np.abs(waveform).max()),
        )
        for number, name in enumerate(PILOT_PROFILES):
            variant = open_corpus(f"{root}_{name}")["train"]
            stored = variant.waveform(place)
            np.testing.assert_allclose(stored, expected.waveforms[number], atol=2**-23)
            assert variant.row(place)["output_gain_db"] == expected.output_gain_db[number]


def test_the_recorded_gain_gives_the_loss_back(command, root):
    command("mask", "--input-dir", root, "--profiles", "normal", "N4", "--output-base", f"{root}2")
    original = open_corpus(root)["train"].waveform(3)  # a tone at 3 kHz
    for name, loss_db in (("normal", 10), ("N4", 70)):
        variant = open_corpus(f"{root}2_{name}")["train"]
        gain_db = variant.row(2)["output_gain_db"]
        middle = slice(1_000, 2_200)
        level_db = 20 * np.log10(variant.waveform(2)[middle].std() / original[middle].std())
        assert level_db - gain_db == pytest.approx(-loss_db, abs=0.15)


def test_storage_is_24_bit_flac_that_datasets_opens(command, root):
    command("mask", "--input-dir", root)
    opened = datasets.load_from_disk(f"{root}_hfloss/dataset")
    assert opened["test"].features["audio"] == datasets.Audio(sampling_rate=16_000)
    assert opened["test"].features["output_gain_db"] == datasets.Value("float64")
    undecoded = opened["test"].cast_column("audio", datasets.Audio(decode=False))[0]["audio"]
    assert undecoded["path"] == "test-0.flac"
    steps = decode(undecoded["bytes"]).samples * 2**23
    np.testing.assert_array_equal(steps, np.round(steps))
    assert (steps % 256 != 0).any()


def test_the_configuration_is_written_in_full(command, root):
    command("mask", "--input-dir", root, "--profiles", "N1", "--interpolation", "octave")
    run = json.loads(Path(f"{root}_N1/run.json").read_text())
    assert run["config"]["stft"] == {"sampling_rate": 16_000, "n_fft": 2048, "hop_length": 512}
    assert run["config"]["profiles"][0]["thresholds_db_hl"][-1] == 40
    assert (run["config"]["interpolation"], run["config"]["normalization"]) == ("octave", "shared")


# --- sampling rates ---


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_clips_of_another_rate_are_resampled_first(command, tmp_path, rate):
    clips = [encode(tone(1_000, 0.5, rate), rate), mp3(noise(0.5, 16_000), 16_000)]
    root = write_corpus(tmp_path / "mixed", {"test": clips}, sampling_rate=rate)
    assert command("mask", "--input-dir", root, "--normalize", "none").status == 0
    for name, loss_db in (("normal", 10), ("lfloss", 55), ("hfloss", 55)):
        variant = open_corpus(f"{root}_{name}")
        assert variant.sampling_rate == 16_000
        assert decode(variant["test"].audio_bytes(0)).sampling_rate == 16_000
        waveform, original = variant["test"].waveform(0), load_mono(clips[0])
        assert len(waveform) == len(original) == 8_000
        middle = slice(2_000, 6_000)
        level_db = 20 * np.log10(waveform[middle].std() / original[middle].std())
        assert level_db == pytest.approx(-loss_db, abs=0.12)


def test_the_output_may_have_another_rate(command, root):
    outcome = command("mask", "--input-dir", root, "--sample-rate", 8_000, "--profiles", "N1")
    assert outcome.status == 0
    variant = open_corpus(f"{root}_N1")
    assert variant.sampling_rate == 8_000
    assert variant["test"].waveform(0).shape == (3_200,)


# --- what is refused, and how it ends ---


def test_an_unknown_profile_lists_the_known_ones(command, root):
    outcome = command("mask", "--input-dir", root, "--profiles", "N1,N9")
    assert outcome.status == 2
    known = "normal, lfloss, hfloss, N1, N2, N3, N4, N5, N6, N7, S1, S2, S3"
    assert outcome.complaint.startswith(
        f"unknown hearing profile 'N9'; the known ones are: {known}, flat<dB>"
    )
    assert not Path(f"{root}_N1").exists()


def test_an_unknown_split_is_2_and_lists_the_known_ones(command, root):
    outcome = command("mask", "--input-dir", root, "--splits", "train", "dev")
    assert outcome.status == 2
    assert outcome.complaint == f"{root} has no split 'dev'; available splits: train, test"
    assert not list(root.parent.glob("speech_*/dataset"))


def test_features_are_no_corpus_to_mask(command, root, tmp_path):
    settings = ("--model-size", "tiny", "--chunk-length", 1, "--splits", "test")
    assert command("logmel", "-i", root, "-o", tmp_path / "features", *settings).status == 0
    outcome = command("mask", "--input-dir", tmp_path / "features")
    assert outcome.status == 2
    expected = f"{tmp_path}/features has no column 'audio'; is it a corpus of features?"
    assert outcome.complaint == expected


def test_a_corpus_without_a_decodable_clip_fails(command, tmp_path):
    root = write_corpus(tmp_path / "noise", {"test": [b"no sound", None]})
    outcome = command("mask", "--input-dir", root)
    assert outcome.status == 1
    assert outcome.complaint.startswith("all 2 clips are quarantined; see ")


def test_max_failures_counts_a_clip_once_for_all_profiles(command, root):
    assert command("mask", "--input-dir", root, "--max-failures", 3).status == 0
    outcome = command("mask", "--input-dir", root, "--max-failures", 2)
    assert outcome.status == 1
    assert outcome.complaint.startswith("3 of 8 clips are quarantined, more than --max-failures 2;")


def test_running_again_does_nothing_and_other_settings_are_refused(command, root):
    assert command("mask", "--input-dir", root).status == 0
    written = [path for path in root.parent.rglob("*") if path.name != ".lock" and path.is_file()]
    before = stamps(written)
    assert command("mask", "--input-dir", root).status == 0
    outcome = command("mask", "--input-dir", root, "--normalize", "peak")
    assert outcome.status == 2
    assert 'normalization: "shared" then, "peak" now' in outcome.complaint
    assert stamps(written) == before


# --- where it goes ---


def test_splits_limit_and_base_decide_what_is_written_where(command, root, tmp_path):
    arguments = ("--splits", "train", "--limit", 2, "--profiles", "S1", "--output-base")
    assert command("mask", "--input-dir", root, *arguments, tmp_path / "else" / "x").status == 0
    variant = open_corpus(tmp_path / "else" / "x_S1")
    assert variant.splits == ("train",)
    assert variant["train"].column("id").to_pylist() == ["train-0", "train-1"]
    assert not Path(f"{root}_S1").exists()


def test_a_worker_makes_the_same_bytes_as_none(command, root):
    arguments = ("mask", "--input-dir", root, "--profiles", "N1")
    assert command(*arguments, "--output-base", root.parent / "a").status == 0
    assert command(*arguments, "--output-base", root.parent / "b", workers=1).status == 0
    assert digests(root.parent / "a_N1") == digests(root.parent / "b_N1")


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("data/demo", "data/demo_N1"),
        ("data/demo/", "data/demo_N1"),
        ("data/v1.0", "data/v1.0_N1"),
    ],
)
def test_a_variant_lies_beside_its_base(base, expected):
    assert variant_root(Path(base), "N1") == Path(expected)


@pytest.mark.parametrize("given", [".", "../speech"])
def test_the_folder_one_is_in_can_be_masked(command, root, monkeypatch, given):
    monkeypatch.chdir(root)
    assert command("mask", "--input-dir", given, "--profiles", "N1").status == 0
    assert open_corpus(f"{root}_N1").splits == ("train", "test")
