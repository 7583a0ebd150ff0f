"""Which clips still find themselves under a hearing loss: what ``pipeline mine profiles`` left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hearing_analysis.dashboard.encoding import (
    EncodedArray,
    EncodedColumn,
    encode_array,
    encode_column,
)
from hearing_analysis.dashboard.results import read_result
from hearing_analysis.reports.table import AnalysisTable
from pipeline.errors import InputError, MissingPathError

SUMMARY, CLIPS = "profiles.json", "clips.parquet"
AGAIN = "make it with `pipeline mine profiles`"
MOST_CONFUSIONS = 200
# What the page takes of a clip under a profile; shares of these are its error rates.
RANK, MARGIN, BY_MARGIN = "mining_rank", "mining_margin", "mining_found_by_margin"
NEAREST = "mining_nearest_sentence"
COLUMNS = ("id", "profile_name", RANK, MARGIN, BY_MARGIN, NEAREST)


@dataclass(frozen=True)
class Confusion:
    """A word that stands in the place of another in the sentence that clips became."""

    profile: str
    said: str
    became: str
    clips: int


@dataclass(frozen=True)
class MiningSummary:
    """What was mined, and with what.

    Attributes
    ----------
    reference : str
        The profile that all others were held against.
    encoder : str
    k : int
        Neighbours that say what is usual around a clip.
    gallery : int
        Clips of the reference among which each had to find itself.
    confusions : tuple of Confusion
        The most frequent first.
    """

    reference: str
    encoder: str
    k: int
    gallery: int
    confusions: tuple[Confusion, ...]


@dataclass(frozen=True)
class MinedRows:
    """What mining says of every row of the table.

    Attributes
    ----------
    rank : EncodedArray
        f4, 1 where a clip's nearest is itself; NaN where nothing is known.
    margin : EncodedArray
        f4, of the clip with itself; likewise.
    found : EncodedArray
        f4, 1 where the best match by margin is itself, 0 where it is not; likewise.
    nearest : EncodedColumn
        The sentence of the nearest clip.
    """

    rank: EncodedArray
    margin: EncodedArray
    found: EncodedArray
    nearest: EncodedColumn


@dataclass(frozen=True)
class Mining:
    """All of it."""

    summary: MiningSummary
    rows: MinedRows


def read_mining(folder: Path, table: AnalysisTable) -> Mining:
    """Read what ``pipeline mine profiles`` was given as ``--output``, for the rows of a table.

    Raises
    ------
    MissingPathError, InputError
        If it is not there, is not what the command writes, or knows no clip of the table.
    """
    return Mining(_read_summary(folder / SUMMARY), _read_rows(folder / CLIPS, table))


def _read_summary(path: Path) -> MiningSummary:
    found = read_result(path, AGAIN)
    try:
        return MiningSummary(
            str(found["reference"]),
            str(found["encoder"]),
            int(found["k"]),
            int(found["clips"]),
            tuple(map(_confusion, found["confusions"][:MOST_CONFUSIONS])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not what `pipeline mine profiles` writes; {AGAIN}") from error


def _confusion(row: dict[str, Any]) -> Confusion:
    return Confusion(str(row["profile"]), str(row["said"]), str(row["became"]), int(row["clips"]))


def _read_rows(path: Path, table: AnalysisTable) -> MinedRows:
    clips = _read_clips(path)
    keys = zip(clips["id"].to_pylist(), clips["profile_name"].to_pylist(), strict=True)
    places = {key: place for place, key in enumerate(keys)}
    wanted = zip(table.texts("id"), table.texts("profile_name"), strict=True)
    rows = np.array([places.get(key, -1) for key in wanted])
    if not (rows >= 0).any():
        raise InputError(
            f"{path} knows no clip of {table.path}; mine the profiles of the corpus that was "
            "analysed"
        )
    taken = clips.take(pa.array(np.where(rows >= 0, rows, 0)))
    there = pa.array(rows >= 0)

    def numbers(name: str) -> EncodedArray:
        values = pc.if_else(there, taken[name].cast(pa.float32()), None)
        return encode_array(pc.fill_null(values, np.nan).to_numpy())

    nearest = pc.if_else(there, taken[NEAREST].cast(pa.string()), None)
    return MinedRows(numbers(RANK), numbers(MARGIN), numbers(BY_MARGIN), encode_column(nearest))


def _read_clips(path: Path) -> pa.Table:
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; {AGAIN}")
    try:
        return pq.read_table(path, columns=list(COLUMNS)).select(COLUMNS)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not what `pipeline mine profiles` writes; {AGAIN}") from error
