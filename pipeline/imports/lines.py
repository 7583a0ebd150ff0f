"""Text files of a corpus: found by their lines, read by ranges, none of them trusted."""

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import InputError

LONGEST_LINE = 2**20  # bytes
# What corpora call their splits, and what these are called here.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class Lines:
    """A text file, indexed.

    Attributes
    ----------
    path : Path
    offsets : np.ndarray [shape=(n_lines + 1,), dtype=int64]
        Where each line starts, in bytes; the last is the end of the file.
    sha256 : str
        Of the file.
    """

    path: Path
    offsets: np.ndarray
    sha256: str

    def __len__(self) -> int:
        """Count the lines."""
        return len(self.offsets) - 1

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Read lines ``start`` to ``stop``, without their ends."""
        with self.path.open("rb") as file:
            for first, last in zip(
                self.offsets[start:stop], self.offsets[start + 1 : stop + 1], strict=True
            ):
                file.seek(first)
                yield file.read(int(last - first)).rstrip(b"\r\n")


def index_lines(path: Path) -> Lines:
    """Find the lines of a file; empty ones at its end are none. Memory grows by 8 bytes a line.

    Raises
    ------
    InputError
        If a line is too long for a text of one clip, or the file cannot be read.
    """
    digest, offsets, n_lines = hashlib.sha256(), array("q", [0]), 0
    for line in each_line(path):
        digest.update(line)
        offsets.append(offsets[-1] + len(line))
        if line.strip():
            n_lines = len(offsets) - 1
    return Lines(path, np.array(offsets, dtype=np.int64)[: n_lines + 1], digest.hexdigest())


def each_line(path: Path) -> Iterator[bytes]:
    """Read a file line by line, ends included.

    Raises
    ------
    InputError
        If a line is too long for a text of one clip, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise InputError(
                        f"{path} has a line of more than {LONGEST_LINE:,} bytes; "
                        "it is no list of clips"
                    )
                yield line
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def split_name(name: str) -> str:
    """Call a split what it is called here: ``dev`` becomes ``validation``."""
    return SPLIT_NAMES.get(name.lower(), name)
