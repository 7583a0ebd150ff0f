"""``pipeline import``: a Common Voice release becomes a corpus of FLAC in Arrow shards."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.audio import decode, encode_audio, to_mono
from pipeline.commonvoice.release import (
    DEFAULT_SPLITS,
    Release,
    extract_archive,
    find_release,
    fingerprint,
    is_archive,
)
from pipeline.commonvoice.tables import (
    MOST_DIGITS,
    Durations,
    Malformed,
    Table,
    index_table,
    read_durations,
)
from pipeline.corpus import AUDIO_TYPE
from pipeline.errors import ClipError, InputError
from pipeline.stage import Kept, Output, Quarantined

COUNTS = ("up_votes", "down_votes")
# A clip that decodes to less than this of its stated duration, and lacks more than that many
# seconds, lost its end. Encoders pad and tables round, so a little less is no fault.
SHORTEST_SHARE = 0.9
LONGEST_LACK_SECONDS = 0.25


@dataclass
class ImportStage:
    """Import of one release.

    Parameters
    ----------
    source : Path
        A release folder, or its ``.tar.gz``.
    output : Path
        Root of the corpus to make.
    sampling_rate : int
        In Hz.
    splits : tuple of str, optional
        Only these; by default all but ``validated``, which repeats the others.
    limit : int, optional
        Only the first rows of every split.
    """

    source: Path
    output: Path
    sampling_rate: int
    splits: tuple[str, ...] | None = None
    limit: int | None = None
    name: str = field(default="import", init=False)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The release."""
        return (self.source,)

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the input that decides the output."""
        return {
            "source": self.source.name,
            "sampling_rate": self.sampling_rate,
            "splits": list(self.splits) if self.splits else None,
            "limit": self.limit,
        }

    @cached_property
    def source_digest(self) -> str:
        """Digest of the tables, and of names and sizes of the clips; of an archive, its ends."""
        if is_archive(self.source) and self.source.is_file():
            return fingerprint(self.source)
        digests = {split: table.sha256 for split, table in self.tables.items()}
        clips = sorted((path.name, _size(path)) for path in self.release.clips.iterdir())
        return hashlib.sha256(json.dumps([digests, clips]).encode()).hexdigest()

    @cached_property
    def release(self) -> Release:
        """The release, unpacked beside the output if it came as an archive."""
        if is_archive(self.source) and self.source.is_file():
            return extract_archive(self.source, self.output / "source")
        return find_release(self.source)

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The wanted clip tables, by split."""
        paths = self.release.tables()
        wanted = self.splits or tuple(split for split in DEFAULT_SPLITS if split in paths)
        for split in wanted:
            if split not in paths:
                raise InputError(
                    f"{self.source} has no split {split!r}; available splits: {', '.join(paths)}"
                )
        return {split: index_table(paths[split]) for split in wanted}

    @cached_property
    def durations(self) -> Durations:
        """Durations that the release states."""
        return read_durations(self.release.durations)

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """The corpus: every column of the tables, and ours."""
        columns: dict[str, pa.DataType] = {
            "id": pa.string(),
            "audio": AUDIO_TYPE,
            "sentence": pa.string(),
            "duration_s": pa.float64(),
        }
        for table in self.tables.values():
            for name in table.columns:
                columns.setdefault(name, pa.int64() if name in COUNTS else pa.string())
        return (Output(self.output, columns, self.sampling_rate),)

    def split_sizes(self) -> Mapping[str, int]:
        """Count the rows of every table."""
        return {
            split: min(len(table), self.limit if self.limit is not None else len(table))
            for split, table in self.tables.items()
        }

    def prepare(self) -> None:
        """Nothing is needed but the clips."""

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Decode, mix down, resample and encode the clips of some rows."""
        for row in self.tables[split].rows(start, stop):
            if isinstance(row, Malformed):
                line = f"{self.tables[split].path.name}, line {row.line_number}"
                yield Quarantined("", line, f"malformed row: {row.reason}")
                continue
            try:
                yield Kept((self._convert(row),))
            except ClipError as error:
                yield Quarantined(Path(row["path"]).stem, row["path"], str(error))

    def _convert(self, row: Mapping[str, str]) -> dict[str, Any]:
        name = _file_name(row["path"])
        audio = decode(self.release.clips / name)
        _check_complete(audio.seconds, self.durations.seconds(name))
        waveform = to_mono(audio, self.sampling_rate)
        stem = Path(name).stem
        columns: dict[str, Any] = dict(row)
        columns.update({name: _count(row[name]) for name in COUNTS if name in row})
        columns["id"] = stem
        columns["duration_s"] = len(waveform) / self.sampling_rate
        flac = encode_audio(waveform, self.sampling_rate)
        return {**columns, "audio": {"bytes": flac, "path": f"{stem}.flac"}}


def _file_name(path: str) -> str:
    """Accept a plain file name and nothing else: the table may come from a stranger."""
    if path in ("", ".", "..") or "/" in path or "\\" in path or "\0" in path:
        raise ClipError(f"not a plain file name: {path!r}")
    return path if Path(path).suffix else f"{path}.mp3"


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a link to nothing; the row that names it is quarantined
        return None


def _check_complete(seconds: float, stated: float | None) -> None:
    if (
        stated is not None
        and seconds < SHORTEST_SHARE * stated
        and stated - seconds > LONGEST_LACK_SECONDS
    ):
        raise ClipError(f"truncated: {seconds:.2f} s decoded of {stated:.2f} s stated")


def _count(text: str) -> int | None:
    is_count = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if is_count else None
