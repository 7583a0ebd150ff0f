"""What runs inside the jobs: a share of the work, and the finish."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from submitit.helpers import DelayedSubmission

from pipeline.errors import CheckFailed, InputError
from pipeline.launch.record import RECORD_FILE, Record, read_lines
from pipeline.stage import name_some

if TYPE_CHECKING:
    from pipeline.launch.jobs import Jobs

BAD_INPUT = 2  # exit status of a command that would fail again


@dataclass
class ShareTask:
    """One task of an array: command lines that do a share, one after the other.

    Requeued, it is called again; the commands know what is done already.
    """

    folder: Path
    share: int
    commands: Sequence[Sequence[str]]
    done_before: int = 0

    def __call__(self) -> None:
        """Do it.

        Raises
        ------
        CheckFailed
            If a command fails.
        """
        self.done_before = self._count_done()
        record = Record.read(self.folder / RECORD_FILE)
        with _Attempt(record.attempts(self.share)) as attempt:
            for command in self.commands:
                attempt.run(command)

    def checkpoint(self) -> DelayedSubmission | None:
        """Go on after a time limit, which submitit asks for; not if nothing came of it."""
        return DelayedSubmission(self) if self._count_done() > self.done_before else None

    def _count_done(self) -> int:
        record = Record.read(self.folder / RECORD_FILE)
        return sum(unit.done_at is not None for unit in record.share(self.share))


@dataclass
class FinishTask:
    """The job after the array: submit again what is missing, or refuse, or finish the output."""

    jobs: "Jobs"

    def __call__(self) -> None:
        """Do it.

        Raises
        ------
        CheckFailed
            If a unit is missing for good, or the command that finishes fails.
        """
        record = Record.read(self.jobs.record.folder / RECORD_FILE)
        with _Attempt(record.finish_attempts) as attempt:
            if missing_shares(record):
                self._make_again(record, attempt)
            elif self.jobs.finish:
                attempt.run(self.jobs.finish)

    def checkpoint(self) -> DelayedSubmission:
        """Begin again after a time limit."""
        return DelayedSubmission(self)

    def _make_again(self, record: Record, attempt: "_Attempt") -> None:
        missing = missing_units(record)
        lacking = (
            f"{len(missing)} of {len(record.units)} parts of {record.home} are missing: "
            f"{name_some(missing)}"
        )
        hopeful = [share for share in missing_shares(record) if not _was_hopeless(record, share)]
        if record.round >= record.retries or not hopeful:
            attempt.fail(f"{lacking}; run the same command again to make them")
        try:
            self.jobs.submit_again(record, tuple(hopeful))
        except InputError as error:
            attempt.fail(f"{lacking}, and could not be submitted again: {error}")


def missing_units(record: Record) -> list[str]:
    """Name what is not made yet, and the task of the array that should have made it."""
    return [
        f"{unit.name} (task {index % record.count})"
        for index, unit in enumerate(record.units)
        if unit.done_at is None
    ]


def missing_shares(record: Record) -> list[int]:
    """Shares that have something left to do."""
    lacking = {i % record.count for i, unit in enumerate(record.units) if unit.done_at is None}
    return sorted(lacking)


def _was_hopeless(record: Record, share: int) -> bool:
    lines = read_lines(record.attempts(share))
    return bool(lines) and bool(lines[-1].get("hopeless"))


class _Attempt:
    """Runs commands, and writes down where and when, and what went wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hopeless = False

    def __enter__(self) -> "_Attempt":
        node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        self._note(event="start", node=node, job=os.environ.get("SLURM_JOB_ID", ""))
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._note(event="end", error=str(error) if error else "", hopeless=self._hopeless)

    def run(self, command: Sequence[str]) -> None:
        """Run a command; what it writes to standard error goes on to ours."""
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, errors="replace", preexec_fn=_ignore_warning
        )
        said = ""
        try:
            assert process.stderr is not None, "it is a pipe"
            for line in process.stderr:
                sys.stderr.write(line)
                sys.stderr.flush()
                said = line.strip() or said
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        self._hopeless = status == BAD_INPUT
        if status < 0:
            self.fail(f"killed by {signal.Signals(-status).name}")
        if status:
            self.fail(said.removeprefix("error: ") or f"ended with status {status}")

    def fail(self, problem: str) -> None:
        """Say what went wrong."""
        raise CheckFailed(problem)

    def _note(self, **facts: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": time.time(), **facts}) + "\n")


def _ignore_warning() -> None:
    """Leave SLURM's warning before the time limit to the process that answers it."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
