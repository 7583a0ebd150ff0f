"""The ways to simulate a hearing loss, one object each: a clip in, a variant per profile out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from pipeline.errors import InputError
from pipeline.masking.audibility import (
    SPEECH_LEVEL_DB_SPL,
    Threshold,
    audible_cells,
    full_scale_db_spl,
    noise_seed,
    threshold_noise,
)
from pipeline.masking.mask import Interpolation, StftSettings, apply_mask, checked, gains
from pipeline.masking.profiles import HearingProfile

if TYPE_CHECKING:
    from pipeline.masking.cochlear import CochlearSimulator

SimulatorName = Literal["mask", "audibility", "cochlear"]
SIMULATORS: tuple[SimulatorName, ...] = ("mask", "audibility", "cochlear")
LOWEST_SPEECH_DB_SPL, HIGHEST_SPEECH_DB_SPL = 20.0, 110.0


class Simulator(Protocol):
    """What the stage asks for. It is sent to the workers."""

    def simulate(self, waveform: np.ndarray) -> np.ndarray:
        """Turn float32 [shape=(n,)] into float32 [shape=(n_profiles, n)]."""


@dataclass(frozen=True)
class SimulationSettings:
    """How a loss is simulated.

    Attributes
    ----------
    simulator : {"mask", "audibility", "cochlear"}
        ``mask``: attenuation by the audiogram. ``audibility``: the same, and what falls below the
        absolute threshold is lost. ``cochlear``: loudness recruitment and spectral smearing.
    interpolation : {"auto", "linear", "octave"}
        Of audiograms, see :func:`pipeline.masking.mask.attenuation_db`; ``cochlear`` reads all of
        them over octaves by itself.
    speech_level_db_spl : float
        Level each clip is played at, where it is active; ``mask`` has no level.
    threshold : {"noise", "gate"}
        How ``audibility`` loses what lies below the threshold.
    """

    simulator: SimulatorName = "mask"
    interpolation: Interpolation = "auto"
    speech_level_db_spl: float = SPEECH_LEVEL_DB_SPL
    threshold: Threshold = "noise"

    def __post_init__(self) -> None:
        """Refuse levels that no speech has."""
        if not LOWEST_SPEECH_DB_SPL <= self.speech_level_db_spl <= HIGHEST_SPEECH_DB_SPL:
            raise InputError(
                f"--speech-level-db-spl {self.speech_level_db_spl:g} is not between "
                f"{LOWEST_SPEECH_DB_SPL:g} and {HIGHEST_SPEECH_DB_SPL:g}; conversation is 65"
            )

    def as_json(self) -> dict[str, Any]:
        """Settings that have an effect, for ``run.json``."""
        settings = asdict(self)
        if self.simulator == "mask":
            del settings["speech_level_db_spl"]
        if self.simulator != "audibility":
            del settings["threshold"]
        return settings


def make_simulator(
    profiles: tuple[HearingProfile, ...], stft: StftSettings, settings: SimulationSettings
) -> Simulator:
    """Make the simulator that the settings name.

    Raises
    ------
    InputError
        If it cannot work at the sampling rate, or a profile has no point it could use.
    """
    nyquist = stft.sampling_rate / 2
    for profile in profiles:
        if profile.frequencies_hz[0] > nyquist:
            raise InputError(
                f"hearing profile {profile.name!r} starts at {profile.frequencies_hz[0]:g} Hz, "
                f"above the {nyquist:g} Hz that a sampling rate of {stft.sampling_rate} Hz can "
                "hold; give a higher --sample-rate or another profile"
            )
    if settings.simulator == "cochlear":
        from pipeline.masking.cochlear import CochlearSimulator  # takes a second to import

        over = "octave" if settings.interpolation == "auto" else settings.interpolation
        ear = CochlearSimulator(profiles, stft.sampling_rate, interpolation=over)
        return CochlearAtLevel(ear, settings.speech_level_db_spl)
    if settings.simulator == "audibility":
        return AudibilitySimulator(profiles, stft, settings)
    return MaskSimulator(profiles, stft, settings)


@dataclass(frozen=True)
class MaskSimulator:
    """Attenuation by the audiogram, see :mod:`pipeline.masking.mask`."""

    profiles: tuple[HearingProfile, ...]
    stft: StftSettings
    settings: SimulationSettings

    @cached_property
    def _gains(self) -> np.ndarray:
        return gains(self.profiles, self.stft, self.settings.interpolation)

    def simulate(self, waveform: np.ndarray) -> np.ndarray:
        """Turn float32 [shape=(n,)] into float32 [shape=(n_profiles, n)]."""
        return apply_mask(waveform, self._gains, self.stft)


@dataclass(frozen=True)
class AudibilitySimulator(MaskSimulator):
    """Attenuation and an absolute threshold, see :mod:`pipeline.masking.audibility`."""

    def simulate(self, waveform: np.ndarray) -> np.ndarray:
        """Turn float32 [shape=(n,)] into float32 [shape=(n_profiles, n)]."""
        waveform = checked(waveform)
        if self.settings.threshold == "gate":
            return apply_mask(waveform, self._gains, self.stft, self._gate(waveform))
        masked = apply_mask(waveform, self._gains, self.stft)
        level = self._full_scale_db_spl(waveform)
        masked += threshold_noise(len(waveform), self.stft, level, noise_seed(waveform))
        return masked

    def _gate(self, waveform: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        level = self._full_scale_db_spl(waveform)
        return lambda spectrum: audible_cells(spectrum, self.stft, level)

    def _full_scale_db_spl(self, waveform: np.ndarray) -> float:
        rate, level = self.stft.sampling_rate, self.settings.speech_level_db_spl
        return full_scale_db_spl(waveform, rate, level)


@dataclass(frozen=True)
class CochlearAtLevel:
    """Recruitment and smearing at a speech level, see :mod:`pipeline.masking.cochlear`."""

    ear: "CochlearSimulator"
    speech_level_db_spl: float

    def simulate(self, waveform: np.ndarray) -> np.ndarray:
        """Turn float32 [shape=(n,)] into float32 [shape=(n_profiles, n)]."""
        waveform = checked(waveform)
        level = full_scale_db_spl(waveform, self.ear.sampling_rate, self.speech_level_db_spl)
        if not np.isfinite(level):  # digital silence
            return np.zeros((len(self.ear.profiles), len(waveform)), dtype=np.float32)
        scale = np.float32(10 ** ((level - self.ear.equiv_0db_spl) / 20))
        return self.ear.simulate(waveform * scale) / scale
