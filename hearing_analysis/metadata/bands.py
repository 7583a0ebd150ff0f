"""Speech in third-octave bands: its tilt, and how much of it lies above a hearing threshold.

Bands, their importance for speech and the noise within a normal ear are those of the speech
intelligibility index, ANSI S3.5-1997 (R2017), table 3, for average speech.
"""

from functools import lru_cache

import numpy as np

from pipeline.masking.profiles import HearingProfile

CENTRES_HZ = (
    *(160.0, 200.0, 250.0, 315.0, 400.0, 500.0, 630.0, 800.0, 1000.0),
    *(1250.0, 1600.0, 2000.0, 2500.0, 3150.0, 4000.0, 5000.0, 6300.0, 8000.0),
)
IMPORTANCE = (
    *(0.0083, 0.0095, 0.0150, 0.0289, 0.0440, 0.0578, 0.0653, 0.0711, 0.0818),
    *(0.0844, 0.0882, 0.0898, 0.0868, 0.0844, 0.0771, 0.0527, 0.0364, 0.0185),
)
# Reference internal noise spectrum level in dB SPL per Hz: what a normal ear does not hear.
INTERNAL_NOISE_DB = (
    *(0.6, -1.7, -3.9, -6.1, -8.2, -9.7, -10.8, -11.9, -12.5),
    *(-13.5, -15.4, -17.7, -21.2, -24.2, -25.9, -23.6, -15.8, -7.1),
)
SPEECH_LEVEL_DB_SPL = 65.0  # conversation at one metre, before the loss
ACTIVE_RANGE_DB = 40.0  # frames so far below the loudest are pauses
FLOOR_DBFS = -140.0  # below what 24 bits hold; stands for silence


@lru_cache(maxsize=4)
def band_filters(sampling_rate: int, n_fft: int) -> np.ndarray:
    """Say which bins belong to a band: float32 [shape=(n_fft / 2 + 1, 18)], of zeros and ones."""
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / sampling_rate)[:, None]
    centres_hz = np.array(CENTRES_HZ)
    low_hz, high_hz = centres_hz * 2 ** (-1 / 6), centres_hz * 2 ** (1 / 6)
    return ((frequencies_hz >= low_hz) & (frequencies_hz < high_hz)).astype(np.float32)


def band_widths_hz(sampling_rate: int, n_fft: int) -> np.ndarray:
    """Width of a band as far as bins reach: float64 [shape=(18,)]; 0 above half the rate."""
    counts = band_filters(sampling_rate, n_fft).sum(axis=0, dtype=np.float64)
    return counts * sampling_rate / n_fft


def long_term_levels_dbfs(waveform: np.ndarray, sampling_rate: int, n_fft: int) -> np.ndarray:
    """Long-term level of every band.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        At least one sample.
    sampling_rate : int
        In Hz.
    n_fft : int
        Frames of so many samples, half overlapping, under a Hann window.

    Returns
    -------
    np.ndarray [shape=(18,), dtype=float32]
        dB re an RMS of 1, no lower than `FLOOR_DBFS`.
    """
    padded = np.pad(waveform, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 2]
    window = np.hanning(n_fft + 1)[:-1]
    filters = band_filters(sampling_rate, n_fft)
    powers = np.zeros(len(CENTRES_HZ))
    for start in range(0, len(frames), 64):  # bounds memory
        spectrum = np.abs(np.fft.rfft(frames[start : start + 64] * window)) ** 2
        powers += (spectrum @ filters).sum(axis=0)
    # By Parseval; the squares of Hann windows that overlap by half add up to 3/4 on average.
    mean_square = powers * 2 / n_fft / (0.75 * len(waveform))
    floor = 10 ** (FLOOR_DBFS / 10)
    return (10 * np.log10(np.maximum(mean_square, floor))).astype(np.float32)


def spectral_tilt(powers: np.ndarray, widths_hz: np.ndarray) -> float | None:
    """Slope of a straight line through the long-term spectrum, in dB per octave.

    Parameters
    ----------
    powers : np.ndarray [shape=(frames, 18)]
        Of every band, in any unit.
    widths_hz : np.ndarray [shape=(18,)]

    Returns
    -------
    float or None
        Of the spectrum level (per Hz), unweighted over the bands; None where fewer than two bands
        hold anything. 0 for white noise.
    """
    total = powers.sum(axis=0, dtype=np.float64)
    known = (total > 0) & (widths_hz > 0)
    if known.sum() < 2:
        return None
    octaves = np.log2(np.array(CENTRES_HZ)[known])
    level_db = 10 * np.log10(total[known] / widths_hz[known])
    centred = octaves - octaves.mean()
    return float(centred @ level_db / (centred @ centred))


def audibility(powers: np.ndarray, widths_hz: np.ndarray, profile: HearingProfile) -> float | None:
    """Share of the speech that a profile leaves above the threshold of hearing.

    The clip, before its loss, is taken to be spoken at 65 dB SPL. In every band the share of energy
    is counted whose frames reach the ear above its internal noise; shares are averaged by the
    bands' importance for speech.

    Parameters
    ----------
    powers : np.ndarray [shape=(frames, 18)]
        Mean square of every band, after the mask; full scale is 1.
    widths_hz : np.ndarray [shape=(18,)]
    profile : HearingProfile
        What the mask attenuated by.

    Returns
    -------
    float or None
        From 0 to 1; None for digital silence.
    """
    from pipeline.masking.mask import attenuation_db  # brings scipy, which takes a while

    present = widths_hz > 0
    powers = powers[:, present].astype(np.float64)
    loss_db = attenuation_db(profile, np.array(CENTRES_HZ)[present])
    spoken = powers * 10 ** (loss_db / 10)
    frame_powers = spoken.sum(axis=1)
    active = frame_powers > frame_powers.max(initial=0.0) * 10 ** (-ACTIVE_RANGE_DB / 10)
    if not active.any():
        return None
    full_scale_db_spl = SPEECH_LEVEL_DB_SPL - 10 * np.log10(frame_powers[active].mean())
    noise_db = np.array(INTERNAL_NOISE_DB)[present]
    limit = widths_hz[present] * 10 ** ((noise_db - full_scale_db_spl) / 10)
    heard = np.where(powers >= limit, spoken, 0.0).sum(axis=0)
    total = spoken.sum(axis=0)
    shares = np.divide(heard, total, out=np.zeros_like(heard), where=total > 0)
    importance = np.array(IMPORTANCE)[present]
    return float(shares @ importance / importance.sum())
