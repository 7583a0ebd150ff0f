"""Find the nearest neighbours of both sides in each other, step by step.

Exact search goes through the source once and finds both directions on the way. Where that would
take too long, each side gets an index of faiss (:mod:`pipeline.mining.indexing`): trained,
populated, merged, and then looked up. Every step is cut into units that depend on the input alone;
a finished unit is not done again, and tasks of an array share them. Files in
``mine.<data_version>/``, squared Euclidean distances of unit rows as stopes has them (2 minus twice
the cosine; infinity, and row -1, where there is none)::

    <source>-<target>.x2y.dist.npy  .idx.npy     of the source in the target
    <source>-<target>.y2x.dist.npy  .idx.npy     of the target in the source
    neighbours.json                              how they were found, and the recall
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from pipeline.arrays import map_array
from pipeline.corpus import read_json, write_json, write_path
from pipeline.folders import COMPLETE
from pipeline.mining.exact import ExactWork
from pipeline.mining.indexing import (
    IndexedWork,
    MergeWork,
    PopulateWork,
    SideIndex,
    TrainWork,
    digest_of,
)
from pipeline.mining.preset import MiningPlan
from pipeline.mining.rows import UnitRows
from pipeline.neighbours import BothWays, Neighbours
from pipeline.progress import Progress
from pipeline.workers import WorkerPool

SearchStep = Literal["train", "populate", "merge", "distances"]
SEARCH_STEPS: tuple[SearchStep, ...] = get_args(SearchStep)
EXACT_UP_TO = 2.5e13  # multiplications for which exact search takes a quarter of an hour or less
# Types that stopes takes for so many rows; below these cells hold whole vectors.
LARGEST_WHOLE = 5_000_000
STOPES_CELLS = ((500_000_000, 262_144), (100_000_000, 131_072), (10_000_000, 65_536), (0, 32_768))

logger = logging.getLogger("pipeline")


class Units(Protocol):
    """Work that is cut into numbered units; called with a number, it does that one."""

    @property
    def sizes(self) -> list[int]:
        """Rows of every unit."""

    def proof(self, unit: int) -> Path:
        """A file that is there once a unit is done."""

    def is_done(self, unit: int) -> bool:
        """Whether a unit need not be done again."""

    def __call__(self, unit: int) -> Any:
        """Do it."""


@dataclass(frozen=True)
class SearchReport:
    """How neighbours were found.

    Attributes
    ----------
    index_type : str
    k : int
        Neighbours of a row at most.
    recall_forward, recall_backward : float
        Share of the true neighbours that were found, on a sample; 1 for exact search.
    effort_forward, effort_backward : int or None
        Cells looked into, or candidates of a graph.
    """

    index_type: str
    k: int
    recall_forward: float = 1.0
    recall_backward: float = 1.0
    effort_forward: int | None = None
    effort_backward: int | None = None


@dataclass(frozen=True)
class Search:
    """The search that a preset asks for.

    Attributes
    ----------
    plan : MiningPlan
    source, target : UnitRows
    embedded : tuple of str
        Digests of what the rows of both were made from.
    output : Path
        Folder of everything.
    """

    plan: MiningPlan
    source: UnitRows
    target: UnitRows
    embedded: tuple[str, str]
    output: Path

    @property
    def folder(self) -> Path:
        """Where neighbours and pairs go."""
        return self.output / f"mine.{self.plan.source.data.data_version}"

    @property
    def index_folder(self) -> Path:
        """Where indexes go."""
        return self.output / f"index.{self.plan.source.data.data_version}"

    @cached_property
    def kind(self) -> str:
        """Type of index."""
        sizes = len(self.source), len(self.target), self.source.shape[1]
        return self.plan.index_type or choose_index(*sizes)

    @property
    def is_exact(self) -> bool:
        """Whether it takes no index."""
        return self.kind == "Flat"

    def units(self, step: SearchStep) -> Units | None:
        """What a step has to do; None if nothing, as for the index of exact search."""
        if step == "distances":
            return self._distances
        if self.is_exact:
            return None
        if step == "merge":
            return self._merging
        return TrainWork(self._sides) if step == "train" else PopulateWork(self._sides)

    def do(
        self,
        step: SearchStep,
        which: Sequence[int] | None,
        num_workers: int,
        tell: Callable[[int], object] = lambda unit: None,
    ) -> None:
        """Do the units of a step, or some of them, unless they are done.

        Parameters
        ----------
        step : str
        which : sequence of int, optional
            All, unless it is said.
        num_workers : int
        tell : callable
            Called with every unit that is done.

        Raises
        ------
        InputError
            If the step before is not done, or the index cannot be made.
        """
        units = self.units(step)
        if units is None:
            return
        chosen = range(len(units.sizes)) if which is None else which
        left = [] if self.finished else [unit for unit in chosen if not units.is_done(unit)]
        for unit in sorted(set(chosen) - set(left)):
            tell(unit)
        if step == "distances" and left:
            self._check_k()
        with (
            Progress(step, sum(units.sizes[unit] for unit in left)) as bar,
            WorkerPool(units, num_workers if len(left) > 1 else 0) as pool,
        ):
            for unit, n_rows in pool.run(left):
                tell(unit)
                bar.advance(n_rows)

    @property
    def finished(self) -> SearchReport | None:
        """What was found, if that is complete."""
        record = read_json(self.folder / "neighbours.json")
        if record.get("digest") != self.digest or record.get("status") != COMPLETE:
            return None
        paths = _paths(self.plan, self.folder).values()
        whole = all(path.is_file() for path in paths)
        return SearchReport(**record["report"]) if whole else None

    def finish(self, num_workers: int) -> SearchReport:
        """Do what is left of all steps, write all neighbours, remove what led there."""
        if report := self.finished:
            return report
        for step in SEARCH_STEPS:
            self.do(step, None, num_workers)
        report = SearchReport(self.kind, self.plan.knn)
        if not self.is_exact:
            (effort, share), (other_effort, other_share) = map(self._merging.measured, (0, 1))
            report = SearchReport(
                self.kind, self.plan.knn, share, other_share, effort, other_effort
            )
        _write(self.plan, self._distances.merged(), self.source, self.target, self.folder)
        facts = {"digest": self.digest, "settings": self._settings, "report": asdict(report)}
        write_json(self.folder / "neighbours.json", {**facts, "status": COMPLETE})
        self._clear()
        return report

    def _clear(self) -> None:
        """Keep of indexes the merged ones, for another search; and nothing of units."""
        kept = set() if self.is_exact else {side.merged for side in self._sides}
        for path in (
            *self.index_folder.glob("*.faiss"),
            *self.folder.glob("unit.*.npz"),
            *self.folder.glob("recall.*.json"),
        ):
            if path not in kept:
                path.unlink()

    def _check_k(self) -> None:
        for name, rows in (
            (self.plan.source.name, self.source),
            (self.plan.target.name, self.target),
        ):
            if self.plan.knn > len(rows):
                logger.warning("%s has %d rows; k is %d for it", name, len(rows), len(rows))

    @cached_property
    def _sides(self) -> tuple[SideIndex, SideIndex]:
        """Indexes that are looked up: the target's forward, the source's backward."""
        target, source = (
            SideIndex(
                name,
                self.kind,
                rows,
                self.plan.sample_size,
                self.index_folder,
                digest_of([self.kind, self.plan.sample_size, embedded]),
            )
            for name, rows, embedded in (
                (self.plan.target.name, self.target, self.embedded[1]),
                (self.plan.source.name, self.source, self.embedded[0]),
            )
        )
        return target, source

    @cached_property
    def _merging(self) -> MergeWork:
        return MergeWork(
            self._sides,
            self.plan.knn,
            self.plan.num_probe,
            self.plan.recall_wanted,
            self.folder,
            self.digest,
        )

    @cached_property
    def _distances(self) -> ExactWork | IndexedWork:
        if self.is_exact:
            return ExactWork(self.source, self.target, self.plan.knn, self.folder, self.digest)
        return IndexedWork(self._merging, self.plan.knn, self.folder, self.digest)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return {
            "index_type": self.kind,
            "knn": self.plan.knn,
            "num_probe": self.plan.num_probe,
            "recall_wanted": self.plan.recall_wanted,
            "sample_size": self.plan.sample_size,
            "half_distances": self.plan.half_distances,
            "embedded": list(self.embedded),
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides what is found."""
        return digest_of(self._settings)


def read_neighbours(plan: MiningPlan, folder: Path) -> BothWays:
    """Read what :func:`find_neighbours` wrote: twice the cosine, a row per line of each side."""
    directions, paths = [], _paths(plan, folder)
    for direction in ("x2y", "y2x"):
        distances, indices = (
            np.asarray(map_array(paths[direction, name], "remove it and run again"))
            for name in ("dist", "idx")
        )
        directions.append(Neighbours(2 - distances.astype(np.float32), indices))
    return BothWays(*directions)


def choose_index(n_source: int, n_target: int, n_dims: int) -> str:
    """Type of index for so many rows: exact while that is quick, then cells, then stopes' types."""
    if n_source * n_target * n_dims <= EXACT_UP_TO:
        return "Flat"
    largest, smallest = max(n_source, n_target), min(n_source, n_target)
    if largest <= LARGEST_WHOLE:
        return f"IVF{max(min(4 * math.isqrt(largest), smallest // 40), 1)},Flat"
    cells = next(cells for rows, cells in STOPES_CELLS if largest > rows)
    return f"OPQ64,IVF{cells},PQ64"


def _write(
    plan: MiningPlan, found: BothWays, source: UnitRows, target: UnitRows, folder: Path
) -> None:
    """Write distances with lines instead of rows, so that left-out lines have their place."""
    directions = (("x2y", found.forward, source, target), ("y2x", found.backward, target, source))
    for direction, neighbours, of, other in directions:
        k = neighbours.indices.shape[1]
        kind = np.float16 if plan.half_distances else np.float32
        distances = np.full((of.n_lines, k), np.inf, kind)
        indices = np.full((of.n_lines, k), -1, np.int64)
        # A cosine may be over 1 by rounding, and no distance is negative.
        distances[of.lines] = np.maximum(2 - 2 * neighbours.similarities, 0)
        there = neighbours.indices >= 0
        indices[of.lines] = np.where(there, other.lines[neighbours.indices], -1)
        for name, array in (("dist", distances), ("idx", indices)):
            path = _paths(plan, folder)[direction, name]
            with write_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, array)


def _paths(plan: MiningPlan, folder: Path) -> dict[tuple[str, str], Path]:
    """Files of every direction: distances and indices."""
    stem = f"{plan.source.name}-{plan.target.name}"
    return {
        (direction, name): folder / f"{stem}.{direction}.{name}.npy"
        for direction in ("x2y", "y2x")
        for name in ("dist", "idx")
    }


def digest_of_embeddings(paths: Sequence[Path]) -> str:
    """SHA-256 of the records of embedded shards."""
    return digest_of([read_json(path.with_name(path.name + ".json")) for path in paths])
