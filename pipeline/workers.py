"""Worker processes: each makes whole shards by itself, so nothing large crosses a pipe."""

import ctypes
import functools
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_handles
from types import TracebackType
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits

from pipeline.errors import CheckFailed

Item = TypeVar("Item")
Result = TypeVar("Result")

# A worker owns one core: threads inside it would only fight, and could change rounding.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
# Parameters of glibc's mallopt(3), and what a process may keep of the memory that a clip has left.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT, KEPT = 32 * 2**20, 128 * 2**20


def default_num_workers() -> int:
    """One worker per core this process may use, or what SLURM has allotted."""
    allotted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(allotted) if allotted.isdigit() else len(os.sched_getaffinity(0))


def slurm_shard() -> tuple[int, int] | None:
    """Find which task of how many of a SLURM array this process is; None outside of one."""
    index, first, count = (
        os.environ.get(f"SLURM_ARRAY_TASK_{name}", "") for name in ("ID", "MIN", "COUNT")
    )
    if not (index.isdigit() and count.isdigit() and int(count) > 1):
        return None
    return int(index) - int(first or 0), int(count)


class WorkerPool(Generic[Item, Result]):
    """Does the same work on many items, in ``num_workers`` processes or, if that is 0, right here.

    Parameters
    ----------
    work : callable
        Sent to every process once.
    num_workers : int
    """

    def __init__(self, work: Callable[[Item], Result], num_workers: int) -> None:
        self._work = work
        self._num_workers = num_workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> "WorkerPool[Item, Result]":
        """Start nothing yet: a run with nothing left to do needs no workers."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the workers; on an error or an interrupt without waiting for their items."""
        if self._executor is None:
            return
        if error is not None:
            for process in list((self._executor._processes or {}).values()):
                process.terminate()
        self._executor.shutdown(wait=error is None, cancel_futures=True)

    def run(self, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """Yield each item with what came of it, in whatever order they finish.

        Raises
        ------
        CheckFailed
            If a worker was killed.
        """
        if self._num_workers == 0 or not items:
            _keep_freed_memory()
            with threadpool_limits(1):
                for item in items:
                    yield item, self._work(item)
            return
        try:
            yield from self._run_in_processes(items)
        except BrokenProcessPool as error:
            raise CheckFailed(
                "a worker process was killed, perhaps for want of memory; run the same command "
                f"again to go on, with fewer than {self._num_workers} workers if it recurs"
            ) from error

    def _run_in_processes(self, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        self._executor = ProcessPoolExecutor(
            min(self._num_workers, len(items)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self._work,),
        )
        waiting = iter(items)
        running: dict[Future[Result], Item] = {}
        while True:
            # Two items a worker are enough to keep it busy; millions in a queue are not needed.
            for item in itertools.islice(waiting, 2 * self._num_workers - len(running)):
                running[self._executor.submit(_do, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


_work: Callable[[Any], Any] | None = None


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    # Whatever the environment says: another number of threads may round in another way.
    os.environ.update(ONE_THREAD)  # for libraries that are loaded later
    threadpool_limits(1)
    _keep_freed_memory()
    # Ctrl-C goes to all processes of a terminal; the parent alone answers, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this worker when the run that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_handles([parent.sentinel])
        os._exit(1)


def _do(item: Any) -> Any:
    assert _work is not None, "the initializer has run"
    return _work(item)


@functools.cache
def _keep_freed_memory() -> None:
    """Keep what one clip has freed for the next, where the C library can be told to.

    By itself glibc hands arrays back to the system at once, which must then clear every page again:
    a sixth of the time that masking a clip takes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT)
