"""The model file: centroids and how they came about, as ``.npz``, or as fairseq's pickle.

An ``.npz`` holds ``centroids`` (float32 [clusters, dimensions]) and ``about``, a JSON text. The
pickle of joblib holds a scikit-learn estimator. Opening a pickle runs whatever code is in it, so
one is opened only on request.
"""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.arrays import UNREADABLE, reason_of
from pipeline.corpus import write_path
from pipeline.errors import InputError, MissingPathError

Format = Literal["npz", "joblib"]
FORMATS: tuple[Format, ...] = ("npz", "joblib")
LARGEST_MEMBER = 2**30  # bytes; 100,000 clusters of 2,048 dimensions fit


@dataclass(frozen=True)
class Model:
    """Centroids.

    Attributes
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims)]
    about : dict
        JSON values: settings, inertia, number of frames.
    """

    centroids: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)


def save_npz(path: Path, model: Model) -> None:
    """Write the model as ours; the same model gives the same bytes."""
    about = json.dumps(model.about, sort_keys=True)
    with write_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, centroids=model.centroids, about=np.array(about))


def save_joblib(path: Path, centroids: np.ndarray, estimator: Any = None) -> None:
    """Write a model that fairseq's dump_km_label.py and scikit-learn's ``predict`` take."""
    import joblib  # type: ignore[import-untyped]

    with write_path(path) as temporary:
        joblib.dump(_estimator_of(centroids) if estimator is None else estimator, temporary)


def load_model(path: Path, *, trust_pickle: bool = False) -> Model:
    """Read a model of either kind.

    Raises
    ------
    MissingPathError, InputError
        If it is missing, damaged, a pickle that nobody vouched for, or holds no centroids.
    """
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; make it with `pipeline kmeans learn`")
    if zipfile.is_zipfile(path):
        return _load_npz(path)
    if not trust_pickle:
        raise InputError(
            f"{path} is no .npz file but perhaps a pickle, which runs code when it is opened; "
            "give --trust-pickle if you know who made it"
        )
    return Model(_centroids(path, _unpickle(path)))


def _load_npz(path: Path) -> Model:
    try:
        with zipfile.ZipFile(path) as archive:
            largest = max((member.file_size for member in archive.infolist()), default=0)
        if largest > LARGEST_MEMBER:
            raise ValueError(f"it claims to unpack to {largest:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            centroids, about = arrays["centroids"], json.loads(str(arrays["about"]))
    except UNREADABLE as error:
        raise InputError(
            f"{path} is damaged or no model of ours ({reason_of(error)}); learn it again"
        ) from error
    return Model(_centroids(path, centroids), about if isinstance(about, dict) else {})


def _unpickle(path: Path) -> Any:
    import joblib

    try:
        return getattr(joblib.load(path), "cluster_centers_", None)
    except Exception as error:
        # A pickle can fail in any way: it runs code.
        raise InputError(
            f"{path} cannot be unpickled ({type(error).__name__}: {error}); learn it again"
        ) from error


def _centroids(path: Path, found: Any) -> np.ndarray:
    centroids = np.asarray(found)
    good = centroids.ndim == 2 and centroids.size > 0 and centroids.dtype.kind == "f"
    if not good or not np.isfinite(centroids).all():
        raise InputError(f"{path} holds no table of finite centroids; learn it again")
    return np.ascontiguousarray(centroids)


def _estimator_of(centroids: np.ndarray) -> Any:
    from sklearn.cluster import MiniBatchKMeans

    estimator = MiniBatchKMeans(n_clusters=len(centroids))
    estimator.cluster_centers_ = np.ascontiguousarray(centroids)
    estimator.n_features_in_ = centroids.shape[1]
    estimator._n_threads = 1
    return estimator
