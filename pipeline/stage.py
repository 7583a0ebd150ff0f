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
    remarks.jsonl      every clip that was cut or split, with how long it was
    shards/            the records, one JSON file per shard
"""

import functools
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pipeline.corpus import (
    DATASET_FOLDER,
    Corpus,
    corpus_schema,
    order_splits,
    read_json,
    shard_name,
    size_of,
    sizes_below,
    write_atomically,
    write_dataset_dict,
    write_json,
    write_split_metadata,
)
from pipeline.counts import SplitCounts, StageReport, judge, without_zeros
from pipeline.errors import CheckFailed, InputError
from pipeline.folders import COMPLETE, RUN_FILE, RUNNING, clear, lock, status_of, versions
from pipeline.progress import Progress
from pipeline.shards import (
    Kept,
    Output,
    Quarantined,
    Task,
    is_done,
    read_record,
    record_path,
    write_shard,
)
from pipeline.workers import WorkerPool

__all__ = ["Kept", "Output", "Quarantined", "RunOptions", "Stage", "StageReport", "run_stage"]

# How long a task of an array waits for another to begin or to finish the output they share.
ARRAY_PATIENCE_SECONDS = 60.0
# Shards that a message names before it counts the rest.
MOST_NAMED = 8
# Who finishes an output that an array makes: its last task, none of them, or this run alone.
Finish = Literal["last", "never", "only"]
FINISHES: tuple[Finish, ...] = ("last", "never", "only")
# What the records of shards list, and the files that gather it.
ENTRIES = {"quarantined": "quarantine.jsonl", "remarks": "remarks.jsonl"}


class Stage(Protocol):
    """What a stage has to say of itself. It is sent to the workers, so it holds no open files."""

    name: str

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The corpora it writes, row by row alike."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """What it reads."""

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the output, as JSON values."""

    @property
    def source_digest(self) -> str:
        """A digest of the input."""

    def split_sizes(self) -> Mapping[str, int]:
        """Count the input rows of every split."""

    def prepare(self) -> None:
        """Load what every row needs, so that it fails before anything is written."""

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
    finish : {"last", "never", "only"}
        With a shard, whether the task that ends last finishes the output. ``only`` makes no shard:
        it finishes the output, or says which shards are missing.
    """

    num_workers: int = 1
    overwrite: bool = False
    max_failures: int | None = None
    shard: tuple[int, int] | None = None
    finish: Finish = "last"

    def __post_init__(self) -> None:
        """Refuse an array whose tasks would remove each other's work, or that nobody finishes."""
        if self.finish == "only" and (self.overwrite or self.shard):
            raise InputError(
                "--finish only makes no shards, so it goes with neither --overwrite nor --shard; "
                "leave them out"
            )
        if self.finish == "never" and not self.shard:
            raise InputError(
                "--finish never is for the tasks of an array; give --shard I/N, or leave it out"
            )
        if self.overwrite and self.shard:
            raise InputError(
                "--overwrite and --shard exclude each other, since every task of an array would "
                "start again; remove the output, or name another output folder"
            )


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
    _keep_apart(stage.sources, roots)
    description, tasks = _describe(stage, options), plan(stage.split_sizes())
    if options.finish == "only":
        with lock(roots, exclusive=True, patience_seconds=ARRAY_PATIENCE_SECONDS):
            if not _is_complete(stage, tasks, description):
                _finish(stage, tasks, description, started)
    elif options.shard:
        if not _run_share(stage, tasks, description, options, started):
            return StageReport(stage.name, tuple(map(str, roots)), {}, False, _since(started))
    else:
        with lock(roots, exclusive=True):
            if options.overwrite:
                clear(roots)
            if not _is_complete(stage, tasks, description):
                stage.prepare()
                _begin(stage, description)
                _work(stage, tasks, options.num_workers)
                _finish(stage, tasks, description, started)
    return judge(_report(stage, started), options.max_failures)


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
    listing = [[str(path.relative_to(corpus.root)), size_of(path)] for path in shards]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _keep_apart(sources: tuple[Path, ...], roots: list[Path]) -> None:
    """Refuse an output that would be written over what it is made from."""
    for source in (path.resolve() for path in sources):
        for root in roots:
            if root.resolve() == source or source in root.resolve().parents:
                raise InputError(
                    f"{root} is, or lies inside, the input {source}; name another output folder"
                )


def begin(stage: Stage, *, overwrite: bool) -> bool:
    """Prepare an output for the tasks of an array, and say whether anything is left to do.

    Raises
    ------
    InputError
        As :func:`run_stage`, before anything is written.
    """
    roots = [output.root for output in stage.outputs]
    _keep_apart(stage.sources, roots)
    description, tasks = _describe(stage), plan(stage.split_sizes())
    with lock(roots, exclusive=True):
        if overwrite:
            clear(roots)
        if _is_complete(stage, tasks, description):
            return False
        stage.prepare()
        _begin(stage, description)
    return True


def _describe(stage: Stage, options: RunOptions | None = None) -> dict[str, Any]:
    config = json.loads(json.dumps(stage.config))
    # Whoever finishes looks at the input again; a task that does not need not.
    trusts = options is not None and options.finish == "never"
    run = read_json(stage.outputs[0].root / RUN_FILE) if trusts else {}
    digest = run.get("source_digest") or stage.source_digest
    return {"stage": stage.name, "config": config, "source_digest": digest, "versions": versions()}


def _run_share(
    stage: Stage,
    tasks: list[Task],
    description: dict[str, Any],
    options: RunOptions,
    started: float,
) -> bool:
    """Do one task's share of an array, and say whether the output is complete after it."""
    roots = [output.root for output in stage.outputs]
    index, count = options.shard or (0, 1)
    if None in [status_of(root, description) for root in roots]:
        stage.prepare()
        with lock(roots, exclusive=True, patience_seconds=ARRAY_PATIENCE_SECONDS):
            if not _is_complete(stage, tasks, description):
                _begin(stage, description)
    with lock(roots, exclusive=False, patience_seconds=ARRAY_PATIENCE_SECONDS):
        _work(stage, tasks[index::count], options.num_workers)
    if options.finish == "never" or not _all_done(stage, tasks):
        return False
    with lock(roots, exclusive=True, patience_seconds=ARRAY_PATIENCE_SECONDS):
        if not _is_complete(stage, tasks, description):
            _finish(stage, tasks, description, started)
    return True


def _is_complete(stage: Stage, tasks: list[Task], description: Mapping[str, Any]) -> bool:
    """Whether this very output is there already, and whole."""
    roots = [output.root for output in stage.outputs]
    # Every folder is asked, since each may refuse.
    statuses = [status_of(root, description) for root in roots]
    return (
        all(status == COMPLETE for status in statuses)
        and all(sizes_of(root, tasks) == read_json(root / RUN_FILE).get("files") for root in roots)
        and _all_done(stage, tasks)
    )


def _begin(stage: Stage, description: Mapping[str, Any]) -> None:
    # Whoever asks how far it has come has only this file and the records.
    planned = {split: size for split, size in stage.split_sizes().items() if size}
    for output in stage.outputs:
        run = {**description, "planned": planned, "status": RUNNING}
        write_json(output.root / RUN_FILE, run)


def _all_done(stage: Stage, tasks: list[Task]) -> bool:
    return all(is_done(task, stage.outputs) for task in tasks)


def _work(stage: Stage, tasks: list[Task], num_workers: int) -> None:
    open_tasks = [task for task in tasks if not is_done(task, stage.outputs)]
    total = sum(task.n_rows for task in tasks)
    done = total - sum(task.n_rows for task in open_tasks)
    pool = WorkerPool(functools.partial(_make_shard, stage), num_workers)
    with Progress(stage.name, total, done) as progress, pool:
        for task, _ in pool.run(open_tasks):
            progress.advance(task.n_rows)


def _make_shard(stage: Stage, task: Task) -> None:
    write_shard(task, stage.outputs, stage.rows(task.split, task.start, task.stop))


def _finish(stage: Stage, tasks: list[Task], description: dict[str, Any], started: float) -> None:
    missing = [task for task in tasks if not is_done(task, stage.outputs)]
    if missing:
        raise CheckFailed(
            f"{len(missing)} of {len(tasks)} shards of {stage.outputs[0].root} are missing: "
            f"{name_some(list(map(str, missing)))}; run the same command again to make them"
        )
    for output in stage.outputs:
        records = [read_record(record_path(output.root, task)) for task in tasks]
        for key, name in ENTRIES.items():
            entries = [entry for record in records for entry in record[key]]
            lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries]
            write_atomically(output.root / name, "".join(lines).encode())
        digest = hashlib.sha256("".join(r["xxh128"] for r in records).encode()).hexdigest()
        _write_dataset(output, tasks, digest)
        run = {**description, "splits": _count(tasks, records), "output_digest": digest}
        _write_timing(output.root, run, started)
        run["files"] = sizes_of(output.root, tasks)
        write_json(output.root / RUN_FILE, {**run, "status": COMPLETE})


def sizes_of(root: Path, tasks: list[Task]) -> dict[str, int | None]:
    """Bytes of the files that finishing makes."""
    dataset = root / DATASET_FOLDER
    names = [root / name for name in ENTRIES.values()]
    for split in order_splits({task.split for task in tasks}):
        names += [dataset / split / name for name in ("dataset_info.json", "state.json")]
    names.append(dataset / "dataset_dict.json")
    return sizes_below(root, names)


def name_some(names: list[str]) -> str:
    """Name the first few, and count the rest."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


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
    counts: dict[str, Counter[str]] = {}
    for task, record in zip(tasks, records, strict=True):
        left_out = len(record["quarantined"])
        if task.n_rows != record["clips_out"] + left_out:
            raise CheckFailed(
                f"{task}: {task.n_rows} clips in, {record['clips_out']} out and {left_out} "
                "quarantined do not add up; give --overwrite to make the output again"
            )
        split = counts.setdefault(task.split, Counter(clips_in=0, clips_out=0, quarantined=0))
        split["clips_in"] += task.n_rows
        split["clips_out"] += record["clips_out"]
        split["quarantined"] += left_out
        split["further_rows"] += record["further_rows"]
        split["remarks"] += len(record["remarks"])
    return {split: without_zeros(numbers) for split, numbers in counts.items()}


def _write_timing(root: Path, run: Mapping[str, Any], started: float) -> None:
    seconds = time.monotonic() - started
    clips = sum(split["clips_in"] for split in run["splits"].values())
    timing = {"seconds": round(seconds, 3), "clips_per_second": round(clips / seconds, 3)}
    write_json(root / "timing.json", timing)


def _report(stage: Stage, started: float) -> StageReport:
    roots = [output.root for output in stage.outputs]
    splits = read_json(roots[0] / RUN_FILE)["splits"]
    counts = {split: SplitCounts(**numbers) for split, numbers in splits.items()}
    return StageReport(stage.name, tuple(map(str, roots)), counts, True, _since(started))


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
