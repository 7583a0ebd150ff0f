"""Time two ways of doing the same thing in turn, in one process, on one thread."""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import time
from collections.abc import Callable

import numpy as np


def compare(
    what: str, ours: Callable[[], object], peer: Callable[[], object], repeats: int
) -> None:
    """Print how many times as fast ours is, with the spread over the repeats."""
    ours(), peer()  # caches and compilation
    pairs = np.array([(_seconds(ours), _seconds(peer)) for _ in range(repeats)])
    low, median, high = np.quantile(pairs[:, 1] / pairs[:, 0], [0, 0.5, 1])
    mine, theirs = 1e3 * np.median(pairs, axis=0)
    print(
        f"{what}: {mine:.2f} ms against {theirs:.2f} ms, {median:.1f} times as fast "
        f"({low:.1f} to {high:.1f} over {repeats} repeats)"
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
