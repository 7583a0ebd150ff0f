"""Pairs of nearest neighbours: segments of different clips that may well say the same.

The original keeps, of the ten nearest neighbours of every segment, those above one cosine, set so
that half of the segments keep one. Two things are better, and are the default here. *Mutual*
neighbours: each must be among the nearest of the other. And a threshold for *every duration*: short
segments are nearer to everything, so one threshold for all keeps hardly any others. A third is
better still where all segments are searched: pairs that others of the same two clips *support*.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.corpus import write_path
from pipeline.errors import InputError, MissingPathError
from pipeline.neighbours import Neighbours, nearest, unit_rows
from pipeline.sse.lists import NO_TRANSCRIPTION, Segments
from pipeline.sse.store import FrameRanges, Store
from pipeline.sse.support import support

BIN = 0.01  # of cosines, in which the original counts
OVERLAP_OF_HITS = 0.4  # of two neighbours in one clip, beyond which the nearer one alone is kept
DURATION_BIN_SECONDS = 0.16
SPARE = 40  # neighbours beyond k: many of the nearest are of the same clip, and fall away


@dataclass(frozen=True)
class PairSettings:
    """Which neighbours become pairs.

    Attributes
    ----------
    k : int
        Neighbours of every segment.
    keep : float
        Share of the segments that keep a neighbour.
    mutual : bool
        Both must be among the nearest of the other.
    by_duration : bool
        A threshold for every 160 ms of duration, instead of one for all.
    dims : int
        Principal components that are compared; 0 for all dimensions.
    support : int
        Other pairs of the same two clips, shifted alike, that a pair needs; see
        :func:`pipeline.sse.support.support`.
    other_speakers : bool
        Keep those alone whose segments are by two speakers.
    """

    k: int = 10
    keep: float = 0.5
    mutual: bool = True
    by_duration: bool = True
    dims: int = 128
    support: int = 0
    other_speakers: bool = False

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 < self.keep <= 1:
            raise InputError(f"--keep {self.keep:g} is no share; give more than 0 and at most 1")
        if self.support and not self.mutual:
            raise InputError("--support counts mutual neighbours; leave --one-way out")


@dataclass(frozen=True)
class FoundPairs:
    """Pairs of rows of a list of segments.

    Attributes
    ----------
    first, second : np.ndarray [shape=(n,), dtype=int64]
    cosine : np.ndarray [shape=(n,), dtype=float32]
    """

    first: np.ndarray
    second: np.ndarray
    cosine: np.ndarray

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.first)

    def take(self, rows: np.ndarray) -> "FoundPairs":
        """Some of them."""
        return FoundPairs(self.first[rows], self.second[rows], self.cosine[rows])


def find_pairs(embeddings: np.ndarray, segments: Segments, settings: PairSettings) -> FoundPairs:
    """Pair segments with their nearest neighbours in other clips.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n, n_dims)]
    segments : Segments
        Of as many rows.
    settings : PairSettings

    Raises
    ------
    InputError
        If embeddings hold NaN, or nothing has a neighbour.
    """
    return select(near_pairs(embeddings, segments, settings), segments, settings)


def near_pairs(embeddings: np.ndarray, segments: Segments, settings: PairSettings) -> FoundPairs:
    """Pair every segment with its ``k`` nearest in other clips, where these do not overlap."""
    rows = unit_rows(reduce(embeddings, settings.dims))
    found = nearest(rows, rows, min(settings.k + SPARE, len(rows)))
    return without_overlap(of_other_clips(found, segments, settings.k), segments)


def select(candidates: FoundPairs, segments: Segments, settings: PairSettings) -> FoundPairs:
    """Keep what may well say the same, of all that is near; errors as :func:`find_pairs`."""
    if settings.mutual:
        candidates = mutual(candidates)
    if settings.support:
        counts = support(candidates, segments)
        candidates = candidates.take(np.flatnonzero(counts >= settings.support))
    bins = duration_bins(segments) if settings.by_duration else np.zeros(len(segments), np.int64)
    kept = above_threshold(candidates, bins, settings.keep)
    if settings.other_speakers:
        speaker = segments.sections.speaker
        kept = kept.take(np.flatnonzero(speaker[kept.first] != speaker[kept.second]))
    if not len(kept):
        found = "a neighbour in another clip"
        found += " by another speaker" if settings.other_speakers else ""
        found += f" that {settings.support} other pairs support" if settings.support else ""
        raise InputError(
            f"of {len(segments)} segments none has {found}; give more clips, or a larger --k"
        )
    return kept


def reduce(embeddings: np.ndarray, n_dims: int) -> np.ndarray:
    """Principal components, largest first: float32 [shape=(n, n_dims)]; all of it if that is 0."""
    if not n_dims or embeddings.shape[1] <= n_dims:
        return np.asarray(embeddings, np.float32)
    centred = embeddings - embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    largest = np.argsort(-values)[:n_dims]
    return np.asarray(centred @ vectors[:, largest].astype(np.float32))


def of_other_clips(found: Neighbours, segments: Segments, k: int) -> FoundPairs:
    """The ``k`` nearest neighbours of every segment that lie in other clips."""
    clip = segments.sections.path
    other = (found.indices >= 0) & (clip[found.indices] != clip[:, None])
    among_first = other & (np.cumsum(other, axis=1) <= k)
    first, place = np.nonzero(among_first)
    return FoundPairs(first, found.indices[first, place], found.similarities[first, place])


def without_overlap(pairs: FoundPairs, segments: Segments) -> FoundPairs:
    """Keep the nearest of a segment's neighbours that overlap in a clip: non-maximum suppression.

    Pairs come by segment, and the nearest first.
    """
    clip = segments.sections.path[pairs.second]
    order = np.lexsort((-pairs.cosine, clip, pairs.first))
    same = (np.diff(pairs.first[order]) == 0) & (np.diff(clip[order]) == 0)
    edges = np.flatnonzero(~same) + 1
    kept = np.ones(len(order), bool)
    for group in np.split(order, edges):
        if len(group) > 1:
            kept[group] = _suppress(segments.spans[pairs.second[group]])
    return pairs.take(np.flatnonzero(kept))


def mutual(pairs: FoundPairs) -> FoundPairs:
    """Pairs that are there both ways, once each."""
    n = int(max(pairs.first.max(initial=0), pairs.second.max(initial=0))) + 1
    there, back = pairs.first * n + pairs.second, pairs.second * n + pairs.first
    return pairs.take(np.flatnonzero(np.isin(back, there) & (pairs.first < pairs.second)))


def duration_bins(segments: Segments) -> np.ndarray:
    """Which duration every segment has, in steps of 160 ms: int64 [shape=(n,)]."""
    return np.asarray((segments.seconds / DURATION_BIN_SECONDS).round().astype(np.int64))


def above_threshold(pairs: FoundPairs, bins: np.ndarray, keep: float) -> FoundPairs:
    """Pairs whose cosine reaches that at which a share of the segments keep one.

    Parameters
    ----------
    pairs : FoundPairs
    bins : np.ndarray [shape=(n_segments,), dtype=int64]
        Each value has a threshold of its own; pairs go by their first segment.
    keep : float
        The share, of the segments that have any neighbour.
    """
    kept = np.zeros(len(pairs), bool)
    bin_of = bins[pairs.first]
    for one in np.unique(bin_of):
        here = np.flatnonzero(bin_of == one)
        best = np.full(int(pairs.first[here].max()) + 1, -np.inf)
        np.maximum.at(best, pairs.first[here], pairs.cosine[here])
        best = np.sort(best[np.isfinite(best)])
        threshold = best[len(best) - max(round(keep * len(best)), 1)]
        kept[here] = pairs.cosine[here] >= np.floor(threshold / BIN) * BIN
    return pairs.take(np.flatnonzero(kept))


def write_pairs(path: Path, pairs: FoundPairs, segments: Segments) -> None:
    """Write ``file1 speaker1 start1 end1 file2 speaker2 start2 end2 cosine``, the nearest first."""
    held = segments.sections

    def side(row: int) -> str:
        start, end = segments.spans[row]
        name, speaker = held.paths[held.path[row]], held.speakers[held.speaker[row]]
        return f"{name} {speaker} {start:.4f} {end:.4f}"

    with write_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in np.argsort(-pairs.cosine, kind="stable"):
            one, other = side(int(pairs.first[row])), side(int(pairs.second[row]))
            file.write(f"{one} {other} {pairs.cosine[row]:.6f}\n")


def read_pairs(path: Path, store: Store) -> tuple[FrameRanges, FrameRanges]:
    """Find the frames of written pairs.

    Raises
    ------
    MissingPathError, InputError
        If there are none, a line is not what it should be, or the store has not what it names.
    """
    codes = {name: code for code, name in enumerate(store.paths)}
    clips: list[tuple[int, int]] = []
    spans: list[tuple[float, ...]] = []
    for number, line in _lines(path):
        fields = line.split()
        if len(fields) < 9:
            raise InputError(f"{path}, line {number}, has {len(fields)} fields, not 9")
        try:
            clips.append((codes[fields[0]], codes[fields[4]]))
            spans.append(tuple(float(fields[place]) for place in (2, 3, 6, 7)))
        except ValueError:
            raise InputError(f"{path}, line {number}, has times that are no numbers") from None
        except KeyError as error:
            raise InputError(
                f"{path}, line {number}, names {error.args[0]}, of which {store.folder} has "
                "nothing; give the features that the pairs were found with"
            ) from None
    if not clips:
        raise InputError(f"{path} is empty; make it with `pipeline sse neighbours`")
    clip, span = np.array(clips), np.array(spans)
    first, second = (
        store.ranges(
            _containing(store, clip[:, side], span[:, 2 * side : 2 * side + 2], path),
            span[:, 2 * side : 2 * side + 2],
        )
        for side in (0, 1)
    )
    return first, second


def error_rate(pairs: FoundPairs, segments: Segments) -> float:
    """How different pairs are: edit distance of their phones over the longer one, the mean of all.

    Raises
    ------
    InputError
        If the segments are not transcribed.
    """
    import jiwer

    if (segments.label < 0).all():
        raise InputError(f"no segment is transcribed, all are {NO_TRANSCRIPTION}")
    distances = []
    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        one, other = (
            segments.transcription(row).split(",") if segments.label[row] >= 0 else []
            for row in (first, second)
        )
        longest = max(len(one), len(other))
        if longest and one and other:
            measured = jiwer.process_words(" ".join(one), " ".join(other))
            edits = measured.substitutions + measured.deletions + measured.insertions
            distances.append(edits / longest)
        elif longest:
            distances.append(1.0)
    return float(np.mean(distances)) if distances else float("nan")


def _suppress(spans: np.ndarray) -> np.ndarray:
    """Which stretches to keep, from the nearest on: none that overlaps a kept one."""
    kept = np.zeros(len(spans), bool)
    for index, (start, end) in enumerate(spans):
        inside = np.minimum(end, spans[kept, 1]) - np.maximum(start, spans[kept, 0])
        shorter = np.minimum(end - start, spans[kept, 1] - spans[kept, 0])
        kept[index] = not (inside > OVERLAP_OF_HITS * shorter).any()
    return kept


def _containing(store: Store, clip: np.ndarray, spans: np.ndarray, path: Path) -> np.ndarray:
    """Row of the unchanged section that each stretch lies in."""
    rows = np.flatnonzero(store.view == 0)
    rows = rows[np.lexsort((store.spans[rows, 0], store.path[rows]))]
    # One number that grows from clip to clip, and within one with time.
    longest = float(store.spans.max()) + 1
    starts = store.path[rows] * longest + store.spans[rows, 0]
    wanted = clip * longest + spans[:, 0] + 1e-3
    found = rows[np.maximum(np.searchsorted(starts, wanted, side="right") - 1, 0)]
    outside = (store.path[found] != clip) | (spans[:, 1] > store.spans[found, 1] + 1e-3)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{path} has a segment {spans[first, 0]:g} to {spans[first, 1]:g} s of "
            f"{store.paths[clip[first]]}, and {store.folder} has no section that holds it"
        )
    return found


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; make it with `pipeline sse neighbours`")
    with path.open(encoding="utf-8") as file:
        yield from enumerate(file, start=1)
