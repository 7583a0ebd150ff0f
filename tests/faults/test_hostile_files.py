"""Every parser, on files that began as good ones: an answer or one sentence, nothing else.

The same files each time, or with ``FUZZ`` in the environment so many others.
"""

import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hearing_analysis.config import load_config
from pipeline.audio import load_mono
from pipeline.commonvoice.release import extract_archive
from pipeline.commonvoice.tables import index_table, read_durations
from pipeline.corpus import open_corpus
from pipeline.errors import HearingAnalysisError
from pipeline.imports.lines import index_lines
from pipeline.kmeans.label import read_labels
from pipeline.kmeans.manifest import open_manifest
from pipeline.kmeans.model import Model, load_model, save_npz
from pipeline.kmeans.shards import open_shard
from pipeline.logmel import open_features
from pipeline.masking.audiograms import read_audiograms
from pipeline.recipe import read_recipe

EXAMPLES = int(os.environ.get("FUZZ", "120"))
# What parsers of such files have stumbled over elsewhere.
NASTY = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\n\n",
        b"\t" * 9,
        b'"',
        b"'",
        b"{",
        b"[",
        b"\r",
        b"-1",
        b"1e999",
        b"NaN",
    ),
    *(b"99999999999999999999", b"../../x", b"/etc/passwd", b"!!python/object/apply:os.system [x]"),
    *(b"&a [*a,*a]", b"<<: *a", b"\xe2\x80\xae", b"\xf0\x9f\x92\xa9", b"A" * 5000),
)


@dataclass(frozen=True)
class Parser:
    """A good file, and what reads it."""

    name: str
    good: bytes
    read: Callable[[Path], object]

    def __str__(self) -> str:
        """Name the test."""
        return self.name


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


def _table_rows(path: Path) -> list[object]:
    table = index_table(path)
    return list(table.rows(0, len(table)))


FRAMES = np.zeros((5, 3), np.float32)
AUDIOGRAM = b"name: x\nfrequencies_hz: [250, 1000]\nthresholds_db_hl: [10, 40]\nsource: me\n"
RUN = json.dumps({"stage": "import", "config": {}, "splits": {"train": {"clips_in": 1}}}).encode()
DATASET = json.dumps({"splits": ["train"]}).encode()
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
    "run.json": Parser("run of a corpus", RUN, lambda path: open_corpus(path.parent).run()),
    "dataset/dataset_dict.json": Parser(
        "dataset folder", DATASET, lambda path: open_corpus(path.parent.parent)
    ),
    "mel/run.json": Parser("run of features", RUN, lambda path: open_features(path.parent)),
    "release.tar.gz": Parser(
        "archive", _archive(), lambda path: extract_archive(path, path.parent / "unpacked")
    ),
    "sound.flac": Parser("FLAC", _sound("FLAC", "PCM_16"), load_mono),
    "sound.wav": Parser("WAV", _sound("WAV", "PCM_16"), load_mono),
    "sound.mp3": Parser("MP3", _sound("MP3", "MPEG_LAYER_III"), load_mono),
}


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """Some bytes, with a few cut, changed, doubled, or nasty ones put between."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        here = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(("cut", "flip", "nasty", "drop", "double"))):
            case "cut":
                del content[here:]
            case "flip" if here < len(content):
                content[here] ^= draw(st.integers(1, 255))
            case "nasty":
                content[here:here] = draw(st.sampled_from(NASTY))
            case "drop":
                del content[here : here + draw(st.integers(1, 40))]
            case "double":
                content[here:here] = content[here : here + draw(st.integers(1, 400))]
    return bytes(content)


@pytest.mark.parametrize("name", PARSERS, ids=lambda name: str(PARSERS[name]))
def test_a_spoilt_file_is_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]
    arena = tmp_path / "arena"

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize="FUZZ" not in os.environ,
    )
    @given(spoilt(parser.good))
    def try_it(content: bytes) -> None:
        shutil.rmtree(arena, ignore_errors=True)
        path = arena / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        try:
            parser.read(path)
        except HearingAnalysisError as error:
            assert "\n" not in str(error).strip(), error
            assert len(str(error)) < 2000, "the message is a sentence"
        assert {child.name for child in tmp_path.iterdir()} == {"arena"}, "nothing escapes"

    try_it()
