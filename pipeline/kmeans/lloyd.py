"""Lloyd's algorithm over frames that need not fit in memory.

Centroids begin as k-means++ on a sample (Arthur & Vassilvitskii 2007), are settled there, where a
pass is cheap, and then moved over all frames. Several such starts are made, and the best goes on.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from pipeline.errors import InputError
from pipeline.kmeans.kernel import kernel_for, pays, takes

SAMPLE_PER_CLUSTER = 100  # frames that centroids are settled on, for each of them
SMALLEST_SAMPLE = 30_000
BLOCK_FRAMES = 4096
SETTLING_PASSES = 20

Item = TypeVar("Item")
Result = TypeVar("Result")


class Frames(Protocol):
    """Frames in an order that is always the same."""

    @property
    def n_frames(self) -> int:
        """Count them."""

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """All of them, ``size`` at a time: float32 [shape=(size, n_dims)]."""

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Some of them, by ascending index: float32 [shape=(n, n_dims)]."""


@dataclass(frozen=True)
class LloydSettings:
    """How centroids are found.

    Attributes
    ----------
    n_clusters : int
    seed : int
    n_init : int
        Starts on the sample.
    max_iter : int
        Passes over all frames, at most.
    tol : float
        Passes end when one lowers the inertia by no more than this part of it.
    init : str
        ``k-means++`` or ``random``.
    num_threads : int
        Does not change the result.
    """

    n_clusters: int
    seed: int = 0
    n_init: int = 1
    max_iter: int = 10
    tol: float = 1e-4
    init: str = "k-means++"
    num_threads: int = 1


@dataclass(frozen=True)
class Clustering:
    """Centroids, and how well they fit.

    Attributes
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims), dtype=float32]
    inertia : float
        Mean squared distance of a frame to its centroid.
    n_iter : int
        Passes over all frames.
    """

    centroids: np.ndarray
    inertia: float
    n_iter: int


@dataclass(frozen=True)
class _Step:
    """What a pass over frames finds: of every cluster the sum and the count of its frames."""

    sums: np.ndarray
    counts: np.ndarray
    inertia: float
    farthest: np.ndarray

    def moved(self, centroids: np.ndarray) -> np.ndarray:
        """Centroids in the middle of their frames; an empty one goes to a frame far from its."""
        found = self.sums / np.maximum(self.counts, 1)[:, None]
        moved = np.where(self.counts[:, None] > 0, found, centroids).astype(np.float32)
        empty = np.flatnonzero(self.counts == 0)[: len(self.farthest)]
        moved[empty] = self.farthest[: len(empty)]
        return moved


class _Threads:
    """Threads that work on blocks, and hand in their results in order."""

    def __init__(self, number: int) -> None:
        self._number = max(1, number)
        self._pool = ThreadPoolExecutor(self._number)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Like the ``map`` of a pool, but no more than a few items are read ahead."""
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self._pool.submit(work, item))
            if len(waiting) > self._number:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class ArrayFrames:
    """Frames that are an array [shape=(n_frames, n_dims), dtype=float32]."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    @property
    def n_frames(self) -> int:
        """Count the rows."""
        return len(self._array)

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """Give the rows, some at a time."""
        for start in range(0, len(self._array), size):
            yield self._array[start : start + size]

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Give some rows."""
        return self._array[indices]


def fit(
    frames: Frames, settings: LloydSettings, report: Callable[[int, float], None] | None = None
) -> Clustering:
    """Cluster frames.

    Parameters
    ----------
    frames : Frames
    settings : LloydSettings
    report : callable, optional
        Told the number of every pass over all frames, and the inertia it found.

    Returns
    -------
    Clustering
        The same for the same frames and settings, whatever the number of threads.

    Raises
    ------
    InputError
        If there are fewer frames than clusters.
    """
    if frames.n_frames < settings.n_clusters:
        raise InputError(
            f"{frames.n_frames} frames cannot make {settings.n_clusters} clusters; "
            "give more features, a larger --percent, or fewer clusters"
        )
    rng = np.random.default_rng(settings.seed)
    size = max(SMALLEST_SAMPLE, SAMPLE_PER_CLUSTER * settings.n_clusters)
    size = min(size, frames.n_frames)
    chosen = np.sort(rng.choice(frames.n_frames, size, replace=False))
    sample = frames.take(chosen)
    # Distances do not depend on where the origin is, their rounding does.
    origin = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    # One thread of the linear algebra for each of ours, or they would fight.
    with threadpool_limits(1), closing(_Threads(settings.num_threads)) as threads:
        centroids = _best_start(sample - origin, settings, rng, threads)
        return _settle(frames, origin, centroids, settings, threads, report)


def _best_start(
    sample: np.ndarray,
    settings: LloydSettings,
    rng: np.random.Generator,
    threads: _Threads,
) -> np.ndarray:
    best, lowest = sample[: settings.n_clusters], np.inf
    for _ in range(settings.n_init):
        centroids = _start(sample, settings, rng)
        for _ in range(SETTLING_PASSES):
            step = _pass(ArrayFrames(sample), np.float32(0), centroids, threads)
            centroids = step.moved(centroids)
        if step.inertia < lowest:
            best, lowest = centroids, step.inertia
    return best


def _start(sample: np.ndarray, settings: LloydSettings, rng: np.random.Generator) -> np.ndarray:
    if settings.init == "random":
        return sample[rng.choice(len(sample), settings.n_clusters, replace=False)]
    from sklearn.cluster import kmeans_plusplus

    seed = int(rng.integers(2**31))
    return kmeans_plusplus(sample, settings.n_clusters, random_state=seed)[0]


def _settle(
    frames: Frames,
    origin: np.ndarray,
    centroids: np.ndarray,
    settings: LloydSettings,
    threads: _Threads,
    report: Callable[[int, float], None] | None,
) -> Clustering:
    before = np.inf
    for n_iter in range(settings.max_iter + 1):
        step = _pass(frames, origin, centroids, threads)
        if report:
            report(n_iter, step.inertia)
        # The last pass only measures the centroids that are given out.
        if n_iter == settings.max_iter or before - step.inertia <= settings.tol * step.inertia:
            break
        before = step.inertia
        centroids = step.moved(centroids)
    return Clustering(centroids + origin, step.inertia, n_iter)


def _pass(
    frames: Frames, origin: np.ndarray | np.float32, centroids: np.ndarray, threads: _Threads
) -> _Step:
    """Assign all frames; blocks are summed in their order, so that threads change nothing."""
    n_clusters, n_dims = centroids.shape
    sums, counts = np.zeros((n_clusters, n_dims)), np.zeros(n_clusters, np.int64)
    assigned = _Assignment(centroids, frames.n_frames)
    total, farthest = 0.0, []

    def assign(block: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        block = block - origin
        labels, distances = assigned.labels_and_distances(block)
        ones = np.ones(len(block), np.float32)
        places = np.arange(len(block) + 1)
        # Rows of a cluster are added up by a sparse matrix that has one 1 in every column.
        mine = csr_array((ones, labels, places), (len(block), n_clusters))
        found = mine.T @ block
        number = np.bincount(labels, minlength=n_clusters)
        return found, number, float(distances.sum(dtype=np.float64)), block[distances.argmax()]

    for found, number, part, far in threads.map(assign, frames.blocks(BLOCK_FRAMES)):
        sums += found
        counts += number
        total += part
        farthest.append(far)
    return _Step(sums, counts, total / frames.n_frames, np.array(farthest[:n_clusters]))


class _Assignment:
    """Nearest centroids: near enough, where two are as good as equally far."""

    def __init__(self, centroids: np.ndarray, n_frames: int) -> None:
        self._norms = (centroids**2).sum(axis=1)
        self._table = np.ascontiguousarray(-2 * centroids.T)
        # Passes follow each other, with the same code.
        is_worth_it = pays(centroids, n_frames * SETTLING_PASSES)
        self._kernel = kernel_for(centroids, self._norms) if is_worth_it else None

    def labels_and_distances(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels, and squared distances in float32."""
        if self._kernel is not None and takes(block):
            found = self._kernel(block)
            return found.labels, found.scores + found.squares
        scores = block @ self._table
        scores += self._norms
        labels = scores.argmin(axis=1)
        distances = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
        return labels, distances + np.einsum("ij,ij->i", block, block)
