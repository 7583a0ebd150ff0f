"""Neighbours, training, neighbours of what came out: until the precision stops rising.

``iteration.sh`` of the original is one round of it.
"""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus import read_json, write_json
from pipeline.errors import InputError
from pipeline.sse.embed import embed, embed_baseline
from pipeline.sse.evaluate import check_frames
from pipeline.sse.lists import Segments, read_segments
from pipeline.sse.model import load_model
from pipeline.sse.pairs import PairSettings, error_rate, find_pairs, write_pairs
from pipeline.sse.store import Store, check_finite, open_store
from pipeline.sse.train import TrainSettings
from pipeline.sse.training import Sources, score, train

PAIRS = "pairs.txt"
RESULT = "iterations.json"

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class Search:
    """Which segments are searched, and what of the neighbours is kept.

    Attributes
    ----------
    settings : PairSettings
    most_segments : int
        Drawn at random from longer lists; 0 for all.
    seed : int
    """

    settings: PairSettings
    most_segments: int = 0
    seed: int = 0


def write_neighbours(
    model_folder: Path | None, store: Store, segments: Segments, search: Search, output: Path
) -> dict[str, Any]:
    """Find pairs among segments as a model embeds them, and write them.

    Without a model a segment is ten of its frames, joined; what is found like that can teach a
    model something that it does not know.

    Raises
    ------
    InputError
        If the features are not the model's, or there are no neighbours.
    """
    segments = segments.draw(search.most_segments or None, search.seed)
    vectors = _embedded(model_folder, store, segments)
    pairs = find_pairs(vectors, segments, search.settings)
    write_pairs(output, pairs, segments)
    return {
        "segments": len(segments),
        "pairs": len(pairs),
        "mean_seconds": float(segments.seconds[pairs.first].mean()),
        "lowest_cosine": float(pairs.cosine.min()),
        "phone_error_rate": error_rate(pairs, segments) if (segments.label >= 0).any() else None,
    }


def iterate(
    model_folder: Path,
    sources: Sources,
    output: Path,
    search: Search,
    settings: TrainSettings,
    architecture: dict[str, Any],
    *,
    warm_start: bool = False,
    most_rounds: int = 5,
    device: str = "cpu",
    num_threads: int | None = None,
) -> dict[str, Any]:
    """Repeat neighbours and training while MAP@R rises; stopped, it goes on where it was.

    Parameters
    ----------
    model_folder : Path
        The model to begin with.
    sources : Sources
        With ``segments`` to search, and what validates.
    output : Path
        Gets ``round-1``, ``round-2`` … and ``iterations.json``, which names the best.
    search : Search
    settings : TrainSettings
    architecture : dict
        Of new networks; a round begins with random weights, as in the original.
    warm_start : bool
        Begin each round with the weights of the last one instead.
    most_rounds : int

    Raises
    ------
    InputError
        If something is missing.
    """
    if sources.segments is None or sources.valid_features is None or not sources.valid_segments:
        raise InputError(
            "iterate needs --path-segments to search, and --valid-features and --valid-segments to "
            "know when to stop"
        )
    store, segments = open_store(sources.features), read_segments(sources.segments)
    valid_store = open_store(sources.valid_features)

    def measured(folder: Path) -> float:
        return score(load_model(folder).network, valid_store, Path(str(sources.valid_segments)))

    best, best_score = model_folder, measured(model_folder)
    rounds: list[dict[str, Any]] = [{"model": str(best), "map_at_r": best_score}]
    for number in range(1, most_rounds + 1):
        folder = output / f"round-{number}"
        found = _pairs(best, store, segments, search, folder)
        plan = replace(
            sources,
            mode="knn",
            pairs=folder / PAIRS,
            segments=None,
            start_from=best if warm_start else None,
        )
        train(plan, folder, settings, architecture, device=device, num_threads=num_threads)
        reached = measured(folder)
        rounds.append({"model": str(folder), "map_at_r": reached, **found})
        logger.info("round %d: MAP@R %.4f after %.4f", number, reached, best_score)
        if reached <= best_score:
            break
        best, best_score = folder, reached
    result = {"best": str(best), "map_at_r": best_score, "rounds": rounds}
    write_json(output / RESULT, {**result, "search": asdict(search)})
    return result


def _embedded(model_folder: Path | None, store: Store, segments: Segments) -> np.ndarray:
    ranges = store.locate(segments)
    if model_folder is None:
        check_finite(store)
        return embed_baseline("downsample", store, ranges)
    model = load_model(model_folder)
    check_frames(store, model.frames)
    return embed(model.network, store, ranges)


def _pairs(
    model_folder: Path, store: Store, segments: Segments, search: Search, folder: Path
) -> dict[str, Any]:
    """Pairs of a round, and what is known of them; found once."""
    known = folder / "neighbours.json"
    if not known.is_file():
        found = write_neighbours(model_folder, store, segments, search, folder / PAIRS)
        write_json(known, found)
    return read_json(known)
