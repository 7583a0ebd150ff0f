"""How severe a loss is, in the words of two standards, from its pure-tone average.

WHO: World Health Organization (2021), World report on hearing, table 1.3: thresholds at 500, 1,000,
2,000 and 4,000 Hz of the better ear. BSA: British Society of Audiology (2018), Recommended
procedure, pure-tone air-conduction and bone-conduction threshold audiometry: 250, 500, 1,000, 2,000
and 4,000 Hz. Both are means in dB HL.
"""

import numpy as np

from pipeline.masking.profiles import HearingProfile

WHO_HZ = (500.0, 1000.0, 2000.0, 4000.0)
BSA_HZ = (250.0, 500.0, 1000.0, 2000.0, 4000.0)
# From this average on, in dB HL.
WHO_GRADES = (
    (95.0, "complete"),
    (80.0, "profound"),
    (65.0, "severe"),
    (50.0, "moderately_severe"),
    (35.0, "moderate"),
    (20.0, "mild"),
)
# Above this average, in dB HL.
BSA_DESCRIPTORS = ((95.0, "profound"), (70.0, "severe"), (40.0, "moderate"), (20.0, "mild"))
NONE = "none"


def thresholds_at(profile: HearingProfile, frequencies_hz: tuple[float, ...]) -> np.ndarray:
    """Read an audiogram at some frequencies, as it is drawn: straight lines over octaves.

    Parameters
    ----------
    profile : HearingProfile
    frequencies_hz : tuple of float

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        In dB HL; constant beyond the first and last point.
    """
    points = np.log2(profile.frequencies_hz)
    return np.interp(np.log2(frequencies_hz), points, profile.thresholds_db_hl)


def pure_tone_average(profile: HearingProfile, frequencies_hz: tuple[float, ...] = WHO_HZ) -> float:
    """Mean threshold in dB HL, by default over the four frequencies of the WHO."""
    return float(thresholds_at(profile, frequencies_hz).mean())


def who_grade(average_db_hl: float) -> str:
    """Grade of hearing loss by WHO (2021): ``none`` below 20 dB HL, up to ``complete``."""
    return next((name for lowest, name in WHO_GRADES if average_db_hl >= lowest), NONE)


def bsa_descriptor(average_db_hl: float) -> str:
    """Descriptor of hearing loss by BSA (2018): ``none`` up to 20 dB HL, up to ``profound``."""
    return next((name for highest, name in BSA_DESCRIPTORS if average_db_hl > highest), NONE)
