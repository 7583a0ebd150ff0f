"""Nearest neighbours by inner product: the one place that searches.

Exact search multiplies blocks of rows and keeps, for every row, the ``k`` best so far. What is not
better than the worst of those is passed over by one comparison, so almost all time goes into the
matrix product; and :func:`nearest_both` finds the neighbours of both sides from one such product,
where two searches would compute it twice.

The inner product of rows of length 1 is their cosine; see :func:`unit_rows`. Where exact search
takes too long, :mod:`pipeline.neighbour_index` finds most of the neighbours in less time.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.errors import InputError

# Of a product that is held at a time: 4 MB, which a processor's cache can hold.
QUERY_BLOCK, BASE_BLOCK = 1024, 1024
HELD = 16_384  # rows of the base that are held as float32
GROUP = 16  # columns of a block of which one maximum is kept


class Rows(Protocol):
    """Rows of numbers: an array, or what reads slices of one from elsewhere."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, n_dims)."""

    def __len__(self) -> int:
        """Count the rows."""

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        """Take some of them, one after the other."""


class Neighbours(NamedTuple):
    """The nearest rows of every query, the best first.

    Attributes
    ----------
    similarities : np.ndarray [shape=(n_queries, k), dtype=float32]
        Inner products, falling along each row; -inf where an approximate index found no more.
    indices : np.ndarray [shape=(n_queries, k), dtype=int64]
        Rows of the base; -1 where there is none.
    """

    similarities: np.ndarray
    indices: np.ndarray


class BothWays(NamedTuple):
    """Neighbours of two sets of rows in each other.

    Attributes
    ----------
    forward : Neighbours
        Of the rows of ``a`` among those of ``b``.
    backward : Neighbours
        Of the rows of ``b`` among those of ``a``.
    """

    forward: Neighbours
    backward: Neighbours


def nearest(queries: Rows, base: Rows, k: int) -> Neighbours:
    """Find the ``k`` rows of ``base`` with the largest inner product with each query; exact.

    Of rows that are equally near, the first are taken.

    Parameters
    ----------
    queries : np.ndarray [shape=(n_queries, n_dims), dtype=float32 or float16]
        May be memory-mapped; read in blocks.
    base : np.ndarray [shape=(n_base, n_dims), dtype=float32 or float16]
        The same.
    k : int
        At least 1; ``min(k, n_base)`` columns come back.

    Returns
    -------
    Neighbours

    Raises
    ------
    InputError
        If the two differ in their dimensions, hold NaN or infinity, or ``k`` is less than 1.
    """
    _check(queries, base, k)
    best = _Best(len(queries), min(k, len(base)))
    for rows, columns, product in _products(queries, base):
        best.update(rows, columns, product)
    return best.found


def nearest_both(a: Rows, b: Rows, k: int) -> BothWays:
    """Find the nearest rows of ``b`` for each of ``a``, and of ``a`` for each of ``b``; exact.

    The same as ``nearest(a, b, k)`` and ``nearest(b, a, k)``, from one matrix product.

    Parameters
    ----------
    a, b : np.ndarray [shape=(n, n_dims), dtype=float32 or float16]
        May be memory-mapped; read in blocks.
    k : int
        At least 1.

    Returns
    -------
    BothWays

    Raises
    ------
    InputError
        As :func:`nearest`.
    """
    _check(a, b, k)
    forward, backward = _Best(len(a), min(k, len(b))), _Best(len(b), min(k, len(a)))
    for rows, columns, product in _products(a, b):
        forward.update(rows, columns, product)
        backward.update(columns, rows, product.T)
    return BothWays(forward.found, backward.found)


def ranks(queries: Rows, base: Rows, own: np.ndarray) -> np.ndarray:
    """Count for every query how many rows of the base are nearer than its own, and add 1.

    Parameters
    ----------
    queries, base : np.ndarray [shape=(n, n_dims), dtype=float32 or float16]
    own : np.ndarray [shape=(n_queries,), dtype=int64]
        The row of the base that belongs to each query.

    Returns
    -------
    np.ndarray [shape=(n_queries,), dtype=int64]
        1 where nothing is nearer; rows that are equally near do not count.

    Raises
    ------
    InputError
        As :func:`nearest`.
    """
    _check(queries, base, 1)
    # From the same product as the others, so that equals compare equal.
    mine = np.empty(len(queries), np.float32)
    for rows, columns, product in _products(queries, base):
        place = own[rows]
        inside = np.flatnonzero((place >= columns.start) & (place < columns.stop))
        mine[rows.start + inside] = product[inside, place[inside] - columns.start]
    nearer = np.zeros(len(queries), np.int64)
    for rows, _, product in _products(queries, base):
        nearer[rows] += (product > mine[rows, None]).sum(1)
    return nearer + 1


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale rows to length 1, so that their inner products are cosines; zero rows stay zero.

    Parameters
    ----------
    rows : np.ndarray [shape=(n, n_dims)]

    Returns
    -------
    np.ndarray [shape=(n, n_dims), dtype=float32]
    """
    rows = np.asarray(rows, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


class _Best:
    """The best columns of every row so far, and the similarity that a better one must exceed."""

    def __init__(self, n_rows: int, k: int) -> None:
        self.k = k
        self.similarities = np.full((n_rows, k), -np.inf, np.float32)
        self.indices = np.full((n_rows, k), -1, np.int64)

    def update(self, rows: slice, columns: slice, product: np.ndarray) -> None:
        """Look at a block of the product, ``product[i, j]`` of row ``rows.start + i``."""
        if not product.shape[1] or not self.k:
            return
        worst = self.similarities[rows, -1]
        if np.isneginf(worst).any():  # of a row's first block nearly all would pass
            worst = _bound(product, self.k)
            hits = product >= worst[:, None]
        else:
            hits = product > worst[:, None]
        i, j = _positions(hits)
        if len(i):
            self._merge(rows.start, columns.start, i, j, product[i, j])

    def _merge(
        self, first_row: int, first_column: int, i: np.ndarray, j: np.ndarray, values: np.ndarray
    ) -> None:
        order = np.lexsort((j, -values, i))
        i, j, values = i[order], j[order], values[order]
        starts = np.flatnonzero(np.diff(i, prepend=-1))
        counts = np.diff(starts, append=len(i))
        rank = np.arange(len(i)) - np.repeat(starts, counts)
        place, kept = np.repeat(np.arange(len(starts)), counts), rank < self.k
        rows = first_row + i[starts]
        # What was there comes first, so that it stays first among equals.
        similarities = np.full((len(rows), 2 * self.k), -np.inf, np.float32)
        indices = np.full((len(rows), 2 * self.k), -1, np.int64)
        similarities[:, : self.k], indices[:, : self.k] = (
            self.similarities[rows],
            self.indices[rows],
        )
        similarities[place[kept], self.k + rank[kept]] = values[kept]
        indices[place[kept], self.k + rank[kept]] = first_column + j[kept]
        best = np.argsort(-similarities, axis=1, kind="stable")[:, : self.k]
        self.similarities[rows] = np.take_along_axis(similarities, best, axis=1)
        self.indices[rows] = np.take_along_axis(indices, best, axis=1)

    @property
    def found(self) -> Neighbours:
        """What was found, in order."""
        return Neighbours(self.similarities, self.indices)


def _products(a: Rows, b: Rows) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Give ``a @ b.T`` block by block, each in the same memory.

    For a row the columns come in their order, and for a column the rows.
    """
    buffer = np.empty(QUERY_BLOCK * BASE_BLOCK, np.float32)
    for outer in _slices(0, len(b), HELD):
        held = np.ascontiguousarray(b[outer], np.float32)
        for rows in _slices(0, len(a), QUERY_BLOCK):
            left = np.ascontiguousarray(a[rows], np.float32)
            for columns in _slices(outer.start, outer.stop, BASE_BLOCK):
                right = held[columns.start - outer.start : columns.stop - outer.start]
                shape = (len(left), len(right))
                product = buffer[: shape[0] * shape[1]].reshape(shape)
                yield rows, columns, np.matmul(left, right.T, out=product)


def _slices(start: int, stop: int, width: int) -> Iterator[slice]:
    for first in range(start, stop, width):
        yield slice(first, min(first + width, stop))


def _bound(product: np.ndarray, k: int) -> np.ndarray:
    """A value of every row that at least ``k`` others reach: close to the ``k``-th largest.

    It is the ``k``-th largest of the maxima of groups, of which each row has few.
    """
    n_columns = product.shape[1]
    width = max(n_columns // GROUP, min(4 * k, n_columns))
    maxima = product[:, :width].copy(order="K")
    for start in range(width, n_columns - width + 1, width):
        np.maximum(maxima, product[:, start : start + width], out=maxima)
    place = max(width - k, 0)
    return np.partition(maxima, place, axis=1)[:, place]


def _positions(hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every hit; numpy finds them several times quicker in one dimension."""
    n_rows, n_columns = hits.shape
    if hits.flags.c_contiguous:
        i, j = np.divmod(np.flatnonzero(hits), n_columns)
    else:
        j, i = np.divmod(np.flatnonzero(hits.T), n_rows)
    return i, j


def _check(a: Rows, b: Rows, k: int) -> None:
    if k < 1:
        raise InputError(f"k is {k}; ask for 1 neighbour or more")
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[1]:
        raise InputError(
            f"rows of shape {a.shape} and {b.shape} cannot be compared; "
            "embed both sides with encoders of one space"
        )
    for side, rows in (("first", a), ("second", b)):
        for block in _slices(0, len(rows), HELD):
            # The sum of finite float32 numbers is finite in float64, and cheap.
            if not np.isfinite(np.sum(rows[block], dtype=np.float64)):
                raise InputError(f"the {side} rows hold NaN or infinity; embed them again")


def merge_neighbours(parts: Sequence[Neighbours]) -> Neighbours:
    """Keep the best of what was found for the same queries in several parts of a base.

    Parameters
    ----------
    parts : sequence of Neighbours
        With the row numbers of the whole base, in its order.

    Returns
    -------
    Neighbours
        As many as the widest part has.
    """
    k = max(part.indices.shape[1] for part in parts)
    similarities = np.concatenate([part.similarities for part in parts], axis=1)
    indices = np.concatenate([part.indices for part in parts], axis=1)
    # Stable, so that of equals the first rows stay.
    best = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return Neighbours(
        np.take_along_axis(similarities, best, axis=1), np.take_along_axis(indices, best, axis=1)
    )
