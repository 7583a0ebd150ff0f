"""Files that libraries of other languages read, spoilt; a program, since those may end the process.

Arrow shards, Parquet tables, checkpoints and their weights, ONNX files. Ends with status 1 and a
traceback if a reader does not answer in one sentence, and dies of a signal if a library does.
"""

import faulthandler
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzzing import Parser, fuzz

from hearing_analysis.clip_tables import open_clip_tables
from hearing_analysis.config import ROOT
from hearing_analysis.reports.summary import summarize
from hearing_analysis.reports.table import read_table
from models.checkpoint import check_safetensors, open_session
from pipeline.audio import encode_audio
from pipeline.corpus import (
    AUDIO_TYPE,
    corpus_schema,
    open_corpus,
    write_dataset_dict,
    write_split_metadata,
)
from pipeline.validate import examine

TONE = encode_audio(0.1 * np.sin(np.arange(1600) / 5).astype(np.float32))
ROWS = [
    {
        "id": f"clip-{number}",
        "audio": {"bytes": TONE, "path": f"{number}.flac"},
        "sentence": f"Sentence {number}.",
        "duration_s": 0.5 * number,
        "labels": [1, 2, number],
    }
    for number in range(5)
]
COLUMNS = {
    **{"id": pa.string(), "audio": AUDIO_TYPE, "sentence": pa.string()},
    **{"duration_s": pa.float64(), "labels": pa.list_(pa.int64())},
}
SHARD = "dataset/test/data-00000-of-00001.arrow"


def write_corpus(root: Path) -> Path:
    """Write a corpus of one shard, as a stage leaves it."""
    schema = corpus_schema(COLUMNS, 16_000)
    shard = root / SHARD
    shard.parent.mkdir(parents=True)
    with pa.ipc.new_stream(str(shard), schema) as writer:
        writer.write_table(pa.Table.from_pylist(ROWS, schema=schema))
    write_split_metadata(shard.parent, schema, [shard.name], "0" * 16)
    write_dataset_dict(root / "dataset", ("test",))
    counts = {"clips_in": 5, "clips_out": 5, "quarantined": 0}
    run = {
        **{"stage": "import", "config": {}, "source_digest": "x", "output_digest": "x"},
        **{"versions": {}, "splits": {"test": counts}, "files": {}, "status": "complete"},
    }
    (root / "quarantine.jsonl").touch()
    (root / "run.json").write_text(json.dumps(run))
    return root


def parquet(rows: list[dict[str, object]]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path.read_bytes()


def analysis_rows() -> list[dict[str, object]]:
    return [
        {
            **{"sample_id": f"{clip}@{profile}", "id": clip, "profile_name": profile},
            **{"split": "test", "model": "mini", "sentence": "Hi.", "reference": "HI"},
            **{"hypothesis": "HI", "word_edits": 0, "word_reference_length": 1},
            **{"word_substitutions": 0, "word_deletions": 0, "word_insertions": 0, "word_hits": 1},
            **{"character_edits": 0, "character_reference_length": 2, "character_hits": 2},
            **dict.fromkeys(("character_substitutions", "character_deletions"), 0),
            **{"character_insertions": 0, "word_error_rate": 0.0, "character_error_rate": 0.0},
            **{"ctc_loss": 0.5},
            **{"x": 0.1, "y": 0.2, "cluster": 0, "latent": [0.1, 0.2], "audio_duration_s": 0.5},
        }
        for clip in ("a", "b")
        for profile in ("normal", "lfloss")
    ]


def corpus_read(path: Path) -> object:
    test = open_corpus(path.parents[2])["test"]
    rows = [test.row(index) for index in range(min(len(test), 50))]
    sounds = [test.audio_bytes(index) for index in range(len(rows)) if "audio" in test.columns]
    return rows, sounds, "sentence" in test.columns and test.column("sentence").to_pylist()


def corpus_examined(path: Path) -> object:
    return examine(path.parents[2], 2, 0)


def table_read(path: Path) -> object:
    return read_table(path).n_clips, summarize(path)


def weights_read(path: Path) -> object:
    return check_safetensors(path)


def onnx_read(path: Path) -> object:
    return open_session(path, num_threads=1).get_inputs()[0].shape


def dual_read(path: Path) -> object:
    from pipeline.mining.dual import load_dual

    return load_dual(path.parent)


def sequences_read(path: Path) -> object:
    from pipeline.sse.model import load_model

    return load_model(path.parent)


def tiny_onnx() -> bytes:
    """One multiplication, as small as ONNX goes, so that a change hits something."""
    from onnx import TensorProto, helper, numpy_helper

    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input_values", "weights"], ["logits"])],
        "tiny",
        [values("input_values", TensorProto.FLOAT, ["batch", 4])],
        [values("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.ones((4, 3), np.float32), "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def tiny_weights() -> bytes:
    from safetensors.numpy import save

    return save({"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float16)})


def parsers(root: Path) -> dict[str, Callable[[], Parser]]:
    corpus = write_corpus(root / "corpus")
    dual, sse = ROOT / "models/mini-dual", ROOT / "models/mini-sse"
    shard = (corpus / SHARD).read_bytes()
    figures = [{"id": clip, "rate": 0.5, "vector": [1.0, 2.0]} for clip in ("a", "b")]
    return {
        SHARD: lambda: Parser("Arrow shard", shard, corpus_read, corpus),
        f"./{SHARD}": lambda: Parser("Arrow shard, validated", shard, corpus_examined, corpus),
        "analysis.parquet": lambda: Parser("analysis table", parquet(analysis_rows()), table_read),
        "figures.parquet": lambda: Parser(
            "clip table in Parquet", parquet(figures), lambda path: open_clip_tables((path,))
        ),
        "model.safetensors": lambda: Parser("weights", tiny_weights(), weights_read),
        "model.onnx": lambda: Parser("ONNX file", tiny_onnx(), onnx_read),
        "config.json": lambda: Parser(
            "mini-dual's config.json",
            (dual / "config.json").read_bytes(),
            dual_read,
            dual,
            share=0.1,
        ),
        "./config.json": lambda: Parser(
            "mini-sse's config.json",
            (sse / "config.json").read_bytes(),
            sequences_read,
            sse,
            share=0.1,
        ),
    }


def main() -> None:
    """Fuzz all, or those that are named; a traceback says what went wrong."""
    faulthandler.enable()
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, (name, make) in enumerate(parsers(root).items()):
            parser = make()
            if wanted and parser.name not in wanted:
                continue
            print(f"{parser.name} …", file=sys.stderr, flush=True)
            (root / f"arena{number}").mkdir()
            fuzz(name.removeprefix("./"), parser, root / f"arena{number}")


if __name__ == "__main__":
    main()
