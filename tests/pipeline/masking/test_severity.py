"""Pure-tone averages and grades, by the limits the standards print."""

import pytest

from pipeline.masking.profiles import HearingProfile, get_profile
from pipeline.masking.severity import (
    BSA_HZ,
    bsa_descriptor,
    pure_tone_average,
    thresholds_at,
    who_grade,
)

# World report on hearing (WHO, 2021): a grade starts at its lower limit.
WHO = """
-10 none 19.99 none 20 mild 34.99 mild 35 moderate 49.99 moderate 50 moderately_severe
64.99 moderately_severe 65 severe 79.99 severe 80 profound 94.99 profound 95 complete 120 complete
"""
# British Society of Audiology (2018): a descriptor includes its upper limit.
BSA = """
-10 none 20 none 20.5 mild 40 mild 40.5 moderate 70 moderate 70.5 severe 95 severe 95.5 profound
"""


def pairs(text: str) -> list[tuple[float, str]]:
    words = text.split()
    return [(float(level), name) for level, name in zip(words[::2], words[1::2], strict=True)]


@pytest.mark.parametrize(("average_db_hl", "grade"), pairs(WHO))
def test_grades_are_those_of_the_world_health_organization(average_db_hl, grade):
    assert who_grade(average_db_hl) == grade


@pytest.mark.parametrize(("average_db_hl", "descriptor"), pairs(BSA))
def test_descriptors_are_those_of_the_british_society_of_audiology(average_db_hl, descriptor):
    assert bsa_descriptor(average_db_hl) == descriptor


@pytest.mark.parametrize(
    ("name", "who_db", "bsa_db"),
    [
        ("hfloss", (40 + 55 + 70 + 85) / 4, (25 + 40 + 55 + 70 + 85) / 5),
        ("N3", (35 + 40 + 50 + 60) / 4, (35 + 35 + 40 + 50 + 60) / 5),
        ("flat40", 40, 40),
    ],
)
def test_averages_are_taken_at_the_frequencies_of_each_standard(name, who_db, bsa_db):
    profile = get_profile(name)
    assert pure_tone_average(profile) == pytest.approx(who_db)
    assert pure_tone_average(profile, BSA_HZ) == pytest.approx(bsa_db)


def test_between_the_points_thresholds_are_straight_over_octaves_and_constant_outside():
    profile = HearingProfile("two", (500.0, 2000.0), (20.0, 60.0))
    read = thresholds_at(profile, (125.0, 500.0, 1000.0, 2000.0, 8000.0))
    assert read.tolist() == pytest.approx([20, 20, 40, 60, 60])
