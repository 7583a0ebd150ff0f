"""Which hearing a clip was filtered through: the audiogram in numbers and in a word."""

from pipeline.masking.profiles import HearingProfile
from pipeline.masking.severity import pure_tone_average, thresholds_at, who_grade

OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)

TYPES: dict[str, type] = {
    "name": str,
    **{f"attenuation_db_{frequency_hz}_hz": float for frequency_hz in OCTAVES_HZ},
    "pure_tone_average_db": float,
    "severity": str,
}


def profile_metadata(profile: HearingProfile) -> dict[str, float | str | None]:
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
        2 and 4 kHz; ``severity`` is its grade by the World Health Organization, see
        :mod:`pipeline.masking.severity`.
    """
    average_db = pure_tone_average(profile)
    attenuation_db = thresholds_at(profile, tuple(map(float, OCTAVES_HZ)))
    return {
        "name": profile.name,
        **{
            f"attenuation_db_{frequency_hz}_hz": float(value)
            for frequency_hz, value in zip(OCTAVES_HZ, attenuation_db, strict=True)
        },
        "pure_tone_average_db": average_db,
        "severity": who_grade(average_db),
    }
