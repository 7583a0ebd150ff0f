"""Frames of sections on disk: memory-mapped, one pair of files per shard.

::

    features.json              settings, number of shards, counts; "complete" once all is there
    frames_00000.npy           float32 or float16 [n_frames, n_dims], sections one below the other
    sections_00000.parquet     path, speaker, start, end, view, stretch, first, n_frames of each
    quarantine_00000.jsonl     sections that could not be used, and why

View 0 is the section as it is; others are changed as :mod:`pipeline.sse.augment` has it.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.arrays import map_array
from pipeline.corpus import read_json, write_path
from pipeline.errors import InputError, MissingPathError
from pipeline.folders import COMPLETE
from pipeline.sse.frames import FRAMES_PER_SECOND
from pipeline.sse.lists import Segments

DESCRIPTION = "features.json"
SCHEMA = pa.schema(
    {
        **dict.fromkeys(("path", "speaker"), pa.string()),
        **dict.fromkeys(("start", "end"), pa.float64()),
        "view": pa.int16(),
        "stretch": pa.float64(),
        **dict.fromkeys(("first", "n_frames"), pa.int64()),
    }
)
# Half a frame after the start of a section lies the middle of its first frame.
FIRST_MIDDLE_SECONDS = 0.5 / FRAMES_PER_SECOND
ROUNDING = 1e-6  # frames


@dataclass(frozen=True)
class FrameRanges:
    """Where the frames of segments lie.

    Attributes
    ----------
    rows : np.ndarray [shape=(n,), dtype=int64]
        Row of the store for each.
    first, last : np.ndarray [shape=(n,), dtype=int64]
        Frames ``first`` to ``last - 1`` of that row.
    """

    rows: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        """Count the segments."""
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> "FrameRanges":
        """Some of them, in the order of ``chosen``."""
        return FrameRanges(self.rows[chosen], self.first[chosen], self.last[chosen])


@dataclass(frozen=True)
class Store:
    """Frames of sections.

    Attributes
    ----------
    folder : Path
    settings : dict
        What made the frames, as :attr:`pipeline.sse.frames.FrameSource.settings` has it.
    paths, speakers : tuple of str
        The distinct ones.
    path, speaker, view, shard : np.ndarray [shape=(n,), dtype=int32]
        Of every row; a section has a row for each of its views.
    spans : np.ndarray [shape=(n, 2), dtype=float64]
        Start and end of the section in its clip, in seconds.
    stretch : np.ndarray [shape=(n,), dtype=float64]
        How many times as long as the section its view is.
    first, n_frames : np.ndarray [shape=(n,), dtype=int64]
        Place in the shard.
    """

    folder: Path
    settings: dict[str, Any]
    paths: tuple[str, ...]
    speakers: tuple[str, ...]
    path: np.ndarray
    speaker: np.ndarray
    view: np.ndarray
    shard: np.ndarray
    spans: np.ndarray
    stretch: np.ndarray
    first: np.ndarray
    n_frames: np.ndarray
    maps: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.path)

    @property
    def n_dims(self) -> int:
        """Numbers in a frame."""
        return int(self.maps[0].shape[1])

    @property
    def n_views(self) -> int:
        """How many views a section has, the unchanged one counted."""
        return int(self.view.max()) + 1

    def frames(self, row: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """Frames of a row, or some of them: [shape=(n, n_dims)], on disk until they are used."""
        start = int(self.first[row])
        end = start + (int(self.n_frames[row]) if last is None else last)
        return self.maps[self.shard[row]][start + first : end]

    def ranges(self, rows: np.ndarray, spans: np.ndarray) -> FrameRanges:
        """Frames whose middle lies in a stretch of a row's section; at least one.

        Parameters
        ----------
        rows : np.ndarray [shape=(n,)]
        spans : np.ndarray [shape=(n, 2)]
            In seconds of the clip; a view that is stretched has them where they have moved to.
        """
        moved = (spans - self.spans[rows, :1]) * self.stretch[rows, None]
        place = (moved - FIRST_MIDDLE_SECONDS) * FRAMES_PER_SECOND
        n_frames = self.n_frames[rows]
        first = np.ceil(place[:, 0] - ROUNDING).astype(np.int64).clip(0, n_frames - 1)
        last = np.floor(place[:, 1] + ROUNDING).astype(np.int64) + 1
        return FrameRanges(rows, first, np.minimum(np.maximum(last, first + 1), n_frames))

    def locate(self, segments: Segments) -> FrameRanges:
        """Frames of segments in the unchanged sections that hold them.

        Raises
        ------
        InputError
            If the store has not the section of a segment, or has it with another speaker.
        """
        held = segments.sections
        rows = np.empty(len(segments), np.int64)
        known: dict[tuple[int, int, float, float], int] = {}
        names = zip(held.path.tolist(), held.speaker.tolist(), *held.spans.T.tolist(), strict=True)
        for index, key in enumerate(names):
            row = known.get(key)
            if row is None:
                row = known[key] = self._find(held.paths[key[0]], held.speakers[key[1]], *key[2:])
            rows[index] = row
        return self.ranges(rows, segments.spans)

    def _find(self, path: str, speaker: str, start: float, end: float) -> int:
        row = self._sections.get((path, round(start, 3), round(end, 3)))
        if row is None:
            reason = "it has other sections of that clip" if path in self.paths else "nor the clip"
            raise InputError(
                f"{self.folder} has no section {start:g} to {end:g} s of {path} ({reason}); make "
                "the features from the list that the segments came from"
            )
        found = self.speakers[self.speaker[row]]
        if found != speaker:
            raise InputError(
                f"unknown speaker {speaker!r} of {path}: in {self.folder} that section is spoken "
                f"by {found!r}; correct the list, or make the features again"
            )
        return row

    @cached_property
    def _sections(self) -> dict[tuple[str, float, float], int]:
        return {
            (self.paths[self.path[row]], *(round(float(x), 3) for x in self.spans[row])): int(row)
            for row in np.flatnonzero(self.view == 0)
        }

    def in_views(self, ranges: FrameRanges, rng: np.random.Generator) -> FrameRanges:
        """The same stretches of unchanged sections in views drawn at random; itself if none are."""
        if self.n_views == 1:
            return ranges
        place = rng.integers(self.n_views, size=len(ranges))
        rows = self._views[np.searchsorted(self._views[:, 0], ranges.rows), place]
        stretch, n_frames = self.stretch[rows], self.n_frames[rows]
        first = np.minimum((ranges.first * stretch).astype(np.int64), n_frames - 1)
        last = np.ceil(ranges.last * stretch).astype(np.int64)
        return FrameRanges(rows, first, np.minimum(np.maximum(last, first + 1), n_frames))

    @cached_property
    def _views(self) -> np.ndarray:
        return self.views_of()

    def views_of(self) -> np.ndarray:
        """Rows of every section's views: int64 [shape=(n_sections, n_views)], -1 where missing."""
        rows = np.flatnonzero(self.view == 0)
        number = np.cumsum(self.view == 0) - 1  # views of a section follow one another
        table = np.full((len(rows), self.n_views), -1, np.int64)
        table[number, self.view] = np.arange(len(self))
        return table


def open_store(folder: Path) -> Store:
    """Open what ``pipeline sse features`` has made.

    Raises
    ------
    MissingPathError, InputError
        If there is nothing, it is not finished, damaged, or holds NaN.
    """
    description = read_json(folder / DESCRIPTION)
    if not description:
        raise MissingPathError(
            f"{folder} holds no features ({DESCRIPTION} is missing); "
            "make them with `pipeline sse features`"
        )
    if description.get("status") != COMPLETE:
        raise InputError(
            f"{folder} is not finished; run the same `pipeline sse features` again to go on"
        )
    shards = range(int(description["n_shards"]))
    indexes = [_read_index(index_path(folder, shard)) for shard in shards]
    table = pa.concat_tables(indexes)
    maps = tuple(_map_frames(frames_path(folder, shard)) for shard in shards)
    if not len(table):
        raise InputError(f"{folder} holds no section; see its quarantine files for the reasons")
    columns = {name: table[name].to_numpy() for name in SCHEMA.names[2:]}
    path, speaker = (
        table[name].combine_chunks().dictionary_encode() for name in ("path", "speaker")
    )
    return Store(
        folder,
        description["frames"],
        tuple(path.dictionary.to_pylist()),
        tuple(speaker.dictionary.to_pylist()),
        path.indices.to_numpy().astype(np.int32),
        speaker.indices.to_numpy().astype(np.int32),
        columns["view"].astype(np.int32),
        np.repeat(np.arange(len(indexes), dtype=np.int32), [len(index) for index in indexes]),
        np.stack([columns["start"], columns["end"]], axis=1),
        columns["stretch"],
        columns["first"],
        columns["n_frames"],
        maps,
    )


def check_finite(store: Store) -> None:
    """Read all of a store once, and refuse what nothing can be learned from.

    Raises
    ------
    InputError
        If a frame is NaN or infinite; the message names the section.
    """
    for row in range(len(store)):
        # The sum of finite float32 numbers is finite in float64, and cheaper than to ask each.
        if not np.isfinite(store.frames(row).sum(dtype=np.float64)):
            start, end = store.spans[row]
            raise InputError(
                f"{store.folder} holds NaN or infinite features, in {start:g} to {end:g} s of "
                f"{store.paths[store.path[row]]}; make them again with --overwrite"
            )


def write_index(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write what a shard holds."""
    with write_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)


def frames_path(folder: Path, shard: int) -> Path:
    """Array file of a shard."""
    return folder / f"frames_{shard:05d}.npy"


def index_path(folder: Path, shard: int) -> Path:
    """Index of a shard, which is written last."""
    return folder / f"sections_{shard:05d}.parquet"


def quarantine_path(folder: Path, shard: int) -> Path:
    """What a shard leaves out."""
    return folder / f"quarantine_{shard:05d}.jsonl"


def runs(sorted_values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and end of every run of equal values."""
    edges = np.flatnonzero(np.diff(sorted_values)) + 1
    yield from itertools.pairwise([0, *edges.tolist(), len(sorted_values)])


def _read_index(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path} is missing or damaged; make the features again with --overwrite"
        ) from error


def _map_frames(path: Path) -> np.ndarray:
    # A plain array on the same memory.
    return np.asarray(map_array(path, "make the features again with --overwrite"))
