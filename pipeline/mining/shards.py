"""Inputs: shards of text (a sentence a line) and of speech (a segment a line), or corpora of ours.

A line of a speech shard is ``audio_file start end batch_no``, alone or as the second column of a
line with tabs; ``start``, ``end`` and ``batch_no`` may be missing. Shards may be packed with gzip
or xz. They are taken in natural order, so that ``part.10`` follows ``part.9``.
"""

import glob
import gzip
import hashlib
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

from pipeline.corpus import Split, open_corpus
from pipeline.errors import InputError, MissingPathError
from pipeline.mining.preset import DataChoice, Side
from pipeline.mining.segments import Segment, parse_segment
from pipeline.stage import corpus_digest
from pipeline.yaml_files import read_yaml

LONGEST_LINE = 2**20  # characters; what is longer is no sentence
CORPUS_SHARD_ROWS = (64, 4096)  # fewest and most


class Shard(Protocol):
    """Lines of one side. It is sent to workers, so it holds nothing open."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def n_lines(self) -> int:
        """Count the lines, each of which becomes a row."""

    @property
    def digest(self) -> str:
        """SHA-256 of what is in it."""

    def texts(self) -> Iterator[str]:
        """Give every line as text."""

    def segments(self) -> Iterator[Segment | str]:
        """Give every line as a piece of speech, or say why it is none."""

    def described(self) -> Iterator[str]:
        """Give what stands for every line in the output."""

    def meta(self) -> Iterator[str]:
        """Give what is known of every line besides; empty lines if nothing is."""


@dataclass(frozen=True)
class FileShard:
    """A file of lines, plain or packed.

    Attributes
    ----------
    path : Path
    unit : {"samples16k", "ms", "s"}
        Of the times of segments.
    meta_path : Path, optional
        A file with as many lines.
    """

    path: Path
    unit: str = "samples16k"
    meta_path: Path | None = None

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @cached_property
    def n_lines(self) -> int:
        """Count the lines."""
        return sum(1 for _ in _lines(self.path))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, and of the unit its times are in."""
        digest = hashlib.sha256(self.unit.encode())
        with self.path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
        return digest.hexdigest()

    def texts(self) -> Iterator[str]:
        """Give every line."""
        return _lines(self.path)

    def segments(self) -> Iterator[Segment | str]:
        """Read every line as a segment."""
        for line in _lines(self.path):
            yield parse_segment(line, self.unit, self.path.parent)

    def described(self) -> Iterator[str]:
        """Give every line as it stands."""
        return _lines(self.path)

    def meta(self) -> Iterator[str]:
        """Give the lines of the meta file.

        Raises
        ------
        InputError
            If it has not as many.
        """
        if self.meta_path is None:
            for _ in range(self.n_lines):
                yield ""
            return
        found = 0
        for line in islice(_lines(self.meta_path), self.n_lines + 1):
            found += 1
            if found <= self.n_lines:
                yield line
        if found != self.n_lines:
            raise InputError(
                f"{self.meta_path} has {'more' if found > self.n_lines else found} lines and "
                f"{self.path} {self.n_lines}; give a meta file with a line for each"
            )


@dataclass(frozen=True)
class CorpusShard:
    """Some rows of a split of a corpus of ours."""

    split: Split
    rows: range
    column: str
    corpus_digest: str

    @property
    def name(self) -> str:
        """The split and the rows."""
        return f"{self.split.name} {self.rows.start}-{self.rows.stop}"

    @property
    def n_lines(self) -> int:
        """Count the rows."""
        return len(self.rows)

    @property
    def digest(self) -> str:
        """SHA-256 of which rows of what these are."""
        text = f"{self.corpus_digest} {self.name} {self.column}"
        return hashlib.sha256(text.encode()).hexdigest()

    def texts(self) -> Iterator[str]:
        """Give the sentences."""
        column = self.split.column(self.column)
        for row in self.rows:
            yield str(column[row].as_py() or "")

    def segments(self) -> Iterator[Segment | str]:
        """Give the clips, whole."""
        for row in self.rows:
            yield Segment(self.split, row=row)

    def described(self) -> Iterator[str]:
        """Give the ids."""
        for row in self.rows:
            yield str(self.split.row(row).get("id") or row)

    def meta(self) -> Iterator[str]:
        """Give the sentences."""
        return self.texts()


def open_side(side: Side) -> list[Shard]:
    """Find the shards of a side.

    Raises
    ------
    MissingPathError, InputError
        If there are none, or one cannot be read.
    """
    where = f"lang_configs.{side.name}.data"
    if side.data.corpus:
        return _corpus_shards(side.data)
    paths = _shard_paths(side.name, side.data, where)
    metas = _meta_paths(side.data, len(paths), where)
    shards: list[Shard] = [
        FileShard(path, side.data.segment_unit, meta)
        for path, meta in zip(paths, metas, strict=True)
    ]
    if not any(shard.n_lines for shard in shards):
        raise InputError(
            f"{where}: all {len(shards)} shards are empty, the first is {shards[0].name}; "
            "give at least one line"
        )
    return shards


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Order of names by the numbers in them."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts)


def _corpus_shards(data: DataChoice) -> list[Shard]:
    corpus = open_corpus(Path(str(data.corpus)))
    digest, shards = corpus_digest(corpus), list[Shard]()
    for name in data.splits or corpus.splits:
        split, (fewest, most) = corpus[name], CORPUS_SHARD_ROWS
        n_rows = min(max(fewest, len(split) // 64), most)
        for start in range(0, len(split), n_rows):
            rows = range(start, min(start + n_rows, len(split)))
            shards.append(CorpusShard(split, rows, data.column, digest))
    if not shards:
        raise InputError(f"{data.corpus} has no rows; name another corpus or other splits")
    return shards


def _shard_paths(name: str, data: DataChoice, where: str) -> list[Path]:
    """Shards in the order of precedence of stopes: a list, a glob, names in a folder."""
    if data.shard_list:
        found = [Path(line) for line in _read_list(Path(data.shard_list), where)]
        missing = [path for path in found if not path.is_file()]
        if missing:
            raise MissingPathError(f"{missing[0]} does not exist, and {data.shard_list} names it")
        return found
    if data.shard_glob:
        pattern = data.shard_glob
    elif data.data_shard_dir and data.bname:
        pattern = f"{data.data_shard_dir}/{data.bname}.{data.shard_type}.{name}.*.[gx]z"
    else:
        raise InputError(f"{where} names no shards; give shard_glob, shard_list or corpus")
    paths = sorted((Path(path) for path in glob.glob(pattern)), key=natural_key)
    paths = [path for path in paths if path.is_file()]
    if not paths:
        raise MissingPathError(f"{where}: no file is named like {pattern}; correct shard_glob")
    return paths


def _meta_paths(data: DataChoice, n_shards: int, where: str) -> list[Path] | list[None]:
    if not data.meta_glob:
        return [None] * n_shards
    paths = sorted((Path(path) for path in glob.glob(data.meta_glob)), key=natural_key)
    if len(paths) != n_shards:
        raise InputError(
            f"{where}: {len(paths)} files are named like {data.meta_glob} and there are "
            f"{n_shards} shards; give one for each, or set meta_glob to null"
        )
    return paths


def _read_list(path: Path, where: str) -> list[str]:
    listed = read_yaml(path, f"correct shard_list of {where}")
    shards = listed.get("shard_list") if isinstance(listed, dict) else None
    if not isinstance(shards, list) or not shards:
        raise InputError(f"{path} holds no list of files under shard_list")
    return [str(shard) for shard in shards]


def _lines(path: Path) -> Iterator[str]:
    """Lines without their ends; read as they are asked for."""
    number = 0
    try:
        with closing(_open(path)) as file:
            while line := file.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    raise InputError(f"{path}, line {number} has more than {LONGEST_LINE:,} bytes")
                yield line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line {number} is not UTF-8 text; convert it") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read ({reason}); make it again") from error


def _open(path: Path) -> IO[bytes] | gzip.GzipFile | lzma.LZMAFile:
    with path.open("rb") as file:
        magic = file.read(6)
    # By what is in it: shards of stopes are named .xz or .gz whichever they are.
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(path, "rb")
    return path.open("rb")
