"""Whose neighbours masked words become: what ``pipeline sse robustness`` has left."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hearing_analysis.dashboard.results import read_result
from pipeline.errors import InputError

RESULT = "robustness.json"
MOST_WORDS = 100  # that a matrix of the page can show
FIGURES = ("map_at_r", "map_at_r_of_reference_queries", "displacement", "words_kept")


@dataclass(frozen=True)
class ProfileNeighbourhoods:
    """What a profile does to words.

    Attributes
    ----------
    profile : str
    map_at_r, map_at_r_of_reference_queries, displacement, words_kept : float, optional
        As `pipeline.sse.robustness` defines them.
    counts : tuple of tuple of int
        A row per word, a column per word and one more for all that are not shown: how often the
        word of the row lay nearest to that of the column.
    """

    profile: str
    map_at_r: float | None
    map_at_r_of_reference_queries: float | None
    displacement: float | None
    words_kept: float | None
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Neighbourhoods:
    """All profiles; the words are those of the rows."""

    segments: int
    reference: str
    words: tuple[str, ...]
    profiles: tuple[ProfileNeighbourhoods, ...]


def read_neighbourhoods(folder: Path) -> Neighbourhoods:
    """Read what ``pipeline sse robustness --output-dir`` was given.

    Raises
    ------
    MissingPathError, InputError
        If it is not there, or is not what the command writes.
    """
    path = folder / RESULT if folder.is_dir() else folder
    again = "make it with `pipeline sse robustness`"
    found = read_result(path, again)
    try:
        words = tuple(map(_text, _list(found["confusion"]["words"])))
        counts = found["confusion"]["counts"]
        profiles = tuple(_profile(one, counts, len(words)) for one in found["profiles"])
        if not 0 < len(words) <= MOST_WORDS or not profiles:
            raise ValueError(f"{len(words)} words, {len(profiles)} profiles")
        return Neighbourhoods(int(found["segments"]), _text(found["reference"]), words, profiles)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not what `pipeline sse robustness` writes; {again}") from error


def _profile(figures: dict[str, Any], counts: dict[str, Any], n: int) -> ProfileNeighbourhoods:
    name = _text(figures["profile"])
    rows = tuple(tuple(map(int, row)) for row in counts[name])
    if len(rows) != n or any(len(row) != n + 1 for row in rows):
        raise ValueError(f"{name} has {len(rows)} rows, not {n}")
    known = {key: _number(figures[key]) for key in FIGURES}
    return ProfileNeighbourhoods(name, counts=rows, **known)


def _number(value: Any) -> float | None:
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{value} is no figure")
    return None if value is None else float(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
