"""Whisper's log-mel spectrogram, computed only where there is signal.

Whisper pads a clip with silence to a chunk of 30 s, takes a mel spectrogram of 25 ms frames every
10 ms, and clamps it to 8 decades below its maximum (Radford et al. 2022, arXiv 2212.04356, §2.2;
``transformers.WhisperFeatureExtractor``). Frames that lie wholly in the padding are one constant,
which follows from the maximum: they are neither computed nor stored, and rebuilt on reading.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import ClipError, InputError

SAMPLING_RATE = 16_000  # Hz
N_FFT = 400  # 25 ms
HOP_LENGTH = 160  # 10 ms
HIGHEST_HZ = 8_000.0
FLOOR = 1e-10  # power below which the logarithm is not taken
FILTER_BLOCKS = 8
FRAMES_AT_ONCE = 128  # what stays in a core's cache
DECADES = 8.0  # dynamic range kept below the loudest cell

Kind = Literal["whisper", "auris"]
Layout = Literal["compact", "padded"]
Dtype = Literal["float32", "float16"]
KINDS: tuple[Kind, ...] = ("whisper", "auris")
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
    check_mono(waveform)
    waveform = waveform[: settings.n_samples].astype(np.float32, copy=False)
    n_seen = min(settings.n_frames, -(-(len(waveform) + N_FFT // 2) // HOP_LENGTH))
    power = mel_power(_frames(waveform, n_seen, settings), settings.n_mels)
    features = log10(np.maximum(power, np.float32(FLOOR), out=power))
    np.maximum(features, features.max() - np.float32(DECADES), out=features)
    features += np.float32(4.0)
    features /= np.float32(4.0)
    return features


def check_mono(waveform: np.ndarray) -> None:
    """Refuse what is no clip.

    Raises
    ------
    ClipError
        If the waveform is empty or not one-dimensional.
    """
    if waveform.ndim != 1 or not len(waveform):
        raise ClipError(f"a mono waveform is needed, not one of shape {waveform.shape}")


def log10(power: np.ndarray) -> np.ndarray:
    """Base-10 logarithm, in place: float32. By way of the natural one, which numpy vectorises."""
    np.log(power, out=power)
    power *= np.float32(1 / np.log(10))
    return power


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


def padded_batch(waveforms: Sequence[np.ndarray], settings: MelSettings) -> np.ndarray:
    """Padded log-mel features of several clips, as ``WhisperFeatureExtractor`` returns them.

    Parameters
    ----------
    waveforms : sequence of np.ndarray [shape=(n,), dtype=float32]
        At 16 kHz, of whatever lengths.
    settings : MelSettings

    Returns
    -------
    np.ndarray [shape=(n_clips, n_mels, n_frames), dtype=float32]

    Raises
    ------
    ClipError
        As :func:`log_mel`.
    """
    shape = (len(waveforms), settings.n_mels, settings.n_frames)
    batch = np.empty(shape, dtype=np.float32)
    for features, waveform in zip(batch, waveforms, strict=True):
        features[:] = pad(log_mel(waveform, settings), settings.n_frames)
    return batch


def mel_power(frames: np.ndarray, n_mels: int) -> np.ndarray:
    """Power of frames in mel bands.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, 400)]
    n_mels : int

    Returns
    -------
    np.ndarray [shape=(n_mels, n_frames), dtype=float32]
        Computed in double precision up to the spectrum: in single precision, what a loud band
        leaves by rounding drowns a band 80 dB below it, as a steep hearing loss makes them.
    """
    n_bins = N_FFT // 2 + 1
    power = np.empty((len(frames), n_bins), dtype=np.float32)
    # Room that every block uses again, since new memory costs more than the arithmetic.
    windowed = np.empty((FRAMES_AT_ONCE, N_FFT))
    spectrum = np.empty((FRAMES_AT_ONCE, n_bins), dtype=np.complex128)
    parts = np.empty((FRAMES_AT_ONCE, 2 * n_bins), dtype=np.float32)
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        rows = power[first : first + FRAMES_AT_ONCE]
        n = len(rows)
        np.multiply(frames[first : first + n], _window(), out=windowed[:n])
        np.fft.rfft(windowed[:n], out=spectrum[:n])
        parts[:n] = spectrum[:n].view(np.float64)  # real and imaginary ones side by side
        np.square(parts[:n], out=parts[:n])
        np.add(parts[:n, ::2], parts[:n, 1::2], out=rows)
    mels = np.empty((n_mels, len(frames)), dtype=np.float32)
    for bands, bins, filters in _filter_blocks(n_mels):
        np.matmul(filters, power[:, bins].T, out=mels[bands])
    return mels


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
def _filter_blocks(n_mels: int) -> tuple[tuple[slice, slice, np.ndarray], ...]:
    """Neighbouring filters, which bins they are not zero in, and what they are there.

    Most of the matrix is zero; in blocks, an eighth of the work is left.
    """
    blocks = []
    for bands in np.array_split(np.arange(n_mels), FILTER_BLOCKS):
        filters = mel_filters(n_mels)[bands]
        used = np.flatnonzero(filters.any(axis=0))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        rows = slice(int(bands[0]), int(bands[-1]) + 1)
        blocks.append((rows, bins, np.ascontiguousarray(filters[:, bins])))
    return tuple(blocks)


@functools.cache
def _window() -> np.ndarray:
    # Not scipy.signal's, which takes a second to import, in every worker.
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)


@functools.cache
def mel_filters(n_mels: int) -> np.ndarray:
    """Triangular filters of equal area, evenly spaced on Slaney's mel scale.

    That scale (Auditory Toolbox, Technical Report 1998-010, Interval Research) has a mel every
    200/3 Hz up to 1 kHz, and 27 mels to each factor of 6.4 above.

    Parameters
    ----------
    n_mels : int

    Returns
    -------
    np.ndarray [shape=(n_mels, 201), dtype=float32]
        As ``librosa.filters.mel``, which takes seconds to import.
    """
    highest_mel = 15 + 27 * np.log(HIGHEST_HZ / 1000) / np.log(6.4)
    mels = np.linspace(0, highest_mel, n_mels + 2)
    edges_hz = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))[:, None]
    bins_hz = np.fft.rfftfreq(N_FFT, 1 / SAMPLING_RATE)
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    return (np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)).astype(np.float32)
