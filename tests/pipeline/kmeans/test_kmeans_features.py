"""Features: Kaldi's values, fairseq's files, restart, and what is left out."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import noise, seeded, tone, write_corpus

from pipeline.errors import ClipError
from pipeline.kmeans import features
from pipeline.kmeans.mfcc import deltas, mfcc, n_frames
from pipeline.kmeans.model import Model, save_npz
from pipeline.kmeans.shards import FrameWriter

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("length", [400, 401, 559, 560, 561, 720, 1200, 4321])
def test_mfcc_has_the_values_of_kaldi(length):
    golden = np.load(GOLDEN / "mfcc.npz")
    found = mfcc(golden[f"waveform_{length}"])
    assert found.dtype == np.float32
    assert found.shape == golden[f"mfcc_{length}"].shape
    np.testing.assert_allclose(found, golden[f"mfcc_{length}"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_mfcc_has_the_values_of_kaldi_native_fbank(rate):
    knf = pytest.importorskip("kaldi_native_fbank")
    waveform = noise(1.0, rate, seed=3) + 0.5 * tone(440, 1.0, rate)
    options = knf.MfccOptions()
    options.frame_opts.dither, options.frame_opts.samp_freq = 0, rate
    options.use_energy, options.num_ceps, options.mel_opts.num_bins = False, 13, 23
    peer = knf.OnlineMfcc(options)
    peer.accept_waveform(rate, waveform.tolist())
    peer.input_finished()
    expected = [peer.get_frame(index) for index in range(peer.num_frames_ready)]
    np.testing.assert_allclose(mfcc(waveform, rate)[:, :13], expected, rtol=0, atol=1e-3)


@seeded
@given(st.integers(400, 3000))
def test_mfcc_counts_whole_frames(n_samples):
    found = mfcc(np.zeros(n_samples, np.float32))
    assert found.shape == (1 + (n_samples - 400) // 160, 39) == (n_frames(n_samples), 39)
    assert np.isfinite(found).all()  # digital silence too


def test_a_clip_shorter_than_a_window_has_no_mfcc():
    assert n_frames(399) == 0
    with pytest.raises(ClipError, match="399 samples are shorter than a window of 400"):
        mfcc(np.zeros(399, np.float32))


def test_deltas_of_a_ramp_are_its_slope():
    ramp = np.arange(20, dtype=np.float32)[:, None] * np.float32([1, -3])
    np.testing.assert_allclose(deltas(ramp)[2:-2], np.tile([1, -3], (16, 1)), rtol=1e-6)


def test_numpy_reads_what_is_written(tmp_path):
    frames = np.random.default_rng(0).standard_normal((30, 7)).astype(np.float32)
    with FrameWriter(tmp_path / "a.npy", 7) as file:
        for part in np.split(frames, [3, 3, 20]):
            file.append(part)
    found = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, frames)


@pytest.fixture
def corpus(tmp_path):
    clips = [noise(0.05 + 0.03 * index, seed=index) for index in range(9)]
    clips[4] = noise(0.01)  # shorter than a window
    return write_corpus(tmp_path / "corpus", {"train": clips})


def whole(folder, n_shards):
    frames = [np.load(folder / f"train_{rank}_{n_shards}.npy") for rank in range(n_shards)]
    lengths = [(folder / f"train_{rank}_{n_shards}.len").read_text() for rank in range(n_shards)]
    return np.concatenate(frames).tobytes(), "".join(lengths)


def test_any_number_of_shards_is_the_same_whole(command, corpus, tmp_path):
    wholes = []
    for n_shards in range(1, 8):
        feat = tmp_path / f"feat{n_shards}"
        assert command("kmeans", "mfcc", corpus, "train", n_shards, "all", feat).status == 0
        wholes.append(whole(feat, n_shards))
    assert len(set(wholes)) == 1
    assert wholes[0][1].splitlines()[4] == "0"


def test_a_short_clip_is_quarantined_and_keeps_its_line(command, corpus, tmp_path):
    outcome = command("kmeans", "mfcc", corpus, "train", 3, 1, tmp_path / "f", "--json")
    assert outcome.report == {"shards": [{"rank": 1, "clips": 3, "frames": 30, "quarantined": 1}]}
    (left_out,) = map(json.loads, (tmp_path / "f/train_1_3.quarantine.jsonl").open())
    assert left_out["reason"] == "160 samples are shorter than a window of 400"
    too_many = command("kmeans", "mfcc", corpus, "train", 3, 1, tmp_path / "f", "--max-failures", 0)
    assert too_many.status == 1
    assert "1 of 3 clips are quarantined" in too_many.complaint


def test_workers_change_nothing(command, corpus, tmp_path):
    command("kmeans", "mfcc", corpus, "train", 4, "all", tmp_path / "one")
    parallel = command("kmeans", "mfcc", corpus, "train", 4, "all", tmp_path / "two", workers=2)
    assert parallel.status == 0
    assert whole(tmp_path / "one", 4) == whole(tmp_path / "two", 4)


@pytest.mark.parametrize("calls", range(0, 9, 2))
def test_a_killed_run_goes_on_to_the_same_bytes(command, corpus, tmp_path, monkeypatch, calls):
    feat = tmp_path / "feat"
    command("kmeans", "mfcc", corpus, "train", 2, "all", tmp_path / "whole")
    left = iter(range(calls))

    class Killed(BaseException):
        pass

    def die_late(name):
        real = getattr(features, name)

        def call(*arguments):
            if next(left, None) is None:
                raise Killed
            return real(*arguments)

        monkeypatch.setattr(features, name, call)

    for name in ("write_json", "write_atomically", "to_mono"):
        die_late(name)
    with pytest.raises(Killed):
        command("kmeans", "mfcc", corpus, "train", 2, "all", feat)
    monkeypatch.undo()
    assert command("kmeans", "mfcc", corpus, "train", 2, "all", feat).status == 0
    names = sorted(path.name for path in feat.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "whole").iterdir())
    for name in names:
        assert (feat / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_shard_is_not_made_again(command, corpus, tmp_path):
    feat = tmp_path / "feat"
    command("kmeans", "mfcc", corpus, "train", 1, 0, feat)
    before = (feat / "train_0_1.npy").stat().st_mtime_ns
    again = command("kmeans", "mfcc", corpus, "train", 1, 0, feat, "--json")
    assert again.report["shards"][0]["clips"] == 9
    assert (feat / "train_0_1.npy").stat().st_mtime_ns == before


def test_other_settings_another_manifest_and_foreign_files_are_refused(command, corpus, tmp_path):
    feat = tmp_path / "feat"
    command("kmeans", "mfcc", corpus, "train", 1, 0, feat)
    other = command("kmeans", "mfcc", corpus, "train", 1, 0, feat, "--sample-rate", 8000)
    assert other.status == 2
    assert "were made with other settings" in other.complaint
    longer = write_corpus(tmp_path / "longer", {"train": [noise(0.1)]})
    assert "another manifest" in command("kmeans", "mfcc", longer, "train", 1, 0, feat).complaint
    (feat / "train_0_1.json").unlink()
    foreign = command("kmeans", "mfcc", corpus, "train", 1, 0, feat)
    assert "was not made by this command; give --overwrite" in foreign.complaint
    assert command("kmeans", "mfcc", longer, "train", 1, 0, feat, "--overwrite").status == 0
    assert len(np.load(feat / "train_0_1.npy")) == 8


def test_two_runs_do_not_write_the_same_shard(command, corpus, tmp_path):
    with features._hold(tmp_path / "train_0_1.npy"):
        outcome = command("kmeans", "mfcc", corpus, "train", 1, 0, tmp_path)
    assert outcome.status == 2
    assert "another run is writing" in outcome.complaint


def test_a_dry_run_writes_nothing(command, corpus, tmp_path):
    outcome = command("kmeans", "mfcc", corpus, "train", 2, "all", tmp_path / "f", "--dry-run")
    assert outcome.status == 0
    assert "9 clips in 2 shards" in outcome.out
    assert not (tmp_path / "f").exists()


def test_a_shard_with_no_readable_clip_ends_with_status_1(command, tmp_path):
    root = write_corpus(tmp_path / "corpus", {"train": [b"noise", None]})
    outcome = command("kmeans", "mfcc", root, "train", 1, 0, tmp_path / "f")
    assert outcome.status == 1
    assert "all 2 clips are quarantined" in outcome.complaint
    assert np.load(tmp_path / "f/train_0_1.npy").shape == (0, 39)


def test_a_file_where_a_folder_should_be_is_one_sentence(command, corpus, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    save_npz(tmp_path / "km.npz", Model(np.ones((2, 5), np.float32)))
    for arguments in (
        ("mfcc", corpus, "train", 1, 0, file),
        ("label", GOLDEN, "train", tmp_path / "km.npz", 3, 0, file),
        ("learn", GOLDEN, "train", 3, file / "km.npz", 2),
        ("manifest", corpus, file),
    ):
        outcome = command("kmeans", *arguments, workers=None)
        assert outcome.status == 2
        assert f"{file} cannot be made a folder" in outcome.complaint
