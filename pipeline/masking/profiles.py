"""Hearing profiles: what is known of an ear, as numbers.

``normal``, ``lfloss`` and ``hfloss`` are the three profiles of the pilot study this project grew
from. N1 to N7 (flat and moderately sloping) and S1 to S3 (steep) are the standard audiograms of
Bisgaard, Vlaming & Dahlquist (2010), Trends in Amplification 14(2):113-120, also in IEC 60118-15.
``flat40`` and the like are one threshold at all frequencies. Any other comes from a file
(:mod:`pipeline.masking.audiograms`).
"""

import re
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.errors import InputError

# Audiometric frequencies in Hz, one octave apart.
OCTAVES_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
LOWEST_DB_HL, HIGHEST_DB_HL = -20.0, 140.0
# A profile's name becomes part of a folder's.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FLAT = re.compile(r"flat(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class HearingProfile:
    """Hearing thresholds over frequency.

    Attributes
    ----------
    name : str
        Letters, digits, ``.``, ``_`` and ``-``.
    frequencies_hz : tuple of float
        Ascending, at least one.
    thresholds_db_hl : tuple of float
        As many, in dB hearing level.
    source : str
        Where the numbers come from.

    Raises
    ------
    InputError
        If the numbers cannot be an audiogram.
    """

    name: str
    frequencies_hz: tuple[float, ...]
    thresholds_db_hl: tuple[float, ...]
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be an audiogram."""
        frequencies, thresholds = self.frequencies_hz, self.thresholds_db_hl
        if not NAME.fullmatch(self.name):
            self._refuse("a name that cannot be part of a folder's; use letters, digits and . _ -")
        if not frequencies or len(frequencies) != len(thresholds):
            self._refuse(
                f"{len(frequencies)} frequencies and {len(thresholds)} thresholds; "
                "give one threshold for each frequency, and at least one"
            )
        ascending = frequencies[0] > 0 and (np.diff(frequencies) > 0).all()
        if not ascending or not np.isfinite(frequencies).all():
            self._refuse(f"frequencies {frequencies} Hz; they must be positive and ascending")
        if not all(LOWEST_DB_HL <= level <= HIGHEST_DB_HL for level in thresholds):
            self._refuse(
                f"thresholds {thresholds} dB HL; they must lie between {LOWEST_DB_HL:g} and "
                f"{HIGHEST_DB_HL:g}"
            )

    @property
    def points(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Frequencies and thresholds, without what they are called."""
        return tuple(self.frequencies_hz), tuple(self.thresholds_db_hl)

    def as_json(self) -> dict[str, object]:
        """JSON values, for ``--json`` and ``run.json``."""
        return asdict(self)

    def _refuse(self, problem: str) -> None:
        raise InputError(f"hearing profile {self.name!r} has {problem}")


def _bisgaard(name: str, *thresholds_db_hl: float) -> HearingProfile:
    frequencies = (250.0, 375.0, 500.0, 750.0, 1000.0, 1500.0, 2000.0, 3000.0, 4000.0, 6000.0)
    source = "Bisgaard, Vlaming & Dahlquist (2010)"
    return HearingProfile(name, frequencies, thresholds_db_hl, source)


_PILOT = "hearing-loss pilot study"
_PROFILES = (
    HearingProfile("normal", OCTAVES_HZ, (10.0,) * 7, _PILOT),
    HearingProfile("lfloss", OCTAVES_HZ, (100.0, 85.0, 70.0, 55.0, 40.0, 25.0, 10.0), _PILOT),
    HearingProfile("hfloss", OCTAVES_HZ, (10.0, 25.0, 40.0, 55.0, 70.0, 85.0, 100.0), _PILOT),
    _bisgaard("N1", 10, 10, 10, 10, 10, 10, 15, 20, 30, 40),
    _bisgaard("N2", 20, 20, 20, 22.5, 25, 30, 35, 40, 45, 50),
    _bisgaard("N3", 35, 35, 35, 35, 40, 45, 50, 55, 60, 65),
    _bisgaard("N4", 55, 55, 55, 55, 55, 60, 65, 70, 75, 80),
    _bisgaard("N5", 65, 67.5, 70, 72.5, 75, 80, 80, 80, 80, 80),
    _bisgaard("N6", 75, 77.5, 80, 82.5, 85, 90, 90, 95, 100, 100),
    _bisgaard("N7", 90, 92.5, 95, 100, 105, 105, 105, 105, 105, 105),
    _bisgaard("S1", 10, 10, 10, 10, 10, 10, 15, 30, 55, 70),
    _bisgaard("S2", 20, 20, 20, 22.5, 25, 35, 55, 75, 95, 95),
    _bisgaard("S3", 30, 30, 35, 47.5, 60, 70, 75, 80, 80, 85),
)
PROFILES = {profile.name: profile for profile in _PROFILES}
PILOT_PROFILES = ("normal", "lfloss", "hfloss")


def get_profile(name: str) -> HearingProfile:
    """Look a built-in profile up by its name; ``flat<dB>`` makes a flat one.

    Raises
    ------
    InputError
        If there is none of that name; the message lists those there are.
    """
    flat = FLAT.fullmatch(name)
    if flat:
        return HearingProfile(name, OCTAVES_HZ, (float(flat[1]),) * len(OCTAVES_HZ), "flat")
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        raise InputError(
            f"unknown hearing profile {name!r}; the known ones are: {known}, flat<dB> such as "
            "flat40, and those of an audiogram file such as mine.yaml or mine.csv"
        ) from None
