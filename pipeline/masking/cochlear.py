"""The cochlear simulator: what is left of speech in an ear with a cochlear hearing loss.

The Cambridge model, known as MSBG after Moore, Stone, Baer and Glasberg, whose reference here is
pyclarity 0.9.0 (``clarity.evaluator.msbg``): outer and middle ear, spectral smearing, loudness
recruitment, and the way back out of the ear. See :mod:`pipeline.masking.smearing` and
:mod:`pipeline.masking.recruitment` for the papers.

At 44.1 kHz the output equals pyclarity's, moved to where the input was, to a signal-to-noise ratio
of 58 to 75 dB (speech, white noise; profiles normal, N1 to N4, hfloss).

At 16 kHz, for which the model was not made, filters have the responses that they have at 44.1 kHz,
and frames are 5.75 ms long instead of 5.80. Held against the model at 44.1 kHz on the same clip
resampled there and back (eight speakers at 65 dB SPL), the level of every octave up to 4 kHz is met
within 0.05 dB, that of the last within 0.15 dB (N4, of which nothing is left there: 0.7 dB).
Waveforms are met as follows, in dB; where there is smearing, that is as near as the model comes to
itself when its frames begin half a hop later (second lines), for it depends on where they begin.

    centre of the octave in Hz     125   250   500  1000  2000  4000  to 7600
    normal: no smearing             70    77    72    60    50    47    25
    N1: mild smearing               46    47    40    31    31    26    19
                                    44    45    38    29    28    24    17
    N2: moderate smearing           35    39    35    27    27    23    17
                                    33    37    33    25    24    21    16
    N3: severe smearing             29    34    31    24    24    22    17
                                    26    32    29    21    22    19    16

There is no delay, yet low frequencies lead, as in the model: by 0.3 ms at 1.5 kHz, by 2 to 5 ms
below 250 Hz.
"""

from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
import scipy.fft
from scipy.signal import firwin, oaconvolve
from scipy.signal.windows import kaiser

from pipeline.errors import InputError
from pipeline.masking.ear_constants import (
    EAR_HZ,
    FIELD_TO_EARDRUM_DB,
    MIDDLE_EAR_DB,
    MODEL_RATE,
    load_gammatones,
)
from pipeline.masking.mask import Interpolation, checked
from pipeline.masking.profiles import HearingProfile
from pipeline.masking.recruitment import Filterbank, expansion_ratios
from pipeline.masking.severity import pure_tone_average
from pipeline.masking.smearing import Broadening, Frames, smear, smearing_matrix

Severity = Literal["none", "mild", "moderate", "severe"]

# Per sampling rate: block of the filterbank, 2.0 and 2.2 s.
BLOCK_LENGTHS = {16_000: 2**15, 44_100: 3 * 2**15}
# Mean threshold up to which a loss belongs to a class, in dB HL.
SEVERITIES: tuple[tuple[Severity, float], ...] = (
    ("none", 15.0),
    ("mild", 35.0),
    ("moderate", 56.0),
    ("severe", np.inf),
)
SEVERITY_HZ = (2000.0, 3000.0, 4000.0, 6000.0, 8000.0)
SMEARING: dict[Severity, Broadening] = {
    "mild": Broadening(1.6, 1.1),
    "moderate": Broadening(2.4, 1.6),
    "severe": Broadening(4.0, 2.0),
}
# Width of the gammatone filters, in bandwidths of a normal ear.
CHANNEL_WIDTHS: dict[Severity, float] = {
    "none": 1.5,
    "mild": 1.5,
    "moderate": 2.0,
    "severe": 3.0,
}
# Nothing above is let out of the ear, in Hz: processing noise, mostly.
UPPER_CUTOFF_HZ = 18_000


@dataclass(frozen=True, eq=False)
class Cochlea:
    """The profiles of one severity class, which share everything but their thresholds.

    Attributes
    ----------
    rows : tuple of int
        Places of the profiles among all.
    matrix : np.ndarray [shape=(n_bins, n_bins), dtype=float64], optional
        None: no smearing.
    filterbank : Filterbank
    ratios : np.ndarray [shape=(n_profiles, n_channels), dtype=float64]
    """

    rows: tuple[int, ...]
    matrix: np.ndarray | None
    filterbank: Filterbank
    ratios: np.ndarray


@dataclass(frozen=True)
class CochlearSimulator:
    """Simulate cochlear hearing losses.

    Parameters
    ----------
    profiles : tuple of HearingProfile
        At least one. The model's authors intend it for thresholds up to 80 or 90 dB HL; higher ones
        are processed too, those above 104 dB HL as 104.
    sampling_rate : {16000, 44100}
        In Hz.
    equiv_0db_spl : float
        Calibration: the level in dB SPL of a signal whose root mean square is 1.0. Recruitment
        depends on level, so this decides how much is heard; with 100, speech at -35 dB re full
        scale is heard at a conversational 65 dB SPL.
    interpolation : {"linear", "octave", "auto"}
        How thresholds are read between the points of an audiogram, as in
        :func:`pipeline.masking.mask.attenuation_db`. The model's own way is linear.

    Raises
    ------
    InputError
        If there is no profile, or the rate or the calibration cannot be used.

    Notes
    -----
    pyclarity's ``Ear(equiv_0db_spl=e, ahr=a)`` corresponds to ``equiv_0db_spl = e + a`` here. It
    first scales every clip such that its louder 10-ms pieces have the level that the whole clip
    had; here a clip keeps its level. Its output is late by 1080 samples, by 1272 with smearing.
    """

    profiles: tuple[HearingProfile, ...]
    sampling_rate: int = 16_000
    equiv_0db_spl: float = 100.0
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if not self.profiles:
            raise InputError("no hearing profile; name at least one")
        if self.sampling_rate not in BLOCK_LENGTHS:
            known = " or ".join(map(str, BLOCK_LENGTHS))
            raise InputError(
                f"the cochlear simulator works at {known} Hz, not at {self.sampling_rate}; "
                "give one of these as --sample-rate"
            )
        if not np.isfinite(self.equiv_0db_spl):
            raise InputError(f"equiv_0db_spl {self.equiv_0db_spl}; it must be a level in dB SPL")

    def __getstate__(self) -> dict[str, Any]:
        """Go to a worker without what it can compute for itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def simulate(self, waveform: np.ndarray) -> np.ndarray:
        """Let every ear hear a clip.

        Parameters
        ----------
        waveform : np.ndarray [shape=(n,), dtype=float32]
            At least one sample, all finite.

        Returns
        -------
        np.ndarray [shape=(n_profiles, n), dtype=float32]
            Digital silence stays silent.

        Raises
        ------
        ClipError
            If the waveform is empty, not one-dimensional, or not finite.
        """
        waveform = checked(waveform)
        # A peak between 1/2 and 1 keeps single precision from overflowing; a power of two is exact.
        exponent = int(np.frexp(np.abs(waveform).max())[1])
        level = self.equiv_0db_spl + 20 * np.log10(2.0) * exponent
        heard = self._simulate_scaled(np.ldexp(waveform, -exponent), level)
        largest = np.finfo(np.float32).max
        return np.clip(np.ldexp(heard.astype(np.float64), exponent), -largest, largest).astype(
            np.float32
        )

    def _simulate_scaled(self, waveform: np.ndarray, full_scale_db_spl: float) -> np.ndarray:
        inwards, outwards = _ways(self.sampling_rate)
        arrived = oaconvolve(waveform, inwards)
        heard = np.empty((len(self.profiles), len(arrived)), dtype=np.float32)
        for cochlea in self._cochleas:
            smeared = arrived
            if cochlea.matrix is not None:
                smeared = smear(arrived, cochlea.matrix, Frames.at(self.sampling_rate))
            heard[list(cochlea.rows)] = cochlea.filterbank.recruit(
                smeared, cochlea.ratios, full_scale_db_spl
            )
        out = oaconvolve(heard, outwards[None], mode="same", axes=1)
        start = len(inwards) // 2
        return out[:, start : start + len(waveform)]

    @cached_property
    def _cochleas(self) -> tuple[Cochlea, ...]:
        """One for every severity class that occurs."""
        classes = [severity_class(profile) for profile in self.profiles]
        return tuple(self._cochlea(name, classes) for name, _ in SEVERITIES if name in classes)

    def _cochlea(self, name: Severity, classes: list[Severity]) -> Cochlea:
        rows = tuple(row for row, its_class in enumerate(classes) if its_class == name)
        filterbank = _filterbank(CHANNEL_WIDTHS[name], self.sampling_rate)
        centres_hz = filterbank.gammatones.centres_hz
        ratios = [
            expansion_ratios(self.profiles[row], centres_hz, self.interpolation) for row in rows
        ]
        matrix = _smearing_matrix(name, self.sampling_rate) if name in SMEARING else None
        return Cochlea(rows, matrix, filterbank, np.array(ratios))


@cache
def _ways(sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Taps of the filters into the cochlea and out of it."""
    inwards = at_rate(ear_taps(MODEL_RATE), sampling_rate)
    outwards = at_rate(ear_taps(MODEL_RATE, outwards=True), sampling_rate)
    if sampling_rate > 2 * UPPER_CUTOFF_HZ:
        outwards = np.convolve(outwards, lowpass_taps(sampling_rate))
    return inwards.astype(np.float32), outwards.astype(np.float32)


@cache
def _filterbank(width: float, sampling_rate: int) -> Filterbank:
    return Filterbank(load_gammatones(width), sampling_rate, BLOCK_LENGTHS[sampling_rate])


@cache
def _smearing_matrix(name: Severity, sampling_rate: int) -> np.ndarray:
    n_bins = Frames.at(sampling_rate).n_bins
    return smearing_matrix(SMEARING[name], sampling_rate, n_bins)


def severity_class(profile: HearingProfile) -> Severity:
    """Class of a loss by its mean threshold from 2 to 8 kHz, which decides the filters' widths.

    The mean is over 2, 3, 4, 6 and 8 kHz, interpolated over octaves and constant beyond the
    profile's last point; pyclarity averages those of its points that lie in the range.
    """
    mean = pure_tone_average(profile, SEVERITY_HZ)
    return next(name for name, highest in SEVERITIES if mean <= highest)


def ear_taps(sampling_rate: int, *, outwards: bool = False) -> np.ndarray:
    """Filter from a frontal free field through outer and middle ear to the cochlea, or back.

    Parameters
    ----------
    sampling_rate : int
        In Hz.
    outwards : bool
        The inverse.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        Symmetric, 23 ms long: sampled in frequency, as MATLAB's ``fir2`` does it.
    """
    nyquist_hz = sampling_rate // 2
    correction_db = np.subtract(FIELD_TO_EARDRUM_DB, MIDDLE_EAR_DB)
    points_hz = [hz for hz in EAR_HZ if hz < nyquist_hz] + [nyquist_hz]
    points_db = np.interp(points_hz, EAR_HZ, correction_db)
    gains = 10 ** ((-points_db if outwards else points_db) / 20)
    half = int(sampling_rate / 16_000 * 368 / 2)
    response = _on_grid(np.array(points_hz) / nyquist_hz, gains)
    impulse = scipy.fft.irfft(response)
    return np.concatenate([impulse[-half:], impulse[: half + 1]]) * kaiser(2 * half + 1, 4)


def lowpass_taps(sampling_rate: int) -> np.ndarray:
    """Symmetric low-pass at 18 kHz, 3 ms long: float64 [shape=(n,)]."""
    n_taps = 2 * int(0.0015 * sampling_rate) + 1
    return firwin(n_taps, UPPER_CUTOFF_HZ, window=("kaiser", 8), fs=sampling_rate)


def at_rate(taps: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Symmetric filter for another rate, with the response that taps have at 44.1 kHz.

    Designing it anew would not do: below 100 Hz the two designs differ by up to 8 dB.

    Parameters
    ----------
    taps : np.ndarray [shape=(n,)]
        Odd in number.
    sampling_rate : int
        In Hz, not above 44.1 kHz.

    Returns
    -------
    np.ndarray [shape=(m,), dtype=float64]
        Odd in number. Response within 6e-5 of full gain of that of taps.
    """
    if sampling_rate == MODEL_RATE:
        return taps
    half = len(taps) // 2
    n_fft = 8192
    radians = 2 * np.pi * np.fft.rfftfreq(n_fft, 1 / sampling_rate) / MODEL_RATE
    response = np.cos(np.outer(radians, np.arange(-half, half + 1))) @ taps
    impulse = scipy.fft.irfft(response)
    # What a cut at the new Nyquist frequency rings on, for 4.5 ms.
    half = int(half * sampling_rate / MODEL_RATE) + 72
    return np.concatenate([impulse[-half:], impulse[: half + 1]])


def _on_grid(points: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Straight lines between points (1 is the Nyquist frequency), rounded to a grid as in fir2."""
    n_grid = 513  # what fir2 takes for fewer than 1024 taps
    response = np.empty(n_grid)
    response[0] = gains[0]
    first = 0
    for right, low, high in zip(points[1:], gains[:-1], gains[1:], strict=True):
        last = int(right * n_grid) - 1
        if last >= first:
            steps = max(last - first, 1)
            response[first : last + 1] = low + (high - low) * np.arange(last - first + 1) / steps
        first = last + 1
    return response
