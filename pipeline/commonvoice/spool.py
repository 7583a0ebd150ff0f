"""The spool of a streaming import: what has come out of the archive and is not in the corpus yet.

::

    tables/         the tables, as they came
    waiting/        clips that came before the tables, as they came
    shards/         converted clips, a file for each shard of the corpus
    complete.json   written when all of the archive has come

A shard's file is removed when the shard is made, and a file of waiting clips when they have been
converted, so the spool shrinks as the corpus grows.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.commonvoice.tables import Table, name_hash
from pipeline.corpus import flush_to_disk, read_json, write_json
from pipeline.errors import ClipError, InputError
from pipeline.imports.clips import Sound
from pipeline.shards import Task

WAITING_BYTES = 64 * 2**20  # of clips in one file


@dataclass
class Spool:
    """A folder inside the output; nothing is held in memory."""

    folder: Path
    _n_waiting: int = field(default=0, init=False)  # files of waiting clips

    @property
    def tables(self) -> Path:
        """Where the tables are."""
        return self.folder / "tables"

    @property
    def _complete(self) -> Path:
        return self.folder / "complete.json"

    def check_owner(self) -> None:
        """Leave alone what no import has made, which would hold a lock file.

        Raises
        ------
        InputError
            If the folder is somebody else's.
        """
        if self.folder.exists() and not (self.folder / ".lock").exists():
            raise InputError(
                f"{self.folder} is where clips would wait, and holds something else; "
                "name another output folder, or remove it yourself"
            )

    def clear(self) -> None:
        """Start with an empty one."""
        self._complete.unlink(missing_ok=True)
        for name in ("tables", "waiting", "shards"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)

    def remove(self) -> None:
        """Remove it for good, if it is one."""
        if (self.folder / ".lock").exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def fingerprint(self) -> str | None:
        """Return that of the archive, if all of it is here."""
        return read_json(self._complete).get("fingerprint")

    def holds(self, fingerprint: str | None, config: Mapping[str, Any]) -> bool:
        """Whether all of an archive is here, and was converted as it is wanted."""
        facts = read_json(self._complete)
        known = facts.get("fingerprint")
        return known is not None and known == fingerprint and facts.get("config") == config

    def complete(self, fingerprint: str, config: Mapping[str, Any]) -> None:
        """Say that all of the archive is here, once that is safe on the disk."""
        for path in (self.folder / "shards").iterdir():
            with path.open("rb") as file:
                flush_to_disk(file)
        write_json(self._complete, {"fingerprint": fingerprint, "config": config})

    def wait(self, name: str, content: bytes) -> None:
        """Keep a clip until the tables are here."""
        path = self.folder / "waiting" / f"{self._n_waiting:08d}"
        with path.open("ab") as file:
            _write(file, {"name": name}, content)
            if file.tell() > WAITING_BYTES:
                self._n_waiting += 1

    def waiting(self) -> Iterator[tuple[str, bytes]]:
        """Take out the clips that have waited, a file at a time."""
        for path in sorted((self.folder / "waiting").iterdir()):
            with path.open("rb") as file:
                for header in _headers(file):
                    yield header["name"], file.read(header["size"])
            path.unlink()

    def open_shards(self, tasks: Iterable[Task]) -> None:
        """Make room for the clips of all shards."""
        for task in tasks:
            self.shard(task).touch()

    def shard(self, task: Task) -> Path:
        """Where the clips of a shard are."""
        return self.folder / "shards" / f"{task.split}-{task.index:05d}-of-{task.n_shards:05d}"

    def place(self, task: Task, name: str, sound: Sound | ClipError) -> None:
        """Put a converted clip, or the reason why it could not be, where its shard will look."""
        with self.shard(task).open("ab") as file:
            if isinstance(sound, ClipError):
                _write(file, {"name": name, "reason": str(sound)}, b"")
                return
            facts = {"suffix": sound.suffix, "duration_s": sound.duration_s}
            facts["source_seconds"] = sound.source_seconds
            _write(file, {"name": name, **facts}, sound.content)


class ShardSounds:
    """The sounds of one shard, found by name.

    Raises
    ------
    InputError
        If the file is gone, so that no clip is taken for a missing one that was here once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise InputError(
                f"{path} is gone, which held clips of a shard that is not there; "
                f"remove {path.parents[1]} and run again"
            )
        with path.open("rb") as file:
            # Positions are behind the headers, where the content is.
            self._found = {h["name"]: (file.tell(), h) for h in _headers(file)}

    def __call__(self, name: str) -> Sound:
        """Read one sound.

        Raises
        ------
        ClipError
            If it has not come, or could not be converted.
        """
        if name not in self._found:
            raise ClipError("file is missing")
        position, facts = self._found[name]
        if "reason" in facts:
            raise ClipError(facts["reason"])
        with self._path.open("rb") as file:
            file.seek(position)
            content = file.read(facts["size"])
        return Sound(content, facts["suffix"], facts["duration_s"], facts["source_seconds"])


class Placement:
    """Which shards want a clip; 13 bytes a row.

    Parameters
    ----------
    tables : dict of str to Table
        By split.
    tasks : list of Task
        The shards of the corpus.
    source : str
        What errors call the archive.
    """

    def __init__(self, tables: dict[str, Table], tasks: list[Task], source: str) -> None:
        hashes = [tables[task.split].names[task.start : task.stop] for task in tasks]
        shards = np.repeat(np.arange(len(tasks), dtype=np.int32), [len(part) for part in hashes])
        joined = np.concatenate([*hashes, np.empty(0, np.uint64)])
        order = np.argsort(joined, kind="stable")
        self._tasks, self._source = tasks, source
        self._hashes, self._shards = joined[order], shards[order]
        self._seen = np.zeros(len(order), dtype=bool)

    def shards_of(self, name: str) -> tuple[Task, ...]:
        """Return the shards with a row that names a clip.

        Raises
        ------
        InputError
            If the clip has come before.
        """
        wanted = np.uint64(name_hash(name))
        first, last = (int(np.searchsorted(self._hashes, wanted, side)) for side in _SIDES)
        if first == last:
            return ()
        if self._seen[first]:
            raise InputError(
                f"{self._source} holds {name!r} twice; unpack it yourself and name the folder"
            )
        self._seen[first] = True
        return tuple(self._tasks[shard] for shard in np.unique(self._shards[first:last]))


_SIDES: tuple[Any, Any] = ("left", "right")


def _write(file: BinaryIO, facts: dict[str, Any], content: bytes) -> None:
    file.write(json.dumps({**facts, "size": len(content)}).encode() + b"\n" + content)


def _headers(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Read the entries of a file; at each, the file stands where its content begins."""
    while line := file.readline():
        start = file.tell()
        facts = json.loads(line)
        yield facts
        file.seek(start + facts["size"])
