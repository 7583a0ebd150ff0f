"""What a run left on disk, and whether it is the same as another's."""

import hashlib
from pathlib import Path

# Wall time is never the same, and locks hold nothing.
PASSING = ("timing.json", ".lock", ".source.lock")


def files(folder: Path) -> list[Path]:
    """All files that the same input must always give."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in PASSING)


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file, by its path in the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files(folder)
    }


def stamps(paths: list[Path]) -> dict[Path, tuple[int, int]]:
    """What changes when a file is written again: its inode and the time of the last change."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def temporary_files(folder: Path) -> list[Path]:
    """Files under names that only unfinished ones have."""
    return [path for path in folder.rglob("*") if path.suffix in (".tmp", ".partial")]
