"""Mine on a cluster: an array of jobs for every step, each submitted when the one before is done.

How many units a step has depends on what the step before has made, so the job that finishes an
array submits the next one. The last of them scores and writes the pairs.
"""

from typing import TYPE_CHECKING, Any

from pipeline.corpus import write_atomically
from pipeline.errors import CheckFailed, InputError
from pipeline.launch.perform import announce, wait
from pipeline.launch.record import Record, read_lines, records_of
from pipeline.launch.submit import Ranks, submit_step
from pipeline.mining.run import STEPS, Mining, Step

if TYPE_CHECKING:
    from pipeline.launch.request import Launch


def launch_mining(
    mining: Mining, step: Step | None, launch: "Launch", *, as_json: bool
) -> dict[str, Any] | None:
    """Submit the first step that is not done, or a step that was named.

    Parameters
    ----------
    mining : Mining
    step : str or None
        Do this one alone; None for all.
    launch : Launch
    as_json : bool

    Returns
    -------
    dict or None
        What came of it, if that was waited for.

    Raises
    ------
    InputError
        If SLURM refuses, another launch is at work, or a step before is not done.
    CheckFailed
        If it was waited for and failed.
    """
    record = _submit(mining, step, launch)
    if not (as_json and launch.wait):  # which prints the report alone
        announce(record, as_json=as_json)
    if not launch.wait:
        return None
    while True:
        wait(record)
        if step is not None:
            return {step: "done"}
        following = max(records_of(mining.plan.output), key=lambda one: one.submitted_at)
        if following.submitted_at <= record.submitted_at:
            break
        record = following
    left = _next_step(mining)
    if left != STEPS[-1] or _failure(record):
        raise CheckFailed(
            f"the jobs have ended, and the step {left} of {mining.plan.output} is not done"
            f"{_failure(record)}; run the same command again to go on"
        )
    return mining.run()


def _submit(mining: Mining, step: Step | None, launch: "Launch") -> Record:
    """Submit a step, and after it the next one if all are wanted."""
    chosen = step or _next_step(mining)
    stage, output = f"mine-{chosen}", mining.plan.output
    options = () if step else (f"--step={chosen}",)
    if chosen == STEPS[-1]:  # quick, and one task's
        rows = len(mining.search.source) + len(mining.search.target)
        pairs = Ranks(stage, output, (rows,), (mining.bitexts,), fresh=True, unit="pairs")
        return submit_step(pairs, launch, options, (), [False])
    units, files = mining.units(chosen), mining.proofs(chosen)
    if units is None:
        raise InputError(f"exact search has no step {chosen}; leave --step out")
    done = [units.is_done(unit) for unit in range(len(files))]
    for file, is_done in zip(files, done, strict=True):
        if is_done and not file.is_file():
            write_atomically(file, b"")
    following = () if step else launch.command.launched_again(launch.resources)
    work = Ranks(stage, output, tuple(units.sizes), tuple(files), unit="unit")
    return submit_step(work, launch, options, following, done)


def _next_step(mining: Mining) -> Step:
    """The first step that has units to do, or the last."""
    for step in STEPS[:-1]:
        if step != "embed" and mining.search.finished:
            break
        units = mining.units(step)
        if units and not all(units.is_done(unit) for unit in range(len(units.sizes))):
            return step
    return STEPS[-1]


def _failure(record: Record) -> str:
    """What went wrong in the job that finishes."""
    lines = read_lines(record.finish_attempts)
    error = str(lines[-1].get("error", "")) if lines else ""
    return f" ({error})" if error else ""
