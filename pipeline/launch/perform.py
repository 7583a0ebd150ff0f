"""What a command calls: run a stage here, or hand it to SLURM and say so."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import CheckFailed, InputError
from pipeline.launch.progress import COMPLETED, standing_of
from pipeline.launch.record import RECORD_FILE, Record
from pipeline.launch.request import CommandLine, Launch
from pipeline.progress import Progress
from pipeline.report import perform as perform_here
from pipeline.report import tell
from pipeline.stage import RunOptions, Stage, name_some, run_stage

if TYPE_CHECKING:
    from pipeline.launch.submit import Ranks

# Between two looks at the jobs: often at first, for short ones.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
# How often SLURM may fail to answer, or jobs to be seen, before it is taken for true.
MOST_SILENCES, MOST_ABSENCES = 20, 3


def perform(
    stage: Stage,
    options: RunOptions,
    launch: Launch,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a stage and print its report; or submit it, and print how to ask about it."""
    if dry_run or not launch.is_remote:
        perform_here(stage, options, dry_run=dry_run, as_json=as_json)
        return
    launch_stage(stage, options, launch, as_json=as_json)


def perform_all(
    work: Sequence[tuple[Stage, CommandLine]],
    options: RunOptions,
    launch: Launch,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run several stages one after the other, or submit all before any is waited for.

    Raises
    ------
    InputError
        If one could not be submitted; all others are.
    """
    if dry_run or not launch.is_remote:
        for stage, _ in work:
            perform_here(stage, options, dry_run=dry_run, as_json=as_json)
        return
    refusals = []
    submitted = []
    for stage, command in work:
        asked = replace(launch, command=command, wait=False)
        try:
            submitted.append(launch_stage(stage, options, asked, as_json=as_json))
        except InputError as error:
            refusals.append(str(error))
    for record in submitted if launch.wait else ():
        if record:
            wait(record)
    if refusals:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        raise InputError(f"{refusals[0]}{more}")


def launch_stage(
    stage: Stage,
    options: RunOptions,
    launch: Launch,
    *,
    as_json: bool,
    home: Path | None = None,
    unfinished: bool = False,
) -> Record | None:
    """Submit a stage, or say that its output is complete; see :func:`submit_stage`."""
    from pipeline.launch.submit import submit_stage  # and submitit, which no local run needs

    record = submit_stage(stage, options, launch, home, unfinished=unfinished)
    if record is not None:
        announce(record, as_json=as_json and not launch.wait)
        if not launch.wait:
            return record
        wait(record)
    tell(run_stage(stage, RunOptions(max_failures=options.max_failures)), as_json=as_json)
    return record


def launch_ranks(ranks: "Ranks", launch: Launch, *, as_json: bool) -> None:
    """Submit ranks."""
    from pipeline.launch.submit import submit_ranks

    record = submit_ranks(ranks, launch)
    announce(record, as_json=as_json)
    if launch.wait:
        wait(record)


def wait(record: Record, pause: Callable[[float], None] = time.sleep) -> None:
    """Follow the jobs of a launch until its output is complete.

    Raises
    ------
    CheckFailed
        If it will not be: the jobs have ended, or will never start, or SLURM does not answer.
    """
    try:
        _follow(record, pause)
    except KeyboardInterrupt:
        print(f"the jobs go on without you: pipeline status {record.home}", file=sys.stderr)
        raise


def _follow(record: Record, pause: Callable[[float], None]) -> None:
    seconds, silences, absences = FIRST_PAUSE_SECONDS, 0, 0
    shown = 0
    with Progress(record.stage, sum(unit.n_clips for unit in record.units)) as progress:
        while True:
            # Read anew: a unit remembers that it was made, and must be asked again if it was not.
            standing = standing_of(Record.read(record.folder / RECORD_FILE))
            progress.advance(standing.clips_done - shown)
            shown = standing.clips_done
            if standing.state == COMPLETED:
                return
            silences = silences + 1 if standing.state == "unknown" else 0
            # Shared disks show files a little later than SLURM shows that jobs are gone.
            absences = absences + 1 if standing.state == "failed" else 0
            if standing.state == "stuck" or silences > MOST_SILENCES or absences > MOST_ABSENCES:
                break
            pause(seconds)
            seconds = min(1.3 * seconds, LONGEST_PAUSE_SECONDS)
    if standing.missing:
        lacking = (
            f"{len(standing.missing)} of {standing.shards} shards of {record.home} are missing: "
            f"{name_some(list(standing.missing))}; "
        )
    else:
        lacking = f"{record.home} is not complete; "
    raise CheckFailed(f"{lacking}{standing.reason}; logs are in {record.folder}")


def announce(record: Record, *, as_json: bool) -> None:
    """Say what was submitted, and how to ask about it."""
    ask = f"pipeline status {record.home}"
    if as_json:
        said = {
            "stage": record.stage,
            "outputs": list(record.roots) or [record.home],
            "jobs": {"array": record.array, "finish": record.finisher},
            "tasks": len(record.shares),
            "status": ask,
        }
        print(json.dumps(said, indent=2))
        return
    clips = sum(unit.n_clips for unit in record.units)
    print(f"{record.stage}: {clips:,} clips in {len(record.units):,} shards → {record.home}")
    if record.array:
        tasks = "1 task" if len(record.shares) == 1 else f"{len(record.shares)} tasks"
        print(f"job {record.array}: {tasks}; job {record.finisher} finishes the output after it")
    else:
        print(f"job {record.finisher} finishes the output, whose shards are all there")
    print(ask)
