"""Every parser, on files that began as good ones: an answer or one sentence, nothing else.

The same files each time, or with ``FUZZ`` in the environment so many others.
"""

import atexit
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from binaries import write_corpus
from fuzzing import Parser, fuzz

from hearing_analysis.config import load_config
from pipeline.audio import load_mono
from pipeline.commonvoice.release import extract_archive
from pipeline.commonvoice.tables import index_table, read_durations
from pipeline.corpus import open_corpus
from pipeline.imports.lines import index_lines
from pipeline.kmeans.label import read_labels
from pipeline.kmeans.manifest import open_manifest
from pipeline.kmeans.model import Model, load_model, save_npz
from pipeline.kmeans.shards import open_shard
from pipeline.logmel import open_features
from pipeline.logmel.stage import LogMelStage
from pipeline.masking.audiograms import read_audiograms
from pipeline.recipe import read_recipe
from pipeline.stage import RunOptions, run_stage
from pipeline.validate import examine


def _sound(kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    tone = 0.1 * np.sin(np.arange(1600) / 5)
    soundfile.write(file, tone, 16_000, subtype, format=kind)
    return file.getvalue()


def _archive() -> bytes:
    file = io.BytesIO()
    header = "client_id\tpath\tsentence\n"
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in (
            ("cv/en/train.tsv", header + "a\tx.mp3\tHi.\n"),
            ("cv/en/clips/x.mp3", "x"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return file.getvalue()


def _array(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _model() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.npz"
        save_npz(path, Model(np.zeros((3, 4), np.float32)))
        return path.read_bytes()


def _beside(name: str, content: bytes, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Read a folder in which another file is good."""

    def with_it(path: Path) -> object:
        (path.parent / name).write_bytes(content)
        return read(path.parent)

    return with_it


def _features(corpus: Path, root: Path) -> Path:
    stage = LogMelStage(corpus, root, kind="auris")
    run_stage(stage, RunOptions(num_workers=0))
    return root


def opened(root: Path) -> object:
    """Open a corpus and read its first row."""
    corpus = open_corpus(root)
    return [corpus[split].row(0) for split in corpus.splits if len(corpus[split])]


def _table_rows(path: Path) -> list[object]:
    table = index_table(path)
    return list(table.rows(0, len(table)))


FRAMES = np.zeros((5, 3), np.float32)
AUDIOGRAM = b"name: x\nfrequencies_hz: [250, 1000]\nthresholds_db_hl: [10, 40]\nsource: me\n"
FOLDER = Path(tempfile.mkdtemp(prefix="hostile"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
CORPUS = write_corpus(FOLDER / "corpus")
FEATURES = _features(CORPUS, FOLDER / "features")
PARSERS = {
    "audiograms.yaml": Parser("yaml audiograms", AUDIOGRAM, read_audiograms),
    "audiograms.csv": Parser(
        "csv audiograms", b"name,250,500,1000\nme,10,20,30\nyou,0,5,95\n", read_audiograms
    ),
    "analysis.yaml": Parser(
        "analysis configuration", Path("conf/analysis.yaml").read_bytes(), load_config
    ),
    "recipe.yaml": Parser("recipe", b"steps:\n- pipeline mask --input-dir x\n", read_recipe),
    "train.tsv": Parser(
        "Common Voice table",
        b"client_id\tpath\tsentence\n"
        + b"".join(b"c%d\tp%d.mp3\tHi.\n" % (i, i) for i in range(9)),
        _table_rows,
    ),
    "clip_durations.tsv": Parser(
        "durations", b"clip\tduration[ms]\na.mp3\t1200\nb.mp3\t900\n", read_durations
    ),
    "lines.txt": Parser("lines", b"one\ntwo\nthree\n", index_lines),
    "test.tsv": Parser(
        "k-means manifest",
        b"/data\na.wav\t16000\nb.wav\t8000\n",
        lambda path: list(open_manifest(path.parent, "test").clips()),
    ),
    "test_0_1.npy": Parser(
        "features",
        _array(FRAMES),
        _beside("test_0_1.len", b"2\n3\n", lambda folder: open_shard(folder, "test", 0, 1)),
    ),
    "test_0_1.len": Parser(
        "lengths",
        b"2\n3\n",
        _beside("test_0_1.npy", _array(FRAMES), lambda folder: open_shard(folder, "test", 0, 1)),
    ),
    "test.km": Parser("labels", b"1 2 3\n4 5\n", lambda path: list(read_labels(path))),
    "model.npz": Parser("k-means model", _model(), load_model),
    "run.json": Parser(
        "run of a corpus",
        (CORPUS / "run.json").read_bytes(),
        lambda path: (open_corpus(path.parent).run(), examine(path.parent, 2, 0)),
        CORPUS,
    ),
    "dataset/dataset_dict.json": Parser(
        "dataset folder",
        (CORPUS / "dataset/dataset_dict.json").read_bytes(),
        lambda path: opened(path.parents[1]),
        CORPUS,
    ),
    "dataset/test/state.json": Parser(
        "shards of a split",
        (CORPUS / "dataset/test/state.json").read_bytes(),
        lambda path: opened(path.parents[2]),
        CORPUS,
    ),
    "dataset/test/dataset_info.json": Parser(
        "columns of a split",
        (CORPUS / "dataset/test/dataset_info.json").read_bytes(),
        lambda path: opened(path.parents[2]),
        CORPUS,
    ),
    "quarantine.jsonl": Parser(
        "quarantine",
        b'{"id": "a", "path": "a.mp3", "reason": "no samples", "split": "test"}\n',
        lambda path: examine(path.parent, 2, 0),
        CORPUS,
    ),
    "./run.json": Parser(
        "run of features",
        (FEATURES / "run.json").read_bytes(),
        lambda path: open_features(path.parent).input_features("test", 0),
        FEATURES,
    ),
    "release.tar.gz": Parser(
        "archive", _archive(), lambda path: extract_archive(path, path.parent / "unpacked")
    ),
    "sound.flac": Parser("FLAC", _sound("FLAC", "PCM_16"), load_mono),
    "sound.wav": Parser("WAV", _sound("WAV", "PCM_16"), load_mono),
    "sound.mp3": Parser("MP3", _sound("MP3", "MPEG_LAYER_III"), load_mono),
}


@pytest.mark.parametrize("name", PARSERS, ids=lambda name: str(PARSERS[name]))
def test_a_spoilt_file_is_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    fuzz(name.removeprefix("./"), PARSERS[name], tmp_path)
