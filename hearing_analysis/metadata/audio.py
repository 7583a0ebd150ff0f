"""What a clip sounds like, in numbers: level, pauses and ten descriptors per frame.

The descriptors are librosa's, with librosa's defaults (frames of 2048 samples every 512, centred,
Hann) at the clip's own sampling rate. librosa recomputes the spectrum for each of them; here one
spectrum serves all, in numpy alone, so nothing heavy is imported for the first clip.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hearing_analysis.metadata.bands import (
    audibility,
    band_filters,
    band_widths_hz,
    spectral_tilt,
)
from pipeline.errors import InputError
from pipeline.masking.profiles import HearingProfile

N_FFT = 2048
HOP_LENGTH = 512  # a quarter of N_FFT; `_rms` leans on that
N_MELS = 128
MELS_AT_ONCE = 32
N_MFCC = 20
ROLLOFF_STRETCH = 32  # bins
ROLLOFF_SHARE = 0.85  # of the summed magnitude lies below the roll-off frequency
CONTRAST_EDGES_HZ = (0.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0, 12800.0)
CONTRAST_QUANTILE = 0.02
MIN_POWER = 1e-10
TOP_DB = 80.0

PAUSE_FRAME_SECONDS = 0.025
PAUSE_FRAMES = 6  # 150 ms
PAUSE_POWER = 1e-4  # -40 dB

STATISTICS = ("min", "max", "mean", "std")
DESCRIPTORS = (
    "spectral_flatness",
    "spectral_contrast",
    "melspectrogram",
    "mfcc",
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "spectral_rolloff",
    "poly_features",
    "zero_crossing_rate",
)
TYPES: dict[str, type] = {
    "duration_s": float,
    "signal_mean": float,
    "signal_std": float,
    "level_dbfs": float,
    "peak_dbfs": float,
    "pause_ratio": float,
    "pause_count": int,
    "spectral_tilt_db_per_octave": float,
    "audibility": float,
} | {f"{name}_{statistic}": float for name in DESCRIPTORS for statistic in STATISTICS}

_BLOCK_FRAMES = 48  # per pass: bounds memory; larger arrays glibc would take from the system anew


def audio_metadata(
    waveform: np.ndarray, sampling_rate: int, mask: HearingProfile | None = None
) -> dict[str, float | None]:
    """Describe one clip.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Unpadded; full scale is [-1, 1]. One sample is enough.
    sampling_rate : int
        In Hz.
    mask : HearingProfile, optional
        What the clip was attenuated by; without it there is no ``audibility``.

    Returns
    -------
    dict[str, float | None]
        The keys of `TYPES`, always, in that order:

        - ``duration_s``, ``signal_mean``, ``signal_std``;
        - ``level_dbfs`` (root mean square) and ``peak_dbfs`` in dB re full scale, None for digital
          silence;
        - ``pause_ratio``: the share of the clip in pauses; ``pause_count``: how many. A pause is at
          least 150 ms, at the clip's ends too, of frames of 25 ms that lie 40 dB or more below
          the clip's 95th percentile, which stands for the level of speech;
        - ``spectral_tilt_db_per_octave`` and ``audibility``: see :mod:`.bands`;
        - ``<descriptor>_min``, ``_max``, ``_mean``, ``_std`` over all frames (and bands or
          coefficients) of `DESCRIPTORS`. ``melspectrogram`` is power, ``poly_features`` the slope
          of a straight line through the magnitude spectrum, ``spectral_contrast`` the mean over
          the bands (None below 12.8 kHz, where its top band does not exist).

    Raises
    ------
    InputError
        If the waveform is empty, not one-dimensional or not finite.
    """
    waveform = _checked(waveform, sampling_rate)
    columns: dict[str, float | None] = {
        "duration_s": len(waveform) / sampling_rate,
        **_levels(waveform),
        **_pauses(waveform, sampling_rate),
    }
    described = _describe(waveform, sampling_rate)
    powers, widths_hz = described["bands"], band_widths_hz(sampling_rate, N_FFT)
    assert powers is not None
    columns["spectral_tilt_db_per_octave"] = spectral_tilt(powers, widths_hz)
    columns["audibility"] = audibility(powers, widths_hz, mask) if mask else None
    for name in DESCRIPTORS:
        columns |= _summary(name, described[name])
    return columns


def _checked(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1 or not waveform.size:
        raise InputError(
            f"audio metadata need a mono waveform of one sample or more, got shape {waveform.shape}"
        )
    if sampling_rate <= 0:
        raise InputError(f"the sampling rate must be above 0 Hz, got {sampling_rate}")
    if not np.isfinite(waveform).all():
        raise InputError("the waveform holds NaN or infinite samples; decode it again")
    return waveform


def _levels(waveform: np.ndarray) -> dict[str, float | None]:
    mean_square = np.mean(np.square(waveform, dtype=np.float64))
    return {
        "signal_mean": float(waveform.mean(dtype=np.float64)),
        "signal_std": float(waveform.std(dtype=np.float64)),
        "level_dbfs": _decibels_full_scale(np.sqrt(mean_square)),
        "peak_dbfs": _decibels_full_scale(np.abs(waveform).max()),
    }


def _decibels_full_scale(amplitude: float) -> float | None:
    return float(20 * np.log10(amplitude)) if amplitude > 0 else None


def _pauses(waveform: np.ndarray, sampling_rate: int) -> dict[str, float | None]:
    starts = np.arange(0, len(waveform), max(1, round(PAUSE_FRAME_SECONDS * sampling_rate)))
    energy = np.add.reduceat(np.square(waveform, dtype=np.float64), starts)
    power = energy / np.diff(starts, append=len(waveform))
    # "or equal": in digital silence the reference is 0 as well, and all of it is a pause.
    quiet = power <= PAUSE_POWER * np.percentile(power, 95)
    edges = np.flatnonzero(np.diff(quiet, prepend=False, append=False))
    lengths = edges[1::2] - edges[::2]
    lengths = lengths[lengths >= PAUSE_FRAMES]
    return {"pause_ratio": float(lengths.sum() / len(quiet)), "pause_count": len(lengths)}


def _summary(name: str, values: np.ndarray | None) -> dict[str, float | None]:
    if values is None:
        return {f"{name}_{statistic}": None for statistic in STATISTICS}
    return {
        f"{name}_min": float(values.min()),
        f"{name}_max": float(values.max()),
        f"{name}_mean": float(values.mean(dtype=np.float64)),
        f"{name}_std": float(values.std(dtype=np.float64)),
    }


def _describe(waveform: np.ndarray, sampling_rate: int) -> dict[str, np.ndarray | None]:
    """Descriptor -> its values, frames first; all from one pass over the frames."""
    kernels = _kernels(sampling_rate)
    padded = np.pad(waveform, N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    blocks = [
        _describe_block(frames[start : start + _BLOCK_FRAMES], kernels)
        for start in range(0, len(frames), _BLOCK_FRAMES)
    ]
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    peaks, valleys = joined.pop("peaks"), joined.pop("valleys")
    return {
        **joined,
        "spectral_contrast": _contrast(peaks, valleys) if kernels.bands else None,
        "mfcc": _power_to_db(joined["melspectrogram"]) @ kernels.cosines,
        "rms": _rms(padded, len(frames)),
        "zero_crossing_rate": _zero_crossing_rate(waveform, len(frames)),
    }


@dataclass(frozen=True)
class _Band:
    bins: slice
    n_extreme: int  # how many bins, from each end of the sorted band, make its peak and valley


@dataclass(frozen=True)
class _Filters:
    """Neighbouring columns of a matrix, without the rows that are zero in all of them."""

    bins: slice
    weights: np.ndarray  # [shape=(bins, filters)]


@dataclass(frozen=True)
class _Kernels:
    """What depends on the sampling rate alone. ``b`` is the number of bins, N_FFT / 2 + 1."""

    frequencies_hz: np.ndarray  # [shape=(b,), float64]
    window: np.ndarray  # [shape=(N_FFT,), float64]
    moments: np.ndarray  # [shape=(b, 4), float64]: 1, f, f² and the weights of a fitted slope
    mel: tuple[_Filters, ...]  # of N_MELS triangles, float32
    thirds: np.ndarray  # [shape=(b, 18), float32]: third-octave bands, to mean squares
    cosines: np.ndarray  # [shape=(N_MELS, N_MFCC), float32]
    bands: tuple[_Band, ...]  # of spectral contrast; none when the sampling rate is too low


@lru_cache(maxsize=4)
def _kernels(sampling_rate: int) -> _Kernels:
    frequencies_hz = np.fft.rfftfreq(N_FFT, 1 / sampling_rate)
    centred = frequencies_hz - frequencies_hz.mean()
    slope = centred / np.sum(centred**2)  # least squares on a fixed grid is a weighted sum
    return _Kernels(
        frequencies_hz=frequencies_hz,
        window=0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT),
        moments=np.stack([frequencies_hz**0, frequencies_hz, frequencies_hz**2, slope], axis=1),
        mel=_in_groups(_mel_filters(frequencies_hz)),
        # Parseval for one-sided spectra, over the energy of the Hann window, 3/8 a sample.
        thirds=band_filters(sampling_rate, N_FFT) * np.float32(2 / (0.375 * N_FFT**2)),
        cosines=_cosines(),
        bands=_contrast_bands(frequencies_hz),
    )


def _mel_filters(frequencies_hz: np.ndarray) -> np.ndarray:
    """Slaney's filterbank: triangles of area 1 on a scale that is linear up to 1 kHz, then log."""
    mels = np.linspace(0.0, _hz_to_mel(frequencies_hz[-1]), N_MELS + 2)
    edges_hz = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rise = (frequencies_hz[:, None] - lower) / (centre - lower)
    fall = (upper - frequencies_hz[:, None]) / (upper - centre)
    filters = np.maximum(0, np.minimum(rise, fall)) * 2 / (upper - lower)
    return filters.astype(np.float32)


def _in_groups(filters: np.ndarray) -> tuple[_Filters, ...]:
    """Cut a filterbank up: most of it is zeros, which need not be multiplied."""
    groups = []
    for start in range(0, filters.shape[1], MELS_AT_ONCE):
        columns = filters[:, start : start + MELS_AT_ONCE]
        held = np.flatnonzero(columns.any(axis=1))
        bins = slice(held[0], held[-1] + 1) if len(held) else slice(0, 1)
        groups.append(_Filters(bins, np.ascontiguousarray(columns[bins])))
    return tuple(groups)


def _hz_to_mel(frequency_hz: float) -> float:
    if frequency_hz < 1000:
        return frequency_hz * 3 / 200
    return 15 + 27 * np.log(frequency_hz / 1000) / np.log(6.4)


def _cosines() -> np.ndarray:
    """Orthonormal DCT-II as a matrix: 20 of its coefficients need no fast transform."""
    angles = np.outer(np.arange(N_MELS) + 0.5, np.arange(N_MFCC)) * np.pi / N_MELS
    cosines = np.cos(angles) * np.sqrt(2 / N_MELS)
    cosines[:, 0] /= np.sqrt(2)
    return cosines.astype(np.float32)


def _contrast_bands(frequencies_hz: np.ndarray) -> tuple[_Band, ...]:
    if CONTRAST_EDGES_HZ[-2] >= frequencies_hz[-1]:
        return ()
    return tuple(_contrast_band(frequencies_hz, k) for k in range(len(CONTRAST_EDGES_HZ) - 1))


def _contrast_band(frequencies_hz: np.ndarray, k: int) -> _Band:
    low_hz, high_hz = CONTRAST_EDGES_HZ[k : k + 2]
    inside = np.flatnonzero((frequencies_hz >= low_hz) & (frequencies_hz <= high_hz))
    is_last = k == len(CONTRAST_EDGES_HZ) - 2
    # As librosa: a band takes one bin below its lower edge and the last one all bins that are
    # left; the others then lose their top bin, which still counts for the quantile.
    start = inside[0] - (k > 0)
    stop = len(frequencies_hz) if is_last else inside[-1] + 1
    n_extreme = max(1, int(np.rint(CONTRAST_QUANTILE * (stop - start))))
    return _Band(slice(start, stop if is_last else stop - 1), n_extreme)


def _describe_block(frames: np.ndarray, kernels: _Kernels) -> dict[str, np.ndarray]:
    # The transform runs in float64, as librosa's does: what a simulated loss attenuates by 100 dB
    # would drown in the rounding of a float32 transform.
    magnitude = np.abs(np.fft.rfft(frames * kernels.window).astype(np.complex64))
    power = np.square(magnitude)
    total, first, second, slope = (magnitude.astype(np.float64) @ kernels.moments).T
    silent = total == 0
    total[silent] = 1.0
    centroid = first / total
    return {
        "spectral_flatness": _flatness(power),
        "melspectrogram": np.hstack([power[:, part.bins] @ part.weights for part in kernels.mel]),
        "bands": power @ kernels.thirds,
        "spectral_centroid": centroid,
        "spectral_bandwidth": np.sqrt(np.maximum(0, second / total - centroid**2)),
        "spectral_rolloff": _rolloff(magnitude, kernels.frequencies_hz),
        "poly_features": slope,
        **_extremes(magnitude, kernels.bands),
    }


def _flatness(power: np.ndarray) -> np.ndarray:
    power = np.maximum(power, np.float32(MIN_POWER))
    return np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)


def _rolloff(magnitude: np.ndarray, frequencies_hz: np.ndarray) -> np.ndarray:
    # The stretch of bins in which the share is reached first, then the bin within it.
    stretches = magnitude[:, :-1].reshape(len(magnitude), -1, ROLLOFF_STRETCH)
    below = np.cumsum(stretches.sum(axis=2), axis=1)
    wanted = ROLLOFF_SHARE * (below[:, -1] + magnitude[:, -1])
    stretch = np.argmax(below >= wanted[:, None], axis=1)
    frames = np.arange(len(magnitude))
    within = np.cumsum(stretches[frames, stretch], axis=1)
    within += (below[frames, stretch] - within[:, -1])[:, None]
    reached = np.argmax(within >= wanted[:, None], axis=1)
    bins = stretch * ROLLOFF_STRETCH + reached
    bins[below[:, -1] < wanted] = len(frequencies_hz) - 1  # which stretches leave out
    return frequencies_hz[bins]


def _extremes(magnitude: np.ndarray, bands: tuple[_Band, ...]) -> dict[str, np.ndarray]:
    peaks = np.zeros((len(magnitude), len(bands)))
    valleys = np.zeros_like(peaks)
    for k, band in enumerate(bands):
        ordered = np.sort(magnitude[:, band.bins], axis=1)
        peaks[:, k] = ordered[:, -band.n_extreme :].mean(axis=1)
        valleys[:, k] = ordered[:, : band.n_extreme].mean(axis=1)
    return {"peaks": peaks, "valleys": valleys}


def _contrast(peaks: np.ndarray, valleys: np.ndarray) -> np.ndarray:
    return (_power_to_db(peaks) - _power_to_db(valleys)).mean(axis=1)


def _power_to_db(power: np.ndarray) -> np.ndarray:
    """Decibels re 1, no further than 80 below the clip's highest value."""
    decibels = 10 * np.log10(np.maximum(power, MIN_POWER))
    return np.maximum(decibels, decibels.max() - TOP_DB)


def _rms(padded: np.ndarray, n_frames: int) -> np.ndarray:
    """Square each sample once: a frame is four consecutive hops."""
    hops = padded[: HOP_LENGTH * (n_frames + 3)].reshape(-1, HOP_LENGTH)
    energy = np.square(hops, dtype=np.float64).sum(axis=1)
    return np.sqrt(np.lib.stride_tricks.sliding_window_view(energy, 4).sum(axis=1) / N_FFT)


def _zero_crossing_rate(waveform: np.ndarray, n_frames: int) -> np.ndarray:
    padded = np.pad(waveform, N_FFT // 2, mode="edge")
    negative = padded < -MIN_POWER  # what is nearer to 0 counts as 0, and 0 as positive
    crossings = np.concatenate([[0], np.cumsum(negative[1:] != negative[:-1])])
    starts = HOP_LENGTH * np.arange(n_frames)
    return (crossings[starts + N_FFT - 1] - crossings[starts]) / N_FFT
