"""Read features back, padded, whatever layout they were stored in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.corpus import Corpus, open_corpus
from pipeline.errors import InputError
from pipeline.logmel.features import MelSettings, pad


@dataclass(frozen=True)
class FeatureSet:
    """A corpus of features.

    Attributes
    ----------
    corpus : Corpus
    mel : MelSettings
        What the features were made with.
    """

    corpus: Corpus
    mel: MelSettings

    def input_features(self, split: str, index: int) -> np.ndarray:
        """Features of one clip: float32 [shape=(n_mels, n_frames)], padded to the chunk."""
        rows = self.corpus[split].column("input_features")[index].values
        flat = rows.flatten().to_numpy(zero_copy_only=False)
        features = flat.reshape(self.mel.n_mels, -1)
        return pad(features, self.mel.n_frames).astype(np.float32, copy=False)

    def labels(self, split: str, index: int) -> np.ndarray:
        """Token ids of one clip: int64 [shape=(n_tokens,)]."""
        return self.corpus[split].column("labels")[index].values.to_numpy()


def open_features(path: Path | str) -> FeatureSet:
    """Open what ``pipeline logmel`` wrote.

    Raises
    ------
    InputError
        If it is something else.
    """
    corpus = open_corpus(path)
    settings = corpus.run().get("config", {}).get("mel")
    if settings is None:
        raise InputError(
            f"{path} was not made by pipeline logmel: its run.json says nothing of mel"
        )
    return FeatureSet(corpus, MelSettings(**settings))
