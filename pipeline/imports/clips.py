"""What a layout says of its clips, and how the sound of one is brought to the corpus's format."""

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import soundfile

from pipeline.audio import DecodedAudio, decode, encode_audio, to_mono
from pipeline.corpus import size_of
from pipeline.errors import ClipError
from pipeline.shards import Quarantined

MOST_BYTES = 2 * 2**30  # of a source file: five hours of 16-bit stereo at 48 kHz are 3.5 GB
# Compressed silence may hold a thousand times its size, so what is larger than the first tells its
# length before it is decoded; the second is 2 GiB of float32.
UNSUSPICIOUS_BYTES, MOST_SAMPLES = 2**20, 2**29


@dataclass(frozen=True)
class Part:
    """A part of a longer file, in seconds; without a duration it goes to the end."""

    start_s: float
    duration_s: float | None = None


@dataclass(frozen=True)
class Sound:
    """One clip as the corpus stores it.

    Attributes
    ----------
    content : bytes
        The encoded file.
    suffix : str
        Of a file of this format, such as ``.flac``.
    duration_s : float
        Of what is stored.
    source_seconds : float
        Of what was decoded, before it was resampled.
    """

    content: bytes
    suffix: str
    duration_s: float
    source_seconds: float


@dataclass(frozen=True)
class Clip:
    """One row of a source.

    Attributes
    ----------
    id, path : str
        ``path`` is what the source calls it.
    audio : bytes, Path, DecodedAudio or Sound
        The last has been converted already.
    columns : Mapping
        Values of the source's columns, ``sentence`` among them.
    stated_seconds : float, optional
        Duration that the source claims.
    part : Part, optional
    """

    id: str
    path: str
    audio: "bytes | Path | DecodedAudio | Sound"
    columns: Mapping[str, Any] = field(default_factory=dict)
    stated_seconds: float | None = None
    part: Part | None = None


class Layout(Protocol):
    """A way to lay a corpus out on disk, opened. It is sent to the workers: no open files."""

    name: str
    source: Path

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits there are."""

    @property
    def default_splits(self) -> tuple[str, ...]:
        """Those imported when none is asked for."""

    def size(self, split: str) -> int:
        """Count the rows of a split."""

    def columns(self, splits: tuple[str, ...]) -> Mapping[str, pa.DataType]:
        """Columns of the source besides ``id``, ``audio``, ``sentence`` and ``duration_s``."""

    def digest(self, splits: tuple[str, ...]) -> str:
        """Digest of all that decides what comes out."""

    def clips(self, split: str, start: int, stop: int) -> Iterator[Clip | Quarantined]:
        """Read rows ``start`` to ``stop`` of a split, one result per row, in order."""


class Converter:
    """Transcodes sounds, or keeps them as they are; it remembers the last file for its next part.

    Parameters
    ----------
    sampling_rate : int
        In Hz.
    keep_original : bool
        Keep the bytes of a file; it is decoded all the same, to know that it can be.
    """

    def __init__(self, sampling_rate: int, *, keep_original: bool = False) -> None:
        self._sampling_rate = sampling_rate
        self._keep_original = keep_original
        self._last: tuple[Path | None, DecodedAudio | None] = (None, None)

    def convert(self, source: bytes | Path | DecodedAudio, part: Part | None, name: str) -> Sound:
        """Bring one sound to the format of the corpus.

        Parameters
        ----------
        source : bytes, Path or DecodedAudio
            The last has no file to keep and is always encoded.
        part : Part, optional
            Only this part of it, which is always encoded.
        name : str
            File name, whose suffix an original keeps.

        Raises
        ------
        ClipError
            If it cannot be decoded, or is too long to be one clip.
        """
        audio = self._decode(source, keep=part is not None)
        if part is not None:
            audio = cut(audio, part)
        if self._keep_original and part is None and not isinstance(source, DecodedAudio):
            content = source.read_bytes() if isinstance(source, Path) else source
            suffix = source.suffix if isinstance(source, Path) else Path(name).suffix
            return Sound(content, suffix, audio.seconds, audio.seconds)
        waveform = to_mono(audio, self._sampling_rate)
        flac = encode_audio(waveform, self._sampling_rate)
        return Sound(flac, ".flac", len(waveform) / self._sampling_rate, audio.seconds)

    def _decode(self, source: bytes | Path | DecodedAudio, *, keep: bool) -> DecodedAudio:
        if isinstance(source, DecodedAudio):
            return source
        if isinstance(source, Path):
            path, audio = self._last
            if keep and path == source and audio is not None:
                return audio
            _check_file(source)
        else:
            _check_length(source)
        decoded = decode(source)
        if keep and isinstance(source, Path):
            self._last = (source, decoded)
        return decoded


def cut(audio: DecodedAudio, part: Part) -> DecodedAudio:
    """Take a part of a sound.

    Raises
    ------
    ClipError
        If the sound has no such part.
    """
    n, rate = audio.samples.shape[1], audio.sampling_rate
    # At most what there is, also where a stranger's numbers would overflow an integer.
    start = round(min(max(part.start_s, 0.0) * rate, n))
    stop = n if part.duration_s is None else round(min(start + part.duration_s * rate, n))
    if stop <= start:
        raise ClipError(
            f"no samples from {part.start_s:g} s on: the file has {audio.seconds:.2f} s"
        )
    return DecodedAudio(np.ascontiguousarray(audio.samples[:, start:stop]), rate)


def plain_name(name: str) -> str:
    """Accept a plain file name and nothing else: it may come from a stranger.

    Raises
    ------
    ClipError
        If it could lead anywhere else.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ClipError(f"not a plain file name: {name!r}")
    return name


def inside(folder: Path, name: str) -> Path:
    """Find a file that a stranger named, and that must lie in the folder, whatever links there are.

    Raises
    ------
    ClipError
        If it does not.
    """
    if not name or "\0" in name:
        raise ClipError(f"not a file name: {name!r}")
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError) as error:  # of links that lead to themselves
        raise ClipError(f"file cannot be read: {name!r}") from error
    if not path.is_relative_to(folder.resolve()):
        raise ClipError(f"lies outside {folder}: {name!r}")
    return path


def readable(name: str) -> str:
    """Spell a file name of any encoding so that it can be stored as text."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _check_file(path: Path) -> None:
    try:
        size = size_of(path)
    except OSError as error:  # of a name that no file can have
        raise ClipError(f"file cannot be read: {error.strerror}") from error
    if size is not None:
        if size > MOST_BYTES:
            raise ClipError(f"{size:,} bytes are more than a clip may have ({MOST_BYTES:,})")
        if size > UNSUSPICIOUS_BYTES:
            _check_samples(str(path))
    elif path.exists():  # a pipe or a device would be read for ever
        raise ClipError("not a regular file")


def _check_length(content: bytes) -> None:
    if len(content) > UNSUSPICIOUS_BYTES:
        _check_samples(io.BytesIO(content))


def _check_samples(file: "str | io.BytesIO") -> None:
    try:
        info = soundfile.info(file)
    except (soundfile.LibsndfileError, OSError):
        return  # decoding will say what is wrong
    if info.frames * info.channels > MOST_SAMPLES:
        raise ClipError(f"{info.frames:,} samples are more than a clip may have ({MOST_SAMPLES:,})")
