"""What a user may bring from elsewhere, spoilt: tables, lists, settings, checkpoints' JSON files.

As `test_hostile_files`, for the readers of importers, speech sequence embeddings, mining, analysis
and launching.
"""

import functools
import gzip
import io
import json
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from fuzzing import Parser, fuzz

from hearing_analysis.clip_tables import open_clip_tables
from hearing_analysis.config import ROOT
from hearing_analysis.reports.assertions import load_tests
from hearing_analysis.tensorleap.modes import set_values
from models.checkpoint import open_checkpoint
from models.wav2vec2 import Wav2Vec2Preprocessor
from models.whisper import WhisperPreprocessor
from pipeline.download.transfer import finished_archive
from pipeline.imports.detect import open_layout
from pipeline.imports.stage import ImportStage
from pipeline.kmeans.evaluate import Question, evaluate
from pipeline.launch.record import Record, read_lines
from pipeline.launch.resources import read_resources, read_site
from pipeline.masking.audiograms import resolve_profiles
from pipeline.mining.evaluate import read_gold
from pipeline.mining.pairs import read_alignment as read_pairs_found
from pipeline.mining.preset import read_preset
from pipeline.mining.segments import parse_segment
from pipeline.mining.shards import FileShard
from pipeline.shards import Task, is_done
from pipeline.sse.lists import read_sections, read_segments
from pipeline.sse.transcribe import read_alignment
from pipeline.validate import examine

TONE = 0.1 * np.sin(np.arange(1600) / 5)
CLIP = "84/121123/84-121123-0000.flac"


def imported(layout: str, up: int) -> Callable[[Path], object]:
    """Import a source that begins so many folders above the file, and lay out its rows."""

    def read(path: Path) -> object:
        source = path.parents[up - 1] if up else path
        with tempfile.TemporaryDirectory() as output:
            stage = ImportStage(open_layout(source, Path(output), layout), Path(output))
            assert stage.source_digest
            columns = dict(stage.outputs[0].columns)
            for split, size in stage.split_sizes().items():
                results = list(stage.rows(split, 0, size))
                assert len(results) == size
                rows = [row for result in results for row in getattr(result, "rows", ())]
                pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items())))
        return None

    return read


@functools.cache
def templates() -> Path:
    """Folders of good files, one for every layout."""
    root = Path(tempfile.mkdtemp(prefix="hostile"))
    for folder in ("libri/84/121123", "lj/wavs", "folder"):
        (root / folder).mkdir(parents=True)
    flac, wav = io.BytesIO(), io.BytesIO()
    soundfile.write(flac, TONE, 16_000, format="FLAC")
    soundfile.write(wav, TONE, 16_000, format="WAV")
    (root / "libri" / CLIP).write_bytes(flac.getvalue())
    (root / "lj/wavs/LJ001-0001.wav").write_bytes(wav.getvalue())
    for name in ("one.wav", "two.wav"):
        (root / "folder" / name).write_bytes(wav.getvalue())
    (root / "labels").mkdir()
    (root / "labels/test.km").write_text("1 2 3\n4 5\n")
    (root / "labels/test.tsv").write_text("/data\na.wav\t960\nb.wav\t640\n")
    return root


def archive_of(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def alignment_read(path: Path) -> object:
    found = read_pairs_found(path)
    return found.scores[found.direction > 0].sum() if len(found.scores) else None


def preset_read(path: Path) -> object:
    return read_preset(path, ["mine_threshold=1.1"])


def speech_shard_read(path: Path) -> object:
    shard = FileShard(path, "s")
    return shard.n_lines, shard.digest, list(shard.segments())


def analysed(name: str) -> Callable[[Path], object]:
    """Open the checkpoint folder of a file as the analysis does."""

    def read(path: Path) -> object:
        open_checkpoint(path.parent)
        if name == "wav2vec2":
            preprocessor = Wav2Vec2Preprocessor.from_folder(path.parent)
            preprocessor.input_values(np.ones(400, np.float32), 400)
            return preprocessor.decode(np.zeros((1, len(preprocessor.vocabulary))), 1)
        return WhisperPreprocessor.from_folder(path.parent)

    return read


def mode_read(path: Path) -> object:
    text = path.read_text(encoding="utf-8", errors="replace")
    return set_values(text, {"mode": "ctc", "window_seconds": 6.0})


def validated(path: Path) -> object:
    return examine(path.parent, 2, 0)


def record_read(path: Path) -> object:
    task = Task("train", 0, 1, 0, 2)
    return is_done(task, (SimpleNamespace(root=path.parents[1]),))


RECORD = {
    **{"name": "mask-1", "stage": "mask", "command": "pipeline mask", "home": "/x", "array": "1"},
    **{"finisher": "2", "roots": ["/x"], "planned": {"train": 3}, "ranks": {}, "shares": [0]},
    **{"count": 1, "retries": 0, "round": 0, "submitted_at": 1.5},
}
SECTION = "a/1.wav ann 0.10 1.50\nb/2.wav ben 0.00 2.25\n"
SEGMENTS = "a/1.wav ann 0.10 1.50 0.20 0.60 cat\nb/2.wav ben 0.00 2.25 1.00 1.50 NOTRANS\n"
MANIFEST = (
    "path\tsentence\tspeaker\tduration\toffset\n"
    "one.wav\tHi\tann\t0.1\t0\n"
    "two.wav\tHo\tben\t0.1\t0\n"
)
NEMO = b"".join(
    json.dumps({"audio_filepath": f, "text": "hi", "duration": 0.1, "offset": 0.0}).encode() + b"\n"
    for f in ("one.wav", "two.wav")
)
DOWNLOAD = {
    **{"dataset": "cv", "filename": "a.tar.gz", "size_bytes": 3, "sha256": None},
    **{"status": "streamed", "fingerprint": "x"},
}
RESOURCES = (ROOT / "conf/slurm.yaml").read_bytes()
PRESET = (ROOT / "conf/mining/speech-text.yaml").read_bytes()
CTC, WHISPER = ROOT / "models/mini-wav2vec2", ROOT / "models/mini-whisper"


def checkpoint(folder: Path, name: str, family: str) -> Parser:
    good = (folder / name).read_bytes()
    return Parser(f"{family}'s {name}", good, analysed(family), beside=folder)


PARSERS: dict[str, Callable[[], Parser]] = {
    "84/121123/84-121123.trans.txt": lambda: Parser(
        "LibriSpeech transcript",
        b"84-121123-0000 GO AWAY\n84-121123-0001 COME BACK\n",
        imported("librispeech", 3),
        templates() / "libri",
    ),
    "metadata.csv": lambda: Parser(
        "LJ Speech metadata",
        b"LJ001-0001|Hi 14|Hi fourteen\nLJ001-0002|Ho|Ho\n",
        imported("ljspeech", 1),
        templates() / "lj",
    ),
    "manifest.tsv": lambda: Parser(
        "manifest in TSV", MANIFEST.encode(), imported("manifest", 0), templates() / "folder"
    ),
    "manifest.csv": lambda: Parser(
        "manifest in CSV",
        MANIFEST.replace("\t", ",").replace("Hi", '"Hi, you"').encode(),
        imported("manifest", 0),
        templates() / "folder",
    ),
    "manifest.jsonl": lambda: Parser(
        "manifest in JSON lines", NEMO, imported("manifest", 0), templates() / "folder"
    ),
    "sections": lambda: Parser("sections", SECTION.encode(), read_sections),
    "segments": lambda: Parser("segments", SEGMENTS.encode(), read_segments),
    "alignment.txt": lambda: Parser(
        "alignment", b"a/1.wav 0.1 0.2 K\na/1.wav 0.2 0.4 AE\nb/2 0.0 0.1 SIL\n", read_alignment
    ),
    "preset.yaml": lambda: Parser("mining preset", PRESET, preset_read),
    "speech.txt": lambda: Parser(
        "speech shard", b"a.wav 0.5 1.5 0\nb c.flac 1 2\nd.wav\n", speech_shard_read
    ),
    "text.txt.gz": lambda: Parser(
        "packed text shard",
        gzip.compress(b"one\ntwo\nthree\n", mtime=0),
        lambda path: list(FileShard(path, "s").texts()),
    ),
    "text.txt.xz": lambda: Parser(
        "xz text shard",
        lzma.compress(b"one\ntwo\nthree\n"),
        lambda path: list(FileShard(path, "s").texts()),
    ),
    "gold.tsv": lambda: Parser("gold pairs", b"0\t0\tmatrix\n1\t1\teveryday\n", read_gold),
    "a-b.align.npz": lambda: Parser(
        "alignment of mining",
        archive_of(
            scores=np.ones(3, np.float32),
            src_idx=np.arange(3),
            trg_idx=np.arange(3),
            direction=np.zeros(3, np.int8),
        ),
        alignment_read,
    ),
    "phones": lambda: Parser(
        "phones of k-means",
        b"a\tK,AE,T\nb\tD,AO\n",
        lambda path: evaluate(Question(path.parent, "test", path.parent, path)),
        templates() / "labels",
    ),
    "assertions.yaml": lambda: Parser(
        "conditions", (ROOT / "conf/tests.yaml").read_bytes(), load_tests
    ),
    "figures.csv": lambda: Parser(
        "clip table in CSV",
        b"id,profile_name,rate,note\na,normal,0.5,x\nb,normal,1.5,y\n",
        lambda path: open_clip_tables((path,)).figures("a", "normal"),
    ),
    "slurm.yaml": lambda: Parser("conf/slurm.yaml", RESOURCES, read_resources),
    ".env.local": lambda: Parser(
        "site's variables", b"PROJECT_ROOT=/x # here\nSBATCH_ACCOUNT='a'\n", read_site
    ),
    "launch.json": lambda: Parser("record of a launch", json.dumps(RECORD).encode(), Record.read),
    "events.jsonl": lambda: Parser(
        "events of a task",
        b'{"event": "began", "at": 1.5}\n{"event": "ended", "at": 2}\n',
        read_lines,
    ),
    "download.json": lambda: Parser(
        "record of a download",
        json.dumps(DOWNLOAD).encode(),
        lambda path: finished_archive(path.parent, "cv"),
    ),
    "shards/train-00000-of-00001.json": lambda: Parser(
        "record of a shard", b'{"clips_out": 2, "bytes": 3, "quarantined": []}', record_read
    ),
    "mode.yaml": lambda: Parser(
        "configuration that a mode changes",
        (ROOT / "conf/analysis.yaml").read_bytes(),
        mode_read,
    ),
    "ear.csv": lambda: Parser(
        "audiograms of --profiles",
        b"name,ear,250,1000,4000\nme,left,10,20,30\nme,right,10,,30\n",
        lambda path: resolve_profiles((str(path),)),
    ),
    "line": lambda: Parser(
        "line of a speech shard",
        b"a b.wav 1.5 2.5 1",
        lambda path: parse_segment(path.read_text("utf-8", "replace"), "ms", path.parent),
    ),
    "config.json": lambda: checkpoint(CTC, "config.json", "wav2vec2"),
    "vocab.json": lambda: checkpoint(CTC, "vocab.json", "wav2vec2"),
    "preprocessor_config.json": lambda: checkpoint(CTC, "preprocessor_config.json", "wav2vec2"),
    "tokenizer_config.json": lambda: checkpoint(CTC, "tokenizer_config.json", "wav2vec2"),
    "./config.json": lambda: checkpoint(WHISPER, "config.json", "Whisper"),
    "./generation_config.json": lambda: checkpoint(WHISPER, "generation_config.json", "Whisper"),
    "./preprocessor_config.json": lambda: checkpoint(
        WHISPER, "preprocessor_config.json", "Whisper"
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_spoilt_input_is_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    fuzz(name.removeprefix("./"), PARSERS[name](), tmp_path)


@pytest.mark.parametrize("opening", ["[", '{"event": '])
def test_a_line_nested_too_deeply_is_passed_over_like_one_that_was_cut(tmp_path, opening):
    events = tmp_path / "events.jsonl"
    events.write_text('{"event": "begun", "at": 1}\n' + 200_000 * opening + "\n")
    assert read_lines(events) == [{"event": "begun", "at": 1}]
