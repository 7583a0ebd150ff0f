"""Walk a manifest and write the features of one shard; finished shards are not made again.

A shard is two files for fairseq (see :mod:`pipeline.kmeans.shards`) and two of ours beside them::

    <split>_<rank>_<nshard>.json              settings, counts; "complete" once all is written
    <split>_<rank>_<nshard>.quarantine.jsonl  clips left out, with their reasons
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from pipeline.audio import decode, to_mono
from pipeline.corpus import (
    explain_full_disk,
    read_json,
    size_of,
    write_atomically,
    write_json,
)
from pipeline.counts import judge_counts
from pipeline.errors import ClipError, InputError
from pipeline.folders import COMPLETE, RUNNING
from pipeline.kmeans.manifest import Clip, Manifest, clip_name, shard_range
from pipeline.kmeans.shards import FrameWriter, make_folder, stem
from pipeline.progress import Progress

COUNT_TOLERANCE = 160  # samples by which a manifest may be wrong before fairseq and we say so
# What is wrong where the record of a shard is another.
DIFFERENCES = {
    "features": "were made with other settings",
    "source_digest": "are those of another manifest",
}

logger = logging.getLogger("pipeline")


class FeatureReader(Protocol):
    """What turns a waveform into frames. It is sent to workers, so it holds nothing open."""

    @property
    def sampling_rate(self) -> int:
        """Of the waveforms it takes, in Hz."""

    @property
    def n_dims(self) -> int:
        """Numbers in a frame."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the values, as JSON values."""

    def features(self, waveform: np.ndarray) -> np.ndarray:
        """Frames [shape=(n_frames, n_dims), dtype=float32] of a clip [shape=(n,)]."""


@dataclass(frozen=True)
class ShardReport:
    """What came of one shard."""

    rank: int
    clips: int
    frames: int
    quarantined: int


@dataclass(frozen=True)
class FeatureWork:
    """Features of the shards of a split; called with a rank, it makes that one."""

    manifest: Manifest
    reader: FeatureReader
    n_shards: int
    folder: Path
    overwrite: bool = False

    def __call__(self, rank: int) -> ShardReport:
        """Make one shard, or report it if it is there already.

        Raises
        ------
        InputError
            If there is no such shard, its files are somebody else's, or another run writes them.
        """
        clips = shard_range(self.manifest.n_clips, self.n_shards, rank)
        path = self.folder / f"{stem(self.manifest.split, rank, self.n_shards)}.npy"
        make_folder(self.folder)
        with explain_full_disk(self.folder), _hold(path) as temporary:
            return self._make(rank, clips, path, temporary)

    def _make(self, rank: int, clips: range, path: Path, temporary: Path) -> ShardReport:
        description = {
            "features": self.reader.settings,
            "source_digest": self.manifest.digest(clips.start, clips.stop),
        }
        record = path.with_suffix(".json")
        if not self.overwrite and (report := _finished(path, description)):
            return report
        write_json(record, {**description, "status": RUNNING})
        quarantined: list[dict[str, str]] = []
        lengths = self._write_frames(clips, temporary, quarantined)
        temporary.replace(path)
        write_atomically(
            path.with_suffix(".len"), "".join(f"{length}\n" for length in lengths).encode()
        )
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in quarantined)
        write_atomically(path.with_suffix(".quarantine.jsonl"), lines.encode())
        report = ShardReport(rank, len(clips), int(lengths.sum()), len(quarantined))
        facts = {"report": asdict(report), "bytes": size_of(path), "status": COMPLETE}
        write_json(record, {**description, **facts})
        return report

    def _write_frames(
        self, clips: range, temporary: Path, quarantined: list[dict[str, str]]
    ) -> np.ndarray:
        """Write all frames, and return how many each clip has."""
        lengths = np.zeros(len(clips), np.int64)
        name = f"{self.manifest.split} {clips.start}-{clips.stop}"
        with Progress(name, len(clips)) as bar, FrameWriter(temporary, self.reader.n_dims) as file:
            entries = self.manifest.clips(clips.start, clips.stop)
            for index, clip in enumerate(entries):
                try:
                    frames = self._features(clip)
                except ClipError as error:
                    left_out = {"id": clip_name(clip.path), "path": clip.path, "reason": str(error)}
                    quarantined.append({**left_out, "split": self.manifest.split})
                else:
                    file.append(frames)
                    lengths[index] = len(frames)
                bar.advance(1)
        return lengths

    def _features(self, clip: Clip) -> np.ndarray:
        audio = decode(self.manifest.audio(clip))
        found = audio.samples.shape[1]
        if clip.n_samples is not None and abs(found - clip.n_samples) > COUNT_TOLERANCE:
            logger.warning(
                "%s has %d samples, and the manifest says %d", clip.path, found, clip.n_samples
            )
        return self.reader.features(to_mono(audio, self.reader.sampling_rate))


def judge(reports: list[ShardReport], folder: Path, max_failures: int | None) -> None:
    """Pass, unless too many clips were quarantined.

    Raises
    ------
    CheckFailed
        If more were than ``max_failures``, or, without that, if none was kept.
    """
    clips = sum(report.clips for report in reports)
    quarantined = sum(report.quarantined for report in reports)
    judge_counts(clips, quarantined, max_failures, f"see the .quarantine.jsonl files in {folder}")


def _finished(path: Path, description: dict[str, Any]) -> ShardReport | None:
    """What a finished shard is known to hold; None if it is not there, or not whole."""
    record = read_json(path.with_suffix(".json"))
    if not record:
        if path.exists():
            raise InputError(
                f"{path} is there already and was not made by this command; give --overwrite to "
                "make it again, or name another folder"
            )
        return None
    for what, difference in DIFFERENCES.items():
        if record.get(what) != description[what]:
            raise InputError(
                f"the features in {path} {difference}; give --overwrite to make them again, "
                "or name another folder"
            )
    whole = record.get("status") == COMPLETE and record.get("bytes") == size_of(path)
    if not whole or not path.with_suffix(".len").is_file():
        return None
    return ShardReport(**record["report"])


@contextmanager
def _hold(path: Path) -> Iterator[Path]:
    """Give a temporary file to write to, that no other run writes to.

    Raises
    ------
    InputError
        If another run does.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("ab") as file:
        if not _try_lock(file, temporary):
            raise InputError(f"another run is writing {path}; wait for it, or name another folder")
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _try_lock(file: IO[bytes], path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run may have renamed the file between its opening and here.
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
