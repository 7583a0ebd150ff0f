"""Exact search in units of source rows, each of which finds neighbours both ways."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.arrays import UNREADABLE
from pipeline.corpus import write_path
from pipeline.errors import InputError
from pipeline.mining.rows import UnitRows, blocks
from pipeline.neighbours import BothWays, Neighbours, merge_neighbours, nearest_both


@dataclass(frozen=True)
class ExactWork:
    """Neighbours of a unit of source rows, both ways; called with the number of the unit.

    Attributes
    ----------
    source, target : UnitRows
    k : int
    folder : Path
    digest : str
        Of all that decides what is found; it is part of the names of files.
    """

    source: UnitRows
    target: UnitRows
    k: int
    folder: Path
    digest: str

    @property
    def sizes(self) -> list[int]:
        """Rows of every unit."""
        return [rows.stop - rows.start for rows in blocks(len(self.source))]

    def proof(self, unit: int) -> Path:
        """Where what was found is kept until all is."""
        return self.folder / f"unit.{self.digest[:16]}.{unit:03d}.npz"

    def is_done(self, unit: int) -> bool:
        """Whether a unit need not be searched again."""
        return self.proof(unit).is_file()

    def __call__(self, unit: int) -> int:
        """Search; gives the rows of the unit."""
        rows = blocks(len(self.source))[unit]
        found = nearest_both(self.source.part(rows), self.target, self.k)
        with write_path(self.proof(unit)) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                forward_similarities=found.forward.similarities,
                forward_indices=found.forward.indices,
                backward_similarities=found.backward.similarities,
                backward_indices=found.backward.indices + rows.start,
            )
        return rows.stop - rows.start

    def merged(self) -> BothWays:
        """Join what the units found."""
        parts = [self._read(unit) for unit in range(len(self.sizes))]
        forward = Neighbours(
            np.concatenate([part.forward.similarities for part in parts]),
            np.concatenate([part.forward.indices for part in parts]),
        )
        backward = functools.reduce(self._merge_two, (part.backward for part in parts))
        return BothWays(forward, backward)

    def _merge_two(self, first: Neighbours, second: Neighbours) -> Neighbours:
        merged = merge_neighbours([first, second])
        return Neighbours(*(array[:, : self.k] for array in merged))

    def _read(self, unit: int) -> BothWays:
        found = read_unit(self.proof(unit))
        return BothWays(
            Neighbours(found["forward_similarities"], found["forward_indices"]),
            Neighbours(found["backward_similarities"], found["backward_indices"]),
        )


def read_unit(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays that a unit has left.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except UNREADABLE as error:
        raise InputError(f"{path} is damaged; remove it and run again") from error
