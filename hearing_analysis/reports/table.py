"""Read ``analysis.parquet``: the light columns at once, audio and vectors a few rows at a time."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hearing_analysis.metrics import COLUMNS as METRIC_COLUMNS
from pipeline.errors import InputError, MissingPathError

REFERENCE_PROFILE = "normal"  # what the other profiles are compared with
SPLIT_ORDER = ("test", "validation", "train", "training")
TEXT_COLUMNS = ("id", "profile_name", "split", "model", "sentence", "reference", "hypothesis")
REQUIRED_COLUMNS = (*TEXT_COLUMNS, *METRIC_COLUMNS, "ctc_loss", "x", "y")
DURATION_COLUMN = "audio_duration_s"  # optional: without it the page shows no minutes
_AUDIO_ROWS = 64  # rows of audio held in memory at once
_LATENT_ROWS = 4096  # rows of latent vectors, likewise
CONFIDENCE_COLUMN = "word_confidence"  # optional: a list of numbers, one per recognised word


@dataclass(frozen=True)
class AnalysisTable:
    """One or several analysis tables without their nested columns (audio, latent).

    Attributes
    ----------
    paths : tuple of Path
        The files, which still hold the audio, in the order of their rows.
    rows : pa.Table
        A row per sample: a clip under one profile, heard by one model.
    """

    paths: tuple[Path, ...]
    rows: pa.Table

    @property
    def path(self) -> Path:
        """The file, or the first of several."""
        return self.paths[0]

    @property
    def n_rows(self) -> int:
        """Number of samples."""
        return self.rows.num_rows

    @property
    def n_clips(self) -> int:
        """Number of distinct clips."""
        return int(self.clips.max()) + 1

    @cached_property
    def clips(self) -> np.ndarray:
        """Which clip each row is, counted from 0 in order of appearance: int32 [shape=(rows,)].

        The same id in two splits means two clips.
        """
        keys = zip(self.texts("split"), self.texts("id"), strict=True)
        seen: dict[tuple[str, str], int] = {}
        return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int32)

    @cached_property
    def profiles(self) -> tuple[str, ...]:
        """Profile names, the reference first, the others in order of appearance."""
        return _ordered(self.texts("profile_name"), (REFERENCE_PROFILE,))

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Model names in order of appearance."""
        return _ordered(self.texts("model"), ())

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Split names, the test split first."""
        return _ordered(self.texts("split"), SPLIT_ORDER)

    def texts(self, name: str) -> list[str]:
        """Return one of `TEXT_COLUMNS`."""
        return self.rows[name].to_pylist()

    def numbers(self, name: str) -> np.ndarray:
        """Return a numeric column, missing values NaN: float64 [shape=(rows,)]."""
        column = self.rows[name].cast(pa.float64())
        return pc.fill_null(column, float("nan")).to_numpy().astype(np.float64)

    def durations_s(self) -> np.ndarray | None:
        """Seconds of audio per row: float64 [shape=(rows,)]; None when the table does not say."""
        return self.numbers(DURATION_COLUMN) if DURATION_COLUMN in self.rows.column_names else None

    def has_audio(self) -> np.ndarray:
        """Which rows have audio: bool [shape=(rows,)]."""
        found = [pc.is_valid(batch).to_numpy(zero_copy_only=False) for batch in self._audio()]
        return np.concatenate(found) if found else np.zeros(self.n_rows, dtype=bool)

    def audio_of(self, rows: Collection[int]) -> dict[int, bytes]:
        """Return the audio files (FLAC) of some rows; rows without audio are left out.

        Only the row groups that hold them are read.
        """
        wanted, start = np.array(sorted(rows), dtype=np.int64), 0
        audio: dict[int, bytes] = {}
        for path in self.paths:
            with pq.ParquetFile(path) as parquet:
                last = start + parquet.metadata.num_rows
                here = wanted[(wanted >= start) & (wanted < last)] - start
                for row, content in _audio_in(parquet, here):
                    audio[start + row] = content
                start = last
        return audio

    def latent_batches(self) -> Iterator[np.ndarray]:
        """Walk through the latent vectors in row order: float32 [shape=(some rows, d)].

        Nothing when a file has none. Files of different models may differ in ``d``.
        """
        if not self.has_latents:
            return
        for path in self.paths:
            with pq.ParquetFile(path) as parquet:
                for batch in parquet.iter_batches(_LATENT_ROWS, columns=["latent"]):
                    column = batch.column("latent")
                    flat = column.flatten().to_numpy(zero_copy_only=False)
                    yield flat.astype(np.float32, copy=False).reshape(len(column), -1)

    @cached_property
    def has_latents(self) -> bool:
        """Whether every row has a latent vector."""
        return all(_has_vectors(path) for path in self.paths)

    def latents(self, rows: np.ndarray) -> np.ndarray:
        """Latent vectors of some rows of one model: float32 [shape=(n, d)], in ascending order."""
        wanted, start, found = np.sort(rows), 0, []
        for batch in self.latent_batches():
            first, last = np.searchsorted(wanted, [start, start + len(batch)])
            if last > first:
                found.append(batch[wanted[first:last] - start])
            start += len(batch)
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    def confidences(self) -> list[list[float] | None] | None:
        """Confidence of each recognised word, row by row; None when the table has none."""
        found: list[list[float] | None] = []
        for path in self.paths:
            if CONFIDENCE_COLUMN not in pq.read_schema(path).names:
                return None
            column = pq.read_table(path, columns=[CONFIDENCE_COLUMN])[CONFIDENCE_COLUMN]
            if not pa.types.is_list(column.type):
                return None
            found += column.to_pylist()
        return found

    def _audio(self) -> Iterator[pa.Array]:
        """Walk through the encoded audio in row order, ``_AUDIO_ROWS`` at a time."""
        for path in self.paths:
            with pq.ParquetFile(path) as parquet:
                if not _has_audio(parquet.schema_arrow):
                    yield pa.nulls(parquet.metadata.num_rows, pa.binary())
                    continue
                for batch in parquet.iter_batches(_AUDIO_ROWS, columns=["audio"]):
                    yield pc.struct_field(batch.column("audio"), "bytes")


def read_tables(paths: Sequence[Path]) -> AnalysisTable:
    """Open several analysis tables as one, such as those of two models.

    Models of the same name are told apart by the folders of their tables. A column that some of
    the tables lack is missing there.

    Raises
    ------
    MissingPathError, InputError
        As `read_table`; or if a table is named twice, or a column has texts here, numbers there.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"{paths[0]} is named twice; name tables that differ")
    tables = [read_table(path) for path in paths]
    if len(tables) == 1:
        return tables[0]
    named = [_rename_models(table, tables) for table in tables]
    try:
        rows = pa.concat_tables(
            [table.rows.replace_schema_metadata(None) for table in named],
            promote_options="permissive",
        )
    except pa.ArrowTypeError as error:
        raise InputError(f"{paths[0]} and {paths[1]} do not fit together: {error}") from error
    return AnalysisTable(tuple(paths), rows.combine_chunks())


def _rename_models(table: AnalysisTable, others: Sequence[AnalysisTable]) -> AnalysisTable:
    shared = {name for other in others if other is not table for name in other.models}
    if not shared & set(table.models):
        return table
    folder = table.path.resolve().parent.name
    twins = [other for other in others if other.path.resolve().parent.name == folder]
    suffix = folder if len(twins) == 1 else str(table.path)
    names = [f"{name} ({suffix})" if name in shared else name for name in table.texts("model")]
    position = table.rows.column_names.index("model")
    return replace(table, rows=table.rows.set_column(position, "model", pa.array(names)))


def read_table(path: Path) -> AnalysisTable:
    """Open an analysis table.

    Raises
    ------
    MissingPathError
        If the file does not exist.
    InputError
        If it is not a Parquet file, has no rows, or lacks a column the dashboard needs.
    """
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; write it with: analyze run")
    try:
        schema = pq.read_schema(path)
        names = schema.names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a Parquet file; write one with: analyze run") from error
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}; write it again with: analyze run"
        )
    try:
        light = [field.name for field in schema if _is_light(field.type)]
        rows = pq.read_table(path, columns=light)
        rows.validate(full=True)
        for name in TEXT_COLUMNS:
            texts = pc.fill_null(rows[name].cast(pa.string()), "")
            rows = rows.set_column(rows.column_names.index(name), name, texts)
    except (pa.ArrowException, OSError, KeyError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is damaged ({reason}); write it again with: analyze run"
        ) from error
    if not rows.num_rows:
        raise InputError(f"{path} has no rows; evaluate at least one clip with: analyze run")
    return AnalysisTable((path,), rows.combine_chunks())


def _audio_in(parquet: pq.ParquetFile, rows: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """Walk through the audio of some rows of a file, given in ascending order."""
    if not _has_audio(parquet.schema_arrow):
        return
    first = 0
    for group in range(parquet.num_row_groups):
        after = first + parquet.metadata.row_group(group).num_rows
        inside = rows[(rows >= first) & (rows < after)]
        if len(inside):
            start = first
            for batch in parquet.iter_batches(_AUDIO_ROWS, [group], columns=["audio"]):
                audio = pc.struct_field(batch.column("audio"), "bytes")
                for row in inside[(inside >= start) & (inside < start + len(batch))].tolist():
                    if audio[row - start].is_valid:
                        yield row, audio[row - start].as_py()
                start += len(batch)
        first = after


def _has_audio(schema: pa.Schema) -> bool:
    return "audio" in schema.names and pa.types.is_struct(schema.field("audio").type)


def _has_vectors(path: Path) -> bool:
    schema = pq.read_schema(path)
    if "latent" not in schema.names or not pa.types.is_list(schema.field("latent").type):
        return False
    with pq.ParquetFile(path) as parquet:
        return all(
            batch.column("latent").null_count == 0
            for batch in parquet.iter_batches(_LATENT_ROWS, columns=["latent"])
        )


def _is_light(kind: pa.DataType) -> bool:
    """Neither vectors nor files."""
    binary = (pa.types.is_binary(kind), pa.types.is_large_binary(kind))
    return not (pa.types.is_nested(kind) or any(binary))


def _ordered(values: list[str], first: tuple[str, ...]) -> tuple[str, ...]:
    present = dict.fromkeys(values)
    return tuple(sorted(present, key=lambda v: first.index(v) if v in first else len(first)))
