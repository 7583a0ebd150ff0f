"""Shards: the unit of work, of writing and of restart."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.audio import SAMPLING_RATE
from pipeline.corpus import (
    DATASET_FOLDER,
    corpus_schema,
    explain_full_disk,
    flush_to_disk,
    read_json,
    shard_name,
    write_json,
)

ROWS_PER_BATCH = 32  # rows in memory per output before they go to disk


@dataclass(frozen=True)
class Output:
    """One corpus that a stage writes."""

    root: Path
    columns: Mapping[str, pa.DataType]
    sampling_rate: int = SAMPLING_RATE


@dataclass(frozen=True)
class Task:
    """Rows ``start`` to ``stop`` of a split, which become shard ``index`` of ``n_shards``."""

    split: str
    index: int
    n_shards: int
    start: int
    stop: int

    @property
    def n_rows(self) -> int:
        """Count the input rows."""
        return self.stop - self.start

    def __str__(self) -> str:
        """Name the shard as messages do."""
        return f"{self.split}/{shard_name(self.index, self.n_shards)}"


@dataclass(frozen=True)
class Remark:
    """What is to be known of a clip."""

    id: str
    path: str
    reason: str


class Quarantined(Remark):
    """A clip left out of every output, and why."""


@dataclass(frozen=True)
class Kept:
    """A clip that came through.

    Attributes
    ----------
    rows : tuple of dict
        One for each output.
    remark : Remark, optional
        What was done to the clip that its owner should know.
    is_further : bool
        Another part of the clip before: a row more, but no clip more.
    """

    rows: tuple[dict[str, Any], ...]
    remark: Remark | None = None
    is_further: bool = False


def shard_path(root: Path, task: Task) -> Path:
    """Where a shard lies once it is whole."""
    return root / DATASET_FOLDER / task.split / shard_name(task.index, task.n_shards)


def record_path(root: Path, task: Task) -> Path:
    """Where the record of a finished shard lies."""
    return root / "shards" / f"{task.split}-{task.index:05d}-of-{task.n_shards:05d}.json"


def read_record(path: Path) -> dict[str, Any]:
    """What is known of a finished shard: its rows, its digest and its size, who was left out."""
    return read_json(path)


def is_done(task: Task, outputs: Iterable[Output]) -> bool:
    """Whether the shard is recorded and whole in every output."""
    return all(_is_whole(shard_path(o.root, task), record_path(o.root, task)) for o in outputs)


def write_shard(
    task: Task, outputs: tuple[Output, ...], results: Iterable[Kept | Quarantined]
) -> None:
    """Write one shard of every output, then the records that say it is done.

    Raises
    ------
    InputError
        If the disk is full; nothing half-written is left under a final name.
    """
    with explain_full_disk(outputs[0].root):
        _write(task, outputs, results)


def _write(task: Task, outputs: tuple[Output, ...], results: Iterable[Kept | Quarantined]) -> None:
    writers: list[_ShardWriter] = []
    n_clips, quarantined, remarks = 0, [], []
    try:
        for output in outputs:
            writers.append(_ShardWriter(shard_path(output.root, task), output))
        for result in results:
            if isinstance(result, Quarantined):
                quarantined.append({**asdict(result), "split": task.split})
                continue
            n_clips += not result.is_further
            if result.remark:
                remarks.append({**asdict(result.remark), "split": task.split})
            for writer, row in zip(writers, result.rows, strict=True):
                writer.add(row)
        for writer in writers:
            writer.commit()
    finally:
        for writer in writers:
            writer.discard()
    for writer, output in zip(writers, outputs, strict=True):
        facts = {"clips_out": n_clips, "quarantined": quarantined, "remarks": remarks}
        facts["further_rows"] = writer.n_rows - n_clips
        file = {"xxh128": writer.xxh128, "bytes": writer.n_bytes}
        write_json(record_path(output.root, task), {**facts, **file})


def record_batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Arrow's form of some rows, in which a two-dimensional array is a list of lists.

    Arrow by itself takes such an array for a list of Python objects; here it is copied once, whole.
    """
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        is_nested = pa.types.is_list(field.type) and pa.types.is_list(field.type.value_type)
        matrices = [value for value in values if isinstance(value, np.ndarray)]
        if is_nested and len(matrices) == len(values):
            columns.append(_lists_of_lists(matrices, field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _lists_of_lists(matrices: Sequence[np.ndarray], kind: pa.ListType) -> pa.ListArray:
    heights = [len(matrix) for matrix in matrices]
    widths = np.repeat([matrix.shape[1] for matrix in matrices], heights)
    values = np.concatenate([matrix.ravel() for matrix in matrices])
    inner = pa.ListArray.from_arrays(_offsets(widths), pa.array(values), kind.value_type)
    return pa.ListArray.from_arrays(_offsets(heights), inner, kind)


def _offsets(lengths: Sequence[int] | np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def _is_whole(shard: Path, record: Path) -> bool:
    try:
        return bool(json.loads(record.read_bytes())["bytes"] == shard.stat().st_size)
    except (FileNotFoundError, ValueError, RecursionError, KeyError, TypeError):
        return False


class _ShardWriter:
    """Arrow stream under a temporary name, hashed on its way to the disk."""

    def __init__(self, path: Path, output: Output) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.n_rows = 0
        self._path = path
        self._temporary = path.with_name(path.name + ".tmp")
        self._schema = corpus_schema(output.columns, output.sampling_rate)
        # A new file, not an old one cut to nothing: a dying worker may have that open still.
        self._temporary.unlink(missing_ok=True)
        self._file = _HashingFile(self._temporary.open("wb"))
        self._sink = pa.PythonFile(self._file, mode="w")
        self._stream = pa.ipc.new_stream(self._sink, self._schema)
        self._rows: list[dict[str, Any]] = []

    @property
    def xxh128(self) -> str:
        return self._file.digest.hexdigest()

    @property
    def n_bytes(self) -> int:
        return self._file.n_bytes

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.n_rows += 1
        if len(self._rows) == ROWS_PER_BATCH:
            self._flush()

    def commit(self) -> None:
        self._flush()
        self._stream.close()
        flush_to_disk(self._file.file)
        self._file.file.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        with suppress(OSError):  # on a full disk, closing fails as writing did
            self._file.file.close()
        self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._rows:
            self._stream.write_batch(record_batch(self._rows, self._schema))
            self._rows = []


class _HashingFile:
    """A file for pyarrow that knows the XXH128 of what went through it.

    It tells files apart, and whole ones from damaged ones, at a tenth of the cost of SHA-256.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = xxhash.xxh3_128()
        self.n_bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.n_bytes += len(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.closed = True
