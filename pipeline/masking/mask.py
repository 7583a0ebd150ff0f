"""The hearing-loss mask: attenuate a spectrum by an audiogram, for all profiles at once.

A threshold of x dB HL becomes an attenuation of x dB. The short-time spectrum of a clip is computed
once; each profile multiplies it by its gains and transforms it back. Conventions are librosa's
(periodic Hann window, centred frames, zero padding, division by the summed squared windows), so the
result equals ``istft(stft(y) * gain)`` there. The gains are real: phase and timing are untouched.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft

from pipeline.errors import ClipError, InputError
from pipeline.masking.profiles import PILOT_PROFILES, PROFILES, HearingProfile

Interpolation = Literal["auto", "linear", "octave"]
Normalization = Literal["shared", "peak", "limit", "none"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("auto", "linear", "octave")
NORMALIZATIONS: tuple[Normalization, ...] = ("shared", "peak", "limit", "none")
LARGEST_N_FFT = 2**20
FRAMES_AT_ONCE = 64  # what stays in a core's cache
Gate = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class StftSettings:
    """Short-time Fourier transform.

    Attributes
    ----------
    sampling_rate : int
        In Hz.
    n_fft : int
        Window and transform length in samples.
    hop_length : int
        Samples between frames.
    """

    sampling_rate: int = 16_000
    n_fft: int = 2048
    hop_length: int = 512

    def __post_init__(self) -> None:
        """Refuse settings under which a signal cannot be put together again."""
        if self.n_fft > LARGEST_N_FFT:
            raise InputError(
                f"n_fft {self.n_fft} is more than {LARGEST_N_FFT}; give a shorter window"
            )
        if self.n_fft < 4 or self.n_fft % 2 or not 0 < self.hop_length <= self.n_fft // 4:
            raise InputError(
                f"n_fft {self.n_fft} and hop_length {self.hop_length} do not go together; "
                "n_fft must be even, and hop_length at most a quarter of it"
            )

    @property
    def bins_hz(self) -> np.ndarray:
        """Centre frequencies: float64 [shape=(n_fft / 2 + 1,)]."""
        return np.fft.rfftfreq(self.n_fft, 1 / self.sampling_rate)


@dataclass(frozen=True)
class Masked:
    """One clip as each profile hears it.

    Attributes
    ----------
    waveforms : np.ndarray [shape=(n_profiles, n), dtype=float32]
    output_gain_db : np.ndarray [shape=(n_profiles,), dtype=float64]
        What normalisation applied.
    """

    waveforms: np.ndarray
    output_gain_db: np.ndarray


def attenuation_db(
    profile: HearingProfile, frequencies_hz: np.ndarray, interpolation: Interpolation = "auto"
) -> np.ndarray:
    """Read a profile's attenuation off its audiogram.

    Parameters
    ----------
    profile : HearingProfile
    frequencies_hz : np.ndarray [shape=(n,)]
    interpolation : {"auto", "linear", "octave"}
        Straight lines over frequency in Hz (the pilot study), or in octaves (how audiograms are
        drawn and read). ``auto``: linear for the pilot's three profiles, octave for all others.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        In dB; constant beyond the first and last point.
    """
    if interpolation == "auto":
        of_pilot = (
            profile.name in PILOT_PROFILES and profile.points == PROFILES[profile.name].points
        )
        interpolation = "linear" if of_pilot else "octave"
    points = np.asarray(profile.frequencies_hz, dtype=np.float64)
    wanted = np.asarray(frequencies_hz, dtype=np.float64)
    if interpolation == "octave":
        points = np.log2(points)
        wanted = np.log2(np.maximum(wanted, profile.frequencies_hz[0]))
    return np.interp(wanted, points, profile.thresholds_db_hl)


def gains(
    profiles: tuple[HearingProfile, ...],
    settings: StftSettings,
    interpolation: Interpolation = "auto",
) -> np.ndarray:
    """Gain of every profile in every bin: float32 [shape=(n_profiles, n_fft / 2 + 1)]."""
    curves = [attenuation_db(profile, settings.bins_hz, interpolation) for profile in profiles]
    return (10.0 ** (-np.array(curves) / 20)).astype(np.float32)


def apply_mask(
    waveform: np.ndarray, gains: np.ndarray, settings: StftSettings, gate: Gate | None = None
) -> np.ndarray:
    """Filter a clip by every row of gains.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        At least one sample, all finite.
    gains : np.ndarray [shape=(n_profiles, n_fft / 2 + 1)]
    settings : StftSettings
    gate : callable, optional
        Given masked frames [shape=(n_frames, n_fft / 2 + 1), dtype=complex64], says which of their
        cells are kept.

    Returns
    -------
    np.ndarray [shape=(n_profiles, n), dtype=float32]

    Raises
    ------
    ClipError
        If the waveform is empty, not one-dimensional, or not finite.
    """
    waveform = checked(waveform)
    if gate is not None:
        return _filter(waveform, gains, settings, gate)
    flat = np.ptp(gains, axis=1) == 0  # the same at all frequencies: needs no transform
    masked = np.empty((len(gains), len(waveform)), dtype=np.float32)
    masked[flat] = gains[flat, :1] * waveform
    if not flat.all():
        masked[~flat] = _filter(waveform, gains[~flat], settings)
    return masked


def checked(waveform: np.ndarray) -> np.ndarray:
    """Return a waveform as float32 [shape=(n,)].

    Raises
    ------
    ClipError
        If it is empty, not one-dimensional, or not finite.
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1 or not len(waveform):
        raise ClipError(f"a mono waveform is needed, not one of shape {waveform.shape}")
    if not np.isfinite(waveform).all():
        raise ClipError("NaN or infinite samples")
    return waveform


def normalize(waveforms: np.ndarray, mode: Normalization, peak: float) -> Masked:
    """Bring the variants of one clip to a level that can be stored.

    Parameters
    ----------
    waveforms : np.ndarray [shape=(n_profiles, n), dtype=float32]
    mode : {"shared", "peak", "limit", "none"}
        ``shared``: the gain that would bring the clip itself to full scale, for all its variants,
        so that a loss stays a loss, whatever other profiles are in the run. ``peak``: each variant
        to its own full scale, as the pilot did; it cancels much of the loss. ``limit``: one gain
        for all, only where something would clip. ``none``: no gain; what exceeds full scale is
        clipped when it is stored.
    peak : float
        Largest magnitude of the clip.

    Returns
    -------
    Masked
        Digital silence is left as it is, with a gain of 0 dB.
    """
    peaks = np.abs(waveforms).max(axis=1).astype(np.float64)
    # A variant louder than its clip, by a negative threshold or by added noise, must not clip.
    loudest = np.full_like(peaks, max(peaks.max(), peak if mode == "shared" else 0.0))
    divisors = {
        "shared": loudest,
        "peak": peaks,
        "limit": np.maximum(loudest, 1.0),
        "none": np.ones_like(peaks),
    }[mode]
    divisors = np.where(divisors > 0, divisors, 1.0)
    scaled = waveforms / divisors[:, None].astype(np.float32)
    return Masked(scaled, -20 * np.log10(divisors) + 0.0)


def _filter(
    waveform: np.ndarray, gains: np.ndarray, settings: StftSettings, gate: Gate | None = None
) -> np.ndarray:
    """Transform, multiply by every row of gains, and transform back."""
    n_fft, hop = settings.n_fft, settings.hop_length
    analysis, synthesis = _windows(n_fft, hop)
    frames = _frames(waveform, settings)
    # One extra window so that the samples behind the last frame exist, if only as zeros.
    total = np.zeros((len(gains), (len(frames) - 1) * hop + 2 * n_fft), dtype=np.float32)
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        spectrum = scipy.fft.rfft(frames[first : first + FRAMES_AT_ONCE] * analysis, axis=-1)
        for row, gain in zip(total, gains, strict=True):
            heard = spectrum * gain
            if gate is not None:
                heard *= gate(heard)
            masked = scipy.fft.irfft(heard, n=n_fft, axis=-1, overwrite_x=True)
            masked *= synthesis
            _overlap_add(masked, row[first * hop :], hop)
    _correct_edges(total, len(frames), settings)
    return total[:, n_fft // 2 : n_fft // 2 + len(waveform)]


@functools.lru_cache(maxsize=4)
def _windows(n_fft: int, hop_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Analysis window, and the synthesis window that has the division of the inverse within it.

    The inverse divides by the sum of the squared windows over each sample. Where all windows that
    can cover a sample do, that sum depends on the sample's place within a hop only, so the window
    is divided instead, once and for all.
    """
    # Not scipy.signal's, which takes a second to import, in every worker.
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    sums = np.zeros(hop_length)
    np.add.at(sums, np.arange(n_fft) % hop_length, window.astype(np.float64) ** 2)
    return window, (window / sums[np.arange(n_fft) % hop_length]).astype(np.float32)


def _frames(waveform: np.ndarray, settings: StftSettings) -> np.ndarray:
    """Overlapping frames of the clip with half a window of silence around it, as a view."""
    padded = np.pad(waveform, settings.n_fft // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, settings.n_fft)
    return windows[:: settings.hop_length]


def _overlap_add(frames: np.ndarray, total: np.ndarray, hop: int) -> None:
    """Add frames [shape=(n_frames, n_fft)] to a signal, one hop apart."""
    n_frames, n_fft = frames.shape
    for start in range(0, n_fft, hop):
        piece = frames[:, start : start + hop]
        target = total[start : start + n_frames * hop].reshape(n_frames, hop)
        target[:, : piece.shape[1]] += piece


def _correct_edges(total: np.ndarray, n_frames: int, settings: StftSettings) -> None:
    """Divide by the true sum where fewer windows overlap: near both ends."""
    n_fft, hop = settings.n_fft, settings.hop_length
    analysis, synthesis = _windows(n_fft, hop)
    # Of a longer signal the middle is right as it is, so a shorter one has the same edges.
    n_edge = -(-n_fft // hop)
    n_short = min(n_frames, 2 * n_edge)
    sums = np.zeros((n_short - 1) * hop + 2 * n_fft, dtype=np.float32)
    _overlap_add(np.broadcast_to(analysis * synthesis, (n_short, n_fft)), sums, hop)
    sums = np.maximum(sums, np.finfo(np.float32).tiny)
    if n_short == n_frames:
        total /= sums
    else:
        left = n_edge * hop
        total[:, :left] /= sums[:left]
        total[:, left - len(sums) :] /= sums[left:]
