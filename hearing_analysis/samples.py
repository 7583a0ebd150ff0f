"""Samples: every clip of a split under every hearing profile, read from disk when asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hearing_analysis.clip_tables import NO_TABLES, ClipTables, open_clip_tables
from hearing_analysis.config import AnalysisConfig
from pipeline.audio import load_mono
from pipeline.corpus import Split, open_corpus
from pipeline.errors import InputError, MissingPathError
from pipeline.masking.profiles import HearingProfile, get_profile

MAX_ID_LENGTH = 256  # characters; the platform takes no more
KEPT_WAVEFORMS = 4
FEW_CLIPS, MOST_WALKS = 10_000, 50


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

    Nothing is read before it is asked for, so a million clips open as quickly as ten.

    Attributes
    ----------
    split : str
    rows : np.ndarray [shape=(clips,), dtype=int64]
        Rows of the split that were chosen, ascending.
    variants : Mapping[str, Split]
        Profile -> the split of its corpus.
    profiles : Mapping[str, HearingProfile]
        Name -> audiogram.
    masked : frozenset of str
        Profiles whose variants the mask made: there an audiogram is an attenuation.
    tables : ClipTables
        What other stages found out about the clips.
    """

    split: str
    rows: np.ndarray
    variants: Mapping[str, Split]
    profiles: Mapping[str, HearingProfile]
    masked: frozenset[str] = frozenset()
    tables: ClipTables = NO_TABLES

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.rows) * len(self.variants)

    def __iter__(self) -> Iterator[Sample]:
        """Go through the samples in order."""
        return map(self.sample, self.ids)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Sample ids in order."""
        columns = [pc.binary_join_element_wise(self._clip_ids, name, "@") for name in self.variants]
        by_clip = np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)
        return tuple(by_clip.ravel().tolist())

    def sample(self, sample_id: str) -> Sample:
        """Look a sample up.

        Raises
        ------
        InputError
            If there is no sample of that id.
        """
        clip_id, _, profile = sample_id.rpartition("@")
        row = self._row(clip_id)
        if row is None or profile not in self.variants:
            example = f", {self.ids[0]!r} for instance" if len(self) else ""
            raise InputError(
                f"split {self.split!r} has no sample {sample_id!r}; "
                f"ids are <clip>@<profile>{example}"
            )
        return Sample(sample_id, clip_id, profile, self.split, row)

    def profile(self, sample_id: str) -> HearingProfile:
        """Look up the hearing profile a sample was filtered through."""
        return self.profiles[self.sample(sample_id).profile]

    def is_masked(self, sample_id: str) -> bool:
        """Whether the sample's audiogram was applied as an attenuation."""
        return self.sample(sample_id).profile in self.masked

    def waveform(self, sample_id: str) -> np.ndarray:
        """Decode a sample: float32 [shape=(n,)], mono, 16 kHz, unpadded, not to be written to.

        Every encoder asks for the same clip in turn, so the last few are kept.
        """
        waveform = self._decoded.get(sample_id)
        if waveform is None:
            waveform = load_mono(self.audio_bytes(sample_id))
            waveform.flags.writeable = False
            while len(self._decoded) >= KEPT_WAVEFORMS:
                self._decoded.pop(next(iter(self._decoded)))
            self._decoded[sample_id] = waveform
        return waveform

    def reference_waveform(self, sample_id: str) -> np.ndarray:
        """Decode the same clip under the first profile, with which the others are compared."""
        clip_id = self.sample(sample_id).clip_id
        return self.waveform(f"{clip_id}@{next(iter(self.variants))}")

    def audio_bytes(self, sample_id: str) -> bytes:
        """Read the encoded audio file of a sample."""
        sample = self.sample(sample_id)
        return self.variants[sample.profile].audio_bytes(sample.row)

    def sentence(self, sample_id: str) -> str:
        """Read what was said, as the corpus spells it; empty where it does not say."""
        return self.columns(sample_id).get("sentence") or ""

    def columns(self, sample_id: str) -> dict[str, Any]:
        """All corpus columns of a sample but its audio."""
        sample = self.sample(sample_id)
        return self.variants[sample.profile].row(sample.row)

    def figures(self, sample_id: str) -> dict[str, float | None]:
        """Figures that other stages found out about a sample."""
        sample = self.sample(sample_id)
        return self.tables.figures(sample.clip_id, sample.profile)

    @cached_property
    def _clip_ids(self) -> pa.Array:
        column = next(iter(self.variants.values())).column("id")
        chosen = column if len(self.rows) == len(column) else column.take(pa.array(self.rows))
        return chosen.combine_chunks()

    def _row(self, clip_id: str) -> int | None:
        """Row of a clip: found by a walk while few are asked for, which needs no table of all."""
        if len(self.rows) < FEW_CLIPS or len(self._walks) >= MOST_WALKS:
            return self._row_of_clip.get(clip_id)
        self._walks.append(clip_id)
        place = pc.index(self._clip_ids, clip_id).as_py()
        return None if place < 0 else int(self.rows[place])

    @cached_property
    def _walks(self) -> list[str]:
        return []

    @cached_property
    def _row_of_clip(self) -> dict[str, int]:
        ids = self._clip_ids.to_numpy(zero_copy_only=False).tolist()
        return dict(zip(ids, self.rows.tolist(), strict=True))

    @cached_property
    def _decoded(self) -> dict[str, np.ndarray]:
        return {}


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
        If the variant of a profile has not been made yet, or a clip table does not exist.
    InputError
        If the variants do not hold the same clips in the same rows, or ids cannot be used.
    """
    variants = {profile: _open_variant(config, profile, split) for profile in config.profiles}
    _check_aligned(config, variants)
    _check_ids(next(iter(variants.values())).column("id"), config, split)
    n_rows = min(len(variant) for variant in variants.values())
    return SampleSet(
        split,
        _chosen_rows(n_rows, config),
        variants,
        {profile: _profile(config, profile) for profile in config.profiles},
        frozenset(profile for profile in config.profiles if _is_masked(config, profile)),
        open_clip_tables(config.table_paths),
    )


def _is_masked(config: AnalysisConfig, profile: str) -> bool:
    made = open_corpus(config.variant_folder(profile)).run().get("config", {})
    return made.get("simulator", "mask") == "mask"


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


def _check_ids(clip_ids: pa.ChunkedArray, config: AnalysisConfig, split: str) -> None:
    if pc.count_distinct(clip_ids).as_py() < len(clip_ids):
        counts = pc.value_counts(clip_ids)
        twice = counts.field("values")[pc.index(pc.greater(counts.field("counts"), 1), True)]
        raise InputError(
            f"split {split!r} holds clip {twice.as_py()!r} more than once; ids must be unique"
        )
    room = MAX_ID_LENGTH - 1 - max(map(len, config.profiles))
    lengths = pc.utf8_length(clip_ids)
    longest = pc.max(lengths).as_py() or 0
    if longest > room:
        clip_id = clip_ids[pc.index(lengths, longest).as_py()].as_py()
        raise InputError(
            f"clip id {clip_id!r} of split {split!r} has {longest} characters; "
            f"the platform leaves room for {room}"
        )


def _chosen_rows(n_rows: int, config: AnalysisConfig) -> np.ndarray:
    if config.samples_per_split is None or config.samples_per_split >= n_rows:
        return np.arange(n_rows)
    random = np.random.default_rng(config.seed)
    return np.sort(random.choice(n_rows, size=config.samples_per_split, replace=False))
