"""Do something for several shards, in several processes."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Protocol, TypeVar

from pipeline.errors import InputError
from pipeline.progress import Progress
from pipeline.workers import WorkerPool, default_num_workers


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
    # One shard needs no worker, and shows its own progress.
    pool = WorkerPool(work, workers if len(ranks) > 1 else 0)
    with Progress(name, len(ranks)) if len(ranks) > 1 else nullcontext() as bar, pool:
        reports = []
        for _, report in pool.run(ranks):
            reports.append(report)
            if bar is not None:
                bar.advance(1)
    return sorted(reports, key=lambda report: report.rank)
