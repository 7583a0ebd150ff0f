"""From an archive to a corpus: out of its file, or out of the connection while it comes in."""

import io
from dataclasses import dataclass
from pathlib import Path

from pipeline.audio import SAMPLING_RATE
from pipeline.commonvoice.streaming import (
    SPOOL_FOLDER,
    StreamedRelease,
    finished_report,
    stream_archive,
    stream_release,
)
from pipeline.counts import StageReport
from pipeline.download.service import Collective, Listing
from pipeline.download.transfer import Archive, open_stream
from pipeline.imports.detect import open_layout
from pipeline.imports.stage import ImportStage
from pipeline.stage import RunOptions, run_stage


@dataclass(frozen=True)
class Wanted:
    """The corpus to make.

    Attributes
    ----------
    output : Path
    splits : tuple of str, optional
    limit : int, optional
        Only the first rows of every split.
    options : RunOptions
    """

    output: Path
    splits: tuple[str, ...] | None
    limit: int | None
    options: RunOptions


def import_archive(archive: Archive, wanted: Wanted, *, streaming: bool) -> StageReport:
    """Import an archive on disk, unpacked first or, if ``streaming``, while it is read."""
    layout = open_layout(archive.path, wanted.output, "commonvoice")
    stage = ImportStage(layout, wanted.output, SAMPLING_RATE, wanted.splits, wanted.limit)
    return stream_archive(stage, wanted.options) if streaming else run_stage(stage, wanted.options)


def import_download(
    service: Collective, listing: Listing, wanted: Wanted
) -> tuple[Archive, StageReport]:
    """Import an archive while it is downloaded, and keep none of it."""
    grant = service.grant(listing)
    with open_stream(service, listing, grant, wanted.output) as stream:
        report = stream_release(
            stream,
            wanted.output,
            name=grant.filename,
            splits=wanted.splits,
            limit=wanted.limit,
            options=wanted.options,
        )
    return Archive.granted(listing, grant, wanted.output), report


def finish_import(archive: Archive, wanted: Wanted) -> StageReport | None:
    """Do what is left of an import whose download had come to its end.

    Parameters
    ----------
    archive : Archive
        As recorded then.
    wanted : Wanted

    Returns
    -------
    StageReport, optional
        None if the archive has to be downloaded again for it.
    """
    name, options = archive.path.name, wanted.options
    layout = StreamedRelease(Path(name), wanted.output / SPOOL_FOLDER, wanted.output)
    stage = ImportStage(layout, wanted.output, SAMPLING_RATE, wanted.splits, wanted.limit)
    known = archive.fingerprint
    if known is None or options.overwrite:
        return None
    report = finished_report(stage, known, options)
    if report or layout.spool.fingerprint() != known:
        return report
    return stream_release(
        io.BytesIO(),  # all of it is in the spool
        wanted.output,
        name=name,
        splits=wanted.splits,
        limit=wanted.limit,
        options=options,
        known_fingerprint=known,
    )
