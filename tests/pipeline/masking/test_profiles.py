"""Hearing profiles: the numbers of the literature, and what cannot be an audiogram."""

import math

import pytest

from pipeline.errors import InputError
from pipeline.masking.profiles import PILOT_PROFILES, PROFILES, HearingProfile, get_profile

# Bisgaard, Vlaming & Dahlquist (2010), Trends in Amplification 14(2): dB HL.
STANDARD_AUDIOGRAMS = """
      250   375   500   750  1000  1500  2000  3000  4000  6000
N1     10    10    10    10    10    10    15    20    30    40
N2     20    20    20  22.5    25    30    35    40    45    50
N3     35    35    35    35    40    45    50    55    60    65
N4     55    55    55    55    55    60    65    70    75    80
N5     65  67.5    70  72.5    75    80    80    80    80    80
N6     75  77.5    80  82.5    85    90    90    95   100   100
N7     90  92.5    95   100   105   105   105   105   105   105
S1     10    10    10    10    10    10    15    30    55    70
S2     20    20    20  22.5    25    35    55    75    95    95
S3     30    30    35  47.5    60    70    75    80    80    85
"""
PILOT_AUDIOGRAMS = """
       125  250  500 1000 2000 4000 8000
normal  10   10   10   10   10   10   10
lfloss 100   85   70   55   40   25   10
hfloss  10   25   40   55   70   85  100
"""


def rows(table: str) -> list[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    header, *lines = table.strip().splitlines()
    frequencies_hz = tuple(map(float, header.split()))
    split = [line.split() for line in lines]
    return [(name, frequencies_hz, tuple(map(float, levels))) for name, *levels in split]


@pytest.mark.parametrize(
    ("name", "frequencies_hz", "thresholds_db_hl"),
    rows(STANDARD_AUDIOGRAMS) + rows(PILOT_AUDIOGRAMS),
)
def test_a_built_in_profile_has_the_published_values(name, frequencies_hz, thresholds_db_hl):
    profile = get_profile(name)
    assert profile.name == name
    assert profile.frequencies_hz == frequencies_hz
    assert profile.thresholds_db_hl == thresholds_db_hl
    assert profile.source


def test_these_are_all_and_the_pilots_come_first():
    named = [name for name, *_ in rows(PILOT_AUDIOGRAMS) + rows(STANDARD_AUDIOGRAMS)]
    assert list(PROFILES) == named
    assert tuple(named[:3]) == PILOT_PROFILES


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(InputError) as refusal:
        get_profile("n3")
    assert str(refusal.value) == (
        "unknown hearing profile 'n3'; the known ones are: "
        "normal, lfloss, hfloss, N1, N2, N3, N4, N5, N6, N7, S1, S2, S3, flat<dB> such as flat40, "
        "and those of an audiogram file such as mine.yaml or mine.csv"
    )


@pytest.mark.parametrize(
    ("frequencies_hz", "thresholds_db_hl", "problem"),
    [
        ((), (), "0 frequencies and 0 thresholds; give one threshold for each frequency"),
        ((125.0,), (), "1 frequencies and 0 thresholds; give one threshold for each frequency"),
        ((125.0,), (10.0, 20.0), "1 frequencies and 2 thresholds; give one threshold"),
        ((0.0, 125.0), (1.0, 1.0), "(0.0, 125.0) Hz; they must be positive and ascending"),
        ((-125.0, 125.0), (1.0, 1.0), "(-125.0, 125.0) Hz; they must be positive and ascending"),
        ((250.0, 125.0), (1.0, 1.0), "(250.0, 125.0) Hz; they must be positive and ascending"),
        ((125.0, 125.0), (1.0, 1.0), "(125.0, 125.0) Hz; they must be positive and ascending"),
        ((125.0, math.nan, 500.0), (1.0,) * 3, "(125.0, nan, 500.0) Hz; they must be positive"),
        ((math.nan,), (1.0,), "(nan,) Hz; they must be positive and ascending"),
        ((125.0, math.inf), (1.0, 1.0), "(125.0, inf) Hz; they must be positive and ascending"),
        ((125.0,), (-20.5,), "(-20.5,) dB HL; they must lie between -20 and 140"),
        ((125.0,), (140.5,), "(140.5,) dB HL; they must lie between -20 and 140"),
        ((125.0,), (math.nan,), "(nan,) dB HL; they must lie between -20 and 140"),
        ((125.0,), (math.inf,), "(inf,) dB HL; they must lie between -20 and 140"),
    ],
)
def test_what_cannot_be_an_audiogram_is_refused_with_its_values(
    frequencies_hz, thresholds_db_hl, problem
):
    with pytest.raises(InputError) as refusal:
        HearingProfile("mine", frequencies_hz, thresholds_db_hl)
    assert str(refusal.value).startswith("hearing profile 'mine' has ")
    assert problem in str(refusal.value)


@pytest.mark.parametrize("threshold_db_hl", [-20.0, 0.0, 140.0])
def test_one_point_makes_a_flat_profile(threshold_db_hl):
    profile = HearingProfile("flat", (1000.0,), (threshold_db_hl,))
    assert profile.as_json() == {
        "name": "flat",
        "frequencies_hz": (1000.0,),
        "thresholds_db_hl": (threshold_db_hl,),
        "source": "",
    }


def test_profiles_are_listed_by_the_command_line(command):
    listed = command("profiles", "--json", workers=None).report
    assert list(listed) == list(PROFILES)
    assert listed["S2"]["thresholds_db_hl"] == [20, 20, 20, 22.5, 25, 35, 55, 75, 95, 95]
    shown = command("profiles", workers=None)
    assert (shown.status, shown.err) == (0, "")
    assert all(name in shown.out for name in PROFILES)
