"""Read ``analysis.parquet``: the light columns at once, the audio a few rows at a time."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class AnalysisTable:
    """An analysis table without its nested columns (audio, latent).

    Attributes
    ----------
    path : Path
        The file, which still holds the audio.
    rows : pa.Table
        A row per sample: a clip under one profile, heard by one model.
    """

    path: Path
    rows: pa.Table

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
        """Return the audio files (FLAC) of some rows; rows without audio are left out."""
        wanted, start = np.array(sorted(rows), dtype=np.int64), 0
        audio: dict[int, bytes] = {}
        for batch in self._audio():
            here = wanted[(wanted >= start) & (wanted < start + len(batch))]
            for row in here.tolist():
                if batch[row - start].is_valid:
                    audio[row] = batch[row - start].as_py()
            start += len(batch)
        return audio

    def _audio(self) -> Iterator[pa.Array]:
        """Walk through the encoded audio in row order, ``_AUDIO_ROWS`` at a time."""
        with pq.ParquetFile(self.path) as parquet:
            if "audio" not in parquet.schema_arrow.names:
                return
            for batch in parquet.iter_batches(_AUDIO_ROWS, columns=["audio"]):
                yield pc.struct_field(batch.column("audio"), "bytes")


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
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file; write one with: analyze run") from error
    missing = [name for name in REQUIRED_COLUMNS if name not in schema.names]
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}; write it again with: analyze run"
        )
    rows = pq.read_table(path, columns=[field.name for field in schema if _is_light(field.type)])
    if not rows.num_rows:
        raise InputError(f"{path} has no rows; evaluate at least one clip with: analyze run")
    for name in TEXT_COLUMNS:
        texts = pc.fill_null(rows[name].cast(pa.string()), "")
        rows = rows.set_column(rows.column_names.index(name), name, texts)
    return AnalysisTable(path, rows.combine_chunks())


def _is_light(kind: pa.DataType) -> bool:
    """Neither vectors nor files."""
    binary = (pa.types.is_binary(kind), pa.types.is_large_binary(kind))
    return not (pa.types.is_nested(kind) or any(binary))


def _ordered(values: list[str], first: tuple[str, ...]) -> tuple[str, ...]:
    present = dict.fromkeys(values)
    return tuple(sorted(present, key=lambda v: first.index(v) if v in first else len(first)))
