"""Learn centroids from feature shards, with the options of fairseq's learn_kmeans.py."""

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.corpus import explain_full_disk
from pipeline.errors import InputError
from pipeline.kmeans.lloyd import LloydSettings, fit
from pipeline.kmeans.shards import FeatureShard, check_finite

Engine = Literal["lloyd", "minibatch"]
ENGINES: tuple[Engine, ...] = ("lloyd", "minibatch")
INITS = ("k-means++", "random")
# What is meant where nothing is said; those of minibatch are fairseq's.
DEFAULTS: dict[str, dict[str, float]] = {
    "lloyd": {"max_iter": 10, "tol": 1e-4, "n_init": 1},
    "minibatch": {"max_iter": 100, "tol": 0.0, "n_init": 20},
}
LOG_INTERVAL_SECONDS = 5.0
SPOOL_FRAMES = 8192

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class LearnSettings:
    """What decides the centroids, besides the features; ``None`` is the engine's default.

    Attributes
    ----------
    n_clusters : int
    engine : {"lloyd", "minibatch"}
    seed : int
    percent : float
        Part of the clips of every shard to learn from; below 0, all.
    init : {"k-means++", "random"}
    max_iter, tol, n_init
        See scikit-learn's MiniBatchKMeans and :class:`pipeline.kmeans.lloyd.LloydSettings`.
    batch_size, max_no_improvement, reassignment_ratio
        Of minibatch alone.
    """

    n_clusters: int
    engine: Engine = "lloyd"
    seed: int = 0
    percent: float = -1.0
    init: str = "k-means++"
    max_iter: int | None = None
    tol: float | None = None
    n_init: int | None = None
    batch_size: int = 10_000
    max_no_improvement: int = 100
    reassignment_ratio: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, and fill in the engine's defaults."""
        if self.percent > 1 or self.percent == 0 or np.isnan(self.percent):
            raise InputError(
                f"--percent {self.percent:g} is no part of the clips; give more than 0 and at most "
                "1, such as 0.1 for a tenth, or -1 for all"
            )
        for name, value in DEFAULTS[self.engine].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Learned:
    """What was learned.

    Attributes
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims), dtype=float32]
    inertia : float
        Mean squared distance of the frames that were learned from.
    n_frames, n_clips : int
        How many those were.
    estimator : sklearn.cluster.MiniBatchKMeans or None
        Of the engine ``minibatch``, for those who want all of it.
    """

    centroids: np.ndarray
    inertia: float
    n_frames: int
    n_clips: int
    estimator: Any = None


class SampledFrames:
    """Frames of some clips of some shards, left on disk.

    Parameters
    ----------
    shards : list of FeatureShard
    percent : float
        Part of the clips of each; below 0, all.
    rng : np.random.RandomState
        Drawn from as learn_kmeans.py draws from numpy's global generator.
    """

    def __init__(
        self, shards: list[FeatureShard], percent: float, rng: np.random.RandomState
    ) -> None:
        self._shards = shards
        pieces = [_sample(shard, percent, rng) for shard in shards]
        self.n_clips = sum(
            len(shard.lengths) if percent < 0 else len(piece)
            for shard, piece in zip(shards, pieces, strict=True)
        )
        #: Which shard a piece is of: int64 [shape=(n_pieces,)].
        self._owner = np.repeat(np.arange(len(shards)), [len(piece) for piece in pieces])
        self._pieces = np.concatenate(pieces)

    @cached_property
    def _edges(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self._pieces[:, 1] - self._pieces[:, 0])])

    @property
    def n_frames(self) -> int:
        """Count the frames."""
        return int(self._edges[-1])

    @property
    def n_dims(self) -> int:
        """Numbers in a frame."""
        return int(self._shards[0].frames.shape[1])

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """All frames, about ``size`` at a time: clips that are shorter are joined."""
        waiting: list[np.ndarray] = []
        n_waiting = 0
        for owner, (first, last) in zip(self._owner, self._pieces, strict=True):
            frames = self._shards[owner].frames
            for start in range(first, last, size):
                piece = frames[start : min(start + size, last)]
                if n_waiting + len(piece) > size:
                    yield _join(waiting)
                    waiting, n_waiting = [], 0
                waiting.append(piece)
                n_waiting += len(piece)
        if n_waiting:
            yield _join(waiting)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Frames by ascending index: float32 [shape=(n, n_dims)]."""
        place = np.searchsorted(self._edges, indices, side="right") - 1
        rows = indices - self._edges[place] + self._pieces[place, 0]
        taken = np.empty((len(indices), self.n_dims), np.float32)
        for owner in np.unique(self._owner[place]):
            mine = self._owner[place] == owner
            taken[mine] = self._shards[owner].frames[rows[mine]]
        return taken

    def check(self) -> None:
        """Read all of it once, and refuse what no distance can be taken of."""
        for owner, shard in enumerate(self._shards):
            for first, last in self._pieces[self._owner == owner]:
                for start in range(first, last, SPOOL_FRAMES):
                    check_finite(shard.frames[start : min(start + SPOOL_FRAMES, last)], shard.path)

    @contextlib.contextmanager
    def as_array(self, folder: Path) -> Iterator[np.ndarray]:
        """All frames as one array, in a file that is gone afterwards."""
        if len(self._pieces) == 1:
            (first, last), frames = self._pieces[0], self._shards[self._owner[0]].frames
            yield frames[first:last]
            return
        with explain_full_disk(folder), tempfile.TemporaryFile(dir=folder) as file:
            for block in self.blocks(SPOOL_FRAMES):
                file.write(np.ascontiguousarray(block).data)
            file.flush()
            yield np.asarray(np.memmap(file, np.float32, "r", shape=(self.n_frames, self.n_dims)))


def learn(
    shards: list[FeatureShard], settings: LearnSettings, scratch: Path, num_threads: int = 1
) -> Learned:
    """Cluster the frames of some shards.

    Parameters
    ----------
    shards : list of FeatureShard
        In the order of their ranks.
    settings : LearnSettings
    scratch : Path
        Folder for what does not fit in memory.
    num_threads : int
        Of the engine ``lloyd``, whose result does not depend on it.

    Raises
    ------
    InputError
        If there are fewer frames than clusters, or one is not finite.
    """
    # The generator that numpy.random.seed seeds, so that the same clips are drawn as by fairseq.
    rng = np.random.RandomState(settings.seed)
    frames = SampledFrames(shards, settings.percent, rng)
    if frames.n_frames < settings.n_clusters:
        raise InputError(
            f"{frames.n_frames} frames cannot make {settings.n_clusters} clusters; "
            "give more features, a larger --percent, or fewer clusters"
        )
    frames.check()
    logger.info("learning from %d clips, %d frames", frames.n_clips, frames.n_frames)
    if settings.engine == "minibatch":
        return _minibatch(frames, settings, rng, scratch)
    return _lloyd(frames, settings, num_threads)


def _lloyd(frames: SampledFrames, settings: LearnSettings, num_threads: int) -> Learned:
    found = fit(
        frames,
        LloydSettings(
            settings.n_clusters,
            settings.seed,
            int(settings.n_init or 1),
            int(settings.max_iter or 0),
            float(settings.tol or 0),
            settings.init,
            num_threads,
        ),
        lambda n_iter, inertia: logger.info("pass %d: inertia %.5f", n_iter, inertia),
    )
    return Learned(found.centroids, found.inertia, frames.n_frames, frames.n_clips)


def _minibatch(
    frames: SampledFrames, settings: LearnSettings, rng: np.random.RandomState, scratch: Path
) -> Learned:
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(
        n_clusters=settings.n_clusters,
        init=settings.init,
        max_iter=int(settings.max_iter or 0),
        batch_size=settings.batch_size,
        verbose=1,
        compute_labels=False,
        random_state=rng,
        tol=settings.tol,
        max_no_improvement=settings.max_no_improvement,
        init_size=None,
        n_init=int(settings.n_init or 1),
        reassignment_ratio=settings.reassignment_ratio,
    )
    with frames.as_array(scratch) as array:
        with contextlib.redirect_stdout(_Narrator()):
            model.fit(array)
        inertia = -model.score(array) / len(array)
    model.set_params(random_state=None)  # as fairseq's has it
    centroids = np.ascontiguousarray(model.cluster_centers_, np.float32)
    return Learned(centroids, float(inertia), frames.n_frames, frames.n_clips, model)


def _sample(shard: FeatureShard, percent: float, rng: np.random.RandomState) -> np.ndarray:
    """First and last frame of what is learned from: int64 [shape=(n_pieces, 2)]."""
    if percent < 0:
        return np.array([[0, len(shard.frames)]])
    n_clips = len(shard.lengths)
    chosen = rng.choice(n_clips, int(np.ceil(n_clips * percent)), replace=False)
    offsets = shard.offsets
    return np.stack([offsets[chosen], offsets[chosen + 1]], axis=1)


def _join(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


class _Narrator(io.TextIOBase):
    """Passes on, now and then, what scikit-learn prints while it works."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def write(self, text: str) -> int:
        now = time.monotonic()
        if text.strip() and now - self._told > LOG_INTERVAL_SECONDS:
            self._told = now
            logger.info("minibatch: %s", text.strip())
        return len(text)
