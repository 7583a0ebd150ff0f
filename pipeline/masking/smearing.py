"""Spectral smearing: how a spectrum looks through auditory filters that are too wide.

Baer & Moore (1993), JASA 94:1229-1241. The power spectrum of a short frame is multiplied by a
matrix that undoes the excitation pattern of a normal ear and applies that of an impaired one; the
phases are kept, and frames are added up again. The auditory filters are rounded exponentials,
``W(g) = (1 + p g) exp(-p g)``, of the equivalent rectangular bandwidths of Glasberg & Moore (1990),
Hearing Research 47:103-138, each broadened on both sides by its own factor.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft

# Powers below this, re full scale, have no phase worth keeping.
SMALLEST_POWER = np.float32(1e-30)
# Frames transformed at a time: what fits into a cache, however long the clip.
N_TOGETHER = 512


@dataclass(frozen=True)
class Broadening:
    """How many times as wide as normal an auditory filter is, below and above its centre."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Frames:
    """How a signal is cut: four frames over every sample, padded to twice their length."""

    hop_length: int

    @classmethod
    def at(cls, sampling_rate: int) -> "Frames":
        """Frames of 5.8 ms, as near as a rate allows to the model's 256 samples at 44.1 kHz."""
        return cls(round(64 * sampling_rate / 44_100))

    @property
    def length(self) -> int:
        """Samples in a frame."""
        return 4 * self.hop_length

    @property
    def n_fft(self) -> int:
        """Transform length in samples."""
        return 8 * self.hop_length

    @property
    def n_bins(self) -> int:
        """Frequencies from zero to below the Nyquist frequency."""
        return 4 * self.hop_length

    @property
    def window(self) -> np.ndarray:
        """Hann window for analysis and synthesis: float64 [shape=(length,)].

        Centred between samples; its squares add up to one over the four frames.
        """
        phase = 2 * np.pi * (np.arange(self.length) + 0.5) / self.length
        return (0.5 - 0.5 * np.cos(phase)) / np.sqrt(1.5)


def auditory_filters(broadening: Broadening, sampling_rate: float, n_bins: int) -> np.ndarray:
    """Weights of an auditory filter centred on every bin, divided by its bandwidth.

    Parameters
    ----------
    broadening : Broadening
    sampling_rate : float
        In Hz; bin i lies at i / n_bins of half of it.
    n_bins : int

    Returns
    -------
    np.ndarray [shape=(n_bins, n_bins), dtype=float64]
        One filter per row; weights of power.
    """
    bins = np.arange(n_bins)
    centres = np.maximum(bins, 1)[:, None]  # that of bin 0 is replaced below
    centres_hz = centres * sampling_rate / (2 * n_bins)
    bandwidths_hz = 24.7 * (4.37e-3 * centres_hz + 1)
    sides = np.where(bins < centres, broadening.lower, broadening.upper)
    slopes = 4 * centres_hz / (bandwidths_hz * sides)
    distances = slopes * np.abs(centres - bins) / centres
    mean = (broadening.lower + broadening.upper) / 2
    filters = (1 + distances) * np.exp(-distances) / (bandwidths_hz / 24.7 * mean)
    filters[0] = 0.0
    filters[0, 0] = 1 / mean
    return filters


def smearing_matrix(broadening: Broadening, sampling_rate: float, n_bins: int) -> np.ndarray:
    """Matrix that turns a power spectrum into a smeared one.

    Parameters
    ----------
    broadening : Broadening
    sampling_rate : float
        In Hz.
    n_bins : int
        Even.

    Returns
    -------
    np.ndarray [shape=(n_bins, n_bins), dtype=float64]
        To be multiplied from the left: wide filters times the inverse of normal ones.

    Notes
    -----
    As in pyclarity, normal filters are extended to 1.5 times the Nyquist frequency, where each goes
    on as the mirror image of its own lower skirt, for an inverse that works at the upper end too.
    """
    normal = auditory_filters(Broadening(1, 1), sampling_rate, n_bins)
    n_beyond = n_bins // 2
    extended = np.hstack([normal, np.zeros((n_bins, n_beyond))])
    for centre in range(n_beyond, n_bins):
        # There, too, the last point of the mirror image stays out.
        last = min(2 * centre - 1, n_bins + n_beyond)
        beyond = np.arange(n_bins, last)
        extended[centre, beyond] = normal[centre, 2 * centre - beyond]
    wide = auditory_filters(broadening, sampling_rate, n_bins)
    return np.linalg.lstsq(extended, wide, rcond=None)[0][:n_bins]


def smear(waveform: np.ndarray, matrix: np.ndarray, frames: Frames) -> np.ndarray:
    """Smear the spectrum of a signal, without delay.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Of a peak around one; what lies 150 dB below that has no phase.
    matrix : np.ndarray [shape=(frames.n_bins, frames.n_bins)]
        See :func:`smearing_matrix`.
    frames : Frames
        The first one with four frames over it starts with the signal.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
    """
    hop = frames.hop_length
    n_frames = -(-len(waveform) // hop) + 3
    padded = np.zeros((n_frames + 3) * hop, dtype=np.float32)
    padded[3 * hop : 3 * hop + len(waveform)] = waveform
    views = np.lib.stride_tricks.sliding_window_view(padded, frames.length)[::hop]
    window, transposed = frames.window, matrix.T.astype(np.float32)
    blocks = np.zeros((n_frames + 3, hop), dtype=np.float32)
    for first in range(0, n_frames, N_TOGETHER):
        smeared = smear_frames(views[first : first + N_TOGETHER] * window, transposed)
        smeared *= window.astype(np.float32)
        for quarter in range(4):
            start = first + quarter
            blocks[start : start + len(smeared)] += smeared[:, quarter * hop : (quarter + 1) * hop]
    return blocks.reshape(-1)[3 * hop : 3 * hop + len(waveform)]


def smear_frames(frames: np.ndarray, transposed: np.ndarray) -> np.ndarray:
    """Smear the spectrum of each frame.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_bins), dtype=float64]
        Windowed. Single precision would not do: a bin that holds nothing but the side lobes of the
        window receives power from its neighbours and lends it its phase, rounding errors and all.
    transposed : np.ndarray [shape=(n_bins, n_bins), dtype=float32]
        Transpose of a smearing matrix.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bins), dtype=float32]
        As long as the frames were; what the padded transform spreads beyond is dropped.
    """
    length = frames.shape[1]
    spectra = scipy.fft.rfft(frames, n=2 * length)[:, :length].astype(np.complex64)
    powers = spectra.real**2 + spectra.imag**2
    # The inverse of a filter has negative weights. What comes out negative, 2e-6 of the power at
    # most, is no power; pyclarity keeps it and turns its phase by a quarter.
    smeared = np.maximum(powers @ transposed, 0)
    spectra *= np.sqrt(smeared / np.maximum(powers, SMALLEST_POWER))
    return scipy.fft.irfft(spectra, n=2 * length)[:, :length]
