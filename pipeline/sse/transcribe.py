"""What is said in segments, from an alignment: phones or words with their times.

A line of an alignment is ``file start end name``; ``file`` is the path of the clip, or that path
without its suffix, or only its file name where no other clip has the same. A phone belongs to a
segment if at least half of it, or 30 ms of it, lies inside (``transcribe_timestamps.py``).
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.errors import InputError, MissingPathError
from pipeline.sse.lists import Sections, Segments
from pipeline.sse.segments import with_labels

SILENCES = frozenset(("sil", "sp", "spn", "<eps>", "silence", "_", ""))
SHARE_INSIDE = 0.5
SECONDS_INSIDE = 0.03
JOINED_BY = ","
ROUNDING = 1e-9  # seconds


@dataclass(frozen=True)
class Aligned:
    """Phones or words of one clip, in order of time.

    Attributes
    ----------
    starts, ends : np.ndarray [shape=(n,), dtype=float64]
        In seconds.
    names : tuple of str
    """

    starts: np.ndarray
    ends: np.ndarray
    names: tuple[str, ...]


class Alignment:
    """Phones or words by clip."""

    def __init__(self, path: Path, clips: dict[str, Aligned]) -> None:
        self._path, self._clips = path, clips

    def of(self, clip: str, names: Counter[str]) -> Aligned | None:
        """What is aligned in a clip, by its path; None if nothing is.

        ``names`` counts the clips of every file name, so that none is taken for another.
        """
        whole = PurePosixPath(clip)
        bare = whole.name.split(".")[0]
        spellings = [clip, str(whole.with_suffix(""))]
        if names[bare] == 1:
            spellings += [whole.name, bare]
        return next((self._clips[name] for name in spellings if name in self._clips), None)

    def for_each(self, paths: tuple[str, ...]) -> list[Aligned | None]:
        """What is aligned in every clip of a list.

        Raises
        ------
        InputError
            If nothing is in any.
        """
        names = Counter(PurePosixPath(path).name.split(".")[0] for path in paths)
        found = [self.of(path, names) for path in paths]
        if not any(found):
            raise InputError(
                f"{self._path} aligns none of the clips, such as {paths[0]}; its first column "
                "should hold their paths, or their file names where those differ"
            )
        return found


def read_alignment(path: Path) -> Alignment:
    """Read an alignment: a file, or a folder of ``.txt`` files as the original has.

    Raises
    ------
    MissingPathError, InputError
        If there is none, or a line is not ``file start end name``.
    """
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    rows: dict[str, list[tuple[float, float, str]]] = {}
    for file in files:
        _read(file, rows)
    if not rows:
        raise InputError(f"{path} holds no alignment; lines are: file start end name")
    clips = {}
    for clip, found in rows.items():
        found.sort(key=lambda row: row[:2])
        starts, ends, names = zip(*found, strict=True)
        clips[clip] = Aligned(np.array(starts), np.array(ends), names)
    return Alignment(path, clips)


def transcribe(segments: Segments, alignment: Alignment) -> Segments:
    """Give every segment the names of what lies in it, joined by commas."""
    clips = alignment.for_each(segments.sections.paths)
    texts = []
    for path, (start, end) in zip(
        segments.sections.path.tolist(), segments.spans.tolist(), strict=True
    ):
        aligned = clips[path]
        inside = names_inside(aligned, start, end) if aligned else []
        texts.append(JOINED_BY.join(inside))
    return with_labels(segments, texts)


def names_inside(aligned: Aligned, start: float, end: float) -> list[str]:
    """Names of what lies far enough within a stretch of a clip."""
    first = int(np.searchsorted(aligned.ends, start, side="right"))
    last = int(np.searchsorted(aligned.starts, end, side="left"))
    names = []
    for index in range(first, last):
        whole = aligned.ends[index] - aligned.starts[index]
        inside = min(aligned.ends[index], end) - max(aligned.starts[index], start)
        enough = inside >= SHARE_INSIDE * whole - ROUNDING or inside >= SECONDS_INSIDE - ROUNDING
        if enough and aligned.names[index].lower() not in SILENCES:
            names.append(aligned.names[index])
    return names


def aligned_segments(
    sections: Sections,
    alignment: Alignment,
    *,
    shortest: int = 1,
    longest: int = 1,
    shortest_seconds: float = 0.08,
    longest_seconds: float = 0.96,
) -> Segments:
    """Segments of ``shortest`` to ``longest`` aligned phones or words.

    They are what an evaluation compares: all n-grams of phones, or all words, that lie in a section
    and last 80 ms to 0.96 s (``make_ngrams_gold_item.py``).
    """
    clips = alignment.for_each(sections.paths)
    rows, spans, texts = [], [], []
    for row in range(len(sections)):
        aligned = clips[sections.path[row]]
        if aligned is None:
            continue
        first = int(np.searchsorted(aligned.starts, sections.spans[row, 0] - ROUNDING))
        last = int(np.searchsorted(aligned.ends, sections.spans[row, 1] + ROUNDING, side="right"))
        for start in range(first, last):
            for count in range(shortest, longest + 1):
                names = aligned.names[start : start + count]
                if start + count > last or any(name.lower() in SILENCES for name in names):
                    break
                span = (aligned.starts[start], aligned.ends[start + count - 1])
                if shortest_seconds <= span[1] - span[0] <= longest_seconds:
                    rows.append(row)
                    spans.append(span)
                    texts.append(JOINED_BY.join(names))
    held = sections.take(np.array(rows, np.int64))
    nothing = np.zeros(len(rows), np.int32)
    return with_labels(Segments(held, np.array(spans).reshape(-1, 2), (), nothing), texts)


def repeated(segments: Segments, most: int | None = None, seed: int = 0) -> Segments:
    """Segments whose transcription comes more than once; at most ``most``, drawn at random."""
    drawn = segments.draw(most, seed)
    counts = np.bincount(drawn.label, minlength=len(drawn.labels))
    return drawn.take(np.flatnonzero(counts[drawn.label] > 1))


def _read(path: Path, rows: dict[str, list[tuple[float, float, str]]]) -> None:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                fields = line.split()
                if not fields:
                    continue
                try:
                    name, start, end, what = fields
                    span = float(start), float(end)
                except ValueError:
                    span = (0.0, -1.0)
                if not 0 <= span[0] <= span[1] < np.inf:
                    raise InputError(
                        f"{path}, line {number}, is not `file start end name`: "
                        f"{line.strip()[:80]!r}"
                    )
                rows.setdefault(name, []).append((*span, what))
    except FileNotFoundError as error:
        raise MissingPathError(f"{path} does not exist; give an alignment") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; give an alignment") from error
