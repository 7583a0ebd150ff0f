"""Mean average precision of embeddings: how well what sounds alike lies together.

Every segment in turn is the query; all others, never itself, are ranked by cosine; those with the
query's transcription are relevant, ``R`` of them. With ``rank_i`` the rank of the ``i``-th of them:

* MAP@R = mean over queries of ``1/R * sum over rank_i <= R of i / rank_i``
  (Musgrave, Belongie & Lim 2020, A Metric Learning Reality Check, eq. 3)
* MAP = the same over all of the list, ``1/R * sum i / rank_i``
* P@1 = share of queries whose nearest neighbour is relevant

Across speakers, what the query's own speaker said is taken from the list first. Queries with
``R = 0`` do not count. What is equally near counts against the query: relevant items stand behind
others with the same cosine, so the order of a list never matters.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError
from pipeline.neighbours import unit_rows

CELLS_AT_ONCE = 8 * 2**20  # of the matrix of cosines, 32 MB


@dataclass(frozen=True)
class Precision:
    """Figures over all queries that have something to find.

    Attributes
    ----------
    map_at_r, mean_average_precision, precision_at_1 : float
        NaN where no query has.
    queries : int
    """

    map_at_r: float
    mean_average_precision: float
    precision_at_1: float
    queries: int


@dataclass(frozen=True)
class Retrieval:
    """How well segments find each other.

    Attributes
    ----------
    within : Precision
        Of all segments.
    across : Precision
        Of those by other speakers only.
    """

    within: Precision
    across: Precision


@dataclass(frozen=True)
class QueryPrecision:
    """Figures of every query: float64 [shape=(n,)], NaN where nothing is to be found."""

    map_at_r: np.ndarray
    average_precision: np.ndarray
    precision_at_1: np.ndarray

    def mean(self) -> Precision:
        """Over the queries that have something to find."""
        counted = ~np.isnan(self.average_precision)
        if not counted.any():
            return Precision(np.nan, np.nan, np.nan, 0)
        return Precision(
            float(self.map_at_r[counted].mean()),
            float(self.average_precision[counted].mean()),
            float(self.precision_at_1[counted].mean()),
            int(counted.sum()),
        )


def retrieval(embeddings: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> Retrieval:
    """Evaluate embeddings of labelled segments.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n, n_dims)]
        May be memory-mapped.
    labels, speakers : np.ndarray [shape=(n,)]
        Integers.

    Raises
    ------
    InputError
        If embeddings hold NaN or infinity.
    """
    return Retrieval(
        precision(embeddings, labels).mean(),
        precision(embeddings, labels, speakers).mean(),
    )


def precision(
    embeddings: np.ndarray,
    labels: np.ndarray,
    speakers: np.ndarray | None = None,
    *,
    queries: np.ndarray | None = None,
) -> QueryPrecision:
    """Evaluate every segment as a query.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n, n_dims)]
        Of what is searched.
    labels : np.ndarray [shape=(n,)]
        Integers; negative ones match nothing.
    speakers : np.ndarray [shape=(n,)], optional
        Given, only segments of other speakers are searched.
    queries : np.ndarray [shape=(n, n_dims)], optional
        Other embeddings of the same segments, row by row, to search with. Its own segment is
        never found by a query.

    Raises
    ------
    InputError
        If embeddings hold NaN or infinity.
    """
    base = _finite(embeddings)
    asked = base if queries is None else _finite(queries)
    found = np.full((3, len(base)), np.nan)
    order = np.argsort(labels, kind="stable")  # those with one label lie side by side
    block = max(CELLS_AT_ONCE // max(len(base), 1), 1)
    for start in range(0, len(order), block):
        rows = order[start : start + block]
        similarities = asked[rows] @ base.T
        similarities[np.arange(len(rows)), rows] = -np.inf
        if speakers is not None:
            similarities[speakers[rows, None] == speakers[None, :]] = -np.inf
        for row, found_by_row in zip(rows, similarities, strict=True):
            mates = _mates(int(row), order, labels, speakers)
            if len(mates):
                found[:, row] = _figures(ranks(found_by_row, mates))
    return QueryPrecision(*found)


def ranks(similarities: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Ranks, from 1, of the relevant items of a list; equals of others stand before them.

    Parameters
    ----------
    similarities : np.ndarray [shape=(n,)]
        -inf for what is not in the list.
    relevant : np.ndarray [shape=(R,)]
        Indices.

    Returns
    -------
    np.ndarray [shape=(R,), dtype=int64]
        Ascending.
    """
    best_first = -np.sort(-similarities[relevant])
    everything = np.sort(similarities)
    as_near = len(everything) - np.searchsorted(everything, best_first, side="left")
    as_near_and_relevant = len(relevant) - np.searchsorted(
        best_first[::-1], best_first, side="left"
    )
    return np.asarray(as_near - as_near_and_relevant + np.arange(1, len(relevant) + 1))


def _figures(ranks: np.ndarray) -> tuple[float, float, float]:
    """MAP@R, average precision and P@1 of one query."""
    n_relevant = len(ranks)
    precisions = np.arange(1, n_relevant + 1) / ranks
    at_r = precisions[ranks <= n_relevant].sum() / n_relevant
    return float(at_r), float(precisions.mean()), float(ranks[0] == 1)


def _mates(
    row: int, order: np.ndarray, labels: np.ndarray, speakers: np.ndarray | None
) -> np.ndarray:
    """Other segments with the label of one; none if it has no label."""
    label = labels[row]
    if label < 0:
        return np.zeros(0, np.int64)
    first, last = (np.searchsorted(labels, label, side, sorter=order) for side in ("left", "right"))
    mates = order[first:last]
    mates = mates[mates != row]
    return mates if speakers is None else mates[speakers[mates] != speakers[row]]


def _finite(embeddings: np.ndarray) -> np.ndarray:
    # The sum of finite float32 numbers is finite in float64.
    if not np.isfinite(np.sum(embeddings, dtype=np.float64)):
        raise InputError("embeddings hold NaN or infinity; embed the segments again")
    return unit_rows(embeddings)
