"""Two models, or one before and after training, on the same clips."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hearing_analysis.metrics import UNITS
from hearing_analysis.reports.figures import ALL_SPLITS
from hearing_analysis.reports.statistics import PairedDifference, paired_difference
from hearing_analysis.reports.table import AnalysisTable
from pipeline.errors import InputError


@dataclass(frozen=True)
class Comparison:
    """Two models under one profile, on the clips both heard.

    Attributes
    ----------
    split, profile : str
    first, second : str
        Names of the models.
    n_clips : int
        Clips that both have.
    n_better, n_worse, n_equal : int
        Clips on which the second makes fewer, more, or as many word errors.
    first_rate, second_rate : float, optional
        Word error rates, each over its own reference words.
    word, character : PairedDifference
        Error rate of the second minus that of the first.
    """

    split: str
    profile: str
    first: str
    second: str
    n_clips: int
    n_better: int
    n_worse: int
    n_equal: int
    first_rate: float | None
    second_rate: float | None
    word: PairedDifference
    character: PairedDifference


def compare_models(table: AnalysisTable) -> tuple[Comparison, ...]:
    """Compare every two models, for every split (and all together) and profile.

    Reference lengths are those of the first model: models that normalise sentences differently
    count slightly different words, and a difference needs one denominator.
    """
    if len(table.models) < 2:
        return ()
    texts = {name: np.array(table.texts(name)) for name in ("split", "model", "profile_name")}
    rows = {
        (split, profile, model): np.flatnonzero(
            (texts["model"] == model)
            & (texts["profile_name"] == profile)
            & ((texts["split"] == split) | (split == ALL_SPLITS))
        )
        for split in (*table.splits, ALL_SPLITS)
        for profile in table.profiles
        for model in table.models
    }
    found = (
        _compare(table, split, profile, pair, rows)
        for split in (*table.splits, ALL_SPLITS)
        for profile in table.profiles
        for pair in combinations(table.models, 2)
    )
    return tuple(comparison for comparison in found if comparison.n_clips)


def of_split(comparisons: tuple[Comparison, ...], split: str | None) -> tuple[Comparison, ...]:
    """Comparisons of one split; of each when none is named.

    Raises
    ------
    InputError
        If nothing is left: no such split, or no clip that both models have.
    """
    splits = tuple(dict.fromkeys(comparison.split for comparison in comparisons))
    if not splits:
        raise InputError("the two runs share no clip under the same profile and split")
    if split is not None and split not in splits:
        raise InputError(f"there is no split {split!r}; there are: {', '.join(splits)}")
    return tuple(c for c in comparisons if split in (None, c.split))


def _compare(
    table: AnalysisTable,
    split: str,
    profile: str,
    pair: tuple[str, str],
    rows: dict[tuple[str, str, str], np.ndarray],
) -> Comparison:
    first, second = (rows[split, profile, model] for model in pair)
    shared, here, there = np.intersect1d(
        table.clips[first], table.clips[second], return_indices=True
    )
    first, second = first[here], second[there]
    differences = {
        unit: (table.numbers(f"{unit}_edits")[second] - table.numbers(f"{unit}_edits")[first])
        for unit in UNITS
    }
    lengths = {unit: table.numbers(f"{unit}_reference_length")[first] for unit in UNITS}
    return Comparison(
        split=split,
        profile=profile,
        first=pair[0],
        second=pair[1],
        n_clips=len(shared),
        n_better=int((differences["word"] < 0).sum()),
        n_worse=int((differences["word"] > 0).sum()),
        n_equal=int((differences["word"] == 0).sum()),
        first_rate=_rate(table, first),
        second_rate=_rate(table, second),
        word=_difference(differences["word"], lengths["word"]),
        character=_difference(differences["character"], lengths["character"]),
    )


def _difference(differences: np.ndarray, lengths: np.ndarray) -> PairedDifference:
    return paired_difference(differences.astype(np.int64), lengths.astype(np.int64))


def _rate(table: AnalysisTable, rows: np.ndarray) -> float | None:
    length = table.numbers("word_reference_length")[rows].sum()
    return float(table.numbers("word_edits")[rows].sum() / length) if length else None
