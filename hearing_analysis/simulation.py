"""Hearing losses that no corpus holds: an audiogram from four numbers, applied to clips at hand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from hearing_analysis.samples import Sample, SampleSet
from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError
from pipeline.masking.mask import StftSettings, apply_mask, attenuation_db
from pipeline.masking.profiles import OCTAVES_HZ, HearingProfile

Family = Literal["flat", "sloping", "notch"]
Side = Literal["low", "high"]
FAMILIES: tuple[Family, ...] = ("flat", "sloping", "notch")
SIDES: tuple[Side, ...] = ("low", "high")
HIGHEST_DEGREE_DB, STEEPEST_DB_PER_OCTAVE = 100.0, 40.0
NOTCH_HZ: Mapping[Side, float] = {"low": 500.0, "high": 4000.0}  # 4 kHz: what noise does to an ear


@dataclass(frozen=True)
class HearingLoss:
    """A loss in four numbers.

    Attributes
    ----------
    family : {"flat", "sloping", "notch"}
        Alike at all frequencies; worst at one end; worst around one frequency.
    degree_db : float
        Threshold where it is worst, in dB HL.
    slope_db_per_octave : float
        How fast it recovers from there; not used for a flat one.
    side : {"low", "high"}
        Which end, 125 Hz or 8 kHz, or which notch, 500 Hz or 4 kHz; not used for a flat one.

    Raises
    ------
    InputError
        If a value is not an allowed one.
    """

    family: Family
    degree_db: float
    slope_db_per_octave: float
    side: Side

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        for name, value, allowed in (
            ("family", self.family, FAMILIES),
            ("side", self.side, SIDES),
        ):
            if value not in allowed:
                raise InputError(f"{name} {value!r} is not one of: {', '.join(allowed)}")
        for name, number, highest in (
            ("degree_db", self.degree_db, HIGHEST_DEGREE_DB),
            ("slope_db_per_octave", self.slope_db_per_octave, STEEPEST_DB_PER_OCTAVE),
        ):
            if not 0 <= number <= highest:
                raise InputError(f"{name} must lie between 0 and {highest:g}, got {number}")

    @property
    def name(self) -> str:
        """What the profile is called: ``simulated-sloping-high``, ``simulated-flat``."""
        return "-".join(["simulated", self.family, *([] if self.family == "flat" else [self.side])])

    def profile(self, normal: HearingProfile) -> HearingProfile:
        """Audiogram of an ear that has this loss, and elsewhere hears as a reference does.

        Parameters
        ----------
        normal : HearingProfile
            What the clips at hand went through already; a simulation takes nothing of it away.
        """
        octaves = np.log2(OCTAVES_HZ)
        worst = {
            "flat": octaves,
            "sloping": np.full(len(octaves), octaves[0 if self.side == "low" else -1]),
            "notch": np.full(len(octaves), np.log2(NOTCH_HZ[self.side])),
        }[self.family]
        loss_db = self.degree_db - self.slope_db_per_octave * np.abs(octaves - worst)
        heard_db = np.maximum(loss_db, attenuation_db(normal, np.array(OCTAVES_HZ)))
        return HearingProfile(self.name, OCTAVES_HZ, tuple(heard_db.tolist()), "simulation")


@dataclass(frozen=True)
class SimulatedSet:
    """Clips under a simulated loss; answers as `SampleSet` does.

    Attributes
    ----------
    base : SampleSet
        Clips are taken as they are under its first profile.
    loss : HearingLoss
    clip_places : tuple of int
        Which of its clips.
    """

    base: SampleSet
    loss: HearingLoss
    clip_places: tuple[int, ...]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Sample ids, ``<clip>@<profile>+<number>``."""
        return tuple(
            f"{self.base.sample(source).clip_id}@{self.loss.name}+{number}"
            for number, source in enumerate(self._sources)
        )

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.clip_places)

    def sample(self, sample_id: str | int) -> Sample:
        """Look a sample up."""
        source = self.base.sample(self._source(sample_id))
        return replace(source, sample_id=str(sample_id), profile=self.loss.name)

    def profile(self, sample_id: str | int) -> HearingProfile:
        """Audiogram of the simulated ear."""
        return self._profile

    def is_masked(self, sample_id: str | int) -> bool:
        """Whether the audiogram is an attenuation: it is, if the clip's own profile was."""
        return self.base.is_masked(self._source(sample_id))

    def waveform(self, sample_id: str | int) -> np.ndarray:
        """Filter the clip: float32 [shape=(n,)]."""
        return apply_mask(self.reference_waveform(sample_id), self._gains, StftSettings())[0]

    def reference_waveform(self, sample_id: str | int) -> np.ndarray:
        """Decode the clip as it was before: float32 [shape=(n,)]."""
        return self.base.waveform(self._source(sample_id))

    def sentence(self, sample_id: str | int) -> str:
        """Read what was said."""
        return self.base.sentence(self._source(sample_id))

    def columns(self, sample_id: str | int) -> dict[str, Any]:
        """All corpus columns but audio, with the profile's name."""
        return {**self.base.columns(self._source(sample_id)), "profile": self.loss.name}

    def figures(self, sample_id: str | int) -> dict[str, float | None]:
        """Figures of other stages on the clip, as far as they do not depend on the profile."""
        sample = self.sample(sample_id)
        return self.base.tables.figures(sample.clip_id, sample.profile)

    @property
    def tables(self) -> Any:
        """Tables of other stages."""
        return self.base.tables

    @cached_property
    def _sources(self) -> tuple[str, ...]:
        n_profiles = len(self.base.variants)
        return tuple(self.base.ids[place * n_profiles] for place in self.clip_places)

    def _source(self, sample_id: str | int) -> str:
        # code-loader's own check asks for sample 0, whatever the ids are.
        if isinstance(sample_id, str) and not sample_id.isdecimal():
            if sample_id not in self._places:
                raise InputError(f"there is no simulated sample {sample_id!r}")
            return self._sources[self._places[sample_id]]
        return self._sources[int(sample_id)]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {sample_id: place for place, sample_id in enumerate(self.ids)}

    @cached_property
    def _reference(self) -> HearingProfile:
        return next(iter(self.base.profiles.values()))

    @cached_property
    def _profile(self) -> HearingProfile:
        return self.loss.profile(self._reference)

    @cached_property
    def _gains(self) -> np.ndarray:
        """Gain of every bin: float32 [shape=(1, bins)], never above 1."""
        bins_hz = StftSettings(SAMPLING_RATE).bins_hz
        more_db = attenuation_db(self._profile, bins_hz) - attenuation_db(self._reference, bins_hz)
        return (10 ** (-np.maximum(more_db, 0.0) / 20)).astype(np.float32)[None]


def simulate(base: SampleSet, loss: HearingLoss, n_samples: int, seed: int) -> SimulatedSet:
    """Choose clips for a simulated loss.

    Parameters
    ----------
    base : SampleSet
    loss : HearingLoss
    n_samples : int
        How many; clips repeat only when there are fewer.
    seed : int
        Same seed, same clips.

    Raises
    ------
    InputError
        If there is no clip, or none is wanted.
    """
    n_clips = len(base.rows)
    if n_samples < 1 or not n_clips:
        raise InputError(f"{n_samples} samples of {n_clips} clips cannot be simulated")
    random = np.random.default_rng(seed)
    places = np.concatenate([random.permutation(n_clips) for _ in range(-(-n_samples // n_clips))])[
        :n_samples
    ]
    return SimulatedSet(base, loss, tuple(places.tolist()))
