"""Errors of a transcript, of a corpus, and how sure we are of them.

A corpus is scored by the ratio of sums: all edits over all reference words. The mean of the ratios
would let the shortest sentences decide. So a sample carries its counts, from which any group can be
scored, and the rate of a group comes with a bootstrap interval.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer
import numpy as np
from numpy.typing import ArrayLike

from pipeline.errors import InputError

EditKind = Literal["equal", "substitute", "delete", "insert"]

COUNTS = (
    "hits",
    "substitutions",
    "deletions",
    "insertions",
    "edits",
    "reference_length",
)
UNITS = ("word", "character")
COLUMNS = tuple(f"{unit}_{name}" for unit in UNITS for name in ("error_rate", *COUNTS))
INFORMATION = ("match_error_rate", "information_lost", "information_preserved")
INFORMATION_COLUMNS = tuple(f"word_{name}" for name in INFORMATION)

_MAX_DRAWS = 1 << 21  # indices held at once, 16 MiB: memory does not grow with the resamples


@dataclass(frozen=True)
class ErrorCounts:
    """How a hypothesis differs from its reference, in words or in characters.

    Attributes
    ----------
    hits, substitutions, deletions, insertions : int
        Of an alignment with the fewest edits.
    """

    hits: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def reference_length(self) -> int:
        """Words or characters of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def edits(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits over reference length; may exceed 1, is never NaN.

        An empty reference counts as of length 1, as in jiwer: the rate is the number of
        insertions, and 0 when the hypothesis is empty too.
        """
        return self.edits / max(self.reference_length, 1)

    @property
    def hypothesis_length(self) -> int:
        """Words or characters of the hypothesis."""
        return self.hits + self.substitutions + self.insertions

    @property
    def match_error_rate(self) -> float:
        """Edits over all steps of the alignment: never above 1; 0 where there is nothing.

        This and the next two: Morris, Maier & Green, "From WER and RIL to MER and WIL", Interspeech
        2004; without reference or hypothesis as jiwer has them.
        """
        return self.edits / max(self.edits + self.hits, 1)

    @property
    def information_preserved(self) -> float:
        """Share of the reference that was hit, times the share of the hypothesis that hit."""
        if not self.reference_length:
            return float(not self.hypothesis_length)
        return self.hits**2 / (self.reference_length * max(self.hypothesis_length, 1))

    @property
    def information_lost(self) -> float:
        """What is not preserved."""
        return 1 - self.information_preserved

    def information_columns(self) -> dict[str, float]:
        """Column -> value for `INFORMATION_COLUMNS`; of errors in words."""
        return {f"word_{name}": getattr(self, name) for name in INFORMATION}

    def columns(self, unit: Literal["word", "character"]) -> dict[str, float | int]:
        """Column -> value, as in ``analysis.parquet``: ``word_error_rate``, ``word_hits`` ..."""
        counts: dict[str, float | int] = {f"{unit}_{name}": getattr(self, name) for name in COUNTS}
        return {f"{unit}_error_rate": self.rate} | counts


@dataclass(frozen=True)
class WordEdit:
    """One step from the reference to the hypothesis.

    Attributes
    ----------
    kind : {'equal', 'substitute', 'delete', 'insert'}
        What happened to the word.
    reference : str or None
        The word said; None for an insertion.
    hypothesis : str or None
        The word recognised; None for a deletion.
    """

    kind: EditKind
    reference: str | None
    hypothesis: str | None


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``; both NaN when there is nothing to resample."""

    low: float
    high: float


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count word errors. Words stand between spaces; normalise both sides alike beforehand."""
    return batch_word_errors([reference], [hypothesis])[0]


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count character errors, spaces between words included, those at the ends not."""
    return batch_character_errors([reference], [hypothesis])[0]


def batch_word_errors(
    references: Sequence[str], hypotheses: Sequence[str]
) -> tuple[ErrorCounts, ...]:
    """`word_errors` of many sentences at once, in their order."""
    _check_pairs(references, hypotheses)
    output = jiwer.process_words(list(references), list(hypotheses))
    return _counts_of_each(output.alignments, len(references))


def batch_character_errors(
    references: Sequence[str], hypotheses: Sequence[str]
) -> tuple[ErrorCounts, ...]:
    """`character_errors` of many sentences at once, in their order."""
    _check_pairs(references, hypotheses)
    output = jiwer.process_characters(list(references), list(hypotheses))
    return _counts_of_each(output.alignments, len(references))


def align_words(reference: str, hypothesis: str) -> tuple[WordEdit, ...]:
    """Walk from the reference to the hypothesis word by word, with the fewest edits."""
    output = jiwer.process_words(reference, hypothesis)
    said, recognised = output.references[0], output.hypotheses[0]
    return tuple(
        edit for chunk in output.alignments[0] for edit in _word_edits(chunk, said, recognised)
    )


def corpus_error_rate(edits: ArrayLike, reference_lengths: ArrayLike) -> float:
    """Error rate of a corpus or of any group of its clips: the ratio of the sums.

    Parameters
    ----------
    edits : array_like [shape=(n,)]
        Of each clip.
    reference_lengths : array_like [shape=(n,)]
        Of each clip.

    Returns
    -------
    float
        NaN when the references hold nothing at all: such a group has no error rate, and 0 would
        make it look like the best one.
    """
    return float(_ratio(*_checked_sums(edits, reference_lengths).sum(axis=1)))


def bootstrap_interval(
    edits: ArrayLike,
    reference_lengths: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Confidence interval of `corpus_error_rate` by the percentile bootstrap.

    Bisani & Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004.

    Parameters
    ----------
    edits, reference_lengths : array_like [shape=(n,)]
        Of each clip.
    groups : array_like [shape=(n,)], optional
        Speaker of each clip, say. Whole groups are then drawn, because the clips of one speaker
        are not independent; the interval grows accordingly.
    n_resamples : int
        How many corpora to draw.
    level : float
        Share of them inside the interval.
    seed : int
        Same seed, same interval.

    Returns
    -------
    Interval
        NaN to NaN without any reference. Of a single clip or group it is a point.
    """
    if not 0 < level < 1:
        raise InputError(f"the level of a confidence interval lies between 0 and 1, got {level}")
    if n_resamples < 1:
        raise InputError(f"a bootstrap needs at least one resample, got {n_resamples}")
    sums = _checked_sums(edits, reference_lengths)
    if groups is not None:
        sums = _sum_groups(sums, np.asarray(groups))
    rates = _resampled_rates(sums, n_resamples, np.random.default_rng(seed))
    rates = rates[~np.isnan(rates)]
    if not rates.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _check_pairs(references: Sequence[str], hypotheses: Sequence[str]) -> None:
    if len(references) != len(hypotheses):
        raise InputError(
            f"each reference needs a hypothesis: got {len(references)} references "
            f"and {len(hypotheses)} hypotheses"
        )


def _counts_of_each(
    alignments: Sequence[Sequence[jiwer.AlignmentChunk]], n_sentences: int
) -> tuple[ErrorCounts, ...]:
    # jiwer takes an empty list for one empty sentence.
    return tuple(_counts(chunks) for chunks in alignments[:n_sentences])


def _counts(chunks: Sequence[jiwer.AlignmentChunk]) -> ErrorCounts:
    totals = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        totals[chunk.type] += max(
            chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
        )
    return ErrorCounts(*totals.values())


def _word_edits(
    chunk: jiwer.AlignmentChunk, said: list[str], recognised: list[str]
) -> Iterator[WordEdit]:
    reference = said[chunk.ref_start_idx : chunk.ref_end_idx]
    hypothesis = recognised[chunk.hyp_start_idx : chunk.hyp_end_idx]
    if chunk.type == "delete":
        return (WordEdit("delete", word, None) for word in reference)
    if chunk.type == "insert":
        return (WordEdit("insert", None, word) for word in hypothesis)
    kind: EditKind = "equal" if chunk.type == "equal" else "substitute"
    return (WordEdit(kind, *pair) for pair in zip(reference, hypothesis, strict=True))


def _checked_sums(edits: ArrayLike, reference_lengths: ArrayLike) -> np.ndarray:
    """[shape=(2, n), int64]: edits above reference lengths."""
    rows = np.asarray(edits), np.asarray(reference_lengths)
    if rows[0].ndim != 1 or rows[0].shape != rows[1].shape:
        raise InputError(
            "edits and reference lengths must be two lists of the same length, "
            f"got shapes {rows[0].shape} and {rows[1].shape}"
        )
    sums = np.stack(rows)
    if (sums < 0).any():
        raise InputError(f"edits and reference lengths cannot be negative, got {sums.min()}")
    return sums.astype(np.int64)


def _sum_groups(sums: np.ndarray, groups: np.ndarray) -> np.ndarray:
    if groups.shape != sums.shape[1:]:
        raise InputError(
            f"each clip needs a group: got groups of shape {groups.shape} for {sums.shape[1]} clips"
        )
    _, group_of = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(group_of, weights=row) for row in sums])


def _resampled_rates(sums: np.ndarray, n_resamples: int, random: np.random.Generator) -> np.ndarray:
    n_units = sums.shape[1]
    if not n_units:
        return np.full(n_resamples, np.nan)
    rates = []
    rows = max(1, _MAX_DRAWS // n_units)
    for start in range(0, n_resamples, rows):
        drawn = random.integers(n_units, size=(min(rows, n_resamples - start), n_units))
        rates.append(_ratio(*(row[drawn].sum(axis=1) for row in sums)))
    return np.concatenate(rates)


def _ratio(edits: np.ndarray, reference_lengths: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(reference_lengths > 0, edits / reference_lengths, np.nan)
