"""``pipeline kmeans learn``: from feature shards to a model file."""

from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.kmeans.learn import LearnSettings, learn
from pipeline.kmeans.model import Format, Model, save_joblib, save_npz
from pipeline.kmeans.shards import FeatureShard, make_folder


def learn_model(
    shards: list[FeatureShard],
    settings: LearnSettings,
    path: Path,
    model_format: Format = "npz",
    num_threads: int = 1,
) -> dict[str, Any]:
    """Learn centroids, write them to a file, and report them.

    Raises
    ------
    InputError
        If there is too little to learn from, or the file cannot be written.
    """
    make_folder(path.parent)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file of the model")
    found = learn(shards, settings, path.parent, num_threads)
    facts = {
        "inertia": found.inertia,
        "n_frames": found.n_frames,
        "n_clips": found.n_clips,
        "n_dims": int(found.centroids.shape[1]),
    }
    about = {"settings": settings.as_json(), **facts}
    if model_format == "joblib":
        save_joblib(path, found.centroids, found.estimator)
    else:
        save_npz(path, Model(found.centroids, about))
    return {"model": str(path), **about}
