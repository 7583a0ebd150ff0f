"""Hand a stage, or ranks, to SLURM: an array of tasks, and a job that finishes after them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.folders import LAUNCH_FOLDER, lock
from pipeline.launch.jobs import Jobs
from pipeline.launch.queue import queued, require_slurm
from pipeline.launch.record import Record, new_name, path_of
from pipeline.launch.request import CommandLine, Launch
from pipeline.launch.resources import settle
from pipeline.shards import is_done
from pipeline.stage import RunOptions, Stage, begin, plan


@dataclass(frozen=True)
class Ranks:
    """Work that is cut into numbered ranks, each with files of its own.

    Attributes
    ----------
    stage : str
        Names the work, among others in the same folder too.
    home : Path
        Folder of the files.
    clips : tuple of int
        Of every rank.
    files : tuple of Path
        The last that each writes; one in JSON says its status.
    fresh : bool
        Whether files that are there already are made again.
    """

    stage: str
    home: Path
    clips: tuple[int, ...]
    files: tuple[Path, ...]
    fresh: bool = False


def submit_stage(
    stage: Stage,
    options: RunOptions,
    launch: Launch,
    home: Path | None = None,
    *,
    unfinished: bool = False,
) -> Record | None:
    """Submit the shards of a stage that are not there yet; None if the output is complete.

    Parameters
    ----------
    stage : Stage
    options : RunOptions
    launch : Launch
    home : Path, optional
        What ``pipeline status`` is asked about; by default the first output.
    unfinished : bool
        Whether something is left to do even if all outputs of the stage are complete.

    Raises
    ------
    InputError
        If another launch of the output waits or runs, SLURM refuses, or the stage itself does.
    """
    require_slurm()
    resources = settle(launch.resources)
    roots = tuple(output.root.absolute() for output in stage.outputs)
    top = (home or roots[0]).absolute()
    with _one_at_a_time(stage.name, (top, *roots)):
        if not begin(stage, overwrite=options.overwrite) and not unfinished:
            return None
        tasks = plan(stage.split_sizes())
        count = max(1, min(_number(resources.array_size), len(tasks)))
        left = [not is_done(task, stage.outputs) for task in tasks]
        record = Record(
            name=new_name(stage.name),
            stage=stage.name,
            command=str(launch.command),
            home=str(top),
            roots=tuple(map(str, roots)),
            planned=dict(stage.split_sizes()),
            ranks={},
            count=count,
            shares=tuple(index for index in range(count) if any(left[index::count])),
            retries=_number(resources.retries),
            submitted_at=time.time(),
        )
        commands = {
            index: [_local(launch.command, f"--shard={index}/{count}", "--finish=never")]
            for index in range(count)
        }
        finish = _local(launch.command, "--finish=only")
        return Jobs(record, resources, commands, finish).submit()


def submit_ranks(ranks: Ranks, launch: Launch) -> Record:
    """Submit one command line for every rank; as :func:`submit_stage`."""
    require_slurm()
    resources = settle(launch.resources)
    home = ranks.home.absolute()
    count = min(_number(resources.array_size), len(ranks.clips))
    listed = {
        f"rank {rank}": {"clips": clips, "proofs": [str(file.absolute())], "fresh": ranks.fresh}
        for rank, (clips, file) in enumerate(zip(ranks.clips, ranks.files, strict=True))
    }
    with _one_at_a_time(ranks.stage, (home,)):
        record = Record(
            name=new_name(ranks.stage),
            stage=ranks.stage,
            command=str(launch.command),
            home=str(home),
            roots=(),
            planned={},
            ranks=listed,
            count=count,
            shares=tuple(range(count)),
            retries=_number(resources.retries),
            submitted_at=time.time(),
        )
        commands = {
            index: [
                _local(launch.command, rank=str(rank))
                for rank in range(index, len(ranks.clips), count)
            ]
            for index in range(count)
        }
        return Jobs(record, resources, commands, ()).submit()


def refuse_second(stage: str, roots: Sequence[Path]) -> None:
    """Pass, unless jobs wait or run that write one of these folders.

    Raises
    ------
    InputError
        If they do; the message names them.
    """
    for root in roots:
        path = path_of(root, stage)
        if not path.is_file():
            continue
        earlier = Record.read(path)
        jobs = sorted({task.job for task in queued(earlier.job_names)})
        if jobs:
            raise InputError(
                f"{root} is being made by the SLURM jobs {', '.join(jobs)}; wait for them "
                f"(`pipeline status {earlier.home}`), or end them with `scancel {' '.join(jobs)}`"
            )


@contextmanager
def _one_at_a_time(stage: str, roots: Sequence[Path]) -> Iterator[None]:
    """Let nobody else launch into these folders, and refuse if somebody has."""
    folders = sorted({root / LAUNCH_FOLDER for root in roots})
    refuse_second(stage, roots)
    with lock(folders, exclusive=True):
        refuse_second(stage, roots)
        yield


def _local(command: CommandLine, *options: str, **arguments: str) -> list[str]:
    return command.step(*options, "--launcher=local", **arguments).command


def _number(value: int | None) -> int:
    assert value is not None, "settled"
    return value
