"""The engine every stage runs on: cut the work, do it in parallel, survive anything, lose nothing.

A stage says which rows it makes (:class:`Stage`); this module decides how. Work is cut into shards
that depend on the input alone. A worker writes its shard under a temporary name, flushes and
renames it, and then leaves a record beside it; a shard with a record is not made again. So a run
that was killed, or is run again with another number of workers, ends in the same bytes.

Files a finished stage leaves in each output folder::

    dataset/           the corpus (see pipeline.corpus)
    run.json           configuration, versions, source, counts; the same for the same input
    timing.json        wall time and throughput, which never are
    quarantine.jsonl   every clip left out, with its reason
    shards/            the records, one JSON file per shard
"""

import dataclasses
import fcntl
import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.corpus import (
    DATASET_FOLDER,
    Corpus,
    corpus_schema,
    order_splits,
    read_json,
    shard_name,
    write_atomically,
    write_dataset_dict,
    write_json,
    write_split_metadata,
)
from pipeline.errors import CheckFailed, InputError
from pipeline.progress import Progress
from pipeline.shards import Kept, Output, Quarantined, Task, is_done, read_record, record_path
from pipeline.workers import WorkerPool

__all__ = ["Kept", "Output", "Quarantined", "RunOptions", "Stage", "StageReport", "run_stage"]

OWN_FILES = ("run.json", "timing.json", "quarantine.jsonl")
OWN_FOLDERS = (DATASET_FOLDER, "shards")
VERSIONS_OF = ("hearing-analysis", "numpy", "pyarrow", "scipy", "soundfile", "soxr")


class Stage(Protocol):
    """What a stage has to say of itself. It is sent to the workers, so it holds no open files."""

    name: str

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The corpora it writes, row by row alike."""

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the output, as JSON values."""

    @property
    def source_digest(self) -> str:
        """A digest of the input."""

    def split_sizes(self) -> Mapping[str, int]:
        """Count the input rows of every split."""

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Make rows ``start`` to ``stop`` of a split, one result per input row, in order."""


@dataclass(frozen=True)
class RunOptions:
    """How to run, none of which may change what comes out.

    Attributes
    ----------
    num_workers : int
        Worker processes; 0 works in this process.
    overwrite : bool
        Start again instead of going on.
    max_failures : int, optional
        More quarantined clips than this end in :class:`CheckFailed`. Without it only a run that
        keeps no clip at all does.
    shard : tuple of (int, int), optional
        Do only every n-th shard, ``(index, count)``, as one task of an array does.
    """

    num_workers: int = 1
    overwrite: bool = False
    max_failures: int | None = None
    shard: tuple[int, int] | None = None


@dataclass(frozen=True)
class SplitCounts:
    """``clips_in == clips_out + quarantined``, or the stage fails."""

    clips_in: int
    clips_out: int
    quarantined: int


@dataclass(frozen=True)
class StageReport:
    """What a run did."""

    stage: str
    outputs: tuple[str, ...]
    splits: dict[str, SplitCounts]
    complete: bool
    seconds: float

    @property
    def clips_in(self) -> int:
        """Input rows over all splits."""
        return sum(counts.clips_in for counts in self.splits.values())

    @property
    def clips_out(self) -> int:
        """Rows kept, per output, over all splits."""
        return sum(counts.clips_out for counts in self.splits.values())

    @property
    def quarantined(self) -> int:
        """Rows left out over all splits."""
        return sum(counts.quarantined for counts in self.splits.values())

    def as_json(self) -> dict[str, Any]:
        """JSON values, for ``--json``."""
        return dataclasses.asdict(self)


def run_stage(stage: Stage, options: RunOptions | None = None) -> StageReport:
    """Run a stage to its end, or as far as its share of the shards goes.

    Raises
    ------
    InputError
        If the output folder holds something else, or another run is working on it.
    CheckFailed
        If too many clips were quarantined; the output is complete all the same.
    """
    options = options or RunOptions()
    started = time.monotonic()
    roots = [output.root for output in stage.outputs]
    with _lock(roots[0], exclusive=options.shard is None):
        if options.overwrite:
            _clear(roots)
        description = _describe(stage)
        if all(_is_complete(root, description) for root in roots):
            return judge(_report(stage, started), options.max_failures)
        # Before anything is written: a split that does not exist must not mark the folder.
        tasks = plan(stage.split_sizes())
        for root in roots:
            root.mkdir(parents=True, exist_ok=True)
            write_json(root / "run.json", {**description, "status": "running"})
        _work(stage, _share(tasks, options.shard), options.num_workers)
    if options.shard and not _all_done(stage, tasks):
        return StageReport(stage.name, tuple(map(str, roots)), {}, False, _since(started))
    with _lock(roots[0], exclusive=True):
        _finish(stage, tasks, description, started)
    return judge(_report(stage, started), options.max_failures)


def judge(report: StageReport, max_failures: int | None) -> StageReport:
    """Pass a report on, unless too many clips were quarantined.

    Raises
    ------
    CheckFailed
        If more were than ``max_failures``, or, without that, if none was kept.
    """
    where = f"see {report.outputs[0]}/quarantine.jsonl"
    if max_failures is not None and report.quarantined > max_failures:
        raise CheckFailed(
            f"{report.quarantined} of {report.clips_in} clips are quarantined, more than "
            f"--max-failures {max_failures}; {where}"
        )
    if report.clips_in and not report.clips_out:
        raise CheckFailed(f"all {report.clips_in} clips are quarantined; {where}")
    return report


def plan(split_sizes: Mapping[str, int]) -> list[Task]:
    """Cut splits into shards; splits without rows have none and do not appear in the output."""
    rows = rows_per_shard(sum(split_sizes.values()))
    tasks = []
    for split in order_splits(tuple(split_sizes)):
        size = split_sizes[split]
        n_shards = -(-size // rows)
        tasks += [
            Task(split, index, n_shards, index * rows, min(size, (index + 1) * rows))
            for index in range(n_shards)
        ]
    return tasks


def rows_per_shard(n_rows: int) -> int:
    """Choose a shard size from the size of the input alone: 16 to 1,000 rows, about 128 shards."""
    return min(1000, max(16, -(-n_rows // 128)))


def corpus_digest(corpus: Corpus) -> str:
    """Digest of a corpus: what its own stage recorded, else names and sizes of its shards."""
    recorded = corpus.run().get("output_digest")
    if recorded:
        return str(recorded)
    shards = [path for split in corpus.splits for path in corpus[split].shards]
    # A shard that is not there is told of when its rows are counted.
    sizes = [path.stat().st_size if path.is_file() else None for path in shards]
    listing = [[str(path.relative_to(corpus.root)), size] for path, size in zip(shards, sizes, strict=True)]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _describe(stage: Stage) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in _installed(VERSIONS_OF)}
    config = json.loads(json.dumps(stage.config))
    digest = stage.source_digest
    return {"stage": stage.name, "config": config, "source_digest": digest, "versions": versions}


def _installed(names: tuple[str, ...]) -> list[str]:
    present = {dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()}
    return [name for name in names if name in present]


def _is_complete(root: Path, description: Mapping[str, Any]) -> bool:
    """Whether this very output is there already; refuse one that was made in another way."""
    run = read_json(root / "run.json")
    if not run:
        if (root / DATASET_FOLDER).exists():
            raise InputError(
                f"{root} holds a dataset that this stage did not make; name another output folder"
            )
        return False
    differences = _differences(run, description)
    if differences:
        raise InputError(
            f"{root} was made with other settings ({'; '.join(differences)}); "
            "give --overwrite to make it again, or name another output folder"
        )
    return run["status"] == "complete"


def _differences(run: Mapping[str, Any], description: Mapping[str, Any]) -> list[str]:
    then, now = dict(run.get("config", {})), dict(description["config"])
    then["stage"], now["stage"] = run.get("stage"), description["stage"]
    found = [
        f"{key}: {json.dumps(then.get(key))} then, {json.dumps(now.get(key))} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    if not found and run.get("source_digest") != description["source_digest"]:
        found = ["the input has changed since"]
    return found


def _share(tasks: list[Task], shard: tuple[int, int] | None) -> list[Task]:
    if shard is None:
        return tasks
    index, count = shard
    return tasks[index::count]


def _all_done(stage: Stage, tasks: list[Task]) -> bool:
    return all(is_done(task, stage.outputs) for task in tasks)


def _work(stage: Stage, tasks: list[Task], num_workers: int) -> None:
    open_tasks = [task for task in tasks if not is_done(task, stage.outputs)]
    total = sum(task.n_rows for task in tasks)
    done = total - sum(task.n_rows for task in open_tasks)
    with Progress(stage.name, total, done) as progress, WorkerPool(stage, num_workers) as pool:
        for task in pool.run(open_tasks):
            progress.advance(task.n_rows)


def _finish(stage: Stage, tasks: list[Task], description: dict[str, Any], started: float) -> None:
    missing = [task for task in tasks if not is_done(task, stage.outputs)]
    if missing:
        raise CheckFailed(
            f"{len(missing)} shards are missing, the first is {missing[0]}; run again"
        )
    for output in stage.outputs:
        records = [read_record(record_path(output.root, task)) for task in tasks]
        quarantined = [entry for record in records for entry in record["quarantined"]]
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in quarantined]
        write_atomically(output.root / "quarantine.jsonl", "".join(lines).encode())
        digest = hashlib.sha256("".join(r["sha256"] for r in records).encode()).hexdigest()
        _write_dataset(output, tasks, digest)
        run = {**description, "splits": _count(tasks, records), "output_digest": digest}
        _write_timing(output.root, run, started)
        write_json(output.root / "run.json", {**run, "status": "complete"})


def _write_dataset(output: Output, tasks: list[Task], digest: str) -> None:
    dataset = output.root / DATASET_FOLDER
    schema = corpus_schema(output.columns, output.sampling_rate)
    splits = order_splits({task.split for task in tasks})
    for split in splits:
        names = [shard_name(t.index, t.n_shards) for t in tasks if t.split == split]
        split_digest = hashlib.sha256(f"{digest}/{split}".encode()).hexdigest()
        write_split_metadata(dataset / split, schema, names, split_digest)
    write_dataset_dict(dataset, splits)


def _count(tasks: list[Task], records: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for task, record in zip(tasks, records, strict=True):
        left_out = len(record["quarantined"])
        if task.n_rows != record["clips_out"] + left_out:
            raise CheckFailed(
                f"{task}: {task.n_rows} clips in, {record['clips_out']} out and {left_out} "
                "quarantined do not add up; give --overwrite to make the output again"
            )
        split = counts.setdefault(task.split, {"clips_in": 0, "clips_out": 0, "quarantined": 0})
        split["clips_in"] += task.n_rows
        split["clips_out"] += record["clips_out"]
        split["quarantined"] += left_out
    return counts


def _write_timing(root: Path, run: Mapping[str, Any], started: float) -> None:
    seconds = time.monotonic() - started
    clips = sum(split["clips_in"] for split in run["splits"].values())
    timing = {"seconds": round(seconds, 3), "clips_per_second": round(clips / seconds, 3)}
    write_json(root / "timing.json", timing)


def _report(stage: Stage, started: float) -> StageReport:
    roots = [output.root for output in stage.outputs]
    splits = read_json(roots[0] / "run.json")["splits"]
    counts = {split: SplitCounts(**numbers) for split, numbers in splits.items()}
    return StageReport(stage.name, tuple(map(str, roots)), counts, True, _since(started))


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _clear(roots: list[Path]) -> None:
    """Remove what a stage makes, and nothing else that may lie in the folder."""
    for root in roots:
        if (root / DATASET_FOLDER).exists() and not (root / "run.json").exists():
            raise InputError(
                f"{root} holds a dataset that no stage of ours made; delete it yourself, "
                "or name another output folder"
            )
        # run.json goes last: as long as it is there, the folder is known as ours.
        for folder in OWN_FOLDERS:
            shutil.rmtree(root / folder, ignore_errors=True)
        for name in reversed(OWN_FILES):
            (root / name).unlink(missing_ok=True)


@contextmanager
def _lock(root: Path, *, exclusive: bool) -> Iterator[None]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / ".lock").open("w")
    except OSError as error:
        raise InputError(f"{root} cannot be written to: {error.strerror}") from error
    with lock as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another run is working on {root}; wait for it, or name another output folder"
            ) from error
        yield
