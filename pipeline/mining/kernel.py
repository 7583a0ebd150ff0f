"""One vector for a sequence of vectors: what is in it, and about where.

Two clips say the same if most of the stretches of one have their like in the other, at about the
same place. Summed over all pairs of stretches, with ``a``, ``b`` their vectors and ``s``, ``t``
their places from 0 to 1, that is the match kernel::

    sum exp(-|a - b|^2 / (2 width^2)) exp(-(s - t)^2 / (2 place_width^2))

It is an inner product of two vectors, one for each clip: the means of random Fourier features of
its stretches (Rahimi and Recht 2007, "Random features for large-scale kernel machines").
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.neighbours import unit_rows


@dataclass(frozen=True)
class MatchKernel:
    """How alike stretches have to be, and how near in place.

    Attributes
    ----------
    width : float
        Of unit vectors, whose distance is 0 to 2.
    place_width : float
        Of places in a clip, which go from 0 to 1.
    n_features : int
        Numbers that stand for the kernel; its error falls with their square root.
    seed : int
        They are drawn.
    """

    width: float = 0.6
    place_width: float = 0.1
    n_features: int = 512
    seed: int = 0

    def embed(self, vectors: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Make one vector of the stretches of a clip.

        What all of them share, a voice and a room, is taken away first.

        Parameters
        ----------
        vectors : np.ndarray [shape=(n, n_dims)]
        places : np.ndarray [shape=(n,)]
            From 0 to 1.

        Returns
        -------
        np.ndarray [shape=(n_features,), dtype=float32]
        """
        vectors = unit_rows(vectors)
        vectors = unit_rows(vectors - vectors.mean(axis=0))
        drawn = _draw(self, vectors.shape[1])
        angles = vectors @ drawn.directions + np.outer(places, drawn.speeds) + drawn.phases
        return np.cos(angles).mean(axis=0).astype(np.float32)


class _Drawn(NamedTuple):
    directions: np.ndarray
    speeds: np.ndarray
    phases: np.ndarray


@functools.cache
def _draw(kernel: MatchKernel, n_dims: int) -> _Drawn:
    rng = np.random.default_rng(kernel.seed)
    return _Drawn(
        rng.standard_normal((n_dims, kernel.n_features)).astype(np.float32) / kernel.width,
        rng.standard_normal(kernel.n_features) / kernel.place_width,
        rng.uniform(0, 2 * np.pi, kernel.n_features),
    )
