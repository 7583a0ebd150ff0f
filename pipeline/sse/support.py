"""Pairs that others support: where two clips share a word, more than one pair of segments says so.

Segments of a grid overlap, so a word that two clips share is found several times, by segments of
several lengths, each time shifted by the same time from one clip to the other: the pairs lie on one
diagonal of the clips' matrix of similarities, which is what spoken term discovery looks for (Park &
Glass 2008, Unsupervised pattern discovery in speech). Chance neighbours lie anywhere.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.sse.lists import Segments
    from pipeline.sse.pairs import FoundPairs

SHIFT_SECONDS = 0.1  # by which two shifts may differ and be the same
SHARED_SECONDS = 0.1  # of the first clip, that both pairs must cover


def support(pairs: "FoundPairs", segments: "Segments") -> np.ndarray:
    """Count for every pair the others on its diagonal: int64 [shape=(n,)].

    They are pairs of the same two clips, shifted by the same time to within 0.1 s, whose segments
    of the first clip overlap by 0.1 s or more.

    Parameters
    ----------
    pairs : FoundPairs
        Each once, of segments of different clips.
    segments : Segments
    """
    clip = segments.sections.path.astype(np.int64)
    turned = clip[pairs.first] > clip[pairs.second]
    first = np.where(turned, pairs.second, pairs.first)
    second = np.where(turned, pairs.first, pairs.second)
    clips = clip[first] * (int(clip.max(initial=0)) + 1) + clip[second]
    spans = segments.spans[first]
    shift = segments.spans[second, 0] - spans[:, 0]
    counts = np.zeros(len(pairs), np.int64)
    order = np.argsort(clips, kind="stable")
    edges = np.flatnonzero(np.diff(clips[order])) + 1
    for group in np.split(order, edges):
        if len(group) > 1:
            counts[group] = _on_one_diagonal(spans[group], shift[group])
    return counts


def _on_one_diagonal(spans: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """How many others every pair of two clips has: int64 [shape=(n,)]."""
    ends = np.minimum(spans[:, None, 1], spans[None, :, 1])
    shared = ends - np.maximum(spans[:, None, 0], spans[None, :, 0])
    alike = (np.abs(shift[:, None] - shift) <= SHIFT_SECONDS) & (shared >= SHARED_SECONDS)
    np.fill_diagonal(alike, False)
    return np.asarray(alike.sum(axis=1))
