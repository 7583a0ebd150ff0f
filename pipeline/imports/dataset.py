"""A Hugging Face dataset folder, as ``save_to_disk`` leaves it: with one split or with several.

Sounds may be encoded files, files beside the dataset, or arrays of samples, as a pilot of this
project stored them: ``audio`` a struct of ``array`` and ``sampling_rate``, or a list with the rate
in a column of its own. Nothing outside of the folder is read, whatever the dataset says.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.audio import SAMPLING_RATE, DecodedAudio
from pipeline.corpus import DATASET_FOLDER, Split, order_splits, read_json
from pipeline.errors import ClipError, InputError
from pipeline.imports.clips import Clip, inside
from pipeline.imports.lines import split_name
from pipeline.shards import Quarantined

DICT_FILE, STATE_FILE = "dataset_dict.json", "state.json"
AUDIO_COLUMNS = ("audio", "speech", "array", "input_values")
SENTENCE_COLUMNS = ("sentence", "text", "transcription", "transcript", "normalized_text")
ID_COLUMNS = ("id", "utterance_id")
PATH_COLUMNS = ("path", "file", "file_name")
RATES_HZ = (1_000, 768_000)


def dataset_folder(path: Path) -> Path | None:
    """Find the dataset: the folder itself, or ``dataset`` in it, as our own corpora have it."""
    for folder in (path, path / DATASET_FOLDER):
        if (folder / DICT_FILE).is_file() or (folder / STATE_FILE).is_file():
            return folder
    return None


@dataclass
class HuggingFace:
    """A dataset folder, opened without a library that would run its code."""

    source: Path
    name: str = field(default="huggingface", init=False)

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Folders of the splits."""
        root = dataset_folder(self.source)
        if root is None:
            raise InputError(
                f"{self.source} is no dataset: it needs {DICT_FILE}, or {STATE_FILE} of one split"
            )
        if not (root / DICT_FILE).is_file():
            name = read_json(root / STATE_FILE).get("_split")
            return {_checked(name, root / STATE_FILE) if name else "train": root}
        names = read_json(root / DICT_FILE).get("splits")
        if not isinstance(names, list):
            raise InputError(f"{root / DICT_FILE} is damaged: it has no list of splits")
        checked = [_checked(name, root / DICT_FILE) for name in names]
        return {name: root / name for name in checked}

    @property
    def splits(self) -> tuple[str, ...]:
        """As the dataset names them, but ``dev`` and the like, which are ``validation``."""
        return order_splits(tuple(self._names))

    @cached_property
    def _names(self) -> dict[str, str]:
        names = {split_name(name): name for name in self.folders}
        return names if len(names) == len(self.folders) else {name: name for name in self.folders}

    @property
    def default_splits(self) -> tuple[str, ...]:
        """All of them."""
        return self.splits

    def size(self, split: str) -> int:
        """Count the rows."""
        return len(self._split(split))

    def columns(self, splits: tuple[str, ...]) -> Mapping[str, pa.DataType]:
        """Every column of any split but the audio; what is neither number nor text is JSON."""
        return self._kinds

    @cached_property
    def _kinds(self) -> dict[str, pa.DataType]:
        kinds: dict[str, pa.DataType] = {}
        for split in self.splits:
            audio = self._roles(split).audio
            for column in self._split(split).table.schema:
                kind = _kind(column.type)
                if column.name != audio and kinds.setdefault(column.name, kind) != kind:
                    kinds[column.name] = pa.string()  # of different types in different splits
        return kinds

    def digest(self, splits: tuple[str, ...]) -> str:
        """Digest of names, sizes and times of the shards, and of the description of each split."""
        told: list[object] = []
        for split in splits:
            table = self._split(split)
            shards = [(shard.name, shard.stat().st_size) for shard in table.shards]
            told.append([split, shards, str(table.table.schema), len(table)])
            told.append(hashlib.sha256(_ends(table.shards)).hexdigest())
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def clips(self, split: str, start: int, stop: int) -> Iterator[Clip | Quarantined]:
        """Read some rows."""
        rows, roles = self._split(split).table.slice(start, stop - start), self._roles(split)
        is_sound = _fault(rows) is None  # else the rows are looked at one by one
        for number in range(len(rows)):
            where, row = f"{split}, row {start + number}", rows.slice(number, 1)
            fault = None if is_sound else _fault(row)
            if fault:
                yield Quarantined("", where, f"malformed row: {fault}")
                continue
            audio = row.column(roles.audio)[0]
            values = row.drop_columns([roles.audio]).to_pylist()[0]
            clip_id, path = _id(values, audio, roles, f"{split}-{start + number:09d}"), ""
            try:
                path = _text(audio, "path") or where
                yield self._clip(clip_id, path, audio, values, roles)
            except ClipError as error:
                yield Quarantined(clip_id, path or where, str(error))

    def _clip(
        self, clip_id: str, path: str, audio: pa.Scalar, values: Mapping[str, Any], roles: "Roles"
    ) -> Clip:
        columns = {name: _typed(values.get(name), kind) for name, kind in self._kinds.items()}
        columns["sentence"] = _typed(values.get(roles.sentence or ""), pa.string())
        return Clip(clip_id, path, self._sound(audio, values), columns)

    def _sound(self, audio: pa.Scalar, values: Mapping[str, Any]) -> bytes | Path | DecodedAudio:
        if not audio.is_valid:
            raise ClipError("no audio")
        if not isinstance(audio, pa.StructScalar):
            return _from_samples(audio, values.get("sampling_rate"))
        if (samples := _field(audio, "array")) is not None:
            rate = _field(audio, "sampling_rate")
            return _from_samples(samples, None if rate is None else rate.as_py())
        if (content := _field(audio, "bytes")) is not None and len(content.as_py()):
            return bytes(content.as_py())
        if not (name := _text(audio, "path")):
            raise ClipError("no audio")
        return inside(self.source.resolve(), name)

    @cached_property
    def _opened(self) -> dict[str, Split]:
        return {}

    def _split(self, split: str) -> Split:
        if split not in self._opened:
            self._opened[split] = _open_split(split, self.folders[self._names[split]])
        return self._opened[split]

    def _roles(self, split: str) -> "Roles":
        return _find_roles(self._split(split), self.source)


@dataclass(frozen=True)
class Roles:
    """Which columns of a dataset are what."""

    audio: str
    sentence: str | None
    id: str | None
    path: str | None


def _open_split(name: str, folder: Path) -> Split:
    files = read_json(folder / STATE_FILE).get("_data_files")
    try:
        # Only plain names: the file comes from a stranger.
        shards = tuple(folder / Path(entry["filename"]).name for entry in files or ())
    except (KeyError, TypeError):
        shards = ()
    if not shards:
        raise InputError(f"{folder} has no shards: its {STATE_FILE} is missing or damaged")
    split = Split(name, shards)
    try:
        len(split)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the shards of {folder} do not belong together ({reason})") from error
    return split


def _find_roles(split: Split, source: Path) -> Roles:
    kinds = {column.name: column.type for column in split.table.schema}
    audio = next((name for name in AUDIO_COLUMNS if name in kinds and _holds(kinds[name])), None)
    if audio is None:
        raise InputError(
            f"{source}, split {split.name!r}, has no column of sounds: "
            f"its columns are {', '.join(kinds)!r}"
        )

    def first(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in kinds), None)

    return Roles(audio, first(SENTENCE_COLUMNS), first(ID_COLUMNS), first(PATH_COLUMNS))


def _holds(kind: pa.DataType) -> bool:
    """Whether a column can hold sound."""
    if pa.types.is_struct(kind):
        return bool({"bytes", "array", "path"} & {kind.field(i).name for i in range(len(kind))})
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _fault(rows: pa.Table) -> str | None:
    """Say what is wrong with rows: a damaged offset could read anywhere in memory."""
    try:
        rows.validate(full=True)
    except pa.ArrowException as error:
        return " ".join(str(error).split())
    return None


def _field(audio: pa.Scalar, name: str) -> pa.Scalar | None:
    """A field of a struct, if it has it and it is not null."""
    field = audio[name] if name in audio.type.names else None
    return field if field is not None and field.is_valid else None


def _text(audio: pa.Scalar, name: str) -> str:
    field = _field(audio, name) if isinstance(audio, pa.StructScalar) and audio.is_valid else None
    return str(field.as_py()) if field is not None else ""


def _from_samples(samples: pa.Scalar, rate: object) -> DecodedAudio:
    rate = SAMPLING_RATE if rate is None else rate
    lowest, highest = RATES_HZ
    if not isinstance(rate, int | float) or not lowest <= rate <= highest:
        raise ClipError(f"sampling rate {rate!r} is not from {lowest} to {highest} Hz")
    values = samples.values if isinstance(samples, pa.ListScalar | pa.LargeListScalar) else None
    if values is None or not (
        pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    ):
        raise ClipError("its samples are no list of numbers")
    array = values.to_numpy(zero_copy_only=False).astype(np.float32)
    if not len(array):
        raise ClipError("no samples")
    if not np.isfinite(array).all():
        raise ClipError("NaN or infinite samples")
    return DecodedAudio(array[None], round(rate))


def _id(values: Mapping[str, Any], audio: pa.Scalar, roles: Roles, otherwise: str) -> str:
    value = values.get(roles.id) if roles.id else None
    if value not in (None, ""):
        return str(value)
    path = (values.get(roles.path) if roles.path else None) or _text(audio, "path")
    return PurePath(str(path)).stem if path else otherwise


def _kind(kind: pa.DataType) -> pa.DataType:
    """The type of our column for a column of the source."""
    simple = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if any(is_simple(kind) for is_simple in simple):
        return kind
    if pa.types.is_list(kind) and any(is_simple(kind.value_type) for is_simple in simple):
        return kind
    return pa.string()


def _typed(value: Any, kind: pa.DataType) -> Any:
    if value is None or isinstance(value, str) or kind != pa.string():
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _ends(shards: tuple[Path, ...]) -> bytes:
    """First and last bytes of every shard, which hold its schema and its last rows."""
    ends = []
    for shard in shards:
        with shard.open("rb") as file:
            head = file.read(1 << 16)
            file.seek(max(0, shard.stat().st_size - (1 << 16)))
            ends.append(head + file.read())
    return b"".join(ends)


def _checked(name: object, file: Path) -> str:
    if not isinstance(name, str) or name in ("", ".", "..") or not set("/\\\0").isdisjoint(name):
        raise InputError(f"{file} names a split {name!r}, which is no folder name")
    return name
