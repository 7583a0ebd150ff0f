"""Whisper's log-mel spectrogram, computed only where there is signal.

Whisper pads a clip with silence to a chunk of 30 s, takes a mel spectrogram of 25 ms frames every
10 ms, and clamps it to 8 decades below its maximum (Radford et al. 2022, arXiv 2212.04356, §2.2;
``transformers.WhisperFeatureExtractor``). Frames that lie wholly in the padding are one constant,
which follows from the maximum: they are neither computed nor stored, and rebuilt on reading.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
from scipy.signal import get_window

from pipeline.errors import ClipError, InputError

SAMPLING_RATE = 16_000  # Hz
N_FFT = 400  # 25 ms
HOP_LENGTH = 160  # 10 ms
HIGHEST_HZ = 8_000.0
FLOOR = 1e-10  # power below which the logarithm is not taken
DECADES = 8.0  # dynamic range kept below the loudest cell

Layout = Literal["compact", "padded"]
Dtype = Literal["float32", "float16"]
LAYOUTS: tuple[Layout, ...] = ("compact", "padded")
DTYPES: tuple[Dtype, ...] = ("float32", "float16")
MEL_BINS = {
    **dict.fromkeys(("tiny", "base", "small", "medium", "large", "large-v1", "large-v2"), 80),
    **dict.fromkeys(("large-v3", "large-v3-turbo", "turbo"), 128),
}


@dataclass(frozen=True)
class MelSettings:
    """What a Whisper checkpoint expects.

    Attributes
    ----------
    n_mels : int
        Mel bins: 80, or 128 for large-v3.
    chunk_length : int
        Seconds of audio a feature covers.
    """

    n_mels: int = 128
    chunk_length: int = 30

    @property
    def n_samples(self) -> int:
        """Samples in a chunk."""
        return self.chunk_length * SAMPLING_RATE

    @property
    def n_frames(self) -> int:
        """Frames of a padded feature."""
        return self.n_samples // HOP_LENGTH


def mel_bins_of(model_size: str) -> int:
    """Number of mel bins of a Whisper model, by its size.

    Raises
    ------
    InputError
        If there is no such size; the message lists those there are.
    """
    try:
        return MEL_BINS[model_size]
    except KeyError:
        known = ", ".join(MEL_BINS)
        raise InputError(
            f"unknown Whisper model size {model_size!r}; choose from: {known}"
        ) from None


def log_mel(waveform: np.ndarray, settings: MelSettings) -> np.ndarray:
    """Log-mel features of the frames that see signal.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        At 16 kHz; samples beyond the chunk are left out.
    settings : MelSettings

    Returns
    -------
    np.ndarray [shape=(n_mels, n_seen), dtype=float32]
        ``n_seen`` is at most ``settings.n_frames``; :func:`pad` adds the others.

    Raises
    ------
    ClipError
        If the waveform is empty or not one-dimensional.
    """
    if waveform.ndim != 1 or not len(waveform):
        raise ClipError(f"a mono waveform is needed, not one of shape {waveform.shape}")
    waveform = waveform[: settings.n_samples].astype(np.float32, copy=False)
    n_seen = min(settings.n_frames, -(-(len(waveform) + N_FFT // 2) // HOP_LENGTH))
    frames = _frames(waveform, n_seen, settings) * _window()
    power = np.abs(scipy.fft.rfft(frames, axis=-1)) ** 2
    logarithm = np.log10(np.maximum(_mel_filters(settings.n_mels) @ power.T, np.float32(FLOOR)))
    clamped = np.maximum(logarithm, logarithm.max() - np.float32(DECADES))
    return (clamped + np.float32(4.0)) / np.float32(4.0)


def pad(features: np.ndarray, n_frames: int) -> np.ndarray:
    """Put the frames of silence back.

    Parameters
    ----------
    features : np.ndarray [shape=(n_mels, n_seen)]
    n_frames : int
        At least ``n_seen``.

    Returns
    -------
    np.ndarray [shape=(n_mels, n_frames)]
        Of the same dtype.
    """
    n_mels, n_seen = features.shape
    padded = np.empty((n_mels, n_frames), dtype=features.dtype)
    padded[:, :n_seen] = features
    # Silence is FLOOR, or the clamp where that is higher, on the scale (x + 4) / 4.
    lowest = np.array((np.log10(FLOOR) + 4) / 4, dtype=features.dtype)
    span = np.array(DECADES / 4, dtype=features.dtype)
    padded[:, n_seen:] = np.maximum(lowest, features.max() - span)
    return padded


def _frames(waveform: np.ndarray, n_seen: int, settings: MelSettings) -> np.ndarray:
    """Frames centred every hop, the chunk mirrored at both its ends as torch.stft does."""
    reach = N_FFT // 2
    stop = (n_seen - 1) * HOP_LENGTH + reach  # the last sample that any frame sees
    signal = np.zeros(reach + max(stop, reach + 1), dtype=np.float32)
    visible = waveform[: len(signal) - reach]
    signal[reach : reach + len(visible)] = visible
    signal[:reach] = signal[2 * reach : reach : -1]
    beyond = stop - settings.n_samples
    if beyond > 0:
        end = reach + settings.n_samples
        signal[end:] = signal[end - 2 : end - 2 - beyond : -1]
    windows = np.lib.stride_tricks.sliding_window_view(signal, N_FFT)
    return windows[::HOP_LENGTH][:n_seen]


@functools.cache
def _window() -> np.ndarray:
    return get_window("hann", N_FFT).astype(np.float32)


@functools.cache
def _mel_filters(n_mels: int) -> np.ndarray:
    import librosa

    return librosa.filters.mel(sr=SAMPLING_RATE, n_fft=N_FFT, n_mels=n_mels, fmax=HIGHEST_HZ)
