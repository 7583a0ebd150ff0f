"""Feature shards: ``<split>_<rank>_<nshard>.npy`` and ``.len``, as fairseq's feature_utils.py has.

``.npy`` holds the frames of all clips of the shard, one below the other; ``.len`` the number of
frames of each clip, a line per clip of the manifest. A clip that was left out has a line ``0``.
"""

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from pipeline.arrays import map_array
from pipeline.corpus import flush_to_disk
from pipeline.errors import InputError, MissingPathError

HEADER_BYTES = 128
BLOCK_BYTES = 8 * 2**20  # of frames that are read at once


def stem(split: str, rank: int, n_shards: int) -> str:
    """File name of a shard, without its suffix."""
    return f"{split}_{rank}_{n_shards}"


@dataclass(frozen=True)
class FeatureShard:
    """A shard, memory-mapped.

    Attributes
    ----------
    path : Path
        The ``.npy`` file.
    frames : np.ndarray [shape=(n_frames, n_dims), dtype=float32]
    lengths : np.ndarray [shape=(n_clips,), dtype=int64]
        Frames of every clip; they add up to ``n_frames``.
    """

    path: Path
    frames: np.ndarray
    lengths: np.ndarray

    @property
    def offsets(self) -> np.ndarray:
        """First frame of every clip, and the end of the last: int64 [shape=(n_clips + 1,)]."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def clips(self) -> Iterator[np.ndarray]:
        """Give the frames of one clip after the other."""
        for start, stop in itertools.pairwise(self.offsets):
            yield self.frames[start:stop]

    def groups(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give the frames of some clips, and how many each has.

        A group has at most ``size`` frames, or one clip.
        """
        offsets = self.offsets
        first = 0
        while first < len(self.lengths):
            end = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
            end = max(end, first + 1)
            yield self.frames[offsets[first] : offsets[end]], self.lengths[first:end]
            first = end


def open_shard(folder: Path, split: str, rank: int, n_shards: int) -> FeatureShard:
    """Map a shard of ours or of fairseq's.

    Raises
    ------
    MissingPathError, InputError
        If a file is missing, truncated or not what its name says, or the two disagree.
    """
    path = folder / f"{stem(split, rank, n_shards)}.npy"
    for needed in (path, path.with_suffix(".len")):
        if not needed.is_file():
            raise MissingPathError(
                f"{needed} does not exist; make shard {rank} of {n_shards} first, "
                "with `pipeline kmeans mfcc` or another that makes features"
            )
    frames, lengths = _map_frames(path), _read_lengths(path.with_suffix(".len"))
    if lengths.sum() != len(frames):
        raise InputError(
            f"{path} has {len(frames)} frames and {path.with_suffix('.len').name} counts "
            f"{lengths.sum()}; make the shard again with --overwrite"
        )
    return FeatureShard(path, frames, lengths)


def open_shards(folder: Path, split: str, n_shards: int) -> list[FeatureShard]:
    """Map all shards of a split; their frames have the same dimensions.

    Raises
    ------
    MissingPathError, InputError
        If one cannot be opened, or differs from the first in its dimensions.
    """
    if n_shards < 1:
        raise InputError(f"NSHARD {n_shards} is not a number of shards; give 1 or more")
    shards = [open_shard(folder, split, rank, n_shards) for rank in range(n_shards)]
    for shard in shards:
        if shard.frames.shape[1] != shards[0].frames.shape[1]:
            raise InputError(
                f"{shard.path} has {shard.frames.shape[1]} dimensions and {shards[0].path} "
                f"{shards[0].frames.shape[1]}; make all shards with the same command"
            )
    return shards


def check_finite(frames: np.ndarray, path: Path) -> None:
    """Refuse frames that no distance can be taken of.

    Raises
    ------
    InputError
        If one holds NaN or infinity.
    """
    # The sum of finite float32 numbers is finite in float64, and cheaper than to ask each.
    if not np.isfinite(frames.sum(dtype=np.float64)):
        raise InputError(f"{path} holds NaN or infinite features; make the shard again")


class FrameWriter:
    """An array file that grows by a clip at a time; its header is known when all are there.

    Parameters
    ----------
    path : Path
        Written as it stands; rename it when it is whole.
    n_dims : int
    """

    def __init__(self, path: Path, n_dims: int) -> None:
        self._path, self._n_dims = path, n_dims
        self.n_frames = 0
        self._file = path.open("wb")
        self._file.write(bytes(HEADER_BYTES))

    def __enter__(self) -> "FrameWriter":
        """Write to the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the header in its place and the bytes on disk, unless something failed."""
        if error is None:
            self._file.seek(0)
            self._file.write(_header(self.n_frames, self._n_dims))
            flush_to_disk(self._file)
        self._file.close()

    def append(self, frames: np.ndarray) -> None:
        """Add frames: float32 [shape=(n, n_dims)]."""
        assert frames.ndim == 2 and frames.shape[1] == self._n_dims, frames.shape
        self._file.write(np.ascontiguousarray(frames, "<f4").data)
        self.n_frames += len(frames)


def _header(n_frames: int, n_dims: int) -> bytes:
    """Header of format 1.0, which numpy pads so that it keeps its length as the array grows."""
    buffer = io.BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": (n_frames, n_dims)}
    np.lib.format.write_array_header_1_0(buffer, description)
    header = buffer.getvalue()
    assert len(header) == HEADER_BYTES, len(header)
    return header


def _map_frames(path: Path) -> np.ndarray:
    frames = map_array(path, "make the shard again with --overwrite")
    if frames.ndim != 2 or frames.dtype != np.float32:
        found = f"{frames.dtype} {frames.shape}"
        raise InputError(f"{path} is {found}, not float32 features [frames, dimensions]")
    # A plain array on the same memory: slices of a memmap carry a costly object each.
    return np.asarray(frames)


def _read_lengths(path: Path) -> np.ndarray:
    try:
        lengths = np.array(path.read_bytes().split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{path} does not hold a number of frames per line; make the shard again"
        ) from error
    if (lengths < 0).any():
        raise InputError(f"{path} holds a negative number of frames; make the shard again")
    return lengths


def make_folder(folder: Path) -> None:
    """Make a folder that is to be written to.

    Raises
    ------
    InputError
        If that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made a folder: {error.strerror}; name another"
        ) from error
