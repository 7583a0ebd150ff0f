"""Hand a stage, or ranks, to SLURM: an array of tasks, and a job that finishes after them."""

import time
from collections.abc import Iterator, Mapping, Sequence
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
    unit : str
        What one of them is called.
    """

    stage: str
    home: Path
    clips: tuple[int, ...]
    files: tuple[Path, ...]
    fresh: bool = False
    unit: str = "rank"


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
    count, commands = _share_count(ranks, launch), {}
    for share in range(count):
        own = range(share, len(ranks.clips), count)
        commands[share] = [_local(launch.command, rank=str(rank)) for rank in own]
    return _submit_units(ranks, launch, tuple(range(count)), commands, ())


def submit_step(
    step: Ranks,
    launch: Launch,
    options: Sequence[str],
    finish: Sequence[str],
    done: Sequence[bool],
) -> Record:
    """Submit a step whose command takes ``--shard``, and a command that follows it.

    Parameters
    ----------
    step : Ranks
        Its units, in the order in which ``--shard`` deals them out.
    launch : Launch
    options : sequence of str
        What makes the command do this step alone.
    finish : sequence of str
        Command line of what is to be done when all units are there.
    done : sequence of bool
        Whether a unit is there already.

    Raises
    ------
    InputError
        As :func:`submit_stage`.
    """
    count = _share_count(step, launch)
    commands = {
        share: [_local(launch.command, *options, f"--shard={share}/{count}")]
        for share in range(count)
    }
    shares = tuple(share for share in range(count) if not all(done[share::count]))
    return _submit_units(step, launch, shares, commands, finish)


def _share_count(ranks: Ranks, launch: Launch) -> int:
    require_slurm()
    return min(_number(settle(launch.resources).array_size), len(ranks.clips))


def _submit_units(
    ranks: Ranks,
    launch: Launch,
    shares: tuple[int, ...],
    commands: Mapping[int, Sequence[Sequence[str]]],
    finish: Sequence[str],
) -> Record:
    resources = settle(launch.resources)
    home = ranks.home.absolute()
    listed = {
        f"{ranks.unit} {rank}": {
            "clips": clips,
            "proofs": [str(file.absolute())],
            "fresh": ranks.fresh,
        }
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
            count=max(len(commands), 1),
            shares=shares,
            retries=_number(resources.retries),
            submitted_at=time.time(),
        )
        return Jobs(record, resources, commands, finish).submit()


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
