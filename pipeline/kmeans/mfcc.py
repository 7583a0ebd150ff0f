"""Mel-frequency cepstral coefficients with Kaldi's values, and their deltas.

Settings and order of operations are those of ``torchaudio.compliance.kaldi.mfcc`` with
``use_energy=False`` and its defaults otherwise, which fairseq's dump_mfcc_feature.py relies on.
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from pipeline.errors import ClipError

N_CEPS, N_MELS = 13, 23
N_DIMS = 3 * N_CEPS
FRAME_SECONDS, HOP_SECONDS = 0.025, 0.010
PREEMPHASIS = 0.97
LOW_HZ = 20.0
LIFTER = 22.0
DELTA_REACH = 2  # frames on each side, a window of five
EPSILON = np.float32(np.finfo(np.float32).eps)  # floor of the mel energies


class _Tables(NamedTuple):
    frame_length: int
    hop_length: int
    n_fft: int
    window: np.ndarray
    mel_filters: np.ndarray
    cosines: np.ndarray


@dataclass(frozen=True)
class MfccReader:
    """Makes :func:`mfcc` of clips."""

    sampling_rate: int = 16_000
    n_dims: int = N_DIMS

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the values."""
        return {"kind": "mfcc", "sampling_rate": self.sampling_rate, "frames_per_second": 100}

    def features(self, waveform: np.ndarray) -> np.ndarray:
        """Frames of a clip."""
        return mfcc(waveform, self.sampling_rate)


def mfcc(waveform: np.ndarray, sampling_rate: int = 16_000) -> np.ndarray:
    """Compute 13 coefficients, their deltas and the deltas of those, 100 times a second.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Full scale is [-1, 1], not that of 16-bit integers: the floor of the mel energies makes the
        values depend on the scale.
    sampling_rate : int
        In Hz.

    Returns
    -------
    np.ndarray [shape=(1 + (n - frame) // hop, 39), dtype=float32]
        Frames that do not fit whole are left out.

    Raises
    ------
    ClipError
        If the clip is shorter than a frame.
    """
    tables = _tables(sampling_rate)
    if len(waveform) < tables.frame_length:
        raise ClipError(
            f"{len(waveform)} samples are shorter than a window of {tables.frame_length}"
        )
    cepstra = _cepstra(np.ascontiguousarray(waveform, np.float32), tables)
    first = deltas(cepstra)
    return np.concatenate([cepstra, first, deltas(first)], axis=1)


def n_frames(n_samples: int, sampling_rate: int = 16_000) -> int:
    """Count the frames that :func:`mfcc` makes of so many samples."""
    tables = _tables(sampling_rate)
    return max(0, 1 + (n_samples - tables.frame_length) // tables.hop_length)


def deltas(features: np.ndarray) -> np.ndarray:
    """Regress over five frames, as HTK does; the first and the last frame are repeated.

    Parameters
    ----------
    features : np.ndarray [shape=(n_frames, n_dims), dtype=float32]

    Returns
    -------
    np.ndarray [shape=(n_frames, n_dims), dtype=float32]
    """
    n, reach = len(features), DELTA_REACH
    padded = np.pad(features, ((reach, reach), (0, 0)), mode="edge")
    total = sum(
        np.float32(step) * (padded[reach + step : reach + step + n] - padded[reach - step :][:n])
        for step in range(1, reach + 1)
    )
    return np.asarray(total, np.float32) / np.float32(2 * sum(s * s for s in range(1, reach + 1)))


def _cepstra(waveform: np.ndarray, tables: _Tables) -> np.ndarray:
    every = np.lib.stride_tricks.sliding_window_view(waveform, tables.frame_length)
    frames = every[:: tables.hop_length]
    frames = frames - frames.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames = (frames - np.float32(PREEMPHASIS) * previous) * tables.window
    spectrum = scipy.fft.rfft(frames, tables.n_fft, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    energies = power[:, :-1] @ tables.mel_filters
    return np.log(np.maximum(energies, EPSILON)) @ tables.cosines


@functools.cache
def _tables(sampling_rate: int) -> _Tables:
    frame_length = int(sampling_rate * FRAME_SECONDS)
    n_fft = 2 ** (frame_length - 1).bit_length()
    # Povey's window: Hann to the power of 0.85.
    window = np.hanning(frame_length) ** 0.85
    return _Tables(
        frame_length,
        int(sampling_rate * HOP_SECONDS),
        n_fft,
        window.astype(np.float32),
        _mel_filters(sampling_rate, n_fft),
        _cosines(),
    )


def _mel_filters(sampling_rate: int, n_fft: int) -> np.ndarray:
    """Triangles on Kaldi's mel scale, 20 Hz to Nyquist: float32 [shape=(n_fft // 2, N_MELS)]."""
    edges = np.linspace(_mel(LOW_HZ), _mel(sampling_rate / 2), N_MELS + 2)
    bins = _mel(np.arange(n_fft // 2) * (sampling_rate / n_fft))[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    up, down = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


def _mel(hertz: float | np.ndarray) -> np.ndarray:
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0))


def _cosines() -> np.ndarray:
    """Orthonormal DCT-II and the lifter in one matrix: float32 [shape=(N_MELS, N_CEPS)]."""
    basis = scipy.fft.dct(np.eye(N_MELS), type=2, norm="ortho", axis=1)[:, :N_CEPS]
    order = np.arange(N_CEPS)
    lifter = 1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER)
    return (basis * lifter).astype(np.float32)
