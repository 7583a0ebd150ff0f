"""Do something for several shards, in several processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from typing import Protocol, TypeVar

from threadpoolctl import threadpool_limits

from pipeline.errors import CheckFailed, InputError
from pipeline.progress import Progress
from pipeline.workers import ONE_THREAD, _leave_with_parent, default_num_workers

Result = TypeVar("Result")


class Ranked(Protocol):
    """A report on one shard."""

    @property
    def rank(self) -> int:
        """Which one."""


Report = TypeVar("Report", bound=Ranked)


def parse_ranks(text: str, n_shards: int) -> range:
    """Read a rank, or ``all``.

    Raises
    ------
    InputError
        If there is no such shard.
    """
    if n_shards < 1:
        raise InputError(f"NSHARD {n_shards} is not a number of shards; give 1 or more")
    if text == "all":
        return range(n_shards)
    if not (text.isascii() and text.isdigit() and int(text) < n_shards):
        raise InputError(
            f"RANK {text!r} is not one of the {n_shards} shards; give 0 to {n_shards - 1}, or all"
        )
    return range(int(text), int(text) + 1)


def do_ranks(
    name: str, work: Callable[[int], Report], ranks: Sequence[int], num_workers: int | None
) -> list[Report]:
    """Call ``work`` with every rank, and show how far it has come; reports are in rank order."""
    workers = default_num_workers() if num_workers is None else num_workers
    # One shard shows its own progress.
    with Progress(name, len(ranks)) if len(ranks) > 1 else nullcontext() as bar:
        reports = []
        for report in run_ranks(work, ranks, workers):
            reports.append(report)
            if bar is not None:
                bar.advance(1)
    return sorted(reports, key=lambda report: report.rank)


def run_ranks(
    work: Callable[[int], Result], ranks: Sequence[int], num_workers: int
) -> Iterator[Result]:
    """Call ``work`` with every rank and yield the results, in whatever order they are ready.

    Raises
    ------
    CheckFailed
        If a worker was killed.
    """
    if num_workers == 0 or len(ranks) == 1:
        for rank in ranks:
            yield _one(work, rank)
        return
    # A worker owns one core, whatever libraries it loads.
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    executor = ProcessPoolExecutor(
        min(num_workers, len(ranks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
    )
    try:
        for future in as_completed([executor.submit(_one, work, rank) for rank in ranks]):
            yield future.result()
    except BaseException as error:
        for process in list((executor._processes or {}).values()):
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise CheckFailed(
                "a worker process was killed, perhaps for want of memory; run the same command "
                f"again to go on, with fewer than {num_workers} workers if it recurs"
            ) from error
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    # Ctrl-C goes to all processes of a terminal; the parent alone answers, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _one(work: Callable[[int], Result], rank: int) -> Result:
    # Another number of threads may round in another way.
    with threadpool_limits(1):
        return work(rank)
