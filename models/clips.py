"""Clips for training: decoded once, grouped into padded batches by the collator."""

from typing import TYPE_CHECKING

import numpy as np
import soxr
import torch

from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.corpus import Split

if TYPE_CHECKING:
    from models.recipe import TrainingRecipe

IGNORED_LABEL = -100
LENGTH_STEP = 8_000  # samples


class Clips(torch.utils.data.Dataset):
    """Clips of a split as model input and labels; decoded once, then kept as 16-bit integers."""

    def __init__(self, split: Split, preprocessor: Wav2Vec2Preprocessor, window: float) -> None:
        sentences = split.column("sentence").to_pylist()
        labels = [preprocessor.label_ids(sentence or "") for sentence in sentences]
        seconds = split.column("duration_s").to_numpy()
        # CTC has no path through a clip with fewer frames than labels; such a clip teaches nothing.
        frames = [preprocessor.n_frames(int(s * preprocessor.sampling_rate)) for s in seconds]
        self.rows = [
            row
            for row, (length, n_frames, label) in enumerate(
                zip(seconds, frames, labels, strict=True)
            )
            if length <= window and 0 < len(label) <= n_frames
        ]
        self.lengths = [int(seconds[row] * preprocessor.sampling_rate) for row in self.rows]
        self._split, self._preprocessor, self._labels = split, preprocessor, labels
        self._kept: dict[int, np.ndarray] = {}
        self._epoch = 0

    def __len__(self) -> int:
        """Count the clips that fit."""
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Model input and labels of one clip, and what tells its draws from others."""
        row = self.rows[index]
        if row not in self._kept:
            waveform = self._split.waveform(row)
            peak = max(float(np.abs(waveform).max()), 1e-9)
            self._kept[row] = np.round(waveform / peak * 32767).astype(np.int16)
        values = self._preprocessor.normalize(self._kept[row].astype(np.float32))
        draw = np.asarray([self._epoch, index])
        return {"input_values": values, "labels": self._labels[row], "draw": draw}

    @property
    def origin(self) -> list[tuple[str, int, int]]:
        """Files that the clips are read from, with their sizes and times."""
        stats = ((path.resolve(), path.stat()) for path in self._split.shards)
        return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]

    def labels(self, index: int) -> np.ndarray:
        """Labels of one clip."""
        return self._labels[self.rows[index]]

    def set_epoch(self, epoch: int) -> None:
        """Say which pass it is: what is drawn for a clip differs from one to the next."""
        self._epoch = epoch

    def forget(self) -> None:
        """Keep no waveforms: they will not be asked for again."""
        self._kept.clear()


class Collator:
    """Stacks clips of like length, padded with silence, sometimes further than needed.

    What is drawn follows from the seed, the pass and the clips: a training that was interrupted
    goes on as if it had not been.
    """

    def __init__(self, recipe: "TrainingRecipe", preprocessor: Wav2Vec2Preprocessor) -> None:
        self._recipe, self._preprocessor = recipe, preprocessor
        self._window = int(recipe.window_seconds * preprocessor.sampling_rate)

    def __call__(self, clips: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
        """Make one batch, of waveforms or of what frozen convolutions made of them."""
        rng = batch_rng(self._recipe.seed, clips)
        if clips[0]["input_values"].ndim == 2:
            values = self._stack_frames([clip["input_values"] for clip in clips], rng)
            n_frames = [int(clip["n_frames"]) for clip in clips]
        else:
            waveforms = [self._disturb(clip["input_values"], rng) for clip in clips]
            values = self._stack(waveforms, rng)
            n_frames = [self._preprocessor.n_frames(len(waveform)) for waveform in waveforms]
        return {
            "input_values": torch.from_numpy(values),
            "labels": stack_labels([clip["labels"] for clip in clips]),
            "n_frames": torch.tensor(n_frames),
        }

    def _stack(self, waveforms: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        # Few distinct shapes: on a CPU the kernels are compiled anew for each one.
        length = self._length(max(map(len, waveforms)), rng)
        values = np.zeros((len(waveforms), -(-length // LENGTH_STEP) * LENGTH_STEP), np.float32)
        for target, waveform in zip(values, waveforms, strict=True):
            target[: len(waveform)] = waveform
        return values

    def _stack_frames(self, clips: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        hop = samples_per_frame(self._preprocessor)
        longest = max(frames.shape[1] for frames in clips)
        n_frames = self._length(longest * hop, rng) // hop
        n_frames = max(longest, min(n_frames, self._preprocessor.n_frames(self._window)))
        values = np.empty((len(clips), clips[0].shape[0], n_frames), dtype=np.float32)
        for target, frames in zip(values, clips, strict=True):
            target[:, : frames.shape[1]] = frames
            target[:, frames.shape[1] :] = frames[:, -1:]
        return values

    def _length(self, longest: int, rng: np.random.Generator) -> int:
        if rng.random() < self._recipe.extra_padding:
            return int(rng.integers(longest, max(self._window, longest) + 1))
        return longest

    def _disturb(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self._add_noise(self._change_speed(values, rng), rng)

    def _change_speed(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Play faster or slower: other voices, since pitch and formants move along (Ko 2015)."""
        if not self._recipe.speed_change:
            return values
        largest = np.log1p(self._recipe.speed_change)
        factor = float(np.exp(rng.uniform(-largest, largest)))
        return soxr.resample(values, factor, 1.0, quality="LQ")

    def _add_noise(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= self._recipe.noise_share:
            return values
        level = 10 ** (-rng.uniform(10, 40) / 20)
        noisy = values + level * rng.standard_normal(len(values), dtype=np.float32)
        return noisy / np.sqrt(1 + level**2)


def batch_rng(seed: int, clips: list[dict[str, np.ndarray]]) -> np.random.Generator:
    """Random numbers of one batch, by what was drawn into it."""
    return np.random.default_rng([seed, *(int(part) for clip in clips for part in clip["draw"])])


def stack_labels(labels: list[np.ndarray]) -> torch.Tensor:
    """Labels of a batch: int64 [shape=(n_clips, longest)], filled with ``IGNORED_LABEL``."""
    stacked = np.full((len(labels), max(map(len, labels))), IGNORED_LABEL)
    for target, row in zip(stacked, labels, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(stacked)


def samples_per_frame(preprocessor: Wav2Vec2Preprocessor) -> int:
    """Samples from the start of one frame of logits to that of the next."""
    return int(np.prod(preprocessor.conv_stride))
