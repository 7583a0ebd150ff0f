"""The absolute threshold: what falls below it is gone, and no gain brings it back.

The mask alone only attenuates, and a recogniser that normalises level undoes most of that. Here
a clip is given a sound pressure level; the mask attenuates it by the loss; and what reaches
the (now normal) ear is held against the threshold of normal hearing, in one of two ways:

``noise``
    A steady noise that just masks what lies below the threshold is added, as in an ear whose own
    noise sets its limit (the principle of the threshold-equalising noise of Moore et al. 2000,
    Br. J. Audiol. 34:205-224). Its power in each auditory filter equals the threshold.
``gate``
    Cells of the spectrum whose auditory filter holds less than the threshold are set to zero.

Threshold of normal hearing: 0 dB HL in a free field, ISO 389-7 (binaural, frontal incidence), in
dB SPL. Width of auditory filters: Glasberg & Moore (1990), Hear. Res. 47:103-138.
"""

import hashlib
from typing import Literal

import numpy as np
import scipy.fft

from pipeline.masking.mask import StftSettings

Threshold = Literal["noise", "gate"]
THRESHOLDS: tuple[Threshold, ...] = ("noise", "gate")
SPEECH_LEVEL_DB_SPL = 65.0  # conversation at one metre

# ISO 389-7 reference thresholds of hearing, free field: Hz and dB SPL.
THRESHOLD_HZ = (125.0, 250.0, 500.0, 750.0, 1000.0, 1500.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0)
THRESHOLD_DB_SPL = (22.1, 11.4, 4.4, 2.4, 2.4, 2.4, -1.3, -5.8, -5.4, 4.3, 12.6)

ACTIVE_RANGE_DB = 40.0  # frames so far below the loudest are pauses
FRAME_SECONDS = 0.02


def hearing_threshold_db_spl(frequencies_hz: np.ndarray) -> np.ndarray:
    """Threshold of normal hearing for tones in a free field.

    Parameters
    ----------
    frequencies_hz : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        In dB SPL; interpolated over octaves, constant beyond 125 Hz and 8 kHz.
    """
    octaves = np.log2(np.maximum(np.asarray(frequencies_hz, dtype=np.float64), THRESHOLD_HZ[0]))
    return np.interp(octaves, np.log2(THRESHOLD_HZ), THRESHOLD_DB_SPL)


def auditory_bandwidth_hz(frequencies_hz: np.ndarray) -> np.ndarray:
    """Equivalent rectangular bandwidth of auditory filters, in Hz (Glasberg & Moore 1990)."""
    return 24.7 * (4.37 * np.asarray(frequencies_hz, dtype=np.float64) / 1000 + 1)


def active_rms(waveform: np.ndarray, sampling_rate: int) -> float:
    """Root mean square of the frames that hold sound.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,)]
    sampling_rate : int
        In Hz.

    Returns
    -------
    float
        Over frames of 20 ms less than 40 dB below the loudest one; 0 for digital silence.
    """
    length = max(1, round(FRAME_SECONDS * sampling_rate))
    samples = np.asarray(waveform, dtype=np.float64)
    starts = np.arange(0, len(samples), length)
    counts = np.diff(np.append(starts, len(samples)))
    powers = np.add.reduceat(samples**2, starts) / counts
    active = powers >= powers.max() * 10 ** (-ACTIVE_RANGE_DB / 10)
    return float(np.sqrt((powers * counts)[active].sum() / counts[active].sum()))


def full_scale_db_spl(
    waveform: np.ndarray, sampling_rate: int, speech_level_db_spl: float = SPEECH_LEVEL_DB_SPL
) -> float:
    """Sound pressure level that an RMS of 1.0 stands for, if this clip is played at a speech level.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,)]
    sampling_rate : int
        In Hz.
    speech_level_db_spl : float
        Level of the clip where it is active.

    Returns
    -------
    float
        In dB SPL; infinite for digital silence, which has no level.
    """
    rms = active_rms(waveform, sampling_rate)
    return speech_level_db_spl - 20 * np.log10(rms) if rms > 0 else np.inf


def threshold_noise(
    n_samples: int, settings: StftSettings, full_scale_db_spl: float, seed: int
) -> np.ndarray:
    """Gaussian noise whose power in every auditory filter is the threshold of normal hearing.

    Parameters
    ----------
    n_samples : int
    settings : StftSettings
        For its sampling rate.
    full_scale_db_spl : float
        See :func:`full_scale_db_spl`.
    seed : int

    Returns
    -------
    np.ndarray [shape=(n_samples,), dtype=float32]
    """
    # A transform of a round length is quicker, and noise may be cut anywhere.
    length = scipy.fft.next_fast_len(n_samples, real=True)
    white = np.random.default_rng(seed).standard_normal(length, dtype=np.float32)
    spectrum = scipy.fft.rfft(white, overwrite_x=True)
    frequencies = np.arange(len(spectrum)) * (settings.sampling_rate / length)
    # White noise of unit power has 2 / sampling_rate per Hz.
    density_db = hearing_threshold_db_spl(frequencies) - full_scale_db_spl
    density_db -= 10 * np.log10(auditory_bandwidth_hz(frequencies))
    gain = 10 ** (density_db / 20) * np.sqrt(settings.sampling_rate / 2)
    spectrum *= gain.astype(np.float32)
    return scipy.fft.irfft(spectrum, n=length, overwrite_x=True)[:n_samples]


def audible_cells(
    spectrum: np.ndarray, settings: StftSettings, full_scale_db_spl: float
) -> np.ndarray:
    """Tell which cells of a spectrum belong to an auditory filter above the threshold.

    Parameters
    ----------
    spectrum : np.ndarray [shape=(n_frames, n_fft / 2 + 1), dtype=complex64]
        Of frames under a periodic Hann window.
    settings : StftSettings
    full_scale_db_spl : float
        See :func:`full_scale_db_spl`.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_fft / 2 + 1), dtype=bool]
    """
    bins_hz = settings.bins_hz
    # Never narrower than what the window makes of a tone, two bins on either side.
    half_width = np.maximum(auditory_bandwidth_hz(bins_hz) / 2, 2.01 * bins_hz[1])
    low = np.searchsorted(bins_hz, bins_hz - half_width)
    high = np.searchsorted(bins_hz, bins_hz + half_width, side="right")
    power = spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2
    running = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    # Parseval for one-sided spectra, over the energy of the Hann window, 3/8 a sample.
    mean_square = (running[:, high] - running[:, low]) * (2 / (0.375 * settings.n_fft**2))
    limit = 10 ** ((hearing_threshold_db_spl(bins_hz) - full_scale_db_spl) / 10)
    return mean_square >= limit


def noise_seed(waveform: np.ndarray) -> int:
    """Seed that follows from the clip alone, so that a run can be repeated in any order."""
    return int.from_bytes(hashlib.sha256(waveform.tobytes()).digest()[:8], "little")
