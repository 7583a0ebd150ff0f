import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fixtures import CLIPS_OF_SPLIT, GAINS, SENTENCES, make_corpora, make_waveform, write_split

from hearing_analysis.config import AnalysisConfig
from hearing_analysis.samples import open_samples
from pipeline.errors import InputError, MissingPathError


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("corpora") / "tiny"
    make_corpora(root)
    return root


def config(root: Path, **values) -> AnalysisConfig:
    return AnalysisConfig(data_root=str(root), **values)


def test_every_clip_appears_under_every_profile_clip_by_clip(root):
    samples = open_samples(config(root), "validation")
    assert samples.ids == (
        *("validation-0@normal", "validation-0@lfloss", "validation-0@hfloss"),
        *("validation-1@normal", "validation-1@lfloss", "validation-1@hfloss"),
    )
    assert len(samples) == 6
    assert [sample.row for sample in samples] == [0, 0, 0, 1, 1, 1]


def test_a_sample_knows_where_it_comes_from(root):
    sample = open_samples(config(root), "test").sample("test-1@hfloss")
    assert (sample.clip_id, sample.profile, sample.split, sample.row) == (
        *("test-1", "hfloss", "test"),
        1,
    )


def test_profiles_differ_in_sound_and_agree_in_text(root):
    samples = open_samples(config(root), "train")
    loud, quiet = (samples.waveform(f"train-1@{profile}") for profile in ("normal", "hfloss"))
    np.testing.assert_allclose(loud, make_waveform(1, 0.5), atol=2e-7)
    np.testing.assert_allclose(quiet, loud * GAINS["hfloss"], atol=2e-7)
    assert loud.dtype == np.float32
    assert {samples.sentence(f"train-1@{profile}") for profile in GAINS} == {SENTENCES[1]}


def test_columns_hold_the_corpus_row_without_its_audio(root):
    columns = open_samples(config(root), "train").columns("train-0@lfloss")
    assert columns["profile"] == "lfloss"
    assert columns["age"] is None
    assert "audio" not in columns


def test_the_profile_brings_its_audiogram(root):
    profile = open_samples(config(root), "train").profile("train-0@hfloss")
    assert profile.thresholds_db_hl[-1] == 100


def test_a_profile_of_a_file_brings_the_audiogram_it_was_made_with(tmp_path):
    make_corpora(tmp_path / "tiny")
    (tmp_path / "tiny_hfloss").rename(tmp_path / "tiny_p9_left")
    ear = {"name": "p9_left", "frequencies_hz": [250, 4000], "thresholds_db_hl": [20, 70]}
    variant = tmp_path / "tiny_p9_left"
    for shard in variant.rglob("*.arrow"):
        table = pa.ipc.open_stream(shard.read_bytes()).read_all()
        column = pa.array(["p9_left"] * len(table))
        table = table.set_column(table.schema.get_field_index("profile"), "profile", column)
        with pa.ipc.new_stream(shard, table.schema) as sink:
            sink.write_table(table)
    (variant / "run.json").write_text(json.dumps({"config": {"profiles": [ear]}}))
    samples = open_samples(config(tmp_path / "tiny", profiles=("normal", "p9_left")), "test")
    profile = samples.profile("test-0@p9_left")
    assert profile.frequencies_hz == (250, 4000)
    assert profile.thresholds_db_hl == (20, 70)


@pytest.mark.parametrize("entry", [{}, {"frequencies_hz": 5}, {"frequencies_hz": [1]}])
def test_a_variant_that_does_not_record_its_audiogram_is_named(tmp_path, entry):
    make_corpora(tmp_path / "tiny")
    run = {"config": {"profiles": [{"name": "hfloss", **entry}]}}
    (tmp_path / "tiny_hfloss" / "run.json").write_text(json.dumps(run))
    with pytest.raises(InputError, match=r"tiny_hfloss/run.json holds no audiogram for 'hfloss'"):
        open_samples(config(tmp_path / "tiny"), "test")


def test_audio_bytes_are_the_file_as_it_is_stored(root):
    assert open_samples(config(root), "test").audio_bytes("test-0@normal")[:4] == b"fLaC"


def test_a_limit_takes_the_same_clips_for_all_profiles_in_their_order(root):
    samples = open_samples(config(root, samples_per_split=2, seed=3), "train")
    assert len(samples) == 2 * len(GAINS)
    rows = [sample.row for sample in samples]
    assert rows == sorted(rows)
    assert len(set(rows)) == 2


def test_the_seed_decides_which_clips_a_limit_takes(root):
    def rows(seed: int) -> set[int]:
        chosen = open_samples(config(root, samples_per_split=2, seed=seed), "train")
        return {sample.row for sample in chosen}

    assert rows(0) == rows(0)
    assert len({frozenset(rows(seed)) for seed in range(10)}) > 1


def test_a_limit_above_the_number_of_clips_takes_all(root):
    samples = open_samples(config(root, samples_per_split=100), "train")
    assert len(samples) == CLIPS_OF_SPLIT["train"] * len(GAINS)


def test_a_clip_is_found_by_a_walk_and_by_the_table_alike(root, monkeypatch):
    monkeypatch.setattr("hearing_analysis.samples.FEW_CLIPS", 0)
    monkeypatch.setattr("hearing_analysis.samples.MOST_WALKS", 2)
    samples = open_samples(config(root, samples_per_split=2, seed=3), "train")
    rows = [samples.sample(sample_id).row for sample_id in samples.ids]
    assert rows == [row for row in samples.rows for _ in GAINS]
    fresh = open_samples(config(root, samples_per_split=2, seed=3), "train")
    absent = next(f"train-{row}@normal" for row in range(4) if row not in fresh.rows)
    with pytest.raises(InputError, match="has no sample"):
        fresh.sample(absent)


def test_an_unlabeled_split_needs_no_sentences(tmp_path):
    root = tmp_path / "tiny"
    make_corpora(root, gains={"normal": 1.0})
    rewrite(root, "normal", lambda rows: [row | {"sentence": None} for row in rows])
    samples = open_samples(config(root, profiles=("normal",)), "train")
    assert {samples.sentence(sample_id) for sample_id in samples.ids} == {""}


def test_a_waveform_is_decoded_once_and_cannot_be_spoilt(root):
    samples = open_samples(config(root), "train")
    first = samples.waveform("train-0@normal")
    assert samples.waveform("train-0@normal") is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    for sample_id in samples.ids:
        samples.waveform(sample_id)
    assert len(samples._decoded) <= 4


def test_an_unknown_sample_is_named_with_an_example(root):
    samples = open_samples(config(root), "test")
    with pytest.raises(InputError, match=r"no sample 'test-9@normal'.*'test-0@normal'"):
        samples.sample("test-9@normal")


def test_an_unknown_split_is_named_with_those_there_are(root):
    with pytest.raises(InputError, match=r"no split 'other'.*train, validation, test"):
        open_samples(config(root), "other")


def test_a_missing_variant_names_its_folder_and_the_command(root):
    with pytest.raises(MissingPathError, match=r"tiny_N3 does not exist.*`pipeline mask`"):
        open_samples(config(root, profiles=("normal", "N3")), "train")


def test_an_unknown_profile_is_refused_before_any_folder_is_looked_for(root):
    with pytest.raises(InputError, match="unknown hearing profile 'deaf'"):
        open_samples(config(root, profiles=("deaf",)), "train")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[::-1], r"'train-0' and 'train-3' in row 0"),
        (lambda rows: rows[:-1], "4 and 3 clips"),
        (lambda rows: [row | {"profile": "lfloss"} for row in rows], "holds lfloss"),
    ],
    ids=["order", "count", "profile"],
)
def test_variants_that_do_not_belong_together_are_refused(tmp_path, spoil, message):
    root = tmp_path / "tiny"
    make_corpora(root)
    rewrite(root, "hfloss", spoil)
    with pytest.raises(InputError, match=message):
        open_samples(config(root), "train")


def test_a_clip_id_that_occurs_twice_is_refused(tmp_path):
    root = tmp_path / "tiny"
    make_corpora(root, gains={"normal": 1.0})
    rewrite(root, "normal", lambda rows: [rows[0], *rows])
    with pytest.raises(InputError, match="'train-0' more than once"):
        open_samples(config(root, profiles=("normal",)), "train")


def test_an_id_too_long_for_the_platform_is_refused(tmp_path):
    root = tmp_path / "tiny"
    make_corpora(root, gains={"normal": 1.0})
    rewrite(root, "normal", lambda rows: [rows[0] | {"id": "x" * 250}])
    with pytest.raises(InputError, match="250 characters; the platform leaves room for 249"):
        open_samples(config(root, profiles=("normal",)), "train")


def rewrite(root: Path, profile: str, change) -> None:
    """Write the train split of one variant again, changed."""
    samples = open_samples(config(root, profiles=(profile,)), "train")
    rows = [
        samples.columns(i) | {"audio": {"bytes": samples.audio_bytes(i), "path": None}}
        for i in samples.ids
    ]
    write_split(Path(f"{root}_{profile}") / "dataset" / "train", change(rows))
