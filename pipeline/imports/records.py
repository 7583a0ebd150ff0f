"""The rows of a manifest: TSV, CSV or JSON Lines, read by ranges of bytes.

TSV is read without quoting, as Common Voice writes it; CSV with quotes, as spreadsheets do.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ClipError, InputError
from pipeline.imports.lines import each_line

DELIMITERS = ",;|"
JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
SUFFIXES = (".tsv", ".csv", *JSON_SUFFIXES)


@dataclass(frozen=True)
class Record:
    """Bytes of one row: where they begin in the file, the line they begin at, and what they are."""

    offset: int
    line_number: int
    content: bytes


@dataclass(frozen=True)
class Manifest:
    """A manifest file.

    Attributes
    ----------
    path : Path
    header : tuple of str
        Names of the columns; of JSON Lines, the keys of the first row.
    delimiter : str
        Between fields; empty for JSON Lines.
    """

    path: Path
    header: tuple[str, ...]
    delimiter: str

    def records(self) -> Iterator[Record]:
        """Read all rows, one after the other."""
        lines = self._lines()
        if self.delimiter:
            next(lines, None)
        join = _join_quoted if self.delimiter and self.delimiter != "\t" else _each
        yield from join(lines)

    def parse(self, content: bytes) -> Mapping[str, Any]:
        """Read the fields of one row.

        Raises
        ------
        ClipError
            If it is no row of this file.
        """
        try:
            text = content.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ClipError(f"not UTF-8 at byte {error.start}") from error
        return self._parse_json(text) if not self.delimiter else self._parse_fields(text)

    def _lines(self) -> Iterator[Record]:
        offset = 0
        for number, line in enumerate(each_line(self.path), 1):
            if line.strip():
                yield Record(offset, number, line)
            offset += len(line)

    def _parse_fields(self, text: str) -> Mapping[str, Any]:
        fields = text.split("\t") if self.delimiter == "\t" else _unquote(text, self.delimiter)
        if len(fields) != len(self.header):
            raise ClipError(f"{len(fields)} fields where the header has {len(self.header)}")
        return dict(zip(self.header, fields, strict=True))

    def _parse_json(self, text: str) -> Mapping[str, Any]:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ClipError(f"not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ClipError("not a JSON object")
        if "\\u" in text and not _is_text(row):
            raise ClipError("half of a character, which no text can hold")
        return row


def open_manifest(path: Path) -> Manifest:
    """Read the header of a manifest.

    Raises
    ------
    InputError
        If the file is empty, or its first line is none.
    """
    first = next(each_line(path), b"")
    is_json = path.suffix.lower() in JSON_SUFFIXES
    try:
        text = first.decode("utf-8-sig").rstrip("\r\n")
        if is_json:
            header = tuple(Manifest(path, (), "").parse(first))
            return Manifest(path, header, "")
        delimiter = "\t" if "\t" in text else max(DELIMITERS, key=text.count)
        header = tuple(text.split("\t") if delimiter == "\t" else _unquote(text, delimiter))
    except (ClipError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a manifest: its first line is {error}") from error
    if len(set(header)) != len(header):
        raise InputError(f"{path} has a column twice in its header: {', '.join(header)!r}")
    return Manifest(path, tuple(name.strip() for name in header), delimiter)


def _unquote(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error as error:
        raise ClipError(f"not CSV: {error}") from error


def _is_text(row: object) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _each(lines: Iterator[Record]) -> Iterator[Record]:
    return lines


def _join_quoted(lines: Iterator[Record]) -> Iterator[Record]:
    """Join lines while a quote is open: a field of CSV may hold line ends."""
    begun: Record | None = None
    for line in lines:
        begun = (
            line
            if begun is None
            else Record(begun.offset, begun.line_number, begun.content + line.content)
        )
        if begun.content.count(b'"') % 2 == 0 or len(begun.content) > csv.field_size_limit():
            yield begun
            begun = None
    if begun is not None:
        yield begun
