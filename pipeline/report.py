"""What a stage prints: the plan of a dry run, the counts of a finished run."""

import json
import sys

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.counts import StageReport
from pipeline.stage import RunOptions, Stage, plan, run_stage


def perform(
    stage: Stage,
    options: RunOptions | None = None,
    *,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Run a stage and print its report, or only say what it would do."""
    if dry_run:
        _print_plan(stage)
        return
    tell(run_stage(stage, options), as_json=as_json)


def tell(report: StageReport, *, as_json: bool) -> None:
    """Print a report, for machines or for people."""
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print_report(report)


def print_report(report: StageReport) -> None:
    """Print the counts of every split as a table on standard output."""
    console = Console()
    if not report.complete:
        console.print(f"{report.stage}: this share is done, the output is not complete yet")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("split", "clips in", "clips out", "quarantined"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split, counts in report.splits.items():
        numbers = (counts.clips_in, counts.clips_out, counts.quarantined)
        table.add_row(split, *(f"{number:,}" for number in numbers))
    say(console, f"{report.stage} → {', '.join(report.outputs)}")
    console.print(table)
    if report.quarantined:
        say(
            console,
            f"{report.quarantined:,} clips are quarantined; their reasons are in "
            f"{report.outputs[0]}/quarantine.jsonl",
        )
    if report.remarks:
        say(
            console,
            f"{report.remarks:,} clips were kept, but not as they came; what was done to them "
            f"is in {report.outputs[0]}/remarks.jsonl",
        )


def say(console: Console, sentence: str) -> None:
    """Print a sentence as it is."""
    # Paths are no markup, and a terminal wraps them better than we could.
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _print_plan(stage: Stage) -> None:
    tasks = plan(stage.split_sizes())
    clips = sum(task.n_rows for task in tasks)
    print(f"{stage.name}: {clips:,} clips in {len(tasks)} shards, nothing written")
    for split in dict.fromkeys(task.split for task in tasks):
        print(f"  {split}: {sum(t.n_rows for t in tasks if t.split == split):,} clips")
    for output in stage.outputs:
        print(f"  → {output.root}")
    sys.stdout.flush()
