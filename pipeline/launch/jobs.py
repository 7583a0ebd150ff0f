"""Jobs as SLURM gets them, through submitit: an array of tasks, and one that finishes after it."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace

import submitit

from pipeline.errors import CheckFailed, InputError
from pipeline.launch.queue import ask, bare_environment
from pipeline.launch.record import Record
from pipeline.launch.resources import Resources, minutes_of
from pipeline.launch.task import FinishTask, ShareTask

FLAGS = ("account", "partition", "qos", "constraint")  # passed on as they are, if given
MOST_TIMEOUTS = 10_000  # a task goes on as long as it gets on
WARNING_SECONDS = 60  # before the time limit
# Of a job around this one, or of one that the user had in mind; they would rule over ours.
FOREIGN_VARIABLES = ("SLURM_", "SRUN_", "SUBMITIT_", "PIPELINE_SHARD")
KEPT_VARIABLES = ("SLURM_CONF",)


@dataclass(frozen=True)
class Jobs:
    """All that a launch submits, at first and again.

    Attributes
    ----------
    record : Record
    resources : Resources
        Of every task.
    commands : dict of int to list
        Command lines of every share.
    finish : sequence of str
        Command line that finishes the output; empty if its shares are all.
    """

    record: Record
    resources: Resources
    commands: Mapping[int, Sequence[Sequence[str]]]
    finish: Sequence[str]

    def submit(self) -> Record:
        """Submit the shares of the record, and the finish after them; return it with their numbers.

        Raises
        ------
        InputError
            If SLURM refuses.
        """
        record = self.record
        record.folder.mkdir(parents=True, exist_ok=True)
        record.write()  # before the jobs: should this die in between, they are found by their name
        tasks = [ShareTask(record.folder, s, self.commands[s]) for s in record.shares]
        if tasks:
            record = replace(record, array=self._hand_over(tasks, record.name))
            record.write()
        jobs = replace(self, record=record, resources=replace(self.resources, cpus_per_task=1))
        try:
            finisher = jobs._hand_over([FinishTask(self)], record.finisher_name)
        except InputError:
            _cancel(record.array)  # it would work for an output that nobody finishes
            raise
        record = replace(record, finisher=finisher)
        record.write()
        return record

    def submit_again(self, record: Record, shares: tuple[int, ...]) -> None:
        """Submit some shares once more; as :meth:`submit`."""
        again = replace(record, shares=shares, round=record.round + 1, array="", finisher="")
        replace(self, record=again).submit()

    def _hand_over(self, tasks: Sequence[ShareTask | FinishTask], name: str) -> str:
        """Submit tasks as one job, after those of the record, and return its number."""
        executor = submitit.SlurmExecutor(self.record.folder, max_num_timeout=MOST_TIMEOUTS)
        given = {flag: getattr(self.resources, flag) for flag in FLAGS}
        after = {"dependency": f"afterany:{self.record.array}"} if self.record.array else {}
        minutes = minutes_of(self.resources.time or "")
        executor.update_parameters(
            job_name=name,
            time=minutes,
            cpus_per_task=self.resources.cpus_per_task,
            array_parallelism=len(tasks),
            signal_delay_s=min(WARNING_SECONDS, 60 * minutes // 4),
            wckey=None,
            additional_parameters={"mem": self.resources.memory, "requeue": True, **after},
            setup=list(self.resources.setup or ()),
            # Since SLURM 22.05 a step does not inherit the cores of its job.
            srun_args=[f"--cpus-per-task={self.resources.cpus_per_task}"],
            **{flag: value for flag, value in given.items() if value is not None},
        )
        # What sbatch says is told once, by us.
        with _environment_of_ours(), redirect_stderr(io.StringIO()):
            try:
                with executor.batch():
                    jobs = [executor.submit(task) for task in tasks]
            except Exception as error:
                raise InputError(f"SLURM refused the job: {_reason(error)}") from error
        return str(jobs[0].job_id).partition("_")[0]


def _reason(error: BaseException) -> str:
    """What sbatch said, of all that submitit says around it."""
    lines = [line.strip() for line in str(error).splitlines() if "sbatch: error" in line]
    said = (lines or [" ".join(str(error).split())])[-1]
    return said.removeprefix("sbatch: error: ").removeprefix("Batch job submission failed: ")


def _cancel(job: str) -> None:
    try:
        if job:
            ask("scancel", job)
    except CheckFailed:
        return  # what is to be told is why the other was refused


@contextmanager
def _environment_of_ours() -> Iterator[None]:
    """Submit without variables that would rule over a job's own script."""
    before = dict(os.environ)
    ours = {
        name: value
        for name, value in bare_environment().items()
        if name in KEPT_VARIABLES or not name.startswith(FOREIGN_VARIABLES)
    }
    os.environ.clear()
    os.environ.update(ours)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
