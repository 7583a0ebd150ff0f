"""The figures of the overview: error rates of every profile, model and split, with intervals."""

from dataclasses import dataclass

import numpy as np

from hearing_analysis.metrics import COUNTS, UNITS, Interval, bootstrap_interval, corpus_error_rate
from hearing_analysis.table import REFERENCE_PROFILE, AnalysisTable

ALL_SPLITS = "all"


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % bootstrap interval; ``None`` where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Estimate(None, None, None)


@dataclass(frozen=True)
class ErrorFigures:
    """Errors of one group of samples, in words or in characters.

    Attributes
    ----------
    rate : Estimate
        All edits over all reference units: a ratio of sums, never a mean of ratios.
    hits, substitutions, deletions, insertions, reference_length : int
        Sums over the group.
    """

    rate: Estimate
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    reference_length: int


@dataclass(frozen=True)
class GroupFigures:
    """One row of the overview: one profile, one model, one split.

    Attributes
    ----------
    seconds : float, optional
        Audio in the group; ``None`` when the table holds no duration.
    word, character : ErrorFigures
        WER and CER with their counts.
    word_delta : Estimate
        WER minus that of the reference profile, on the clips both have; the interval resamples
        clips in pairs, so what makes a clip hard for both cancels.
    ctc_loss : float, optional
        Mean over the samples whose loss is finite.
    n_truncated : int
        Clips longer than the model's window.
    """

    split: str
    model: str
    profile: str
    n_clips: int
    n_truncated: int
    seconds: float | None
    word: ErrorFigures
    character: ErrorFigures
    word_delta: Estimate
    ctc_loss: float | None


@dataclass(frozen=True)
class _Samples:
    """The columns the figures need, and the masks that select a group."""

    table: AnalysisTable
    columns: dict[str, np.ndarray]

    def where(self, split: str, model: str, profile: str) -> np.ndarray:
        """Rows of a group: int64 [shape=(n,)], ordered by clip."""
        mask = (self.columns["model"] == model) & (self.columns["profile_name"] == profile)
        if split != ALL_SPLITS:
            mask &= self.columns["split"] == split
        rows = np.flatnonzero(mask)
        return rows[np.argsort(self.table.clips[rows], kind="stable")]


def overview(table: AnalysisTable) -> tuple[GroupFigures, ...]:
    """Compute the figures of every split (and of all together), model and profile with samples."""
    samples = _Samples(table, _columns(table))
    groups = (
        (split, model, profile)
        for split in (*table.splits, ALL_SPLITS)
        for model in table.models
        for profile in table.profiles
    )
    return tuple(
        _group(samples, *group, rows) for group in groups if len(rows := samples.where(*group))
    )


def _columns(table: AnalysisTable) -> dict[str, np.ndarray]:
    texts = {name: np.array(table.texts(name)) for name in ("split", "model", "profile_name")}
    counts = {
        f"{unit}_{count}": table.numbers(f"{unit}_{count}").astype(np.int64)
        for unit in UNITS
        for count in COUNTS
    }
    durations = table.durations_s()
    seconds = {} if durations is None else {"seconds": durations}
    truncated = (
        table.numbers("truncated") if "truncated" in table.rows.column_names else np.zeros(1)
    )
    return {
        **texts,
        **counts,
        **seconds,
        "ctc_loss": table.numbers("ctc_loss"),
        "truncated": np.broadcast_to(truncated, table.n_rows),
    }


def _group(
    samples: _Samples, split: str, model: str, profile: str, rows: np.ndarray
) -> GroupFigures:
    columns = samples.columns
    losses = columns["ctc_loss"][rows]
    losses = losses[np.isfinite(losses)]
    return GroupFigures(
        split=split,
        model=model,
        profile=profile,
        n_clips=len(rows),
        n_truncated=int(np.nansum(columns["truncated"][rows])),
        seconds=float(np.nansum(columns["seconds"][rows])) if "seconds" in columns else None,
        word=_errors(columns, "word", rows),
        character=_errors(columns, "character", rows),
        word_delta=_delta(samples, rows, samples.where(split, model, REFERENCE_PROFILE)),
        ctc_loss=float(losses.mean()) if len(losses) else None,
    )


def _errors(columns: dict[str, np.ndarray], unit: str, rows: np.ndarray) -> ErrorFigures:
    def total(count: str) -> int:
        return int(columns[f"{unit}_{count}"][rows].sum())

    return ErrorFigures(
        rate=_estimate(columns[f"{unit}_edits"][rows], columns[f"{unit}_reference_length"][rows]),
        hits=total("hits"),
        substitutions=total("substitutions"),
        deletions=total("deletions"),
        insertions=total("insertions"),
        reference_length=total("reference_length"),
    )


def _delta(samples: _Samples, rows: np.ndarray, reference: np.ndarray) -> Estimate:
    """Difference of two corpus WERs over the same clips.

    Both sides divide by the same reference words, so the difference is itself a ratio of sums:
    (edits here - edits there) / reference words.
    """
    clips = samples.table.clips
    if np.array_equal(rows, reference):
        return UNDEFINED
    _, here, there = np.intersect1d(clips[rows], clips[reference], return_indices=True)
    edits = samples.columns["word_edits"]
    lengths = samples.columns["word_reference_length"][rows[here]]
    if not lengths.sum():
        return UNDEFINED
    differences = edits[rows[here]] - edits[reference[there]]
    interval = paired_interval(differences, lengths)
    return Estimate(float(differences.sum() / lengths.sum()), interval.low, interval.high)


def paired_interval(
    differences: np.ndarray, reference_lengths: np.ndarray, *, n_resamples: int = 2000
) -> Interval:
    """95 % interval of a difference of two corpus error rates, drawing whole pairs.

    As `metrics.bootstrap_interval` with its defaults, for edits that may be negative: a clip
    brings its edits under both profiles along, so what makes it hard for both cancels.

    Parameters
    ----------
    differences : np.ndarray [shape=(n,), dtype=int64]
        Edits of each clip under one profile minus those under the other.
    reference_lengths : np.ndarray [shape=(n,), dtype=int64]
        Reference words of each clip.
    """
    random = np.random.default_rng(0)
    rates = []
    for _ in range(n_resamples):
        drawn = random.integers(len(differences), size=len(differences))
        if length := reference_lengths[drawn].sum():
            rates.append(differences[drawn].sum() / length)
    low, high = np.quantile(rates, [0.025, 0.975]) if rates else (np.nan, np.nan)
    return Interval(float(low), float(high))


def _estimate(edits: np.ndarray, reference_lengths: np.ndarray) -> Estimate:
    if not reference_lengths.sum():
        return UNDEFINED
    interval = bootstrap_interval(edits, reference_lengths)
    return Estimate(corpus_error_rate(edits, reference_lengths), interval.low, interval.high)
