"""What ``pipeline profiles`` lists: audiograms, averages and grades."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.masking.profiles import OCTAVES_HZ, HearingProfile
from pipeline.masking.severity import (
    BSA_HZ,
    WHO_HZ,
    bsa_descriptor,
    pure_tone_average,
    thresholds_at,
    who_grade,
)


def describe_profile(profile: HearingProfile) -> dict[str, Any]:
    """Audiogram, averages and grades of a profile, as JSON values."""
    who_db, bsa_db = pure_tone_average(profile, WHO_HZ), pure_tone_average(profile, BSA_HZ)
    return {
        **profile.as_json(),
        "pure_tone_average_who_db_hl": who_db,
        "grade_who_2021": who_grade(who_db),
        "pure_tone_average_bsa_db_hl": bsa_db,
        "descriptor_bsa_2018": bsa_descriptor(bsa_db),
    }


def print_profiles(profiles: tuple[HearingProfile, ...]) -> None:
    """Print audiograms, thresholds in dB HL per octave, and how severe the losses are."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title="Hearing thresholds in dB HL, their averages and grades",
    )
    table.add_column("profile", overflow="fold")
    for frequency in OCTAVES_HZ:
        heading = f"{frequency:g}" if frequency < 1000 else f"{frequency / 1000:g}k"
        table.add_column(heading, justify="right", min_width=3)
    table.add_column("WHO 2021", no_wrap=True)
    table.add_column("BSA 2018", no_wrap=True)
    for profile in profiles:
        levels = (f"{level:.0f}" for level in thresholds_at(profile, OCTAVES_HZ))
        described = describe_profile(profile)
        who = f"{described['pure_tone_average_who_db_hl']:3.0f} {described['grade_who_2021']}"
        bsa = f"{described['pure_tone_average_bsa_db_hl']:3.0f} {described['descriptor_bsa_2018']}"
        table.add_row(profile.name, *levels, who.replace("moderately_", "mod. "), bsa)
    console = Console()
    console.print(table)
    for source in dict.fromkeys(profile.source for profile in profiles if profile.source):
        named = ", ".join(profile.name for profile in profiles if profile.source == source)
        # Paths are no markup, and a terminal wraps them better than we could.
        console.print(f"{named}: {source}", markup=False, highlight=False, soft_wrap=True)
