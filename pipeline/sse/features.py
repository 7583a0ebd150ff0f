"""Write the frames of sections, shard by shard; finished shards are not made again."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audio import SAMPLING_RATE
from pipeline.corpus import (
    read_json,
    size_of,
    sizes_below,
    write_atomically,
    write_json,
    write_path,
)
from pipeline.counts import judge_counts
from pipeline.errors import ClipError, InputError
from pipeline.folders import COMPLETE, RUNNING, lock
from pipeline.progress import Progress
from pipeline.sse.augment import Augmentation, augment
from pipeline.sse.frames import FRAMES_PER_SECOND, HOP, WINDOW, FrameSource
from pipeline.sse.lists import Sections
from pipeline.sse.sounds import Sounds
from pipeline.sse.store import (
    DESCRIPTION,
    frames_path,
    index_path,
    quarantine_path,
    write_index,
)
from pipeline.workers import WorkerPool

SECTIONS_PER_SHARD = 500
LONGEST_AT_ONCE = 20  # seconds that go through an encoder together
END_TOLERANCE_SECONDS = 0.05  # by which a section may exceed its clip
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class FeatureSettings:
    """What decides the features of a list of sections.

    Attributes
    ----------
    source : FrameSource
    augmentation : Augmentation
    n_views : int
        Changed copies of every section, besides the unchanged one.
    seed : int
    dtype : {"float32", "float16"}
    """

    source: FrameSource
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(()))
    n_views: int = 0
    seed: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Refuse views that would all be the same."""
        if self.n_views and not self.augmentation.effects:
            raise InputError("--views needs --augment, which says how they differ")
        if "hearing" in self.augmentation.effects and not self.augmentation.profiles:
            raise InputError("--augment hearing needs --profiles")

    def as_json(self) -> dict[str, Any]:
        """JSON values, for the record."""
        views = {
            "n_views": self.n_views,
            "effects": list(self.augmentation.effects) if self.n_views else [],
            "profiles": [profile.as_json() for profile in self.augmentation.profiles],
            "seed": self.seed,
        }
        return {"frames": self.source.settings, "dtype": self.dtype, **views}


@dataclass(frozen=True)
class FeatureReport:
    """What came of it."""

    sections: int
    quarantined: int
    frames: int
    n_dims: int
    shards: int


@dataclass(frozen=True)
class ShardWork:
    """Makes one shard; sent to workers."""

    root: Path
    sections: Sections
    settings: FeatureSettings
    folder: Path

    def __call__(self, shard: int) -> None:
        """Write a shard's frames, then what it leaves out, then its index."""
        rows: list[dict[str, Any]] = []
        quarantined: list[dict[str, str]] = []
        first = 0
        with write_path(frames_path(self.folder, shard)) as temporary:
            blocks = []
            for frames, row in self._views(shard, quarantined):
                blocks.append(frames)
                rows.append({**row, "first": first, "n_frames": len(frames)})
                first += len(frames)
            together = (
                np.concatenate(blocks) if blocks else np.zeros((0, self.settings.source.n_dims))
            )
            with temporary.open("wb") as file:
                np.save(file, together.astype(self.settings.dtype), allow_pickle=False)
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in quarantined)
        write_atomically(quarantine_path(self.folder, shard), lines.encode())
        write_index(index_path(self.folder, shard), rows)

    def _views(
        self, shard: int, quarantined: list[dict[str, str]]
    ) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        sections = self.sections
        start = shard * SECTIONS_PER_SHARD
        for section in range(start, min(start + SECTIONS_PER_SHARD, len(sections))):
            path = sections.paths[sections.path[section]]
            about = {
                "path": path,
                "speaker": sections.speakers[sections.speaker[section]],
                "start": float(sections.spans[section, 0]),
                "end": float(sections.spans[section, 1]),
            }
            try:
                views = [self._view(path, section, view) for view in range(self.n_rows)]
            except ClipError as error:
                reason = {"id": Path(path).stem, "path": path, "reason": str(error)}
                quarantined.append({**reason, "section": f"{about['start']:g}-{about['end']:g}"})
                continue
            for view, (frames, stretch) in enumerate(views):
                yield frames, {**about, "view": view, "stretch": stretch}

    @property
    def n_rows(self) -> int:
        """How many views a section gets, the unchanged one counted."""
        return 1 + self.settings.n_views

    def _view(self, path: str, section: int, view: int) -> tuple[np.ndarray, float]:
        """Frames of one view, and how much longer than the section it is."""
        source = self.settings.source
        span = self.sections.spans[section]
        cut = cut_section(self._waveform(path), span, source.context_seconds)
        if view == 0:
            return section_frames(cut, source), 1.0
        rng = np.random.default_rng([self.settings.seed, section, view])
        changed = augment(cut.waveform, self.settings.augmentation, rng)
        stretched = Cut(
            changed.waveform,
            round(cut.before * changed.stretch / HOP) * HOP,
            round(cut.length * changed.stretch),
        )
        return section_frames(stretched, source), changed.stretch

    def _waveform(self, path: str) -> np.ndarray:
        """The clip, kept while its sections follow one another."""
        if self._held.get("path") != path:
            self._held.update(path=path, waveform=self._sounds.waveform(path))
        return np.asarray(self._held["waveform"])

    @cached_property
    def _held(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _sounds(self) -> Sounds:
        return Sounds(self.root)


@dataclass(frozen=True)
class Cut:
    """A section with what is around it.

    Attributes
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
    before : int
        Samples of it before the section, a multiple of a frame's 320.
    length : int
        Samples of the section.
    """

    waveform: np.ndarray
    before: int
    length: int


def cut_section(waveform: np.ndarray, span: np.ndarray, context_seconds: float) -> Cut:
    """Cut a section out of its clip.

    Raises
    ------
    ClipError
        If the section reaches beyond the clip, or is shorter than a frame.
    """
    seconds = len(waveform) / SAMPLING_RATE
    if span[1] > seconds + END_TOLERANCE_SECONDS:
        raise ClipError(
            f"section {span[0]:g} to {span[1]:g} s reaches beyond the clip, which ends at "
            f"{seconds:g} s"
        )
    start, end = (round(float(second) * SAMPLING_RATE) for second in span)
    end = min(end, len(waveform))
    if end - start < HOP:
        raise ClipError(f"section {span[0]:g} to {span[1]:g} s is shorter than a frame")
    context = round(context_seconds * SAMPLING_RATE)
    before = min(start, context) // HOP * HOP
    return Cut(waveform[start - before : end + context], before, end - start)


def section_frames(cut: Cut, source: FrameSource) -> np.ndarray:
    """Frames of a section: float32 [shape=(length // 320, n_dims)].

    Long ones go through in pieces, each with the same context on both sides.
    """
    n_frames = max(cut.length // HOP, 1)
    context = round(source.context_seconds * SAMPLING_RATE) // HOP * HOP
    piece = LONGEST_AT_ONCE * FRAMES_PER_SECOND
    parts = []
    for first in range(0, n_frames, piece):
        n_here = min(piece, n_frames - first)
        start = max(cut.before + first * HOP - context, 0)
        skipped = (cut.before + first * HOP - start) // HOP
        stop = cut.before + (first + n_here) * HOP + context
        waveform = cut.waveform[start:stop]
        # The last frame's window reaches a little beyond: into silence, where the clip ends.
        wanted = (skipped + n_here - 1) * HOP + WINDOW
        waveform = np.pad(waveform, (0, max(wanted - len(waveform), 0)))
        parts.append(source.frames(waveform)[skipped : skipped + n_here])
    return source.normalize(np.concatenate(parts))


def make_features(
    root: Path,
    sections: Sections,
    settings: FeatureSettings,
    folder: Path,
    *,
    num_workers: int,
    overwrite: bool = False,
    max_failures: int | None = None,
) -> FeatureReport:
    """Write the features of a list of sections, or go on where a run stopped.

    Raises
    ------
    InputError
        If the folder holds features of another list or of other settings.
    CheckFailed
        If too many sections were quarantined.
    """
    shards = range(-(-len(sections) // SECTIONS_PER_SHARD))
    description = {**settings.as_json(), "sections": digest(sections), "n_shards": len(shards)}
    Sounds(root)
    with lock([folder], exclusive=True):
        if _begin(folder, description, overwrite=overwrite):
            todo = [shard for shard in shards if not index_path(folder, shard).is_file()]
            work = ShardWork(root, sections, settings, folder)
            n_sections = len(sections)
            with (
                Progress(
                    "features", n_sections, n_sections - len(todo) * SECTIONS_PER_SHARD
                ) as bar,
                WorkerPool(work, num_workers if len(todo) > 1 else 0) as pool,
            ):
                for _ in pool.run(todo):
                    bar.advance(SECTIONS_PER_SHARD)
            report = _count(folder, len(sections), len(shards), settings)
            write_json(
                folder / DESCRIPTION,
                {
                    **description,
                    "report": asdict(report),
                    "files": sizes_below(
                        folder, [path for shard in shards for path in _files(folder, shard)]
                    ),
                    "status": COMPLETE,
                },
            )
        report = FeatureReport(**read_json(folder / DESCRIPTION)["report"])
    judge_counts(
        report.sections,
        report.quarantined,
        max_failures,
        f"see the quarantine files in {folder}",
    )
    return report


def digest(sections: Sections) -> str:
    """SHA-256 of a list."""
    import hashlib

    found = hashlib.sha256(json.dumps([sections.paths, sections.speakers]).encode())
    for column in (sections.path, sections.speaker, sections.spans):
        found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()


def _begin(folder: Path, description: dict[str, Any], *, overwrite: bool) -> bool:
    """Whether there is something left to do."""
    before = read_json(folder / DESCRIPTION)
    if before and overwrite:
        for shard in range(int(before.get("n_shards", 0))):
            index_path(folder, shard).unlink(missing_ok=True)
        before = {}
    if before:
        changed = [name for name, value in description.items() if before.get(name) != value]
        if changed:
            raise InputError(
                f"the features in {folder} were made otherwise ({', '.join(changed)} differ); give "
                "--overwrite to make them again, or name another folder"
            )
        if before.get("status") == COMPLETE and not _forget_damaged(folder, before):
            return False
    write_json(folder / DESCRIPTION, {**description, "status": RUNNING})
    return True


def _forget_damaged(folder: Path, description: dict[str, Any]) -> bool:
    """Whether shards are no longer what was written; they are then made again."""
    sizes = description.get("files", {})
    damaged = [name for name, size in sizes.items() if size_of(folder / name) != size]
    for shard in range(description["n_shards"]):
        if any(path.name in damaged for path in _files(folder, shard)):
            index_path(folder, shard).unlink(missing_ok=True)
    return bool(damaged)


def _files(folder: Path, shard: int) -> tuple[Path, ...]:
    return tuple(of(folder, shard) for of in (index_path, frames_path, quarantine_path))


def _count(
    folder: Path, n_sections: int, n_shards: int, settings: FeatureSettings
) -> FeatureReport:
    quarantined = sum(
        quarantine_path(folder, shard).read_bytes().count(b"\n") for shard in range(n_shards)
    )
    arrays = (
        np.load(frames_path(folder, shard), mmap_mode="r", allow_pickle=False)
        for shard in range(n_shards)
    )
    frames = sum(len(array) for array in arrays)
    return FeatureReport(n_sections, quarantined, frames, settings.source.n_dims, n_shards)
