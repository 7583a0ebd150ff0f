"""Samples: every clip of a split under every hearing profile, read from disk when asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from hearing_analysis.config import AnalysisConfig
from pipeline.audio import load_mono
from pipeline.corpus import Split, open_corpus
from pipeline.errors import InputError, MissingPathError
from pipeline.masking.profiles import HearingProfile, get_profile

MAX_ID_LENGTH = 256  # characters; the platform takes no more


@dataclass(frozen=True)
class Sample:
    """One clip under one hearing profile.

    Attributes
    ----------
    sample_id : str
        ``<clip_id>@<profile>``.
    clip_id : str
        The same for all profiles of a clip.
    profile : str
        Name of the hearing profile.
    split : str
        Split of the corpus.
    row : int
        Row in that split, the same for all profiles.
    """

    sample_id: str
    clip_id: str
    profile: str
    split: str
    row: int


@dataclass(frozen=True)
class SampleSet:
    """The samples of one split: clip by clip, within a clip profile by profile.

    Attributes
    ----------
    split : str
    samples : tuple of Sample
    variants : Mapping[str, Split]
        Profile -> the split of its corpus.
    profiles : Mapping[str, HearingProfile]
        Name -> audiogram.
    """

    split: str
    samples: tuple[Sample, ...]
    variants: Mapping[str, Split]
    profiles: Mapping[str, HearingProfile]

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        """Go through the samples in order."""
        return iter(self.samples)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Sample ids in order."""
        return tuple(sample.sample_id for sample in self.samples)

    def sample(self, sample_id: str) -> Sample:
        """Look a sample up.

        Raises
        ------
        InputError
            If there is no sample of that id.
        """
        try:
            return self._by_id[sample_id]
        except KeyError:
            example = f", {self.ids[0]!r} for instance" if self.ids else ""
            raise InputError(
                f"split {self.split!r} has no sample {sample_id!r}; "
                f"ids are <clip>@<profile>{example}"
            ) from None

    def profile(self, sample_id: str) -> HearingProfile:
        """Look up the hearing profile a sample was filtered through."""
        return self.profiles[self.sample(sample_id).profile]

    def waveform(self, sample_id: str) -> np.ndarray:
        """Decode a sample: float32 [shape=(n,)], mono, 16 kHz, unpadded."""
        return load_mono(self.audio_bytes(sample_id))

    def audio_bytes(self, sample_id: str) -> bytes:
        """Read the encoded audio file of a sample."""
        sample = self.sample(sample_id)
        return self.variants[sample.profile].audio_bytes(sample.row)

    def sentence(self, sample_id: str) -> str:
        """Read what was said, as the corpus spells it."""
        sample = self.sample(sample_id)
        return self.variants[sample.profile].column("sentence")[sample.row].as_py() or ""

    def columns(self, sample_id: str) -> dict[str, Any]:
        """All corpus columns of a sample but its audio."""
        sample = self.sample(sample_id)
        return self.variants[sample.profile].row(sample.row)

    @cached_property
    def _by_id(self) -> dict[str, Sample]:
        return {sample.sample_id: sample for sample in self.samples}


def open_samples(config: AnalysisConfig, split: str) -> SampleSet:
    """Open one split of all variants.

    Parameters
    ----------
    config : AnalysisConfig
    split : str
        A split of the corpus, ``train`` for instance.

    Raises
    ------
    MissingPathError
        If the variant of a profile has not been made yet.
    InputError
        If the variants do not hold the same clips in the same rows, or ids cannot be used.
    """
    variants = {profile: _open_variant(config, profile, split) for profile in config.profiles}
    _check_aligned(config, variants)
    clip_ids = next(iter(variants.values())).column("id").to_pylist()
    _check_ids(clip_ids, config, split)
    samples = tuple(
        Sample(f"{clip_ids[row]}@{profile}", clip_ids[row], profile, split, row)
        for row in _chosen_rows(len(clip_ids), config)
        for profile in config.profiles
    )
    profiles = {profile: _profile(config, profile) for profile in config.profiles}
    return SampleSet(split, samples, variants, profiles)


def _profile(config: AnalysisConfig, name: str) -> HearingProfile:
    """Find the audiogram a variant was made with, which need not be a built-in one."""
    folder = config.variant_folder(name)
    recorded = open_corpus(folder).run().get("config", {}).get("profiles") or []
    for entry in recorded:
        if isinstance(entry, dict) and entry.get("name") == name:
            try:
                points = (tuple(entry["frequencies_hz"]), tuple(entry["thresholds_db_hl"]))
                return HearingProfile(name, *points, str(entry.get("source", "")))
            except (KeyError, TypeError) as error:
                raise InputError(
                    f"{folder}/run.json holds no audiogram for {name!r}; make the variant again "
                    "with `pipeline mask --overwrite`"
                ) from error
    return get_profile(name)


def _open_variant(config: AnalysisConfig, profile: str, split: str) -> Split:
    folder = config.variant_folder(profile)
    if not folder.exists():
        get_profile(profile)  # one that is unknown needs another remedy
        raise MissingPathError(
            f"{folder} does not exist: profile {profile!r} has no variant of the corpus yet; "
            f"make it with `pipeline mask`, or change data_root or profiles in conf/analysis.yaml"
        )
    variant = open_corpus(folder)[split]
    _check_profile(folder, variant, profile)
    return variant


def _check_profile(folder: Path, variant: Split, profile: str) -> None:
    if "profile" not in variant.columns:
        return
    found = pc.unique(variant.column("profile")).to_pylist()
    if found not in ([], [profile]):
        raise InputError(
            f"{folder} should hold profile {profile!r} and holds {', '.join(map(str, found))}; "
            "make it again with `pipeline mask --overwrite`"
        )


def _check_aligned(config: AnalysisConfig, variants: Mapping[str, Split]) -> None:
    first, *others = variants
    expected = variants[first].column("id")
    for profile in others:
        found = variants[profile].column("id")
        if not expected.equals(found):
            raise InputError(
                f"{config.variant_folder(first)} and {config.variant_folder(profile)} do not hold "
                f"the same clips row by row ({_difference(expected, found)}); "
                "make both with one run of `pipeline mask`"
            )
    _check_gains(config, variants)


def _check_gains(config: AnalysisConfig, variants: Mapping[str, Split]) -> None:
    """A loss between variants can be told from a gain only where all had the same gain."""
    if not all("output_gain_db" in variant.columns for variant in variants.values()):
        return
    modes = {
        open_corpus(config.variant_folder(profile)).run().get("config", {}).get("normalization")
        for profile in variants
    }
    first, *others = (variant.column("output_gain_db").to_numpy() for variant in variants.values())
    shared = modes <= {"shared", "limit"}
    if len(modes) > 1 or (shared and not all(np.allclose(first, gains) for gains in others)):
        raise InputError(
            f"the variants {config.data_root}_* were brought to level in different runs of "
            "`pipeline mask`, so a loss between them cannot be told from a gain; "
            f"make them in one: --profiles {','.join(variants)}"
        )


def _difference(expected: Any, found: Any) -> str:
    if len(expected) != len(found):
        return f"{len(expected)} and {len(found)} clips"
    row = pc.index(pc.not_equal(expected, found), True).as_py()
    return f"{expected[row].as_py()!r} and {found[row].as_py()!r} in row {row}"


def _check_ids(clip_ids: list[str], config: AnalysisConfig, split: str) -> None:
    if len(set(clip_ids)) < len(clip_ids):
        twice = next(clip for clip in clip_ids if clip_ids.count(clip) > 1)
        raise InputError(f"split {split!r} holds clip {twice!r} more than once; ids must be unique")
    room = MAX_ID_LENGTH - 1 - max(map(len, config.profiles))
    longest = max(clip_ids, key=len, default="")
    if len(longest) > room:
        raise InputError(
            f"clip id {longest!r} of split {split!r} has {len(longest)} characters; "
            f"the platform leaves room for {room}"
        )


def _chosen_rows(n_rows: int, config: AnalysisConfig) -> list[int]:
    if config.samples_per_split is None or config.samples_per_split >= n_rows:
        return list(range(n_rows))
    random = np.random.default_rng(config.seed)
    rows = random.choice(n_rows, size=config.samples_per_split, replace=False)
    return sorted(rows.tolist())
