"""The latent space: where a model puts each sample, drawn on a map and cut into clusters.

Fitted on a sample of the samples where there are many, so memory and time stay bounded; every step
is seeded and runs on one thread, so the same input gives the same map.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

Method = Literal["auto", "pca", "tsne"]
METHODS: tuple[Method, ...] = ("auto", "pca", "tsne")
LARGEST_TSNE = 5_000  # samples; beyond, t-SNE takes minutes and PCA a second
LARGEST_FIT = 20_000  # samples that PCA and k-means are fitted on
N_CLUSTERS = 5
PERPLEXITY = 30.0


@dataclass(frozen=True)
class LatentMap:
    """A drawn latent space.

    Attributes
    ----------
    coordinates : np.ndarray [shape=(n, 2), dtype=float32]
    clusters : np.ndarray [shape=(n,), dtype=int32]
    """

    coordinates: np.ndarray
    clusters: np.ndarray


def draw_map(latents: np.ndarray, method: Method = "auto", seed: int = 0) -> LatentMap:
    """Project latent vectors onto a plane and cluster them.

    Parameters
    ----------
    latents : np.ndarray [shape=(n, d), dtype=float32]
        Finite.
    method : {"auto", "pca", "tsne"}
        ``auto``: t-SNE up to 5,000 samples, PCA beyond. The first two principal components keep
        distances between groups; t-SNE (van der Maaten & Hinton 2008) keeps neighbours.
    seed : int

    Returns
    -------
    LatentMap
    """
    n_samples = len(latents)
    if n_samples < 3 or latents.shape[1] < 2:
        return LatentMap(np.zeros((n_samples, 2), np.float32), np.zeros(n_samples, np.int32))
    if method == "auto":
        method = "tsne" if n_samples <= LARGEST_TSNE else "pca"
    with threadpool_limits(1):
        fitted_on = _subset(n_samples, seed)
        clusters = _cluster(latents, fitted_on, seed)
        components = _principal_components(latents, fitted_on)
        if method == "tsne":
            components = _tsne(latents, components, seed)
    return LatentMap(components.astype(np.float32), clusters)


def _subset(n_samples: int, seed: int) -> np.ndarray:
    if n_samples <= LARGEST_FIT:
        return np.arange(n_samples)
    drawn = np.random.default_rng(seed).choice(n_samples, LARGEST_FIT, replace=False)
    return np.sort(drawn)


def _cluster(latents: np.ndarray, fitted_on: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    n_clusters = min(N_CLUSTERS, len(np.unique(latents[fitted_on], axis=0)))
    model = KMeans(n_clusters, n_init=4, random_state=seed).fit(latents[fitted_on])
    # Numbered by size, the largest first, so that a number means something.
    order = np.argsort(-np.bincount(model.labels_, minlength=n_clusters), kind="stable")
    return np.argsort(order)[model.predict(latents)].astype(np.int32)


def _principal_components(latents: np.ndarray, fitted_on: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA

    model = PCA(2, svd_solver="covariance_eigh").fit(latents[fitted_on].astype(np.float64))
    return model.transform(latents.astype(np.float64))


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
