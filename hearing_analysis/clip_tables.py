"""What other stages found out about clips: one row per clip, joined by ``id``.

k-means, SSE and mining leave tables (Parquet or CSV) with a column ``id``, perhaps
``profile_name``, and figures. Numbers become metadata ``stage_<column>``; lists of numbers, all of
one length, become latent spaces. What a table does not say of a clip is missing, not zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipeline.errors import InputError, MissingPathError

ID, PROFILE = "id", "profile_name"
SUFFIXES = (".parquet", ".csv")
MOST_FIGURES = 500  # columns; with all others the platform takes 799
MOST_VECTORS = 8  # with ours the platform takes 10 latent spaces
LONGEST_VECTOR = 4096


@dataclass(frozen=True)
class ClipTable:
    """One table.

    Attributes
    ----------
    path : Path
    keys : pa.Table
        The columns ``id`` and, if there is one, ``profile_name``.
    numbers : Mapping[str, np.ndarray]
        Column -> float64 [shape=(rows,)], NaN where it says nothing.
    vectors : Mapping[str, np.ndarray]
        Column -> float32 [shape=(rows, width)], likewise.
    """

    path: Path
    keys: pa.Table
    numbers: Mapping[str, np.ndarray]
    vectors: Mapping[str, np.ndarray]

    def row(self, clip_id: str, profile: str) -> int | None:
        """Row of a sample; None if there is none."""
        return self._rows.get((clip_id, profile if PROFILE in self.keys.column_names else ""))

    @cached_property
    def _rows(self) -> dict[tuple[str, str], int]:
        ids = self.keys[ID].to_pylist()
        has_profiles = PROFILE in self.keys.column_names
        profiles = self.keys[PROFILE].to_pylist() if has_profiles else [""] * len(ids)
        return {key: row for row, key in enumerate(zip(ids, profiles, strict=True))}


@dataclass(frozen=True)
class ClipTables:
    """All tables together; no two have a column of the same name."""

    tables: tuple[ClipTable, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of numbers."""
        return tuple(name for table in self.tables for name in table.numbers)

    @property
    def vector_names(self) -> tuple[str, ...]:
        """Columns of vectors."""
        return tuple(name for table in self.tables for name in table.vectors)

    def figures(self, clip_id: str, profile: str) -> dict[str, float | None]:
        """Column -> number, for every column; None where nothing is known."""
        return {
            name: _number(values, row)
            for table in self.tables
            for row in (table.row(clip_id, profile),)
            for name, values in table.numbers.items()
        }

    def vector(self, name: str, clip_id: str, profile: str) -> np.ndarray:
        """Vector of a sample: float32 [shape=(width,)], NaN where nothing is known."""
        table = next(table for table in self.tables if name in table.vectors)
        row, vectors = table.row(clip_id, profile), table.vectors[name]
        return np.full(vectors.shape[1], np.nan, np.float32) if row is None else vectors[row]


NO_TABLES = ClipTables()


def open_clip_tables(paths: tuple[Path, ...]) -> ClipTables:
    """Read tables, or all tables of a folder.

    Raises
    ------
    MissingPathError, InputError
        If there is no table, or it cannot be joined.
    """
    files = [file for path in paths for file in _files(path)]
    tables = ClipTables(tuple(_read(file, file.stat().st_mtime_ns) for file in files))
    _check(tables)
    return tables


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if not found:
            raise InputError(f"{path} holds no {' or '.join(SUFFIXES)} file; see clip_tables")
        return found
    if not path.is_file():
        raise MissingPathError(
            f"{path} does not exist; make it, or take it out of clip_tables in conf/analysis.yaml"
        )
    return [path]


@lru_cache(maxsize=16)
def _read(path: Path, modified_ns: int) -> ClipTable:
    """Read one table; ``modified_ns`` only tells when it has to be read again."""
    table = _load(path)
    if ID not in table.column_names:
        raise InputError(f"{path} has no column {ID!r}; it has: {', '.join(table.column_names)}")
    keys = table.select([name for name in (ID, PROFILE) if name in table.column_names])
    keys = pa.table({name: keys[name].cast(pa.string()) for name in keys.column_names})
    _check_keys(path, keys)
    others = [name for name in table.column_names if name not in keys.column_names]
    return ClipTable(
        path,
        keys,
        {name: _numbers(table[name]) for name in others if _is_number(table[name].type)},
        {name: _vectors(path, name, table[name]) for name in others if _is_list(table[name].type)},
    )


def _load(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
        else:
            # An id is never a number: "0012" is not 12.
            kinds = dict.fromkeys((ID, PROFILE), pa.string())
            texts = pyarrow.csv.ConvertOptions(column_types=kinds)
            table = pyarrow.csv.read_csv(path, convert_options=texts)
        table.validate(full=True)
        table.column_names  # noqa: B018, which may be no text
        return table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} cannot be read as a table ({reason})") from error


def _check_keys(path: Path, keys: pa.Table) -> None:
    counts = keys.group_by(keys.column_names).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1))
    if twice.num_rows:
        raise InputError(
            f"{path} has more than one row for clip {twice[ID][0].as_py()!r}; "
            "a clip table has one row per clip, or per clip and profile_name"
        )


def _check(tables: ClipTables) -> None:
    owners: dict[str, Path] = {}
    for table in tables.tables:
        for name in (*table.numbers, *table.vectors):
            if name in owners:
                raise InputError(
                    f"{owners[name]} and {table.path} both have a column {name!r}; rename one"
                )
            owners[name] = table.path
    for what, names, most in (
        ("columns of numbers", tables.names, MOST_FIGURES),
        ("columns of vectors", tables.vector_names, MOST_VECTORS),
    ):
        if len(names) > most:
            raise InputError(f"the clip tables have {len(names)} {what}; at most {most} fit")


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_list(kind: pa.DataType) -> bool:
    nested = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    return (nested or pa.types.is_large_list(kind)) and _is_number(kind.value_type)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()


def _vectors(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    lengths = pc.list_value_length(column)
    width = pc.max(lengths).as_py() or 0
    if pc.min(lengths).as_py() != width or not 0 < width <= LONGEST_VECTOR:
        raise InputError(
            f"{path}: the vectors in {name!r} must all have the same length, "
            f"from 1 to {LONGEST_VECTOR}"
        )
    known = pc.is_valid(column).to_numpy()
    vectors = np.full((len(column), width), np.nan, np.float32)
    flat = pc.list_flatten(column.combine_chunks()).cast(pa.float32())
    vectors[known] = pc.fill_null(flat, np.nan).to_numpy(zero_copy_only=False).reshape(-1, width)
    return vectors


def _number(values: np.ndarray, row: int | None) -> float | None:
    return None if row is None or np.isnan(values[row]) else float(values[row])
