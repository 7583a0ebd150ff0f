"""Manifests: what is listed, what is read, which clips a shard holds."""

import json

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from makers import encode, noise, seeded, tone, write_corpus

from pipeline.errors import InputError
from pipeline.kmeans.manifest import open_manifest, shard_range


@seeded
@given(st.integers(1, 400), st.integers(1, 40))
def test_shards_follow_each_other_and_cover_all(n_clips, n_shards):
    if n_shards > n_clips:
        with pytest.raises(InputError):
            [shard_range(n_clips, n_shards, rank) for rank in range(n_shards)]
        return
    ranges = [shard_range(n_clips, n_shards, rank) for rank in range(n_shards)]
    assert [clip for clips in ranges for clip in clips] == list(range(n_clips))
    assert all(ranges)


@pytest.mark.parametrize(
    ("n_clips", "n_shards", "expected"),
    [  # what fairseq's get_shard_range gives
        (5, 2, [(0, 2), (2, 5)]),
        (7, 2, [(0, 4), (4, 7)]),
        (10, 4, [(0, 2), (2, 5), (5, 8), (8, 10)]),
    ],
)
def test_halves_are_rounded_to_even(n_clips, n_shards, expected):
    ranges = (shard_range(n_clips, n_shards, rank) for rank in range(n_shards))
    assert [(clips.start, clips.stop) for clips in ranges] == expected


def test_a_folder_is_listed_in_order_with_its_sample_counts(command, tmp_path):
    folder = tmp_path / "audio"
    for name, n in (("b/2.wav", 900), ("b/10.flac", 500), ("a.wav", 700)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, noise(n / 16_000), 16_000)
    (folder / "broken.wav").write_bytes(b"RIFF nothing")
    (folder / "notes.txt").write_text("not audio")

    outcome = command("kmeans", "manifest", folder, tmp_path / "tsv", "--json", workers=None)

    assert outcome.report == {"manifests": {"train": {"clips": 3, "quarantined": 1}}}
    lines = (tmp_path / "tsv/train.tsv").read_text().splitlines()
    assert lines == [str(folder), "a.wav\t700", "b/10.flac\t500", "b/2.wav\t900"]
    (left_out,) = map(json.loads, (tmp_path / "tsv/train.quarantine.jsonl").open())
    assert left_out["path"] == "broken.wav"
    assert "not decodable" in left_out["reason"]


def test_a_corpus_its_manifest_and_its_exported_files_are_the_same_clips(command, tmp_path):
    clips = [tone(300, 0.2), encode(noise(0.3, seed=1), 8_000), noise(0.4)]
    root = write_corpus(tmp_path / "corpus", {"train": clips, "test": [tone(200, 0.1)]})
    plain = command("kmeans", "manifest", root, tmp_path / "plain", workers=None)
    exported = command(
        *("kmeans", "manifest", root, tmp_path / "files", "--audio-dir", tmp_path / "wav"),
        workers=None,
    )
    assert (plain.status, exported.status) == (0, 0)
    assert (tmp_path / "files/train.tsv").read_text().startswith(f"{tmp_path / 'wav'}\n")

    shards = []
    for index, source in enumerate(
        (root, root / "dataset", tmp_path / "plain", tmp_path / "files")
    ):
        feat = tmp_path / f"feat{index}"
        assert command("kmeans", "mfcc", source, "train", 1, 0, feat).status == 0
        shards.append((feat / "train_0_1.npy").read_bytes())
    assert len(set(shards)) == 1


def test_lines_without_a_count_are_read(tmp_path):
    (tmp_path / "train.tsv").write_text("/data\na.flac\nb c.flac\t77\n")
    clips = list(open_manifest(tmp_path, "train").clips())
    assert [(clip.path, clip.n_samples) for clip in clips] == [("a.flac", None), ("b c.flac", 77)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"/data\na.flac\tmany\n", "line 2: 'a.flac\\tmany' is not `path<TAB>n_samples`"),
        (b"/data\na.flac\t\n\nb.flac\n", "line 3"),
        (b"/data\na.flac\t1\t2\n", "line 2"),
        (b"/data\na\0.flac\t1\n", "line 2"),
        (b"/data\n\xff\xfe\n", "not UTF-8"),
        (b"\n", "does not begin with a line that names the root"),
        (b"/data\n", "there are only 0 clips"),
    ],
)
def test_a_bad_manifest_is_one_sentence(command, tmp_path, content, said):
    (tmp_path / "train.tsv").write_bytes(content)
    outcome = command("kmeans", "mfcc", tmp_path, "train", 1, 0, tmp_path / "feat")
    assert outcome.status == 2
    assert said in outcome.complaint


@pytest.mark.parametrize(
    ("n_shards", "rank", "said"),
    [
        (2, 2, "RANK '2' is not one of the 2 shards; give 0 to 1, or all"),
        (2, "one", "RANK 'one'"),
        (0, 0, "NSHARD 0"),
        (9, 0, "shard 0 of 9 is empty, since there are only 3 clips; give NSHARD of at most 3"),
    ],
)
def test_a_shard_that_is_not_there_is_one_sentence(command, tmp_path, n_shards, rank, said):
    root = write_corpus(tmp_path / "corpus", {"train": [noise(0.1)] * 3})
    outcome = command("kmeans", "mfcc", root, "train", n_shards, rank, tmp_path / "feat")
    assert outcome.status == 2
    assert said in outcome.complaint


def test_what_is_missing_is_named(command, tmp_path):
    root = write_corpus(tmp_path / "corpus", {"train": [noise(0.1)]})
    for source, split, said in (
        (root, "dev", "has no split 'dev'; available splits: train"),
        (tmp_path / "void", "train", "holds neither train.tsv nor a corpus"),
        (root, "../x", "is no name of a split"),
    ):
        outcome = command("kmeans", "mfcc", source, split, 1, 0, tmp_path / "feat")
        assert outcome.status == 2
        assert said in outcome.complaint


def test_a_row_that_a_corpus_has_not_is_quarantined(command, tmp_path):
    root = write_corpus(tmp_path / "corpus", {"train": [noise(0.1)]})
    (tmp_path / "tsv").mkdir()
    lines = ["train/0/train-0.flac", "train/7/train-7.flac", "train/0/other.flac", "gone.wav"]
    (tmp_path / "tsv/train.tsv").write_text("\n".join([str(root), *lines]) + "\n")
    assert command("kmeans", "mfcc", tmp_path / "tsv", "train", 1, 0, tmp_path / "f").status == 0
    left_out = [json.loads(line) for line in (tmp_path / "f/train_0_1.quarantine.jsonl").open()]
    assert [entry["path"] for entry in left_out] == lines[1:]
    assert np.loadtxt(tmp_path / "f/train_0_1.len").tolist() == [8, 0, 0, 0]
