"""Worker processes: each makes whole shards by itself, so nothing large crosses a pipe."""

import ctypes
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_handles
from types import TracebackType
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from pipeline.errors import CheckFailed
from pipeline.shards import Task, write_shard

if TYPE_CHECKING:
    from pipeline.stage import Stage

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


class WorkerPool:
    """Runs a stage's shards, in ``num_workers`` processes or, if that is 0, right here."""

    def __init__(self, stage: "Stage", num_workers: int) -> None:
        self._stage = stage
        self._num_workers = num_workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> "WorkerPool":
        """Start nothing yet: a run with nothing left to do needs no workers."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the workers; on an error or an interrupt without waiting for their shards."""
        if self._executor is None:
            return
        if error is not None:
            for process in list((self._executor._processes or {}).values()):
                process.terminate()
        self._executor.shutdown(wait=error is None, cancel_futures=True)

    def run(self, tasks: list[Task]) -> Iterator[Task]:
        """Yield each task when its shard is on disk, in whatever order they finish.

        Raises
        ------
        CheckFailed
            If a worker was killed.
        """
        if self._num_workers == 0 or not tasks:
            with threadpool_limits(1):
                for task in tasks:
                    _make_shard(self._stage, task)
                    yield task
            return
        try:
            yield from self._run_in_processes(tasks)
        except BrokenProcessPool as error:
            raise CheckFailed(
                "a worker process was killed, perhaps for want of memory; run the same command "
                f"again to go on, with fewer than {self._num_workers} workers if it recurs"
            ) from error

    def _run_in_processes(self, tasks: list[Task]) -> Iterator[Task]:
        self._executor = self._start(min(self._num_workers, len(tasks)))
        waiting = iter(tasks)
        running: dict[Future[None], Task] = {}
        while True:
            # Two tasks a worker are enough to keep it busy; millions in a queue are not needed.
            while len(running) < 2 * self._num_workers and (task := next(waiting, None)):
                running[self._executor.submit(_work, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                yield running.pop(future)

    def _start(self, num_workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            num_workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self._stage,),
        )


_stage: "Stage | None" = None


def _begin(stage: "Stage") -> None:
    global _stage
    _stage = stage
    # Whatever the environment says: another number of threads may round in another way.
    os.environ.update(ONE_THREAD)  # for libraries that are loaded later
    threadpool_limits(1)
    # Ctrl-C goes to all processes of a terminal; the parent alone answers, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this worker when the run that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_handles([parent.sentinel])
        os._exit(1)


def _work(task: Task) -> None:
    assert _stage is not None, "the initializer has run"
    _make_shard(_stage, task)


def _make_shard(stage: "Stage", task: Task) -> None:
    _keep_freed_memory()
    write_shard(task, stage.outputs, stage.rows(task.split, task.start, task.stop))


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
