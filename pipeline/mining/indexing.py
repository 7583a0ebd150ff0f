"""Search by indexes of faiss: trained on a sample, populated shard by shard, merged, measured.

Each side gets an index, in which the other side is looked up. Files in ``index.<data_version>/``,
with the digest of all that decides what is in them::

    <side>.<digest>.trained.faiss          cells and codes, no rows
    <side>.<digest>.populated.000.faiss    the same with the rows of a shard
    <side>.<digest>.faiss                  all rows

Indexes that cannot be merged, such as graphs, are populated with all shards as one.
"""

import functools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus import read_json, write_json, write_path
from pipeline.errors import InputError
from pipeline.folders import COMPLETE
from pipeline.mining.exact import read_unit
from pipeline.mining.rows import UnitRows, blocks
from pipeline.neighbour_index import Index, is_mergeable, recall
from pipeline.neighbours import BothWays, Neighbours, nearest

SAMPLE_QUERIES = 2_000
EFFORTS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
# Of so many cells one may be looked into: row by row, more costs more than exact search in blocks.
CELLS_WORTH = 16

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class SideIndex:
    """The index of a side, and where it lies.

    Attributes
    ----------
    name : str
        Of the side.
    kind : str
        As faiss's ``index_factory`` reads it.
    rows : UnitRows
    sample_size : int
        Rows that it is trained on at most.
    folder : Path
    digest : str
        Of all that decides what is in it.
    """

    name: str
    kind: str
    rows: UnitRows
    sample_size: int
    folder: Path
    digest: str

    @property
    def trained(self) -> Path:
        """Cells and codes."""
        return self._path("trained.faiss")

    @property
    def parts(self) -> list[slice]:
        """Rows that are put into an index of their own: those of each shard, or all."""
        return self.rows.shards if is_mergeable(self.kind) else [slice(0, len(self.rows))]

    def populated(self, part: int) -> Path:
        """The index of a part."""
        return self._path(f"populated.{part:03d}.faiss")

    @property
    def merged(self) -> Path:
        """The index of all rows."""
        return self._path("faiss")

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{self.digest[:16]}.{suffix}"


@dataclass(frozen=True)
class TrainWork:
    """Learns cells and codes from a sample; called with the number of a side."""

    sides: Sequence[SideIndex]

    @property
    def sizes(self) -> list[int]:
        """Rows of the samples."""
        return [min(side.sample_size, len(side.rows)) for side in self.sides]

    def proof(self, unit: int) -> Path:
        """The trained index, or what became of it."""
        side = self.sides[unit]
        return side.merged if side.merged.is_file() else side.trained

    def is_done(self, unit: int) -> bool:
        """Whether a side's index is trained."""
        return self.proof(unit).is_file()

    def __call__(self, unit: int) -> int:
        """Train.

        Raises
        ------
        InputError
            If the index cannot be made, or has more cells than there are rows.
        """
        side = self.sides[unit]
        index = Index(side.kind, side.rows.shape[1])
        index.train(side.rows.sample(side.sample_size))
        _save(index, side.trained)
        return self.sizes[unit]


@dataclass(frozen=True)
class PopulateWork:
    """Puts the rows of a shard into a copy of the trained index; called with a number of all."""

    sides: Sequence[SideIndex]

    @property
    def _units(self) -> list[tuple[SideIndex, int]]:
        return [(side, part) for side in self.sides for part in range(len(side.parts))]

    @property
    def sizes(self) -> list[int]:
        """Rows of the shards."""
        rows = [side.parts[part] for side, part in self._units]
        return [part.stop - part.start for part in rows]

    def proof(self, unit: int) -> Path:
        """The populated index, or what became of it."""
        side, part = self._units[unit]
        return side.merged if side.merged.is_file() else side.populated(part)

    def is_done(self, unit: int) -> bool:
        """Whether a shard is in an index."""
        return self.proof(unit).is_file()

    def __call__(self, unit: int) -> int:
        """Populate.

        Raises
        ------
        InputError
            If the index is not trained.
        """
        side, part = self._units[unit]
        if not side.trained.is_file():
            raise InputError(f"{side.trained} is missing; train the index first, with --step train")
        index, rows = Index.load(side.trained, side.kind), side.parts[part]
        index.add(side.rows.part(rows))
        _save(index, side.populated(part))
        return rows.stop - rows.start


@dataclass(frozen=True)
class MergeWork:
    """Joins the indexes of a side's shards, and measures what is found in it; called with a side.

    A missed neighbour lowers what is usual around a row, and so lifts its margins. So the index is
    held against exact search with a sample of queries, and looks as far as the recall takes.
    """

    sides: Sequence[SideIndex]
    k: int
    num_probe: int | None
    recall_wanted: float
    folder: Path
    digest: str

    @property
    def sizes(self) -> list[int]:
        """Rows of the sides."""
        return [len(side.rows) for side in self.sides]

    def proof(self, unit: int) -> Path:
        """How far is looked, and the recall."""
        return self.folder / f"recall.{self.digest[:16]}.{self.sides[unit].name}.json"

    def is_done(self, unit: int) -> bool:
        """Whether a side is merged and measured."""
        known = read_json(self.proof(unit)).get("status") == COMPLETE
        return known and self.sides[unit].merged.is_file()

    def __call__(self, unit: int) -> int:
        """Merge and measure.

        Raises
        ------
        InputError
            If a shard is not in an index yet.
        """
        side = self.sides[unit]
        if not side.merged.is_file():
            _save(_merged(side), side.merged)
        index, other = Index.load(side.merged, side.kind), self.sides[1 - unit]
        effort, share = self._measure(index, other.rows.sample(SAMPLE_QUERIES), side)
        logger.info("%s of %s finds %.1f %% of the neighbours", side.kind, side.name, 100 * share)
        if share < self.recall_wanted:
            logger.warning(
                "%s of %s finds %.1f %% of the neighbours, less than the %.1f %% wanted; margins "
                "are too high by what it misses; index_type=Flat misses none",
                *(side.kind, side.name, 100 * share, 100 * self.recall_wanted),
            )
        write_json(self.proof(unit), {"effort": effort, "recall": share, "status": COMPLETE})
        return len(side.rows)

    def measured(self, unit: int) -> tuple[int, float]:
        """How far is looked in the index of a side, and the share of neighbours that gives."""
        known = read_json(self.proof(unit))
        if known.get("status") != COMPLETE:
            raise InputError(
                f"the index of {self.sides[unit].name} is not merged; do that first, with "
                "--step merge"
            )
        return known["effort"], known["recall"]

    def _measure(self, index: Index, queries: np.ndarray, side: SideIndex) -> tuple[int, float]:
        exact = nearest(queries, side.rows, self.k)
        farthest = max(index.n_cells // CELLS_WORTH, 16) if index.n_cells else 512
        effort, share = 0, 0.0
        for tried in (self.num_probe,) if self.num_probe else EFFORTS:
            found = index.search(queries, self.k, tried)
            effort, share = tried, recall(found, exact, keeps_whole=index.keeps_whole)
            if share >= self.recall_wanted or 2 * effort > farthest:
                break
        return effort, share


@dataclass(frozen=True)
class IndexedWork:
    """Neighbours of a unit of rows in the index of the other side; called with a number of all."""

    merging: MergeWork
    k: int
    folder: Path
    digest: str

    @property
    def _units(self) -> list[tuple[int, slice]]:
        """Direction and rows of every unit: source in target first."""
        target, source = self.merging.sides
        return [
            (direction, rows)
            for direction, queries in enumerate((source.rows, target.rows))
            for rows in blocks(len(queries))
        ]

    @property
    def sizes(self) -> list[int]:
        """Rows of every unit."""
        return [rows.stop - rows.start for _, rows in self._units]

    def proof(self, unit: int) -> Path:
        """Where what was found is kept until all is."""
        return self.folder / f"unit.{self.digest[:16]}.{unit:03d}.npz"

    def is_done(self, unit: int) -> bool:
        """Whether a unit need not be searched again."""
        return self.proof(unit).is_file()

    def __call__(self, unit: int) -> int:
        """Search; gives the rows of the unit.

        Raises
        ------
        InputError
            If the index is not merged.
        """
        direction, rows = self._units[unit]
        side, other = self.merging.sides[direction], self.merging.sides[1 - direction]
        effort, _ = self.merging.measured(direction)
        index = _open(side.merged, side.kind)
        found = index.search(other.rows.part(rows), self.k, effort)
        with write_path(self.proof(unit)) as temporary, temporary.open("wb") as file:
            np.savez(file, similarities=found.similarities, indices=found.indices)
        return rows.stop - rows.start

    def merged(self) -> BothWays:
        """Join what the units found."""
        ways = []
        for way in (0, 1):
            parts = [self._read(i) for i, (d, _) in enumerate(self._units) if d == way]
            columns = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            ways.append(Neighbours(*columns))
        return BothWays(*ways)

    def _read(self, unit: int) -> Neighbours:
        found = read_unit(self.proof(unit))
        return Neighbours(found["similarities"], found["indices"])


def digest_of(settings: Any) -> str:
    """SHA-256 of JSON values."""
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _merged(side: SideIndex) -> Index:
    paths = [side.populated(part) for part in range(len(side.parts))]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]} is missing; populate the index first, with --step populate")
    index = Index.load(paths[0], side.kind)
    for path in paths[1:]:
        index.merge(Index.load(path, side.kind))
    return index


def _save(index: Index, path: Path) -> None:
    with write_path(path) as temporary:
        index.save(temporary)


@functools.lru_cache(maxsize=1)
def _open(path: Path, kind: str) -> Index:
    """Open an index once for all units of a worker that look into it."""
    return Index.load(path, kind, mapped=True)
