"""``pipeline import``: a corpus in any layout becomes a corpus of FLAC in Arrow shards."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.audio import SAMPLING_RATE
from pipeline.corpus import AUDIO_TYPE
from pipeline.errors import ClipError, InputError
from pipeline.imports.clips import Clip, Converter, Layout, Sound, plain_name, readable
from pipeline.stage import Kept, Output, Quarantined

# A clip that decodes to less than this of its stated duration, and lacks more than that many
# seconds, lost its end. Encoders pad and tables round, so a little less is no fault.
SHORTEST_SHARE = 0.9
LONGEST_LACK_SECONDS = 0.25


@dataclass
class ImportStage:
    """Import of one source.

    Parameters
    ----------
    layout : Layout
        The source, opened.
    output : Path
        Root of the corpus to make.
    sampling_rate : int
        In Hz.
    splits : tuple of str, optional
        Only these; by default those that the layout takes for the usual ones.
    limit : int, optional
        Only the first rows of every split.
    keep_original : bool
        Store the files of the source as they are.
    """

    layout: Layout
    output: Path
    sampling_rate: int = SAMPLING_RATE
    splits: tuple[str, ...] | None = None
    limit: int | None = None
    keep_original: bool = False
    name: str = field(default="import", init=False)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The source."""
        return (self.layout.source,)

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the input that decides the output."""
        return {
            "source": readable(self.layout.source.name),
            "layout": self.layout.name,
            "sampling_rate": self.sampling_rate,
            "splits": list(self.splits) if self.splits else None,
            "limit": self.limit,
            "keep_original": self.keep_original,
        }

    @cached_property
    def source_digest(self) -> str:
        """Digest of the input, as the layout takes it."""
        return self.layout.digest(self.wanted)

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The splits to import."""
        available = self.layout.splits
        for split in self.splits or ():
            if split not in available:
                raise InputError(
                    f"{self.layout.source} has no split {split!r}; "
                    f"available splits: {', '.join(available)}"
                )
        return self.splits or self.layout.default_splits

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """The corpus: every column of the source, and ours."""
        ours: dict[str, pa.DataType] = {
            "id": pa.string(),
            "audio": AUDIO_TYPE,
            "sentence": pa.string(),
            "duration_s": pa.float64(),
        }
        columns = {**self.layout.columns(self.wanted), **ours}
        return (Output(self.output, {**ours, **columns}, self.sampling_rate),)

    def split_sizes(self) -> Mapping[str, int]:
        """Count the rows of every split."""
        sizes = {split: self.layout.size(split) for split in self.wanted}
        return {
            split: size if self.limit is None else min(size, self.limit)
            for split, size in sizes.items()
        }

    def prepare(self) -> None:
        """Nothing is needed but the clips."""

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Convert the clips of some rows."""
        converter = Converter(self.sampling_rate, keep_original=self.keep_original)
        for clip in self.layout.clips(split, start, stop):
            if isinstance(clip, Quarantined):
                yield clip
                continue
            try:
                yield Kept((_row(clip, converter),))
            except ClipError as error:
                yield Quarantined(clip.id, clip.path, str(error))


def _row(clip: Clip, converter: Converter) -> dict[str, Any]:
    sound = clip.audio
    if not isinstance(sound, Sound):
        sound = converter.convert(sound, clip.part, clip.path)
    _check_complete(sound.source_seconds, clip.stated_seconds)
    stored = {"bytes": sound.content, "path": f"{plain_name(clip.id)}{sound.suffix}"}
    return {**clip.columns, "id": clip.id, "duration_s": sound.duration_s, "audio": stored}


def _check_complete(seconds: float, stated: float | None) -> None:
    if (
        stated is not None
        and seconds < SHORTEST_SHARE * stated
        and stated - seconds > LONGEST_LACK_SECONDS
    ):
        raise ClipError(f"truncated: {seconds:.2f} s decoded of {stated:.2f} s stated")
