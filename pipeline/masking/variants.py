"""What ``run.json`` says of a mask variant, as value objects; it may come from a stranger."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.masking.acoustics import MaskFilter, mask_filter
from pipeline.masking.mask import (
    INTERPOLATIONS,
    LARGEST_N_FFT,
    Interpolation,
    StftSettings,
    attenuation_db,
)
from pipeline.masking.profiles import HearingProfile
from pipeline.masking.simulators import SIMULATORS, SimulatorName
from pipeline.validate import Examination, RunRecord, one_of_those, typed

# Smallest difference that storage keeps; floating point keeps more than the mask computes.
STEPS = {"flac24": 2.0**-23, "flac16": 2.0**-15, "wav32": 0.0}
LOWEST_RATE, HIGHEST_RATE = 1_000, 655_350


@dataclass(frozen=True)
class Variant:
    """A mask variant.

    Attributes
    ----------
    examined : Examination
    profile : HearingProfile
        The one of this variant.
    siblings : tuple of str
        The other profiles of the run.
    stft : StftSettings
    interpolation, simulator, audio_format : str
        See :class:`pipeline.masking.stage.MaskStage`.
    """

    examined: Examination
    profile: HearingProfile
    siblings: tuple[str, ...]
    stft: StftSettings
    interpolation: Interpolation
    simulator: SimulatorName
    audio_format: str

    @property
    def base(self) -> Path | None:
        """What variants lie beside, ``<base>_<profile>``; None if the folder was renamed."""
        root = self.examined.root
        root = root.resolve() if root.name in ("", "..") else root
        base = root.name.removesuffix(f"_{self.profile.name}")
        return root.with_name(base) if base not in ("", root.name) else None

    @property
    def step(self) -> float:
        """Smallest difference that storage keeps, full scale being 1."""
        return STEPS[self.audio_format]

    @cached_property
    def filter(self) -> MaskFilter:
        """The filter that the mask should be."""
        curve_db = attenuation_db(self.profile, self.stft.bins_hz, self.interpolation)
        return mask_filter(10 ** (-curve_db / 20), self.stft)


def read_profiles(run: RunRecord) -> dict[str, HearingProfile]:
    """All profiles of the run, by name.

    Raises
    ------
    InputError
        If ``run.json`` holds something else.
    """
    entries = typed(run.path, run.config, "profiles", list)
    profiles = [_read_profile(run.path, {"profile": entry}) for entry in entries]
    return {profile.name: profile for profile in profiles}


def open_variant(
    examined: Examination, profiles: Mapping[str, HearingProfile], name: str
) -> Variant:
    """Put together what is known of the variant of one profile.

    Raises
    ------
    InputError
        If ``run.json`` holds something else than the settings of a mask.
    """
    path, config = examined.run.path, examined.run.config
    with_defaults = {"simulator": "mask", "audio_format": "flac24", **config}  # as older runs were
    return Variant(
        examined,
        profiles[name],
        tuple(other for other in profiles if other != name),
        _read_stft(examined),
        one_of_those(path, config, "interpolation", INTERPOLATIONS),
        one_of_those(path, with_defaults, "simulator", SIMULATORS),
        one_of_those(path, with_defaults, "audio_format", tuple(STEPS)),
    )


def _read_profile(path: Path, holder: Mapping[str, Any]) -> HearingProfile:
    entry = typed(path, holder, "profile", dict)
    try:
        return HearingProfile(
            typed(path, entry, "name", str),
            tuple(map(float, typed(path, entry, "frequencies_hz", list))),
            tuple(map(float, typed(path, entry, "thresholds_db_hl", list))),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} has a hearing profile that is none: {error}") from error


def _read_stft(examined: Examination) -> StftSettings:
    path = examined.run.path
    stft = typed(path, examined.run.config, "stft", dict)
    rate, n_fft, hop = (typed(path, stft, key, int) for key in StftSettings.__annotations__)
    if not LOWEST_RATE <= rate <= HIGHEST_RATE or n_fft > LARGEST_N_FFT:
        raise InputError(f"{path} has sampling_rate {rate} and n_fft {n_fft}, which no mask has")
    for name, split in examined.splits.items():
        if split.sampling_rate != rate:
            raise InputError(
                f"{path} has sampling_rate {rate}, but split {name!r} is declared at "
                f"{split.sampling_rate} Hz; make the output again with --overwrite"
            )
    try:
        return StftSettings(rate, n_fft, hop)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
