"""Pieces of speech: where they are, and their samples, without decoding what lies around them."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from pipeline.audio import SAMPLING_RATE, DecodedAudio, decode, to_mono
from pipeline.corpus import Split
from pipeline.errors import ClipError

# Formats in which libsndfile finds a sample without decoding those before it.
SEEKABLE = ("WAV", "WAVEX", "FLAC", "AIFF", "W64", "RF64", "CAF")
PER_SECOND = {"samples16k": SAMPLING_RATE, "ms": 1000.0, "s": 1.0}
MARGIN_S = 0.05  # around a piece, so that resampling hears what the whole file would let it hear
TOLERANCE_S = 0.01  # by which an end may lie behind the file's, since times are rounded
LONGEST_S = 600.0


@dataclass(frozen=True)
class Segment:
    """A piece of speech.

    Attributes
    ----------
    source : Path or Split
        A file, or a split of a corpus.
    start_s, stop_s : float, optional
        Seconds; all of the file without them.
    batch_no : int
        Segments of one number are embedded together; 0 for no wish.
    row : int
        Of a split.
    """

    source: Path | Split
    start_s: float | None = None
    stop_s: float | None = None
    batch_no: int = 0
    row: int = 0


def parse_segment(line: str, unit: str, folder: Path) -> Segment | str:
    """Read a line of a speech shard; what is none gives the reason instead.

    Parameters
    ----------
    line : str
        ``audio_file [start end [batch_no]]``, or that in the second column of a line with tabs.
    unit : {"samples16k", "ms", "s"}
        Of start and end.
    folder : Path
        Where a relative path is looked for if it is not found from here.
    """
    columns = line.split("\t")
    text = columns[1] if len(columns) > 1 else line
    words = text.split(" ")
    # From the right, since a path may hold blanks.
    numbers: list[float] = []
    while len(words) > 1 and len(numbers) < 3 and (value := _number(words[-1])) is not None:
        numbers.insert(0, value)
        words.pop()
    path = Path(" ".join(words))
    if not text.strip() or "\0" in text or len(numbers) == 1:
        return f"{line[:80]!r} is not `audio_file start end batch_no`"
    try:
        if not path.is_absolute() and not path.exists() and (folder / path).exists():
            path = folder / path
    except OSError as error:  # of a name that no file can have
        return f"{line[:80]!r} names no file: {error.strerror}"
    if not numbers:
        return Segment(path)
    start_s, stop_s = (value / PER_SECOND[unit] for value in numbers[:2])
    batch_no = int(numbers[2]) if len(numbers) == 3 else 0
    if not 0 <= start_s < stop_s:
        return f"it ends at {stop_s:g} s, not after its start at {start_s:g} s"
    if stop_s - start_s > LONGEST_S:
        return f"it is {stop_s - start_s:,.0f} s long, more than {LONGEST_S:g} s"
    return Segment(path, start_s, stop_s, batch_no)


def read_segment(segment: Segment) -> np.ndarray:
    """Samples of a piece of speech: float32 [shape=(n,)], mono, at 16 kHz.

    Raises
    ------
    ClipError
        If the file cannot be decoded, or ends before the segment does.
    """
    if isinstance(segment.source, Split):
        return segment.source.waveform(segment.row)
    if segment.start_s is None or segment.stop_s is None:
        return to_mono(_decode(segment.source))
    piece = _read_around(segment)
    if piece is None:
        audio = _decode(segment.source)
        piece = _Piece(audio.samples, audio.sampling_rate, 0, audio.samples.shape[1])
    return _cut(piece, segment)


@dataclass(frozen=True)
class _Piece:
    """Part of a file: its samples, where they begin, and how long the file is."""

    samples: np.ndarray
    sampling_rate: int
    first: int
    n_file: int


def _read_around(segment: Segment) -> _Piece | None:
    """Read a piece and a little around it; None if that takes decoding the whole file."""
    assert segment.start_s is not None and segment.stop_s is not None
    try:
        with soundfile.SoundFile(segment.source) as file:
            rate = file.samplerate
            if file.format not in SEEKABLE or not file.seekable() or rate < 1:
                return None
            first = min(max(int((segment.start_s - MARGIN_S) * rate), 0), file.frames)
            last = min(int((segment.stop_s + MARGIN_S) * rate) + 1, file.frames)
            file.seek(first)
            samples = file.read(last - first, dtype="float32", always_2d=True).T
            return _Piece(samples, rate, first, file.frames)
    except (soundfile.LibsndfileError, OSError, TypeError, MemoryError, ValueError):
        return None  # decoding says why


def _cut(piece: _Piece, segment: Segment) -> np.ndarray:
    assert segment.start_s is not None and segment.stop_s is not None
    ends_s = piece.n_file / piece.sampling_rate
    if segment.stop_s > ends_s + TOLERANCE_S:
        raise ClipError(
            f"the segment ends at {segment.stop_s:.3f} s and {segment.source} at {ends_s:.3f} s"
        )
    if not np.isfinite(piece.samples).all():
        raise ClipError("NaN or infinite samples")
    waveform = to_mono(DecodedAudio(piece.samples, piece.sampling_rate))
    offset = round((segment.start_s - piece.first / piece.sampling_rate) * SAMPLING_RATE)
    length = round((segment.stop_s - segment.start_s) * SAMPLING_RATE)
    cut = waveform[offset : offset + length]
    if not len(cut):
        raise ClipError(f"no samples between {segment.start_s:g} and {segment.stop_s:g} s")
    return cut


def _decode(path: Path) -> DecodedAudio:
    """A whole file; kept for the next segment, which is often of the same."""
    try:
        known = path.stat()
    except OSError:
        return decode(path)  # says what is wrong
    return _decode_once(path, known.st_mtime_ns, known.st_size)


@functools.lru_cache(maxsize=1)
def _decode_once(path: Path, modified: int, size: int) -> DecodedAudio:
    return decode(path)


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if value == value and abs(value) < 1e15 else None
