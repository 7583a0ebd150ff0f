"""The archive of a release, which may come from a stranger: read once, and never trusted.

A member's name is never used as a path, whatever is no plain file is passed over, and nothing is
read that is larger than a release can be.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from rich.console import Console
from rich.progress import wrap_file

from pipeline.errors import HearingAnalysisError, InputError

FINGERPRINT_BYTES = 1 << 20
BLOCK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
# Headers whose content tarfile reads into memory whatever their size.
HEADER_TYPES = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
LARGEST_HEADER = 1 << 20
# What goes wrong inside tarfile on headers that were made to do so.
TARFILE_BREAKS_WITH = (ValueError, LookupError, OverflowError, RecursionError, TypeError)


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; the English release 25.0 is given behind each.

    Attributes
    ----------
    clip_bytes : int
        One clip; some 40 kB.
    table_bytes : int
        One table; less than 1 GB.
    total_bytes : int
        Everything, unpacked; 95 GB.
    members : int
        2.6 million.
    ratio : int
        Unpacked bytes for each byte of the archive; hardly more than 1.
    free_bytes : int
        Below so many unpacked bytes the ratio is not looked at.
    """

    clip_bytes: int = 64 * 2**20
    table_bytes: int = 8 * 2**30
    total_bytes: int = 2**40
    members: int = 20_000_000
    ratio: int = 100
    free_bytes: int = 2**30


LIMITS = Limits()


@dataclass(frozen=True)
class Member:
    """A file that an import needs: a table by its name, a clip as ``clips/<name>``."""

    name: str
    content: IO[bytes]

    @property
    def clip(self) -> str | None:
        """Name of the clip, if it is one."""
        return self.name.removeprefix("clips/") if self.name.startswith("clips/") else None


class ArchiveStream(io.RawIOBase):
    """Any binary stream, which knows at its end the fingerprint of what went through it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head, self._tail = b"", b""
        self.n_bytes = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read, and remember both ends."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.n_bytes += len(data)
        self._head += data[: FINGERPRINT_BYTES - len(self._head)]
        self._tail = (self._tail + data)[-FINGERPRINT_BYTES:]
        return len(data)

    def fingerprint(self) -> str:
        """Return what :func:`fingerprint` returns of the same bytes in a file."""
        return _digest(self.n_bytes, self._head, self._tail)


def fingerprint(archive: Path) -> str:
    """Digest of an archive's size and both ends: to know it again without reading 90 GB."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        head = file.read(FINGERPRINT_BYTES)
        file.seek(max(0, size - FINGERPRINT_BYTES))
        tail = file.read()
    return _digest(size, head, tail)


@contextmanager
def reading(archive: Path) -> Iterator[BinaryIO]:
    """Open an archive, with a bar on a terminal that shows how far it has been read."""
    console = Console(stderr=True)
    with archive.open("rb") as file:
        size, quiet = archive.stat().st_size, not console.is_terminal
        shown = wrap_file(file, size, description="reading", console=console, disable=quiet)
        with shown as stream:
            yield stream


def read_members(stream: ArchiveStream, source: str, limits: Limits = LIMITS) -> Iterator[Member]:
    """Read the tables and clips of a release in the order of its archive, in one pass.

    Parameters
    ----------
    stream : ArchiveStream
        A tar, compressed with gzip or not.
    source : str
        What errors call it.
    limits : Limits

    Yields
    ------
    Member
        To be read before the next is asked for. Names are unique neither here nor in the archive.

    Raises
    ------
    InputError
        If the archive is larger than the limits, or holds more than one locale.
    tarfile.TarError, zlib.error, EOFError, OSError
        If it is damaged or cut off; see :func:`explain_archive`.
    """
    compressed = io.BufferedReader(stream, BLOCK)
    is_gzip = compressed.peek(2)[:2] == GZIP_MAGIC
    # gzip, unlike tarfile, misses an end that is cut off and checks the sum that stands there.
    plain: Any = gzip.GzipFile(fileobj=compressed) if is_gzip else compressed
    guard = _Guard(source, limits, stream, plain)
    locales = set()
    with _open_tar(guard) as tar:
        while (info := _next(tar)) is not None:
            parts = PurePosixPath(info.name).parts
            name = _destination(parts) if info.isreg() and not info.issparse() else None
            guard.check(info, name)
            content = tar.extractfile(info) if name else None
            if name is None or content is None:
                continue
            locales.add(parts[:-2] if "/" in name else parts[:-1])
            if len(locales) > 1:
                raise InputError(f"{source} holds more than one locale; unpack it and name one")
            yield Member(name, content)
        # A tar ends in two empty blocks, of which the first told that this is the end; tarfile
        # takes a file that was cut between two members for a whole one.
        if tar.fileobj is None or len(tar.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("unexpected end of data")
        while guard.read(BLOCK):
            pass


@contextmanager
def explain_archive(source: str) -> Iterator[None]:
    """Say in one sentence what is wrong with an archive.

    Raises
    ------
    InputError
        If what is done inside finds it damaged or cut off, or the disk full.
    """
    try:
        yield
    except HearingAnalysisError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InputError(
            f"{source} cannot be unpacked ({error}); check that the download is complete "
            "and that the disk has room"
        ) from error


class _TarInfo(tarfile.TarInfo):
    """Refuses the headers with which a small archive fills the memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in HEADER_TYPES and self.size > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse file")
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return member

    def _proc_gnusparse_10(self, *arguments: object) -> None:
        raise tarfile.ReadError("a sparse file")


class _Guard:
    """Holds an unpacked archive to its limits while it is read."""

    def __init__(self, source: str, limits: Limits, stream: ArchiveStream, plain: IO[bytes]):
        self._source, self._limits = source, limits
        self._stream, self._plain = stream, plain
        self._n_members = self._n_bytes = 0

    def read(self, size: int) -> bytes:
        """Read unpacked bytes, until they are too many."""
        data = self._plain.read(size)
        self._n_bytes += len(data)
        self._check_size(self._n_bytes)
        limits = self._limits
        if self._n_bytes > max(limits.free_bytes, limits.ratio * self._stream.n_bytes):
            self._refuse("more bytes for each of its own", f"{limits.ratio}")
        return data

    def check(self, info: tarfile.TarInfo, name: str | None) -> None:
        """Refuse a member before it is read."""
        self._n_members += 1
        if self._n_members > self._limits.members:
            self._refuse("more files", f"{self._limits.members:,}")
        kind = "clip" if name and "/" in name else "table"
        allowed = self._limits.clip_bytes if kind == "clip" else self._limits.table_bytes
        if name and info.size > allowed:
            self._refuse(f"a {kind} of {info.size:,} bytes, more", f"{allowed:,} for one {kind}")
        self._check_size(info.offset_data + info.size)

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self._limits.total_bytes:
            self._refuse("more bytes, unpacked,", f"{self._limits.total_bytes:,}")

    def _refuse(self, what: str, allowed: str) -> None:
        raise InputError(
            f"{self._source} holds {what} than the limit of {allowed}, which no release comes near;"
            " if you trust it, unpack it yourself and name the folder"
        )


def _open_tar(file: _Guard) -> tarfile.TarFile:
    options: dict[str, Any] = {"tarinfo": _TarInfo, "errors": "surrogateescape"}
    with _explain_header():  # the first is read at once
        return tarfile.open(fileobj=cast(IO[bytes], file), mode="r|", bufsize=BLOCK, **options)


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    tar.members.clear()  # type: ignore[attr-defined]  # it would grow with every clip
    with _explain_header():
        return tar.next()


@contextmanager
def _explain_header() -> Iterator[None]:
    try:
        yield
    except HearingAnalysisError:
        raise
    except TARFILE_BREAKS_WITH as error:
        raise tarfile.ReadError(f"a damaged header: {error}") from error


def _destination(parts: tuple[str, ...]) -> str | None:
    if not parts or parts[-1] in ("", ".", "..") or "\0" in parts[-1]:
        return None
    if len(parts) > 1 and parts[-2] == "clips":
        return f"clips/{parts[-1]}"
    is_table = parts[-1].endswith(".tsv") or parts[-1] == "times.txt"
    return parts[-1] if is_table else None


def _digest(size: int, head: bytes, tail: bytes) -> str:
    return hashlib.sha256(str(size).encode() + head + tail).hexdigest()
