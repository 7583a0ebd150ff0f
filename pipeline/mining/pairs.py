"""Write what was mined: an alignment file, pairs of lines, and a corpus of pairs with their audio.

``<source>-<target>.align.npz`` holds stopes' arrays: ``scores``, ``src_idx``, ``trg_idx`` and
``bwd_pos``, the positions of pairs that only the target chose. ``bitexts.tsv.gz`` has a line
``score<TAB>source<TAB>target`` for every pair, the best first; ``bimeta.tsv.gz`` one with what is
known of both, and with which side chose: ``fwd``, ``bwd`` or ``both``.
"""

import csv
import gzip
import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import UNREADABLE, reason_of
from pipeline.audio import encode_audio
from pipeline.corpus import AUDIO_TYPE, write_path
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.mining.margin import BACKWARD, DIRECTIONS, Alignment
from pipeline.mining.segments import Segment, read_segment
from pipeline.mining.shards import Shard
from pipeline.stage import Kept, Output, Quarantined


def write_alignment(path: Path, found: Alignment) -> None:
    """Write an alignment in stopes' arrays."""
    with write_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            scores=found.scores,
            src_idx=found.source,
            trg_idx=found.target,
            bwd_pos=np.flatnonzero(found.direction == BACKWARD),
            direction=found.direction,
        )


def read_alignment(path: Path) -> Alignment:
    """Read what :func:`write_alignment` wrote.

    Raises
    ------
    MissingPathError, InputError
        If there is no such file, or it is something else.
    """
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; make it with `pipeline mine`")
    try:
        with np.load(path, allow_pickle=False) as file:
            names = ("scores", "src_idx", "trg_idx", "direction")
            scores, source, target, direction = (file[name] for name in names)
    except UNREADABLE as error:
        reason = reason_of(error)
        raise InputError(f"{path} is no alignment of ours ({reason}); mine it again") from error
    columns = (source, target, direction)
    whole = all(column.ndim == 1 and column.dtype.kind in "iu" for column in columns)
    if not whole or scores.dtype.kind != "f" or len({len(c) for c in (scores, *columns)}) > 1:
        raise InputError(f"{path} is no alignment of ours; mine it again")
    return Alignment(scores, source, target, direction)


class Lines:
    """Lines of a side by number, kept in a temporary file: memory grows by 8 bytes a line."""

    def __init__(self, shards: Sequence[Shard], read: Callable[[Shard], Iterator[str]]) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        ends = [np.zeros(1, np.int64)]
        position = 0
        for shard in shards:
            found = np.empty(shard.n_lines, np.int64)
            for index, line in enumerate(read(shard)):
                position += self._file.write(line.encode())
                found[index] = position
            ends.append(found)
        self._ends = np.concatenate(ends)

    def __enter__(self) -> "Lines":
        """Read from it."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the file."""
        self._file.close()

    def __getitem__(self, line: int) -> str:
        """One line."""
        start, stop = int(self._ends[line]), int(self._ends[line + 1])
        self._file.seek(start)
        return self._file.read(stop - start).decode()


def write_bitexts(
    folder: Path,
    found: Alignment,
    sides: tuple[Sequence[Shard], Sequence[Shard]],
    *,
    deduplicate: bool,
    compress: bool,
) -> Alignment:
    """Write pairs of lines and what is known of them; gives the pairs that were written.

    Parameters
    ----------
    folder : Path
    found : Alignment
    sides : two sequences of Shard
        Source and target.
    deduplicate : bool
        Of pairs whose lines are equal, write only the first, which is the best.
    compress : bool

    Raises
    ------
    InputError
        If a meta file has not as many lines as its shard.
    """
    suffix = table_suffix(compress)
    seen: set[bytes] = set()
    kept = np.zeros(len(found), bool)
    with ExitStack() as stack:
        source, target = (stack.enter_context(Lines(side, _described)) for side in sides)
        metas = [stack.enter_context(Lines(side, _meta)) for side in sides]
        texts = stack.enter_context(_table(folder / f"bitexts{suffix}", compress))
        meta = stack.enter_context(_table(folder / f"bimeta{suffix}", compress))
        for index in range(len(found)):
            i, j = int(found.source[index]), int(found.target[index])
            pair = (source[i], target[j])
            if deduplicate:
                digest = hashlib.blake2b("\n".join(pair).encode(), digest_size=16).digest()
                if digest in seen:
                    continue
                seen.add(digest)
            kept[index] = True
            score = f"{found.scores[index]:.6f}"
            texts.write((score, *pair))
            direction = DIRECTIONS[int(found.direction[index])]
            meta.write((score, metas[0][i], metas[1][j], direction))
    return found[kept]


def table_suffix(compress: bool) -> str:
    """Of tables of pairs."""
    return ".tsv.gz" if compress else ".tsv"


def _described(shard: Shard) -> Iterator[str]:
    return shard.described()


def _meta(shard: Shard) -> Iterator[str]:
    return shard.meta()


class _table:
    """A table that is renamed into place when it is whole; the same bytes for the same rows."""

    def __init__(self, path: Path, compress: bool) -> None:
        self._stack = ExitStack()
        self._path, self._compress = path, compress

    def __enter__(self) -> "_table":
        temporary = self._stack.enter_context(write_path(self._path))
        raw: Any = self._stack.enter_context(temporary.open("wb"))
        if self._compress:
            # Neither the name nor the time, which would differ from run to run.
            raw = self._stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        self._stack.enter_context(text)
        self._writer = csv.writer(text, "excel-tab", lineterminator="\n")
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, row: tuple[str, ...]) -> None:
        """Write a row; what holds a tab or a quote is quoted, as stopes has it."""
        self._writer.writerow(row)


@dataclass
class PairsStage:
    """A corpus of pairs: both lines, both clips where a side is speech, score and direction."""

    alignment: Path
    output: Path
    kinds: tuple[str, str]
    sides: tuple[Sequence[Shard], Sequence[Shard]]
    digest: str
    name: str = field(default="pairs", init=False)

    @property
    def config(self) -> dict[str, Any]:
        """What decides the rows besides the input."""
        return {"alignment": self.alignment.name, "kinds": list(self.kinds)}

    @property
    def sources(self) -> tuple[Path, ...]:
        """The alignment."""
        return (self.alignment,)

    @property
    def source_digest(self) -> str:
        """Digest of the alignment and of both sides."""
        return self.digest

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One corpus."""
        columns: dict[str, pa.DataType] = {
            "id": pa.string(),
            "score": pa.float32(),
            "direction": pa.string(),
        }
        for side, kind in zip(("source", "target"), self.kinds, strict=True):
            columns |= {side: pa.string(), f"{side}_meta": pa.string(), f"{side}_line": pa.int64()}
            if kind == "speech":
                columns[f"{side}_audio"] = AUDIO_TYPE
        return (Output(self.output, columns),)

    def split_sizes(self) -> Mapping[str, int]:
        """All pairs are one split."""
        return {"train": len(read_alignment(self.alignment))}

    def prepare(self) -> None:
        """Nothing has to be loaded."""

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Make pairs ``start`` to ``stop``."""
        found = read_alignment(self.alignment)[slice(start, stop)]
        numbers = (found.source, found.target)
        lines = [
            dict(_chosen(side, wanted)) for side, wanted in zip(self.sides, numbers, strict=True)
        ]
        for index in range(len(found)):
            i, j = int(found.source[index]), int(found.target[index])
            name = f"pair_{i:08d}_{j:08d}"
            row: dict[str, Any] = {
                "id": name,
                "score": float(found.scores[index]),
                "direction": DIRECTIONS[int(found.direction[index])],
            }
            try:
                for side, kind, line in zip(
                    ("source", "target"), self.kinds, (lines[0][i], lines[1][j]), strict=True
                ):
                    row |= {side: line.described, f"{side}_meta": line.meta}
                    row[f"{side}_line"] = line.number
                    if kind == "speech":
                        row[f"{side}_audio"] = _audio(line.segment, f"{name}_{side}.flac")
            except ClipError as error:
                yield Quarantined(name, name, str(error))
            else:
                yield Kept((row,))


@dataclass(frozen=True)
class _Line:
    number: int
    described: str
    meta: str
    segment: Segment | str


def _chosen(side: Sequence[Shard], wanted: np.ndarray) -> Iterator[tuple[int, _Line]]:
    """Lines by their number over all shards; only those wanted are kept."""
    numbers = set(wanted.tolist())
    first = 0
    for shard in side:
        if any(first <= number < first + shard.n_lines for number in numbers):
            parts = zip(shard.described(), shard.meta(), shard.segments(), strict=True)
            for number, (described, meta, segment) in enumerate(parts, start=first):
                if number in numbers:
                    yield number, _Line(number, described, meta, segment)
        first += shard.n_lines


def _audio(segment: Segment | str, name: str) -> dict[str, Any]:
    if isinstance(segment, str):
        raise ClipError(segment)
    return {"bytes": encode_audio(read_segment(segment)), "path": name}
