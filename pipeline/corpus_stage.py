"""What stages that read a corpus share, and the shortest way to a stage of one's own.

:class:`CorpusStage` opens the corpus, counts its rows and travels to workers; a stage on it says
what it writes. :class:`ClipStage` writes one corpus with the rows of another, and asks its subclass
for nothing but what becomes of a clip.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from pipeline.corpus import Corpus, Split, open_corpus
from pipeline.errors import ClipError
from pipeline.stage import Kept, Output, Quarantined, corpus_digest

__all__ = ["ClipError", "ClipStage", "CorpusStage"]


class CorpusStage:
    """A stage whose input is one corpus.

    Attributes
    ----------
    source : Path
        Root of the corpus.
    splits : tuple of str, optional
        Only these.
    limit : int, optional
        Only the first rows of every split.
    sampling_rate : int
        What clips are decoded at, in Hz; unless a stage says otherwise, that of the corpus.
    """

    source: Path
    splits: tuple[str, ...] | None
    limit: int | None

    @property
    def sampling_rate(self) -> int:
        """What clips are decoded at, in Hz."""
        return self.corpus.sampling_rate

    @property
    def sources(self) -> tuple[Path, ...]:
        """The corpus."""
        return (self.corpus.root,)

    @cached_property
    def source_digest(self) -> str:
        """Digest of the corpus."""
        return corpus_digest(self.corpus)

    @cached_property
    def corpus(self) -> Corpus:
        """The input."""
        return open_corpus(self.source)

    def columns(self) -> dict[str, pa.DataType]:
        """Columns of all splits of the input, with their types."""
        columns: dict[str, pa.DataType] = {}
        for split in self.corpus.splits:
            schema = self.corpus[split].table.schema
            columns.update({name: schema.field(name).type for name in schema.names})
        return columns

    def split_sizes(self) -> Mapping[str, int]:
        """Count the rows of the wanted splits."""
        corpus = self.corpus
        sizes = {split: len(corpus[split]) for split in self.splits or corpus.splits}
        return {
            split: size if self.limit is None else min(size, self.limit)
            for split, size in sizes.items()
        }

    def prepare(self) -> None:
        """Nothing is needed but the clips."""

    def split(self, name: str) -> Split:
        """Open a split, once in every process."""
        if name not in self._splits:
            self._splits[name] = self.corpus[name].at_rate(self.sampling_rate)
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, Split]:
        return {}


@dataclass
class ClipStage(CorpusStage):
    """One corpus in, one corpus out, row by row alike.

    A subclass is a dataclass with a ``name`` and a method :meth:`clip`. The fields it adds are its
    settings: they are recorded, and an output made with others is refused.

    Parameters
    ----------
    source : Path
        Root of a corpus.
    output : Path
        Root of the corpus to make.
    splits : tuple of str, optional
        Only these.
    limit : int, optional
        Only the first rows of every split.
    """

    name: ClassVar[str]
    # Columns that `clip` adds, with their types.
    added: ClassVar[Mapping[str, pa.DataType]] = {}

    source: Path
    output: Path
    splits: tuple[str, ...] | None = field(default=None, kw_only=True)
    limit: int | None = field(default=None, kw_only=True)

    def clip(self, row: dict[str, Any], audio: bytes) -> dict[str, Any]:
        """Say what changes: values of columns by their names, ``audio`` as encoded bytes.

        Parameters
        ----------
        row : dict[str, Any]
            All columns but the audio.
        audio : bytes
            The encoded sound; `pipeline.audio.load_mono` decodes it.

        Raises
        ------
        ClipError
            If the clip is to be quarantined; with the reason.
        """
        raise NotImplementedError

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the input that decides the output."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        del settings["output"]
        return {**settings, "source": self.corpus.root.name}

    @property
    def outputs(self) -> tuple[Output, ...]:
        """A corpus with the columns of the input, and those that are added."""
        return (Output(self.output, {**self.columns(), **self.added}, self.sampling_rate),)

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Ask for one clip after the other."""
        source = self.split(split)
        for index in range(start, stop):
            row, audio = source.row(index), source.audio_bytes(index)
            name = str(row.get("id") or index)
            try:
                made = {"audio": audio, **self.clip(row, audio)}
            except ClipError as error:
                yield Quarantined(name, str(row.get("path") or name), str(error))
                continue
            made["audio"] = {"bytes": made["audio"], "path": f"{name}.flac"}
            yield Kept(({**row, **made},))
