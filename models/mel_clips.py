"""Log-mel features for training a Whisper: kept without the silence that pads them."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from models.clips import batch_rng, stack_labels
from pipeline.logmel import SplitFeatures

if TYPE_CHECKING:
    from models.recipe import TrainingRecipe

LENGTH_STEP = 20  # frames; few distinct shapes
DB_PER_UNIT = 40.0  # log-mel features are (log10 power + 4) / 4


class MelClips(torch.utils.data.Dataset):
    """Features and labels of a split, read once, then kept as float16 up to where silence begins.

    The last frame of each is one of silence, unless the clip fills its chunk.

    Parameters
    ----------
    features : SplitFeatures
    n_stored : np.ndarray [shape=(n_clips,)]
        Frames stored of each: how long a clip is, unless all are stored with their silence.
    """

    def __init__(self, features: SplitFeatures, n_stored: np.ndarray) -> None:
        self._features, self._epoch = features, 0
        self._kept: dict[int, dict[str, np.ndarray]] = {}
        if len(n_stored) and n_stored.min() == n_stored.max():
            n_stored = np.array([self[row]["input_features"].shape[1] for row in range(len(self))])
        self.lengths = n_stored.tolist()

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._features)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Features [shape=(n_mels, t)] and labels of one clip, and what tells its draws."""
        if index not in self._kept:
            self._kept[index] = _without_silence(self._features[index])
        return {**self._kept[index], "draw": np.asarray([self._epoch, index])}

    def set_epoch(self, epoch: int) -> None:
        """Say which pass it is: what is drawn for a clip differs from one to the next."""
        self._epoch = epoch


class MelCollator:
    """Stacks features, padded with their silence: to the whole chunk, or as far as is needed.

    A decoder that has never seen silence attends to it, so that some batches of a cropped training
    are padded further than their longest clip.
    """

    def __init__(self, recipe: "TrainingRecipe", n_frames: int) -> None:
        self._recipe, self._n_frames = recipe, n_frames

    def __call__(self, clips: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
        """Make one batch: features, and labels without their first token, which the model adds."""
        rng = batch_rng(self._recipe.seed, clips)
        features = [clip["input_features"] for clip in clips]
        if self._recipe.warp:
            features = [warp(each, 1 + self._recipe.warp * rng.uniform(-1, 1)) for each in features]
        n_frames = self._length(max(each.shape[1] for each in features), rng)
        stacked = np.empty((len(clips), features[0].shape[0], n_frames), dtype=np.float32)
        for target, each in zip(stacked, features, strict=True):
            target[:, : each.shape[1]] = each
            target[:, each.shape[1] :] = each[:, -1:]
        if self._recipe.level_change_db:
            change = rng.uniform(-1, 1, size=(len(clips), 1, 1)) * self._recipe.level_change_db
            stacked += (change / DB_PER_UNIT).astype(np.float32)
        for clip, each in zip(stacked, features, strict=True):
            mask(clip[:, : each.shape[1]], self._recipe.masks, rng)
        return {
            "input_features": torch.from_numpy(stacked),
            "labels": stack_labels([clip["labels"][1:] for clip in clips]),
            "n_seen": torch.tensor([each.shape[1] for each in features]),
        }

    def _length(self, longest: int, rng: np.random.Generator) -> int:
        if not self._recipe.crop:
            return self._n_frames
        if rng.random() < self._recipe.extra_padding:
            longest = int(rng.integers(longest, self._n_frames + 1))
        return min(-(-longest // LENGTH_STEP) * LENGTH_STEP, self._n_frames)


def warp(features: np.ndarray, factor: float) -> np.ndarray:
    """Move every band of a spectrogram [shape=(n_mels, t)] to ``factor`` times its place.

    So sounds a vocal tract of another length (Jaitly & Hinton 2013, "Vocal tract length
    perturbation improves speech recognition"); what comes from beyond the last band is that band.
    """
    last = len(features) - 1
    places = np.minimum(np.arange(len(features)) / factor, last)
    lower = places.astype(np.int64)
    share = (places - lower)[:, None].astype(np.float32)
    values = features.astype(np.float32)
    return values[lower] * (1 - share) + values[np.minimum(lower + 1, last)] * share


def mask(features: np.ndarray, count: int, rng: np.random.Generator) -> None:
    """Overwrite stretches of time and of bands with the mean, in place.

    SpecAugment without its time warp (Park et al. 2019, arXiv 1904.08779).

    Parameters
    ----------
    features : np.ndarray [shape=(n_mels, t), dtype=float32]
    count : int
        Of either; each is up to a tenth of the clip, or of the bands, long.
    rng : np.random.Generator
    """
    mean = features.mean() if count else 0.0
    for _ in range(count):
        for axis, size in enumerate(features.shape):
            length = int(rng.integers(0, size // 10 + 1))
            start = int(rng.integers(0, size - length + 1))
            where = [slice(None), slice(None)]
            where[axis] = slice(start, start + length)
            features[tuple(where)] = mean


def _without_silence(clip: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    features = clip["input_features"]
    differs = np.flatnonzero((features != features[:, -1:]).any(axis=0))
    n_seen = int(differs[-1]) + 1 if len(differs) else 0
    kept = features[:, : min(n_seen + 1, features.shape[1])].astype(np.float16)
    return {"input_features": kept, "labels": np.asarray(clip["labels"])}
