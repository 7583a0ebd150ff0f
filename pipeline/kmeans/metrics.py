"""How good units are: purity, mutual information, usage, agreement, edits. On arrays alone.

Purities and PNMI are those of HuBERT (Hsu et al. 2021, arXiv 2106.07447, §IV-D) and of fairseq's
measure_teacher_quality.py, with natural logarithms.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

PENDING_FRAMES = 2**20
HALF = 32  # bits of a code that hold one of two labels


class PairCounts:
    """Counts how often two labels meet, in memory that grows with the pairs, not the frames."""

    def __init__(self) -> None:
        self._codes = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._pending: list[np.ndarray] = []
        self._n_pending = 0

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """Count labels that stand side by side: two int64 [shape=(n,)], from 0."""
        self._pending.append(first.astype(np.int64) << HALF | second)
        self._n_pending += len(first)
        if self._n_pending > PENDING_FRAMES:
            self._compact()

    def table(self) -> "JointCounts":
        """All that was counted."""
        self._compact()
        return JointCounts(self._codes >> HALF, self._codes & (2**HALF - 1), self._counts)

    def _compact(self) -> None:
        new = np.concatenate([self._codes, *self._pending])
        ones = np.ones(self._n_pending, np.int64)
        self._codes, place = np.unique(new, return_inverse=True)
        weights = np.concatenate([self._counts, ones])
        # float64 counts frames exactly up to 2**53.
        counts = np.bincount(place, weights, minlength=len(self._codes))
        self._counts = counts.astype(np.int64)
        self._pending, self._n_pending = [], 0


@dataclass(frozen=True)
class JointCounts:
    """Pairs of labels that occur, and how often: three int64 [shape=(n_pairs,)]."""

    first: np.ndarray
    second: np.ndarray
    counts: np.ndarray

    @property
    def n_frames(self) -> int:
        """Frames that were counted."""
        return int(self.counts.sum())

    @cached_property
    def firsts(self) -> np.ndarray:
        """Frames of every label of the first kind."""
        return _totals(self.first, self.counts)

    @cached_property
    def seconds(self) -> np.ndarray:
        """Frames of every label of the second kind."""
        return _totals(self.second, self.counts)

    @property
    def phone_purity(self) -> float:
        """Part of the frames whose first label is the commonest one of their second."""
        return _purity(self.second, self.counts)

    @property
    def cluster_purity(self) -> float:
        """Part of the frames whose second label is the commonest one of their first."""
        return _purity(self.first, self.counts)

    @property
    def mutual_information(self) -> float:
        """What one label tells of the other, in nats."""
        p = self.counts / self.n_frames
        expected = self.firsts[self.first] * self.seconds[self.second] / self.n_frames**2
        return float(np.sum(p * np.log(p / expected)))

    @property
    def pnmi(self) -> float:
        """Part of the uncertainty of the first label that the second takes away."""
        whole = entropy(self.firsts)
        return self.mutual_information / whole if whole else float("nan")

    @property
    def normalized_mutual_information(self) -> float:
        """Mutual information over the mean of the two entropies: 1 if the partitions agree."""
        mean = (entropy(self.firsts) + entropy(self.seconds)) / 2
        return self.mutual_information / mean if mean else 1.0

    @property
    def adjusted_rand_index(self) -> float:
        """Pairs of frames on which partitions agree, 0 by chance (Hubert & Arabie 1985, eq. 5)."""
        both, first, second = map(_couples, (self.counts, self.firsts, self.seconds))
        expected = first * second / max(1.0, _couples(np.array([self.n_frames])))
        highest = (first + second) / 2
        return (both - expected) / (highest - expected) if highest != expected else 1.0


def entropy(counts: np.ndarray) -> float:
    """Entropy in nats of what was counted."""
    p = counts[counts > 0] / counts.sum()
    return float(-np.sum(p * np.log(p)))


def deduplicate(labels: np.ndarray) -> np.ndarray:
    """Leave one label of every run of the same."""
    if not len(labels):
        return labels
    return labels[np.concatenate([[True], labels[1:] != labels[:-1]])]


def unit_edits(reference: np.ndarray, changed: np.ndarray) -> int:
    """Insertions, deletions and substitutions between two clips' units, runs taken as one."""
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(deduplicate(reference).tolist(), deduplicate(changed).tolist()))


def _totals(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.bincount(labels, counts).astype(np.int64) if len(labels) else labels


def _purity(labels: np.ndarray, counts: np.ndarray) -> float:
    highest = np.zeros(labels.max(initial=-1) + 1, np.int64)
    np.maximum.at(highest, labels, counts)
    return float(highest.sum() / counts.sum())


def _couples(counts: np.ndarray) -> float:
    wide = counts.astype(np.float64)
    return float(np.sum(wide * (wide - 1) / 2))
