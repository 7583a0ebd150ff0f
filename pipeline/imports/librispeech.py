"""LibriSpeech: ``<subset>/<speaker>/<chapter>/`` with FLAC and one ``.trans.txt`` for a chapter.

A line of it is ``<speaker>-<chapter>-<number> <TRANSCRIPT>``. ``SPEAKERS.TXT`` beside the subsets
tells the reader's sex and name; subsets of one kind, such as ``train-clean-100`` and
``train-other-500``, become one split, and the column ``subset`` keeps them apart.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.errors import ClipError, MissingPathError
from pipeline.imports.clips import Clip, plain_name, readable
from pipeline.imports.lines import each_line, index_lines, split_name
from pipeline.shards import Quarantined

SPEAKERS = "SPEAKERS.TXT"
LOCALE = "en"
LONGEST_ID = 200  # bytes; file systems take names of 255
SUFFIXES = (".flac", ".wav")
# In the words of Common Voice, so that corpora can be compared by it.
GENDERS = {"F": "female_feminine", "M": "male_masculine"}
COLUMNS = ("path", "client_id", "chapter_id", "subset", "gender", "speaker_name", "locale")


@dataclass(frozen=True)
class Chapter:
    """One ``.trans.txt``: its place, its lines, and the digest of it and its sounds."""

    transcript: Path
    n_lines: int
    digest: str

    @property
    def subset(self) -> str:
        """Name of the subset."""
        return readable(self.transcript.parents[2].name)

    @property
    def split(self) -> str:
        """Split of the subset: ``dev-clean`` is in ``validation``."""
        return split_name(self.subset.partition("-")[0])


def find_transcripts(folder: Path) -> list[Path]:
    """List the transcripts below a subset, a corpus, or the folder around it."""
    for depth in ("*/*", "*/*/*", "*/*/*/*"):
        if found := sorted(folder.glob(f"{depth}/*.trans.txt")):
            return found
    return []


@dataclass
class LibriSpeech:
    """A corpus, one subset of it, or the folder around it."""

    source: Path
    name: str = field(default="librispeech", init=False)

    @cached_property
    def chapters(self) -> dict[str, list[Chapter]]:
        """Chapters by split."""
        found: dict[str, list[Chapter]] = {}
        for path in find_transcripts(self.source.resolve()):
            chapter = Chapter(path, len(index_lines(path)), _digest(path))
            found.setdefault(chapter.split, []).append(chapter)
        if not found:
            raise MissingPathError(
                f"{self.source} has no chapters with .trans.txt; name the folder of LibriSpeech or "
                "of one of its subsets"
            )
        return found

    @cached_property
    def speakers(self) -> dict[str, tuple[str, str]]:
        """Gender and name by speaker, as far as ``SPEAKERS.TXT`` tells."""
        roots = {c.transcript.parents[3] for chapters in self.chapters.values() for c in chapters}
        found = {}
        for root in roots:
            if (root / SPEAKERS).is_file():
                for line in each_line(root / SPEAKERS):
                    fields = line.decode("utf-8", errors="replace").split("|", 4)
                    if len(fields) == 5 and not line.startswith(b";"):
                        speaker, sex, _, _, name = map(str.strip, fields)
                        found[speaker] = (GENDERS.get(sex, ""), name)
        return found

    @property
    def splits(self) -> tuple[str, ...]:
        """As the names of the subsets begin."""
        return tuple(self.chapters)

    @property
    def default_splits(self) -> tuple[str, ...]:
        """All of them."""
        return self.splits

    def size(self, split: str) -> int:
        """Count the lines of all chapters."""
        return sum(chapter.n_lines for chapter in self.chapters[split])

    def columns(self, splits: tuple[str, ...]) -> Mapping[str, pa.DataType]:
        """Where a clip is from, and who reads."""
        return dict.fromkeys(COLUMNS, pa.string())

    def digest(self, splits: tuple[str, ...]) -> str:
        """Digest of transcripts, of names and sizes of the sounds, and of the speakers."""
        chapters = [c.digest for split in splits for c in self.chapters[split]]
        told = [*chapters, repr(sorted(self.speakers.items()))]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def clips(self, split: str, start: int, stop: int) -> Iterator[Clip | Quarantined]:
        """Read some lines, over as many chapters as they span."""
        chapters = self.chapters[split]
        starts = np.cumsum([0, *(chapter.n_lines for chapter in chapters)])
        first = int(np.searchsorted(starts, start, side="right")) - 1
        for number in range(first, len(chapters)):
            before = int(starts[number])
            if before >= stop:
                return
            yield from self._lines(chapters[number], max(start - before, 0), stop - before)

    def _lines(self, chapter: Chapter, start: int, stop: int) -> Iterator[Clip | Quarantined]:
        lines = index_lines(chapter.transcript)
        seen = {line.partition(b" ")[0] for line in lines.read(0, start)}
        for number, line in enumerate(lines.read(start, min(stop, len(lines))), start):
            where = f"{readable(chapter.transcript.name)}, line {number + 1}"
            try:
                if (key := line.partition(b" ")[0]) in seen:
                    raise ClipError("the same clip is in this file twice")
                seen.add(key)
                yield self._clip(chapter, line.decode("utf-8"))
            except UnicodeDecodeError as error:
                yield Quarantined("", where, f"malformed row: not UTF-8 at byte {error.start}")
            except ClipError as error:
                yield Quarantined("", where, f"malformed row: {error}")

    def _clip(self, chapter: Chapter, line: str) -> Clip:
        clip_id, _, sentence = line.partition(" ")
        folder = chapter.transcript.parent
        expected = f"{folder.parent.name}-{folder.name}-"
        if not plain_name(clip_id).startswith(expected):
            raise ClipError(f"{clip_id!r} does not begin with {expected!r}, as its folders do")
        if len(clip_id.encode(errors="replace")) > LONGEST_ID:
            raise ClipError(f"{clip_id[:80]!r}… is too long to name a file")
        sound = folder / f"{clip_id}{SUFFIXES[0]}"
        for suffix in SUFFIXES[1:]:
            if not sound.exists() and (folder / f"{clip_id}{suffix}").exists():
                sound = folder / f"{clip_id}{suffix}"
        speaker = readable(folder.parent.name)
        gender, name = self.speakers.get(speaker, ("", ""))
        path = readable(str(sound.relative_to(chapter.transcript.parents[3])))
        told = (path, speaker, readable(folder.name), chapter.subset, gender, name, LOCALE)
        columns = {**dict(zip(COLUMNS, told, strict=True)), "sentence": sentence.strip()}
        return Clip(clip_id, path, sound, columns)


def _digest(transcript: Path) -> str:
    digest = hashlib.sha256(b"".join(each_line(transcript)))
    with os.scandir(transcript.parent) as entries:
        sizes = sorted((entry.name, entry.stat(follow_symlinks=False).st_size) for entry in entries)
    digest.update(repr(sizes).encode(errors="backslashreplace"))
    return digest.hexdigest()
