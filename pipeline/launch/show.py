"""Print how far an output has come."""

import json
from collections import Counter
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.errors import CheckFailed
from pipeline.launch.progress import Standing, standings
from pipeline.report import say
from pipeline.stage import name_some

MOST_TASKS = 10  # failed ones that are told of one by one
BAD_STATES = ("failed", "stuck")


def show(home: Path, *, as_json: bool) -> None:
    """Print the standing of a folder.

    Raises
    ------
    CheckFailed
        If something there has failed, or will never start.
    """
    found = standings(home)
    if as_json:
        print(json.dumps([standing.as_json() for standing in found], indent=2))
    else:
        for standing in found:
            print_standing(standing)
    bad = [standing for standing in found if standing.state in BAD_STATES]
    if bad:
        raise CheckFailed(_complaint(bad[0]))


def print_standing(standing: Standing) -> None:
    """Print one standing for people."""
    console = Console()

    why = f" ({standing.reason})" if standing.reason else ""
    say(console, f"{standing.stage} → {standing.home}: {standing.state}{why}")
    say(
        console,
        f"  {standing.shards_done:,} of {standing.shards:,} shards, "
        f"{standing.clips_done:,} of {standing.clips:,} clips",
    )
    if standing.seconds_left is not None:
        say(
            console,
            f"  {standing.clips_per_second:,.1f} clips/s, {_duration(standing.seconds_left)} left "
            "if it goes on so",
        )
    if standing.jobs:
        say(console, f"  jobs: {', '.join(standing.jobs)}")
    if standing.tasks:
        counts = Counter(task.state for task in standing.tasks)
        listed = ", ".join(f"{n:,} {state}" for state, n in counts.items())
        say(console, f"  tasks: {listed}{_retry(standing)}")
    for task in [task for task in standing.tasks if task.state == "failed"][:MOST_TASKS]:
        where = f" on {task.node}" if task.node else ""
        say(console, f"  task {task.share} failed{where}, {task.attempts} attempts: {task.reason}")
    if standing.nodes:
        console.print(_node_table(standing))


def _retry(standing: Standing) -> str:
    again = standing.round < standing.retries and standing.state not in ("complete", *BAD_STATES)
    if again and any(task.state == "failed" for task in standing.tasks):
        return "; what failed is made again when all have ended"
    return f" (retry {standing.round} of {standing.retries})" if standing.round else ""


def _complaint(standing: Standing) -> str:
    if standing.state == "stuck":
        return f"{standing.home}: {standing.reason}"
    lacking = "it is not finished"
    if standing.missing:
        named = name_some(list(standing.missing))
        lacking = f"{len(standing.missing)} of {standing.shards} shards are missing: {named}"
    again = f"; `{standing.command} --launcher slurm` goes on" if standing.command else ""
    return f"{standing.home}: {lacking}{again or '; the same command goes on'}"


def _node_table(standing: Standing) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("node", "running", "clips", "hours of tasks", "clips/s a task"):
        table.add_column(heading, justify="left" if heading == "node" else "right")
    for node in standing.nodes:
        hours, rate = f"{node.seconds / 3600:.2f}", f"{node.clips_per_second:,.1f}"
        table.add_row(node.node, str(node.running), f"{node.clips:,}", hours, rate)
    return table


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min" if seconds >= 90 else f"{seconds:.0f} s"
