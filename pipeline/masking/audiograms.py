"""Audiograms from files: a measured ear, in YAML or CSV, as a hearing profile.

YAML, one audiogram or a list of them under ``profiles``::

    name: participant7
    frequencies_hz: [250, 500, 1000, 2000, 4000, 8000]
    left: [20, 20, 25, 40, 55, 60]           # in dB HL; or one row called thresholds_db_hl
    right: [15, 20, 20, 35, 50, 60]
    source: clinic, 2026

CSV, an audiogram a row, frequencies in Hz as headings; ``ear`` and ``source`` may be left out, and
so may thresholds that were not measured::

    name,ear,250,500,1000,2000,4000,8000
    participant7,left,20,20,25,40,55,60

An ear belongs to the profile's name: ``participant7_left``.
"""

import csv
import io
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import InputError, MissingPathError
from pipeline.masking.profiles import FLAT, PROFILES, HearingProfile, get_profile

EARS = ("left", "right")
SUFFIXES = (".yaml", ".yml", ".csv")
LARGEST_BYTES = 1_000_000


def resolve_profiles(names: tuple[str, ...]) -> tuple[HearingProfile, ...]:
    """Turn what ``--profiles`` names into profiles.

    Parameters
    ----------
    names : tuple of str
        Built-in names; ``FILE`` for all audiograms of a file; ``FILE:NAME`` for one of them.

    Returns
    -------
    tuple of HearingProfile
        In the order given.

    Raises
    ------
    InputError
        If a name is unknown, a file is missing or holds no audiogram, or a name comes twice.
    """
    profiles = tuple(profile for name in names for profile in _resolve(name))
    chosen = [profile.name for profile in profiles]
    twice = next((name for name in chosen if chosen.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"profile {twice!r} is named more than once; name each once")
    return profiles


def read_audiograms(path: Path) -> tuple[HearingProfile, ...]:
    """Read every audiogram of a YAML or CSV file.

    Raises
    ------
    InputError
        If the file is missing, is neither, or holds something that is no audiogram.
    """
    try:
        present = path.is_file()
    except OSError as error:  # a name longer than a file's can be
        raise InputError(f"{str(path)[:80]} cannot be read: {error.strerror}") from None
    if not present:
        problem = "is no file" if path.exists() else "does not exist"
        raise MissingPathError(f"{path} {problem}; give a YAML or CSV file of audiograms")
    if path.stat().st_size > LARGEST_BYTES:
        raise InputError(f"{path} is larger than {LARGEST_BYTES:,} bytes; it holds no audiogram")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8: {error.reason}") from None
    read = _read_csv if path.suffix.lower() == ".csv" else _read_yaml
    try:
        profiles = tuple(read(text))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be an audiogram") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        # The last three are what PyYAML stumbles over in dates and tags that are none.
        raise InputError(f"{path} is not valid YAML: {_first_line(error)}") from None
    except csv.Error as error:
        raise InputError(f"{path} is not valid CSV: {error}") from None
    if not profiles:
        raise InputError(f"{path} holds no audiogram; see docs/masking.md for the two formats")
    for profile in profiles:
        if profile.name in PROFILES or FLAT.fullmatch(profile.name):
            raise InputError(f"{path}: {profile.name!r} is the name of a built-in profile")
    return profiles


def _resolve(name: str) -> tuple[HearingProfile, ...]:
    file, colon, wanted = name.rpartition(":")
    if colon and Path(file).suffix.lower() in SUFFIXES:
        profiles = read_audiograms(Path(file))
        found = tuple(profile for profile in profiles if profile.name == wanted)
        if not found:
            known = ", ".join(profile.name for profile in profiles)
            raise InputError(f"{file} has no audiogram {wanted!r}; it has: {known}")
        return found
    if Path(name).suffix.lower() in SUFFIXES:
        return read_audiograms(Path(name))
    return (get_profile(name),)


def _read_yaml(text: str) -> Iterator[HearingProfile]:
    content = yaml.safe_load(text)
    if isinstance(content, dict) and "profiles" in content:
        content = content["profiles"]
    for entry in content if isinstance(content, list) else [content]:
        if not isinstance(entry, dict):
            raise InputError(f"{_shortened(entry)} is no audiogram; give name, frequencies_hz, …")
        yield from _ears_of(entry)


def _ears_of(entry: dict[str, Any]) -> Iterator[HearingProfile]:
    name, source = _word(entry, "name"), _word(entry, "source")
    frequencies = _numbers(name, "frequencies_hz", entry.get("frequencies_hz"))
    rows = [key for key in ("thresholds_db_hl", *EARS) if key in entry]
    if not rows:
        raise InputError(f"audiogram {name!r} has neither thresholds_db_hl nor left nor right")
    for row in rows:
        full_name = f"{name}_{row}" if row in EARS else name
        yield HearingProfile(full_name, frequencies, _numbers(name, row, entry[row]), source)


def _word(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key, "")
    if isinstance(value, (list, dict, set)):
        raise InputError(f"the {key} of an audiogram is no word: {_shortened(value)}")
    return str(value)


def _read_csv(text: str) -> Iterator[HearingProfile]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    headings = [heading.strip() for heading in reader.fieldnames or ()]
    twice = next((heading for heading in headings if headings.count(heading) > 1), None)
    if twice is not None:
        raise InputError(f"the heading {twice!r} stands there more than once")
    for row in reader:
        name = (row.pop("name", "") or "").strip()
        ear = (row.pop("ear", "") or "").strip().lower()
        source = (row.pop("source", "") or "").strip()
        if ear not in ("", *EARS):
            raise InputError(f"audiogram {name!r} is of ear {ear!r}; give left or right")
        if None in row:
            raise InputError(f"audiogram {name!r} has more fields than the file has headings")
        measured = {hz: level for hz, level in row.items() if (level or "").strip()}
        frequencies = _numbers(name, "frequencies", list(measured))
        levels = _numbers(name, "thresholds", list(measured.values()))
        yield HearingProfile(f"{name}_{ear}" if ear else name, frequencies, levels, source)


def _numbers(name: str, what: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise InputError(f"audiogram {name!r} has no list of {what}")
    try:
        if any(isinstance(value, bool) for value in values):
            raise TypeError
        return tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"audiogram {name!r} has {what} that are not numbers: {_shortened(values)}"
        ) from None


def _shortened(value: Any) -> str:
    """Show what stands there, which may be nested without end."""
    return reprlib.repr(value)[:80]


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
