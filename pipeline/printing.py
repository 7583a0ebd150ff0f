"""What commands print of their reports: nested ones as indented lines."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def tell(report: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a report on standard output, for machines or for people."""
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for line in lines_of(report):
        print(line)


def lines_of(report: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Give a line per value; those of a list of reports stand on one each."""
    indent = "  " * depth
    for name, value in report.items():
        title = name.replace("_", " ")
        if isinstance(value, Mapping):
            yield f"{indent}{title}"
            yield from lines_of(value, depth + 1)
        elif isinstance(value, list):
            yield f"{indent}{title}"
            for entry in value:
                parts = (f"{key} {_text(part)}" for key, part in entry.items())
                yield f"{indent}  {', '.join(parts)}"
        else:
            yield f"{indent}{title}: {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5f}" if abs(value) >= 1e-3 else f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)
