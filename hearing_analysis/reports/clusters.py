"""What sets the clusters of the latent space apart: errors and metadata, inside and outside."""

from dataclasses import dataclass

import numpy as np

from hearing_analysis.latent_space import silhouette, silhouettes
from hearing_analysis.reports.groups import is_number, labels, metadata_columns
from hearing_analysis.reports.statistics import (
    Estimate,
    mutual_information,
    proportion_difference,
    quantile_bins,
    ratio_estimate,
    standardized_difference,
)
from hearing_analysis.reports.table import AnalysisTable

MAX_TRAITS = 6
LARGEST_SAMPLE = 20_000  # rows that traits are measured on
ALIKE = 0.9  # rank correlation from which two columns say the same


@dataclass(frozen=True)
class Trait:
    """A column whose values differ between a group and all others.

    Attributes
    ----------
    column : str
    value : str, optional
        Of a text column, the value that stands out; the sides are then its shares.
    mutual_information : float
        Between membership and the column, in nats; numbers in ten bins of equal size.
    effect : float
        Hedges' g of numbers, Cohen's h of shares.
    inside, outside : float
        Mean, or share of ``value``, in the group and in all others.
    """

    column: str
    value: str | None
    mutual_information: float
    effect: float
    inside: float
    outside: float


@dataclass(frozen=True)
class ClusterCard:
    """One cluster of one model.

    Attributes
    ----------
    n_samples, n_clips : int
    inside, outside : Estimate
        Word error rate in the cluster and in all others.
    traits : tuple of Trait
        What tells most of membership, the strongest first, near-copies left out.
    """

    cluster: int
    n_samples: int
    n_clips: int
    inside: Estimate
    outside: Estimate
    traits: tuple[Trait, ...]


@dataclass(frozen=True)
class Clustering:
    """The clusters of one model.

    Attributes
    ----------
    n_clusters : int
    silhouette : float, optional
        Mean silhouette of the clusters as they are in the table.
    silhouettes : dict
        Number of clusters -> mean silhouette, to compare with.
    """

    model: str
    n_clusters: int
    silhouette: float | None
    silhouettes: dict[int, float]
    cards: tuple[ClusterCard, ...]


def describe_clusters(table: AnalysisTable) -> tuple[Clustering, ...]:
    """Describe the clusters of every model; none without a column ``cluster``."""
    if "cluster" not in table.rows.column_names:
        return ()
    clusters = table.numbers("cluster")
    models = np.array(table.texts("model"))
    return tuple(
        _describe(table, model, np.flatnonzero((models == model) & np.isfinite(clusters)))
        for model in table.models
    )


def group_traits(table: AnalysisTable, rows: np.ndarray, inside: np.ndarray) -> tuple[Trait, ...]:
    """Find what sets some rows apart from others.

    Parameters
    ----------
    rows : np.ndarray [shape=(n,), dtype=int64]
        All rows to look at.
    inside : np.ndarray [shape=(n,), dtype=bool]
        Which of them are in the group.
    """
    if len(rows) > LARGEST_SAMPLE:
        chosen = np.random.default_rng(0).choice(len(rows), LARGEST_SAMPLE, replace=False)
        rows, inside = rows[np.sort(chosen)], inside[np.sort(chosen)]
    if inside.all() or not inside.any():
        return ()
    found = [_trait(table, name, rows, inside) for name in _explaining(table)]
    ranked = sorted(
        (trait for trait in found if trait is not None and trait.mutual_information > 0),
        key=lambda trait: -trait.mutual_information,
    )
    return _distinct(table, ranked, rows)


def _describe(table: AnalysisTable, model: str, rows: np.ndarray) -> Clustering:
    clusters = table.numbers("cluster")[rows].astype(np.int64)
    numbers = np.unique(clusters)
    own, scores = None, {}
    if table.has_latents and len(rows) > 2:
        latents = table.latents(rows)
        own, scores = silhouette(latents, clusters), silhouettes(latents)
    cards = tuple(_card(table, rows, clusters, int(number)) for number in numbers)
    return Clustering(model, len(numbers), own, scores, cards)


def _card(table: AnalysisTable, rows: np.ndarray, clusters: np.ndarray, number: int) -> ClusterCard:
    inside = clusters == number
    edits = table.numbers("word_edits")[rows]
    lengths = table.numbers("word_reference_length")[rows]
    return ClusterCard(
        cluster=number,
        n_samples=int(inside.sum()),
        n_clips=len(np.unique(table.clips[rows[inside]])),
        inside=ratio_estimate(edits[inside], lengths[inside]),
        outside=ratio_estimate(edits[~inside], lengths[~inside]),
        traits=group_traits(table, rows, inside),
    )


def _explaining(table: AnalysisTable) -> tuple[str, ...]:
    # All columns of a profile say which profile it is; its name says it best.
    metadata = (name for name in metadata_columns(table) if not name.startswith("profile_"))
    return ("profile_name", "split", *metadata)


def _trait(table: AnalysisTable, name: str, rows: np.ndarray, inside: np.ndarray) -> Trait | None:
    if is_number(table, name):
        return _number_trait(name, table.numbers(name)[rows], inside)
    found = labels(table, name)
    return None if found is None else _text_trait(name, found.codes[rows], found.values, inside)


def _number_trait(name: str, values: np.ndarray, inside: np.ndarray) -> Trait | None:
    known = np.isfinite(values)
    here, there = values[known & inside], values[known & ~inside]
    if len(here) < 2 or len(there) < 2 or np.ptp(values[known]) == 0:
        return None
    information = mutual_information(quantile_bins(values), inside.astype(np.int64))
    effect = standardized_difference(here, there)
    if not np.isfinite(effect):
        return None
    return Trait(name, None, information, effect, float(here.mean()), float(there.mean()))


def _text_trait(
    name: str, codes: np.ndarray, values: tuple[str, ...], inside: np.ndarray
) -> Trait | None:
    n_values = len(values)
    here = np.bincount(codes[inside] + 1, minlength=n_values + 1)[1:] / max(1, inside.sum())
    there = np.bincount(codes[~inside] + 1, minlength=n_values + 1)[1:] / max(1, (~inside).sum())
    if not n_values:
        return None
    # The value that stands out most, in whichever direction.
    effects = np.array([proportion_difference(*pair) for pair in zip(here, there, strict=True)])
    most = int(np.argmax(np.abs(effects)))
    information = mutual_information(codes + 1, inside.astype(np.int64))
    return Trait(
        name, values[most], information, float(effects[most]), float(here[most]), float(there[most])
    )


def _distinct(table: AnalysisTable, ranked: list[Trait], rows: np.ndarray) -> tuple[Trait, ...]:
    from scipy.stats import rankdata

    kept: list[Trait] = []
    ranks: list[np.ndarray] = []
    for trait in ranked:
        if len(kept) == MAX_TRAITS:
            break
        if trait.value is None:
            values = table.numbers(trait.column)[rows]
            rank = rankdata(np.nan_to_num(values, nan=np.nanmean(values)))
            if any(abs(np.corrcoef(rank, other)[0, 1]) > ALIKE for other in ranks):
                continue
            ranks.append(rank)
        kept.append(trait)
    return tuple(kept)
