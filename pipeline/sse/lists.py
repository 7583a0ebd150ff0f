"""The lists of the seed: lines of fields between spaces, times in seconds, no header.

::

    path speaker vad_start vad_end                                                 sections
    path speaker vad_start vad_end segment_start segment_end [transcription]       segments

A clip is known by its whole path: equal file names in two folders are two clips. Lists of millions
of lines are held as columns of numbers, never as rows of text.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.corpus import write_path
from pipeline.errors import InputError, MissingPathError

NO_TRANSCRIPTION = "NOTRANS"
TOLERANCE_SECONDS = 1e-3  # times are written with four decimals, and some lists round to three


@dataclass(frozen=True)
class Sections:
    """Stretches of clips in which somebody speaks.

    Attributes
    ----------
    paths, speakers : tuple of str
        The distinct ones.
    path, speaker : np.ndarray [shape=(n,), dtype=int32]
        Which of them.
    spans : np.ndarray [shape=(n, 2), dtype=float64]
        Start and end in seconds.
    """

    paths: tuple[str, ...]
    speakers: tuple[str, ...]
    path: np.ndarray
    speaker: np.ndarray
    spans: np.ndarray

    def __len__(self) -> int:
        """Count the sections."""
        return len(self.spans)

    def take(self, rows: np.ndarray) -> "Sections":
        """Some of them, in the order of ``rows``."""
        return replace(
            self, path=self.path[rows], speaker=self.speaker[rows], spans=self.spans[rows]
        )


@dataclass(frozen=True)
class Segments:
    """Stretches of sections, each with what is said in it.

    Attributes
    ----------
    sections : Sections
        A row for every segment: the section that holds it.
    spans : np.ndarray [shape=(n, 2), dtype=float64]
        Start and end of the segments in seconds of the clip.
    labels : tuple of str
        The distinct transcriptions.
    label : np.ndarray [shape=(n,), dtype=int32]
        Which of them; -1 where nothing is transcribed.
    """

    sections: Sections
    spans: np.ndarray
    labels: tuple[str, ...]
    label: np.ndarray

    def __len__(self) -> int:
        """Count the segments."""
        return len(self.spans)

    @property
    def seconds(self) -> np.ndarray:
        """Duration of every segment: float64 [shape=(n,)]."""
        return np.asarray(self.spans[:, 1] - self.spans[:, 0])

    def take(self, rows: np.ndarray) -> "Segments":
        """Some of them, in the order of ``rows``."""
        return Segments(self.sections.take(rows), self.spans[rows], self.labels, self.label[rows])

    def draw(self, most: int | None, seed: int = 0) -> "Segments":
        """At most so many, drawn at random, in their order; all of them without a number."""
        if most is None or len(self) <= most:
            return self
        rng = np.random.default_rng(seed)
        return self.take(np.sort(rng.choice(len(self), most, replace=False)))

    def transcription(self, row: int) -> str:
        """What is said in one segment."""
        label = int(self.label[row])
        return self.labels[label] if label >= 0 else NO_TRANSCRIPTION


def read_sections(path: Path) -> Sections:
    """Read ``path speaker start end``; a longer line is taken by its first four fields.

    Raises
    ------
    MissingPathError, InputError
        If there is no such file, it is empty, or a line is not what it should be: the message names
        the line. Sections of one clip and speaker must not overlap.
    """
    reader = _Reader(path, 4)
    spans = np.array([_span(reader, fields[2:4], "section") for fields in reader]).reshape(-1, 2)
    sections = reader.sections(spans)
    _check_overlap(path, sections)
    return sections


def read_segments(path: Path) -> Segments:
    """Read ``path speaker vad_start vad_end segment_start segment_end [transcription]``.

    Raises
    ------
    MissingPathError, InputError
        If there is no such file, it is empty, or a line is not what it should be: too few fields, a
        segment of no length, one outside its section. The message names the line.
    """
    reader = _Reader(path, 6)
    codes = _Codes()
    outer: list[tuple[float, float]] = []
    inner: list[tuple[float, float]] = []
    label: list[int] = []
    for fields in reader:
        section, segment = (
            _span(reader, fields[2:4], "section"),
            _span(reader, fields[4:6], "segment"),
        )
        if (
            segment[0] < section[0] - TOLERANCE_SECONDS
            or segment[1] > section[1] + TOLERANCE_SECONDS
        ):
            reader.refuse(
                f"has a segment, {segment[0]:g} to {segment[1]:g} s, outside its section, "
                f"{section[0]:g} to {section[1]:g} s"
            )
        outer.append(section)
        inner.append(segment)
        # What has more fields is a transcription with spaces in it: one all the same.
        text = " ".join(fields[6:])
        label.append(-1 if text in ("", NO_TRANSCRIPTION) else codes[text])
    return Segments(
        reader.sections(np.array(outer).reshape(-1, 2)),
        np.array(inner).reshape(-1, 2),
        codes.names,
        np.array(label, np.int32),
    )


def write_sections(path: Path, sections: Sections) -> None:
    """Write ``path speaker start end``."""
    _write(path, (_section_text(sections, row) for row in range(len(sections))))


def write_segments(path: Path, segments: Segments) -> None:
    """Write ``path speaker vad_start vad_end segment_start segment_end transcription``."""
    _write(path, segment_lines(segments))


def write_segment_blocks(path: Path, blocks: Iterable[Segments]) -> int:
    """Write segments block by block, and count them: the list may be longer than memory."""
    count = 0

    def lines() -> Iterator[str]:
        nonlocal count
        for block in blocks:
            count += len(block)
            yield from segment_lines(block)

    _write(path, lines())
    return count


def segment_lines(segments: Segments) -> Iterator[str]:
    """Every segment as a line, without its end."""
    for row in range(len(segments)):
        start, end = segments.spans[row]
        text = segments.transcription(row)
        yield f"{_section_text(segments.sections, row)} {start:.4f} {end:.4f} {text}"


def check_name(name: str, what: str) -> str:
    """Refuse what cannot stand in a line.

    Raises
    ------
    InputError
        If it is empty or holds white space.
    """
    if not name or any(letter.isspace() for letter in name):
        raise InputError(
            f"{what} {name!r} cannot stand in a list whose fields are parted by spaces; rename it"
        )
    return name


class _Codes:
    """Numbers for texts, in the order in which they first come."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def __getitem__(self, text: str) -> int:
        return self._codes.setdefault(text, len(self._codes))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._codes)


class _Reader:
    """Fields of a list, line by line, and the names in their first two columns."""

    def __init__(self, path: Path, n_fields: int) -> None:
        self._path, self._n_fields = path, n_fields
        self._number = 0
        self._paths, self._speakers = _Codes(), _Codes()
        self._path_codes: list[int] = []
        self._speaker_codes: list[int] = []

    def __iter__(self) -> Iterator[list[str]]:
        for number, line in _lines(self._path):
            self._number = number
            fields = line.split()
            if not fields:
                continue
            if len(fields) < self._n_fields:
                self.refuse(f"has {len(fields)} fields; {self._n_fields} or more are needed")
            self._path_codes.append(self._paths[fields[0]])
            self._speaker_codes.append(self._speakers[fields[1]])
            yield fields
        if not self._path_codes:
            raise InputError(f"{self._path} is empty; it should have a line for every stretch")

    def refuse(self, problem: str) -> None:
        raise InputError(f"{self._path}, line {self._number}, {problem}")

    def sections(self, spans: np.ndarray) -> Sections:
        path, speaker = (
            np.array(codes, np.int32) for codes in (self._path_codes, self._speaker_codes)
        )
        return Sections(self._paths.names, self._speakers.names, path, speaker, spans)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from enumerate(file, start=1)
    except FileNotFoundError as error:
        raise MissingPathError(
            f"{path} does not exist; make it with `pipeline sse vad` or `pipeline sse segments`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text") from error


def _span(reader: _Reader, fields: list[str], what: str) -> tuple[float, float]:
    """Start and end from two fields."""
    try:
        start, end = float(fields[0]), float(fields[1])
    except ValueError:
        start = end = math.nan
    if not (math.isfinite(start) and math.isfinite(end)):
        reader.refuse(f"has a {what} from {fields[0]!r} to {fields[1]!r}, which are no seconds")
    if start < 0:
        reader.refuse(f"has a {what} that starts at {start:g} s, before its clip")
    if end <= start:
        reader.refuse(f"has a {what} of no length: it starts at {start:g} s and ends at {end:g} s")
    return start, end


def _check_overlap(path: Path, sections: Sections) -> None:
    order = np.lexsort((sections.spans[:, 0], sections.speaker, sections.path))
    same = (np.diff(sections.path[order]) == 0) & (np.diff(sections.speaker[order]) == 0)
    starts, ends = sections.spans[order, 0], sections.spans[order, 1]
    overlap = same & (starts[1:] < ends[:-1] - TOLERANCE_SECONDS)
    if overlap.any():
        first = int(np.flatnonzero(overlap)[0])
        name = sections.paths[sections.path[order[first]]]
        raise InputError(
            f"{path}: sections of {name} overlap, {starts[first]:g} to {ends[first]:g} s and "
            f"{starts[first + 1]:g} to {ends[first + 1]:g} s; join them, or leave one out"
        )


def _section_text(sections: Sections, row: int) -> str:
    start, end = sections.spans[row]
    name, speaker = sections.paths[sections.path[row]], sections.speakers[sections.speaker[row]]
    return f"{name} {speaker} {start:.4f} {end:.4f}"


def _write(path: Path, lines: Iterable[str]) -> None:
    with write_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
