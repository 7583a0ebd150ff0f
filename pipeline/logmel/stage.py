"""``pipeline logmel``: a corpus variant becomes Whisper's features and labels."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus import Corpus, Split, open_corpus
from pipeline.errors import ClipError
from pipeline.logmel.features import SAMPLING_RATE, Dtype, Layout, MelSettings, log_mel, pad
from pipeline.logmel.tokens import LabelSettings, label_ids
from pipeline.stage import Kept, Output, Quarantined, corpus_digest

SHUFFLED_SPLIT = "train"


@dataclass
class LogMelStage:
    """Compute log-mel features of a corpus.

    Parameters
    ----------
    source, output : Path
        Roots of the corpus and of the features to make.
    mel : MelSettings
    labels : LabelSettings
    layout, dtype
        See :mod:`pipeline.logmel.features`.
    shuffle_seed : int
        Order of the train split, which is that of ``datasets.Dataset.shuffle``.
    splits : tuple of str, optional
        Only these.
    limit : int, optional
        Only the first rows of every split, after shuffling.
    """

    source: Path
    output: Path
    mel: MelSettings = field(default_factory=MelSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    layout: Layout = "compact"
    dtype: Dtype = "float32"
    shuffle_seed: int = 42
    splits: tuple[str, ...] | None = None
    limit: int | None = None
    name: str = field(default="logmel", init=False)
    # Whisper listens at 16 kHz whatever the corpus is stored at.
    sampling_rate: int = field(default=SAMPLING_RATE, init=False)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The corpus."""
        return (self.corpus.root,)

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the input that decides the output."""
        return {
            "source": self.corpus.root.name,
            "mel": asdict(self.mel),
            "labels": {**asdict(self.labels), "tokenizer": self.labels.name},
            "tokenizer_digest": self.labels.digest,
            "layout": self.layout,
            "dtype": self.dtype,
            "shuffle_seed": self.shuffle_seed,
            "splits": list(self.splits) if self.splits else None,
            "limit": self.limit,
        }

    @cached_property
    def source_digest(self) -> str:
        """Digest of the corpus."""
        return corpus_digest(self.corpus)

    @cached_property
    def corpus(self) -> Corpus:
        """The input."""
        return open_corpus(self.source)

    @cached_property
    def _splits(self) -> dict[str, Split]:
        """Splits as they are opened, once in every process."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Go to a worker without open files."""
        opened = ("corpus", "_splits")
        return {key: value for key, value in self.__dict__.items() if key not in opened}

    def _split(self, name: str) -> Split:
        if name not in self._splits:
            self._splits[name] = self.corpus[name].at_rate(self.sampling_rate)
        return self._splits[name]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Features and labels, and what tells whose they are."""
        value = pa.float32() if self.dtype == "float32" else pa.float16()
        columns = {
            "id": pa.string(),
            "input_features": pa.list_(pa.list_(value)),
            "labels": pa.list_(pa.int64()),
            "n_frames": pa.int64(),
            "truncated": pa.bool_(),
        }
        return (Output(self.output, columns, SAMPLING_RATE),)

    def split_sizes(self) -> Mapping[str, int]:
        """Count the rows of the wanted splits."""
        corpus = self.corpus
        sizes = {split: len(corpus[split]) for split in self.splits or corpus.splits}
        return {
            split: size if self.limit is None else min(size, self.limit)
            for split, size in sizes.items()
        }

    def prepare(self) -> None:
        """Load the tokenizer."""
        label_ids("", self.labels)

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Compute the features of some rows, in the order of the output."""
        source = self._split(split)
        for index in self._order(split, len(source))[start:stop]:
            row = source.row(int(index))
            name = str(row.get("id") or index)
            try:
                yield Kept((self._features(row, name, source.waveform(int(index))),))
            except ClipError as error:
                yield Quarantined(name, str(row.get("path") or name), str(error))

    def _order(self, split: str, n_rows: int) -> np.ndarray:
        if split != SHUFFLED_SPLIT:
            return np.arange(n_rows)
        return np.random.default_rng(self.shuffle_seed).permutation(n_rows)

    def _features(self, row: Mapping[str, Any], name: str, waveform: np.ndarray) -> dict[str, Any]:
        features = log_mel(waveform, self.mel).astype(self.dtype)
        if self.layout == "padded":
            features = pad(features, self.mel.n_frames)
        return {
            "id": name,
            "input_features": list(features),
            "labels": label_ids(row.get("sentence") or "", self.labels),
            "n_frames": features.shape[1],
            "truncated": len(waveform) > self.mel.n_samples,
        }
