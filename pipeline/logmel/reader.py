"""Read features back, padded, whatever layout they were stored in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus import Corpus, Split, open_corpus
from pipeline.errors import InputError
from pipeline.logmel.auris import N_FRAMES, pad_with_minimum
from pipeline.logmel.features import KINDS, Kind, MelSettings, pad


@dataclass(frozen=True)
class FeatureShape:
    """Which features a folder holds, and how large they are once padded.

    Attributes
    ----------
    kind : {"whisper", "auris"}
    mel : MelSettings
        What they were made with.
    """

    kind: Kind
    mel: MelSettings

    @property
    def n_frames(self) -> int:
        """Frames of a padded feature."""
        return self.mel.n_frames if self.kind == "whisper" else N_FRAMES

    def pad(self, features: np.ndarray) -> np.ndarray:
        """Put back what is not stored: [shape=(n_mels, n_frames)], of the same dtype."""
        fill = pad if self.kind == "whisper" else pad_with_minimum
        return fill(features, self.n_frames)


class SplitFeatures:
    """Padded features and labels of a split: a map-style dataset, as torch's loaders take them.

    Nothing is held in memory but what is asked for: rows are read from memory-mapped files.
    """

    def __init__(self, split: Split, shape: FeatureShape) -> None:
        self._split, self._shape = split, shape

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._split)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """``input_features`` and, if there are any, ``labels`` of one row."""
        item = {"input_features": self.input_features(index)}
        if "labels" in self._columns:
            item["labels"] = self.labels(index)
        return item

    def input_features(self, index: int) -> np.ndarray:
        """Features of one row: float32 [shape=(n_mels, n_frames)], padded to the chunk."""
        stored = self._columns["input_features"][int(index)].values
        flat = stored.flatten().to_numpy(zero_copy_only=False)
        features = self._shape.pad(flat.reshape(self._shape.mel.n_mels, -1))
        return features.astype(np.float32, copy=False)

    def labels(self, index: int) -> np.ndarray:
        """Token ids of one row: int64 [shape=(n_tokens,)]."""
        return self._columns["labels"][int(index)].values.to_numpy()

    def __getstate__(self) -> dict[str, Any]:
        """Go to a loader's worker without open files."""
        return {"_split": self._split, "_shape": self._shape}

    @cached_property
    def _columns(self) -> Mapping[str, pa.ChunkedArray]:
        names = set(self._split.table.schema.names) & {"input_features", "labels"}
        return {name: self._split.column(name) for name in names}


@dataclass(frozen=True)
class FeatureSet:
    """A corpus of features.

    Attributes
    ----------
    corpus : Corpus
    shape : FeatureShape
    """

    corpus: Corpus
    shape: FeatureShape

    @property
    def mel(self) -> MelSettings:
        """What the features were made with."""
        return self.shape.mel

    def __getitem__(self, split: str) -> SplitFeatures:
        """Open one split."""
        return SplitFeatures(self.corpus[split], self.shape)

    def input_features(self, split: str, index: int) -> np.ndarray:
        """Features of one row: float32 [shape=(n_mels, n_frames)], padded to the chunk."""
        return self[split].input_features(index)

    def labels(self, split: str, index: int) -> np.ndarray:
        """Token ids of one row: int64 [shape=(n_tokens,)]."""
        return self[split].labels(index)

    @property
    def transform(self) -> Callable[[Mapping[str, list[Any]]], dict[str, list[Any]]]:
        """What ``datasets.Dataset.with_transform`` needs to give padded features."""
        return PadFeatures(self.shape)


@dataclass(frozen=True)
class PadFeatures:
    """Pads the features of a batch that ``datasets`` has read.

    ``datasets`` hands it nested lists, which takes longer than reading rows from
    :class:`SplitFeatures`; it is for code that wants a ``datasets.Dataset``.
    """

    shape: FeatureShape

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Return the batch with ``input_features`` as float32 [shape=(n_mels, n_frames)] each."""
        padded = [self.shape.pad(np.asarray(rows, np.float32)) for rows in batch["input_features"]]
        return {**batch, "input_features": padded}


def open_features(path: Path | str) -> FeatureSet:
    """Open what ``pipeline logmel`` wrote.

    Raises
    ------
    InputError
        If it is something else.
    """
    corpus = open_corpus(path)
    config = corpus.run().get("config", {})
    config = config if isinstance(config, dict) else {}
    settings, kind = config.get("mel"), config.get("format", "whisper")
    if not isinstance(settings, dict) or kind not in KINDS:
        raise InputError(
            f"{path} was not made by pipeline logmel: its run.json says nothing of mel"
        )
    try:
        shape = FeatureShape(kind, MelSettings(**settings))
    except TypeError as error:
        raise InputError(f"{path} has a damaged run.json ({error}); make it again") from error
    return FeatureSet(corpus, shape)
