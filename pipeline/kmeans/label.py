"""Replace frames by the numbers of their nearest centroids."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.corpus import write_atomically, write_path
from pipeline.errors import InputError, MissingPathError
from pipeline.kmeans.nearest import Nearest
from pipeline.kmeans.shards import make_folder, open_shard, stem

FRAMES_AT_ONCE = 65_536


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
        nearest = Nearest(self.centroids, len(shard.frames))
        words = Words(len(self.centroids))
        path = self.output / f"{stem(self.split, rank, self.n_shards)}.km"
        with write_path(path) as temporary, temporary.open("wb") as file:
            for frames, lengths in shard.groups(FRAMES_AT_ONCE):
                try:
                    file.write(words.lines(nearest(frames, lengths), lengths))
                except FloatingPointError as error:
                    raise InputError(f"{shard.path} holds {error}; make the shard again") from error
        return LabelReport(rank, len(shard.lengths), len(shard.frames))


class Words:
    """Writes labels.

    Parameters
    ----------
    n_clusters : int
    """

    def __init__(self, n_clusters: int) -> None:
        words = np.array([f"{label} ".encode() for label in range(n_clusters)])
        # A row per label: its digits and a space, filled up with zeros.
        self._cells = words.view(np.uint8).reshape(n_clusters, -1)
        self._sizes = (self._cells > 0).sum(axis=1)

    def lines(self, labels: np.ndarray, lengths: np.ndarray) -> bytes:
        """Write a line per clip: its labels between spaces.

        Parameters
        ----------
        labels : np.ndarray [shape=(n_frames,), dtype=int64]
        lengths : np.ndarray [shape=(n_clips,), dtype=int64]
            Frames of every clip.
        """
        cells = self._cells[labels]
        ends = np.cumsum(lengths)
        last = ends[lengths > 0] - 1
        cells[last, self._sizes[labels[last]] - 1] = ord("\n")
        text = cells[cells > 0]
        if not lengths.all():
            written = np.concatenate([[0], np.cumsum(self._sizes[labels])])
            text = np.insert(text, written[ends[lengths == 0]], ord("\n"))
        return text.tobytes()


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
