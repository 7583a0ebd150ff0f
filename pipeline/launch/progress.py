"""How far an output has come: from the records of its shards, and from what SLURM says of jobs."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.corpus import DATASET_FOLDER, read_json
from pipeline.errors import CheckFailed, InputError
from pipeline.folders import COMPLETE, RUN_FILE, lock
from pipeline.launch.queue import QueuedTask, fates, queued
from pipeline.launch.record import Record, Unit, read_lines, records_of, shard_units

# Clips made in this time say how fast it goes now.
RECENT_SECONDS = 600.0
COMPLETED = "complete"
STATES = (COMPLETED, "running", "waiting", "finishing", "stuck", "failed", "unknown")


@dataclass(frozen=True)
class NodeReport:
    """What one node has done for a launch.

    ``seconds`` are those of all its tasks together.
    """

    node: str
    running: int
    clips: int
    seconds: float

    @property
    def clips_per_second(self) -> float:
        """Of one task on it."""
        return self.clips / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class TaskReport:
    """One task of an array.

    ``state`` is ``done``, ``running``, ``waiting``, ``requeued`` or ``failed``; ``reason`` SLURM's
    for waiting, or what was the last to go wrong.
    """

    share: int
    state: str
    attempts: int
    node: str
    reason: str


@dataclass(frozen=True)
class Standing:
    """How far an output has come.

    Attributes
    ----------
    stage, home : str
    state : str
        One of ``STATES``: ``stuck`` waits for what SLURM will never give, ``failed`` ended without
        being complete, ``unknown`` is where SLURM does not answer.
    reason : str
        Why, where that needs to be said.
    shards, shards_done, clips, clips_done : int
    clips_per_second : float
        Of all together, lately.
    seconds_left : float, optional
        If it goes on so.
    missing : tuple of str
        Shards that nobody is making.
    tasks : tuple of TaskReport
    nodes : tuple of NodeReport
    jobs : tuple of str
        Of SLURM.
    command : str
        What was launched; empty if it was run without a launcher.
    round, retries : int
        How often missing shards have been submitted again, and how often they may be.
    """

    stage: str
    home: str
    state: str
    reason: str
    shards: int
    shards_done: int
    clips: int
    clips_done: int
    clips_per_second: float
    seconds_left: float | None
    missing: tuple[str, ...]
    tasks: tuple[TaskReport, ...] = ()
    nodes: tuple[NodeReport, ...] = ()
    jobs: tuple[str, ...] = ()
    command: str = ""
    round: int = 0
    retries: int = 0

    def as_json(self) -> dict[str, Any]:
        """JSON values, for ``--json``."""
        nodes = [
            {**asdict(node), "clips_per_second": round(node.clips_per_second, 3)}
            for node in self.nodes
        ]
        return {**asdict(self), "nodes": nodes}


def standings(home: Path) -> list[Standing]:
    """Tell how far everything in a folder has come.

    Raises
    ------
    InputError
        If nothing of ours was begun there.
    """
    records = records_of(home)
    if records:
        return [standing_of(record) for record in records]
    return [_local_standing(home)]


def standing_of(record: Record) -> Standing:
    """Tell how far a launch has come."""
    done = [unit for unit in record.units if unit.done_at is not None]
    silence, alive = "", []
    try:
        alive = queued(record.job_names)
    except CheckFailed as error:
        silence = str(error)
    tasks = _tasks(record, [t for t in alive if t.name != record.finisher_name])
    finisher = [task for task in alive if task.name == record.finisher_name]
    state, reason = _state(record, tasks, finisher, alive, silence)
    missing = [unit.name for unit in record.units if unit.done_at is None]
    rate = _recent_rate(done, record.submitted_at)
    clips, clips_done = (sum(unit.n_clips for unit in units) for units in (record.units, done))
    going = state in ("running", "waiting") and rate > 0
    return Standing(
        stage=record.stage,
        home=record.home,
        state=state,
        reason=reason,
        shards=len(record.units),
        shards_done=len(done),
        clips=clips,
        clips_done=clips_done,
        clips_per_second=round(rate, 3),
        seconds_left=round((clips - clips_done) / rate, 1) if going else None,
        missing=tuple(missing) if state == "failed" else (),
        tasks=tasks,
        nodes=_nodes(record, tasks),
        jobs=tuple(job for job in (record.array, record.finisher) if job),
        command=record.command,
        round=record.round,
        retries=record.retries,
    )


def is_complete(record: Record) -> bool:
    """Whether the output of a launch is there and whole."""
    if not record.roots:
        return all(unit.done_at is not None for unit in record.units)
    roots = [Path(root) for root in record.roots]
    return all(
        read_json(root / RUN_FILE).get("status") == COMPLETE
        and (root / DATASET_FOLDER / "dataset_dict.json").is_file()
        for root in roots
    ) and not _finish_failed(record)


def _state(
    record: Record,
    tasks: Sequence[TaskReport],
    finisher: Sequence[QueuedTask],
    alive: Sequence[QueuedTask],
    silence: str,
) -> tuple[str, str]:
    if not alive and is_complete(record):
        return COMPLETED, ""
    if silence:
        return "unknown", silence
    working = [task for task in alive if task not in finisher]
    if any(not task.waits for task in working):
        return "running", ""
    hopeless = [task for task in working or finisher if task.is_hopeless]
    if hopeless:
        jobs = " ".join(sorted({task.job for task in alive}))
        return "stuck", f"SLURM will not start it ({hopeless[0].reason}); end it: scancel {jobs}"
    if working:
        return "waiting", working[0].reason
    if finisher:
        return "finishing", finisher[0].reason if finisher[0].waits else ""
    failed = [task.reason for task in tasks if task.state == "failed" and task.reason]
    last = read_lines(record.finish_attempts)
    errors = [str(line["error"]) for line in last if line.get("error")]
    return "failed", next(iter([*failed, *errors[-1:]]), "its jobs are gone")


def _finish_failed(record: Record) -> bool:
    """Whether the output is whole, but what follows it (a table, a judgement) went wrong."""
    lines = read_lines(record.finish_attempts)
    if not lines or (lines[-1]["event"] == "end" and not lines[-1].get("error")):
        return False
    # Unless somebody has finished it since, without a launcher.
    results = [Path(root) / RUN_FILE for root in record.roots]
    results += Path(record.home).glob("*.parquet")
    return max(path.stat().st_mtime for path in results) <= float(lines[-1]["at"])


def _tasks(record: Record, alive: Sequence[QueuedTask]) -> tuple[TaskReport, ...]:
    by_index = {task.index: task for task in alive}
    ended = fates(record.array) if record.array and len(by_index) < len(record.shares) else {}
    return tuple(
        _task(record, share, by_index.get(index), ended.get(index, ""))
        for index, share in enumerate(record.shares)
    )


def _task(record: Record, share: int, queued_task: QueuedTask | None, fate: str) -> TaskReport:
    lines = read_lines(record.attempts(share))
    starts = [line for line in lines if line["event"] == "start"]
    errors = [line["error"] for line in lines if line.get("error")]
    node = str(starts[-1]["node"]) if starts else ""
    if queued_task and not queued_task.waits:
        return TaskReport(share, "running", len(starts), queued_task.node or node, "")
    if queued_task:
        state = "requeued" if starts else "waiting"
        return TaskReport(share, state, len(starts), "", queued_task.reason)
    if all(unit.done_at is not None for unit in record.share(share)):
        return TaskReport(share, "done", len(starts), node, "")
    ending = fate.lower().replace("_", " ").replace("completed", "")
    reason = ": ".join(part for part in (ending, errors[-1] if errors else "") if part)
    return TaskReport(share, "failed", len(starts), node, reason)


def _nodes(record: Record, tasks: Sequence[TaskReport]) -> tuple[NodeReport, ...]:
    """Say of each shard which task made it, and of each task where it was then."""
    clips: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    working = {task.share for task in tasks if task.state == "running"}
    for share in range(record.count):
        stays = _stays(read_lines(record.attempts(share)), running=share in working)
        for node, start, end in stays:
            seconds[node] += end - start
        for unit in record.share(share):
            made = unit.done_at
            where = [node for node, start, end in stays if made and start <= made <= end + 1]
            if where:
                clips[where[-1]] += unit.n_clips
    running = Counter(task.node for task in tasks if task.state == "running")
    names = sorted(seconds.keys() | running.keys())
    return tuple(
        NodeReport(name, running[name], clips[name], round(seconds[name], 1)) for name in names
    )


def _stays(lines: Sequence[Mapping[str, Any]], *, running: bool) -> list[tuple[str, float, float]]:
    """Where a task was from when to when; one that was killed left when the next attempt began."""
    stays: list[tuple[str, float, float]] = []
    for place, line in enumerate(lines):
        if line["event"] != "start":
            continue
        following = lines[place + 1] if place + 1 < len(lines) else None
        last = time.time() if running else float(line["at"])
        end = float(following["at"]) if following else last
        stays.append((str(line["node"]), float(line["at"]), end))
    return stays


def _recent_rate(done: Sequence[Unit], begun_at: float) -> float:
    """Clips a second over the last ten minutes, or since the begin."""
    now = time.time()
    since = max(begun_at, now - RECENT_SECONDS)
    recent = [unit for unit in done if unit.done_at is not None and unit.done_at >= since]
    return sum(unit.n_clips for unit in recent) / max(now - since, 1e-3)


def _local_standing(home: Path) -> Standing:
    """Tell of a run without a launcher: by this machine, or by a plain array."""
    run = read_json(home / RUN_FILE)
    if "stage" not in run:
        raise InputError(
            f"{home} holds nothing that a stage has begun; name the folder that one writes"
        )
    complete = run.get("status") == COMPLETE
    planned = run.get("planned") or {k: v["clips_in"] for k, v in run.get("splits", {}).items()}
    units = shard_units(planned, [home])
    done = [unit for unit in units if unit.done_at is not None]
    clips, clips_done = (sum(unit.n_clips for unit in some) for some in (units, done))
    state = COMPLETED if complete else "running" if _is_held(home) else "failed"
    begun = min((unit.done_at for unit in done if unit.done_at), default=time.time())
    rate = 0.0 if complete else _recent_rate(done, begun)
    return Standing(
        stage=str(run["stage"]),
        home=str(home),
        state=state,
        reason="nobody works on it here" if state == "failed" else "",
        shards=len(units),
        shards_done=len(done),
        clips=clips,
        clips_done=clips_done,
        clips_per_second=round(rate, 3),
        seconds_left=round((clips - clips_done) / rate, 1) if rate and not complete else None,
        missing=tuple(unit.name for unit in units if unit.done_at is None and state == "failed"),
    )


def _is_held(home: Path) -> bool:
    """Whether a process on this machine, or on one that shares its locks, works here."""
    try:
        with lock([home], exclusive=True):
            return False
    except InputError:
        return True
