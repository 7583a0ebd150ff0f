"""A Common Voice release as ``pipeline import`` sees it: rows of tables, and clips they name."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.commonvoice.archive import fingerprint
from pipeline.commonvoice.release import (
    DEFAULT_SPLITS,
    Release,
    extract_archive,
    find_release,
    is_archive,
)
from pipeline.commonvoice.tables import (
    MOST_DIGITS,
    Durations,
    Malformed,
    Table,
    file_name,
    index_table,
    read_durations,
)
from pipeline.errors import ClipError
from pipeline.imports.clips import Clip, Sound, plain_name
from pipeline.shards import Quarantined

COUNTS = ("up_votes", "down_votes")


@dataclass
class CommonVoice:
    """A release: its folder, or its archive, which is unpacked when it is needed.

    Parameters
    ----------
    source : Path
    unpack_to : Path
        Where an archive goes.
    """

    source: Path
    unpack_to: Path
    name: str = field(default="commonvoice", init=False)

    @cached_property
    def release(self) -> Release:
        """The release, unpacked if it came as an archive."""
        if is_archive(self.source) and self.source.is_file():
            return extract_archive(self.source, self.unpack_to)
        return find_release(self.source)

    @property
    def splits(self) -> tuple[str, ...]:
        """A split for every table."""
        return tuple(self.release.tables())

    @property
    def default_splits(self) -> tuple[str, ...]:
        """All but ``validated``, which repeats the others."""
        return tuple(split for split in DEFAULT_SPLITS if split in self.splits)

    def size(self, split: str) -> int:
        """Count the rows of a table."""
        return len(self.table(split))

    def table(self, split: str) -> Table:
        """Index a table, once."""
        if split not in self._tables:
            self._tables[split] = index_table(self.release.tables()[split])
        return self._tables[split]

    @cached_property
    def _tables(self) -> dict[str, Table]:
        return {}

    @cached_property
    def durations(self) -> Durations:
        """Durations that the release states."""
        return read_durations(self.release.durations)

    def columns(self, splits: tuple[str, ...]) -> Mapping[str, pa.DataType]:
        """Every column of the tables."""
        names = dict.fromkeys(name for split in splits for name in self.table(split).columns)
        return {name: pa.int64() if name in COUNTS else pa.string() for name in names}

    def digest(self, splits: tuple[str, ...]) -> str:
        """Digest of the tables, and of names and sizes of the clips; of an archive, its ends."""
        if is_archive(self.source) and self.source.is_file():
            return fingerprint(self.source)
        digests = {split: self.table(split).sha256 for split in splits}
        clips = sorted((path.name, _size(path)) for path in self.release.clips.iterdir())
        return hashlib.sha256(json.dumps([digests, clips]).encode()).hexdigest()

    def clips(self, split: str, start: int, stop: int) -> Iterator[Clip | Quarantined]:
        """Read some rows of a table."""
        table, sound_of = self.table(split), self._sounds(split, start)
        for row in table.rows(start, stop):
            if isinstance(row, Malformed):
                line = f"{table.path.name}, line {row.line_number}"
                yield Quarantined("", line, f"malformed row: {row.reason}")
                continue
            try:
                yield self._clip(row, sound_of)
            except ClipError as error:
                yield Quarantined(Path(row["path"]).stem, row["path"], str(error))

    def _sounds(self, split: str, start: int) -> Callable[[str], Path | Sound]:
        """How the rows from ``start`` on come by the sounds of the clips they name."""
        folder = self.release.clips
        return lambda name: folder / name

    def _clip(self, row: Mapping[str, str], sound_of: Callable[[str], Path | Sound]) -> Clip:
        name = file_name(plain_name(row["path"]))
        columns: dict[str, Any] = dict(row)
        columns.update({name: _count(row[name]) for name in COUNTS if name in row})
        seconds = self.durations.seconds(name)
        return Clip(Path(name).stem, row["path"], sound_of(name), columns, seconds)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a link to nothing; the row that names it is quarantined
        return None


def _count(text: str) -> int | None:
    is_count = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if is_count else None
