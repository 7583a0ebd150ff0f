"""What a run did, in numbers of clips, and whether that will do."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import CheckFailed


@dataclass(frozen=True)
class SplitCounts:
    """``clips_in == clips_out + quarantined``, or the stage fails.

    ``further_rows`` are what an output has beyond one row a clip, where clips are split;
    ``remarks`` the lines of ``remarks.jsonl``. ``run.json`` leaves both out if there are none.
    """

    clips_in: int
    clips_out: int
    quarantined: int
    further_rows: int = 0
    remarks: int = 0

    @property
    def n_rows(self) -> int:
        """Rows of every output."""
        return self.clips_out + self.further_rows


@dataclass(frozen=True)
class StageReport:
    """What a run did."""

    stage: str
    outputs: tuple[str, ...]
    splits: dict[str, SplitCounts]
    complete: bool
    seconds: float

    @property
    def clips_in(self) -> int:
        """Input rows over all splits."""
        return sum(counts.clips_in for counts in self.splits.values())

    @property
    def clips_out(self) -> int:
        """Clips kept, per output, over all splits."""
        return sum(counts.clips_out for counts in self.splits.values())

    @property
    def quarantined(self) -> int:
        """Clips left out over all splits."""
        return sum(counts.quarantined for counts in self.splits.values())

    @property
    def remarks(self) -> int:
        """Lines of ``remarks.jsonl`` over all splits."""
        return sum(counts.remarks for counts in self.splits.values())

    def as_json(self) -> dict[str, Any]:
        """JSON values, for ``--json``; counts as in ``run.json``."""
        splits = {split: without_zeros(vars(counts)) for split, counts in self.splits.items()}
        return {**dataclasses.asdict(self), "splits": splits}


def judge(report: StageReport, max_failures: int | None) -> StageReport:
    """Pass a report on, unless too many clips were quarantined.

    Raises
    ------
    CheckFailed
        If more were than ``max_failures``, or, without that, if none was kept.
    """
    where = f"see {report.outputs[0]}/quarantine.jsonl"
    judge_counts(report.clips_in, report.quarantined, max_failures, where)
    return report


def judge_counts(clips_in: int, quarantined: int, max_failures: int | None, where: str) -> None:
    """Pass, unless too many clips were quarantined; ``where`` says where their reasons are.

    Raises
    ------
    CheckFailed
        As :func:`judge`.
    """
    if max_failures is not None and quarantined > max_failures:
        raise CheckFailed(
            f"{quarantined} of {clips_in} clips are quarantined, more than "
            f"--max-failures {max_failures}; {where}"
        )
    if clips_in and quarantined == clips_in:
        raise CheckFailed(f"all {clips_in} clips are quarantined; {where}")


def without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    """Leave out what is rarely anything."""
    return {k: n for k, n in counts.items() if n or k not in ("further_rows", "remarks")}
