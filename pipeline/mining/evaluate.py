"""Judge mining: xsim, and precision and recall against pairs that are known to be right."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError, MissingPathError
from pipeline.mining.margin import Alignment, MarginType, margins
from pipeline.neighbours import BothWays, Neighbours

LINE_NUMBER = re.compile(r"[0-9]{1,18}")  # what 64 bits hold


@dataclass(frozen=True)
class Judgement:
    """How many pairs are right, and how many of the right ones were found.

    Attributes
    ----------
    pairs, right, gold : int
        Pairs that were found, that are right of them, that are to be found.
    precision, recall, f1 : float
        NaN where there is nothing to judge.
    """

    pairs: int
    right: int
    gold: int

    @property
    def precision(self) -> float:
        """Share of the pairs that are right."""
        return self.right / self.pairs if self.pairs else float("nan")

    @property
    def recall(self) -> float:
        """Share of the right pairs that were found."""
        return self.right / self.gold if self.gold else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.right / (self.pairs + self.gold) if self.pairs + self.gold else float("nan")

    def as_json(self) -> dict[str, Any]:
        """All figures."""
        names = ("precision", "recall", "f1")
        return {**asdict(self), **{name: _json(getattr(self, name)) for name in names}}


@dataclass(frozen=True)
class Gold:
    """Pairs that are right.

    Attributes
    ----------
    source, target : np.ndarray [shape=(n,), dtype=int64]
        Lines, from 0.
    groups : np.ndarray [shape=(n,)] of str
    """

    source: np.ndarray
    target: np.ndarray
    groups: np.ndarray


def read_gold(path: Path) -> Gold:
    """Read lines ``source<TAB>target[<TAB>group]``, line numbers from 0.

    Raises
    ------
    MissingPathError, InputError
        If there is no such file, or a line is something else.
    """
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; give a file of lines source<TAB>target")
    rows: list[tuple[int, int, str]] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            source, _, rest = line.rstrip("\r\n").partition("\t")
            target, _, group = rest.partition("\t")
            if not all(LINE_NUMBER.fullmatch(text) for text in (source, target)):
                raise InputError(
                    f"{path}, line {number}: {line[:60].rstrip()!r} is not "
                    "source<TAB>target[<TAB>group] with line numbers from 0"
                )
            rows.append((int(source), int(target), group))
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    sources, targets = (np.array(column, np.int64) for column in columns[:2])
    return Gold(sources, targets, np.array(columns[2], dtype=str))


def judge(found: Alignment, gold: Gold) -> Judgement:
    """Compare what was found with what is right."""
    right = np.isin(_codes(found.source, found.target), _codes(gold.source, gold.target))
    return Judgement(len(found), int(right.sum()), len(gold.source))


def judge_groups(found: Alignment, gold: Gold) -> dict[str, Judgement]:
    """Compare group by group; a pair belongs to the group of its source."""
    judged = {"all": judge(found, gold)}
    names = sorted(set(gold.groups.tolist()))
    for name in names if len(names) > 1 else []:
        inside = gold.groups == name
        part = Gold(gold.source[inside], gold.target[inside], gold.groups[inside])
        judged[name or "(no group)"] = judge(found[np.isin(found.source, part.source)], part)
    return judged


def best_threshold(found: Alignment, gold: Gold) -> tuple[float, Judgement]:
    """The threshold of the highest F1, and what it gives."""
    if not len(found):
        return float("nan"), judge(found, gold)
    right = np.isin(_codes(found.source, found.target), _codes(gold.source, gold.target))
    order = np.argsort(-found.scores, kind="stable")
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(found) + 1) + len(gold.source))
    best = int(f1.argmax())
    judgement = Judgement(best + 1, int(hits[best]), len(gold.source))
    return float(found.scores[order[best]]), judgement


def xsim(neighbours: BothWays, margin: MarginType = "ratio") -> dict[str, float]:
    """Share of source rows whose best target is not the row of the same number.

    Parameters
    ----------
    neighbours : BothWays
    margin : {"ratio", "distance", "absolute"}
        ``absolute`` is the cosine.

    Returns
    -------
    dict
        ``forward``, ``backward``, and ``error``, their mean.
    """
    errors = [
        _error(of, other, margin)
        for of, other in (
            (neighbours.forward, neighbours.backward),
            (neighbours.backward, neighbours.forward),
        )
    ]
    return {"forward": errors[0], "backward": errors[1], "error": sum(errors) / 2}


def describe(judged: Mapping[str, Judgement]) -> dict[str, Any]:
    """Judgements as JSON values."""
    return {name: judgement.as_json() for name, judgement in judged.items()}


def chosen(of: Neighbours, other: Neighbours, margin: MarginType = "ratio") -> np.ndarray:
    """The best match of every row: int64 [shape=(n,)], -1 for a row that was left out.

    Parameters
    ----------
    of, other : Neighbours
        Of the rows of one side, and of those of the other.
    margin : {"ratio", "distance", "absolute"}
    """
    if not of.indices.size:
        return np.full(len(of.indices), -1)
    best = margins(of, other, margin).argmax(1)
    return np.asarray(of.indices[np.arange(len(of.indices)), best])


def _error(of: Neighbours, other: Neighbours, margin: MarginType) -> float:
    found = chosen(of, other, margin)
    there = found >= 0
    return float((found != np.arange(len(found)))[there].mean()) if there.any() else float("nan")


def _codes(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return source.astype(np.int64) << 32 | target.astype(np.int64)


def _json(value: float) -> float | None:
    return None if value != value else round(value, 4)
