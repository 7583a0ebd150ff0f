"""Array files of whoever wrote them, opened without running anything."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline.errors import InputError

# What numpy and zipfile raise over files that are damaged, or made to damage.
UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, ArithmeticError, MemoryError),
    *(SyntaxError, tokenize.TokenError, RecursionError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
LONGEST_REASON = 200


def map_array(path: Path, remedy: str) -> np.ndarray:
    """Map a ``.npy`` file into memory, for reading.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do if it cannot be, such as "make the shard again".

    Raises
    ------
    InputError
        If it is missing, truncated, or no array file.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise InputError(
            f"{path} is truncated or no array file ({reason_of(error)}); {remedy}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive, not an array; {remedy}")
    return array


def reason_of(error: BaseException) -> str:
    """What an error says, on one line of bounded length."""
    return " ".join(str(error).split()).strip("'\"").rstrip(".")[:LONGEST_REASON]
