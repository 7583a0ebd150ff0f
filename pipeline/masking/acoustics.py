"""Measurements that tell whether a masked clip is its source, attenuated as the profile says.

Nothing here runs the mask: what a variant should be is derived from the gains alone. Under a
short-time transform, multiplying every frame by real gains is, but for the ends of a clip, the same
as convolving the clip with the inverse transform of the gains, repeated with the period of the
window and weighted by the window's autocorrelation (weighted overlap-add, Crochiere 1980, IEEE
Trans. ASSP 28:99-102). By Parseval the level of a band then changes by
``sum |X|² |G|² / sum |X|²``, where X is the source's spectrum in that band and G the response of
that filter.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.signal import fftconvolve
from scipy.signal.windows import hann

from pipeline.errors import ClipError
from pipeline.masking.mask import StftSettings
from pipeline.masking.profiles import OCTAVES_HZ

LEVEL_TOLERANCE_DB = 0.1
# Of the tolerance, what noise may use up at most, lest it decide a verdict, and how sure that is.
NOISE_SHARE = 0.5
NOISE_SIGMAS = 4.0
HANN_BINS, HANN_POWER = 1.5, 0.375  # of that window: noise bandwidth in bins, mean square
# The mask works in single precision: its errors are those of rounding to such steps of the peak.
SINGLE_PRECISION = 2.0**-22
FULL_SCALE_STEPS = 1.5  # so close to it, a stored sample is at full scale
FLAT_TOP_SAMPLES = 3  # so many neighbours at full scale are no peak
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class MaskFilter:
    """The filter that a mask is, far from the ends of a clip.

    Attributes
    ----------
    kernel : np.ndarray [shape=(2 * n_fft - 1,), dtype=float64]
        Impulse response, symmetric about its middle: there is no delay.
    band_gains : np.ndarray [shape=(n_bands,), dtype=float64]
        What it leaves of the power of white noise in each octave band.
    sampling_rate : int
        In Hz.
    """

    kernel: np.ndarray
    band_gains: np.ndarray
    sampling_rate: int


@dataclass(frozen=True)
class ExpectedClip:
    """A clip as it should have been stored.

    Attributes
    ----------
    samples : np.ndarray [shape=(n,), dtype=float64]
    noise_powers : np.ndarray [shape=(n_bands,), dtype=float64]
        Mean square, in each octave band, of what the mask's precision and storage add.
    gain_db : float
        What normalisation applied.
    """

    samples: np.ndarray
    noise_powers: np.ndarray
    gain_db: float


@dataclass(frozen=True)
class BandLevels:
    """How far a mask moved the octave bands of one clip, the gain of normalisation taken off.

    Attributes
    ----------
    change_db, expected_db : np.ndarray [shape=(n_bands,), dtype=float64]
        Level re the source: measured, and as the profile asks for.
    judged : np.ndarray [shape=(n_bands,), dtype=bool]
        Bands that lie far enough above the noise for their level to mean something.
    """

    change_db: np.ndarray
    expected_db: np.ndarray
    judged: np.ndarray

    @property
    def error_db(self) -> np.ndarray:
        """Measured less expected: float64 [shape=(n_bands,)]."""
        return self.change_db - self.expected_db


@dataclass(frozen=True)
class Delay:
    """By how much a clip comes later than it should.

    Attributes
    ----------
    samples : int
        Negative if it comes earlier.
    likeness : float
        Cosine of the angle between the two, once in step: from -1 to 1, and 0 for silence.
    """

    samples: int
    likeness: float


def octave_centres_hz(sampling_rate: int) -> np.ndarray:
    """Centres of the octave bands that a sampling rate in Hz can hold: float64 [shape=(n_bands,)].

    From 125 Hz to 8 kHz, at most half the sampling rate, where the last band ends early.
    """
    centres = np.array(OCTAVES_HZ)
    return centres[centres <= sampling_rate / 2]


def mask_filter(gains: np.ndarray, settings: StftSettings) -> MaskFilter:
    """Derive the filter that a mask is from its gains.

    Parameters
    ----------
    gains : np.ndarray [shape=(n_fft / 2 + 1,)]
    settings : StftSettings
    """
    window = hann(settings.n_fft, sym=False)
    overlap = fftconvolve(window, window[::-1])
    lags = np.arange(1 - settings.n_fft, settings.n_fft)
    response = scipy.fft.irfft(np.asarray(gains, dtype=np.float64), n=settings.n_fft)
    kernel = response[lags % settings.n_fft] * overlap / overlap.max()
    # At least one bin in each band, however short the kernel is.
    size = max(8 * settings.n_fft, 2 ** int(np.ceil(np.log2(settings.sampling_rate / 10))))
    powers = np.abs(scipy.fft.rfft(kernel, size)) ** 2
    bins_hz = scipy.fft.rfftfreq(size, 1 / settings.sampling_rate)
    counts = np.maximum(_sum_bands(np.ones_like(powers), bins_hz, settings.sampling_rate), 1)
    band_gains = _sum_bands(powers, bins_hz, settings.sampling_rate) / counts
    return MaskFilter(kernel, band_gains, settings.sampling_rate)


def expected_clip(
    source: np.ndarray, mask: MaskFilter, gain_db: float, step: float
) -> ExpectedClip:
    """Filter a source and apply the gain of normalisation.

    Parameters
    ----------
    source : np.ndarray [shape=(n,)]
        At the sampling rate of the mask.
    mask : MaskFilter
    gain_db : float
        ``output_gain_db`` of the variant.
    step : float
        Smallest difference that storage keeps, full scale being 1.
    """
    source = np.asarray(source, dtype=np.float64)
    gain = 10 ** (gain_db / 20)
    start, rate = len(mask.kernel) // 2, mask.sampling_rate
    samples = fftconvolve(source, mask.kernel)[start : start + len(source)] * gain
    noise = rounding_powers(rate, max(step, SINGLE_PRECISION * np.abs(samples).max()))
    before = rounding_powers(rate, SINGLE_PRECISION * np.abs(source).max() * gain)
    return ExpectedClip(samples, noise + before * mask.band_gains, gain_db)


def band_levels(
    variant: np.ndarray, expected: ExpectedClip, source: np.ndarray, sampling_rate: int
) -> BandLevels:
    """Compare the octave bands of a stored clip with those it should have.

    Parameters
    ----------
    variant : np.ndarray [shape=(n,)]
        As stored.
    expected : ExpectedClip
    source : np.ndarray [shape=(n,)]
    sampling_rate : int
        In Hz.

    Raises
    ------
    ClipError
        If the lengths differ.
    """
    if not len(variant) == len(expected.samples) == len(source):
        raise ClipError(f"{len(variant)} samples where the source has {len(source)}")
    measured, wanted, before = (
        band_powers(clip, sampling_rate) for clip in (variant, expected.samples, source)
    )
    # The louder one: a band that should be silent, and is not, has to be seen.
    noise_ratios = expected.noise_powers / np.maximum(np.maximum(measured, wanted), TINY)
    n_bins = _widths_hz(sampling_rate) * len(source) / sampling_rate / HANN_BINS
    judged = noise_error_db(noise_ratios, n_bins) < NOISE_SHARE * LEVEL_TOLERANCE_DB
    reference_db = _decibels(before) + expected.gain_db
    return BandLevels(_decibels(measured) - reference_db, _decibels(wanted) - reference_db, judged)


def band_powers(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Mean square of a clip in each octave band: float64 [shape=(n_bands,)].

    Under a Hann window as long as the clip, since near a clip's ends fewer windows of the mask
    overlap, and its filter is another there.
    """
    powers = np.abs(scipy.fft.rfft(_windowed(waveform))) ** 2
    bins_hz = scipy.fft.rfftfreq(len(waveform), 1 / sampling_rate)
    # Each bin stands for two; for the outermost, that do not, the difference is next to nothing.
    return 2 * _sum_bands(powers, bins_hz, sampling_rate) / (HANN_POWER * len(waveform) ** 2)


def rounding_powers(sampling_rate: int, step: float) -> np.ndarray:
    """Mean square of rounding to steps in each octave band: float64 [shape=(n_bands,)].

    White, of a twelfth of a squared step in all (Bennett 1948, Bell Syst. Tech. J. 27:446-472).
    """
    return step**2 / 12 * _widths_hz(sampling_rate) / (sampling_rate / 2)


def noise_error_db(noise_ratios: np.ndarray, n_bins: np.ndarray) -> np.ndarray:
    """By how much noise may raise or lower the level of a band.

    It adds its own power and, with either sign, what it has in common with the signal by chance:
    a standard deviation of ``sqrt(2 r / M)`` for a noise-to-signal ratio r in M independent bins.

    Parameters
    ----------
    noise_ratios, n_bins : np.ndarray [shape=(n_bands,)]

    Returns
    -------
    np.ndarray [shape=(n_bands,), dtype=float64]
    """
    return 10 * np.log10(1 + noise_ratios + NOISE_SIGMAS * np.sqrt(2 * noise_ratios / n_bins))


def measure_delay(variant: np.ndarray, expected: np.ndarray) -> Delay:
    """Find the peak of the cross-correlation of a clip with what it should be.

    Parameters
    ----------
    variant, expected : np.ndarray [shape=(n,)] and [shape=(m,)]
    """
    pair = _windowed(variant), _windowed(expected)
    size = scipy.fft.next_fast_len(len(variant) + len(expected) - 1, real=True)
    spectrum, reference = (scipy.fft.rfft(clip, size) for clip in pair)
    similarities = scipy.fft.irfft(spectrum * reference.conj(), size)
    lag = int(np.argmax(similarities))
    energy = np.sqrt(max(np.prod([clip @ clip for clip in pair]), TINY))
    return Delay(lag if lag < len(variant) else lag - size, float(similarities[lag] / energy))


def count_clipped(variant: np.ndarray, expected: np.ndarray, step: float) -> int:
    """Count samples at full scale that should lie elsewhere, by more than the tolerance of levels.

    Parameters
    ----------
    variant, expected : np.ndarray [shape=(n,)]
    step : float
        Smallest difference that storage keeps, full scale being 1.
    """
    tolerance = 10 ** (LEVEL_TOLERANCE_DB / 20) - 1
    astray = np.abs(np.abs(expected) - 1) > tolerance
    return int((_at_full_scale(variant, step) & astray).sum())


def count_flat_tops(variant: np.ndarray, step: float) -> int:
    """Count stretches of three or more samples at full scale: clipping, whatever was expected.

    Parameters
    ----------
    variant : np.ndarray [shape=(n,)]
    step : float
        Smallest difference that storage keeps, full scale being 1.
    """
    full = np.concatenate([[False], _at_full_scale(variant, step), [False]])
    starts, stops = np.flatnonzero(np.diff(full)).reshape(-1, 2).T
    return int((stops - starts >= FLAT_TOP_SAMPLES).sum())


def _at_full_scale(variant: np.ndarray, step: float) -> np.ndarray:
    return np.abs(variant) >= 1 - FULL_SCALE_STEPS * step


def _windowed(waveform: np.ndarray) -> np.ndarray:
    return np.asarray(waveform, dtype=np.float64) * hann(len(waveform), sym=False)


def _sum_bands(powers: np.ndarray, bins_hz: np.ndarray, sampling_rate: int) -> np.ndarray:
    first, last = np.searchsorted(bins_hz, _edges_hz(sampling_rate))
    return np.array([powers[a:b].sum() for a, b in zip(first, last, strict=True)])


def _widths_hz(sampling_rate: int) -> np.ndarray:
    low, high = np.minimum(_edges_hz(sampling_rate), sampling_rate / 2)
    return high - low


def _edges_hz(sampling_rate: int) -> np.ndarray:
    """Lower and upper edges of the octave bands: float64 [shape=(2, n_bands)]."""
    return np.outer([1 / np.sqrt(2), np.sqrt(2)], octave_centres_hz(sampling_rate))


def _decibels(powers: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(powers, TINY))
