"""What SLURM knows of jobs, asked of its controller: clusters without accounting will do."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import CheckFailed, InputError

PATIENCE_SECONDS = 60  # for one question to the controller
FIELDS = "%F|%K|%T|%N|%r|%j"
# Why SLURM lets a job wait though no node will ever do.
HOPELESS = {
    *("PartitionNodeLimit", "PartitionTimeLimit", "PartitionConfig", "BadConstraints"),
    *("AccountNotAllowed", "QOSNotAllowed", "InvalidAccount", "InvalidQOS", "JobHeldAdmin"),
    *("DependencyNeverSatisfied", "AssocMaxWallDurationPerJobLimit"),
    *("QOSMaxWallDurationPerJobLimit", "AssocMaxCpuPerJobLimit", "QOSMaxCpuPerJobLimit"),
}
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "SUSPENDED"}
# Not yet forgotten, but over.
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "TIMEOUT"),
}


@dataclass(frozen=True)
class QueuedTask:
    """A task of an array, or a job, that SLURM has not forgotten.

    Attributes
    ----------
    job : str
    index : int
        In the array; 0 for a job that is none.
    state, node, reason, name : str
        As ``squeue`` has them.
    """

    job: str
    index: int
    state: str
    node: str = ""
    reason: str = ""
    name: str = ""

    @property
    def waits(self) -> bool:
        """Whether it has not started, or not again."""
        return self.state in WAITING

    @property
    def is_hopeless(self) -> bool:
        """Whether it will wait for ever."""
        return self.waits and self.reason in HOPELESS


def require_slurm() -> None:
    """Refuse to go on where there is no SLURM.

    Raises
    ------
    InputError
        If one of its commands is missing.
    """
    for command in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(command) is None:
            raise InputError(
                f"--launcher slurm needs {command}, which is not on the PATH; run this where jobs "
                "are submitted, or leave --launcher out"
            )


def queued(names: Sequence[str]) -> list[QueuedTask]:
    """Find the jobs of some names that wait or run.

    Raises
    ------
    CheckFailed
        If SLURM does not answer.
    """
    listed = ask("squeue", "--noheader", "--array", f"--name={','.join(names)}", "-o", FIELDS)
    tasks = [_parse(line) for line in listed.splitlines() if line.strip()]
    return [task for task in tasks if task.state not in ENDED]


def fates(job: str) -> dict[int, str]:
    """How the tasks of a job have ended, by their index, as long as SLURM remembers it."""
    try:
        listed = ask("scontrol", "--oneliner", "show", "job", job)
    except CheckFailed:
        return {}
    found = {}
    for line in listed.splitlines():
        state = re.search(r"\bJobState=(\S+)", line)
        index = re.search(r"\bArrayTaskId=(\d+)\b", line)
        if state and state[1] in ENDED:
            found[int(index[1]) if index else 0] = state[1]
    return found


def ask(*command: str) -> str:
    """Ask SLURM, and return what it prints.

    Raises
    ------
    CheckFailed
        If it does not answer, or does not know.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            env=bare_environment(),
        )
    except FileNotFoundError as error:
        raise CheckFailed(f"{command[0]} is not on the PATH; ask where jobs are submitted") from (
            error
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"{command[0]} gave no answer in {PATIENCE_SECONDS} s") from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise CheckFailed(f"{command[0]} says: {said}")
    return done.stdout


def bare_environment() -> dict[str, str]:
    """Return the environment without what changes the meaning of SLURM's commands."""
    changing = ("SBATCH_", "SQUEUE_", "SCANCEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(changing)}


def _parse(line: str) -> QueuedTask:
    job, index, state, node, reason, name = (line.strip().split("|") + [""] * 6)[:6]
    return QueuedTask(job, int(index) if index.isdigit() else 0, state, node, reason, name)
