"""``pipeline logmel``: a corpus variant becomes Whisper's features and labels."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.corpus import Split
from pipeline.corpus_stage import CorpusStage
from pipeline.errors import ClipError
from pipeline.logmel.auris import decibel_mel
from pipeline.logmel.features import (
    HOP_LENGTH,
    SAMPLING_RATE,
    Dtype,
    Kind,
    Layout,
    MelSettings,
    log_mel,
)
from pipeline.logmel.reader import FeatureShape
from pipeline.logmel.tokens import LabelSettings, label_ids
from pipeline.shards import Remark
from pipeline.stage import Kept, Output, Quarantined

SHUFFLED_SPLIT = "train"
LongClips = Literal["cut", "split"]
LONG_CLIPS: tuple[LongClips, ...] = ("cut", "split")


@dataclass
class LogMelStage(CorpusStage):
    """Compute log-mel features of a corpus.

    Parameters
    ----------
    source, output : Path
        Roots of the corpus and of the features to make.
    mel : MelSettings
    labels : LabelSettings
    layout, dtype, kind
        See :mod:`pipeline.logmel.features`; ``auris`` has sentences instead of labels.
    long_clips : {"cut", "split"}
        What becomes of clips longer than a feature: their beginning, or a row for each part.
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
    kind: Kind = "whisper"
    long_clips: LongClips = "cut"
    shuffle_seed: int = 42
    splits: tuple[str, ...] | None = None
    limit: int | None = None
    name: str = field(default="logmel", init=False)

    @property
    def sampling_rate(self) -> int:
        """What Whisper listens at, in Hz, whatever the corpus is stored at."""
        return SAMPLING_RATE

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the input that decides the output."""
        return {
            "source": self.corpus.root.name,
            "format": self.kind,
            "mel": asdict(self.mel),
            **(self._label_config if self.kind == "whisper" else {}),
            "layout": self.layout,
            "dtype": self.dtype,
            "long": self.long_clips,
            "shuffle_seed": self.shuffle_seed,
            "splits": list(self.splits) if self.splits else None,
            "limit": self.limit,
        }

    @property
    def _label_config(self) -> dict[str, Any]:
        return {
            "labels": {**asdict(self.labels), "tokenizer": self.labels.name},
            "tokenizer_digest": self.labels.digest,
        }

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Features and labels, and what tells whose they are."""
        value = pa.float32() if self.dtype == "float32" else pa.float16()
        features = {"id": pa.string(), "input_features": pa.list_(pa.list_(value))}
        extent = {"n_frames": pa.int64(), "truncated": pa.bool_()}
        if self.kind == "auris":
            columns = {**features, "sentence": pa.string(), **extent}
        else:
            columns = {**features, "labels": pa.list_(pa.int64()), **extent}
        if self.long_clips == "split":
            columns |= {"part": pa.int64(), "n_parts": pa.int64()}
        return (Output(self.output, columns, SAMPLING_RATE),)

    def prepare(self) -> None:
        """Load the tokenizer."""
        if self.kind == "whisper":
            label_ids([], self.labels)

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Compute the features of some rows, in the order of the output."""
        source = self.split(split)
        indices = self._order(split, len(source))[start:stop].tolist()
        for index, text in zip(indices, self._texts(source, indices), strict=True):
            row = source.row(index)
            name = str(row.get("id") or index)
            path = str(row.get("path") or name)
            try:
                yield from self._parts({"id": name, **text}, path, source.waveform(index))
            except ClipError as error:
                yield Quarantined(name, path, str(error))

    def _texts(self, source: Split, indices: list[int]) -> list[dict[str, Any]]:
        """Labels or sentences of some rows; one call of the tokenizer for them all."""
        sentences = [""] * len(indices)
        if "sentence" in source.table.schema.names:
            column = source.column("sentence").take(pa.array(indices, pa.int64())).to_pylist()
            sentences = [sentence or "" for sentence in column]
        if self.kind == "auris":
            return [{"sentence": sentence} for sentence in sentences]
        return [{"labels": ids} for ids in label_ids(sentences, self.labels)]

    def _order(self, split: str, n_rows: int) -> np.ndarray:
        if split != SHUFFLED_SPLIT:
            return np.arange(n_rows)
        return np.random.default_rng(self.shuffle_seed).permutation(n_rows)

    def _parts(self, about: dict[str, Any], path: str, waveform: np.ndarray) -> Iterator[Kept]:
        """One row, or one for each part of a long clip."""
        length = self._shape.n_frames * HOP_LENGTH
        is_long = len(waveform) > length
        starts = range(0, len(waveform), length) if self.long_clips == "split" else range(1)
        for part, start in enumerate(starts):
            # To its very end if it is cut: what it is scaled by may lie beyond.
            piece = waveform[start : start + length] if len(starts) > 1 else waveform
            features = self._features(piece)
            extent = {
                "n_frames": features.shape[1],
                "truncated": is_long and self.long_clips == "cut",
                "part": part,
                "n_parts": len(starts),
            }
            remark = None
            if is_long and part == 0:
                remark = self._remark(about["id"], path, waveform, len(starts))
            row = {**about, "input_features": features, **extent}
            yield Kept((row,), remark, is_further=part > 0)

    def _remark(self, name: str, path: str, waveform: np.ndarray, n_parts: int) -> Remark:
        done = f"split into {n_parts} parts" if n_parts > 1 else "cut"
        longest = self._shape.n_frames * HOP_LENGTH / SAMPLING_RATE
        seconds = len(waveform) / SAMPLING_RATE
        return Remark(name, path, f"{done}: {seconds:.2f} s long, more than {longest:g} s")

    def _features(self, waveform: np.ndarray) -> np.ndarray:
        if self.kind == "auris":
            features = decibel_mel(waveform, self.mel.n_mels)
        else:
            features = log_mel(waveform, self.mel)
        features = features.astype(self.dtype, copy=False)
        return self._shape.pad(features) if self.layout == "padded" else features

    @property
    def _shape(self) -> FeatureShape:
        return FeatureShape(self.kind, self.mel)
