"""Everything the page shows but the audio, as one JSON object and one more for each column."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hearing_analysis import spectrogram
from hearing_analysis.dashboard.alignment import word_operations
from hearing_analysis.dashboard.encoding import (
    EncodedArray,
    EncodedColumn,
    encode_array,
    encode_column,
    encode_confidences,
)
from hearing_analysis.dashboard.latents import LatentContent, latent_content
from hearing_analysis.dashboard.mining import Mining, MiningSummary
from hearing_analysis.dashboard.neighbourhoods import Neighbourhoods
from hearing_analysis.insights import (
    DomainGap,
    DoubtfulTranscript,
    DuplicatePairs,
    WeakGroup,
    domain_gaps,
    doubtful_transcripts,
    find_duplicates,
    weak_groups,
)
from hearing_analysis.reports.clusters import Clustering, describe_clusters
from hearing_analysis.reports.columns import Description, describe
from hearing_analysis.reports.comparison import Comparison, compare_models
from hearing_analysis.reports.descriptions import FIGURES, attenuation_frequency_hz
from hearing_analysis.reports.figures import GroupFigures, overview
from hearing_analysis.reports.groups import MAX_VALUES
from hearing_analysis.reports.phones import CLASS_NAMES, count_phones
from hearing_analysis.reports.table import (
    DURATION_COLUMN,
    REFERENCE_PROFILE,
    AnalysisTable,
)

_CATEGORIES = ("cluster",)  # numbers that only name


@dataclass(frozen=True)
class PageColumn:
    """A column with what the page needs to show it; ``role``: number, category or text."""

    name: str
    role: str
    known: bool
    description: Description


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
class Insights:
    """What was found automatically."""

    weak_groups: tuple[WeakGroup, ...]
    domain_gaps: tuple[DomainGap, ...]
    duplicates: tuple[DuplicatePairs, ...]
    transcripts: tuple[DoubtfulTranscript, ...]


@dataclass(frozen=True)
class PageContent:
    """What the page shows.

    Attributes
    ----------
    neighbourhoods : Neighbourhoods, optional
        Whose neighbours masked words become, where that was measured.
    mining : MiningSummary, optional
        Which clips no longer find themselves, where that was mined.
    audio_source : str
        ``page``, ``folder`` or ``server``: where sounds come from.
    clips_with_audio : tuple of int
        Clips that can be listened to.
    heavy : dict
        What the page reads when it is first needed: ``column-<i>`` the values of column i,
        ``clips`` which clip each row is (i4), ``operations`` the word alignment of each row (see
        `alignment.word_operations`), ``phones``, ``latents``, ``confidences``, ``mining``.
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
    overview: tuple[GroupFigures, ...]
    comparisons: tuple[Comparison, ...]
    clusterings: tuple[Clustering, ...]
    insights: Insights
    audiograms: tuple[Audiogram, ...]
    neighbourhoods: Neighbourhoods | None
    mining: MiningSummary | None
    audio_source: str
    clips_with_audio: tuple[int, ...]
    spectrogram: SpectrogramScale
    definitions: dict[str, str]
    heavy: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists, without what is heavy."""
        return {name: value for name, value in asdict(self).items() if name != "heavy"}

    def heavy_as_json(self) -> dict[str, Any]:
        """Element -> what is in it."""
        return {name: asdict(value) for name, value in self.heavy.items() if value is not None}


@dataclass(frozen=True)
class EncodedPhones:
    """Phones said and recognised: u1 [shape=(rows * classes,)] each."""

    classes: tuple[str, ...]
    in_dictionary: float
    said: EncodedArray
    recognised: EncodedArray


def page_content(
    table: AnalysisTable,
    clips_with_audio: Sequence[int],
    *,
    version: str,
    audio_source: str = "page",
    neighbourhoods: Neighbourhoods | None = None,
    mining: Mining | None = None,
) -> PageContent:
    """Gather the content of the page."""
    names = table.rows.column_names
    values = {name: _values(table, name) for name in names}
    return PageContent(
        version=version,
        n_rows=table.n_rows,
        n_clips=table.n_clips,
        reference_profile=REFERENCE_PROFILE,
        profiles=table.profiles,
        models=table.models,
        splits=table.splits,
        duration_column=DURATION_COLUMN if DURATION_COLUMN in names else None,
        columns=tuple(_column(name, values[name]) for name in names),
        overview=overview(table),
        comparisons=compare_models(table),
        clusterings=describe_clusters(table),
        insights=Insights(
            weak_groups(table),
            domain_gaps(table),
            find_duplicates(table),
            doubtful_transcripts(table),
        ),
        audiograms=_audiograms(table),
        neighbourhoods=neighbourhoods,
        mining=None if mining is None else mining.summary,
        audio_source=audio_source,
        clips_with_audio=tuple(clips_with_audio),
        spectrogram=SpectrogramScale(
            spectrogram.FLOOR_DBFS, spectrogram.CEILING_DBFS, spectrogram.PALETTE
        ),
        definitions=FIGURES,
        heavy={
            **_heavy(table, list(values.values())),
            "mining": None if mining is None else mining.rows,
        },
    )


def _heavy(table: AnalysisTable, values: list[EncodedColumn]) -> dict[str, Any]:
    references, hypotheses = table.texts("reference"), table.texts("hypothesis")
    latent: LatentContent = latent_content(table)
    confidences = table.confidences()
    return {
        "clips": encode_array(table.clips),
        "operations": encode_column(pa.chunked_array([word_operations(references, hypotheses)])),
        "phones": _phones(references, hypotheses),
        "latent": latent,
        "confidences": None if confidences is None else encode_confidences(confidences),
        **{f"column-{i}": column for i, column in enumerate(values)},
    }


def _phones(references: list[str], hypotheses: list[str]) -> EncodedPhones:
    counts = count_phones(references, hypotheses)
    said, recognised = (encode_array(part.ravel()) for part in (counts.said, counts.recognised))
    return EncodedPhones(CLASS_NAMES, counts.in_dictionary, said, recognised)


def _values(table: AnalysisTable, name: str) -> EncodedColumn:
    column = table.rows[name]
    return encode_column(column.cast(pa.string()) if name in _CATEGORIES else column)


def _column(name: str, values: EncodedColumn) -> PageColumn:
    few = values.dictionary is not None and len(values.dictionary) <= MAX_VALUES
    role = values.kind if values.kind == "number" or not few else "category"
    description = describe(name)
    return PageColumn(name, role, bool(description.kind), description)


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
