"""Latent vectors in the page: principal components, for maps and for nearest neighbours."""

from dataclasses import dataclass

import numpy as np

from hearing_analysis.dashboard.encoding import EncodedArray, encode_array
from hearing_analysis.latent_space import (
    LARGEST_FIT,
    LARGEST_TSNE,
    METHODS,
    principal_components,
)
from hearing_analysis.reports.table import AnalysisTable

N_COMPONENTS = 24  # in the page, a byte each
NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True)
class Projection:
    """A map: its name, and two f4 [shape=(rows,)]."""

    key: str
    label: str
    x: EncodedArray
    y: EncodedArray


@dataclass(frozen=True)
class EncodedLatents:
    """Principal components for distances.

    Attributes
    ----------
    n_components : int
    share : float
        Of the variance that they keep, the smallest of all models.
    values : EncodedArray
        u1 [shape=(rows * n_components,)], row by row, all components on one scale.
    """

    n_components: int
    share: float
    values: EncodedArray


@dataclass(frozen=True)
class LatentContent:
    """What the page knows of the latent space."""

    projections: tuple[Projection, ...]
    latents: EncodedLatents | None


def latent_content(table: AnalysisTable) -> LatentContent:
    """Gather maps and vectors; without latent vectors only the map of the table."""
    stored = _projection("table", _stored_label(table), table.numbers("x"), table.numbers("y"))
    if not table.has_latents:
        return LatentContent((stored,), None)
    components, share = _components(table)
    if components.shape[1] < 2:
        return LatentContent((stored,), None)
    encoded = EncodedLatents(components.shape[1], share, encode_array(_quantised(components)))
    if stored.label == NAMES["pca"]:
        return LatentContent((stored,), encoded)
    pca = _projection("pca", NAMES["pca"], components[:, 0], components[:, 1])
    return LatentContent((stored, pca), encoded)


def _components(table: AnalysisTable) -> tuple[np.ndarray, float]:
    """Components of every row, each model's own: float32 [shape=(rows, n)]; and their share."""
    models = np.array(table.texts("model"))
    found = np.zeros((table.n_rows, N_COMPONENTS), np.float32)
    shares, most = [], 0
    for model in table.models:
        rows = np.flatnonzero(models == model)
        chosen = rows
        if len(rows) > LARGEST_FIT:
            chosen = np.random.default_rng(0).choice(rows, LARGEST_FIT, replace=False)
        latents = table.latents(chosen)
        if len(latents) < 3 or latents.shape[1] < 2:
            continue
        axes = principal_components(latents, N_COMPONENTS)
        most = max(most, len(axes.axes))
        shares.append(float(axes.shares.sum()))
        start = 0
        for batch in table.latent_batches():
            here = np.arange(start, start + len(batch))
            mine = models[here] == model
            if mine.any():
                found[here[mine], : len(axes.axes)] = axes.project(batch[mine])
            start += len(batch)
    return found[:, :most], min(shares, default=0.0)


def _quantised(components: np.ndarray) -> np.ndarray:
    largest = float(np.abs(components).max()) or 1.0
    return np.round(127.5 + 127.5 * components / largest).astype(np.uint8)


def _projection(key: str, label: str, x: np.ndarray, y: np.ndarray) -> Projection:
    return Projection(
        key, label, encode_array(x.astype(np.float32)), encode_array(y.astype(np.float32))
    )


def _stored_label(table: AnalysisTable) -> str:
    """Which method drew the map, as far as the table says."""
    made_from = (table.rows.schema.metadata or {}).get(b"made_from", b"").decode()
    method = next((word for word in made_from.split("-")[-2:] if word in METHODS), "")
    if method == "auto":
        method = "tsne" if table.n_rows <= LARGEST_TSNE else "pca"
    return NAMES.get(method, "map of the table")
