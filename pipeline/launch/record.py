"""What was launched, on disk beside what comes of it: ``<output>/launch/<name>.json``.

Written before anything is submitted, so that whoever comes later can ask SLURM about it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pipeline.corpus import read_json, write_json
from pipeline.errors import InputError
from pipeline.folders import COMPLETE, LAUNCH_FOLDER
from pipeline.shards import Task, record_path
from pipeline.stage import plan

CLOCK_SKEW_SECONDS = 60.0  # by which nodes and disks may disagree
RECORD_FILE = "launch.json"  # beside scripts and logs, where no later launch replaces it


@dataclass(frozen=True)
class Unit:
    """What is made as a whole: a shard, or a rank.

    Attributes
    ----------
    name : str
    n_clips : int
    proofs : tuple of Path
        Files that are there once it is made.
    says_status : bool
        Whether proofs in JSON are there before, and say when it is made.
    since : float
        Older proofs are none; seconds since the epoch.
    """

    name: str
    n_clips: int
    proofs: tuple[Path, ...]
    says_status: bool = False
    since: float = 0.0

    @cached_property
    def done_at(self) -> float | None:
        """When it was made, in seconds since the epoch; None if it was not yet."""
        times = [_proven_at(proof, says_status=self.says_status) for proof in self.proofs]
        known = [t for t in times if t is not None and t >= self.since]
        return max(known) if len(known) == len(times) else None


@dataclass(frozen=True)
class Record:
    """One launch.

    Attributes
    ----------
    name : str
        Of its jobs in SLURM; no other launch has it.
    stage : str
    command : str
        As it would be typed.
    home : str
        Folder of which ``pipeline status`` tells.
    roots : tuple of str
        All folders that hold this record.
    planned : dict of str to int
        Rows of every split, where the work is cut into shards.
    ranks : dict of str to dict
        Clips and proofs of every rank, where it is cut into ranks.
    count : int
        Shares that the work is cut into.
    shares : tuple of int
        Those that have anything to do: task ``j`` of the array does ``shares[j]``.
    retries : int
        How often shares that failed are submitted again.
    round : int
        How often they have been.
    array, finisher : str
        Numbers of the jobs; empty until SLURM has given them.
    submitted_at : float
        Seconds since the epoch.
    """

    name: str
    stage: str
    command: str
    home: str
    roots: tuple[str, ...]
    planned: Mapping[str, int]
    ranks: Mapping[str, Mapping[str, Any]]
    count: int
    shares: tuple[int, ...]
    retries: int
    round: int = 0
    array: str = ""
    finisher: str = ""
    submitted_at: float = 0.0

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units, in the order in which they are dealt out."""
        if self.ranks:
            return tuple(
                Unit(
                    name,
                    rank["clips"],
                    tuple(map(Path, rank["proofs"])),
                    says_status=True,
                    since=self.submitted_at - CLOCK_SKEW_SECONDS if rank["fresh"] else 0.0,
                )
                for name, rank in self.ranks.items()
            )
        return shard_units(self.planned, [Path(root) for root in self.roots])

    def share(self, index: int) -> tuple[Unit, ...]:
        """What one share has to do."""
        return self.units[index :: self.count]

    @property
    def job_names(self) -> tuple[str, str]:
        """Of the array and of the finishing job."""
        return self.name, self.finisher_name

    @property
    def finisher_name(self) -> str:
        """Of the finishing job."""
        return f"{self.name}-finish"

    @property
    def finish_attempts(self) -> Path:
        """Where the finishing job writes down as tasks do."""
        return self.folder / "finish.jsonl"

    @property
    def folder(self) -> Path:
        """Where scripts and logs of the jobs are."""
        return Path(self.home) / LAUNCH_FOLDER / self.name

    def attempts(self, share: int) -> Path:
        """Where a task writes down when and where it runs, a line each time."""
        return self.folder / f"task-{share:05d}.jsonl"

    def write(self) -> None:
        """Put the record into every folder."""
        paths = [path_of(Path(root), self.stage) for root in sorted({self.home, *self.roots})]
        for path in (self.folder / RECORD_FILE, *paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises
        ------
        InputError
            If it is none.
        """
        content = read_json(path)
        try:
            content["roots"], content["shares"] = tuple(content["roots"]), tuple(content["shares"])
            record = cls(**content)
            sound = _is_sound(record)
        except (KeyError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise InputError(f"{path} is not a record of ours; remove it")
        return record


def _is_sound(record: Record) -> bool:
    """Whether values are of their types; a record may come from a stranger."""
    words = (record.name, record.stage, record.command, record.home, record.array, record.finisher)
    ranks = [(rank["clips"], rank["fresh"], *rank["proofs"]) for rank in record.ranks.values()]
    numbers = (record.count, record.retries, record.round, *record.shares)
    return (
        all(isinstance(word, str) for word in (*words, *record.roots))
        and all(type(number) is int for number in (*numbers, *record.planned.values()))
        and all(
            type(clips) is int and type(fresh) is bool and all(isinstance(f, str) for f in files)
            for clips, fresh, *files in ranks
        )
        and isinstance(record.submitted_at, float)
        and record.count > 0
        and "/" not in record.name + record.stage
    )


def new_name(stage: str) -> str:
    """Name the jobs of a launch as no other's are named."""
    return f"{stage}-{time.time_ns() // 1000:x}"


def path_of(root: Path, stage: str) -> Path:
    """Where the record of the latest launch of a stage lies."""
    return root / LAUNCH_FOLDER / f"{stage}.json"


def records_of(root: Path) -> list[Record]:
    """Read the records of a folder, of every stage the latest."""
    return [Record.read(path) for path in sorted((root / LAUNCH_FOLDER).glob("*.json"))]


def shard_units(planned: Mapping[str, int], roots: Sequence[Path]) -> tuple[Unit, ...]:
    """Cut splits into shards, as the engine does."""
    return tuple(_shard_unit(task, roots) for task in plan(planned))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read what a task wrote down, without a line that was cut off."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return [line for line in found if isinstance(line, dict) and {"event", "at"} <= line.keys()]


def _shard_unit(task: Task, roots: Sequence[Path]) -> Unit:
    return Unit(str(task), task.n_rows, tuple(record_path(root, task) for root in roots))


def _proven_at(proof: Path, *, says_status: bool) -> float | None:
    try:
        changed = proof.stat().st_mtime
    except FileNotFoundError:
        return None
    if says_status and proof.suffix == ".json" and read_json(proof).get("status") != COMPLETE:
        return None
    return changed
