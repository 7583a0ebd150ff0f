"""The TSV files of a Common Voice release.

They are written without quoting, so a ``"`` in a sentence is a letter like any other, and a line is
a row whatever it holds. Lines are found by their byte offsets: any range of rows is read without
reading those before it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import InputError

REQUIRED_COLUMNS = ("path", "sentence")
# Releases before 17.0 say `accent`.
RENAMED_COLUMNS = {"accent": "accents"}
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
    repeats : frozenset of int
        Rows whose clip an earlier row has already named.
    sha256 : str
        Of the file.
    """

    path: Path
    columns: tuple[str, ...]
    offsets: np.ndarray
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
    """Find the lines of a table and the clips it names twice; memory grows by 16 bytes a row.

    Raises
    ------
    InputError
        If the header lacks the columns a clip needs.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        header = file.readline()
        digest.update(header)
        columns = _columns(path, header)
        name_field = columns.index("path")
        offsets, names, position = [file.tell()], [], file.tell()
        for line in file:
            digest.update(line)
            position += len(line)
            offsets.append(position)
            names.append(_name_hash(line, name_field))
    if len(offsets) > 1 and not line.strip(b"\r\n"):
        offsets.pop()  # an empty last line is not a clip
        names.pop()
    repeats = frozenset(_repeats(np.array(names, dtype=np.uint64)))
    return Table(path, columns, np.array(offsets, dtype=np.int64), repeats, digest.hexdigest())


def read_durations(path: Path) -> "Durations":
    """Read ``clip_durations.tsv`` (``times.txt`` in old releases); an absent file knows nothing."""
    names, milliseconds = [], []
    if path.is_file():
        with path.open("rb") as file:
            next(file, None)
            for line in file:
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


def _name_hash(line: bytes, field: int) -> int:
    fields = line.rstrip(b"\r\n").split(b"\t", field + 1)
    # A line too short to name a clip gets a hash of its own.
    return _hash(fields[field].removesuffix(b".mp3")) if len(fields) > field else _hash(line)


def _hash(value: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest())


def _repeats(hashes: np.ndarray) -> list[int]:
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    return [int(row) for row in order[1:][same]]
