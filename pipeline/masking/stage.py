"""``pipeline mask``: one corpus in, one row-aligned variant per hearing profile out."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.audio import AUDIO_FORMATS, AudioFormat, encode_audio
from pipeline.corpus import AUDIO_TYPE
from pipeline.corpus_stage import CorpusStage
from pipeline.errors import ClipError, InputError
from pipeline.masking.mask import Masked, Normalization, StftSettings, normalize
from pipeline.masking.profiles import HearingProfile
from pipeline.masking.simulators import SimulationSettings, Simulator, make_simulator
from pipeline.stage import Kept, Output, Quarantined


@dataclass
class MaskStage(CorpusStage):
    """Simulate hearing losses on a corpus.

    Parameters
    ----------
    source : Path
        Root of a corpus.
    output_base : Path
        Variants are written to ``<output_base>_<profile>``.
    profiles : tuple of HearingProfile
    settings : StftSettings
        Its sampling rate is the one of the output.
    simulation : SimulationSettings
    normalization : {"shared", "peak", "limit", "none"}
        See :func:`pipeline.masking.mask.normalize`.
    audio_format : {"flac24", "flac16", "wav32"}
        How variants are stored.
    splits : tuple of str, optional
        Only these.
    limit : int, optional
        Only the first rows of every split.
    """

    source: Path
    output_base: Path
    profiles: tuple[HearingProfile, ...]
    settings: StftSettings = field(default_factory=StftSettings)
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    normalization: Normalization = "shared"
    audio_format: AudioFormat = "flac24"
    splits: tuple[str, ...] | None = None
    limit: int | None = None
    name: str = field(default="mask", init=False)
    simulator: Simulator = field(init=False)

    def __post_init__(self) -> None:
        """Refuse two variants of one name, and what no simulator can do."""
        names = [profile.name for profile in self.profiles]
        if not names or len(set(names)) != len(names):
            raise InputError(f"profiles {', '.join(names)!r}; name at least one, and each once")
        self.simulator = make_simulator(self.profiles, self.settings, self.simulation)

    @property
    def sampling_rate(self) -> int:
        """What clips are decoded at, in Hz."""
        return self.settings.sampling_rate

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the input that decides the output."""
        return {
            "source": self.corpus.root.name,
            "profiles": [profile.as_json() for profile in self.profiles],
            "stft": asdict(self.settings),
            **self.simulation.as_json(),
            "normalization": self.normalization,
            "audio_format": self.audio_format,
            "splits": list(self.splits) if self.splits else None,
            "limit": self.limit,
        }

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """One corpus per profile, with the columns of the input and two more."""
        columns = self.columns()
        if "audio" not in columns:
            raise InputError(f"{self.source} has no column 'audio'; is it a corpus of features?")
        columns.update(audio=AUDIO_TYPE, profile=pa.string(), output_gain_db=pa.float64())
        rate = self.settings.sampling_rate
        return tuple(
            Output(variant_root(self.output_base, profile.name), columns, rate)
            for profile in self.profiles
        )

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Decode each clip once, mask it for all profiles, encode the variants."""
        source = self.split(split)
        for index in range(start, stop):
            row = source.row(index)
            name = str(row.get("id") or index)
            try:
                masked = self.mask(source.waveform(index))
            except ClipError as error:
                yield Quarantined(name, str(row.get("path") or name), str(error))
                continue
            yield Kept(tuple(self._variants(row, name, masked)))

    def mask(self, waveform: np.ndarray) -> Masked:
        """Mask and normalise one clip: float32 [shape=(n,)] at the output's sampling rate."""
        try:
            with np.errstate(all="ignore"):  # what overflows is found out below
                variants = self.simulator.simulate(waveform)
                peak = float(np.abs(waveform).max())
                masked = normalize(variants, self.normalization, peak)
        except MemoryError:
            raise ClipError(f"too long to be held in memory ({len(waveform)} samples)") from None
        if not (np.isfinite(masked.waveforms).all() and np.isfinite(masked.output_gain_db).all()):
            raise ClipError(f"samples too large to be masked (up to {peak:.3g})")
        return masked

    def _variants(
        self, row: Mapping[str, Any], name: str, masked: Masked
    ) -> Iterator[dict[str, Any]]:
        rate = self.settings.sampling_rate
        for profile, waveform, gain in zip(
            self.profiles, masked.waveforms, masked.output_gain_db, strict=True
        ):
            sound = encode_audio(waveform, rate, self.audio_format)
            audio = {"bytes": sound, "path": f"{name}.{AUDIO_FORMATS[self.audio_format][0]}"}
            yield {**row, "audio": audio, "profile": profile.name, "output_gain_db": float(gain)}


def variant_root(output_base: Path, profile: str) -> Path:
    """Root of a variant: ``<output_base>_<profile>``."""
    if output_base.name in ("", ".."):
        output_base = output_base.resolve()  # the folder we are in has a name, too
    if not output_base.name:
        raise InputError(f"--output-base {output_base} has no name to add a profile's to")
    return output_base.with_name(f"{output_base.name}_{profile}")
