"""A Common Voice release: finding it in a folder, or taking it out of its archive."""

import fcntl
import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.errors import InputError, MissingPathError

# Names of the tables, and what the splits are called here and on the Hugging Face hub.
SPLIT_OF_TABLE = {
    "train": "train",
    "dev": "validation",
    "test": "test",
    "other": "other",
    "invalidated": "invalidated",
    "validated": "validated",
}
# `validated` holds train, dev and test once more, so it is imported only when asked for.
DEFAULT_SPLITS = ("train", "validation", "test", "other", "invalidated")
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
FINGERPRINT_BYTES = 1 << 20
ORIGIN_FILE = "archive.sha256"  # in a folder that was unpacked: the fingerprint of its archive


@dataclass(frozen=True)
class Release:
    """The folder of one locale, with its tables and clips."""

    folder: Path

    @property
    def clips(self) -> Path:
        """Where the MP3 files are."""
        return self.folder / "clips"

    @property
    def durations(self) -> Path:
        """The table of durations, which may be absent."""
        old = self.folder / "times.txt"
        return old if old.is_file() else self.folder / "clip_durations.tsv"

    def tables(self) -> dict[str, Path]:
        """Paths of the clip tables by split name."""
        paths = {split: self.folder / f"{name}.tsv" for name, split in SPLIT_OF_TABLE.items()}
        return {split: path for split, path in paths.items() if path.is_file()}


def is_archive(path: Path) -> bool:
    """Whether the path looks like a release archive."""
    return path.name.endswith(ARCHIVE_SUFFIXES)


def find_release(path: Path) -> Release:
    """Find the locale folder: the path itself, or the only one below it.

    Raises
    ------
    MissingPathError, InputError
        If there is none, or more than one.
    """
    if not path.exists():
        raise MissingPathError(f"{path} does not exist; name a release folder or its .tar.gz")
    candidates = [path, *sorted(path.glob("*/")), *sorted(path.glob("*/*/"))]
    found = [folder for folder in candidates if _is_locale(folder)]
    if not found:
        raise InputError(
            f"{path} holds no Common Voice release: a folder with clips/ and tables "
            f"such as train.tsv is needed"
        )
    if len(found) > 1:
        names = ", ".join(str(folder) for folder in found[:5])
        raise InputError(f"{path} holds several releases ({names}); name one of them")
    return Release(found[0])


def extract_archive(archive: Path, folder: Path) -> Release:
    """Unpack tables and clips of an archive, once; what else it holds is left alone.

    Member names are never used as paths: a table becomes ``<name>.tsv``, a clip ``clips/<name>``.

    Raises
    ------
    InputError
        If it cannot be unpacked, or is no release.
    """
    origin = fingerprint(archive)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes while it is unpacked waits for that
        if _origin(folder) != origin:
            _remove_unpacked(folder)
            _unpack(archive, folder, origin)
    return Release(folder)


def _origin(folder: Path) -> str:
    path = folder / ORIGIN_FILE
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _remove_unpacked(folder: Path) -> None:
    if folder.exists() and not _origin(folder):
        raise InputError(
            f"{folder} is where the archive would be unpacked, and holds something else; "
            "name another output folder, or remove it yourself"
        )
    shutil.rmtree(folder, ignore_errors=True)


def _unpack(archive: Path, folder: Path, origin: str) -> None:
    unfinished = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "clips").mkdir(parents=True)
    try:
        for name, content in _wanted_members(archive):
            with (unfinished / name).open("wb") as file:
                shutil.copyfileobj(content, file)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InputError(
            f"{archive} cannot be unpacked ({error}); check that the download is complete "
            "and that the disk has room"
        ) from error
    if not list(unfinished.glob("*.tsv")):
        raise InputError(f"{archive} holds no tables such as train.tsv: not a Common Voice release")
    (unfinished / ORIGIN_FILE).write_text(origin, encoding="utf-8")
    unfinished.rename(folder)


def fingerprint(archive: Path) -> str:
    """Digest of an archive's size and both ends: to know it again without reading 90 GB."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        head = file.read(FINGERPRINT_BYTES)
        file.seek(max(0, size - FINGERPRINT_BYTES))
        tail = file.read()
    return hashlib.sha256(str(size).encode() + head + tail).hexdigest()


def _is_locale(folder: Path) -> bool:
    return (folder / "clips").is_dir() and any(
        (folder / f"{name}.tsv").is_file() for name in SPLIT_OF_TABLE
    )


def _wanted_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    locales = set()
    # gzip, unlike tarfile, misses an end that is cut off and checks the sum that stands there.
    opened = Path.open if archive.suffix == ".tar" else gzip.open
    with opened(archive, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            name = _destination(parts) if member.isfile() else None
            content = tar.extractfile(member) if name else None
            if name is None or content is None:
                continue
            locales.add(parts[:-2] if "/" in name else parts[:-1])
            if len(locales) > 1:
                raise InputError(f"{archive} holds more than one locale; unpack it and name one")
            yield name, content
        # A tar ends in two empty blocks, of which the first told that this is the end; tarfile
        # takes a file that was cut between two members for a whole one.
        if tar.fileobj is None or len(tar.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("unexpected end of data")
        while stream.read(1 << 20):
            pass


def _destination(parts: tuple[str, ...]) -> str | None:
    if not parts or parts[-1] in ("", ".", "..") or "\0" in parts[-1]:
        return None
    if len(parts) > 1 and parts[-2] == "clips":
        return f"clips/{parts[-1]}"
    is_table = parts[-1].endswith(".tsv") or parts[-1] == "times.txt"
    return parts[-1] if is_table else None
