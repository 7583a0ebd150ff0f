"""Embedded rows of a side as one array over its shards, read when asked for."""

import functools
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arrays import map_array
from pipeline.neighbours import unit_rows

BLOCK_ROWS = 16_384  # fewest rows of a unit of work
MOST_BLOCKS = 64


class UnitRows:
    """Rows of a side as one array over its shards: float32, of length 1, read when asked for.

    Rows of zeros, which stand for lines that were left out, are passed over.

    Parameters
    ----------
    paths : sequence of Path
        Of the shards: ``.npy`` files of float16 [shape=(n_lines, n_dims)]. They are mapped in every
        process that reads them, and never sent from one to another.

    Attributes
    ----------
    lines : np.ndarray [shape=(n,), dtype=int64]
        Line of every row, counted over all shards.
    n_lines : int
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        self.n_lines = int(self._starts[-1])
        self.n_dims = max((shard.shape[1] for shard in self._shards), default=0)
        found = [np.empty(0, np.int64)]
        for start in range(0, self.n_lines, BLOCK_ROWS):
            lines = np.arange(start, min(start + BLOCK_ROWS, self.n_lines))
            found.append(lines[np.any(self._take(lines) != 0, axis=1)])
        self.lines = np.concatenate(found)

    @functools.cached_property
    def _shards(self) -> list[np.ndarray]:
        return [map_array(path, "remove it and embed again") for path in self._paths]

    def __getstate__(self) -> dict[str, Any]:
        """All but the mapped files."""
        return {name: value for name, value in self.__dict__.items() if name != "_shards"}

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n_dims)."""
        return len(self.lines), self.n_dims

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.lines)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Take some of them."""
        return unit_rows(self._take(self.lines[rows]))

    def _take(self, lines: np.ndarray) -> np.ndarray:
        """Rows of lines that rise."""
        if not len(lines):
            return np.empty((0, self.n_dims), np.float16)
        bounds = np.searchsorted(lines, self._starts)
        return np.concatenate(
            [
                shard[lines[first:last] - start]
                for shard, start, first, last in zip(
                    self._shards, self._starts, bounds, bounds[1:], strict=False
                )
                if last > first
            ]
        )

    def part(self, rows: slice) -> "UnitRows":
        """The same, of some of the rows."""
        other = UnitRows.__new__(UnitRows)
        other.__dict__.update(self.__dict__)
        other.lines = self.lines[rows]
        return other

    def sample(self, n_rows: int) -> np.ndarray:
        """Some of the rows, drawn evenly."""
        chosen = np.random.default_rng(0).permutation(len(self))[:n_rows]
        return self[np.sort(chosen)]

    @property
    def shards(self) -> list[slice]:
        """Rows of every shard."""
        bounds = np.searchsorted(self.lines, self._starts).tolist()
        return [slice(*pair) for pair in itertools.pairwise(bounds)]


def blocks(n_rows: int) -> list[slice]:
    """Cut rows into units of work that depend on their number alone: at least one, at most 64."""
    size = max(BLOCK_ROWS, math.ceil(n_rows / MOST_BLOCKS))
    return [slice(start, min(start + size, n_rows)) for start in range(0, max(n_rows, 1), size)]
