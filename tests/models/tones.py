"""Clips in which every letter is a tone of its own."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.audio import encode_audio
from pipeline.corpus import (
    AUDIO_TYPE,
    corpus_schema,
    shard_name,
    write_split_metadata,
)

LETTERS = "ETAON"


def tones(sentence: str) -> np.ndarray:
    """Say a word: float32, a fifth of a second for each letter."""
    time_s = np.arange(3_200) / 16_000
    waves = [np.sin(2 * np.pi * 300 * (1 + LETTERS.index(letter)) * time_s) for letter in sentence]
    return (0.3 * np.concatenate(waves)).astype(np.float32)


def write_split(folder: Path, sentences: list[str]) -> None:
    folder.mkdir(parents=True)
    schema = corpus_schema(
        {
            "id": pa.string(),
            "audio": AUDIO_TYPE,
            "sentence": pa.string(),
            "duration_s": pa.float64(),
        },
        16_000,
    )
    clips = [tones(sentence) for sentence in sentences]
    audio = [{"bytes": encode_audio(clip), "path": None} for clip in clips]
    columns = {
        "id": [f"{folder.name}{index}" for index in range(len(clips))],
        "audio": audio,
        "sentence": sentences,
        "duration_s": [len(clip) / 16_000 for clip in clips],
    }
    table = pa.Table.from_pydict(columns, schema=schema)
    with pa.ipc.new_stream(str(folder / shard_name(0, 1)), schema) as writer:
        writer.write_table(table)
    write_split_metadata(folder, schema, [shard_name(0, 1)], "0" * 64)
