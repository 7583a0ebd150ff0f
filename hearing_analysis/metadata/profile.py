"""Which hearing a clip was filtered through: the audiogram in numbers and in a word."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.masking.profiles import HearingProfile

OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
PURE_TONE_AVERAGE_HZ = (500, 1000, 2000, 4000)

# World report on hearing (WHO, 2021), table 1.1: grade and the average it starts at, in dB HL.
SEVERITY_FROM_DB = (
    ("complete", 95.0),
    ("profound", 80.0),
    ("severe", 65.0),
    ("moderately_severe", 50.0),
    ("moderate", 35.0),
    ("mild", 20.0),
)

TYPES: dict[str, type] = {
    "name": str,
    **{f"attenuation_db_{frequency_hz}_hz": float for frequency_hz in OCTAVES_HZ},
    "pure_tone_average_db": float,
    "severity": str,
}


def profile_metadata(profile: "HearingProfile") -> dict[str, float | str | None]:
    """Describe one hearing profile.

    Parameters
    ----------
    profile : HearingProfile
        Its thresholds are read at the octaves as audiograms are: straight lines over the logarithm
        of frequency, constant beyond the outermost points.

    Returns
    -------
    dict[str, float | str | None]
        The keys of `TYPES`, always, in that order. ``pure_tone_average_db`` is the mean at 0.5, 1,
        2 and 4 kHz; ``severity`` is its grade by the World Health Organization.
    """
    average_db = float(_thresholds_db(profile, PURE_TONE_AVERAGE_HZ).mean())
    attenuation_db = _thresholds_db(profile, OCTAVES_HZ)
    return {
        "name": profile.name,
        **{
            f"attenuation_db_{frequency_hz}_hz": float(value)
            for frequency_hz, value in zip(OCTAVES_HZ, attenuation_db, strict=True)
        },
        "pure_tone_average_db": average_db,
        "severity": severity(average_db),
    }


def severity(pure_tone_average_db: float) -> str:
    """Grade of a hearing loss, from ``none`` to ``complete``; a grade includes its lower limit."""
    for grade, from_db in SEVERITY_FROM_DB:
        if pure_tone_average_db >= from_db:
            return grade
    return "none"


def _thresholds_db(profile: "HearingProfile", at_hz: tuple[int, ...]) -> np.ndarray:
    return np.interp(np.log2(at_hz), np.log2(profile.frequencies_hz), profile.thresholds_db_hl)
