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

    def __len__(self) -> int:
        """Count the clips that fit."""
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Model input and labels of one clip."""
        row = self.rows[index]
        if row not in self._kept:
            waveform = self._split.waveform(row)
            peak = max(float(np.abs(waveform).max()), 1e-9)
            self._kept[row] = np.round(waveform / peak * 32767).astype(np.int16)
        values = self._preprocessor.normalize(self._kept[row].astype(np.float32))
        return {"input_values": values, "labels": self._labels[row]}


class Collator:
    """Stacks clips of like length, padded with zeros, sometimes further than needed."""

    def __init__(self, recipe: "TrainingRecipe", preprocessor: Wav2Vec2Preprocessor) -> None:
        self._recipe = recipe
        self._n_frames = preprocessor.n_frames
        self._window = int(recipe.window_seconds * preprocessor.sampling_rate)
        self._rng = np.random.default_rng(recipe.seed)

    def __call__(self, clips: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
        """Make one batch."""
        clips = [{**clip, "input_values": self._disturb(clip["input_values"])} for clip in clips]
        longest = max(len(clip["input_values"]) for clip in clips)
        length = longest
        if self._rng.random() < self._recipe.extra_padding:
            length = int(self._rng.integers(longest, max(self._window, longest) + 1))
        # Few distinct shapes: on a CPU the kernels are compiled anew for each one.
        length = -(-length // LENGTH_STEP) * LENGTH_STEP
        values = np.zeros((len(clips), length), dtype=np.float32)
        labels = np.full((len(clips), max(len(clip["labels"]) for clip in clips)), IGNORED_LABEL)
        for row, clip in enumerate(clips):
            values[row, : len(clip["input_values"])] = clip["input_values"]
            labels[row, : len(clip["labels"])] = clip["labels"]
        n_frames = [self._n_frames(len(clip["input_values"])) for clip in clips]
        return {
            "input_values": torch.from_numpy(values),
            "labels": torch.from_numpy(labels),
            "n_frames": torch.tensor(n_frames),
        }

    def _disturb(self, values: np.ndarray) -> np.ndarray:
        return self._add_noise(self._change_speed(values))

    def _change_speed(self, values: np.ndarray) -> np.ndarray:
        """Play faster or slower: other voices, since pitch and formants move along (Ko 2015)."""
        if not self._recipe.speed_change:
            return values
        largest = np.log1p(self._recipe.speed_change)
        factor = float(np.exp(self._rng.uniform(-largest, largest)))
        return soxr.resample(values, factor, 1.0, quality="LQ")

    def _add_noise(self, values: np.ndarray) -> np.ndarray:
        if self._rng.random() >= self._recipe.noise_share:
            return values
        level = 10 ** (-self._rng.uniform(10, 40) / 20)
        noisy = values + level * self._rng.standard_normal(len(values), dtype=np.float32)
        return noisy / np.sqrt(1 + level**2)
