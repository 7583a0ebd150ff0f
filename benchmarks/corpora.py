"""Corpora to measure on, written shard by shard."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.corpus import (
    AUDIO_TYPE,
    corpus_schema,
    shard_name,
    write_dataset_dict,
    write_split_metadata,
)

COLUMNS = {"id": pa.string(), "path": pa.string(), "audio": AUDIO_TYPE, "sentence": pa.string()}
ROWS_PER_SHARD = 1000


def write_corpus(root: Path, sounds: Sequence[bytes], n_clips: int) -> Path:
    """Write a corpus of so many clips, which are the given FLAC files over and over."""
    schema = corpus_schema(COLUMNS, 16_000)
    folder = root / "dataset" / "train"
    folder.mkdir(parents=True)
    n_shards = -(-n_clips // ROWS_PER_SHARD)
    names = [shard_name(index, n_shards) for index in range(n_shards)]
    for index, name in enumerate(names):
        rows = [
            {
                "id": f"clip-{number:09d}",
                "path": f"clip-{number:09d}.flac",
                "audio": {"bytes": sounds[number % len(sounds)], "path": f"{number:09d}.flac"},
                "sentence": "one two three",
            }
            for number in range(index * ROWS_PER_SHARD, min(n_clips, (index + 1) * ROWS_PER_SHARD))
        ]
        with pa.ipc.new_stream(str(folder / name), schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    write_split_metadata(folder, schema, names, "0" * 16)
    write_dataset_dict(root / "dataset", ("train",))
    return root
