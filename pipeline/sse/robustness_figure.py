"""The figure of ``pipeline sse robustness``: figures by profile, and how far words have moved."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.sse.lists import Segments
    from pipeline.sse.robustness import ProfileResult

BARS = {
    "map_at_r": "among words of the profile",
    "map_at_r_of_reference_queries": "asked by the reference",
    "words_kept": "nearest is the same word",
}
COLOURS = ("#4477aa", "#66ccee", "#ccbb44")


def draw(results: "list[ProfileResult]", segments: "Segments", path: Path) -> None:
    """Draw into a PNG file: bars of MAP@R and words kept, and the distribution of displacement."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [result.figures.profile for result in results]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    places = np.arange(len(names))
    for number, (field, title) in enumerate(BARS.items()):
        values = [getattr(result.figures, field) for result in results]
        bars = left.bar(places + 0.27 * (number - 1), values, 0.25, color=COLOURS[number])
        bars.set_label(title)
        left.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
    left.set_xticks(places, names)
    left.set_ylim(0, 1.28)
    left.set_yticks(np.linspace(0, 1, 6))
    left.set_title("MAP@R of words, and words that stay themselves")
    left.legend(fontsize=8, ncols=1, loc="upper right")
    # The reference does not move.
    moved = [result.displacement for result in results[1:]]
    right.boxplot(moved, orientation="horizontal", showfliers=False, medianprops={"color": "k"})
    right.set_yticks(np.arange(1, len(moved) + 1), names[1:])
    right.invert_yaxis()
    right.set_xlim(left=0)
    right.set_xlabel(f"1 - cosine to the same word as {names[0]}")
    right.set_title(f"How far {len(segments):,} words move")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)
