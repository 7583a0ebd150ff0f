"""Put a training together from files: features, pairs, a network to begin with, what validates."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pipeline.corpus import read_json, sizes_below, write_json
from pipeline.errors import InputError
from pipeline.folders import lock
from pipeline.sse.batches import LabelledPairs, ListedPairs, MixedPairs, Pairs, ViewPairs
from pipeline.sse.embed import embed
from pipeline.sse.evaluate import check_frames, measure
from pipeline.sse.lists import read_segments
from pipeline.sse.model import (
    DESCRIPTION,
    WEIGHTS,
    Architecture,
    Model,
    SequenceEmbedder,
    load_model,
    new_network,
)
from pipeline.sse.pairs import read_pairs
from pipeline.sse.store import Store, check_finite, open_store
from pipeline.sse.train import (
    CHECKPOINT,
    LOG,
    Trainer,
    TrainSettings,
    about,
    count_parameters,
    frame_statistics,
)

Mode = Literal["init", "knn", "gold"]
MODES: tuple[Mode, ...] = ("init", "knn", "gold")
# What the original's launchers train with.
DEFAULTS: dict[Mode, TrainSettings] = {
    "init": TrainSettings(batch_size=250, steps_per_epoch=200, epochs=75, patience=2),
    "knn": TrainSettings(batch_size=256, steps_per_epoch=1000, epochs=100, patience=1),
    "gold": TrainSettings(batch_size=256, steps_per_epoch=1000, epochs=60, patience=5),
}
RECORD = "training.json"

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class Sources:
    """What a training reads.

    Attributes
    ----------
    features : Path
    mode : {"init", "knn", "gold"}
    pairs : Path, optional
        Of ``knn``.
    segments : Path, optional
        Of ``gold``, transcribed.
    valid_features, valid_segments : Path, optional
        Transcribed segments, and the features of their sections, for ``--valid-on map``.
    start_from : Path, optional
        A model to go on from.
    view_share : float
        Of ``knn``: share of the pairs of a step that are views of one segment, as in ``init``.
    """

    features: Path
    mode: Mode = "init"
    pairs: Path | None = None
    segments: Path | None = None
    valid_features: Path | None = None
    valid_segments: Path | None = None
    start_from: Path | None = None
    view_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a share that leaves no neighbours."""
        if not 0 <= self.view_share < 1:
            raise InputError(f"--view-share {self.view_share:g} is not from 0 to below 1")


def train(
    sources: Sources,
    output: Path,
    settings: TrainSettings,
    architecture: dict[str, Any],
    *,
    device: str = "cpu",
    num_threads: int | None = None,
    overwrite: bool = False,
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train a model into a folder, or go on where a training was stopped.

    Parameters
    ----------
    sources : Sources
    output : Path
    settings : TrainSettings
    architecture : dict
        Of :class:`pipeline.sse.model.Architecture`, without ``n_dims``; of no account with
        ``sources.start_from``.
    device : str
    num_threads : int, optional
        Of torch.
    overwrite : bool
    stop_after : int, optional
        Steps after which to stop as if killed.

    Returns
    -------
    dict
        What was done, for people.

    Raises
    ------
    InputError
        If something is missing or does not go together.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    store = open_store(sources.features)
    with lock([output], exclusive=True):
        if overwrite:
            for name in (DESCRIPTION, WEIGHTS, CHECKPOINT, LOG, RECORD):
                (output / name).unlink(missing_ok=True)
        model = _begin(sources, store, architecture, settings.seed)
        record = _checked_record(output, sources, model, settings)
        model.network.to(device)
        _warn_of_one_speaker(store)
        validate = _validation(sources, settings, model.frames)
        pairs = make_pairs(sources, store, settings.batch_size)
        is_finished = _is_finished(output)
        if not is_finished:
            (output / DESCRIPTION).unlink(missing_ok=True)
            write_json(output / RECORD, record)
        trainer = Trainer(model, store, pairs, settings, output, validate, stop_after)
        if not is_finished:
            log = trainer.run()
            model.about.update({**about(settings, log), "mode": sources.mode})
            if (output / DESCRIPTION).is_file():
                model.save(output)
                write_json(output / RECORD, {**record, "files": _sizes(output)})
    return report(output, model)


def make_pairs(sources: Sources, store: Store, batch_size: int) -> Pairs:
    """Pairs of a mode.

    Raises
    ------
    InputError
        If what the mode reads is not given, or too little for a batch.
    """
    if sources.mode == "init":
        return ViewPairs(store, batch_size)
    if sources.mode == "knn":
        if sources.pairs is None:
            raise InputError(
                "--mode knn needs --path-pairs, as `pipeline sse neighbours` writes it"
            )
        first, second = read_pairs(sources.pairs, store)
        n_views = min(round(sources.view_share * batch_size), batch_size - 1)
        listed = ListedPairs(store, first, second, batch_size - n_views)
        return MixedPairs(ViewPairs(store, n_views), listed) if n_views else listed
    if sources.segments is None:
        raise InputError(
            "--mode gold needs --path-segments, transcribed as `pipeline sse transcribe` does it"
        )
    segments = read_segments(sources.segments)
    return LabelledPairs(store, store.locate(segments), segments.label, batch_size)


def report(folder: Path, model: Model) -> dict[str, Any]:
    """How a training ended."""
    log = read_json(folder / LOG)
    epochs = log.get("epochs", [])
    return {
        "model": str(folder),
        "finished": bool(epochs),
        "parameters": count_parameters(model.network),
        "epochs": len(epochs),
        "last": epochs[-1] if epochs else {},
    }


def score(network: SequenceEmbedder, store: Store, segments_path: Path) -> float:
    """MAP@R of a network on transcribed segments."""
    segments = read_segments(segments_path)
    vectors = embed(network, store, store.locate(segments))
    return measure(vectors, segments).within.map_at_r


def _warn_of_one_speaker(store: Store) -> None:
    if len(np.unique(store.speaker)) == 1:
        name = store.speakers[int(store.speaker[0])]
        logger.warning(
            "all speech in %s is spoken by %r, so the vectors will not learn to overlook voices; "
            "add features of other speakers",
            *(store.folder, name),
        )


def _begin(sources: Sources, store: Store, architecture: dict[str, Any], seed: int) -> Model:
    if sources.start_from is not None:
        model = load_model(sources.start_from)
        check_frames(store, model.frames)
        check_finite(store)
        return replace(model, about={"start_from": sources.start_from.name})
    mean, deviation = frame_statistics(store)
    network = new_network(Architecture(store.n_dims, **architecture), mean, deviation, seed)
    return Model(network, store.settings)


def _is_finished(output: Path) -> bool:
    """Whether there is a model, as long as it was when it was written."""
    if not (output / DESCRIPTION).is_file():
        return False
    sizes = read_json(output / RECORD).get("files")
    # Without either there is nothing to compare with, and nothing to make it anew from.
    return sizes == _sizes(output) if sizes else not (output / CHECKPOINT).is_file()


def _sizes(output: Path) -> dict[str, int | None]:
    return sizes_below(output, (output / DESCRIPTION, output / WEIGHTS))


def _checked_record(
    output: Path, sources: Sources, model: Model, settings: TrainSettings
) -> dict[str, Any]:
    """What a training is, unless it was begun otherwise."""
    record: dict[str, dict[str, Any]] = {
        "sources": {name: str(value) for name, value in asdict(sources).items() if value},
        "settings": asdict(settings),
        "architecture": asdict(model.network.architecture),
    }
    before = read_json(output / RECORD)
    changed = [
        key
        for part in record
        for key in record[part].keys() | before.get(part, {}).keys()
        if before and before.get(part, {}).get(key) != record[part].get(key)
    ]
    if changed:
        raise InputError(
            f"{output} holds a training that was begun otherwise ({', '.join(sorted(changed))} "
            "differ); give --overwrite to begin again, or name another folder"
        )
    if not before and (output / DESCRIPTION).is_file():
        raise InputError(f"{output} holds a model already; name another folder")
    return record


def _validation(
    sources: Sources, settings: TrainSettings, frames: dict[str, Any]
) -> Callable[[SequenceEmbedder], float] | None:
    if settings.valid_on == "loss":
        return None
    if sources.valid_features is None or sources.valid_segments is None:
        raise InputError(
            "--valid-on map needs --valid-features and --valid-segments; or give --valid-on loss"
        )
    store = open_store(sources.valid_features)
    check_frames(store, frames)
    segments = read_segments(sources.valid_segments)
    ranges = store.locate(segments)
    measure(np.random.default_rng(0).standard_normal((len(segments), 2)), segments)

    def validate(network: SequenceEmbedder) -> float:
        return measure(embed(network, store, ranges), segments).within.map_at_r

    return validate
