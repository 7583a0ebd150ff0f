"""How sure a figure is, and how much one thing tells of another. Pure functions on arrays.

Everything here is deterministic: what draws at random takes a seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.kmeans.metrics import PairCounts

N_RESAMPLES = 2000
LEVEL = 0.95
NORMAL_QUANTILE = 1.959963984540054  # of (1 + LEVEL) / 2
N_BINS = 10  # a number is cut into tenths before its mutual information is taken
_MAX_DRAWS = 1 << 21  # indices held at once, 16 MiB


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; ``None`` where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedDifference:
    """A difference between two error rates on the same clips.

    Attributes
    ----------
    value : float, optional
        First rate minus second; ``None`` when the clips hold no reference words.
    low, high : float, optional
        95 % interval, clips drawn in pairs.
    p_value : float, optional
        Two-sided, of the hypothesis that the rates are equal.
    """

    value: float | None
    low: float | None
    high: float | None
    p_value: float | None


UNDEFINED = Estimate(None, None, None)
NO_DIFFERENCE = PairedDifference(None, None, None, None)


def ratio_estimate(numerators: np.ndarray, denominators: np.ndarray) -> Estimate:
    """Ratio of sums with its large-sample interval (Cochran 1977, Sampling Techniques, eq. 6.13).

    Without drawing anything: the variance of ``sum(y) / sum(x)`` is that of the residuals
    ``y - ratio * x``, over the square of ``sum(x)``. It agrees with the bootstrap from a few dozen
    clips on, and is what the page uses for groups that change while one looks.

    Parameters
    ----------
    numerators, denominators : np.ndarray [shape=(n,)]
        Edits and reference words of each clip; or values and ones, for a mean.

    Returns
    -------
    Estimate
        Without interval for a single clip; undefined when the denominators sum to 0.
    """
    total = float(denominators.sum())
    if not total:
        return UNDEFINED
    ratio = float(numerators.sum()) / total
    n = len(numerators)
    if n < 2:
        return Estimate(ratio, None, None)
    residuals = numerators - ratio * denominators
    error = np.sqrt(n / (n - 1) * np.sum(residuals**2)) / total
    half = NORMAL_QUANTILE * float(error)
    return Estimate(ratio, ratio - half, ratio + half)


def paired_difference(
    differences: np.ndarray, reference_lengths: np.ndarray, *, seed: int = 0
) -> PairedDifference:
    """Difference of two corpus error rates by the paired bootstrap (Bisani & Ney 2004, ICASSP).

    Both sides divide by the same reference words, so the difference is itself a ratio of sums.
    A clip that is drawn brings its edits on both sides along: what makes it hard for both cancels.
    The test asks how often a difference that is centred on 0 strays as far as the one seen
    (Efron & Tibshirani 1993, ch. 16); ``(1 + k) / (1 + draws)``, so never 0.

    Parameters
    ----------
    differences : np.ndarray [shape=(n,), dtype=int64]
        Edits of each clip on the first side minus those on the second.
    reference_lengths : np.ndarray [shape=(n,), dtype=int64]
        Reference words of each clip.
    seed : int

    Returns
    -------
    PairedDifference
    """
    if not reference_lengths.sum():
        return NO_DIFFERENCE
    value = float(differences.sum() / reference_lengths.sum())
    sums = np.stack([differences, reference_lengths])
    drawn = np.concatenate(list(_resampled_ratios(sums, np.random.default_rng(seed))))
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Rates are fractions of counts: what is equal must not differ by a rounding error.
    farther = np.abs(drawn - value) >= abs(value) - 1e-12
    p_value = (1 + int(farther.sum())) / (1 + len(drawn))
    return PairedDifference(value, float(low), float(high), p_value)


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values for their number: what stays below q has a false discovery rate of q.

    Benjamini & Hochberg 1995, J. R. Statist. Soc. B 57.

    Parameters
    ----------
    p_values : np.ndarray [shape=(n,), dtype=float64]

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        In the order given.
    """
    n = len(p_values)
    order = np.argsort(p_values)[::-1]
    steps = p_values[order] * n / np.arange(n, 0, -1)
    adjusted = np.empty(n)
    adjusted[order] = np.minimum.accumulate(np.minimum(steps, 1.0)) if n else steps
    return adjusted


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information of two labellings in nats: what knowing one tells of the other.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n,), dtype=int64]
        From 0.
    """
    if not len(first):
        return 0.0
    pairs = PairCounts()
    pairs.add(first, second)
    return max(0.0, pairs.table().mutual_information)


def quantile_bins(values: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Cut numbers into bins of about equal size; equal numbers share a bin.

    Parameters
    ----------
    values : np.ndarray [shape=(n,), dtype=float64]
        NaN where missing.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=int64]
        From 0; missing values are a bin of their own, the last.
    """
    known = np.isfinite(values)
    bins = np.full(len(values), n_bins, dtype=np.int64)
    if known.any():
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, n_bins + 1)[1:-1]))
        bins[known] = np.searchsorted(edges, values[known], side="left")
    return bins


def standardized_difference(inside: np.ndarray, outside: np.ndarray) -> float:
    """Hedges' g: difference of two means in pooled standard deviations, corrected for few values.

    Hedges 1981, J. Educ. Stat. 6. 0.2 is called small, 0.5 medium, 0.8 large (Cohen 1988).

    Returns
    -------
    float
        0 when nothing varies; NaN with fewer than two values on a side.
    """
    n, m = len(inside), len(outside)
    if n < 2 or m < 2:
        return float("nan")
    pooled = ((n - 1) * inside.var(ddof=1) + (m - 1) * outside.var(ddof=1)) / (n + m - 2)
    difference = float(inside.mean() - outside.mean())
    if pooled <= 1e-24 * max(difference**2, 1e-300):
        return 0.0 if difference == 0 else float(np.copysign(np.inf, difference))
    return difference / float(np.sqrt(pooled)) * (1 - 3 / (4 * (n + m) - 9))


def proportion_difference(inside: float, outside: float) -> float:
    """Cohen's h: difference of two shares on the arcsine scale, read like Hedges' g."""
    return float(2 * np.arcsin(np.sqrt(inside)) - 2 * np.arcsin(np.sqrt(outside)))


def energy_coefficient(first: np.ndarray, second: np.ndarray) -> float:
    """How far apart two clouds of points are: 0 the same distribution, 1 each a single point.

    The energy distance over its largest possible value (Székely & Rizzo 2013, J. Stat. Plan.
    Inference 143, "coefficient of homogeneity"), with V-statistics.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n, d)], [shape=(m, d)]
    """
    between = _mean_distance(first, second)
    within = _mean_distance(first, first) + _mean_distance(second, second)
    return float(max(0.0, 2 * between - within) / (2 * between)) if between else 0.0


def _mean_distance(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.spatial.distance import cdist

    return float(cdist(first.astype(np.float64), second.astype(np.float64)).mean())


def _resampled_ratios(sums: np.ndarray, random: np.random.Generator) -> Iterator[np.ndarray]:
    n = sums.shape[1]
    rows = max(1, _MAX_DRAWS // n)
    for start in range(0, N_RESAMPLES, rows):
        drawn = random.integers(n, size=(min(rows, N_RESAMPLES - start), n))
        numerators, denominators = (row[drawn].sum(axis=1) for row in sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            yield np.where(denominators > 0, numerators / denominators, np.nan)
