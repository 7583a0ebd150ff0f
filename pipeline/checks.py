"""Checks: what was measured, what is allowed, and whether it is so."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import CheckFailed

Item = TypeVar("Item")
Verdict = Literal["passed", "failed", "skipped"]
COLOURS: dict[Verdict, str] = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


@dataclass(frozen=True)
class Check:
    """One thing that was measured, and whether it is as it should be.

    Attributes
    ----------
    name, measured, tolerance : str
        As shown; ``measured`` names the first thing that is wrong, if one is.
    verdict : {"passed", "failed", "skipped"}
    """

    name: str
    measured: str
    tolerance: str
    verdict: Verdict


def verdict_of(name: str, measured: str, tolerance: str, passed: bool) -> Check:
    """Make a check that is either passed or failed."""
    return Check(name, measured, tolerance, "passed" if passed else "failed")


def check_each(
    name: str,
    items: Sequence[Item],
    fault: Callable[[Item], str | None],
    measured: str,
    tolerance: str,
) -> Check:
    """Look for a fault in every clip, or whatever the items are.

    Returns
    -------
    Check
        Failed if there is one; the first is told, and how many there are. Skipped without items.
    """
    faults = [found for found in map(fault, items) if found]
    if faults:
        told = f"{len(faults)} of {len(items)} clips: {faults[0]}"
        return Check(name, told, tolerance, "failed")
    if not items:
        return Check(name, "no clips", tolerance, "skipped")
    return Check(name, measured, tolerance, "passed")


def conclude(root: Path, checks: Sequence[Check], *, as_json: bool) -> None:
    """Print all checks on standard output, as a table or as JSON.

    Raises
    ------
    CheckFailed
        If one failed.
    """
    failed = [check.name for check in checks if check.verdict == "failed"]
    if as_json:
        listing = [asdict(check) for check in checks]
        print(json.dumps({"output": str(root), "passed": not failed, "checks": listing}, indent=2))
    else:
        _print_table(root, checks)
    if failed:
        told = ", ".join(failed)
        raise CheckFailed(f"{root}: {len(failed)} of {len(checks)} checks failed: {told}")


def _print_table(root: Path, checks: Sequence[Check]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("check", "measured", "tolerance", "verdict"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "verdict")
    for check in checks:
        verdict = Text(check.verdict, style=COLOURS[check.verdict])
        table.add_row(Text(check.name), Text(check.measured), Text(check.tolerance), verdict)
    console = Console()
    console.print(f"validate {root}", markup=False, highlight=False, soft_wrap=True)
    console.print(table)
