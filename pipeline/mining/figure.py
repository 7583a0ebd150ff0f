"""A figure of margins: how far each clip stands out from what is usual around it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.corpus import write_path

N_BINS = 40


def draw_margins(margins: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw the distribution of margins, a line per profile.

    Parameters
    ----------
    margins : mapping of str to np.ndarray
        NaN where a clip was left out.
    path : Path
        A ``.png`` file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    finite = {name: values[np.isfinite(values)] for name, values in margins.items()}
    pooled = np.concatenate([*finite.values(), [1.0]])
    edges = np.linspace(min(pooled.min(), 0.9), max(pooled.max(), 1.1), N_BINS + 1)
    for name, values in finite.items():
        shares = np.histogram(values, edges)[0] / max(len(values), 1)
        axes.stairs(shares, edges, label=f"{name} ({len(values):,} clips)", linewidth=1.6)
    axes.axvline(1, color="0.5", linewidth=0.8, linestyle=":")
    axes.set_xlabel("margin of a clip with its own reference (1: no nearer than others)")
    axes.set_ylabel("share of clips")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with write_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
