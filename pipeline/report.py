"""What a stage prints: the plan of a dry run, the counts of a finished run."""

import json
import sys

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.masking.profiles import OCTAVES_HZ, HearingProfile
from pipeline.stage import RunOptions, Stage, StageReport, plan, run_stage


def perform(stage: Stage, options: RunOptions, *, dry_run: bool, as_json: bool) -> None:
    """Run a stage and print its report, or only say what it would do."""
    if dry_run:
        _print_plan(stage)
        return
    report = run_stage(stage, options)
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
    _say(console, f"{report.stage} → {', '.join(report.outputs)}")
    console.print(table)
    if report.quarantined:
        _say(
            console,
            f"{report.quarantined:,} clips are quarantined; their reasons are in "
            f"{report.outputs[0]}/quarantine.jsonl",
        )


def print_profiles(profiles: tuple[HearingProfile, ...]) -> None:
    """Print audiograms, thresholds in dB HL per octave."""
    import numpy as np

    from pipeline.masking.mask import attenuation_db

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Hearing thresholds in dB HL")
    table.add_column("profile")
    for frequency in OCTAVES_HZ:
        table.add_column(f"{frequency:g} Hz", justify="right")
    table.add_column("source")
    for profile in profiles:
        levels = attenuation_db(profile, np.array(OCTAVES_HZ), "octave")
        table.add_row(profile.name, *(f"{level:.4g}" for level in levels), profile.source)
    Console().print(table)


def _say(console: Console, sentence: str) -> None:
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
