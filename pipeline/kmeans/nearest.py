"""Nearest centroids: the labels of fairseq's dump_km_label.py, most of them found another way.

That script takes the first of the lowest |x|² - 2xC + |C|², in float32, in this order, a clip at a
time. Where two centroids are as good as equally far, rounding decides, and it depends on the order
in which linear algebra adds up, which may be another for another place in a clip, or another length
of it. Such frames are given to the same formula in a table of that length, in their place. For all
others it is enough to know the distances within a bound.

With u = 2⁻²⁴, n dimensions and γ = nu / (1 - nu), a sum of n products is off by at most γΣ|xᵢcᵢ|,
whatever the order (Higham 2002, Accuracy and Stability of Numerical Algorithms, §3.1). |C|² is one
float32 number, the same in all that follows. So

- a score |C|² - 2xC of the kernel is off by at most γ(|C|² + 2Σ|xᵢcᵢ|);
- the formula is off by at most 2γΣ|xᵢcᵢ|, and for its two additions by u(d + |C|²) and ud, where d
  is the exact sum of its three terms and what |x|² is off by is left out, since it is the same for
  all centroids.

A centroid is the formula's, and alone there, if it is better than every other by more than both
are off by. Let |c| be the longest centroid: as Σ|xᵢcᵢ| ≤ |x||c|, it is if the kernel finds it
better by more than (8/3 γ + 4u(1 + 2γ))(|x| + |c|)². Frames for which that cannot be said are
looked at once more in float64, with what each centroid is off by.
"""

import itertools

import numpy as np

from pipeline.kmeans.kernel import TwoNearest, kernel_for, pays, takes

UNIT = 2.0**-24  # float32 rounds by no more than this part
SLACK = 1.05  # for products of small terms, and for the rounding of the bounds themselves
SMALLEST = 2.0**-122  # more than what any operation loses near float32's smallest
LARGEST_REACH = 2.0**60  # |x| + |c| whose square is far from float32's largest
LARGEST_DIMS = 2**15
TABLE_NUMBERS = 2**25  # distances or features that the formula holds at once
ROWS_IN_DOUBLE = 256
MOST_REDONE = 1 / 3  # rows per frame from which two ways cost about as much as one
FEW_FRAMES = 2**16  # that say little of the rest


class Nearest:
    """Finds the labels that dump_km_label.py finds.

    A clip is cut that would take the formula more than 2²⁵ distances, or as many features.

    Parameters
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims)]
    n_frames : int, optional
        How many there will be; for few, there is only the formula.

    Attributes
    ----------
    n_seen, n_redone : int
        Frames so far, and rows of the tables that the formula was given besides.
    """

    def __init__(self, centroids: np.ndarray, n_frames: int | None = None) -> None:
        self._formula = Formula(centroids)
        self._longest_clip = max(1, TABLE_NUMBERS // max(1, *centroids.shape))
        self._bounds = Bounds(centroids, self._formula.norms)
        self._kernel = None
        is_worth_it = n_frames is None or pays(centroids, n_frames)
        if is_worth_it and self._bounds.hold:
            self._kernel = kernel_for(centroids, self._formula.norms)
        self.n_seen = self.n_redone = 0

    def __call__(self, frames: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Labels of frames.

        Parameters
        ----------
        frames : np.ndarray [shape=(n, n_dims)]
            Of clips that follow each other.
        lengths : np.ndarray [shape=(n_clips,), dtype=int64], optional
            Frames of every clip; one clip if left out.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=int64]

        Raises
        ------
        FloatingPointError
            If a frame has no finite distance to anything.
        """
        edges = self._edges(np.array([len(frames)]) if lengths is None else lengths)
        if self._kernel is None or not takes(frames):
            clips = [self._formula(frames[start:end]) for start, end in itertools.pairwise(edges)]
            return np.concatenate(clips) if clips else np.empty(0, np.int64)
        found = self._kernel(frames)
        labels = found.labels.astype(np.int64)
        unsure = np.flatnonzero(~self._bounds.settle(found))
        if len(unsure):
            labels[unsure], is_settled = self._bounds.settle_in_double(frames[unsure])
            self._redo(frames, edges, unsure[~is_settled], labels)
        self.n_seen += len(frames)
        if self.n_redone > MOST_REDONE * max(self.n_seen, FEW_FRAMES):
            self._kernel = None
        return labels

    def _redo(
        self, frames: np.ndarray, edges: np.ndarray, unsure: np.ndarray, labels: np.ndarray
    ) -> None:
        """Give frames to the formula, each in its place among as many as its clip has.

        What the others are does not matter, so that frames of several clips of one length can go
        together.
        """
        owners = np.searchsorted(edges, unsure, side="right") - 1
        places, lengths = unsure - edges[owners], np.diff(edges)[owners]
        for length in np.unique(lengths):
            mine = np.flatnonzero(lengths == length)
            for some in _without_repetition(places[mine]):
                chosen = mine[some]
                table = np.zeros((length, frames.shape[1]), np.float32)
                table[places[chosen]] = frames[unsure[chosen]]
                labels[unsure[chosen]] = self._formula(table)[places[chosen]]
                self.n_redone += int(length)

    def _edges(self, lengths: np.ndarray) -> np.ndarray:
        """First frames of clips, and the end of the last: int64 [shape=(n_pieces + 1,)]."""
        ends = np.cumsum(lengths)
        cuts = (
            [*range(end - length + self._longest_clip, end, self._longest_clip), end]
            for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)
            if length
        )
        return np.fromiter(itertools.chain([0], *cuts), np.int64)


def _without_repetition(values: np.ndarray) -> list[np.ndarray]:
    """Indices of values in groups, in none of which a value comes twice."""
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    turns = np.arange(len(values)) - np.repeat(first, counts)
    return [order[turns == turn] for turn in range(counts.max(initial=0))]


class Formula:
    """The arithmetic of dump_km_label.py, in the precision of its arguments, in one buffer.

    Parameters
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims)]

    Attributes
    ----------
    norms : np.ndarray [shape=(n_clusters,)]
        |C|².
    """

    def __init__(self, centroids: np.ndarray) -> None:
        self._table = centroids.transpose()
        with np.errstate(over="ignore"):
            self.norms = (self._table**2).sum(axis=0)
        self._buffer = np.empty((0, len(centroids)), centroids.dtype)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Labels of the frames of a clip [shape=(n, n_dims)]: int64 [shape=(n,)].

        Raises
        ------
        FloatingPointError
            If a frame has no finite distance to anything.
        """
        kind = np.result_type(frames, self._table)
        if len(frames) > len(self._buffer) or self._buffer.dtype != kind:
            self._buffer = np.empty((len(frames), self._buffer.shape[1]), kind)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = (frames**2).sum(axis=1, keepdims=True)
            if not np.isfinite(squares).all():
                raise FloatingPointError("features that are NaN, infinite or beyond float32")
            distances = np.matmul(frames, self._table, out=self._buffer[: len(frames)])
            distances *= 2
            np.subtract(squares, distances, out=distances)
            distances += self.norms
        return distances.argmin(axis=1)


class Bounds:
    """Tells which labels rounding cannot change.

    Parameters
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims), dtype=float32]
    norms : np.ndarray [shape=(n_clusters,), dtype=float32]
        |C|², as the formula rounds it.

    Attributes
    ----------
    hold : bool
        Whether they hold for such centroids at all.
    """

    def __init__(self, centroids: np.ndarray, norms: np.ndarray) -> None:
        n_dims = centroids.shape[1]
        self._table, self._norms = centroids.T, norms.astype(np.float64)
        longest = np.sqrt(np.square(centroids, dtype=np.float64).sum(axis=1).max(initial=0))
        self.hold = bool(n_dims <= LARGEST_DIMS and longest < LARGEST_REACH)
        self._gamma = SLACK * n_dims * UNIT
        self._least = n_dims * SMALLEST
        self._longest = np.float32(SLACK * longest)
        self._factor = np.float32(SLACK * (8 / 3 * self._gamma + 4 * UNIT * (1 + 2 * self._gamma)))

    def settle(self, found: TwoNearest) -> np.ndarray:
        """Whether the kernel's labels are the formula's: bool [shape=(n,)]."""
        with np.errstate(over="ignore", invalid="ignore"):
            reach = np.sqrt(found.squares + np.float32(self._least)) + self._longest
            bound = self._factor * reach * reach + np.float32(self._least)
            # What is NaN is neither less nor greater.
            return (found.runners_up - found.scores > bound) & (reach < LARGEST_REACH)

    def settle_in_double(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels of frames [shape=(n, n_dims)], and whether they are the formula's."""
        labels, is_settled = np.empty(len(frames), np.int64), np.empty(len(frames), bool)
        for start in range(0, len(frames), ROWS_IN_DOUBLE):
            some = slice(start, start + ROWS_IN_DOUBLE)
            labels[some], is_settled[some] = self._in_double(frames[some].astype(np.float64))
        return labels, is_settled

    def _in_double(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            squares = (frames**2).sum(axis=1, keepdims=True)
            distances = squares - 2 * (frames @ self._table) + self._norms
            products = np.abs(frames) @ np.abs(self._table)
            off = 2 * self._gamma * products + UNIT * (2 * np.abs(distances) + self._norms)
            off = SLACK * off + self._least
            labels = distances.argmin(axis=1)[:, None]
            limit = np.take_along_axis(distances + off, labels, axis=1)
            np.put_along_axis(distances, labels, np.inf, axis=1)
            is_alone = ((distances - off) > limit).all(axis=1)
        return labels[:, 0], is_alone & (squares[:, 0] < LARGEST_REACH**2)
