"""Conditions that an analysis must meet, such as ``WER on hfloss < 0.4``.

A file of conditions is YAML:

    table: data/demo_analysis            # optional: what is tested, seen from the file's folder
    tests:
      - WER on hfloss, test < 0.4
      - name: Short sentences are understood
        condition: CER on normal, text_word_count <= 5 < 0.1

A condition is ``METRIC [on GROUP] < NUMBER``, with one of ``<``, ``<=``, ``>``, ``>=``. METRIC is
``WER``, ``CER``, or a column, whose mean is taken. GROUP is what its samples share, between
commas: the name of a profile, split or model, or ``COLUMN = VALUE`` (``!=``, ``<``, ``<=``, ``>``,
``>=``).
"""

import operator
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hearing_analysis.metrics import bootstrap_interval, corpus_error_rate
from hearing_analysis.reports.groups import is_number
from hearing_analysis.reports.statistics import UNDEFINED, Estimate, ratio_estimate
from hearing_analysis.reports.table import AnalysisTable
from pipeline.errors import InputError
from pipeline.yaml_files import read_yaml

RATES = {"wer": "word", "cer": "character"}
NAMING_COLUMNS = ("profile_name", "split", "model")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
# Matched in full: the last comparison is the bound, those before it describe the group.
_BOUND = re.compile(r"(.*?[^<>=])\s*(<=|>=|<|>)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(%?)\s*", re.S)
_COMPARISON = re.compile(r"(\w+)\s*(<=|>=|!=|<|>|=)\s*(.+)", re.S)
EXAMPLE = '"WER on hfloss < 0.4"'


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes
    ----------
    text : str
        Its name, or else as it was written.
    metric : str
        ``wer``, ``cer``, or the name of a column.
    group : tuple of str
        What the samples share, each part as it was written.
    comparison : str
        One of ``<``, ``<=``, ``>``, ``>=``.
    bound : float
    """

    text: str
    metric: str
    group: tuple[str, ...]
    comparison: str
    bound: float


@dataclass(frozen=True)
class Suite:
    """What a file holds."""

    conditions: tuple[Condition, ...]
    table: str | None

    def table_path(self, file: Path) -> Path:
        """Path of the table, seen from the folder of the file.

        Raises
        ------
        InputError
            If the file names none.
        """
        if self.table is None:
            raise InputError(f"{file} names no table; add a line `table: FOLDER`, or give --table")
        return file.parent / self.table


@dataclass(frozen=True)
class Outcome:
    """What became of a condition."""

    condition: Condition
    estimate: Estimate
    n_samples: int

    @property
    def passed(self) -> bool:
        """Whether the figure itself, not its interval, keeps to the bound."""
        value = self.estimate.value
        compare = OPERATORS[self.condition.comparison]
        return value is not None and bool(compare(value, self.condition.bound))

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "passed": self.passed}


def load_tests(path: Path) -> Suite:
    """Read a file of conditions.

    Raises
    ------
    MissingPathError, InputError
        If there is no such file, or it is not one of conditions.
    """
    content = read_yaml(path, f"write conditions such as {EXAMPLE}")
    try:
        return _parse_suite(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_condition(text: str, name: str | None = None) -> Condition:
    """Read one condition.

    Raises
    ------
    InputError
        If it is none.
    """
    match = _BOUND.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is no condition; write one such as {EXAMPLE}")
    left, comparison, number, percent = match.groups()
    metric, _, group = left.partition(" on ")
    try:
        bound = float(number) / (100 if percent else 1)
    except ValueError:
        raise InputError(f"{text!r}: {number!r} is not a number") from None
    parts = tuple(part.strip() for part in group.split(",") if part.strip())
    return Condition(name or text.strip(), metric.strip(), parts, comparison, bound)


def run_tests(table: AnalysisTable, suite: Suite) -> tuple[Outcome, ...]:
    """Test every condition.

    Raises
    ------
    InputError
        If a condition names no column, profile, split or model of the table, or no sample.
    """
    return tuple(_test(table, condition) for condition in suite.conditions)


def _parse_suite(content: Any) -> Suite:
    if not isinstance(content, dict) or not isinstance(content.get("tests"), list):
        raise InputError(f"needs a list `tests` of conditions such as {EXAMPLE}")
    if unknown := set(content) - {"table", "tests"}:
        raise InputError(
            f"{', '.join(sorted(map(str, unknown)))}: only `table` and `tests` are known"
        )
    table = content.get("table")
    if table is not None and not isinstance(table, str):
        raise InputError(f"table: {table!r} is no path")
    if not content["tests"]:
        raise InputError(f"`tests` is empty; add a condition such as {EXAMPLE}")
    return Suite(tuple(_parse_item(item) for item in content["tests"]), table)


def _parse_item(item: Any) -> Condition:
    if isinstance(item, str):
        return parse_condition(item)
    if isinstance(item, dict) and isinstance(item.get("condition"), str):
        if unknown := set(item) - {"name", "condition"}:
            raise InputError(f"{', '.join(map(str, unknown))}: a test has `name` and `condition`")
        return parse_condition(item["condition"], str(item.get("name") or item["condition"]))
    raise InputError(f"{item!r} is no condition; write one such as {EXAMPLE}")


def _test(table: AnalysisTable, condition: Condition) -> Outcome:
    chosen = np.ones(table.n_rows, dtype=bool)
    for part in condition.group:
        chosen &= _members(table, part, condition)
    if not chosen.any():
        raise InputError(f"{condition.text!r}: no sample of {table.path} is in this group")
    return Outcome(condition, _estimate(table, condition, chosen), int(chosen.sum()))


def _estimate(table: AnalysisTable, condition: Condition, chosen: np.ndarray) -> Estimate:
    if unit := RATES.get(condition.metric.lower()):
        edits = table.numbers(f"{unit}_edits")[chosen].astype(np.int64)
        lengths = table.numbers(f"{unit}_reference_length")[chosen].astype(np.int64)
        if not lengths.sum():
            return UNDEFINED
        interval = bootstrap_interval(edits, lengths, groups=table.clips[chosen])
        return Estimate(corpus_error_rate(edits, lengths), interval.low, interval.high)
    if condition.metric not in table.rows.column_names or not is_number(table, condition.metric):
        raise InputError(
            f"{condition.text!r}: {condition.metric!r} is neither WER nor CER nor a column of "
            f"numbers in {table.path}"
        )
    values = table.numbers(condition.metric)[chosen]
    values = values[np.isfinite(values)]
    return ratio_estimate(values, np.ones(len(values)))


def _members(table: AnalysisTable, part: str, condition: Condition) -> np.ndarray:
    if match := _COMPARISON.fullmatch(part):
        return _compared(table, match[1], match[2], match[3], condition)
    for column in NAMING_COLUMNS:
        if part in set(table.texts(column)):
            return np.array(table.texts(column)) == part
    known = [*table.profiles, *table.splits, *table.models]
    raise InputError(
        f"{condition.text!r}: {part!r} is no profile, split or model; there are: {', '.join(known)}"
    )


def _compared(
    table: AnalysisTable, column: str, comparison: str, value: str, condition: Condition
) -> np.ndarray:
    if column not in table.rows.column_names:
        raise InputError(f"{condition.text!r}: there is no column {column!r} in {table.path}")
    compare = OPERATORS[comparison]
    if is_number(table, column):
        try:
            return np.asarray(compare(table.numbers(column), float(value)))
        except ValueError:
            raise InputError(
                f"{condition.text!r}: {column} is a number, {value!r} is none"
            ) from None
    if comparison not in ("=", "!="):
        raise InputError(f"{condition.text!r}: {column} is text and cannot be {comparison} {value}")
    texts = pc.fill_null(table.rows[column].cast(pa.string()), "").to_pylist()
    return np.asarray(compare(np.array(texts), value))
