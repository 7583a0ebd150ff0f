"""The TSV files of a Common Voice release.

They are written without quoting, so a ``"`` in a sentence is a letter like any other, and a line is
a row whatever it holds. Lines are found by their byte offsets: any range of rows is read without
reading those before it.
"""

import hashlib
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import InputError

REQUIRED_COLUMNS = ("path", "sentence")
# Releases before 17.0 say `accent`.
RENAMED_COLUMNS = {"accent": "accents"}
LONGEST_LINE = 2**20  # bytes
MOST_DIGITS = 18  # of a number that fits into 64 bits


@dataclass(frozen=True)
class Malformed:
    """A line that is not a row."""

    line_number: int
    reason: str


@dataclass(frozen=True)
class Table:
    """A clip table, indexed.

    Attributes
    ----------
    path : Path
    columns : tuple of str
    offsets : np.ndarray [shape=(n_rows + 1,), dtype=int64]
        Where each line starts, in bytes; the last is the end of the file.
    names : np.ndarray [shape=(n_rows,), dtype=uint64]
        :func:`name_hash` of the clip that each row names.
    repeats : frozenset of int
        Rows whose clip an earlier row has already named.
    sha256 : str
        Of the file.
    """

    path: Path
    columns: tuple[str, ...]
    offsets: np.ndarray
    names: np.ndarray
    repeats: frozenset[int]
    sha256: str

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.offsets) - 1

    def rows(self, start: int, stop: int) -> Iterator[dict[str, str] | Malformed]:
        """Read rows ``start`` to ``stop``; the values are text as the file holds it."""
        with self.path.open("rb") as file:
            file.seek(self.offsets[start])
            block = file.read(int(self.offsets[stop] - self.offsets[start]))
        for number, line in enumerate(block.split(b"\n")[: stop - start], start):
            if number in self.repeats:
                # Line numbers count from one, and the header is the first line.
                yield Malformed(number + 2, "the same clip is in this table twice")
            else:
                yield self._parse(number, line)

    def _parse(self, number: int, line: bytes) -> dict[str, str] | Malformed:
        try:
            fields = line.decode("utf-8").rstrip("\r").split("\t")
        except UnicodeDecodeError as error:
            return Malformed(number + 2, f"not UTF-8 at byte {error.start} of the line")
        if len(fields) != len(self.columns):
            n_fields = f"{len(fields)} fields where the header has {len(self.columns)}"
            return Malformed(number + 2, n_fields)
        return dict(zip(self.columns, fields, strict=True))


def index_table(path: Path) -> Table:
    """Find the lines of a table and the clips it names twice; memory grows by 24 bytes a row.

    Raises
    ------
    InputError
        If the header lacks the columns a clip needs, or a line is too long for a row.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        header = file.readline(LONGEST_LINE)
        digest.update(header)
        columns = _columns(path, header)
        name_field = columns.index("path")
        position = file.tell()
        # Arrays of the standard library grow in place, and hold eight bytes a number.
        offsets, names = array("q", [position]), array("Q")
        last = header
        while line := file.readline(LONGEST_LINE):
            last = line
            if len(line) == LONGEST_LINE:
                raise InputError(
                    f"{path} has a line of more than {LONGEST_LINE:,} bytes: not a clip table"
                )
            digest.update(line)
            position += len(line)
            offsets.append(position)
            names.append(_row_hash(line, name_field))
    if len(offsets) > 1 and not last.strip(b"\r\n"):
        offsets.pop()  # an empty last line is not a clip
        names.pop()
    hashes = np.array(names, dtype=np.uint64)
    repeats = frozenset(_repeats(hashes))
    starts = np.array(offsets, dtype=np.int64)
    return Table(path, columns, starts, hashes, repeats, digest.hexdigest())


def file_name(path: str) -> str:
    """Name of the file that a row's ``path`` means: releases of old leave the suffix out."""
    return path if os.path.splitext(path)[1] else f"{path}.mp3"


def name_hash(name: str) -> int:
    """Hash of a clip's file name, of 64 bits."""
    return _hash(os.fsencode(name))


def read_durations(path: Path) -> "Durations":
    """Read ``clip_durations.tsv`` (``times.txt`` in old releases); an absent file knows nothing."""
    names, milliseconds = array("Q"), array("q")
    if path.is_file():
        with path.open("rb") as file:
            file.readline(LONGEST_LINE)
            while line := file.readline(LONGEST_LINE):
                name, _, duration = line.strip().partition(b"\t")
                if duration.isdigit() and len(duration) <= MOST_DIGITS:
                    names.append(_hash(name))
                    milliseconds.append(int(duration))
    hashes = np.array(names, dtype=np.uint64)
    order = np.argsort(hashes)
    return Durations(hashes[order], np.array(milliseconds, dtype=np.int64)[order])


@dataclass(frozen=True)
class Durations:
    """Durations by clip name, 16 bytes a clip."""

    hashes: np.ndarray
    milliseconds: np.ndarray

    def seconds(self, name: str) -> float | None:
        """Return the stated duration of a clip, if it is stated."""
        wanted = np.uint64(_hash(name.encode()))
        position = int(np.searchsorted(self.hashes, wanted))
        if position < len(self.hashes) and self.hashes[position] == wanted:
            return float(self.milliseconds[position]) / 1000
        return None


def _columns(path: Path, header: bytes) -> tuple[str, ...]:
    names = header.decode("utf-8-sig", errors="replace").rstrip("\r\n").split("\t")
    columns = tuple(RENAMED_COLUMNS.get(name, name) for name in names)
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing or len(set(columns)) != len(columns):
        raise InputError(
            f"{path} is not a clip table: its header is {', '.join(columns)!r}, "
            f"and it needs the columns {' and '.join(REQUIRED_COLUMNS)}, each column once"
        )
    return columns


def _row_hash(line: bytes, field: int) -> int:
    fields = line.rstrip(b"\r\n").split(b"\t", field + 1)
    if len(fields) <= field:
        return _hash(line)  # a line too short to name a clip gets a hash of its own
    name = fields[field]
    return _hash(name if os.path.splitext(name)[1] else name + b".mp3")


def _hash(value: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest())


def _repeats(hashes: np.ndarray) -> list[int]:
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    return [int(row) for row in order[1:][same]]
