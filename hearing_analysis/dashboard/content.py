"""Everything the page shows but the audio, as one JSON object."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hearing_analysis import spectrogram
from hearing_analysis.dashboard.alignment import word_operations
from hearing_analysis.dashboard.descriptions import (
    FIGURES,
    Description,
    attenuation_frequency_hz,
    describe,
)
from hearing_analysis.dashboard.encoding import (
    EncodedArray,
    EncodedColumn,
    encode_array,
    encode_column,
)
from hearing_analysis.figures import GroupFigures, overview
from hearing_analysis.table import (
    DURATION_COLUMN,
    REFERENCE_PROFILE,
    AnalysisTable,
)

_CATEGORIES = ("cluster",)  # numbers that only name
_MAX_CATEGORIES = 64  # a text column with more distinct values is free text


@dataclass(frozen=True)
class PageColumn:
    """A column with what the page needs to show it; ``role``: number, category or text."""

    name: str
    role: str
    description: Description
    values: EncodedColumn


@dataclass(frozen=True)
class Audiogram:
    """Thresholds of one profile."""

    profile: str
    frequencies_hz: tuple[int, ...]
    thresholds_db_hl: tuple[float, ...]


@dataclass(frozen=True)
class SpectrogramScale:
    """How the spectrogram pictures are to be read."""

    floor_dbfs: float
    ceiling_dbfs: float
    palette: tuple[str, ...]


@dataclass(frozen=True)
class PageContent:
    """What the page shows.

    Attributes
    ----------
    clips : EncodedArray
        Which clip each row is: i4 [shape=(rows,)].
    operations : EncodedColumn
        Word alignment of each row, see `alignment.word_operations`.
    clips_with_audio : tuple of int
        Clips that have an element ``clip-<number>``.
    """

    version: str
    n_rows: int
    n_clips: int
    reference_profile: str
    profiles: tuple[str, ...]
    models: tuple[str, ...]
    splits: tuple[str, ...]
    duration_column: str | None
    columns: tuple[PageColumn, ...]
    clips: EncodedArray
    operations: EncodedColumn
    overview: tuple[GroupFigures, ...]
    audiograms: tuple[Audiogram, ...]
    clips_with_audio: tuple[int, ...]
    spectrogram: SpectrogramScale
    definitions: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        return asdict(self)


def page_content(
    table: AnalysisTable, clips_with_audio: Sequence[int], *, version: str
) -> PageContent:
    """Gather the content of the page."""
    names = table.rows.column_names
    operations = word_operations(table.texts("reference"), table.texts("hypothesis"))
    return PageContent(
        version=version,
        n_rows=table.n_rows,
        n_clips=table.n_clips,
        reference_profile=REFERENCE_PROFILE,
        profiles=table.profiles,
        models=table.models,
        splits=table.splits,
        duration_column=DURATION_COLUMN if DURATION_COLUMN in names else None,
        columns=tuple(_column(table, name) for name in names),
        clips=encode_array(table.clips),
        operations=encode_column(pa.chunked_array([operations])),
        overview=overview(table),
        audiograms=_audiograms(table),
        clips_with_audio=tuple(clips_with_audio),
        spectrogram=SpectrogramScale(
            spectrogram.FLOOR_DBFS, spectrogram.CEILING_DBFS, spectrogram.PALETTE
        ),
        definitions=FIGURES,
    )


def _column(table: AnalysisTable, name: str) -> PageColumn:
    column = table.rows[name]
    values = encode_column(column.cast(pa.string()) if name in _CATEGORIES else column)
    few = values.dictionary is not None and len(values.dictionary) <= _MAX_CATEGORIES
    role = values.kind if values.kind == "number" or not few else "category"
    return PageColumn(name, role, describe(name), values)


def _audiograms(table: AnalysisTable) -> tuple[Audiogram, ...]:
    """Read each profile's thresholds off its first row."""
    found = {attenuation_frequency_hz(name): name for name in table.rows.column_names}
    columns = sorted((hz, name) for hz, name in found.items() if hz is not None)
    names = np.array(table.texts("profile_name"))
    audiograms = []
    for profile in table.profiles:
        row = int(np.flatnonzero(names == profile)[0])
        points = [(hz, table.numbers(name)[row]) for hz, name in columns]
        points = [(hz, level) for hz, level in points if np.isfinite(level)]
        if points:
            frequencies, levels = zip(*points, strict=True)
            audiograms.append(Audiogram(profile, frequencies, tuple(map(float, levels))))
    return tuple(audiograms)
