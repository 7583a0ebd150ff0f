"""Replace frames by the numbers of their nearest centroids."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.corpus import write_atomically, write_path
from pipeline.errors import InputError, MissingPathError
from pipeline.kmeans.shards import make_folder, open_shard, stem

LONGEST = 16_384  # frames that are compared with all centroids at once


@dataclass(frozen=True)
class LabelReport:
    """What came of one shard."""

    rank: int
    clips: int
    frames: int


@dataclass(frozen=True)
class LabelWork:
    """Labels of the shards of a split; called with a rank, it makes that one."""

    folder: Path
    split: str
    n_shards: int
    centroids: np.ndarray
    output: Path

    def __call__(self, rank: int) -> LabelReport:
        """Write ``<split>_<rank>_<nshard>.km``: a line per clip, its labels between spaces.

        Raises
        ------
        MissingPathError, InputError
            If the features are missing or damaged, or have other dimensions than the centroids.
        """
        make_folder(self.output)
        shard = open_shard(self.folder, self.split, rank, self.n_shards)
        n_dims = self.centroids.shape[1]
        if shard.frames.shape[1] != n_dims:
            raise InputError(
                f"{shard.path} has {shard.frames.shape[1]} dimensions and the model {n_dims}; "
                "give the features that the model was learned from"
            )
        nearest = Nearest(self.centroids)
        words = [str(label) for label in range(len(self.centroids))]
        path = self.output / f"{stem(self.split, rank, self.n_shards)}.km"
        with write_path(path) as temporary, temporary.open("w", encoding="ascii") as file:
            for frames in shard.clips():
                try:
                    labels = nearest(frames).tolist()
                except FloatingPointError as error:
                    raise InputError(f"{shard.path} holds {error}; make the shard again") from error
                file.write(" ".join(map(words.__getitem__, labels)) + "\n")
        return LabelReport(rank, len(shard.lengths), len(shard.frames))


class Nearest:
    """Finds nearest centroids, with the arithmetic of fairseq's dump_km_label.py.

    That computes |x|² - 2xC + |C|² in the precision of its arguments, in this order. The first term
    decides nothing but how the sum rounds, and so which of two centroids wins that are as good as
    equally far; it is kept, that labels be the same. The factor -2 is drawn into the centroids,
    which is exact, and everything happens in one buffer, which is what takes the time.

    Parameters
    ----------
    centroids : np.ndarray [shape=(n_clusters, n_dims)]
    """

    def __init__(self, centroids: np.ndarray) -> None:
        transposed = centroids.transpose()
        self._table = -2 * transposed
        self._norms = (transposed**2).sum(axis=0, keepdims=True)
        self._buffer = np.empty((0, len(centroids)), centroids.dtype)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Labels of frames [shape=(n, n_dims)]: int64 [shape=(n,)].

        Raises
        ------
        FloatingPointError
            If a frame has no finite distance to anything.
        """
        starts = range(0, len(frames), LONGEST)
        labels = [self._some(frames[start : start + LONGEST]) for start in starts]
        return np.concatenate(labels) if labels else np.empty(0, np.int64)

    def _some(self, frames: np.ndarray) -> np.ndarray:
        if len(frames) > len(self._buffer):
            shape = (len(frames), self._buffer.shape[1])
            self._buffer = np.empty(shape, np.result_type(frames, self._table))
        squares = (frames**2).sum(axis=1, keepdims=True)
        if not np.isfinite(squares).all():
            raise FloatingPointError("features that are NaN, infinite or beyond float32")
        distances = np.matmul(frames, self._table, out=self._buffer[: len(frames)])
        distances += squares
        distances += self._norms
        return distances.argmin(axis=1)


def write_dictionary(folder: Path, n_clusters: int) -> None:
    """Write ``dict.km.txt``, which HuBERT's training needs beside the labels: ``<label> 1``."""
    lines = "".join(f"{label} 1\n" for label in range(n_clusters))
    write_atomically(folder / "dict.km.txt", lines.encode())


def merge(folder: Path, split: str, n_shards: int) -> Path:
    """Join the labels of all shards to ``<split>.km``, in the order of the ranks.

    Raises
    ------
    MissingPathError, InputError
        If those of a shard are missing, or end in the middle of a line.
    """
    if n_shards < 1:
        raise InputError(f"NSHARD {n_shards} is not a number of shards; give 1 or more")
    parts = [folder / f"{stem(split, rank, n_shards)}.km" for rank in range(n_shards)]
    for part in parts:
        if not part.is_file():
            raise MissingPathError(f"{part} does not exist; make it with `pipeline kmeans label`")
    target = folder / f"{split}.km"
    with write_path(target) as temporary, temporary.open("wb") as merged:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, merged)
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read() != b"\n":
                        raise InputError(f"{part} ends inside a line; label the shard again")
    return target


def read_labels(path: Path) -> Iterator[np.ndarray]:
    """Give the labels of one clip after the other: int64 [shape=(n_frames,)].

    Raises
    ------
    MissingPathError, InputError
        If the file is missing, or holds something else.
    """
    if not path.is_file():
        raise MissingPathError(
            f"{path} does not exist; make it with `pipeline kmeans label` and `merge`"
        )
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                labels = np.array(line.split(), dtype=np.int64)
            except (ValueError, OverflowError) as error:
                raise InputError(
                    f"{path}, line {number}: not a list of labels; label the shard again"
                ) from error
            if labels.size and labels.min() < 0:
                raise InputError(f"{path}, line {number}: a negative label; label the shard again")
            yield labels
