"""The corpus on disk: the one module that knows the layout of a dataset folder.

A corpus is a Hugging Face ``DatasetDict`` as ``save_to_disk`` writes it, read here through memory
maps with pyarrow alone, so that it opens at once and needs neither torch nor FFmpeg::

    <root>/dataset/dataset_dict.json
    <root>/dataset/<split>/{data-00000-of-00004.arrow, …, dataset_info.json, state.json}
    <root>/run.json  quarantine.jsonl          what made it, and what it left out
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from pipeline.audio import SAMPLING_RATE, load_mono
from pipeline.errors import InputError, MissingPathError

DATASET_FOLDER = "dataset"
AUDIO_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
# Whoever finds more splits keeps them behind these, in alphabetical order.
SPLIT_ORDER = ("train", "validation", "test", "other", "invalidated", "validated")
HIGHEST_RATE = 10**6  # Hz; no file says more
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How numpy says so, without a number.
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")


@dataclass(frozen=True)
class Split:
    """One split of a corpus, memory-mapped: rows are read when they are asked for."""

    name: str
    shards: tuple[Path, ...]
    sampling_rate: int = SAMPLING_RATE

    def __getstate__(self) -> dict[str, Any]:
        """Travel to workers as a name and paths: a mapped table would be sent whole."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def table(self) -> pa.Table:
        """All columns; the buffers stay on disk until they are touched."""
        return pa.concat_tables(_map_shard(path) for path in self.shards)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.table.column_names)

    @cached_property
    def _batches(self) -> tuple[list[pa.RecordBatch], np.ndarray]:
        """Record batches, and the first row of each: a row is found without a walk through all."""
        batches = self.table.to_batches()
        return batches, np.cumsum([0, *(batch.num_rows for batch in batches)])

    def _locate(self, index: int) -> tuple[pa.RecordBatch, int]:
        batches, starts = self._batches
        place = int(np.searchsorted(starts, index, side="right")) - 1
        if not 0 <= place < len(batches):
            raise IndexError(f"row {index} of {len(self)}")
        return batches[place], index - int(starts[place])

    def __len__(self) -> int:
        """Count the rows."""
        return self.table.num_rows

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all rows.

        Raises
        ------
        InputError
            If there is no such column.
        """
        if name not in self.columns:
            raise InputError(
                f"split {self.name!r} has no column {name!r}; it has: {', '.join(self.columns)}"
            )
        return self.table.column(name)

    def row(self, index: int) -> dict[str, Any]:
        """All columns of one row but the audio."""
        batch, row = self._locate(index)
        return {name: batch[name][row].as_py() for name in self.columns if name != "audio"}

    def audio_bytes(self, index: int) -> bytes:
        """The encoded audio file of one row."""
        if "audio" not in self.columns:
            self.column("audio")  # says what there is instead
        batch, row = self._locate(index)
        return batch["audio"][row]["bytes"].as_py() or b""

    def at_rate(self, sampling_rate: int) -> "Split":
        """Return the same rows, decoded at another sampling rate in Hz."""
        split = replace(self, sampling_rate=sampling_rate)
        split.__dict__.update({"table": self.table, "_batches": self._batches})
        return split

    def waveform(self, index: int) -> np.ndarray:
        """Decode one row: float32 [shape=(n,)], mono, at ``sampling_rate`` Hz."""
        return load_mono(self.audio_bytes(index), self.sampling_rate)


@dataclass(frozen=True)
class Corpus:
    """A dataset folder with its splits."""

    root: Path
    splits: tuple[str, ...]
    sampling_rate: int

    @property
    def dataset(self) -> Path:
        """The folder that ``datasets.load_from_disk`` opens."""
        return self.root / DATASET_FOLDER

    def __getitem__(self, name: str) -> Split:
        """Open one split."""
        if name not in self.splits:
            raise InputError(
                f"{self.root} has no split {name!r}; available splits: {', '.join(self.splits)}"
            )
        return Split(name, _shards_of(self.dataset / name), self.sampling_rate)

    def run(self) -> dict[str, Any]:
        """What ``run.json`` says of how this corpus was made; empty if it came from elsewhere."""
        return read_json(self.root / "run.json")


def corpus_root(path: Path) -> Path:
    """Accept a corpus by its root or by the ``dataset`` folder inside it."""
    is_inside = path.name == DATASET_FOLDER and (path / "dataset_dict.json").is_file()
    return path.parent if is_inside else path


def open_corpus(path: Path | str) -> Corpus:
    """Open a corpus by its root, or by the ``dataset`` folder inside it.

    Raises
    ------
    MissingPathError, InputError
        If there is nothing there, or something else.
    """
    root = corpus_root(Path(path))
    if not root.exists():
        raise MissingPathError(f"{root} does not exist; make it first, or name another folder")
    description = root / DATASET_FOLDER / "dataset_dict.json"
    if not description.is_file():
        raise InputError(
            f"{root} holds no finished dataset ({description} is missing); "
            "finish the stage that makes it by running it again"
        )
    splits = _split_names(description)
    return Corpus(root, splits, _sampling_rate(root / DATASET_FOLDER, splits))


def order_splits(names: Mapping[str, Any] | set[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Sort split names: the familiar ones first, in their familiar order."""
    known = [name for name in SPLIT_ORDER if name in names]
    return (*known, *sorted(set(names) - set(known)))


def shard_name(index: int, n_shards: int) -> str:
    """File name of a shard, as ``save_to_disk`` spells it."""
    return f"data-{index:05d}-of-{n_shards:05d}.arrow"


def corpus_schema(columns: Mapping[str, pa.DataType], sampling_rate: int) -> pa.Schema:
    """Arrow schema with the feature description that makes ``audio`` an ``Audio`` column."""
    features = {name: _feature(kind, sampling_rate) for name, kind in columns.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(list(columns.items()), metadata=metadata)


def write_split_metadata(folder: Path, schema: pa.Schema, shards: list[str], digest: str) -> None:
    """Write ``dataset_info.json`` and ``state.json``: after this a split can be opened."""
    info = json.loads((schema.metadata or {})[b"huggingface"])["info"]
    write_json(folder / "dataset_info.json", {"citation": "", "description": "", **info})
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in shards],
        "_fingerprint": digest[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": folder.name,
    }
    write_json(folder / "state.json", state)


def write_dataset_dict(dataset: Path, splits: tuple[str, ...]) -> None:
    """Write ``dataset_dict.json``, the last file of a dataset."""
    write_json(dataset / "dataset_dict.json", {"splits": list(splits)})


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one.

    Raises
    ------
    InputError
        If the file cannot be read, or is not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); delete it and run again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object; delete it and run again")
    return value


def write_json(path: Path, value: object) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name, flush to disk, rename."""
    with write_path(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def write_path(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; flushed and renamed to ``path`` if all went well."""
    temporary = path.with_name(path.name + ".tmp")
    with explain_full_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                flush_to_disk(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn the system's word for a full disk into one that says what to do.

    Raises
    ------
    InputError
        If what is done inside finds no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM and not SHORT_WRITE.fullmatch(str(error)):
            raise
        reason = os.strerror(error.errno or errno.ENOSPC)
        raise InputError(
            f"no space left on the disk of {folder} ({reason}); free some and "
            "run the same command again: what is finished is kept"
        ) from error


def size_of(path: Path) -> int | None:
    """Bytes of a file; None if it is missing."""
    return path.stat().st_size if path.is_file() else None


def sizes_below(root: Path, paths: Iterable[Path]) -> dict[str, int | None]:
    """Bytes of files below a folder, by which one that is cut later is noticed."""
    return {str(path.relative_to(root)): size_of(path) for path in paths}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise MissingPathError(f"{path} does not exist; make it first, or name another") from error


def flush_to_disk(file: BinaryIO) -> None:
    """Make sure the bytes of an open file survive a crash."""
    file.flush()
    os.fsync(file.fileno())


def files_digest(folder: Path, names: Iterable[str]) -> str:
    """SHA-256 of some files of a folder; those that are absent count as absent."""
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        digest.update(f"{name} {file_digest(path) if path.is_file() else None}\n".encode())
    return digest.hexdigest()


def _map_shard(path: Path) -> pa.Table:
    try:
        table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        _check(table)
        table.column_names  # noqa: B018, which may be no text
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as an Arrow shard ({reason}); "
            "delete it and run the stage that made it again"
        ) from error
    return table


def _check(table: pa.Table) -> None:
    """Refuse what Arrow, which trusts its files, would die of: offsets that lead elsewhere."""
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        # Text that is no UTF-8 concerns its own row; offsets are checked after text.
        if "UTF8" not in str(error):
            raise
        as_bytes = pa.schema([field.with_type(_as_bytes(field.type)) for field in table.schema])
        table.cast(as_bytes).validate(full=True)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind.fields])
    return pa.binary() if pa.types.is_string(kind) else kind


def _shards_of(folder: Path) -> tuple[Path, ...]:
    files = read_json(folder / "state.json").get("_data_files")
    try:
        # Only plain names: the file may come from a stranger.
        shards = tuple(folder / Path(entry["filename"]).name for entry in files or ())
    except (KeyError, TypeError):
        shards = ()
    if not shards:
        raise InputError(
            f"{folder} has no shards: its state.json is missing or damaged; "
            "run the stage that made it again"
        )
    return shards


def _split_names(description: Path) -> tuple[str, ...]:
    splits = read_json(description).get("splits", [])
    if not isinstance(splits, list):
        raise InputError(f"{description} is damaged: its splits are {splits!r}, which is no list")
    for split in splits:
        # The file may come from a stranger, and a stage writes to a folder of this name.
        is_name = isinstance(split, str) and "/" not in split and split.isprintable()
        if not is_name or split in ("", ".", "..") or splits.count(split) > 1:
            raise InputError(
                f"{description} names a split {split!r}, which is no folder name of its own"
            )
    return tuple(splits)


def _sampling_rate(dataset: Path, splits: tuple[str, ...]) -> int:
    for split in splits:
        path = dataset / split / "dataset_info.json"
        features = read_json(path).get("features") or {}
        audio = (features.get("audio") or {}) if isinstance(features, dict) else features
        rate = (audio.get("sampling_rate") or SAMPLING_RATE) if isinstance(audio, dict) else None
        if type(rate) is not int or not 0 < rate <= HIGHEST_RATE:
            raise InputError(f"{path} is damaged: {audio!r} describes no audio column")
        return rate
    return SAMPLING_RATE


def _feature(kind: pa.DataType, sampling_rate: int) -> dict[str, Any]:
    if kind == AUDIO_TYPE:
        return {"sampling_rate": sampling_rate, "_type": "Audio"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type, sampling_rate), "_type": "List"}
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
