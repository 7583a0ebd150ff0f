"""Pairs of segments to learn from: what a training step sees, given its number alone.

``init``: two views of the same stretch of speech, all of one speaker, so that a speaker's voice is
no help. ``knn``: a segment and one of its nearest neighbours, or some of both. ``gold``: two
segments with the same transcription. The latter two are seen in any of the views that the features
hold. In every batch, pairs that say the same are kept from being each other's negatives: the
original has no such guard.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.errors import InputError
from pipeline.sse.segments import SegmentSettings, grid_spans
from pipeline.sse.store import FrameRanges, Store

SECTIONS_AT_ONCE = 20
SECONDS_AT_ONCE = 20.0
SECTION_SECONDS = 1.2  # what a section needs to be drawn from
LARGEST_OVERLAP = 0.5  # of two segments, over what they cover together, to say different things


@dataclass(frozen=True)
class PairBatch:
    """Some pairs.

    Attributes
    ----------
    first, second : FrameRanges
        Item ``i`` of both is a pair.
    ignored : np.ndarray [shape=(n, n), dtype=bool]
        Pairs that are no negatives of each other.
    """

    first: FrameRanges
    second: FrameRanges
    ignored: np.ndarray


class Pairs(Protocol):
    """Where batches come from."""

    def batch(self, rng: np.random.Generator) -> PairBatch:
        """Draw a batch; the same state of the generator gives the same one."""


class ViewPairs:
    """Views of the same segment, of one speaker at a time.

    Parameters
    ----------
    store : Store
        With two views of every section or more.
    batch_size : int
        Pairs.
    settings : SegmentSettings
        The grid.

    Raises
    ------
    InputError
        If there is but one view, or too little speech for a batch.
    """

    def __init__(
        self, store: Store, batch_size: int, settings: SegmentSettings | None = None
    ) -> None:
        self._store, self._batch_size = store, batch_size
        self._views = store.views_of()
        if self._views.shape[1] < 2:
            raise InputError(
                f"{store.folder} has one view of each section, and two are needed to tell what "
                "stays; make the features with --views 4 --augment tempo"
            )
        settings = settings or SegmentSettings()
        rows = self._views[:, 0]
        spans = [grid_spans(store.spans[row], settings) for row in rows]
        self._spans = np.concatenate(spans)
        self._owner = np.repeat(np.arange(len(rows)), [len(found) for found in spans])
        self._edges = np.searchsorted(self._owner, np.arange(len(rows) + 1))
        seconds = store.spans[rows, 1] - store.spans[rows, 0]
        long_enough = seconds >= SECTION_SECONDS
        usable = long_enough if long_enough.any() else np.diff(self._edges) > 0
        self._speaker = store.speaker[rows]
        self._usable = np.flatnonzero(usable)
        self._seconds = seconds
        if len(self._spans) < batch_size:
            raise InputError(
                f"{store.folder} has {len(self._spans)} segments, fewer than a batch of "
                f"{batch_size}; give more speech, or a smaller --batch-size"
            )

    def batch(self, rng: np.random.Generator) -> PairBatch:
        """Segments of some sections of one speaker, drawn as often as they speak."""
        speaker = self._speaker[rng.choice(self._usable)]
        own = rng.permutation(self._usable[self._speaker[self._usable] == speaker])
        enough = int(np.searchsorted(np.cumsum(self._seconds[own]), SECONDS_AT_ONCE)) + 1
        sections = own[: min(enough, SECTIONS_AT_ONCE)]
        known = np.concatenate([np.arange(*self._edges[s : s + 2]) for s in sections])
        chosen = np.sort(rng.permutation(known)[: self._batch_size])
        owner, spans = self._owner[chosen], self._spans[chosen]
        views = np.array([rng.permutation(self._views.shape[1])[:2] for _ in sections])
        pair = views[np.searchsorted(np.sort(sections), owner)]
        rows = self._views[owner[:, None], pair]
        return PairBatch(
            self._store.ranges(rows[:, 0], spans),
            self._store.ranges(rows[:, 1], spans),
            overlapping(owner, spans),
        )


class ListedPairs:
    """Pairs that somebody has found.

    Segments that stand in one pair are no negatives of each other, wherever else they come.

    Parameters
    ----------
    store : Store
    first, second : FrameRanges
    batch_size : int

    Raises
    ------
    InputError
        If there are fewer pairs than a batch takes.
    """

    def __init__(
        self, store: Store, first: FrameRanges, second: FrameRanges, batch_size: int
    ) -> None:
        if len(first) < batch_size:
            raise InputError(
                f"{len(first)} pairs are fewer than a batch of {batch_size}; keep more of them, or "
                "give a smaller --batch-size"
            )
        self._store, self._first, self._second = store, first, second
        self._batch_size = batch_size
        self._number = _numbered(first, second)
        one, other = self._number
        self._paired = np.unique(np.concatenate([self._key(one, other), self._key(other, one)]))

    def batch(self, rng: np.random.Generator) -> PairBatch:
        """Any pairs, each turned either way."""
        chosen = rng.choice(len(self._first), self._batch_size, replace=False)
        sides = (self._first.take(chosen), self._second.take(chosen))
        ignored = np.zeros((len(chosen), len(chosen)), bool)
        for one, its_number in zip(sides, self._number[:, chosen], strict=True):
            for other, other_number in zip(sides, self._number[:, chosen], strict=True):
                ignored |= _overlap(one, other)
                ignored |= self._are_paired(its_number[:, None], other_number)
        np.fill_diagonal(ignored, False)
        first, second = (self._store.in_views(side, rng) for side in sides)
        return PairBatch(first, second, ignored)

    def _are_paired(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        key = self._key(one, other)
        place = np.minimum(np.searchsorted(self._paired, key), len(self._paired) - 1)
        return np.asarray(self._paired[place] == key)

    def _key(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """One number for two segments."""
        return np.asarray(one * (int(self._number.max()) + 1) + other)


class MixedPairs:
    """Views of segments of one speaker, and beside them pairs that somebody has found.

    Neighbours that say something else teach what is wrong; views are always right, and are all of
    one speaker, which is what makes their negatives hard.

    Parameters
    ----------
    views : ViewPairs
    listed : ListedPairs
    """

    def __init__(self, views: ViewPairs, listed: "ListedPairs") -> None:
        self._parts: tuple[Pairs, ...] = (views, listed)

    def batch(self, rng: np.random.Generator) -> PairBatch:
        """A batch of both, the views first."""
        views, listed = (part.batch(rng) for part in self._parts)
        n = len(views.first)
        ignored = np.zeros((n + len(listed.first),) * 2, bool)
        ignored[:n, :n], ignored[n:, n:] = views.ignored, listed.ignored
        return PairBatch(
            _together(views.first, listed.first), _together(views.second, listed.second), ignored
        )


class LabelledPairs:
    """Segments with the same transcription.

    Parameters
    ----------
    store : Store
    ranges : FrameRanges
    labels : np.ndarray [shape=(n,)]
        Integers; segments with negative ones are left out.
    batch_size : int

    Raises
    ------
    InputError
        If fewer transcriptions than a batch takes come more than once.
    """

    def __init__(
        self, store: Store, ranges: FrameRanges, labels: np.ndarray, batch_size: int
    ) -> None:
        self._store, self._ranges = store, ranges
        counts = np.bincount(labels[labels >= 0]) if (labels >= 0).any() else np.zeros(0, int)
        self._labels = np.flatnonzero(counts > 1)
        if len(self._labels) < batch_size:
            raise InputError(
                f"{len(self._labels)} transcriptions come more than once, fewer than a batch of "
                f"{batch_size}; give more segments, or a smaller --batch-size"
            )
        self._order = np.argsort(labels, kind="stable")
        self._starts = np.searchsorted(labels[self._order], self._labels)
        self._counts = counts[self._labels]
        self._batch_size = batch_size

    def batch(self, rng: np.random.Generator) -> PairBatch:
        """Transcriptions as often as they come, no two alike, and two segments of each."""
        share = self._counts / self._counts.sum()
        chosen = rng.choice(len(self._labels), self._batch_size, replace=False, p=share)
        counts = self._counts[chosen]
        one = (rng.random(len(chosen)) * counts).astype(np.int64)
        other = (one + 1 + (rng.random(len(chosen)) * (counts - 1)).astype(np.int64)) % counts
        first, second = (
            self._store.in_views(self._ranges.take(self._order[self._starts[chosen] + place]), rng)
            for place in (one, other)
        )
        return PairBatch(first, second, np.zeros((len(chosen), len(chosen)), bool))


def overlapping(owner: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Which segments of one section cover much the same: bool [shape=(n, n)], not themselves."""
    inside = np.minimum(spans[:, None, 1], spans[None, :, 1]) - np.maximum(
        spans[:, None, 0], spans[None, :, 0]
    )
    length = spans[:, 1] - spans[:, 0]
    together = length[:, None] + length[None, :] - inside
    found = (owner[:, None] == owner[None, :]) & (inside > LARGEST_OVERLAP * together)
    np.fill_diagonal(found, False)
    return np.asarray(found)


def _overlap(one: FrameRanges, other: FrameRanges) -> np.ndarray:
    inside = np.minimum(one.last[:, None], other.last) - np.maximum(one.first[:, None], other.first)
    together = (one.last - one.first)[:, None] + (other.last - other.first) - inside
    same = one.rows[:, None] == other.rows
    return np.asarray(same & (inside > LARGEST_OVERLAP * together))


def _together(one: FrameRanges, other: FrameRanges) -> FrameRanges:
    return FrameRanges(
        np.concatenate([one.rows, other.rows]),
        np.concatenate([one.first, other.first]),
        np.concatenate([one.last, other.last]),
    )


def _numbered(first: FrameRanges, second: FrameRanges) -> np.ndarray:
    """A number for every distinct segment of both sides: int64 [shape=(2, n)]."""
    both = _together(first, second)
    longest = int(both.last.max()) + 1
    key = (both.rows.astype(np.int64) * longest + both.first) * longest + both.last
    return np.unique(key, return_inverse=True)[1].reshape(2, -1)


def load(store: Store, ranges: FrameRanges) -> tuple[np.ndarray, np.ndarray]:
    """Frames of some segments, padded with zeros.

    Returns
    -------
    np.ndarray [shape=(n, longest, n_dims), dtype=float32], np.ndarray [shape=(n,), dtype=int64]
        Frames, and how many each segment has.
    """
    lengths = ranges.last - ranges.first
    frames = np.zeros((len(ranges), int(lengths.max()), store.n_dims), np.float32)
    for index, (row, first, last) in enumerate(
        zip(ranges.rows.tolist(), ranges.first.tolist(), ranges.last.tolist(), strict=True)
    ):
        frames[index, : last - first] = store.frames(row, first, last)
    return frames, lengths
