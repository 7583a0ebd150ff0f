"""What the commands print: figures one below the other, tables where there are rows of them."""

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.report import say


def print_report(report: Mapping[str, Any], depth: int = 0) -> None:
    """Print a report on standard output."""
    console = Console()
    indent = "  " * depth
    for name, value in report.items():
        title = name.replace("_", " ")
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            _print_table(console, title, value)
        elif isinstance(value, Mapping) and value:
            say(console, f"{indent}{title}")
            print_report(value, depth + 1)
        else:
            say(console, f"{indent}{title}: {_text(value)}")


def _print_table(console: Console, name: str, rows: list[Mapping[str, Any]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=name, title_justify="left")
    for key, value in rows[0].items():
        is_text = isinstance(value, str)
        table.add_column(key.replace("_", " "), justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    console.print(table, markup=False)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    return str(value)
