"""Clips that occur twice: what a model was trained on must not be in its test split."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import Indel

from hearing_analysis.reports.table import REFERENCE_PROFILE, AnalysisTable

SIMILAR = 0.9  # normalised similarity of two sentences that count as near-duplicates
SHORTEST = 15  # characters; of shorter sentences one letter makes another
NEIGHBOURS = 4  # sentences that are compared in each sorted order
MAX_PAIRS = 500  # listed; all are counted

SAME_SOUND, SAME_SENTENCE, SIMILAR_SENTENCE = "same sound", "same sentence", "similar sentence"


@dataclass(frozen=True)
class DuplicatePair:
    """Two clips that are the same, or nearly.

    Attributes
    ----------
    first, second : int
        Numbers of the clips.
    same_speaker : bool, optional
        ``None`` where the corpus does not say.
    similarity : float
        Of the sentences, 1 when they are equal.
    """

    first: int
    second: int
    same_speaker: bool | None
    similarity: float


@dataclass(frozen=True)
class DuplicatePairs:
    """All pairs of one kind.

    Attributes
    ----------
    kind : str
        ``same sound`` anywhere; ``same sentence`` and ``similar sentence`` across splits.
    n_pairs, n_clips : int
        Of all pairs, also those that are not listed.
    pairs : tuple of DuplicatePair
        The first 500, those of one speaker first.
    """

    kind: str
    n_pairs: int
    n_clips: int
    pairs: tuple[DuplicatePair, ...]


@dataclass(frozen=True)
class _Clips:
    """One row per clip, under the reference profile where there is one."""

    numbers: np.ndarray
    splits: np.ndarray
    references: list[str]
    speakers: list[str | None]
    sounds: list[tuple[float, ...]]


def find_duplicates(table: AnalysisTable) -> tuple[DuplicatePairs, ...]:
    """Find clips that sound the same, and sentences that return in another split.

    Sounds are the same when all their acoustic metadata are, to the last digit. Similar sentences
    are sought among neighbours in alphabetical order, read forwards and backwards (the sorted
    neighbourhood method of Hernández & Stolfo 1995, SIGMOD).
    """
    clips = _clips(table)
    same_sound = set(_equal_pairs(clips.sounds))
    sentences = set(_equal_pairs([text or None for text in clips.references]))
    across = {pair for pair in sentences if _crosses(clips, pair)} - same_sound
    similar = dict(_similar_pairs(clips))
    kinds = (
        (SAME_SOUND, dict.fromkeys(same_sound, 1.0)),
        (SAME_SENTENCE, dict.fromkeys(across, 1.0)),
        (SIMILAR_SENTENCE, similar),
    )
    return tuple(_listed(clips, kind, pairs) for kind, pairs in kinds if pairs)


def _clips(table: AnalysisTable) -> _Clips:
    profiles = np.array(table.texts("profile_name"))
    wanted = REFERENCE_PROFILE if REFERENCE_PROFILE in table.profiles else table.profiles[0]
    rows = np.flatnonzero(profiles == wanted)
    numbers, first = np.unique(table.clips[rows], return_index=True)
    rows = rows[first]
    references, splits = table.texts("reference"), np.array(table.texts("split"))
    names = table.rows.column_names
    speakers: list[str | None] = [None] * len(rows)
    if "clip_speaker" in names:
        column = table.rows["clip_speaker"].cast(pa.string())
        speakers = pc.take(column, pa.array(rows)).to_pylist()
    return _Clips(
        numbers, splits[rows], [references[row] for row in rows], speakers, _sounds(table, rows)
    )


def _sounds(table: AnalysisTable, rows: np.ndarray) -> list[tuple[float, ...]]:
    """Acoustic metadata of each clip; empty without any, and for digital silence."""
    names = [name for name in table.rows.column_names if name.startswith("audio_")]
    if len(names) < 8:  # too few to tell two sounds apart
        return [()] * len(rows)
    values = np.stack([table.numbers(name)[rows] for name in names], axis=1)
    silent = values.max(axis=1, initial=0.0, where=np.isfinite(values)) == 0
    return [() if quiet else tuple(row) for row, quiet in zip(values.tolist(), silent, strict=True)]


def _equal_pairs(keys: list) -> Iterator[tuple[int, int]]:
    """Each clip with the first one of the same key."""
    groups: dict[object, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        if key:
            groups[key].append(position)
    for members in groups.values():
        yield from ((members[0], other) for other in members[1:])


def _crosses(clips: _Clips, pair: tuple[int, int]) -> bool:
    return bool(clips.splits[pair[0]] != clips.splits[pair[1]])


def _similar_pairs(clips: _Clips) -> Iterator[tuple[tuple[int, int], float]]:
    texts = clips.references
    long = [position for position, text in enumerate(texts) if len(text) >= SHORTEST]
    for key in (lambda i: texts[i], lambda i: texts[i][::-1]):
        order = sorted(long, key=key)
        for place, position in enumerate(order):
            for other in order[place + 1 : place + 1 + NEIGHBOURS]:
                pair = (min(position, other), max(position, other))
                if texts[position] == texts[other] or not _crosses(clips, pair):
                    continue
                similarity = Indel.normalized_similarity(
                    texts[position], texts[other], score_cutoff=SIMILAR
                )
                if similarity:
                    yield pair, similarity


def _listed(clips: _Clips, kind: str, similarities: dict[tuple[int, int], float]) -> DuplicatePairs:
    pairs = [
        DuplicatePair(
            int(clips.numbers[a]), int(clips.numbers[b]), _same_speaker(clips, a, b), similarity
        )
        for (a, b), similarity in similarities.items()
    ]
    pairs.sort(key=lambda p: (not p.same_speaker, -p.similarity, p.first, p.second))
    n_clips = len({clip for pair in pairs for clip in (pair.first, pair.second)})
    return DuplicatePairs(kind, len(pairs), n_clips, tuple(pairs[:MAX_PAIRS]))


def _same_speaker(clips: _Clips, a: int, b: int) -> bool | None:
    first, second = clips.speakers[a], clips.speakers[b]
    return None if first is None or second is None else first == second
