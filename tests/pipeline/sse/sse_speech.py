"""A made-up language for the tests of `pipeline sse`: phones of two tones, several speakers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio import SAMPLING_RATE, encode_audio

# Two formants in Hz, and how much of the sound is noise.
PHONES = {
    "a": (700, 1300, 0.0),
    "e": (450, 1900, 0.0),
    "i": (300, 2400, 0.0),
    "o": (500, 900, 0.0),
    "u": (320, 700, 0.0),
    "s": (4500, 5500, 0.9),
    "f": (2600, 6500, 0.9),
    "n": (250, 1500, 0.2),
}
WORDS = ("sani", "fonu", "suna", "nife", "fasi", "nuso", "sefo", "nafu")
PHONE_SECONDS = 0.09
WORDS_PER_CLIP = 5


@dataclass(frozen=True)
class Language:
    """Where it was written, and its lists."""

    root: Path
    vads: Path
    phones: Path
    words: Path


def write_language(root: Path, n_speakers: int = 4, clips_each: int = 5, seed: int = 0) -> Language:
    """Write ``wavs/<speaker>/<n>.flac``, sections of whole clips and two alignments."""
    rng = np.random.default_rng(seed)
    vads, phones, words = [], [], []
    for speaker in range(n_speakers):
        tract, pitch_hz = rng.uniform(0.88, 1.14), rng.uniform(90, 220)
        (root / "wavs" / f"s{speaker}").mkdir(parents=True)
        for clip in range(clips_each):
            path = f"s{speaker}/{clip}.flac"  # the same file names in every folder
            pieces, time = [0.01 * rng.standard_normal(1600)], 0.1
            for word in rng.choice(WORDS, WORDS_PER_CLIP):
                start = time
                for phone in str(word):
                    piece = _phone(phone, tract, pitch_hz, rng)
                    seconds = len(piece) / SAMPLING_RATE
                    phones.append(f"{path} {time:.4f} {time + seconds:.4f} {phone}")
                    pieces.append(piece)
                    time += seconds
                words.append(f"{path} {start:.4f} {time:.4f} {word}")
            waveform = np.concatenate([*pieces, 0.01 * rng.standard_normal(1600)])
            (root / "wavs" / path).write_bytes(encode_audio(waveform.astype(np.float32)))
            vads.append(f"{path} s{speaker} 0.05 {time + 0.05:.4f}")
    language = Language(root / "wavs", root / "vads", root / "phones.txt", root / "words.txt")
    for file, lines in ((language.vads, vads), (language.phones, phones), (language.words, words)):
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return language


def _phone(name: str, tract: float, pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    low, high, noise = PHONES[name]
    time = np.arange(round(PHONE_SECONDS * rng.uniform(0.8, 1.2) * SAMPLING_RATE)) / SAMPLING_RATE
    voice = 1 + np.sign(np.sin(2 * np.pi * pitch_hz * time))
    tones = sum(np.sin(2 * np.pi * f * tract * time + rng.uniform(0, 6)) for f in (low, high))
    sound = tones * ((1 - noise) * voice + noise * rng.standard_normal(len(time)))
    return 0.05 * sound + 0.002 * rng.standard_normal(len(time))
