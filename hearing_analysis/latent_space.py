"""The latent space: where a model puts each sample, drawn on a map and cut into clusters.

Fitted on a sample of the samples where there are many, so memory and time stay bounded; every step
is seeded and runs on one thread, so the same input gives the same map.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.errors import InputError
from pipeline.kmeans.lloyd import ArrayFrames, LloydSettings, fit

Method = Literal["auto", "pca", "tsne", "umap"]
METHODS: tuple[Method, ...] = ("auto", "pca", "tsne", "umap")
LARGEST_TSNE = 5_000  # samples; beyond, t-SNE takes minutes and PCA a second
LARGEST_FIT = 20_000  # samples that PCA and k-means are fitted on
LARGEST_SILHOUETTE = 2_000  # samples, for every distance between two of them is needed
N_CLUSTERS = 5
CLUSTERS_TRIED = tuple(range(2, 11))
PERPLEXITY = 30.0
_BLOCK = 4096  # rows


@dataclass(frozen=True)
class LatentMap:
    """A drawn latent space.

    Attributes
    ----------
    coordinates : np.ndarray [shape=(n, 2), dtype=float32]
    clusters : np.ndarray [shape=(n,), dtype=int32]
        Numbered by size, 0 the largest.
    """

    coordinates: np.ndarray
    clusters: np.ndarray


def draw_map(
    latents: np.ndarray,
    method: Method = "auto",
    seed: int = 0,
    n_clusters: int | None = N_CLUSTERS,
) -> LatentMap:
    """Project latent vectors onto a plane and cluster them.

    Parameters
    ----------
    latents : np.ndarray [shape=(n, d), dtype=float32]
        Finite.
    method : {"auto", "pca", "tsne", "umap"}
        ``auto``: t-SNE up to 5,000 samples, PCA beyond. The first two principal components keep
        distances between groups; t-SNE (van der Maaten & Hinton 2008) keeps neighbours, and so
        does UMAP (McInnes et al. 2018), which needs the package umap-learn.
    seed : int
    n_clusters : int, optional
        ``None`` takes the number whose clusters have the largest mean silhouette.

    Returns
    -------
    LatentMap

    Raises
    ------
    InputError
        If ``umap`` is asked for and not installed.
    """
    n_samples = len(latents)
    if n_samples < 3 or latents.shape[1] < 2:
        return LatentMap(np.zeros((n_samples, 2), np.float32), np.zeros(n_samples, np.int32))
    if method == "auto":
        method = "tsne" if n_samples <= LARGEST_TSNE else "pca"
    if n_clusters is None:
        n_clusters = best_number(silhouettes(latents, seed))
    with threadpool_limits(1):
        clusters = assign_clusters(latents, n_clusters, seed)
        coordinates = _project(latents, method, seed)
    return LatentMap(coordinates.astype(np.float32), clusters)


def assign_clusters(latents: np.ndarray, n_clusters: int, seed: int = 0) -> np.ndarray:
    """Cluster by k-means: int32 [shape=(n,)], numbered by size, 0 the largest.

    Fitted on at most 20,000 vectors; fewer clusters where there are fewer distinct vectors.
    """
    fitted_on = _subset(len(latents), seed)
    n_distinct = len(np.unique(latents[fitted_on], axis=0))
    settings = LloydSettings(min(n_clusters, n_distinct), seed, n_init=4, max_iter=100)
    frames = np.ascontiguousarray(latents[fitted_on], dtype=np.float32)
    labels = _nearest(latents, fit(ArrayFrames(frames), settings).centroids)
    # Numbered by size, the largest first, so that a number means something.
    order = np.argsort(-np.bincount(labels, minlength=settings.n_clusters), kind="stable")
    return np.argsort(order)[labels].astype(np.int32)


def silhouettes(latents: np.ndarray, seed: int = 0) -> dict[int, float]:
    """Mean silhouette of k-means with 2 to 10 clusters, on at most 2,000 vectors.

    A silhouette says how much nearer a vector is to its own cluster than to the next one, from -1
    to 1 (Rousseeuw 1987, J. Comput. Appl. Math. 20).

    Returns
    -------
    dict[int, float]
        Number of clusters -> mean silhouette; numbers that leave no two clusters are missing.
    """
    sample = latents[_subset(len(latents), seed, LARGEST_SILHOUETTE)]
    with threadpool_limits(1):
        found = {k: silhouette(sample, assign_clusters(sample, k, seed)) for k in CLUSTERS_TRIED}
    return {k: score for k, score in found.items() if score is not None}


def silhouette(latents: np.ndarray, clusters: np.ndarray, seed: int = 0) -> float | None:
    """Mean silhouette of a clustering, on at most 2,000 vectors; None if it has one cluster."""
    from sklearn.metrics import silhouette_score

    chosen = _subset(len(latents), seed, LARGEST_SILHOUETTE)
    n_clusters = len(np.unique(clusters[chosen]))
    if not 1 < n_clusters < len(chosen):
        return None
    return float(silhouette_score(latents[chosen], clusters[chosen]))


def best_number(scores: dict[int, float]) -> int:
    """Return the number of clusters with the largest silhouette, the smallest of equals."""
    return max(scores, key=lambda k: (scores[k], -k), default=1)


@dataclass(frozen=True)
class PrincipalComponents:
    """Axes along which vectors differ most.

    Attributes
    ----------
    mean : np.ndarray [shape=(d,), dtype=float64]
    axes : np.ndarray [shape=(n_components, d), dtype=float64]
        Orthonormal; each points where its largest loading is positive.
    shares : np.ndarray [shape=(n_components,), dtype=float64]
        Of the variance.
    """

    mean: np.ndarray
    axes: np.ndarray
    shares: np.ndarray

    def project(self, latents: np.ndarray) -> np.ndarray:
        """Coordinates along the axes: float64 [shape=(n, n_components)]."""
        return (latents.astype(np.float64) - self.mean) @ self.axes.T


def principal_components(
    latents: np.ndarray, n_components: int = 2, seed: int = 0
) -> PrincipalComponents:
    """Find principal components on at most 20,000 vectors."""
    from sklearn.decomposition import PCA

    fitted_on = _subset(len(latents), seed)
    n_components = min(n_components, *latents[fitted_on].shape)
    with threadpool_limits(1):
        model = PCA(n_components, svd_solver="covariance_eigh")
        with np.errstate(invalid="ignore"):  # vectors that are all the same have no variance
            model.fit(latents[fitted_on].astype(np.float64))
    shares = np.nan_to_num(model.explained_variance_ratio_)
    return PrincipalComponents(model.mean_, model.components_, shares)


def _project(latents: np.ndarray, method: Method, seed: int) -> np.ndarray:
    start = principal_components(latents, 2, seed).project(latents)
    if method == "tsne":
        return _tsne(latents, start, seed)
    if method == "umap":
        return _umap(latents, seed)
    return start


def _subset(n_samples: int, seed: int, largest: int = LARGEST_FIT) -> np.ndarray:
    if n_samples <= largest:
        return np.arange(n_samples)
    return np.sort(np.random.default_rng(seed).choice(n_samples, largest, replace=False))


def _nearest(latents: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Number of the nearest centroid of each vector: int64 [shape=(n,)]."""
    norms = (centroids**2).sum(axis=1)
    blocks = (latents[start : start + _BLOCK] for start in range(0, len(latents), _BLOCK))
    return np.concatenate([(norms - 2 * block @ centroids.T).argmin(axis=1) for block in blocks])


def _tsne(latents: np.ndarray, start: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    # Starting from the principal components keeps the arrangement of the groups (Kobak & Berens
    # 2019, Nat. Commun. 10:5416).
    scale = float(start[:, 0].std()) or 1.0
    model = TSNE(
        2,
        perplexity=min(PERPLEXITY, (len(latents) - 1) / 3),
        init=(start / scale * 1e-4).astype(np.float32),
        random_state=seed,
        n_jobs=1,
    )
    return model.fit_transform(latents)


def _umap(latents: np.ndarray, seed: int) -> np.ndarray:
    try:
        import umap  # type: ignore[import-not-found]
    except ImportError as error:
        raise InputError(
            "--map umap needs the package umap-learn; install it (pip install umap-learn), "
            "or take --map tsne"
        ) from error
    n_neighbors = max(2, min(15, len(latents) - 1))
    return umap.UMAP(n_neighbors=n_neighbors, random_state=seed, n_jobs=1).fit_transform(latents)
