"""What a stage prints: the plan of a dry run, the counts of a finished run."""

import json
import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.counts import StageReport
from pipeline.masking.profiles import OCTAVES_HZ, HearingProfile
from pipeline.masking.severity import (
    BSA_HZ,
    WHO_HZ,
    bsa_descriptor,
    pure_tone_average,
    thresholds_at,
    who_grade,
)
from pipeline.stage import RunOptions, Stage, plan, run_stage


def perform(stage: Stage, options: RunOptions, *, dry_run: bool, as_json: bool) -> None:
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
    _say(console, f"{report.stage} → {', '.join(report.outputs)}")
    console.print(table)
    if report.quarantined:
        _say(
            console,
            f"{report.quarantined:,} clips are quarantined; their reasons are in "
            f"{report.outputs[0]}/quarantine.jsonl",
        )
    if report.remarks:
        _say(
            console,
            f"{report.remarks:,} clips were kept, but not as they came; what was done to them "
            f"is in {report.outputs[0]}/remarks.jsonl",
        )


def describe_profile(profile: HearingProfile) -> dict[str, Any]:
    """Audiogram, averages and grades of a profile, as JSON values."""
    who_db, bsa_db = pure_tone_average(profile, WHO_HZ), pure_tone_average(profile, BSA_HZ)
    return {
        **profile.as_json(),
        "pure_tone_average_who_db_hl": who_db,
        "grade_who_2021": who_grade(who_db),
        "pure_tone_average_bsa_db_hl": bsa_db,
        "descriptor_bsa_2018": bsa_descriptor(bsa_db),
    }


def print_profiles(profiles: tuple[HearingProfile, ...]) -> None:
    """Print audiograms, thresholds in dB HL per octave, and how severe the losses are."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title="Hearing thresholds in dB HL, their averages and grades",
    )
    table.add_column("profile", overflow="fold")
    for frequency in OCTAVES_HZ:
        heading = f"{frequency:g}" if frequency < 1000 else f"{frequency / 1000:g}k"
        table.add_column(heading, justify="right", min_width=3)
    table.add_column("WHO 2021", no_wrap=True)
    table.add_column("BSA 2018", no_wrap=True)
    for profile in profiles:
        levels = (f"{level:.0f}" for level in thresholds_at(profile, OCTAVES_HZ))
        described = describe_profile(profile)
        who = f"{described['pure_tone_average_who_db_hl']:3.0f} {described['grade_who_2021']}"
        bsa = f"{described['pure_tone_average_bsa_db_hl']:3.0f} {described['descriptor_bsa_2018']}"
        table.add_row(profile.name, *levels, who.replace("moderately_", "mod. "), bsa)
    console = Console()
    console.print(table)
    for source in dict.fromkeys(profile.source for profile in profiles if profile.source):
        named = ", ".join(profile.name for profile in profiles if profile.source == source)
        _say(console, f"{named}: {source}")


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
