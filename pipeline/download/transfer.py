"""The two ways to take an archive in, and the record of what was taken.

:func:`download_archive` keeps it in a file, :func:`open_stream` hands its bytes on and keeps none.
"""

import io
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from rich.filesize import decimal

from pipeline.commonvoice.archive import ArchiveStream
from pipeline.corpus import explain_full_disk, file_digest, flush_to_disk, read_json, write_json
from pipeline.download.body import Check, body
from pipeline.download.progress import ByteProgress
from pipeline.download.service import Collective, Grant, Listing
from pipeline.errors import CheckFailed, InputError
from pipeline.folders import lock

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

RECORD_FILE = "download.json"
RUNNING, KEPT, STREAMED = "running", "complete", "streamed"  # states in it
CHUNK_BYTES = 1 << 20

logger = logging.getLogger("pipeline.download")


@dataclass(frozen=True)
class Archive:
    """An archive that has been downloaded, and what is known of it.

    Attributes
    ----------
    path : Path
        Where it is or, if it was not kept, would be.
    dataset : str
        Id or slug it was asked for by.
    size_bytes : int
    sha256 : str, optional
    fingerprint : str, optional
        Of an archive that was not kept: that of the import, to know its own spool by.
    """

    path: Path
    dataset: str
    size_bytes: int
    sha256: str | None
    fingerprint: str | None = None

    @classmethod
    def granted(cls, listing: Listing, grant: Grant, folder: Path) -> Self:
        """Say what an archive will be."""
        path = folder / grant.filename
        return cls(path, listing.dataset, grant.size_bytes, grant.sha256)


def finished_archive(folder: Path, dataset: str) -> Archive | None:
    """Find what an earlier run has finished, without asking the service."""
    if not (folder / RECORD_FILE).is_file():
        return None
    record = read_json(folder / RECORD_FILE)
    if record.get("dataset") != dataset or record.get("status") not in (KEPT, STREAMED):
        return None
    path, size = folder / str(record.get("filename")), int(record.get("size_bytes", 0))
    archive = Archive(path, dataset, size, record.get("sha256"), record.get("fingerprint"))
    is_kept = path.is_file() and path.stat().st_size == archive.size_bytes
    return archive if is_kept or record["status"] == STREAMED else None


def download_archive(
    service: Collective, listing: Listing, folder: Path, *, spare_bytes_per_byte: float = 0.0
) -> Archive:
    """Download an archive into a folder, going on where an earlier run stopped.

    Until it is whole and checked it is called ``<name>.part``. ``download.json`` says which archive
    that is, so that no run goes on with the beginning of another one.

    Parameters
    ----------
    service : Collective
    listing : Listing
    folder : Path
    spare_bytes_per_byte : float
        Room that must be left beside each byte of the archive, for what is made of it next.

    Raises
    ------
    InputError
        If the disk has no room, or something else lies in the archive's place.
    DownloadError
        If the service or its storage refuses, or fails too often.
    CheckFailed
        If what came is not what the service had promised.
    """
    with lock([folder], exclusive=True):
        grant = service.grant(listing)
        archive = Archive.granted(listing, grant, folder)
        part = _part(archive.path)
        _discard_others(folder, archive)
        if archive.path.exists():
            _adopt(archive)
        else:
            start = part.stat().st_size if part.exists() else 0
            needed = grant.size_bytes * (1 + spare_bytes_per_byte) - start
            check_space(folder, round(needed))
            _write_record(archive, RUNNING)
            try:
                with explain_full_disk(folder):
                    _fill(part, service, listing, grant)
                part.rename(archive.path)
            except OSError as error:
                raise InputError(
                    f"{part} cannot be written ({error.strerror}); remove what is in its place, or "
                    "give another --output-dir"
                ) from error
        _write_record(archive, KEPT)
        return archive


@contextmanager
def open_stream(
    service: Collective, listing: Listing, grant: Grant, folder: Path
) -> Iterator[BinaryIO]:
    """Open an archive as a file that is read once, from its beginning to its end.

    The file cannot seek. Broken connections are mended behind it. Its end is reached only if size
    and SHA-256 are right: whoever has read ``b""`` knows that all the bytes before it were. Then
    ``download.json`` in the folder says so.

    Raises
    ------
    DownloadError, CheckFailed
        As in :func:`download_archive`, while it is read.
    """
    with (
        ByteProgress(grant.filename, grant.size_bytes) as progress,
        closing(body(service, listing, grant)) as chunks,
    ):
        checked = _CheckedStream(chunks, Check(grant), progress)
        ends = ArchiveStream(cast(BinaryIO, checked))
        archive = Archive.granted(listing, grant, folder)
        checked.at_end = lambda: _write_record(
            replace(archive, fingerprint=ends.fingerprint()), STREAMED
        )
        with io.BufferedReader(ends, CHUNK_BYTES) as stream:
            yield stream


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise :class:`InputError` if the disk of a folder has less room than is needed."""
    free = free_bytes(folder)
    if needed_bytes > free:
        raise InputError(
            f"{folder} has {decimal(free)} free, and {decimal(needed_bytes)} are needed; "
            "free some, or give another --output-dir"
        )


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


class _CheckedStream(io.RawIOBase):
    """A file made of chunks, whose end is held back until they are checked."""

    def __init__(self, chunks: Iterator[bytes], check: Check, progress: ByteProgress) -> None:
        self._chunks = chunks
        self._check = check
        self._progress = progress
        self._rest = memoryview(b"")
        self.at_end: Callable[[], None] = lambda: None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        if not self._rest:
            chunk = next(self._chunks, b"")
            if not chunk:
                self._check.conclude()
                self.at_end()
                return 0
            self._check.update(chunk)
            self._progress.advance(len(chunk))
            self._rest = memoryview(chunk)
        view = memoryview(buffer).cast("B")
        n_bytes = min(len(view), len(self._rest))
        view[:n_bytes] = self._rest[:n_bytes]
        self._rest = self._rest[n_bytes:]
        return n_bytes


def _fill(part: Path, service: Collective, listing: Listing, grant: Grant) -> None:
    """Bring a ``.part`` file to its full length, and remove it if it is wrong."""
    check = Check(grant)
    with ByteProgress(grant.filename, grant.size_bytes) as progress, part.open("a+b") as file:
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            check.update(chunk)
            progress.advance(len(chunk))
        start = file.tell()
        with closing(body(service, listing, grant, start)) as chunks:
            for chunk in chunks:
                file.write(chunk)
                check.update(chunk)
                progress.advance(len(chunk))
        flush_to_disk(file)
    try:
        check.conclude()
    except CheckFailed:
        part.unlink()
        raise


def _discard_others(folder: Path, archive: Archive) -> None:
    """Remove the beginning of an archive unless it is surely the beginning of this one."""
    record = read_json(folder / RECORD_FILE)
    is_same = all(record.get(key) == value for key, value in _identity(archive).items())
    if archive.sha256 and is_same:
        return
    names = {archive.path.name, Path(str(record.get("filename", ""))).name} - {""}
    for part in (_part(folder / name) for name in names):
        if part.is_file():
            logger.warning("%s is the beginning of another archive and is removed", part)
            part.unlink()


def _adopt(archive: Archive) -> None:
    """Accept a file that lies where the archive belongs, if it is the archive."""
    path = archive.path
    logger.info("%s is there already, and is checked", path)
    is_it = path.is_file() and path.stat().st_size == archive.size_bytes
    if not is_it or archive.sha256 not in (None, file_digest(path)):
        raise InputError(
            f"{path} is not the archive that the service holds under this name; remove it, "
            "or give another --output-dir"
        )


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _write_record(archive: Archive, status: str) -> None:
    known = {"fingerprint": archive.fingerprint} if archive.fingerprint else {}
    record = {"dataset": archive.dataset, **_identity(archive), **known, "status": status}
    write_json(archive.path.with_name(RECORD_FILE), record)


def _identity(archive: Archive) -> dict[str, object]:
    return {
        "filename": archive.path.name,
        "size_bytes": archive.size_bytes,
        "sha256": archive.sha256,
    }
