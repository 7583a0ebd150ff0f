"""One vector per segment: by a network, or by the baselines it has to beat."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.errors import InputError
from pipeline.sse.batches import load
from pipeline.sse.store import FrameRanges, Store

if TYPE_CHECKING:
    from pipeline.sse.model import SequenceEmbedder

Baseline = Literal["mean", "max", "downsample"]
BASELINES: tuple[Baseline, ...] = ("mean", "max", "downsample")
SEGMENTS_AT_ONCE = 256
PLACES = 10  # of downsample


def embed(
    network: "SequenceEmbedder", store: Store, ranges: FrameRanges, out: np.ndarray | None = None
) -> np.ndarray:
    """Embed segments.

    Parameters
    ----------
    network : SequenceEmbedder
        In evaluation mode.
    store : Store
    ranges : FrameRanges
    out : np.ndarray [shape=(n, width), dtype=float32], optional
        Where to write to, such as a memory-mapped file.

    Returns
    -------
    np.ndarray [shape=(n, width), dtype=float32]

    Raises
    ------
    InputError
        If the frames are not those that the network takes, or hold NaN.
    """
    import torch

    architecture = network.architecture
    if store.n_dims != architecture.n_dims:
        raise InputError(
            f"{store.folder} has frames of {store.n_dims} numbers, and the model takes "
            f"{architecture.n_dims}; make the features as the model's config.json says"
        )
    device = next(network.parameters()).device
    vectors = np.empty((len(ranges), architecture.width), np.float32) if out is None else out
    with torch.inference_mode():
        for rows in _alike(ranges):
            frames, lengths = load(store, ranges.take(rows))
            if not np.isfinite(frames.sum(dtype=np.float64)):
                raise InputError(
                    f"{store.folder} holds NaN or infinite features; make them again with "
                    "--overwrite"
                )
            batch = network(
                torch.from_numpy(frames).to(device), torch.from_numpy(lengths).to(device)
            )
            vectors[rows] = batch.float().cpu().numpy()
    return vectors


def embed_baseline(kind: Baseline, store: Store, ranges: FrameRanges) -> np.ndarray:
    """Pool the frames of every segment without learning: float32 [shape=(n, m)].

    ``mean`` and ``max`` over time; ``downsample`` joins ten frames spread evenly over the segment.
    Dimensions are brought to mean 0 and deviation 1 first, over what is embedded.
    """
    pool: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "mean": lambda frames: frames.mean(axis=0),
        "max": lambda frames: frames.max(axis=0),
        "downsample": lambda frames: downsample(frames, PLACES).ravel(),
    }
    mean, deviation = _statistics(store, ranges)
    vectors = [
        pool[kind]((np.asarray(store.frames(row, first, last), np.float32) - mean) / deviation)
        for row, first, last in _each(ranges)
    ]
    return np.stack(vectors).astype(np.float32)


def downsample(frames: np.ndarray, places: int) -> np.ndarray:
    """Frames at places spread evenly over a segment, lines between: [shape=(places, m)]."""
    at = np.clip((np.arange(places) + 0.5) / places * len(frames) - 0.5, 0, len(frames) - 1)
    below = np.floor(at).astype(int)
    above = np.minimum(below + 1, len(frames) - 1)
    share = (at - below)[:, None]
    return np.asarray(frames[below] * (1 - share) + frames[above] * share)


def open_output(path: Path, n: int, width: int) -> np.ndarray:
    """An array file to write embeddings to, whatever fits in memory."""
    array: Any = np.lib.format.open_memmap(path, "w+", np.float32, (n, width))
    return np.asarray(array)


def _alike(ranges: FrameRanges) -> Iterator[np.ndarray]:
    """Rows of segments that are about as long, so that little is padding."""
    order = np.argsort(ranges.last - ranges.first, kind="stable")
    for start in range(0, len(order), SEGMENTS_AT_ONCE):
        yield order[start : start + SEGMENTS_AT_ONCE]


def _each(ranges: FrameRanges) -> Iterator[tuple[int, int, int]]:
    columns = (ranges.rows.tolist(), ranges.first.tolist(), ranges.last.tolist())
    yield from zip(*columns, strict=True)


def _statistics(store: Store, ranges: FrameRanges) -> tuple[np.ndarray, np.ndarray]:
    total, squares, count = np.zeros(store.n_dims), np.zeros(store.n_dims), 0
    for row in np.unique(ranges.rows):
        frames = np.asarray(store.frames(int(row)), np.float64)
        total += frames.sum(axis=0)
        squares += np.square(frames).sum(axis=0)
        count += len(frames)
    mean = total / max(count, 1)
    deviation = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 1e-6))
    return mean.astype(np.float32), deviation.astype(np.float32)
