"""Metadata of a sample: five handlers, four of them pure functions of it with keys of known types.

=========== ========================================== ==================================
handler     function                                   what it tells
=========== ========================================== ==================================
``profile`` `~.profile.profile_metadata`               the hearing it was filtered through
``audio``   `~.audio.audio_metadata`                   level, pauses, spectral descriptors
``text``    `~.text.text_metadata`                     lengths, characters, readability
``clip``    `~.clip.clip_metadata`                     speaker, accent, gain, speaking rate
``stage``   `hearing_analysis.clip_tables`             figures that other stages left
=========== ========================================== ==================================

A column is called ``<handler>_<key>``, on the platform as in ``analysis.parquet``. Values are never
rounded, audio is described without padding, and None means that there is nothing to tell.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hearing_analysis.metadata import audio, clip, profile, text
from hearing_analysis.metadata.audio import audio_metadata
from hearing_analysis.metadata.clip import clip_metadata
from hearing_analysis.metadata.profile import profile_metadata
from hearing_analysis.metadata.text import text_metadata

if TYPE_CHECKING:
    from pipeline.masking.profiles import HearingProfile

__all__ = [
    "HANDLERS",
    "STAGE",
    "audio_metadata",
    "clip_metadata",
    "column_types",
    "profile_metadata",
    "sample_metadata",
    "text_metadata",
]

STAGE = "stage"
# Handler -> key -> type, in the order of the columns.
HANDLERS: dict[str, dict[str, type]] = {
    "profile": profile.TYPES,
    "audio": audio.TYPES,
    "text": text.TYPES,
    "clip": clip.TYPES,
}


def column_types(stage_figures: tuple[str, ...] = ()) -> dict[str, type]:
    """Column -> float, int or str, for every column of `sample_metadata`, in its order."""
    handlers: dict[str, dict[str, type]] = {**HANDLERS, STAGE: dict.fromkeys(stage_figures, float)}
    return {
        f"{handler}_{key}": kind for handler, keys in handlers.items() for key, kind in keys.items()
    }


def sample_metadata(
    *,
    profile: "HearingProfile",
    waveform: np.ndarray,
    sampling_rate: int,
    columns: Mapping[str, Any],
    masked: bool = True,
    stage_figures: Mapping[str, float | None] | None = None,
) -> dict[str, float | int | str | None]:
    """All metadata of one sample.

    Parameters
    ----------
    profile : HearingProfile
        What the clip was filtered through.
    waveform : np.ndarray [shape=(n,), dtype=float32]
        The filtered clip, unpadded.
    sampling_rate : int
        In Hz.
    columns : Mapping[str, Any]
        The clip's row of the corpus; its ``sentence`` is what ``text_*`` describes.
    masked : bool
        Whether the profile was applied as an attenuation; else there is no ``audio_audibility``.
    stage_figures : Mapping[str, float or None], optional
        What other stages found out.

    Returns
    -------
    dict[str, float | int | str | None]
        ``<handler>_<key>`` -> value, always the columns of `column_types`, in its order.
    """
    described: dict[str, Mapping[str, float | int | str | None]] = {
        "profile": profile_metadata(profile),
        "audio": audio_metadata(waveform, sampling_rate, profile if masked else None),
        "text": text_metadata(columns.get("sentence") or ""),
        "clip": clip_metadata(columns),
        STAGE: stage_figures or {},
    }
    return {
        f"{handler}_{key}": value
        for handler, values in described.items()
        for key, value in values.items()
    }
