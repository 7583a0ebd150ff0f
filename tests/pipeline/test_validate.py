"""`pipeline validate`: what is right passes, each kind of damage fails the check that is for it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from command_outcome import Command, Outcome
from makers import noise, tone, write_corpus

from pipeline.audio import decode, encode_audio
from pipeline.checks import Check, check_each, conclude
from pipeline.corpus import Split, corpus_root, open_corpus
from pipeline.errors import CheckFailed
from pipeline.validate import Place, draw_sample

Row = dict[str, Any]
STRUCTURE = ["run.json", "shards", "rows", "counts", "quarantine", "ids", "audio"]
BANDS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
LEVELS = [f"level {centre} Hz" for centre in BANDS_HZ]
SOUND = ["source digest", "clips", "length", "delay", "clipping", "window", *LEVELS]
TRAIN = tuple(noise(0.5, seed=seed) for seed in range(5))
TEST = (noise(0.6, seed=8), b"no sound", noise(0.7, seed=9))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus and three variants of it, made once and copied for each test."""
    from pipeline.masking.mask import StftSettings
    from pipeline.masking.profiles import PILOT_PROFILES, get_profile
    from pipeline.masking.stage import MaskStage
    from pipeline.stage import RunOptions, run_stage

    folder = tmp_path_factory.mktemp("made")
    write_corpus(folder / "speech", {"train": TRAIN, "test": TEST})
    profiles = tuple(map(get_profile, PILOT_PROFILES))
    stage = MaskStage(folder / "speech", folder / "speech", profiles, StftSettings())
    run_stage(stage, RunOptions(num_workers=0))
    return folder


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "corpora")
    return tmp_path / "corpora" / "speech"


@pytest.fixture
def validate(command: Command) -> Callable[..., Outcome]:
    return lambda *arguments: command("validate", *arguments, "--json", workers=None)


@pytest.fixture
def variant(base: Path) -> Path:
    return base.with_name("speech_lfloss")


def verdicts(outcome: Outcome) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in outcome.report["checks"]}


def failures(outcome: Outcome) -> list[str]:
    """Names of what failed; the exit status has to agree."""
    found = [name for name, verdict in verdicts(outcome).items() if verdict == "failed"]
    assert outcome.status == (1 if found else 0)
    assert outcome.report["passed"] is not bool(found)
    if found:
        assert outcome.complaint.endswith(f"checks failed: {', '.join(found)}")
    return found


def measured(outcome: Outcome, name: str) -> str:
    return next(c["measured"] for c in outcome.report["checks"] if c["name"] == name)


# --- damage -------------------------------------------------------------------------------------


def rewrite(root: Path, change: Callable[[list[Row]], list[Row]], split: str = "train") -> None:
    """Replace the rows of a split by what a function makes of them."""
    (path,) = open_corpus(root)[split].shards
    table = pa.ipc.open_stream(path.read_bytes()).read_all()
    rows = change(table.to_pylist())
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=table.schema))


def resound(
    root: Path,
    change: Callable[[np.ndarray], np.ndarray],
    split: str = "train",
    kind: str = "flac24",
) -> None:
    """Replace the sound of every row of a split."""

    def change_row(row: Row) -> Row:
        waveform = change(decode(row["audio"]["bytes"]).samples[0])
        return {**row, "audio": {**row["audio"], "bytes": encode_audio(waveform, 16_000, kind)}}

    rewrite(root, lambda rows: list(map(change_row, rows)), split)


def edit_run(root: Path, change: Callable[[Row], Any]) -> None:
    """Change run.json in place."""
    path = root / "run.json"
    run = json.loads(path.read_text())
    change(run)
    path.write_text(json.dumps(run))


# --- what is right ------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["normal", "lfloss", "hfloss"])
def test_a_variant_passes_every_check(validate, base, profile):
    outcome = validate(f"{base}_{profile}", "--acoustics")
    assert failures(outcome) == []
    siblings = [f"rows of {p}" for p in ("normal", "lfloss", "hfloss") if p != profile]
    assert list(verdicts(outcome)) == [*STRUCTURE, "profile", *siblings, *SOUND]
    assert set(verdicts(outcome).values()) == {"passed"}


def test_measured_levels_are_those_of_the_profile(validate, base):
    outcome = validate(f"{base}_normal", "--acoustics", "--sample", 3)
    for name in LEVELS:
        assert measured(outcome, name) == "-10.00 dB, off by 0.000 in 3 clips"


def test_without_acoustics_the_source_is_not_asked_for(validate, variant):
    shutil.rmtree(variant.with_name("speech"))
    outcome = validate(variant)
    assert failures(outcome) == []
    assert list(verdicts(outcome)) == [*STRUCTURE, "profile", "rows of normal", "rows of hfloss"]


def test_an_import_and_its_features_pass(command, validate, tmp_path):
    from makers import ReleaseDraft, mp3

    release = ReleaseDraft()
    for number in range(3):
        release.add("test", f"clip{number}.mp3", mp3(noise(0.3, seed=number)))
    release.add("test", "lost.mp3", None)
    corpus, features = tmp_path / "corpus", tmp_path / "features"
    command("import", release.write(tmp_path), corpus)
    command("logmel", "-i", corpus, "-o", features, "--model-size", "tiny", "--chunk-length", 1)

    outcome = validate(corpus)
    assert verdicts(outcome) == dict.fromkeys(STRUCTURE, "passed")
    assert measured(outcome, "counts") == "4 in, 3 out, 1 left out"
    assert measured(outcome, "quarantine") == "1 listed"
    assert validate(corpus / "dataset").report["output"] == str(corpus)
    assert verdicts(validate(features)) == {
        **dict.fromkeys(STRUCTURE, "passed"),
        "audio": "skipped",
    }


def test_the_table_fits_a_narrow_terminal(command, variant, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rewrite(variant, lambda rows: rows[1:])
    outcome = command("validate", variant, "--acoustics", workers=None)
    assert outcome.status == 1
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= max(80, len(f"validate {variant}"))
    words = next(line.split() for line in lines if line.startswith(" rows  "))
    assert (words[:3], words[-1]) == (["rows", "train:", "4"], "failed")


def test_running_in_the_folder_itself(validate, variant, monkeypatch):
    monkeypatch.chdir(variant)
    assert failures(validate(".", "--acoustics")) == []


# --- structure ----------------------------------------------------------------------------------


def test_an_unfinished_output_fails_and_nothing_else_is_checked(validate, variant):
    edit_run(variant, lambda run: (run.update(status="running"), run.pop("splits")))
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["run.json"]
    assert list(verdicts(outcome)) == ["run.json"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda shard: shard.unlink(), "train/data-00000-of-00001.arrow is missing"),
        (lambda shard: os.truncate(shard, 5_000), "cannot be read as an Arrow shard"),
        (lambda shard: shard.write_bytes(b""), "cannot be read as an Arrow shard"),
        (lambda shard: (shard.parent / "state.json").unlink(), "train has no shards"),
        (lambda shard: (shard.parent / "state.json").write_text("[" * 50_000), "is not valid JSON"),
        (
            lambda shard: (shard.parent / "dataset_info.json").write_text('{"features": 5}'),
            "dataset_info.json is damaged: 5 describes no audio column",
        ),
        (lambda shard: (shard.parents[1] / "dataset_dict.json").unlink(), "no finished dataset"),
        (
            lambda shard: (shard.parents[1] / "dataset_dict.json").write_text('{"splits": 5}'),
            "dataset_dict.json is damaged: its splits are 5, which is no list",
        ),
    ],
)
def test_a_shard_that_cannot_be_opened(validate, variant, damage, told):
    damage(open_corpus(variant)["train"].shards[0])
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["shards"]
    assert told in measured(outcome, "shards")


def test_text_that_is_no_text_is_a_damaged_shard(validate, variant):
    (shard,) = open_corpus(variant)["train"].shards
    content = shard.read_bytes()
    assert content.count("Straße".encode()) == 1
    shard.write_bytes(content.replace("Straße".encode(), b"Stra\xff\xffe"))
    assert failures(validate(variant)) == ["shards"]


def test_a_dropped_row(validate, variant):
    rewrite(variant, lambda rows: rows[:2] + rows[3:])
    outcome = validate(variant)
    assert failures(outcome) == ["rows", "rows of normal", "rows of hfloss"]
    assert measured(outcome, "rows") == "train: 4 found, 5 recorded"
    assert measured(outcome, "rows of normal") == "train: 5 rows there, 4 here"


def test_a_split_that_run_json_does_not_know(validate, variant):
    edit_run(variant, lambda run: run["splits"].pop("test"))
    outcome = validate(variant)
    assert failures(outcome) == ["rows", "quarantine"]
    assert measured(outcome, "rows") == "test: 2 found, no split recorded"


def test_counts_that_do_not_add_up(validate, variant):
    edit_run(variant, lambda run: run["splits"]["train"].update(clips_in=7))
    assert failures(validate(variant)) == ["counts"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "quarantine.jsonl: No such file or directory"),
        ("", "test: 0 listed, 1 recorded"),
        ('{"id": "", "split": "x", "path": "", "reason": ""}\n', "test: 0 listed, 1 recorded"),
        ("[]\n", "line 1 is no entry"),
        ("\n", "line 1 is no entry"),
        ('{"id": 5, "split": "test", "path": "", "reason": ""}\n', "line 1 is no entry"),
        ("[" * 50_000, "line 1 is no entry"),
        ("\udcff", "line 1 is no entry"),
    ],
)
def test_another_quarantine_than_recorded(validate, variant, content, told):
    path = variant / "quarantine.jsonl"
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    outcome = validate(variant)
    assert failures(outcome) == ["quarantine"]
    assert measured(outcome, "quarantine") == told


def test_an_id_that_comes_twice(validate, variant):
    rewrite(variant, lambda rows: [*rows[:4], {**rows[4], "id": rows[1]["id"]}])
    outcome = validate(variant)
    assert "ids" in failures(outcome)
    assert measured(outcome, "ids") == "train: 'train-1' more than once"


@pytest.mark.parametrize(
    ("sound", "told"),
    [
        (b"no sound", "not decodable as audio"),
        (None, "empty file (0 bytes)"),
        (encode_audio(np.float32([0.1, np.nan]), 16_000, "wav32"), "NaN or infinite samples"),
        (encode_audio(noise(0.5), 8_000), "8000 Hz, not 16000"),
        (encode_audio(np.zeros((800, 2), np.float32), 16_000), "2 channels, not 1"),
    ],
)
def test_a_cell_that_holds_no_such_audio(validate, variant, sound, told):
    rewrite(variant, lambda rows: [*rows[:3], {**rows[3], "audio": {"bytes": sound}}, *rows[4:]])
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["audio", "rows of normal", "rows of hfloss", "clips"]
    for name in ("audio", "clips"):
        assert measured(outcome, name).startswith(f"1 of 7 clips: train-3: {told}")


def retype(root: Path, column: str, values: pa.Array) -> None:
    """Replace a column of the train split by one of another type."""
    (path,) = open_corpus(root)["train"].shards
    table = pa.ipc.open_stream(path.read_bytes()).read_all()
    table = table.set_column(table.schema.get_field_index(column), column, values)
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    "values",
    [pa.array([1.5] * 5), pa.array([b"x"] * 5), pa.array([{"path": "x"}] * 5), pa.nulls(5)],
)
def test_an_audio_column_of_something_else(validate, variant, values):
    retype(variant, "audio", values)
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["audio", "rows of normal", "rows of hfloss", "clips"]
    told = f"5 of 7 clips: train-0: column 'audio' is of type {values.type}"
    assert measured(outcome, "audio") == told


def test_ids_may_be_numbers_and_nothing_stranger(validate, variant):
    for name in ("speech_lfloss", "speech_normal", "speech_hfloss", "speech"):
        retype(variant.with_name(name), "id", pa.array(range(5)))
    given = ("--acoustics", "--source", variant.with_name("speech"))
    assert failures(validate(variant, *given)) == []
    retype(variant, "id", pa.array([["a"]] * 5))
    outcome = validate(variant, *given)
    assert failures(outcome) == ["rows of normal", "rows of hfloss", "clips"]
    assert verdicts(outcome)["ids"] == "skipped"


# --- siblings -----------------------------------------------------------------------------------


def test_swapped_rows(validate, variant):
    rewrite(variant, lambda rows: [rows[0], rows[2], rows[1], *rows[3:]])
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["rows of normal", "rows of hfloss"]
    assert measured(outcome, "rows of normal") == "train, row 1: 'train-1' there, 'train-2' here"


def test_a_sibling_of_other_lengths(validate, variant):
    resound(variant.with_name("speech_normal"), lambda x: x[:-1], split="test")
    outcome = validate(variant)
    assert failures(outcome) == ["rows of normal"]
    told = "2 of 7 clips: test-0: 9599 samples there, 9600 here"
    assert measured(outcome, "rows of normal") == told


def test_a_missing_sibling_is_skipped(validate, variant):
    shutil.rmtree(variant.with_name("speech_normal"))
    outcome = validate(variant)
    assert failures(outcome) == []
    assert verdicts(outcome)["rows of normal"] == "skipped"
    assert measured(outcome, "rows of normal") == "no finished speech_normal beside it"


def test_a_broken_sibling_fails(validate, variant):
    open_corpus(variant.with_name("speech_normal"))["test"].shards[0].unlink()
    assert failures(validate(variant)) == ["rows of normal"]


def test_a_renamed_variant_has_no_siblings_and_needs_a_source(validate, variant):
    other = variant.rename(variant.with_name("other"))
    assert verdicts(validate(other))["rows of normal"] == "skipped"
    outcome = validate(other, "--acoustics")
    assert outcome.status == 2
    assert outcome.complaint == (
        f"{other} is not called <base>_lfloss; name the corpus that was masked with --source"
    )
    source = variant.with_name("speech")
    assert failures(validate(other, "--acoustics", "--source", source)) == []


@pytest.mark.parametrize("names", [("lfloss", "normal"), ("N7",), (None,)])
def test_rows_of_another_profile(validate, variant, names):
    def rename(rows: list[Row]) -> list[Row]:
        return [{**row, "profile": names[i % len(names)]} for i, row in enumerate(rows)]

    for split in ("train", "test"):
        rewrite(variant, rename, split)
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["profile"]
    assert measured(outcome, "profile") == ", ".join(map(str, names))


# --- acoustics ----------------------------------------------------------------------------------


def test_a_wrong_level(validate, variant):
    resound(variant, lambda x: x * 10 ** (-1 / 20))
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == LEVELS
    assert "off by 1.00" in measured(outcome, "level 2000 Hz")
    assert measured(outcome, "level 2000 Hz").partition("worst in ")[2].startswith("train-")


def test_a_wrong_gain(validate, variant):
    rewrite(variant, lambda rows: [{**r, "output_gain_db": r["output_gain_db"] + 1} for r in rows])
    assert failures(validate(variant, "--acoustics")) == LEVELS


@pytest.mark.parametrize("gain", [None, float("nan"), float("inf"), 1e9])
def test_a_gain_that_is_none(validate, variant, gain):
    rewrite(variant, lambda rows: [{**row, "output_gain_db": gain} for row in rows])
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["clips"]
    told = f"5 of 7 clips: train-0: output_gain_db {gain!r} is no gain"
    assert measured(outcome, "clips") == told


@pytest.mark.parametrize("lag", [3, -3])
def test_a_shifted_clip(validate, variant, lag):
    resound(variant, lambda x: np.roll(x, lag))
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["delay"]
    assert measured(outcome, "delay") == f"5 of 7 clips: train-0: {lag:+} samples"


def test_a_longer_clip(validate, variant):
    resound(variant, lambda x: np.append(x, np.float32([0, 0])))
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == ["rows of normal", "rows of hfloss", "length"]
    assert measured(outcome, "length") == "5 of 7 clips: train-0: +2 samples"


def test_a_clipped_clip(validate, base):
    variant = base.with_name("speech_normal")
    resound(variant, lambda x: 8 * x)
    rewrite(
        variant,
        lambda rows: [
            {**r, "output_gain_db": r["output_gain_db"] + 20 * np.log10(8)} for r in rows
        ],
    )
    assert failures(validate(variant, "--acoustics")) == ["clipping", *LEVELS]


def test_the_sound_of_another_clip(validate, variant):
    def mix_up(rows: list[Row]) -> list[Row]:
        return [{**row, "audio": rows[i - 1]["audio"]} for i, row in enumerate(rows)]

    rewrite(variant, mix_up)
    assert {"delay", "level 1000 Hz"} <= set(failures(validate(variant, "--acoustics")))


def test_another_profile_than_it_says(validate, base):
    # As if the folders had been swapped, and their columns with them.
    for name, other in (("lfloss", "hfloss"), ("hfloss", "lfloss")):
        for split in ("train", "test"):
            rewrite(
                base.with_name(f"speech_{name}"),
                lambda rows, other=other: [{**row, "profile": other} for row in rows],
                split,
            )
    base.with_name("speech_lfloss").rename(base.with_name("x"))
    base.with_name("speech_hfloss").rename(base.with_name("speech_lfloss"))
    base.with_name("x").rename(base.with_name("speech_hfloss"))
    found = failures(validate(f"{base}_hfloss", "--acoustics"))
    assert found == LEVELS


@pytest.mark.parametrize("simulator", ["audibility", "cochlear"])
def test_levels_of_another_simulator_are_not_judged(validate, variant, simulator):
    edit_run(variant, lambda run: run["config"].update(simulator=simulator))
    resound(variant, lambda x: np.roll(x * 0.5, 3))
    outcome = validate(variant, "--acoustics")
    assert failures(outcome) == (["delay"] if simulator == "audibility" else [])
    assert verdicts(outcome)["band levels"] == "skipped"
    assert simulator in measured(outcome, "band levels")
    assert [name for name in verdicts(outcome) if name.startswith("level")] == []


def test_full_scale_of_another_simulator(validate, variant):
    edit_run(variant, lambda run: run["config"].update(simulator="cochlear"))
    resound(variant, lambda x: 1e6 * x)
    assert failures(validate(variant, "--acoustics")) == ["clipping"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--audio-format", "wav32", "--normalize", "peak"),
        ("--audio-format", "flac16", "--normalize", "limit"),
        ("--n-fft", 256, "--hop-length", 64, "--sample-rate", 8_000),
        ("--interpolation", "octave", "--normalize", "none"),
    ],
)
def test_other_settings_of_the_mask_pass(command, validate, base, arguments):
    profiles = ("--profiles", "lfloss", "S2", "flat40", "--output-base", base.with_name("other"))
    assert command("mask", "--input-dir", base, *profiles, *arguments).status == 0
    for name in ("lfloss", "S2", "flat40"):
        outcome = validate(base.with_name(f"other_{name}"), "--acoustics", "--source", base)
        assert failures(outcome) == []
        assert "passed" in {verdicts(outcome)[name] for name in LEVELS if name in verdicts(outcome)}


def test_a_window_too_short_for_an_audiogram_fails(command, validate, base):
    arguments = ("--n-fft", 128, "--hop-length", 32, "--profiles", "hfloss")
    output = ("--output-base", base.with_name("coarse"))
    assert command("mask", "--input-dir", base, *arguments, *output).status == 0
    outcome = validate(base.with_name("coarse_hfloss"), "--acoustics", "--source", base)
    assert "window" in failures(outcome)
    assert measured(outcome, "window") == "125.0 Hz between bins"


def test_clips_too_short_or_silent_are_not_judged(command, validate, tmp_path):
    clips = [tone(500, 0.1), np.zeros(16_000, np.float32), np.float32([0.5])]
    root = write_corpus(tmp_path / "short", {"test": clips})
    command("mask", "--input-dir", root, "--profiles", "N3")
    outcome = validate(f"{root}_N3", "--acoustics")
    assert failures(outcome) == []
    assert verdicts(outcome)["length"] == "passed"
    assert {verdicts(outcome)[name] for name in ("delay", *LEVELS)} == {"skipped"}


# --- the source ---------------------------------------------------------------------------------


def test_a_source_that_has_changed_is_not_taken_by_default(validate, variant):
    source = variant.with_name("speech")
    resound(source, lambda x: x[:-100])
    outcome = validate(variant, "--acoustics")
    assert outcome.status == 2
    assert outcome.complaint == (
        f"{source} is not what {variant} was made from, or has changed since; "
        "name the corpus that was masked with --source"
    )
    outcome = validate(variant, "--acoustics", "--source", source)
    assert failures(outcome) == ["length"]
    assert verdicts(outcome)["source digest"] == "skipped"


def test_a_source_that_is_not_there(validate, variant, tmp_path):
    shutil.rmtree(variant.with_name("speech"))
    assert (
        "name the corpus that was masked with --source"
        in validate(variant, "--acoustics").complaint
    )
    outcome = validate(variant, "--acoustics", "--source", tmp_path / "nowhere")
    assert outcome.status == 2
    assert f"{tmp_path}/nowhere does not exist" in outcome.complaint


def test_clips_that_the_source_does_not_have(validate, variant):
    source = variant.with_name("speech")
    rewrite(source, lambda rows: [*rows[:2], {**rows[2], "id": "another"}, rows[3], rows[3]])
    outcome = validate(variant, "--acoustics", "--source", source)
    assert failures(outcome) == ["clips"]
    told = "3 of 7 clips: train-2: its id is not in the source, or more than once"
    assert measured(outcome, "clips") == told


# --- the sample ---------------------------------------------------------------------------------


def test_the_sample_is_spread_over_splits_and_seeded():
    sizes = {"train": 1_000, "test": 3, "validation": 50}
    sample = draw_sample(sizes, 20, seed=0)
    assert sample == draw_sample(sizes, 20, seed=0) != draw_sample(sizes, 20, seed=1)
    assert len(set(sample)) == 20
    counts = {split: sum(place.split == split for place in sample) for split in sizes}
    assert counts == {"train": 9, "test": 3, "validation": 8}
    assert list(sample) == sorted(sample, key=lambda p: (list(sizes).index(p.split), p.row))
    assert draw_sample({"a": 1, "b": 0}, 20, seed=0) == (Place("a", 0),)


def test_the_seed_decides_what_is_listened_to(validate, variant):
    rewrite(variant, lambda rows: [{**rows[0], "audio": {"bytes": b"no sound"}}, *rows[1:]])
    found = {seed: failures(validate(variant, "--sample", 2, "--seed", seed)) for seed in range(8)}
    assert {bool(names) for names in found.values()} == {True, False}
    assert failures(validate(variant, "--sample", 2, "--seed", 3)) == found[3]


# --- bad input ----------------------------------------------------------------------------------


def test_acoustics_of_something_else(command, validate, base, tmp_path):
    settings = ("--model-size", "tiny", "--chunk-length", 1)
    command("logmel", "-i", base, "-o", tmp_path / "features", *settings)
    outcome = validate(tmp_path / "features", "--acoustics")
    assert outcome.status == 2
    assert outcome.complaint == (
        f"{tmp_path}/features was made by pipeline logmel; --acoustics is for the variants that "
        "pipeline mask makes"
    )


def test_a_folder_that_is_no_output_of_ours(validate, base, tmp_path):
    ours = "name the output folder of pipeline import, mask or logmel"
    (tmp_path / "file").touch()
    (tmp_path / "strange" / "run.json").mkdir(parents=True)
    for path, told in [
        (tmp_path / "nowhere", "does not exist"),
        (base, "has no run.json of ours"),
        (tmp_path / "file", "cannot be read (Not a directory)"),
        (tmp_path / "strange", "cannot be read (Is a directory)"),
    ]:
        outcome = validate(path)
        assert outcome.status == 2
        assert told in outcome.complaint
        assert outcome.complaint.endswith(ours)


def test_a_source_without_acoustics(validate, variant, base):
    outcome = validate(variant, "--source", base)
    assert outcome.status == 2
    assert outcome.complaint == "--source says what --acoustics compares with; give both"


STRANGE = (None, 5, -1, 2**70, 0.5, True, "x", "", [], [5], {}, {"x": 5}, [[]], float("nan"))
KEYS = (
    *("stage", "status", "config", "source_digest", "splits", "splits/train"),
    *("splits/train/clips_in", "splits/train/clips_out", "splits/train/quarantined"),
    *("config/profiles", "config/profiles/0", "config/profiles/1/name", "config/stft"),
    *("config/profiles/1/frequencies_hz", "config/profiles/1/frequencies_hz/0"),
    *("config/profiles/1/thresholds_db_hl", "config/profiles/1/thresholds_db_hl/0"),
    *("config/stft/sampling_rate", "config/stft/n_fft", "config/stft/hop_length"),
    *("config/interpolation", "config/simulator", "config/audio_format"),
)


@pytest.mark.parametrize("key", KEYS)
def test_a_run_json_of_strange_values_is_no_traceback(validate, variant, key):
    *parents, last = (int(word) if word.isdigit() else word for word in key.split("/"))
    original = (variant / "run.json").read_text()
    statuses = set()
    for value in STRANGE:
        run = holder = json.loads(original)
        for parent in parents:
            holder = holder[parent]
        holder[last] = value
        (variant / "run.json").write_text(json.dumps(run))
        outcome = validate(variant, "--acoustics", "--sample", 1)
        statuses.add(outcome.status)
        if outcome.status == 2:
            understood = ("--acoustics is for", "is not what")  # another stage, another source
            assert any(words in outcome.complaint for words in (f"{variant}/run.json", *understood))
        elif outcome.status == 1:
            assert failures(outcome)
    assert 2 in statuses


@pytest.mark.parametrize("content", ["", "5", "[]", "{", "[" * 50_000, "\0", "null"])
def test_a_run_json_that_is_none(validate, variant, content):
    (variant / "run.json").write_text(content)
    outcome = validate(variant)
    assert outcome.status == 2
    assert str(variant / "run.json") in outcome.complaint


# --- checks -------------------------------------------------------------------------------------


def test_a_check_without_clips_is_skipped():
    assert check_each("x", [], str, "all", "none").verdict == "skipped"


def test_a_conclusion_names_what_failed(tmp_path, capsys):
    checks = [Check("a", "[bold]1[/]", "2", "failed"), Check("b", "", "", "passed")]
    with pytest.raises(CheckFailed, match=r"1 of 2 checks failed: a$"):
        conclude(tmp_path, checks, as_json=False)
    assert "[bold]1[/]" in capsys.readouterr().out


def test_a_corpus_may_be_named_by_its_inner_folder(base):
    assert corpus_root(Path(f"{base}_normal/dataset")) == Path(f"{base}_normal")
    assert isinstance(open_corpus(f"{base}_normal")["train"], Split)
