"""``pipeline import --streaming``: an archive becomes a corpus while it is read, in one pass.

Clips are converted as they come and laid into a file for each shard, in the spool; when the
archive has come to its end, the engine makes the shards from these files and removes them one by
one. Clips that come before the tables that name them wait in the spool as they are. So the disk
holds the corpus or the spool of what is still to become of it, and at most one shard a worker of
both; memory holds a few clips a thread, and some 60 bytes for each row of the tables.

Killed before the archive was read to its end, the next run reads it again; killed later, it goes
on. Either way it ends in the bytes that an import without ``--streaming`` gives.
"""

import io
import json
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO

from pipeline.audio import SAMPLING_RATE
from pipeline.commonvoice.archive import (
    LIMITS,
    ArchiveStream,
    Limits,
    Member,
    explain_archive,
    fingerprint,
    read_members,
    reading,
)
from pipeline.commonvoice.layout import CommonVoice
from pipeline.commonvoice.release import (
    DEFAULT_SPLITS,
    Release,
    create,
    not_a_release,
)
from pipeline.commonvoice.spool import Placement, ShardSounds, Spool
from pipeline.corpus import explain_full_disk, read_json
from pipeline.counts import SplitCounts, StageReport, judge
from pipeline.errors import ClipError, HearingAnalysisError, InputError
from pipeline.folders import COMPLETE, RUN_FILE, lock, status_of
from pipeline.imports.clips import Converter, Sound
from pipeline.imports.stage import ImportStage
from pipeline.shards import Output, Task, is_done
from pipeline.stage import RunOptions, plan, run_stage

SPOOL_FOLDER = "spool"
CLIPS_PER_THREAD = 4  # under way at once


@dataclass
class StreamedRelease(CommonVoice):
    """A release of which only the tables are on disk; its clips are in the spool, converted.

    Parameters
    ----------
    source : Path
        Only the name of the archive is used.
    unpack_to : Path
        The spool.
    output : Path
        The corpus: what is in there needs no room in the spool any more.
    """

    output: Path = Path()
    tasks: tuple[Task, ...] = ()
    archive_digest: str = field(default="")

    @cached_property
    def spool(self) -> Spool:
        """The spool."""
        return Spool(self.unpack_to)

    @cached_property
    def release(self) -> Release:
        """The tables."""
        return Release(self.spool.tables)

    def digest(self, splits: tuple[str, ...]) -> str:
        """Return the fingerprint of the archive."""
        return self.archive_digest

    def _sounds(self, split: str, start: int) -> Callable[[str], Path | Sound]:
        finished = (Output(self.output, {}),)
        for task in self.tasks:
            if (path := self.spool.shard(task)).exists() and is_done(task, finished):
                path.unlink(missing_ok=True)
        wanted = next(task for task in self.tasks if (task.split, task.start) == (split, start))
        return ShardSounds(self.spool.shard(wanted))


def stream_archive(stage: ImportStage, options: RunOptions) -> StageReport:
    """Import an archive on disk while it is read; see :func:`stream_release`."""
    archive = stage.layout.source
    report = finished_report(stage, fingerprint(archive), options)
    if report:
        Spool(stage.output / SPOOL_FOLDER).remove()  # of a run that was killed as it ended
        return report
    with reading(archive) as stream:
        return stream_release(
            stream,
            stage.output,
            name=archive,
            sampling_rate=stage.sampling_rate,
            splits=stage.splits,
            limit=stage.limit,
            keep_original=stage.keep_original,
            options=options,
            known_fingerprint=fingerprint(archive),
        )


def stream_release(
    stream: BinaryIO,
    output: Path,
    *,
    name: str | Path,
    sampling_rate: int = SAMPLING_RATE,
    splits: tuple[str, ...] | None = None,
    limit: int | None = None,
    keep_original: bool = False,
    options: RunOptions | None = None,
    known_fingerprint: str | None = None,
    limits: Limits = LIMITS,
) -> StageReport:
    """Import a release from the bytes of its archive.

    Parameters
    ----------
    stream : BinaryIO
        A tar, compressed with gzip or not; read to its end in one pass.
    output : Path
        Root of the corpus to make.
    name : str or Path
        The archive, for messages; ``run.json`` remembers its file name.
    sampling_rate, splits, limit, keep_original
        As those of :class:`~pipeline.imports.stage.ImportStage`.
    options : RunOptions, optional
    known_fingerprint : str, optional
        That of the archive, where it is known before it is read: a spool that has all of it
        already is used, and nothing read.
    limits : Limits
        What the archive may hold.

    Returns
    -------
    StageReport

    Raises
    ------
    InputError
        If the stream is no release, is damaged or cut off, or holds more than the limits; or if
        the output holds something else.
    CheckFailed
        If too many clips were quarantined.
    """
    options = options or RunOptions()
    if options.shard:
        raise InputError(
            "--streaming and --shard exclude each other, since every task of an array would read "
            "the whole archive; unpack it, and import from the folder"
        )
    layout = StreamedRelease(Path(name), output / SPOOL_FOLDER, output)
    spool = layout.spool
    stage = ImportStage(layout, output, sampling_rate, splits, limit, keep_original)
    check_output(stage, known_fingerprint, options)
    spool.check_owner()
    with lock([spool.folder], exclusive=True), explain_full_disk(output):
        if options.overwrite or not spool.holds(known_fingerprint, stage.config):
            spool.clear()
            try:
                with explain_archive(str(name)):
                    _Reader(stage, layout, max(1, options.num_workers)).read(stream, limits)
            except HearingAnalysisError:
                spool.remove()  # of no use to any run
                with suppress(OSError):  # it holds something
                    output.rmdir()
                raise
        # A new layout: what the old one knows of the tables may be older than the last of them.
        layout = replace(layout, archive_digest=spool.fingerprint() or "")
        stage = replace(stage, layout=layout)
        layout.tasks = tuple(plan(stage.split_sizes()))
        report = run_stage(stage, options)
        spool.remove()
    return report


def finished_report(stage: ImportStage, digest: str, options: RunOptions) -> StageReport | None:
    """Report of a corpus that is complete already, so that its archive need not be read again."""
    if options.overwrite or check_output(stage, digest, options) != COMPLETE:
        return None
    run = read_json(stage.output / RUN_FILE)
    counts = {split: SplitCounts(**numbers) for split, numbers in run["splits"].items()}
    tasks = plan({split: count.clips_in for split, count in counts.items()})
    if not all(is_done(task, (Output(stage.output, {}),)) for task in tasks):
        return None
    report = StageReport(stage.name, (str(stage.output),), counts, True, 0.0)
    return judge(report, options.max_failures)


def check_output(stage: ImportStage, digest: str | None, options: RunOptions) -> str | None:
    """Say how far the output is, before an archive of many gigabytes is read.

    Raises
    ------
    InputError
        If the output folder holds something else, or was made with other settings.
    """
    if options.overwrite:
        return None
    digest = digest or read_json(stage.output / RUN_FILE).get("source_digest")
    config = json.loads(json.dumps(stage.config))
    return status_of(stage.output, {"stage": stage.name, "config": config, "source_digest": digest})


def peek(archive: Path, splits: tuple[str, ...] | None, folder: Path) -> CommonVoice:
    """Take nothing but the tables out of an archive, for a dry run.

    Parameters
    ----------
    archive : Path
    splits : tuple of str, optional
        The archive is read until the tables of these, or of the usual ones, have come.
    folder : Path
        An empty one, for the tables.
    """
    layout = CommonVoice(archive, folder)
    layout.release = Release(folder)
    with reading(archive) as stream, explain_archive(str(archive)):
        for member in read_members(ArchiveStream(stream), str(archive)):
            if member.clip is None:
                with create(folder / member.name, str(archive)) as file:
                    shutil.copyfileobj(member.content, file)
                if has_tables(layout.release, splits):
                    break
    if not layout.splits:
        raise not_a_release(str(archive))
    return layout


def has_tables(release: Release, splits: tuple[str, ...] | None) -> bool:
    """Whether the tables of all wanted splits are there."""
    return set(splits or DEFAULT_SPLITS) <= release.tables().keys()


class _Reader:
    """Reads the archive into the spool; clips are converted in threads, which libsndfile lets."""

    def __init__(self, stage: ImportStage, layout: StreamedRelease, n_threads: int) -> None:
        self._stage, self._layout, self._spool = stage, layout, layout.spool
        self._source = str(layout.source)
        self._placement: Placement | None = None
        self._converter = Converter(stage.sampling_rate, keep_original=stage.keep_original)
        self._threads = ThreadPoolExecutor(n_threads)
        self._under_way: deque[tuple[str, tuple[Task, ...], Future[Sound | ClipError]]] = deque()
        self._most_under_way = CLIPS_PER_THREAD * n_threads

    def read(self, stream: BinaryIO, limits: Limits) -> None:
        archive = ArchiveStream(stream)
        try:
            for member in read_members(archive, self._source, limits):
                if member.clip is None:
                    self._take_table(member)
                elif self._placement is None:
                    self._spool.wait(member.clip, member.content.read())
                else:
                    self._take_clip(member.clip, member.content)
            if self._placement is None:
                self._place_waiting()
            self._collect(0)
        finally:
            self._threads.shutdown(cancel_futures=True)
        self._spool.complete(archive.fingerprint(), self._stage.config)

    def _take_table(self, member: Member) -> None:
        with create(self._spool.tables / member.name, self._source) as file:
            shutil.copyfileobj(member.content, file)
        if self._placement is None and has_tables(self._layout.release, self._stage.splits):
            self._place_waiting()

    def _place_waiting(self) -> None:
        if not self._layout.splits:
            raise not_a_release(self._source)
        tasks = plan(self._stage.split_sizes())
        tables = {split: self._layout.table(split) for split in self._stage.wanted}
        self._spool.open_shards(tasks)
        self._placement = Placement(tables, tasks, self._source)
        for name, content in self._spool.waiting():
            self._take_clip(name, io.BytesIO(content))

    def _take_clip(self, name: str, file: IO[bytes]) -> None:
        assert self._placement is not None, "the tables are there"
        tasks = self._placement.shards_of(name)
        if tasks:  # what no table names is not even read
            sound = self._threads.submit(self._sound, name, file.read())
            self._under_way.append((name, tasks, sound))
            self._collect(self._most_under_way)

    def _sound(self, name: str, content: bytes) -> Sound | ClipError:
        try:
            return self._converter.convert(content, None, name)
        except ClipError as error:
            return error

    def _collect(self, n_left: int) -> None:
        """Place what has been converted, in the order of the archive, until so many are left."""
        while len(self._under_way) > n_left:
            name, tasks, future = self._under_way.popleft()
            sound = future.result()
            for task in tasks:
                self._spool.place(task, name, sound)
