"""The table on the terminal: per profile, how well the model understood."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table

from hearing_analysis.figures import Estimate, GroupFigures, overview
from hearing_analysis.table import AnalysisTable, read_table
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
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    for split in dict.fromkeys(group.split for group in figures):
        console.print(_table(split, [group for group in figures if group.split == split]))


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
    return AnalysisTable(table.path, rows)
