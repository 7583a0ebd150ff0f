"""Columns as compact JSON: typed arrays in base64, repeated values through a dictionary.

A column with few distinct values (a profile's thresholds, a speaker, a sentence that returns under
every profile) costs one, two or four bytes per row. What ``scripts/data.js`` decodes, this writes.
"""

import base64
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MAX_NUMERIC_DICTIONARY = 256
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class EncodedArray:
    """A little-endian array: ``type`` is u1, u2, u4, i4, f4 or f8, ``data`` its bytes in base64."""

    type: str
    data: str


@dataclass(frozen=True)
class EncodedColumn:
    """One column of the table.

    Attributes
    ----------
    kind : str
        ``number`` or ``text`` (booleans are text: yes, no).
    array : EncodedArray
        The values, or where there is a ``dictionary``, the position of each row's value in it.
    dictionary : tuple, optional
        Distinct values; ``None`` among them stands for missing.
    """

    kind: str
    array: EncodedArray
    dictionary: tuple[str | int | float | None, ...] | None


def encode_column(column: pa.ChunkedArray) -> EncodedColumn:
    """Encode a column of numbers, booleans or anything that reads as text.

    Floating-point columns with more than 256 distinct values travel as 32-bit floats (seven
    digits); all others exactly.
    """
    if pa.types.is_boolean(column.type):
        return _encode_text(pc.if_else(column, "yes", "no"))
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _encode_numbers(column)
    return _encode_text(column.cast(pa.string()))


def encode_array(values: np.ndarray) -> EncodedArray:
    """Encode an array as it is, in little-endian order."""
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    name = f"{values.dtype.kind}{values.dtype.itemsize}"
    return EncodedArray(name, base64.b64encode(little.tobytes()).decode("ascii"))


def encode_confidences(confidences: list[list[float] | None]) -> EncodedColumn:
    """Encode a list of shares per row as text: a letter per word, from ``!`` (0) to ``}`` (1)."""
    texts = [None if row is None else "".join(map(_confidence_letter, row)) for row in confidences]
    return _encode_text(pa.chunked_array([pa.array(texts, pa.string())]))


def _confidence_letter(share: float | None) -> str:
    if share is None or not np.isfinite(share):
        return "~"
    return chr(ord("!") + round(92 * min(max(share, 0.0), 1.0)))


def _encode_text(column: pa.ChunkedArray) -> EncodedColumn:
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    dictionary = tuple(encoded.dictionary.to_pylist())
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return EncodedColumn("text", _encode_codes(codes, len(dictionary)), dictionary)


def _encode_numbers(column: pa.ChunkedArray) -> EncodedColumn:
    values = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) <= _MAX_NUMERIC_DICTIONARY and not np.isinf(distinct).any():
        dictionary = tuple(_plain(value) for value in distinct.tolist())
        return EncodedColumn("number", _encode_codes(codes, len(distinct)), dictionary)
    return EncodedColumn("number", encode_array(_compact(values, column.type)), None)


def _encode_codes(codes: np.ndarray, n_distinct: int) -> EncodedArray:
    return encode_array(codes.astype(np.min_scalar_type(max(n_distinct - 1, 0))))


def _plain(value: float) -> int | float | None:
    if np.isnan(value):
        return None
    return int(value) if value.is_integer() else value


def _compact(values: np.ndarray, kind: pa.DataType) -> np.ndarray:
    """Choose the smallest type that keeps whole numbers whole."""
    if pa.types.is_floating(kind):
        return values.astype(np.float32)
    if np.isnan(values).any() or values.min() < _INT32.min or values.max() > _INT32.max:
        return values
    return values.astype(np.int32)
