"""The figures of the overview: error rates of every profile, model and split, with intervals."""

from dataclasses import dataclass

import numpy as np

from hearing_analysis.metrics import COUNTS, UNITS, bootstrap_interval, corpus_error_rate
from hearing_analysis.reports.statistics import (
    NO_DIFFERENCE,
    UNDEFINED,
    Estimate,
    PairedDifference,
    paired_difference,
)
from hearing_analysis.reports.table import REFERENCE_PROFILE, AnalysisTable

ALL_SPLITS = "all"
LOSSES = ("ctc_loss", "cross_entropy")


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
    word_delta : PairedDifference
        WER minus that of the reference profile, on the clips both have.
    ctc_loss, cross_entropy : float, optional
        Means over the samples whose loss is finite; a model has the one it is trained with.
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
    word_delta: PairedDifference
    ctc_loss: float | None
    cross_entropy: float | None


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
        **{name: _loss(table, name) for name in LOSSES},
        "truncated": np.broadcast_to(truncated, table.n_rows),
    }


def _group(
    samples: _Samples, split: str, model: str, profile: str, rows: np.ndarray
) -> GroupFigures:
    columns = samples.columns
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
        ctc_loss=_finite_mean(columns["ctc_loss"][rows]),
        cross_entropy=_finite_mean(columns["cross_entropy"][rows]),
    )


def _loss(table: AnalysisTable, name: str) -> np.ndarray:
    known = name in table.rows.column_names
    return table.numbers(name) if known else np.full(table.n_rows, np.nan)


def _finite_mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


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


def _delta(samples: _Samples, rows: np.ndarray, reference: np.ndarray) -> PairedDifference:
    clips = samples.table.clips
    if np.array_equal(rows, reference):
        return NO_DIFFERENCE
    _, here, there = np.intersect1d(clips[rows], clips[reference], return_indices=True)
    edits = samples.columns["word_edits"]
    lengths = samples.columns["word_reference_length"][rows[here]]
    return paired_difference(edits[rows[here]] - edits[reference[there]], lengths)


def _estimate(edits: np.ndarray, reference_lengths: np.ndarray) -> Estimate:
    if not reference_lengths.sum():
        return UNDEFINED
    interval = bootstrap_interval(edits, reference_lengths)
    return Estimate(corpus_error_rate(edits, reference_lengths), interval.low, interval.high)
