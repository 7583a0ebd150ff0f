"""The Cambridge model in the time domain, slowly: as pyclarity computes it, slips included.

Made of the constants and filter designs under test, it reproduces the sums that pyclarity's own
tests publish; so these constants are pyclarity's, and the fast code can be held against it.
"""

import numpy as np
from scipy.signal import ellip, filtfilt, lfilter

from pipeline.masking.cochlear import ear_taps, lowpass_taps
from pipeline.masking.ear_constants import Gammatones
from pipeline.masking.recruitment import erb_hz
from pipeline.masking.smearing import Frames

RATE = 44_100
SMEARING_DELAY = 192


def published_noise(*shape: int) -> np.ndarray:
    """What ``numpy.random.seed(0); numpy.random.random(shape)`` gives."""
    return np.random.RandomState(0).random_sample(shape)


def late_smear(waveform: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Smear a signal: float [shape=(n,)] to [shape=(n / 64 rounded up, and 3, times 64)].

    The second frame begins 64 samples after the first, yet what is appended to it are samples 64 to
    128, which it has already, and so on: everything after the first frame is three hops late. At
    the end the newest frames ring out in a wrong order.
    """
    frames = Frames.at(RATE)
    hop, window = frames.hop_length, frames.window
    n_hops = -(-len(waveform) // hop)
    padded = np.pad(waveform, (0, frames.length))
    cut = [padded[: frames.length]]
    for start in range(hop, n_hops * hop, hop):
        cut.append(np.concatenate([cut[-1][hop:], padded[start : start + hop]]))
    spectra = np.fft.rfft(np.array(cut) * window, n=frames.n_fft)[:, : frames.n_bins]
    magnitudes = np.abs(spectra)
    # A negative power turns the phase by a quarter.
    roots = np.sqrt((magnitudes**2 @ matrix.T).astype(np.complex128))
    spectra *= roots / np.maximum(magnitudes, 1e-300)
    made = np.fft.irfft(spectra, n=frames.n_fft)[:, : frames.length] * window
    quarters = made.reshape(n_hops, 4, hop)
    smeared = np.zeros((n_hops + 3, hop))
    for age in range(4):
        smeared[age:n_hops] += quarters[: n_hops - age, age]
    oldest, newest, newer = quarters[-4], quarters[-1], quarters[-2]
    smeared[n_hops] = oldest[0] + newest[1] + newer[2]
    smeared[n_hops + 1] = oldest[1] + newest[2]
    smeared[n_hops + 2] = oldest[2]
    return smeared.ravel()


def gammatone_channels(waveform: np.ndarray, gammatones: Gammatones) -> np.ndarray:
    """Channels of a signal at 44.1 kHz: float64 [shape=(n_channels, n)]."""
    z = np.exp(-2j * np.pi * gammatones.centres_hz / RATE)
    widths_hz = gammatones.broadening * erb_hz(gammatones.centres_hz)
    poles = np.exp(-2 * np.pi * widths_hz / RATE) / z
    channels = []
    for i, pole in enumerate(poles):
        a = np.array([1, -2 * pole.real, abs(pole) ** 2])
        gain = np.polyval(a[::-1], z[i]) / (1 - pole.real * z[i])
        channel = waveform
        for _ in range(4):
            channel = lfilter(abs(gain) * np.array([1, -pole.real]), a, channel)
        advance = int(gammatones.advances[i])
        channel = np.pad(channel, (0, advance))[advance : advance + len(waveform)]
        channels.append(lfilter(gammatones.highpass_b[i], gammatones.highpass_a[i], channel))
    return np.array(channels)


def envelopes(channels: np.ndarray, centres_hz: np.ndarray) -> np.ndarray:
    """Rectified and smoothed channels: float64 [shape=(n_channels, n)]."""
    smoothed = []
    for channel, bandwidth_hz in zip(channels, erb_hz(centres_hz), strict=True):
        b, a = ellip(2, 0.25, 35, 0.75 * min(100, bandwidth_hz), fs=RATE)
        smoothed.append(filtfilt(b, a, np.abs(channel), padlen=8))
    return np.array(smoothed)


def recruit(
    waveform: np.ndarray, gammatones: Gammatones, ratios: np.ndarray, full_scale_db_spl: float
) -> np.ndarray:
    """Loudness recruitment of a signal at 44.1 kHz: float64 [shape=(n,)]."""
    channels = gammatone_channels(waveform, gammatones)
    catch_up = 10 ** ((105 - full_scale_db_spl) / 20)
    envelope = np.clip(envelopes(channels, gammatones.centres_hz), 1e-9, catch_up)
    gains = (envelope / catch_up) ** (ratios[:, None] - 1)
    return (channels * gains).sum(axis=0) * 10 ** (-gammatones.recombination_db / 20)


def into_ear(waveform: np.ndarray) -> np.ndarray:
    """The way in, after the first 10 ms piece has got the level of the whole clip."""
    piece = waveform[:441]
    level_change = np.sqrt(np.mean(waveform**2) / np.mean(piece**2))
    return lfilter(ear_taps(RATE), 1, waveform * level_change)


def out_of_ear(waveform: np.ndarray) -> np.ndarray:
    """The way out, through the final low-pass."""
    return lfilter(lowpass_taps(RATE), 1, lfilter(ear_taps(RATE, outwards=True), 1, waveform))
