"""What every column of ``analysis.parquet`` means.

The tooltips of the dashboard and ``docs/columns.md`` are made from the docstrings in
`column_sections`, so there is one text and no copy:

    python -m hearing_analysis.reports.columns > docs/columns.md
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from hearing_analysis.reports.column_sections import SECTIONS

PERCENT = "%"  # of a ratio that is shown in percent


@dataclass(frozen=True)
class Description:
    """How a column is shown.

    Attributes
    ----------
    label : str
        Name for people.
    unit : str
        Empty where there is none; ``%`` means that the value is a ratio to be shown in percent.
    text : str
        Definition in one or two sentences.
    kind : str
        Type in the table.
    """

    label: str
    unit: str
    text: str
    kind: str = ""


STATISTICS = {"min": "minimum", "max": "maximum", "mean": "mean", "std": "standard deviation"}
UNITS = ("word", "character")
_ORIGINS = {
    "profile": "Property of the hearing profile.",
    "audio": "Measured on the unpadded audio of this profile.",
    "text": "Property of the sentence.",
    "clip": "From the corpus.",
    "stage": "What another stage found out about the clip.",
}
_SUFFIXES = (
    ("db_hl", "dB HL"),
    ("dbfs", "dBFS"),
    ("db", "dB"),
    ("hz", "Hz"),
    ("seconds", "s"),
    ("s", "s"),
    ("percent", "percent"),
)
_ENTRY = re.compile(r"^(\S+) : ([^\n]+)\n((?:    .*\n?)+)", re.M)
_PLACES = re.compile(r"<\w+>")


@dataclass(frozen=True)
class Entry:
    """What a docstring says of a column, or of a family of columns with ``<places>`` to fill."""

    name: str
    kind: str
    unit: str
    label: str
    text: str


def describe(column: str) -> Description:
    """Describe a column; one that is not known gets a readable name, its unit and its origin."""
    for entry in entries():
        if match := _pattern(entry.name).fullmatch(column):
            return _filled(entry, match.groupdict())
    return _guess(column)


@cache
def entries() -> tuple[Entry, ...]:
    """Read all entries of all sections, in their order."""
    return tuple(entry for section in SECTIONS for entry in section_entries(section))


def section_entries(section: type) -> Iterator[Entry]:
    """Read the entries of one docstring."""
    listed = (inspect.getdoc(section) or "").partition("----------\n")[2]
    for name, kind, body in _ENTRY.findall(listed + "\n"):
        label, _, text = " ".join(body.split()).partition(". ")
        kind, _, unit = kind.partition(", ")
        yield Entry(name, kind, unit, label, text)


def document() -> str:
    """Write ``docs/columns.md``."""
    parts = [_HEAD]
    for section in SECTIONS:
        doc = (inspect.getdoc(section) or "").partition("Attributes\n")[0]
        title, _, notes = doc.strip().partition("\n\n")
        parts += [f"## {title.rstrip('.')}", *([notes.strip()] if notes.strip() else [])]
        rows = [f"| {_spell(e)} | {_kind(e)} | {e.label}. {e.text} |" for e in _expanded(section)]
        parts.append("\n".join(["| column | type | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


_HEAD = """# The columns of analysis.parquet

One row per sample: a clip under one profile, heard by one model; clip by clip, the profiles of a
clip one after the other. Metadata are measured on the audio without padding, never rounded, and
null where there is nothing to tell. The Tensorleap platform shows the same names, and so does the
[dashboard](dashboard.md), whose tooltips are the texts of this page. Further columns, numbers or
texts, appear in all menus of the dashboard by themselves."""


def _spell(entry: Entry) -> str:
    return f"`{entry.name}`"


def _kind(entry: Entry) -> str:
    unit = "ratio" if entry.unit == PERCENT else entry.unit
    return f"{entry.kind}, {unit}" if unit else entry.kind


def _expanded(section: type) -> Iterator[Entry]:
    """Entries, those of both units written out; statistics and frequencies stay families."""
    for entry in section_entries(section):
        if "<unit>" not in entry.name:
            yield Entry(entry.name, entry.kind, entry.unit, _plain(entry.label), entry.text)
            continue
        for unit in UNITS:
            filled = _filled(entry, {"unit": unit})
            name = entry.name.replace("<unit>", unit)
            yield Entry(name, entry.kind, entry.unit, filled.label, filled.text)


def _plain(label: str) -> str:
    return label.replace(", <statistic>", "").replace(" at <frequency> Hz", "")


@cache
def _pattern(name: str) -> re.Pattern[str]:
    places = {"statistic": "|".join(STATISTICS), "unit": "|".join(UNITS), "frequency": r"\d+"}
    parts = re.split(r"<(\w+)>", name)
    return re.compile(
        "".join(
            f"(?P<{part}>{places[part]})" if i % 2 else re.escape(part)
            for i, part in enumerate(parts)
        )
    )


def _filled(entry: Entry, places: dict[str, str]) -> Description:
    def fill(text: str) -> str:
        for place, value in places.items():
            text = text.replace(f"<{place}>", STATISTICS.get(value, value))
            text = text.replace(f"<{place.title()}>", value.title())
        return text

    return Description(fill(entry.label), entry.unit, fill(entry.text), entry.kind)


def _guess(column: str) -> Description:
    handler = column.partition("_")[0]
    suffix, unit = next(((s, u) for s, u in _SUFFIXES if column.endswith(f"_{s}")), ("", ""))
    words = column.removesuffix(f"_{suffix}") if suffix else column
    label = words.replace("_", " ").strip() or column
    text = _ORIGINS.get(handler, "Column that was added to the analysis table.")
    return Description(label[:1].upper() + label[1:], unit, text)


if __name__ == "__main__":
    print(document(), end="")
