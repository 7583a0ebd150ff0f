"""Find the nearest neighbours of both sides in each other.

Exact search goes through the source once and finds both directions on the way. Where that would
take too long, each side gets an index of faiss: trained on a sample, filled, and measured against
exact search on a sample of queries, because a missed neighbour lowers what is usual around a row,
and so lifts its margins.

Work is cut into units of source rows that depend on their number alone; a finished unit is not
searched again. Files in ``mine.<data_version>/``, squared Euclidean distances of unit rows as
stopes has them (2 minus twice the cosine; infinity, and row -1, where there is none)::

    <source>-<target>.x2y.dist.npy  .idx.npy     of the source in the target
    <source>-<target>.y2x.dist.npy  .idx.npy     of the target in the source
    neighbours.json                              how they were found, and the recall
"""

import functools
import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus import read_json, write_json, write_path
from pipeline.folders import COMPLETE
from pipeline.mining.preset import MiningPlan
from pipeline.neighbour_index import Index, recall
from pipeline.neighbours import (
    BothWays,
    Neighbours,
    merge_neighbours,
    nearest,
    nearest_both,
    unit_rows,
)
from pipeline.progress import Progress
from pipeline.workers import WorkerPool

EXACT_UP_TO = 2.5e13  # multiplications for which exact search takes a quarter of an hour or less
UNIT_ROWS = 16_384  # fewest rows of a unit of work
MOST_UNITS = 64
SAMPLE_QUERIES = 2_000
EFFORTS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
# Types that stopes takes for so many rows; below these cells hold whole vectors.
LARGEST_WHOLE = 5_000_000
STOPES_CELLS = ((500_000_000, 262_144), (100_000_000, 131_072), (10_000_000, 65_536), (0, 32_768))

logger = logging.getLogger("pipeline")


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
    effort : int or None
        Cells looked into, or candidates of a graph.
    """

    index_type: str
    k: int
    recall_forward: float = 1.0
    recall_backward: float = 1.0
    effort: int | None = None


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
        for start in range(0, self.n_lines, UNIT_ROWS):
            lines = np.arange(start, min(start + UNIT_ROWS, self.n_lines))
            found.append(lines[np.any(self._take(lines) != 0, axis=1)])
        self.lines = np.concatenate(found)

    @functools.cached_property
    def _shards(self) -> list[np.ndarray]:
        return [np.load(path, mmap_mode="r", allow_pickle=False) for path in self._paths]

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


@dataclass(frozen=True)
class SearchWork:
    """Neighbours of a unit of source rows, both ways; called with the number of the unit."""

    source: UnitRows
    target: UnitRows
    k: int
    folder: Path
    digest: str

    @property
    def units(self) -> list[slice]:
        """Rows of every unit."""
        n_rows = max(UNIT_ROWS, math.ceil(len(self.source) / MOST_UNITS))
        starts = range(0, max(len(self.source), 1), n_rows)
        return [slice(start, min(start + n_rows, len(self.source))) for start in starts]

    def path(self, unit: int) -> Path:
        """Where what was found is kept until all is."""
        return self.folder / f"unit.{self.digest[:16]}.{unit:03d}.npz"

    def __call__(self, unit: int) -> int:
        """Search, unless it was done; gives the rows of the unit."""
        rows = self.units[unit]
        if not self.path(unit).is_file():
            found = nearest_both(self.source.part(rows), self.target, self.k)
            with write_path(self.path(unit)) as temporary, temporary.open("wb") as file:
                np.savez(
                    file,
                    forward_similarities=found.forward.similarities,
                    forward_indices=found.forward.indices,
                    backward_similarities=found.backward.similarities,
                    backward_indices=found.backward.indices + rows.start,
                )
        return rows.stop - rows.start

    def merged(self) -> BothWays:
        """Join what the units found, and remove their files."""
        parts = [self._read(unit) for unit in range(len(self.units))]
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
        with np.load(self.path(unit), allow_pickle=False) as file:
            return BothWays(
                Neighbours(file["forward_similarities"], file["forward_indices"]),
                Neighbours(file["backward_similarities"], file["backward_indices"]),
            )


def find_neighbours(
    plan: MiningPlan,
    source: UnitRows,
    target: UnitRows,
    embedded: str,
    folder: Path,
    num_workers: int,
    which: Sequence[int] | None = None,
) -> SearchReport | None:
    """Find the neighbours of both sides and write them, unless that was done.

    Parameters
    ----------
    plan : MiningPlan
    source, target : UnitRows
    embedded : str
        Digest of what the rows were made from.
    folder : Path
    num_workers : int
    which : sequence of int, optional
        Do only these units, of exact search, and write nothing else.

    Returns
    -------
    SearchReport or None
        None if only units were done.

    Raises
    ------
    InputError
        If the sides differ in their dimensions, or the index cannot be made.
    """
    kind = plan.index_type or choose_index(len(source), len(target), source.shape[1])
    settings = {
        "index_type": kind,
        "knn": plan.knn,
        "num_probe": plan.num_probe,
        "recall_wanted": plan.recall_wanted,
        "sample_size": plan.sample_size,
        "half_distances": plan.half_distances,
        "embedded": embedded,
    }
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    record = read_json(folder / "neighbours.json")
    if record.get("digest") == digest and record.get("status") == COMPLETE:
        return SearchReport(**record["report"])
    for name, n_rows in ((plan.source.name, len(source)), (plan.target.name, len(target))):
        if plan.knn > n_rows:
            logger.warning("%s has %d rows; k is %d for it", name, n_rows, n_rows)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "Flat":
        work = SearchWork(source, target, plan.knn, folder, digest)
        units = range(len(work.units)) if which is None else which
        with (
            Progress("search", len(source)) as bar,
            WorkerPool(work, num_workers if len(units) > 1 else 0) as pool,
        ):
            for _, n_rows in pool.run(units):
                bar.advance(n_rows)
        if which is not None:
            return None
        found, report = work.merged(), SearchReport(kind, plan.knn)
    elif which is not None:
        return None
    else:
        found, report = _search_indexes(plan, source, target, kind)
    _write(plan, found, source, target, folder)
    facts = {"digest": digest, "settings": settings, "report": asdict(report)}
    write_json(folder / "neighbours.json", {**facts, "status": COMPLETE})
    for path in folder.glob("unit.*.npz"):
        path.unlink()
    return report


def read_neighbours(plan: MiningPlan, folder: Path) -> BothWays:
    """Read what :func:`find_neighbours` wrote: twice the cosine, a row per line of each side."""
    directions = []
    for direction in ("x2y", "y2x"):
        stem = folder / f"{plan.source.name}-{plan.target.name}.{direction}"
        distances = np.load(f"{stem}.dist.npy", allow_pickle=False).astype(np.float32)
        indices = np.load(f"{stem}.idx.npy", allow_pickle=False)
        directions.append(Neighbours(2 - distances, indices))
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


def _search_indexes(
    plan: MiningPlan, source: UnitRows, target: UnitRows, kind: str
) -> tuple[BothWays, SearchReport]:
    indexes = []
    for side in (target, source):
        index = Index(kind, side.shape[1])
        index.train(side.sample(plan.sample_size))
        index.add(side)
        indexes.append(index)
    effort, recalls = plan.num_probe, [0.0, 0.0]
    queries = [side.sample(SAMPLE_QUERIES) for side in (source, target)]
    exact = [nearest(queries[0], target, plan.knn), nearest(queries[1], source, plan.knn)]
    for tried in (effort,) if effort else EFFORTS:
        effort = tried
        recalls = [
            recall(index.search(rows, plan.knn, effort), truth, keeps_whole=index.keeps_whole)
            for index, rows, truth in zip(indexes, queries, exact, strict=True)
        ]
        if min(recalls) >= plan.recall_wanted or effort >= max(indexes[0].n_cells, 512):
            break
    logger.info("%s finds %.1f %% and %.1f %% of the neighbours", kind, *(100 * r for r in recalls))
    if min(recalls) < plan.recall_wanted:
        logger.warning(
            "%s finds %.1f %% of the neighbours, less than the %.1f %% wanted; margins are too "
            "high by what it misses",
            *(kind, 100 * min(recalls), 100 * plan.recall_wanted),
        )
    forward, backward = (
        index.search(side, plan.knn, effort)
        for index, side in zip(indexes, (source, target), strict=True)
    )
    report = SearchReport(kind, plan.knn, recalls[0], recalls[1], effort)
    return BothWays(forward, backward), report


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
        stem = folder / f"{plan.source.name}-{plan.target.name}.{direction}"
        for name, array in (("dist", distances), ("idx", indices)):
            with write_path(Path(f"{stem}.{name}.npy")) as temporary, temporary.open("wb") as file:
                np.save(file, array)


def digest_of_embeddings(paths: Sequence[Path]) -> str:
    """SHA-256 of the records of embedded shards."""
    records: list[Any] = [read_json(path) for path in paths]
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
