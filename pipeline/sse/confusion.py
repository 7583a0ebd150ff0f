"""Which word's neighbourhood a masked word falls into: a row per word, a column per neighbour.

Of all words the matrix shows those that take part in most confusions, in an order that puts words
which are taken for each other side by side; what falls elsewhere has a column of its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.sse.lists import Segments
    from pipeline.sse.robustness import ProfileResult

WORDS_SHOWN = 24
ELSEWHERE = "other words"


@dataclass(frozen=True)
class WordConfusion:
    """Counts of one profile.

    Attributes
    ----------
    profile : str
    words : tuple of str
        Of the rows, and of all columns but the last.
    counts : np.ndarray [shape=(n, n + 1), dtype=int64]
        How often the word of the row lay nearest to that of the column; in the last column, to one
        that is not shown.
    words_kept : float
        Share of all segments, shown or not, that lie nearest to their own word.
    """

    profile: str
    words: tuple[str, ...]
    counts: np.ndarray
    words_kept: float

    @property
    def shares(self) -> np.ndarray:
        """The same by row: float64 [shape=(n, n + 1)], each row sums up to 1."""
        return np.asarray(self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1))


def confuse(
    results: "list[ProfileResult]", segments: "Segments", most: int = WORDS_SHOWN
) -> list[WordConfusion]:
    """Count for every profile which words lie nearest to which; all show the same words.

    Parameters
    ----------
    results : list of ProfileResult
    segments : Segments
        That the results are of.
    most : int
        Words to show.
    """
    n = len(segments.labels)
    squares = [_square(segments.label, result.heard, n) for result in results]
    together = np.sum(squares, axis=0)
    shown = _in_order(_most_confused(together, most), together)
    words = tuple(segments.labels[label] for label in shown)
    return [
        WordConfusion(result.figures.profile, words, _cut(square, shown), result.figures.words_kept)
        for result, square in zip(results, squares, strict=True)
    ]


def draw_confusion(found: list[WordConfusion], path: Path) -> None:
    """Draw a matrix per profile into a PNG file; dark where all of a word goes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n = len(found[0].words)
    side = 1.3 + 0.19 * n
    figure, axes = plt.subplots(
        1, len(found), figsize=(side * len(found), side + 0.7), sharey=True, layout="constrained"
    )
    names = (*found[0].words, ELSEWHERE)
    for one, place in zip(found, np.atleast_1d(axes), strict=True):
        image = place.imshow(one.shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        place.set_title(f"{one.profile}: {one.words_kept:.0%} of all stay", fontsize=10)
        place.set_xticks(np.arange(n + 1), names, rotation=90, fontsize=7)
        place.set_yticks(np.arange(n), names[:n], fontsize=7)
        place.tick_params(length=0)
        place.set_xlabel("lies nearest to", fontsize=8)
        place.axvline(n - 0.5, color="0.6", linewidth=0.8)
    np.atleast_1d(axes)[0].set_ylabel("word", fontsize=8)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.01)
    bar.set_label("share of the word", fontsize=8)
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)


def _square(said: np.ndarray, heard: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(said.astype(np.int64) * n + heard, minlength=n * n).reshape(n, n)


def _most_confused(together: np.ndarray, most: int) -> np.ndarray:
    wrong = together - np.diag(np.diag(together))
    parts = wrong.sum(axis=0) + wrong.sum(axis=1)
    order = np.argsort(-parts, kind="stable")
    return order[parts[order] > 0][:most] if parts.any() else order[:most]


def _in_order(shown: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Words that are taken for each other side by side: leaves of average linkage."""
    if len(shown) < 3:
        return shown
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    both = (together + together.T)[np.ix_(shown, shown)]
    distance = 1 / (1 + both)
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    return shown[leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed))]


def _cut(square: np.ndarray, shown: np.ndarray) -> np.ndarray:
    rows = square[shown]
    inside = rows[:, shown]
    return np.concatenate([inside, (rows.sum(axis=1) - inside.sum(axis=1))[:, None]], axis=1)
