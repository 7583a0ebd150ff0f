"""Which clips there are, in which order, and which of them a shard holds.

A manifest is fairseq's: ``<split>.tsv``, the root folder on its first line, then a line
``path<TAB>n_samples`` for every clip. A line without a count is read too. Where a folder holds a
corpus of ours instead, its rows are the clips; their paths, ``<split>/<row>/<id>.flac``, can stand
in a manifest whose root is the corpus.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.corpus import DATASET_FOLDER, Split, corpus_root, open_corpus
from pipeline.errors import ClipError, InputError, MissingPathError

ROW_PATH = re.compile(r"(?P<split>[^/]+)/(?P<row>\d+)/[^/]+\.flac")


@dataclass(frozen=True)
class Clip:
    """One line of a manifest.

    Attributes
    ----------
    path : str
        Relative to the root.
    n_samples : int or None
        At the sampling rate of the file, if the manifest says.
    """

    path: str
    n_samples: int | None


@dataclass(frozen=True)
class Manifest:
    """Clips of a split, read from disk when they are asked for.

    Attributes
    ----------
    source : Path
        The manifest, or the corpus.
    split : str
    root : Path
        What the paths of the clips are relative to.
    """

    source: Path
    split: str
    root: Path

    @cached_property
    def _rows(self) -> dict[str, Split]:
        """Splits of the corpus whose rows are the audio; none if the audio lies in files."""
        if not is_corpus(self.root):
            return {}
        corpus = open_corpus(self.root)
        return {name: corpus[name] for name in corpus.splits}

    @cached_property
    def n_clips(self) -> int:
        """Count the clips."""
        if self.source.suffix == ".tsv":
            return sum(1 for _ in self._lines())
        if self.split not in self._rows:
            open_corpus(self.root)[self.split]  # says which there are
        return len(self._rows[self.split])

    def clips(self, start: int = 0, stop: int | None = None) -> Iterator[Clip]:
        """Give clips ``start`` to ``stop``, in order.

        Raises
        ------
        InputError
            If a line of the manifest is not a path, or a path and a count.
        """
        if self.source.suffix != ".tsv":
            rows = self._rows[self.split]
            for index in range(start, len(rows) if stop is None else stop):
                yield Clip(row_path(rows, index), None)
            return
        for number, line in itertools.islice(self._lines(), start, stop):
            yield self._parse(number, line)

    def digest(self, start: int, stop: int) -> str:
        """SHA-256 of the root and the lines ``start`` to ``stop``."""
        digest = hashlib.sha256(f"{self.root}\n".encode(errors="surrogateescape"))
        for clip in self.clips(start, stop):
            line = f"{clip.path}\t{clip.n_samples}\n"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()

    def audio(self, clip: Clip) -> bytes | Path:
        """What :func:`pipeline.audio.decode` can decode.

        Raises
        ------
        ClipError
            If the root is a corpus without such a row.
        """
        row = ROW_PATH.fullmatch(clip.path) if self._rows else None
        if row is None:
            return self.root / clip.path
        rows, index = self._rows.get(row["split"]), int(row["row"])
        if rows is None or index >= len(rows) or row_path(rows, index) != clip.path:
            raise ClipError("no such row in the corpus")
        return rows.audio_bytes(index)

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Line number and text of every clip."""
        with self.source.open(encoding="utf-8", newline="\n") as file:
            try:
                for number, line in enumerate(file, start=1):
                    if number > 1:
                        yield number, line.rstrip()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{self.source} is not UTF-8 text; give a manifest as "
                    "`pipeline kmeans manifest` writes it"
                ) from error

    def _parse(self, number: int, line: str) -> Clip:
        path, _, count = line.partition("\t")
        is_path = bool(path) and "\0" not in path
        if not is_path or ("\t" in line and not (count.isascii() and count.isdigit())):
            raise InputError(
                f"{self.source}, line {number}: {line[:80]!r} is not `path<TAB>n_samples`; "
                "correct it, or make the manifest again with `pipeline kmeans manifest`"
            )
        return Clip(path, int(count) if count else None)


def open_manifest(folder: Path, split: str) -> Manifest:
    """Open ``<folder>/<split>.tsv``, or a split of the corpus that lies there.

    Raises
    ------
    InputError, MissingPathError
        If there is neither.
    """
    if "/" in split or split in ("", ".", ".."):
        raise InputError(f"{split!r} is no name of a split; give one such as train")
    table = folder / f"{split}.tsv"
    if not table.is_file():
        if is_corpus(folder):
            root = corpus_root(folder)
            return Manifest(root, split, root)
        raise MissingPathError(
            f"{folder} holds neither {split}.tsv nor a corpus; "
            "make a manifest with `pipeline kmeans manifest`"
        )
    with table.open("rb") as file:
        root_line = file.readline().rstrip()
    if not root_line or b"\0" in root_line:
        raise InputError(f"{table} does not begin with a line that names the root of its clips")
    return Manifest(table, split, Path(os.fsdecode(root_line)))


def is_corpus(folder: Path) -> bool:
    """Whether a corpus of ours lies there."""
    return (corpus_root(folder) / DATASET_FOLDER / "dataset_dict.json").is_file()


def row_path(rows: Split, index: int) -> str:
    """Path that stands for a row of a corpus in a manifest."""
    name = re.sub(r"[^\w.-]+", "_", str(rows.row(index).get("id") or index))
    return f"{rows.name}/{index}/{name[:200]}.flac"


def shard_range(n_clips: int, n_shards: int, rank: int) -> range:
    """Clips of one shard, as ``get_shard_range`` of fairseq's feature_utils.py has them.

    Python rounds halves to even here, so the sizes are not those of ``numpy.array_split``.

    Raises
    ------
    InputError
        If there is no such shard, or nothing in it.
    """
    if n_shards < 1 or not 0 <= rank < n_shards:
        raise InputError(f"rank {rank} of {n_shards} shards does not exist; ranks begin at 0")
    start, stop = (round(n_clips / n_shards * edge) for edge in (rank, rank + 1))
    if start >= stop:
        raise InputError(
            f"shard {rank} of {n_shards} is empty, since there are only {n_clips} clips; "
            f"give NSHARD of at most {n_clips}"
        )
    return range(start, stop)


def clip_name(path: str) -> str:
    """Name of a clip: its file name without what follows the last dot."""
    return Path(path).stem
