"""LJ Speech, and corpora laid out alike: ``metadata.csv`` with bars, and a folder ``wavs/``.

A line is ``<id>|<transcription>|<transcription with numbers and abbreviations spelt out>``, without
quoting. The last is the sentence, since it is what was said; corpora of others may lack it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.errors import ClipError, InputError
from pipeline.imports.clips import Clip, plain_name
from pipeline.imports.lines import Lines, index_lines
from pipeline.shards import Quarantined

METADATA, WAVES = "metadata.csv", "wavs"
SPLIT = "train"


def is_ljspeech(folder: Path) -> bool:
    """Whether a folder looks like it."""
    return (folder / METADATA).is_file() and (folder / WAVES).is_dir()


@dataclass
class LJSpeech:
    """The folder with ``metadata.csv``."""

    source: Path
    name: str = field(default="ljspeech", init=False)

    @cached_property
    def lines(self) -> Lines:
        """The lines of the metadata."""
        if not is_ljspeech(self.source):
            raise InputError(
                f"{self.source} is not laid out as LJ Speech: no metadata.csv and wavs/"
            )
        return index_lines(self.source / METADATA)

    @cached_property
    def _repeats(self) -> frozenset[int]:
        """Lines whose clip an earlier line has already named."""
        keys = [line.partition(b"|")[0] for line in self.lines.read(0, len(self.lines))]
        hashes = np.array([_hash(key) for key in keys], dtype=np.uint64)
        _, first = np.unique(hashes, return_index=True)
        return frozenset(set(range(len(hashes))) - set(first.tolist()))

    @property
    def splits(self) -> tuple[str, ...]:
        """It has but one."""
        return (SPLIT,)

    @property
    def default_splits(self) -> tuple[str, ...]:
        """It has but one."""
        return self.splits

    def size(self, split: str) -> int:
        """Count the lines."""
        return len(self.lines)

    def columns(self, splits: tuple[str, ...]) -> Mapping[str, pa.DataType]:
        """Both transcriptions, and the path."""
        return dict.fromkeys(("path", "transcription", "normalized_transcription"), pa.string())

    def digest(self, splits: tuple[str, ...]) -> str:
        """Digest of the metadata, and of names and sizes of the sounds."""
        metadata = self.lines.sha256
        sounds = sorted((path.name, path.lstat().st_size) for path in self._waves.iterdir())
        return hashlib.sha256(json.dumps([metadata, sounds]).encode()).hexdigest()

    def clips(self, split: str, start: int, stop: int) -> Iterator[Clip | Quarantined]:
        """Read some lines."""
        for number, line in enumerate(self.lines.read(start, stop), start):
            where = f"{METADATA}, line {number + 1}"
            try:
                if number in self._repeats:
                    raise ClipError("malformed row: the same clip is in this file twice")
                yield self._clip(line)
            except UnicodeDecodeError as error:
                yield Quarantined("", where, f"malformed row: not UTF-8 at byte {error.start}")
            except ClipError as error:
                yield Quarantined("", where, str(error))

    @property
    def _waves(self) -> Path:
        return self.source / WAVES

    def _clip(self, line: bytes) -> Clip:
        fields = line.decode("utf-8-sig").split("|")
        if not 2 <= len(fields) <= 3:
            raise ClipError(f"malformed row: {len(fields)} fields, not 2 or 3")
        clip_id, transcription, normalized = (*fields, "")[:3]
        path = f"{plain_name(clip_id)}.wav"
        columns = {
            "path": f"{WAVES}/{path}",
            "sentence": normalized or transcription,
            "transcription": transcription,
            "normalized_transcription": normalized,
        }
        return Clip(clip_id, columns["path"], self._waves / path, columns)


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
