"""Margins and alignments: which neighbours are so much nearer than others that they are pairs.

A cosine alone does not tell: some rows are near to everything. A margin holds the similarity of two
rows against what is usual around both (Artetxe and Schwenk 2019, arXiv 1811.01136, equations 2 and
3). With ``m`` the mean similarity of a row to its ``k`` nearest on the other side::

    ratio      s / ((m_source + m_target) / 2)
    distance   s - (m_source + m_target) / 2
    absolute   s

Similarities are twice the cosine, as stopes has them: nothing to ``ratio``, a factor of two to the
others and to their thresholds.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pipeline.neighbours import BothWays, Neighbours

MarginType = Literal["ratio", "distance", "absolute"]
MineType = Literal["union", "intersection", "forward", "backward", "one_to_one"]
MARGINS: tuple[MarginType, ...] = get_args(MarginType)
MINE_TYPES: tuple[MineType, ...] = get_args(MineType)
FORWARD, BACKWARD, BOTH = 1, 2, 3
DIRECTIONS = {FORWARD: "fwd", BACKWARD: "bwd", BOTH: "both"}


@dataclass(frozen=True)
class MarginRule:
    """How pairs are scored and chosen.

    Attributes
    ----------
    margin : {"ratio", "distance", "absolute"}
    mine_type : {"union", "intersection", "forward", "backward", "one_to_one"}
        Pairs that either side chooses, that both choose, or one of them; ``one_to_one`` takes the
        best of the union and then no row of either side again (LASER's ``max``).
    threshold : float
        Pairs that score less are dropped.
    score_max : float, optional
        Pairs that score more are dropped.
    k_extract : int
        Neighbours of a row that are looked at.
    by_margin : bool
        Look at those of the largest margin, as LASER does, instead of the largest cosine.
    """

    margin: MarginType = "ratio"
    mine_type: MineType = "union"
    threshold: float = 1.06
    score_max: float | None = None
    k_extract: int = 1
    by_margin: bool = False


@dataclass(frozen=True)
class Alignment:
    """Pairs, the best first; each once.

    Attributes
    ----------
    scores : np.ndarray [shape=(n,), dtype=float32]
    source, target : np.ndarray [shape=(n,), dtype=int64]
        Rows.
    direction : np.ndarray [shape=(n,), dtype=uint8]
        FORWARD if the source chose the target, BACKWARD if the target chose the source, or BOTH.
    """

    scores: np.ndarray
    source: np.ndarray
    target: np.ndarray
    direction: np.ndarray

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.scores)

    def __getitem__(self, which: np.ndarray | slice) -> "Alignment":
        """Take some of the pairs."""
        columns = (self.scores, self.source, self.target, self.direction)
        return Alignment(*(column[which] for column in columns))


def align(neighbours: BothWays, rule: MarginRule) -> Alignment:
    """Choose pairs from the neighbours of both sides in each other.

    Parameters
    ----------
    neighbours : BothWays
        Twice the cosine as similarity; -1 where an index found no more.
    rule : MarginRule

    Returns
    -------
    Alignment
    """
    forward = _candidates(neighbours.forward, neighbours.backward, rule)
    backward = _candidates(neighbours.backward, neighbours.forward, rule)
    backward = Alignment(
        backward.scores,
        backward.target,
        backward.source,
        np.full_like(backward.direction, BACKWARD),
    )
    if rule.mine_type == "forward":
        found = forward
    elif rule.mine_type == "backward":
        found = backward
    else:
        found = _united(forward, backward, n_target=len(neighbours.backward.indices))
    if rule.mine_type == "intersection":
        found = found[found.direction == BOTH]
    # Stable, so that equals stay in the order of their rows.
    found = found[np.argsort(-found.scores, kind="stable")]
    if rule.mine_type == "one_to_one":
        found = _one_to_one(found)
    highest = np.inf if rule.score_max is None else rule.score_max
    return found[(found.scores >= rule.threshold) & (found.scores <= highest)]


def margins(of: Neighbours, other: Neighbours, margin: MarginType) -> np.ndarray:
    """Score every neighbour: float32 [shape=(n, k)]; -inf where there is none.

    Parameters
    ----------
    of : Neighbours
        Of the rows of one side.
    other : Neighbours
        Of the rows of the other side.
    margin : {"ratio", "distance", "absolute"}
    """
    there = of.indices >= 0
    if margin == "absolute":
        return np.where(there, of.similarities, -np.inf).astype(np.float32)
    usual = (neighbourhood(of)[:, None] + neighbourhood(other)[np.where(there, of.indices, 0)]) / 2
    similarities = of.similarities.astype(np.float64)
    if margin == "distance":
        scores = similarities - usual
    else:
        # Where the usual is no similarity at all, a ratio to it says nothing.
        scores = np.divide(
            similarities, usual, out=np.full_like(usual, -np.inf), where=there & (usual > 0)
        )
    return np.where(there, scores, -np.inf).astype(np.float32)


def neighbourhood(neighbours: Neighbours) -> np.ndarray:
    """Mean similarity of every row to its neighbours: float64 [shape=(n,)]; 0 if it has none."""
    there = neighbours.indices >= 0
    total = np.where(there, neighbours.similarities, 0).sum(1, dtype=np.float64)
    return total / np.maximum(there.sum(1), 1)


def _candidates(of: Neighbours, other: Neighbours, rule: MarginRule) -> Alignment:
    """What the rows of one side choose."""
    if not of.indices.size:
        nothing = np.empty(0, np.int64)
        return Alignment(nothing.astype(np.float32), nothing, nothing, nothing.astype(np.uint8))
    scores, indices = margins(of, other, rule.margin), of.indices
    if rule.by_margin:
        order = np.argsort(-scores, axis=1, kind="stable")
        scores, indices = (np.take_along_axis(a, order, axis=1) for a in (scores, indices))
    scores, indices = scores[:, : rule.k_extract], indices[:, : rule.k_extract]
    rows, columns = np.nonzero(scores > -np.inf)
    direction = np.full(len(rows), FORWARD, np.uint8)
    return Alignment(scores[rows, columns], rows, indices[rows, columns], direction)


def _united(forward: Alignment, backward: Alignment, n_target: int) -> Alignment:
    """Both lists, a pair that is in both only once."""
    source, target, scores, direction = (
        np.concatenate([getattr(forward, name), getattr(backward, name)])
        for name in ("source", "target", "scores", "direction")
    )
    _, first, place = np.unique(source * n_target + target, return_index=True, return_inverse=True)
    together = np.zeros(len(first), np.uint8)
    np.bitwise_or.at(together, place, direction)
    return Alignment(scores[first], source[first], target[first], together)


def _one_to_one(found: Alignment) -> Alignment:
    """Take pairs greedily, the best first, and no row twice."""
    taken_source, taken_target, kept = set(), set(), np.zeros(len(found), bool)
    pairs = zip(found.source.tolist(), found.target.tolist(), strict=True)
    for index, (source, target) in enumerate(pairs):
        if source not in taken_source and target not in taken_target:
            taken_source.add(source)
            taken_target.add(target)
            kept[index] = True
    return found[kept]
