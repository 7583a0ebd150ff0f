"""A Common Voice release: finding it in a folder, or taking it out of its archive."""

import fcntl
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.commonvoice.archive import (
    LIMITS,
    ArchiveStream,
    Limits,
    explain_archive,
    fingerprint,
    read_members,
    reading,
)
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
    found = find_locales(path)
    if not found:
        raise InputError(
            f"{path} holds no Common Voice release: a folder with clips/ and tables "
            f"such as train.tsv is needed"
        )
    if len(found) > 1:
        names = ", ".join(str(folder) for folder in found[:5])
        raise InputError(f"{path} holds several releases ({names}); name one of them")
    return Release(found[0])


def find_locales(path: Path) -> list[Path]:
    """List the locale folders: the path itself, and those one or two levels below it."""
    candidates = [path, *sorted(path.glob("*/")), *sorted(path.glob("*/*/"))]
    return [folder for folder in candidates if _is_locale(folder)]


def extract_archive(archive: Path, folder: Path, limits: Limits = LIMITS) -> Release:
    """Unpack tables and clips of an archive, once; what else it holds is left alone.

    Member names are never used as paths: a table becomes ``<name>.tsv``, a clip ``clips/<name>``.

    Raises
    ------
    InputError
        If it cannot be unpacked, is no release, or is larger than the limits.
    """
    origin = fingerprint(archive)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes while it is unpacked waits for that
        if _origin(folder) != origin:
            _remove_unpacked(folder)
            _unpack(archive, folder, origin, limits)
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


def _unpack(archive: Path, folder: Path, origin: str, limits: Limits) -> None:
    unfinished = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "clips").mkdir(parents=True)
    with reading(archive) as stream, explain_archive(str(archive)):
        for member in read_members(ArchiveStream(stream), str(archive), limits):
            with create(unfinished / member.name, str(archive)) as file:
                shutil.copyfileobj(member.content, file)
    if not list(unfinished.glob("*.tsv")):
        raise not_a_release(str(archive))
    (unfinished / ORIGIN_FILE).write_text(origin, encoding="utf-8")
    unfinished.rename(folder)


def create(path: Path, archive: str) -> BinaryIO:
    """Open a file that is not there yet for a member of an archive.

    Raises
    ------
    InputError
        If the archive has had such a member before: which one is meant, it does not say.
    """
    try:
        return path.open("xb")
    except FileExistsError:
        raise InputError(
            f"{archive} holds {path.name} twice; unpack it yourself and name the folder"
        ) from None


def not_a_release(archive: str) -> InputError:
    """Say that an archive has no tables."""
    return InputError(
        f"{archive} holds no tables such as train.tsv: not a Common Voice release; of any other "
        "corpus, unpack the archive and name the folder"
    )


def _is_locale(folder: Path) -> bool:
    return (folder / "clips").is_dir() and any(
        (folder / f"{name}.tsv").is_file() for name in SPLIT_OF_TABLE
    )
