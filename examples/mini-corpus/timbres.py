"""Timbres drawn at random for espeak-ng, which has about sixty that sound like people.

A recogniser trained on sixty timbres learns those sixty. A timbre of espeak-ng is a short text
file (its ``docs/voices.md``): how each formant of the built-in speaker is moved, how loud and wide
it is, how the voice vibrates. Here every figure is drawn from about the range of espeak-ng's own.
"""

import contextlib
import functools
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def make_timbre(rng: random.Random, name: str, *, female: bool) -> str:
    """Draw a speaker: length of the vocal tract, formants, pitch, voice quality.

    Parameters
    ----------
    rng : random.Random
    name : str
    female : bool
        A shorter vocal tract and a higher pitch; the two kinds overlap.

    Returns
    -------
    str
        The text of an espeak-ng voice variant.
    """
    tract = rng.uniform(1.02, 1.25) if female else rng.uniform(0.84, 1.12)
    lowest = rng.uniform(140, 230) if female else rng.uniform(65, 120)
    lines = [
        "language variant",
        f"name {name}",
        f"gender {'female' if female else 'male'}",
        f"pitch {lowest:.0f} {lowest * rng.uniform(1.15, 1.8):.0f}",
        f"formant 0 100 {rng.uniform(75, 160):.0f} {rng.uniform(90, 150):.0f}",
    ]
    for formant in range(1, 9):
        spread, quietest = (0.12, 55) if formant <= 3 else (0.18, 10)
        frequency = 100 * tract * rng.uniform(1 - spread, 1 + spread)
        height, width = rng.uniform(quietest, 160), rng.uniform(70, 180)
        lines.append(f"formant {formant} {frequency:.0f} {height:.0f} {width:.0f}")
    lines += [
        f"intonation {rng.randint(1, 4)}",
        f"flutter {rng.randint(0, 5)}",
        f"roughness {rng.choice([0, 0, 1, 2, 4])}",
        f"voicing {rng.uniform(35, 150):.0f}",
        f"consonants {rng.uniform(55, 140):.0f} {rng.uniform(40, 140):.0f}",
    ]
    if rng.random() < 0.3:
        lines.append(f"echo {rng.randint(20, 130)} {rng.randint(5, 50)}")
    if rng.random() < 0.35:
        bands = (rng.uniform(300, 600), rng.uniform(1000, 1500), rng.uniform(2500, 3500), 4700)
        heights = [rng.uniform(60, 180) for _ in bands]
        pairs = zip(bands, heights, strict=True)
        lines.append("tone " + " ".join(f"{hz:.0f} {height:.0f}" for hz, height in pairs))
    if rng.random() < 0.2:
        lines.append("breath 0 " + " ".join(str(rng.randint(1, 4)) for _ in range(7)))
    if rng.random() < 0.15:
        lines.append(f"klatt {rng.randint(1, 6)}")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def timbre_data(name: str, text: str) -> Iterator[dict[str, str]]:
    """Give espeak-ng a data folder in which it finds a drawn timbre.

    A folder for one call: espeak-ng reads all voices at its start and dies of more than 350.

    Parameters
    ----------
    name : str
    text : str
        As :func:`make_timbre` writes it; empty for a timbre that is installed.

    Yields
    ------
    dict
        The environment to run espeak-ng in.
    """
    if not text:
        yield dict(os.environ)
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "espeak-ng-data"
        variants = data / "voices" / "!v"
        variants.mkdir(parents=True)
        for entry in ("phontab", "phonindex", "phondata", "intonations", "en_dict", "lang"):
            (data / entry).symlink_to(installed_data() / entry)
        (variants / name).write_text(text, encoding="utf-8")
        yield {**os.environ, "ESPEAK_DATA_PATH": folder}


@functools.cache
def installed_data() -> Path:
    """Where espeak-ng keeps its own data."""
    version = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, text=True)
    return Path(version.stdout.split("Data at:")[1].strip())
