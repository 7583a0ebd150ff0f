"""Groups of samples described by a column: a value, or a range of numbers."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hearing_analysis.metrics import COLUMNS as METRIC_COLUMNS
from hearing_analysis.reports.table import TEXT_COLUMNS, AnalysisTable

MAX_VALUES = 64  # a text column with more distinct values is free text
# What names a sample, or is computed from how it was recognised, explains nothing.
NAMES = {*TEXT_COLUMNS, "sample_id", "clip_id", "clip_path", "x", "y", "cluster"}
OUTCOMES = {*METRIC_COLUMNS, "ctc_loss", "cross_entropy", "token_accuracy"}
OUTCOME_PREFIXES = ("word_", "character_", "forced_", "confidence_", "hallucination_")


@dataclass(frozen=True)
class Labels:
    """A column of text with few distinct values.

    Attributes
    ----------
    codes : np.ndarray [shape=(rows,), dtype=int64]
        Position in ``values``; -1 where missing.
    values : tuple of str
    """

    codes: np.ndarray
    values: tuple[str, ...]


def metadata_columns(table: AnalysisTable) -> tuple[str, ...]:
    """Columns that may explain errors: all but names, texts, errors and the map."""
    return tuple(
        name
        for name in table.rows.column_names
        if name not in NAMES | OUTCOMES and not name.startswith(OUTCOME_PREFIXES)
    )


def is_number(table: AnalysisTable, name: str) -> bool:
    """Whether a column holds numbers."""
    kind = table.rows[name].type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def labels(table: AnalysisTable, name: str) -> Labels | None:
    """Read a column of text or booleans; None if it has too many distinct values, or too few."""
    column = table.rows[name]
    if pa.types.is_boolean(column.type):
        column = pc.if_else(column, "yes", "no")
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = tuple(encoded.dictionary.to_pylist())
    if not 1 < len(values) + bool(encoded.null_count) <= MAX_VALUES:
        return None
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return Labels(codes.astype(np.int64), values)
