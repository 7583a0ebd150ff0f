"""``pipeline validate`` of mask variants: that they are aligned, and of the loss they claim."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.audio import load_mono
from pipeline.checks import Check, check_each, verdict_of
from pipeline.corpus import Split, corpus_root, open_corpus
from pipeline.errors import ClipError, HearingAnalysisError, InputError
from pipeline.masking.acoustics import (
    LEVEL_TOLERANCE_DB,
    BandLevels,
    Delay,
    band_levels,
    count_clipped,
    count_flat_tops,
    expected_clip,
    measure_delay,
    octave_centres_hz,
)
from pipeline.masking.stage import variant_root
from pipeline.masking.variants import Variant, open_variant, read_profiles
from pipeline.stage import corpus_digest
from pipeline.validate import (
    Examination,
    Place,
    decode_row,
    has_ids,
    name_of,
    open_splits,
    stored_audio,
)

STAGE = "mask"
LARGEST_GAIN_DB = 1_000.0
PEAKS = 1  # sample at full scale that normalisation itself brings there
# A variant less like its source than this has lost too much for its delay to be told.
COARSEST_BINS_HZ = 62.5  # half of the lowest frequency of an audiogram
ALIKE = 0.9
ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Measurement:
    """What was measured of one clip.

    Attributes
    ----------
    name : str
    excess : int
        Samples it has more than its source.
    n_clipped : int
        Samples at full scale that should not be there, the one peak of normalisation let pass;
        where nothing tells what should be, stretches of them.
    delay : Delay, optional
        None if the clip is too short, or not of its source's length.
    levels : BandLevels, optional
        As ``delay``, and None for other simulators than ``mask``.
    """

    name: str
    excess: int
    n_clipped: int
    delay: Delay | None
    levels: BandLevels | None

    @property
    def tells_delay(self) -> bool:
        """Whether there is enough left of the source for a delay to mean something."""
        if self.delay is None or self.levels is None:
            return self.delay is not None and self.delay.likeness >= ALIKE
        return bool(self.levels.judged.any())


def verify_variant(
    examined: Examination, *, acoustics: bool, source: Path | None
) -> tuple[Check, ...]:
    """Check what only mask variants have; nothing for the output of another stage.

    Parameters
    ----------
    examined : Examination
    acoustics : bool
        Hold the sound of the sample against its source, too.
    source : Path, optional
        The corpus that was masked; by default the one the variants lie beside.

    Raises
    ------
    InputError
        If acoustics are asked of something else, ``run.json`` is damaged, or there is no source.
    """
    stage = examined.run.stage
    if stage != STAGE and acoustics:
        raise InputError(
            f"{examined.root} was made by pipeline {stage}; --acoustics is for the variants that "
            "pipeline mask makes"
        )
    if stage != STAGE or not examined.splits:
        return ()
    profiles = read_profiles(examined.run)
    names = _profiles_in_rows(examined.splits)
    listed = ", ".join(map(str, names)) or "no rows"
    if len(names) != 1 or names[0] not in profiles:
        return (Check("profile", listed, f"one of {', '.join(profiles)}", "failed"),)
    variant = open_variant(examined, profiles, names[0])
    checks = (
        Check("profile", listed, "in run.json", "passed"),
        *(_check_sibling(variant, name) for name in variant.siblings),
    )
    return (*checks, *_check_acoustics(variant, source)) if acoustics else checks


def _profiles_in_rows(splits: Mapping[str, Split]) -> tuple[Any, ...]:
    """Every value of the ``profile`` column; a variant has one."""
    found: dict[Any, None] = {}
    for split in splits.values():
        values = pc.unique(split.column("profile")).to_pylist() if _has_profile(split) else [None]
        found.update(dict.fromkeys(values))
    return tuple(found)


def _has_profile(split: Split) -> bool:
    return "profile" in split.columns and split.table.schema.field("profile").type == pa.string()


# --- siblings -----------------------------------------------------------------------------------


def _check_sibling(variant: Variant, profile: str) -> Check:
    name, rule = f"rows of {profile}", "the same"
    if variant.base is None:
        told = f"{variant.examined.root.name} is not called <base>_{variant.profile.name}"
        return Check(name, told, rule, "skipped")
    root = variant_root(variant.base, profile)
    if not (root / "dataset" / "dataset_dict.json").is_file():
        return Check(name, f"no finished {root.name} beside it", rule, "skipped")
    ours = variant.examined.splits
    try:
        theirs = open_splits(root)
    except HearingAnalysisError as error:
        return Check(name, str(error), rule, "failed")
    difference = _difference(ours, theirs)
    if difference:
        return Check(name, difference, rule, "failed")
    n_rows, sample = sum(map(len, ours.values())), variant.examined.sample
    measured = f"{n_rows:,} in one order; {len(sample)} of one length"
    return check_each(name, sample, lambda p: _length_fault(ours, theirs, p), measured, rule)


def _difference(ours: Mapping[str, Split], theirs: Mapping[str, Split]) -> str | None:
    if list(ours) != list(theirs):
        return f"its splits are {', '.join(theirs)}"
    for name, split in ours.items():
        other = theirs[name]
        if len(split) != len(other):
            return f"{name}: {len(other):,} rows there, {len(split):,} here"
        if has_ids(split) != has_ids(other):
            return f"{name}: only one of the two has ids"
        row = _first_difference(split, other) if has_ids(split) else None
        if row is not None:
            there, here = (s.column("id")[row].as_py() for s in (other, split))
            return f"{name}, row {row}: {there!r} there, {here!r} here"
    return None


def _first_difference(split: Split, other: Split) -> int | None:
    """First row whose ids differ."""
    ours, theirs = split.column("id"), other.column("id")
    if ours.equals(theirs):
        return None
    for start in range(0, len(ours), ROWS_AT_ONCE):
        pair = (ids.slice(start, ROWS_AT_ONCE).to_pylist() for ids in (ours, theirs))
        for row, (here, there) in enumerate(zip(*pair, strict=True), start=start):
            if here != there:
                return row
    return None


def _length_fault(
    ours: Mapping[str, Split], theirs: Mapping[str, Split], place: Place
) -> str | None:
    try:
        here, there = (
            decode_row(splits[place.split], place.row).samples.shape[1] for splits in (ours, theirs)
        )
    except ClipError as error:
        return f"{name_of(ours, place)}: {error}"
    return None if here == there else f"{name_of(ours, place)}: {there} samples there, {here} here"


# --- acoustics ----------------------------------------------------------------------------------


def _check_acoustics(variant: Variant, given: Path | None) -> tuple[Check, ...]:
    sample, splits = variant.examined.sample, variant.examined.splits
    source, digest = _open_source(variant, given)
    rows = _rows_in_source(splits, source, sample)
    measured: list[Measurement] = []

    def compare(place: Place) -> str | None:
        try:
            measured.append(_measure(variant, source, place, rows))
        except ClipError as error:
            return f"{name_of(splits, place)}: {error}"
        return None

    found = check_each("clips", sample, compare, f"{len(sample)} beside their source", "all")
    return (
        digest,
        found,
        _check_lengths(measured),
        _check_delay(variant, measured),
        _check_clipping(measured),
        _check_window(variant),
        *_check_levels(variant, measured),
    )


def _open_source(variant: Variant, given: Path | None) -> tuple[dict[str, Split], Check]:
    root, recorded = variant.examined.root, variant.examined.run.source_digest
    path = given or variant.base
    ask = "name the corpus that was masked with --source"
    if path is None:
        raise InputError(f"{root} is not called <base>_{variant.profile.name}; {ask}")
    try:
        splits = open_splits(corpus_root(path))
        same = corpus_digest(open_corpus(path)) == recorded
    except (HearingAnalysisError, RecursionError, OSError) as error:
        raise InputError(
            f"{path} cannot be opened as the source of {root}; {ask}: {error}"
        ) from error
    if not same and given is None:
        raise InputError(f"{path} is not what {root} was made from, or has changed since; {ask}")
    measured = "that of run.json" if same else "another than in run.json; compared all the same"
    return splits, Check("source digest", measured, "the same", "passed" if same else "skipped")


def _rows_in_source(
    splits: Mapping[str, Split], source: Mapping[str, Split], sample: Sequence[Place]
) -> dict[Place, int]:
    """Row in the source of each clip whose id is found there exactly once."""
    rows: dict[Place, int] = {}
    for name in {place.split for place in sample} & set(source):
        split, other = splits[name], source[name]
        kinds = [s.column("id").type for s in (split, other) if has_ids(s)]
        if len(kinds) < 2 or kinds[0] != kinds[1]:
            continue
        places = [place for place in sample if place.split == name]
        ids = {split.column("id")[place.row].as_py(): place for place in places}
        column = other.column("id")
        known = pc.is_in(column, value_set=pa.array(list(ids), type=column.type))
        found = np.flatnonzero(known.to_numpy())
        names = [column[int(row)].as_py() for row in found]
        counts = Counter(names)
        rows.update(
            {ids[i]: int(row) for i, row in zip(names, found, strict=True) if counts[i] == 1}
        )
    return rows


def _measure(
    variant: Variant, source: Mapping[str, Split], place: Place, rows: Mapping[Place, int]
) -> Measurement:
    if place not in rows:
        raise ClipError("its id is not in the source, or more than once")
    split, rate = variant.examined.splits[place.split], variant.stft.sampling_rate
    clip = decode_row(split, place.row).samples[0]
    original = load_mono(stored_audio(source[place.split], rows[place]), rate)
    gain_db = split.row(place.row).get("output_gain_db")
    if not isinstance(gain_db, float) or not abs(gain_db) <= LARGEST_GAIN_DB:
        raise ClipError(f"output_gain_db {gain_db!r} is no gain")
    expected = expected_clip(original, variant.filter, gain_db, variant.step)
    linear, aligned = variant.simulator == "mask", len(clip) == len(original)
    # A shorter clip is all ends, where the mask's filter is another.
    is_long = aligned and len(clip) >= 2 * variant.stft.n_fft
    return Measurement(
        name_of(variant.examined.splits, place),
        len(clip) - len(original),
        max(0, count_clipped(clip, expected.samples, variant.step) - PEAKS)
        if linear and aligned
        else count_flat_tops(clip, variant.step),
        measure_delay(clip, expected.samples) if is_long else None,
        band_levels(clip, expected, original, rate) if is_long and linear else None,
    )


def _check_lengths(clips: Sequence[Measurement]) -> Check:
    def fault(clip: Measurement) -> str | None:
        return f"{clip.name}: {clip.excess:+} samples" if clip.excess else None

    return check_each("length", clips, fault, f"that of the source in {len(clips)} clips", "± 0")


def _check_delay(variant: Variant, clips: Sequence[Measurement]) -> Check:
    rule = "± 0 samples"
    if variant.simulator == "cochlear":
        return Check("delay", "cochlear does not keep the shape of a wave", rule, "skipped")

    def fault(clip: Measurement) -> str | None:
        late = clip.delay.samples if clip.delay else 0
        return f"{clip.name}: {late:+} samples" if late else None

    judged = [clip for clip in clips if clip.tells_delay]
    if not judged:
        return Check("delay", f"all {len(clips)} too soft, short or unlike", rule, "skipped")
    return check_each("delay", judged, fault, f"0 samples in {_of(judged, clips)}", rule)


def _check_clipping(clips: Sequence[Measurement]) -> Check:
    def fault(clip: Measurement) -> str | None:
        return f"{clip.name}: {clip.n_clipped} places" if clip.n_clipped else None

    return check_each("clipping", clips, fault, f"none in {len(clips)} clips", "none")


def _check_window(variant: Variant) -> Check:
    """A short window cannot follow an audiogram, and the levels below are held to the window."""
    spacing_hz = variant.stft.sampling_rate / variant.stft.n_fft
    shown, allowed = f"{spacing_hz:.1f} Hz between bins", f"<= {COARSEST_BINS_HZ} Hz"
    return verdict_of("window", shown, allowed, spacing_hz <= COARSEST_BINS_HZ)


def _check_levels(variant: Variant, clips: Sequence[Measurement]) -> Iterator[Check]:
    if variant.simulator != "mask":
        told = f"not applicable: {variant.simulator} is no plain attenuation"
        yield Check("band levels", told, "", "skipped")
        return
    for band, centre in enumerate(octave_centres_hz(variant.stft.sampling_rate)):
        yield _check_band(f"level {centre:g} Hz", band, clips)


def _check_band(name: str, band: int, clips: Sequence[Measurement]) -> Check:
    judged = [clip for clip in clips if clip.levels and clip.levels.judged[band]]
    levels = [clip.levels for clip in judged if clip.levels]
    if not levels:
        told = f"all {len(clips)} clips below the noise, or too short"
        return Check(name, told, f"± {LEVEL_TOLERANCE_DB} dB", "skipped")
    errors_db = np.array([found.error_db[band] for found in levels])
    change_db = np.mean([found.change_db[band] for found in levels])
    expected_db = np.mean([found.expected_db[band] for found in levels])
    worst = int(np.argmax(np.abs(errors_db)))
    told = f"{change_db:.2f} dB, off by {abs(errors_db[worst]):.3f} in {_of(judged, clips)}"
    passed = bool(abs(errors_db[worst]) <= LEVEL_TOLERANCE_DB)
    told += "" if passed else f", worst in {judged[worst].name}"
    return verdict_of(name, told, f"{expected_db:.2f} ± {LEVEL_TOLERANCE_DB}", passed)


def _of(judged: Sequence[Measurement], clips: Sequence[Measurement]) -> str:
    """How many clips were judged, and of how many if not of all."""
    return f"{len(judged)} clips" if len(judged) == len(clips) else f"{len(judged)} of {len(clips)}"
