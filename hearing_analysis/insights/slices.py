"""Groups of samples that are recognised worse than the others under the same profile.

Every value of every text column, every fifth of every number and every cluster is a group, over all
profiles and under each. A group is compared with all other samples of the same profiles and splits,
so that a hard profile does not make every group in it look weak. Clips, not samples, are
independent: what a clip does under several profiles counts once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.stats import norm

from hearing_analysis.reports.groups import is_number, labels, metadata_columns
from hearing_analysis.reports.statistics import NORMAL_QUANTILE, benjamini_hochberg
from hearing_analysis.reports.table import AnalysisTable

N_PARTS = 5  # a number is cut into fifths
SMALLEST_GROUP = 10  # clips
LARGEST_P = 0.05  # after correction for all groups that were tried
OVERLAP = 0.5  # shared samples over all samples of two groups, from which the weaker is left out
MAX_GROUPS = 20


@dataclass(frozen=True)
class Condition:
    """A value of a column, or a range of numbers, both ends included."""

    column: str
    value: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class WeakGroup:
    """A group that is recognised worse than the others.

    Attributes
    ----------
    model : str
    profile : str, optional
        Under which it was found; ``None``: over all profiles.
    condition : Condition
        What its samples share.
    n_clips, n_samples : int
    word_error_rate : float
        Of the group.
    excess : float
        Word error rate of the group minus that of all other samples, each measured from the mean
        of its profile and split.
    low, high : float
        95 % interval of ``excess``.
    p_value : float
        Two-sided, adjusted by Benjamini and Hochberg for all groups of the model.
    severity : float
        Share of all word errors that would not occur if the group were as good as the others.
    """

    model: str
    profile: str | None
    condition: Condition
    n_clips: int
    n_samples: int
    word_error_rate: float
    excess: float
    low: float
    high: float
    p_value: float
    severity: float


@dataclass(frozen=True)
class Excess:
    """How much worse a group is: a difference with its standard error."""

    value: float
    error: float

    @property
    def p_value(self) -> float:
        """Two-sided, by the normal approximation."""
        return float(2 * norm.sf(abs(self.value) / self.error)) if self.error else 1.0


@dataclass(frozen=True)
class _Samples:
    """The rows of one model, and perhaps one profile."""

    profile: str | None
    rows: np.ndarray
    clips: np.ndarray
    residuals: np.ndarray
    lengths: np.ndarray
    edits: np.ndarray


@dataclass(frozen=True)
class _Found:
    group: WeakGroup
    mask: np.ndarray  # over all rows of the table


def weak_groups(table: AnalysisTable) -> tuple[WeakGroup, ...]:
    """Find the groups of every model that are recognised worse, the most severe first."""
    return tuple(group for model in table.models for group in _of_model(table, model))


def group_excess(
    residuals: np.ndarray, lengths: np.ndarray, clips: np.ndarray, inside: np.ndarray
) -> Excess:
    """Compare a group with the rest, clips being the independent units.

    Parameters
    ----------
    residuals : np.ndarray [shape=(n,), dtype=float64]
        Edits beyond those expected of each sample.
    lengths : np.ndarray [shape=(n,)]
        Its reference words.
    clips : np.ndarray [shape=(n,), dtype=int64]
        Its clip.
    inside : np.ndarray [shape=(n,), dtype=bool]

    Returns
    -------
    Excess
        Difference of two ratios of sums. Its variance is that of the clips' influences, the
        linearised estimator of survey sampling (Wolter 2007, Introduction to Variance Estimation).
    """
    signs = np.where(inside, 1.0, -1.0)
    totals = np.where(inside, lengths[inside].sum(), lengths[~inside].sum())
    here = residuals[inside].sum() / lengths[inside].sum()
    there = residuals[~inside].sum() / lengths[~inside].sum()
    means = np.where(inside, here, there)
    influences = signs * (residuals - means * lengths) / totals
    _, clip_of = np.unique(clips, return_inverse=True)
    by_clip = np.bincount(clip_of, weights=influences)
    n = len(by_clip)
    error = float(np.sqrt(n / max(1, n - 1) * np.sum(by_clip**2)))
    return Excess(float(here - there), error)


def _of_model(table: AnalysisTable, model: str) -> list[WeakGroup]:
    found = [
        candidate
        for samples in _views(table, model)
        for condition, mask in _candidates(table, samples.rows)
        if (candidate := _measure(table, model, samples, condition, mask)) is not None
    ]
    adjusted = benjamini_hochberg(np.array([item.group.p_value for item in found]))
    weak = [
        _Found(_with_p(item.group, float(p)), item.mask)
        for item, p in zip(found, adjusted, strict=True)
        if p < LARGEST_P and item.group.excess > 0
    ]
    weak.sort(key=lambda item: -item.group.severity)
    return _distinct(weak)


def _views(table: AnalysisTable, model: str) -> Iterator[_Samples]:
    """All profiles together, then each."""
    profiles = np.array(table.texts("profile_name"))
    splits = np.array(table.texts("split"))
    edits, lengths = table.numbers("word_edits"), table.numbers("word_reference_length")
    of_model = np.array(table.texts("model")) == model
    residuals = np.zeros(table.n_rows)
    for profile in table.profiles:
        for split in table.splits:
            stratum = of_model & (profiles == profile) & (splits == split)
            if total := lengths[stratum].sum():
                rate = edits[stratum].sum() / total
                residuals[stratum] = edits[stratum] - rate * lengths[stratum]
    for name in (None, *table.profiles):
        rows = np.flatnonzero(of_model if name is None else of_model & (profiles == name))
        if len(rows) and (name is None or len(table.profiles) > 1):
            columns = (table.clips, residuals, lengths, edits)
            yield _Samples(name, rows, *(column[rows] for column in columns))


def _candidates(table: AnalysisTable, rows: np.ndarray) -> Iterator[tuple[Condition, np.ndarray]]:
    """Conditions with the rows that meet them: bool [shape=(n,)]."""
    for name in metadata_columns(table):
        if name.startswith("profile_"):
            continue  # constant under a profile
        if is_number(table, name):
            yield from _ranges(name, table.numbers(name)[rows])
        elif (found := labels(table, name)) is not None:
            codes = found.codes[rows]
            for code, value in enumerate(found.values):
                yield Condition(name, value), codes == code
    if "cluster" in table.rows.column_names:
        clusters = table.numbers("cluster")[rows]
        for number in np.unique(clusters[np.isfinite(clusters)]).astype(int):
            yield Condition("cluster", str(number)), clusters == number


def _ranges(name: str, values: np.ndarray) -> Iterator[tuple[Condition, np.ndarray]]:
    known = values[np.isfinite(values)]
    if not len(known):
        return
    edges = np.unique(np.quantile(known, np.linspace(0, 1, N_PARTS + 1)))
    for i, (low, high) in enumerate(pairwise(edges)):
        # Ranges include both ends, so they begin where the one before has ended.
        above = values >= low if i == 0 else values > low
        inside = above & (values <= high)
        if inside.any():
            yield Condition(name, None, float(values[inside].min()), float(high)), inside


def _measure(
    table: AnalysisTable, model: str, samples: _Samples, condition: Condition, inside: np.ndarray
) -> _Found | None:
    n_clips = len(np.unique(samples.clips[inside]))
    n_others = len(np.unique(samples.clips[~inside]))
    lengths = samples.lengths
    if min(n_clips, n_others) < SMALLEST_GROUP:
        return None
    if not (lengths[inside].sum() and lengths[~inside].sum()):
        return None
    excess = group_excess(samples.residuals, lengths, samples.clips, inside)
    half = NORMAL_QUANTILE * excess.error
    mask = np.zeros(table.n_rows, dtype=bool)
    mask[samples.rows[inside]] = True
    group = WeakGroup(
        model=model,
        profile=samples.profile,
        condition=condition,
        n_clips=n_clips,
        n_samples=int(inside.sum()),
        word_error_rate=float(samples.edits[inside].sum() / lengths[inside].sum()),
        excess=excess.value,
        low=excess.value - half,
        high=excess.value + half,
        p_value=excess.p_value,
        severity=float(excess.value * lengths[inside].sum() / max(1.0, samples.edits.sum())),
    )
    return _Found(group, np.packbits(mask))


def _with_p(group: WeakGroup, p_value: float) -> WeakGroup:
    return replace(group, p_value=p_value)


def _distinct(weak: list[_Found]) -> list[WeakGroup]:
    kept: list[_Found] = []
    for item in weak:
        if len(kept) == MAX_GROUPS:
            break
        if all(_overlap(item.mask, other.mask) < OVERLAP for other in kept):
            kept.append(item)
    return [item.group for item in kept]


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    both, either = np.bitwise_count(first & second).sum(), np.bitwise_count(first | second).sum()
    return float(both / either) if either else 0.0
