"""Tables on the terminal: per profile, how well the model understood; two models; tests."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table

from hearing_analysis.reports.assertions import Outcome
from hearing_analysis.reports.comparison import Comparison
from hearing_analysis.reports.figures import GroupFigures, overview
from hearing_analysis.reports.statistics import Estimate, PairedDifference
from hearing_analysis.reports.table import AnalysisTable, read_table
from pipeline.errors import InputError

PLAIN_WIDTH = 100  # columns, where the output is not a terminal


def summarize(
    path: Path, split: str | None = None, where: tuple[str, ...] = ()
) -> tuple[GroupFigures, ...]:
    """Figures of every profile and model in a table.

    Parameters
    ----------
    path : Path
        ``analysis.parquet``.
    split : str, optional
        Only this split, or ``all`` for all of them together; by default each.
    where : tuple of str
        ``COLUMN=VALUE`` or ``COLUMN!=VALUE``: only rows for which all of them hold.

    Raises
    ------
    InputError
        If there is no such split or column, or nothing is left.
    """
    table = read_table(path)
    for condition in where:
        table = _filter(table, condition)
    figures = overview(table)
    splits = tuple(dict.fromkeys(group.split for group in figures))
    if split is not None and split not in splits:
        raise InputError(f"{path} has no split {split!r}; it has: {', '.join(splits)}")
    return tuple(group for group in figures if split in (None, group.split))


def as_json(figures: tuple[GroupFigures, ...]) -> list[dict[str, Any]]:
    """JSON values of the figures."""
    return [asdict(group) for group in figures]


def print_summary(figures: tuple[GroupFigures, ...]) -> None:
    """Print a table per split; the intervals are 95 % bootstrap intervals."""
    console = _console()
    for split in dict.fromkeys(group.split for group in figures):
        console.print(_table(split, [group for group in figures if group.split == split]))


def print_comparison(comparisons: Sequence[Comparison]) -> None:
    """Print a table per split: two models, and the difference with its interval and p-value."""
    console = _console()
    for split in dict.fromkeys(comparison.split for comparison in comparisons):
        mine = [comparison for comparison in comparisons if comparison.split == split]
        title = f"{split}: {mine[0].second} minus {mine[0].first}"
        table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("profile")
        for heading in ("clips", "WER A %", "WER B %", "B - A, points (95 %)", "p", "CER", *"+-="):
            table.add_column(heading, justify="right")
        for pair in mine:
            table.add_row(
                pair.profile,
                f"{pair.n_clips:,}",
                *(f"{100 * rate:.1f}" if rate is not None else "–" for rate in _rates(pair)),
                _points(pair.word, with_interval=True),
                _p_value(pair.word),
                _points(pair.character),
                *(f"{count:,}" for count in (pair.n_better, pair.n_worse, pair.n_equal)),
            )
        console.print(table)
    console.print("+, -, =: clips on which B makes fewer, more, or as many word errors")


def print_tests(outcomes: Sequence[Outcome]) -> None:
    """Print a line per condition: passed or failed, and what was found."""
    console = _console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "condition", "found", "95 %", "samples"):
        table.add_column(heading, justify="left" if heading in ("", "condition") else "right")
    for outcome in outcomes:
        table.add_row(
            "pass" if outcome.passed else "FAIL",
            outcome.condition.text,
            _number(outcome.estimate.value),
            f"{_number(outcome.estimate.low)} to {_number(outcome.estimate.high)}",
            f"{outcome.n_samples:,}",
        )
    console.print(table)


def _console() -> Console:
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def _rates(pair: Comparison) -> tuple[float | None, float | None]:
    return pair.first_rate, pair.second_rate


def _points(difference: PairedDifference, *, with_interval: bool = False) -> str:
    if difference.value is None or difference.low is None or difference.high is None:
        return "–"
    text = f"{100 * difference.value:+.1f}"
    if not with_interval:
        return text
    return f"{text} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def _p_value(difference: PairedDifference) -> str:
    if difference.p_value is None:
        return "–"
    return "< 0.001" if difference.p_value < 0.001 else f"{difference.p_value:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _table(split: str, groups: list[GroupFigures]) -> Table:
    table = Table(title=f"{split} ({groups[0].model})", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("profile")
    for heading in ("clips", "cut", "WER % (95 %)", "CER % (95 %)", "S", "D", "I", "CTC loss"):
        table.add_column(heading, justify="right")
    for group in groups:
        word, character = group.word, group.character
        edits = (word.substitutions, word.deletions, word.insertions)
        table.add_row(
            group.profile,
            f"{group.n_clips:,}",
            f"{group.n_truncated:,}",
            _percent(word.rate),
            _percent(character.rate),
            *(f"{count:,}" for count in edits),
            "–" if group.ctc_loss is None else f"{group.ctc_loss:.1f}",
        )
    if any(group.n_truncated for group in groups):
        table.caption = "cut: clips longer than the model's window; their lost words are deletions"
    return table


def _percent(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "–"
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _filter(table: AnalysisTable, condition: str) -> AnalysisTable:
    negated = "!=" in condition
    name, separator, value = condition.partition("!=" if negated else "=")
    if not separator:
        raise InputError(f"--where {condition!r} is not COLUMN=VALUE or COLUMN!=VALUE")
    if name not in table.rows.column_names:
        raise InputError(f"--where {condition!r}: there is no column {name!r} in {table.path}")
    texts = pc.fill_null(pc.cast(table.rows[name], "string"), "")
    kept = pc.not_equal(texts, value) if negated else pc.equal(texts, value)
    rows = table.rows.filter(kept)
    if not rows.num_rows:
        raise InputError(f"--where {condition!r} leaves no row of {table.path}")
    return AnalysisTable(table.paths, rows)
