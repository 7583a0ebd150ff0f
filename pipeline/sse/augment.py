"""Changes of a waveform that leave its words alone: what the training learns to overlook.

``tempo`` is the one that the original trains with (a factor of 0.5 to 1.8, as WavAugment's
``tempo -s``); ``pitch``, ``noise`` and ``reverb`` are there in it and switched off. ``hearing`` is
ours: the speech as an ear with a hearing loss receives it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft

from pipeline.audio import SAMPLING_RATE
from pipeline.masking.mask import StftSettings, apply_mask, gains
from pipeline.masking.profiles import HearingProfile

Effect = Literal["tempo", "pitch", "noise", "reverb", "hearing"]
EFFECTS: tuple[Effect, ...] = ("tempo", "pitch", "noise", "reverb", "hearing")
TEMPO = (0.5, 1.8)  # times as fast
PITCH_CENTS = 300.0  # up or down
NOISE_DB = (10.0, 30.0)  # by which the speech exceeds it
REVERBERATION_SECONDS = (0.1, 0.5)  # until the tail has fallen by 60 dB
TAIL_DB = (0.0, 12.0)  # by which the direct sound exceeds the tail
N_FFT = 512  # 32 ms, the window in which a phase vocoder keeps speech clear


@dataclass(frozen=True)
class Augmentation:
    """Which effects, and the ears of ``hearing``."""

    effects: tuple[Effect, ...]
    profiles: tuple[HearingProfile, ...] = ()


@dataclass(frozen=True)
class Augmented:
    """A changed waveform.

    Attributes
    ----------
    waveform : np.ndarray [shape=(m,), dtype=float32]
    stretch : float
        How many times as long it is: what was at second ``t`` is at ``t * stretch``.
    """

    waveform: np.ndarray
    stretch: float


def augment(waveform: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> Augmented:
    """Apply all effects, each as strong as chance has it.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        At 16 kHz.
    settings : Augmentation
    rng : np.random.Generator
        The same state gives the same result.
    """
    # Drawn whether they are asked for or not: an effect more does not change the others.
    tempo, cents = rng.uniform(*TEMPO), rng.uniform(-PITCH_CENTS, PITCH_CENTS)
    noise_db, seconds, tail_db = (
        rng.uniform(*range_) for range_ in (NOISE_DB, REVERBERATION_SECONDS, TAIL_DB)
    )
    ear, seed = rng.random(), int(rng.integers(2**63))
    effects = settings.effects
    faster = tempo if "tempo" in effects else 1.0
    higher = 2 ** (cents / 1200) if "pitch" in effects else 1.0
    changed = change_tempo_and_pitch(waveform, faster, higher)
    stretch = len(changed) / len(waveform)
    chance = np.random.default_rng(seed)
    if "reverb" in effects:
        changed = reverberate(changed, seconds, tail_db, chance)
    if "noise" in effects:
        changed = add_noise(changed, noise_db, chance)
    if "hearing" in effects:
        changed = hear(changed, settings.profiles[int(ear * len(settings.profiles))])
    return Augmented(changed, stretch)


def change_tempo_and_pitch(waveform: np.ndarray, faster: float, higher: float) -> np.ndarray:
    """Speak ``faster`` times as fast and ``higher`` times as high: float32 [shape=(m,)].

    Pitch is raised by playing faster, formants and all, and the tempo is set by a phase vocoder.
    """
    import librosa
    import soxr

    if higher != 1.0:
        waveform = soxr.resample(waveform, SAMPLING_RATE * higher, SAMPLING_RATE, quality="HQ")
    if faster != higher:
        waveform = librosa.effects.time_stretch(waveform, rate=faster / higher, n_fft=N_FFT)
    return np.ascontiguousarray(waveform, np.float32)


def reverberate(
    waveform: np.ndarray, seconds: float, tail_db: float, rng: np.random.Generator
) -> np.ndarray:
    """Put the speaker in a room: noise that dies away behind every sound; float32 [shape=(n,)]."""
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail *= 10 ** (-tail_db / 20) / np.linalg.norm(tail)
    tail[0] = 1.0
    n_fft = scipy.fft.next_fast_len(len(waveform) + len(tail), real=True)
    spectrum = scipy.fft.rfft(waveform, n_fft) * scipy.fft.rfft(tail.astype(np.float32), n_fft)
    return np.asarray(scipy.fft.irfft(spectrum, n_fft)[: len(waveform)], np.float32)


def add_noise(waveform: np.ndarray, noise_db: float, rng: np.random.Generator) -> np.ndarray:
    """Add white noise, ``noise_db`` below the speech: float32 [shape=(n,)]."""
    level = np.sqrt(np.mean(np.square(waveform, dtype=np.float64))) * 10 ** (-noise_db / 20)
    return np.asarray(waveform + level * rng.standard_normal(len(waveform)), np.float32)


def hear(waveform: np.ndarray, profile: HearingProfile) -> np.ndarray:
    """What an ear passes on: float32 [shape=(n,)]."""
    settings = StftSettings(SAMPLING_RATE)
    return np.asarray(apply_mask(waveform, gains((profile,), settings), settings)[0])
