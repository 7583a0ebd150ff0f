"""A manifest: a table that names sound files, as VoxForge-like corpora and NeMo have it.

The files lie below the folder of the manifest, or below another one that the user names; a path
that leads out of it is not followed. Columns are found by their names, whoever chose them.
"""

import functools
import hashlib
import json
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import ClipError, InputError
from pipeline.imports.clips import Clip, Part, inside
from pipeline.imports.lines import SPLIT_NAMES, split_name
from pipeline.imports.records import SUFFIXES, Manifest, Record, open_manifest
from pipeline.shards import Quarantined

# What is looked for in a header, in the order of preference.
NAMES: dict[str, tuple[str, ...]] = {
    "path": (
        *("path", "audio_filepath", "audio_path", "wav_filename", "file_name", "filename"),
        *("file", "audio_file", "wav", "audio", "clip"),
    ),
    "sentence": (
        *("sentence", "text", "transcript", "transcription", "normalized_text", "raw_text"),
        *("prompt", "label"),
    ),
    "id": ("id", "utt_id", "utterance_id"),
    "duration": ("duration", "duration_s", "seconds"),
    "offset": ("offset", "start"),
    "split": ("split", "subset", "set", "partition"),
    # In the words of Common Voice, so that corpora can be compared by them.
    "client_id": ("client_id", "speaker_id", "speaker", "spk_id", "spk"),
    "gender": ("gender", "sex"),
    "accents": ("accents", "accent", "dialect"),
    "locale": ("locale", "language", "lang"),
}
REQUIRED = ("path", "sentence")
SPLIT = re.compile(r"[\w][\w.-]{0,99}")
NOT_SPLITS = ("manifest", "metadata")
TYPES: dict[type, pa.DataType] = {
    **{bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
}
LARGEST_INTEGER = 2**63 - 1


def find_manifests(path: Path) -> list[Path]:
    """List the manifests of a folder, or the one that is named itself."""
    candidates = [path] if path.is_file() else sorted(path.glob("*"))
    return [each for each in candidates if each.suffix.lower() in SUFFIXES and _is_manifest(each)]


@dataclass
class ManifestFolder:
    """One manifest, or a folder with a manifest for each split.

    Parameters
    ----------
    source : Path
        The file or the folder.
    audio_root : Path, optional
        Folder that paths start from and must not leave; by default that of the manifest.
    """

    source: Path
    audio_root: Path | None = None
    name: str = field(default="manifest", init=False)

    @cached_property
    def root(self) -> Path:
        """Folder that paths start from."""
        own = self.source if self.source.is_dir() else self.source.parent
        return (self.audio_root or own).resolve()

    @cached_property
    def manifests(self) -> list[Manifest]:
        """The files."""
        found = find_manifests(self.source)
        if not found and self.source.is_file():
            _roles(open_manifest(self.source))  # says what it lacks
        if not found:
            raise InputError(
                f"{self.source} has no manifest: a .tsv, .csv or .jsonl whose header names a "
                f"column of paths ({', '.join(NAMES['path'])}) and one of sentences "
                f"({', '.join(NAMES['sentence'])})"
            )
        return [open_manifest(path) for path in found]

    @cached_property
    def index(self) -> "Index":
        """Where every row is."""
        return _index(self.manifests, self.root)

    @property
    def splits(self) -> tuple[str, ...]:
        """As a column names them, or the files."""
        return tuple(self.index.rows)

    @property
    def default_splits(self) -> tuple[str, ...]:
        """All of them."""
        return self.splits

    def size(self, split: str) -> int:
        """Count the rows."""
        return len(self.index.rows[split])

    def columns(self, splits: tuple[str, ...]) -> Mapping[str, pa.DataType]:
        """Every column of the manifests; those of text and mixed ones are text."""
        return self.index.columns

    def digest(self, splits: tuple[str, ...]) -> str:
        """Digest of the manifests, and of the sizes of the files they name."""
        return self.index.digest

    def clips(self, split: str, start: int, stop: int) -> Iterator[Clip | Quarantined]:
        """Read some rows."""
        for number, row in enumerate(self.index.rows[split][start:stop], start):
            which, offset, size, line_number = map(int, row)
            manifest = self.manifests[which]
            with manifest.path.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
            where = f"{manifest.path.name}, line {line_number}"
            if number in self.index.repeats[split]:
                yield Quarantined("", where, "malformed row: the same id is in this split twice")
                continue
            try:
                values = _named(manifest, content)
            except ClipError as error:
                yield Quarantined("", where, f"malformed row: {error}")
                continue
            yield self._clip(values)

    def _clip(self, values: Mapping[str, Any]) -> Clip | Quarantined:
        path = str(values["path"])
        clip_id = _id(values, self.index.has_unique_stems)
        try:
            sound = inside(self.root, path)
            part, stated = _part(values)
        except ClipError as error:
            return Quarantined(clip_id, path, str(error))
        columns = {
            name: _typed(values.get(name), kind) for name, kind in self.index.columns.items()
        }
        columns["sentence"] = _typed(values["sentence"], pa.string())
        return Clip(clip_id, path, sound, columns, stated, part)


@dataclass(frozen=True)
class Index:
    """What one pass over the manifests has found.

    Attributes
    ----------
    rows : dict of str to np.ndarray [shape=(n_rows, 4), dtype=int64]
        By split: number of the file, offset, bytes, line.
    repeats : dict of str to frozenset of int
        Rows whose id an earlier one of the split has.
    columns : dict of str to pa.DataType
    has_unique_stems : bool
        Whether file names alone tell all clips apart; else ids are made of paths.
    digest : str
    """

    rows: dict[str, np.ndarray]
    repeats: dict[str, frozenset[int]]
    columns: dict[str, pa.DataType]
    has_unique_stems: bool
    digest: str


def _index(manifests: list[Manifest], root: Path) -> Index:
    places: dict[str, array[int]] = {}
    hashes: dict[str, tuple[array[int], array[int]]] = {}
    columns: dict[str, pa.DataType] = {}
    digest = hashlib.sha256()
    for which, manifest in enumerate(manifests):
        digest.update(f"{manifest.path.name} {manifest.header}\n".encode(errors="replace"))
        file_split = _split_of_file(manifest.path, len(manifests))
        for record in manifest.records():
            digest.update(record.content)
            try:
                values = _named(manifest, record.content)
            except ClipError:
                values = {}
            split = _split_of_row(values, file_split, manifest.path, record)
            row = (which, record.offset, len(record.content), record.line_number)
            places.setdefault(split, array("q")).extend(row)
            stems, paths = hashes.setdefault(split, (array("Q"), array("Q")))
            _learn_types(columns, values)
            # A row without a path is malformed, and like no other.
            stems.append(_hash(_id(values, True) if values else repr(row)))
            paths.append(_hash(_id(values, False) if values else repr(row)))
            digest.update(f"{_size(root, values)}\n".encode())
    rows = {split: np.array(flat, dtype=np.int64).reshape(-1, 4) for split, flat in places.items()}
    by_stem = {split: _repeats(stems) for split, (stems, _) in hashes.items()}
    by_path = {split: _repeats(paths) for split, (_, paths) in hashes.items()}
    unique = by_stem == by_path
    columns = {name: pa.string() if kind == pa.null() else kind for name, kind in columns.items()}
    return Index(rows, by_stem if unique else by_path, columns, unique, digest.hexdigest())


def _is_manifest(path: Path) -> bool:
    try:
        _roles(open_manifest(path))
    except InputError:
        return False
    return True


@functools.lru_cache
def _roles(manifest: Manifest) -> dict[str, str]:
    """Header -> our name, for the columns that have one."""
    lower = {name.lower(): name for name in reversed(manifest.header)}
    found = {}
    for ours, theirs in NAMES.items():
        name = next((lower[each] for each in theirs if each in lower), None)
        if name is not None:
            found[name] = ours
    missing = [ours for ours in REQUIRED if ours not in found.values()]
    if missing:
        raise InputError(
            f"{manifest.path} is not a manifest: its header is {', '.join(manifest.header)!r}, and "
            f"no column is {' and none is '.join(f'called {_either(NAMES[m])}' for m in missing)}"
        )
    return found


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _named(manifest: Manifest, content: bytes) -> dict[str, Any]:
    """Fields of a row by our names."""
    roles = _roles(manifest)
    row = {roles.get(name, name): value for name, value in manifest.parse(content).items()}
    path = row.get("path")
    if not isinstance(path, str) or not PurePosixPath(path).name:
        raise ClipError("no path")
    row.setdefault("sentence", None)
    return row


def _split_of_file(path: Path, n_files: int) -> str:
    words = [word for word in re.split(r"[_.-]", path.stem.lower()) if word not in NOT_SPLITS]
    known = [word for word in words if word in SPLIT_NAMES]
    if known:
        return split_name(known[0])
    if n_files == 1:
        return "train"
    return re.sub(r"[^\w.-]", "_", path.stem)


def _split_of_row(values: Mapping[str, Any], otherwise: str, path: Path, record: Record) -> str:
    name = values.get("split")
    if name in (None, ""):
        return otherwise
    if not isinstance(name, str) or not SPLIT.fullmatch(name):
        raise InputError(
            f"{path}, line {record.line_number}: the split {name!r} cannot be the name of a folder"
        )
    return split_name(name)


def _id(values: Mapping[str, Any], by_stem: bool) -> str:
    if values.get("id") not in (None, ""):
        return str(values["id"])
    path = PurePosixPath(values["path"])
    parts = [part for part in path.with_suffix("").parts if part not in ("/", "..")]
    name = path.stem if by_stem else "-".join(parts)
    # Parts of one file are told apart by where they begin, in milliseconds.
    start = _number(values.get("offset"))
    return f"{name}-{round(1000 * min(start, 1e9)):07d}" if start else name


def _part(values: Mapping[str, Any]) -> tuple[Part | None, float | None]:
    """The part of the file that a row means, or the duration it states of all of it."""
    start, seconds = _number(values.get("offset")), _number(values.get("duration"))
    for name, number in (("offset", start), ("duration", seconds)):
        if values.get(name) not in (None, "") and number is None:
            raise ClipError(f"malformed {name}: {values[name]!r}")
    return (None, seconds) if start is None else (Part(start, seconds), seconds)


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < float("inf") else None


def _learn_types(columns: dict[str, pa.DataType], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is None:
            columns.setdefault(name, pa.null())
            continue
        kind = TYPES.get(type(value), pa.string())
        if kind == pa.int64() and abs(value) > LARGEST_INTEGER:
            kind = pa.string()
        known = columns.get(name, pa.null())
        if known in (pa.null(), kind):
            columns[name] = kind
        elif {known, kind} == {pa.int64(), pa.float64()}:
            columns[name] = pa.float64()
        else:
            columns[name] = pa.string()


def _typed(value: Any, kind: pa.DataType) -> Any:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) if kind == pa.string() else value


def _size(root: Path, values: Mapping[str, Any]) -> int | None:
    try:
        return (root / values["path"]).stat().st_size if values else None
    except (OSError, ValueError):
        return None


def _hash(key: str) -> int:
    encoded = key.encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())


def _repeats(hashes: "array[int]") -> frozenset[int]:
    keys = np.array(hashes, dtype=np.uint64)
    _, first = np.unique(keys, return_index=True)
    is_repeat = np.ones(len(keys), dtype=bool)
    is_repeat[first] = False
    return frozenset(np.flatnonzero(is_repeat).tolist())
