"""Small stand-ins made on the spot: a three-profile corpus and a recogniser with random weights."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from pipeline.audio import SAMPLING_RATE, encode_audio
from pipeline.corpus import (
    AUDIO_TYPE,
    corpus_schema,
    shard_name,
    write_dataset_dict,
    write_split_metadata,
)

GAINS = {"normal": 1.0, "lfloss": 0.1, "hfloss": 0.01}
CLIPS_OF_SPLIT = {"train": 4, "validation": 2, "test": 2}
SENTENCES = ("It's a small tree.", "Why not?", "The OLD man sat – quietly!", "Zebras can't")
WINDOW_SECONDS = 1.0  # shorter than the last clip of each split
VOCABULARY = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
CONV_KERNEL, CONV_STRIDE = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # wav2vec2-base's
HIDDEN_SIZE = 16

_COLUMNS = {
    **dict.fromkeys(("id", "client_id", "path", "sentence", "age", "gender"), pa.string()),
    **dict.fromkeys(("accents", "locale", "sentence_domain"), pa.string()),
    "audio": AUDIO_TYPE,
    "duration_s": pa.float64(),
    "profile": pa.string(),
    "output_gain_db": pa.float64(),
}


def make_corpora(
    root: Path, gains: Mapping[str, float] = GAINS, clips: Mapping[str, int] = CLIPS_OF_SPLIT
) -> None:
    """Write ``<root>_<profile>/dataset``: the same clips, quieter with every profile."""
    for profile, gain in gains.items():
        dataset = Path(f"{root}_{profile}") / "dataset"
        for split, n_clips in clips.items():
            rows = [_row(split, index, n_clips, profile, gain) for index in range(n_clips)]
            write_split(dataset / split, rows)
        write_dataset_dict(dataset, tuple(clips))


def write_split(folder: Path, rows: list[dict]) -> None:
    """Write one split of one variant."""
    schema = corpus_schema(_COLUMNS, SAMPLING_RATE)
    folder.mkdir(parents=True, exist_ok=True)
    name = shard_name(0, 1)
    with pa.ipc.new_stream(str(folder / name), schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    write_split_metadata(folder, schema, [name], "0" * 16)


def make_model(folder: Path) -> None:
    """Write a checkpoint folder with ``model.onnx``: one convolution, one layer, random weights.

    It makes as many frames as wav2vec2 does, and has its input and outputs.
    """
    folder.mkdir(parents=True)
    config = {
        "model_type": "wav2vec2",
        "pad_token_id": 0,
        "conv_kernel": CONV_KERNEL,
        "conv_stride": CONV_STRIDE,
        "hidden_size": HIDDEN_SIZE,
        "vocab_size": len(VOCABULARY),
    }
    tokens = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    files = {
        "config.json": config,
        "preprocessor_config.json": {"sampling_rate": SAMPLING_RATE, "do_normalize": True},
        "tokenizer_config.json": {**tokens, "word_delimiter_token": "|"},
        "vocab.json": {token: index for index, token in enumerate(VOCABULARY)},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    _write_onnx(folder / "model.onnx")


def write_config(path: Path, **values: object) -> Path:
    """Write an analysis configuration with some values changed."""
    content = {"window_seconds": WINDOW_SECONDS, "max_label_length": 40, **values}
    path.write_text(yaml.safe_dump(content))
    return path


def make_waveform(index: int, seconds: float) -> np.ndarray:
    """Three tones whose loudness rises and falls like syllables: float32 [shape=(n,)]."""
    time = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    frequencies_hz = np.array([200.0 + 40 * index, 1200.0, 3500.0])
    tones = np.sin(2 * np.pi * frequencies_hz[:, None] * time).sum(axis=0)
    return (0.1 * np.sin(np.pi * 4 * time) ** 2 * tones).astype(np.float32)


def _row(split: str, index: int, n_clips: int, profile: str, gain: float) -> dict:
    seconds = 1.5 * WINDOW_SECONDS if index == n_clips - 1 else 0.4 + 0.1 * index
    audio = encode_audio(gain * make_waveform(index, seconds))
    return {
        "id": f"{split}-{index}",
        "client_id": f"speaker-{index}",
        "path": f"{split}-{index}.mp3",
        "sentence": SENTENCES[index % len(SENTENCES)],
        "age": None if index == 0 else "twenties",
        "gender": None,
        "accents": "England English",
        "locale": "en",
        "sentence_domain": None,
        "audio": {"bytes": audio, "path": f"{split}-{index}.flac"},
        "duration_s": seconds,
        "profile": profile,
        "output_gain_db": None if index == 0 else 0.0,
    }


def _write_onnx(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    filters = random.normal(size=(HIDDEN_SIZE, 1, 400)).astype(np.float32) / 20
    weights = random.normal(size=(HIDDEN_SIZE, len(VOCABULARY))).astype(np.float32)
    constants: dict[str, np.ndarray] = {
        "filters": filters,
        "weights": weights,
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["input_values", "axis"], ["channel"]),
        helper.make_node("Conv", ["channel", "filters"], ["features"], strides=[320]),
        helper.make_node("Transpose", ["features"], ["hidden_states"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["hidden_states", "weights"], ["logits"]),
    ]
    shapes: dict[str, list[str | int | None]] = {
        "input_values": ["batch", "samples"],
        "logits": ["batch", "frames", len(VOCABULARY)],
        "hidden_states": ["batch", "frames", HIDDEN_SIZE],
    }
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [values["input_values"]],
        [values["logits"], values["hidden_states"]],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
