"""The two nearest centroids of every frame, in machine code made for this processor.

A matrix multiplication writes all scores to memory, and numpy reads them again to find the lowest.
Here the scores of a few frames against a few centroids are summed in registers and compared where
they are, as in Goto & van de Geijn 2008 (ACM Trans. Math. Softw. 34:3); only the lowest two of a
frame are written. The code is built with llvmlite, in some hundredths of a second, for processors
with AVX2 or AVX-512; there is none for others.

A score is |c|² - 2xc, the squared distance without |x|², which is the same for all centroids. It is
one sum of fused products, from |c|² on, in the order of the dimensions, in float32, so that it is
the same number on all of these processors.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.kmeans.machine_code import ALIGNMENT, FLOAT_BYTES, Shape, compiled

WORTHWHILE = 2**32  # products; numpy adds up as many in less than 0.1 s


@dataclass(frozen=True)
class TwoNearest:
    """What is known of some frames; all arrays have the shape [n_frames].

    Attributes
    ----------
    labels : np.ndarray [dtype=int32]
        Of the lowest score, the first of equals.
    scores, runners_up : np.ndarray [dtype=float32]
        The lowest two; they are equal if two centroids share the lowest.
    squares : np.ndarray [dtype=float32]
        |x|².
    """

    labels: np.ndarray
    scores: np.ndarray
    runners_up: np.ndarray
    squares: np.ndarray


class Kernel:
    """Machine code and the centroids that it compares with; threads may share it.

    Parameters
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims), dtype=float32]
    norms : np.ndarray [shape=(n_clusters,), dtype=float32]
        |c|².
    shape : Shape
    """

    def __init__(self, centroids: np.ndarray, norms: np.ndarray, shape: Shape) -> None:
        self._shape = shape
        self._code = compiled(shape)
        missing = shape.n_places - shape.n_clusters
        table = -2 * np.pad(centroids, ((0, missing), (0, 0)))
        edges = np.cumsum(shape.panels)[:-1] * shape.lanes
        panels = [panel.T.ravel() for panel in np.split(table, edges)]
        self._table = _aligned(np.concatenate(panels))
        # Places that no centroid fills are infinitely far.
        self._norms = _aligned(np.pad(norms, (0, missing), constant_values=np.inf))

    def __call__(self, frames: np.ndarray) -> TwoNearest:
        """Compare frames [shape=(n, n_dims), dtype=float32], contiguous."""
        n_frames, n_dims = frames.shape
        assert takes(frames) and n_dims == self._shape.n_dims, (frames.dtype, frames.shape)
        labels = np.zeros(n_frames, np.int32)
        scores, runners_up, squares = np.empty((3, n_frames), np.float32)
        if n_frames:
            # Lowest and second lowest score and label of every lane.
            state = np.empty(self._shape.block_rows * 3 * self._shape.lanes + 16, np.float32)
            arrays = (frames, self._table, self._norms, state, labels, scores, runners_up, squares)
            addresses = [array.ctypes.data for array in arrays]
            addresses[3] += -addresses[3] % ALIGNMENT
            self._code.call(n_frames, frames.strides[0], *addresses)
        return TwoNearest(labels, scores, runners_up, squares)


def kernel_for(centroids: np.ndarray, norms: np.ndarray) -> Kernel | None:
    """Make a kernel; None if this processor or this Python has none, or for other than float32.

    Parameters
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims)]
    norms : np.ndarray [shape=(n_clusters,)]
        |c|².
    """
    registers = _registers()
    if registers is None or centroids.dtype != np.float32 or not centroids.size:
        return None
    n_clusters, n_dims = centroids.shape
    try:
        return Kernel(centroids, norms, Shape(n_dims, n_clusters, *registers))
    except (OSError, RuntimeError):
        # Another version of the library, or a system that lets no program make code.
        return None


def pays(centroids: np.ndarray, n_frames: int) -> bool:
    """Whether building the code costs less than it saves."""
    return centroids.size * n_frames >= WORTHWHILE


def takes(frames: np.ndarray) -> bool:
    """Whether a kernel takes an array."""
    flags = frames.flags
    return frames.dtype == np.float32 and flags.c_contiguous and flags.aligned


@lru_cache
def _registers() -> tuple[int, int] | None:
    """Numbers in a register, and how many registers of centroids go with ``TILE_ROWS``."""
    try:
        import llvmlite.binding as llvm

        features = llvm.get_host_cpu_features()
    except (ImportError, OSError, RuntimeError):
        return None
    # 6 times 4 sums, 4 centroids and a frame: 29 of 32 registers; 6 times 2, 2 and 1: 15 of 16.
    sizes = {"avx512f": (16, 4), "avx2": (8, 2)} if features.get("fma") else {}
    return next((size for name, size in sizes.items() if features.get(name)), None)


def _aligned(array: np.ndarray) -> np.ndarray:
    room = np.empty(array.size + ALIGNMENT // FLOAT_BYTES, np.float32)
    start = -room.ctypes.data % ALIGNMENT // FLOAT_BYTES
    room[start : start + array.size] = array
    return room[start : start + array.size]
