"""Small corpora in the layouts that labs have, as the tests write them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from makers import encode, tone

SECONDS = 0.25
SPEAKERS = """\
; Anything behind a semicolon is a comment
;ID  |SEX| SUBSET           |MINUTES| NAME
19   | F | train-clean-100  | 25.19 | Kara Shallenberg
60   | M | dev-clean        | 20.18 | |CBW|Simon
"""


def flac(frequency_hz: float, seconds: float = SECONDS, rate: int = 16_000) -> bytes:
    return encode(tone(frequency_hz, seconds, rate), rate, "FLAC", "PCM_16")


def wav(frequency_hz: float, seconds: float = SECONDS, rate: int = 22_050) -> bytes:
    return encode(tone(frequency_hz, seconds, rate), rate, "WAV", "PCM_16")


def write_librispeech(root: Path, subsets: Sequence[str], n_clips: int = 2) -> Path:
    """Two chapters of one speaker a subset."""
    for number, subset in enumerate(subsets):
        speaker = ("19", "60", "8888")[number % 3]
        for chapter in ("198", "227"):
            folder = root / subset / speaker / chapter
            folder.mkdir(parents=True)
            ids = [f"{speaker}-{chapter}-{clip:04d}" for clip in range(n_clips)]
            for clip, clip_id in enumerate(ids):
                (folder / f"{clip_id}.flac").write_bytes(flac(200 + 100 * clip))
            lines = [f"{clip_id} HE SAID {clip}\n" for clip, clip_id in enumerate(ids)]
            (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    (root / "SPEAKERS.TXT").write_text(SPEAKERS)
    return root


def write_ljspeech(root: Path, lines: Sequence[str]) -> Path:
    """A sound for every line, at 22,050 Hz as the original has it."""
    (root / "wavs").mkdir(parents=True)
    for line in lines:
        name = line.partition("|")[0]
        if name and "/" not in name:
            (root / "wavs" / f"{name}.wav").write_bytes(wav(300))
    (root / "metadata.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return root


def write_sounds(root: Path, names: Sequence[str], seconds: float = SECONDS) -> Path:
    """Sounds of rising pitch below a folder."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(wav(200 + 50 * number, seconds))
    return root


def json_lines(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def pitch_hz(waveform: np.ndarray, rate: int = 16_000) -> float:
    """Frequency of the strongest partial, of at least 0.1 s."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 2**16))
    return float(np.argmax(spectrum)) * rate / 2**16
