"""Embed the shards of a side: float16 rows, a row per line, memory-mapped by what comes after.

Files in ``embed.<data_version>/<side>/``::

    encf.000.<side>                   rows of a shard, a .npy file; zeros where a line was left out
    encf.000.<side>.json              which encoder, which shard, counts; "complete" at the end
    encf.000.<side>.quarantine.jsonl  lines that were left out, with their reasons
    <side>.nl                         lines of every shard
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audio import SAMPLING_RATE
from pipeline.corpus import read_json, write_atomically, write_json, write_path
from pipeline.errors import CheckFailed, ClipError, InputError
from pipeline.folders import COMPLETE, RUNNING
from pipeline.mining.preset import Side
from pipeline.mining.segments import Segment, read_segment
from pipeline.mining.shards import Shard
from pipeline.progress import Progress
from pipeline.workers import WorkerPool

BUFFER = 256  # lines that are held at a time
BATCH_SIZE = 32
BATCH_SECONDS = 120.0  # of speech in a batch
LARGEST_HALF = float(np.finfo(np.float16).max)

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class EmbedReport:
    """What came of a shard."""

    shard: int
    lines: int
    quarantined: int
    n_dims: int


@dataclass(frozen=True)
class EmbedWork:
    """Embeddings of the shards of a side; called with the number of a shard, it makes that one."""

    side: Side
    shards: Sequence[Shard]
    encoder: Any
    folder: Path
    overwrite: bool = False

    def path(self, index: int) -> Path:
        """Where the rows of a shard are."""
        return self.folder / f"encf.{index:03d}.{self.side.name}"

    def description(self, index: int) -> dict[str, Any]:
        """What decides the rows of a shard."""
        return {"encoder": self.encoder.settings, "source_digest": self.shards[index].digest}

    def __call__(self, index: int) -> EmbedReport:
        """Embed one shard, or report it if it is there already.

        Raises
        ------
        InputError
            If its file was made in another way, or stored rows cannot be used.
        """
        path, shard, description = self.path(index), self.shards[index], self.description(index)
        record = _beside(path, ".json")
        if not self.overwrite and (report := _finished(path, record, description)):
            return report
        write_json(record, {**description, "status": RUNNING})
        quarantined: list[dict[str, Any]] = []
        with write_path(path) as temporary:
            n_dims = self._write(temporary, index, quarantined)
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in quarantined)
        write_atomically(_beside(path, ".quarantine.jsonl"), lines.encode())
        counts = {"shard": index, "lines": shard.n_lines, "quarantined": len(quarantined)}
        facts = {**counts, "n_dims": n_dims, "bytes": path.stat().st_size, "status": COMPLETE}
        write_json(record, {**description, **facts})
        return EmbedReport(**counts, n_dims=n_dims)

    def _write(self, temporary: Path, index: int, quarantined: list[dict[str, Any]]) -> int:
        shard = self.shards[index]
        rows: np.ndarray | None = None
        n_dims = 0
        with Progress(f"{self.side.name} {index}", shard.n_lines) as bar:
            for start, block in self._blocks(index):
                if rows is None and block.rows.shape[1]:
                    n_dims = block.rows.shape[1]
                    rows = _open_rows(temporary, shard.n_lines, n_dims)
                if rows is not None:
                    rows[start : start + len(block.rows)] = block.rows
                quarantined += [
                    {"line": start + line + 1, "shard": shard.name, "reason": reason}
                    for line, reason in sorted(block.reasons.items())
                ]
                bar.advance(len(block.rows))
        if rows is None and shard.n_lines:
            raise CheckFailed(
                f"none of the {shard.n_lines} lines of {shard.name} can be embedded; "
                f"the first because: {quarantined[0]['reason']}"
            )
        if rows is None:
            _open_rows(temporary, 0, 0)
        else:
            rows.flush()  # type: ignore[attr-defined]
        return n_dims

    def _blocks(self, index: int) -> Iterator[tuple[int, "_Block"]]:
        shard = self.shards[index]
        if self.encoder.kind == "stored":
            rows = self.encoder.rows(index, shard.n_lines)
            for start in range(0, len(rows), BUFFER):
                yield start, _stored_block(rows[start : start + BUFFER], shard.name)
            return
        lines: Iterator[Any] = shard.texts() if self.encoder.kind == "text" else shard.segments()
        n_dims, start = 0, 0
        while buffer := list(islice(lines, BUFFER)):
            block = (
                _checked(self.encoder.encode_text(buffer))
                if self.encoder.kind == "text"
                else self._speech_block(buffer, n_dims)
            )
            n_dims = n_dims or block.rows.shape[1]
            yield start, block
            start += len(buffer)

    def _speech_block(self, lines: list[Segment | str], n_dims: int) -> "_Block":
        waveforms, reasons = dict[int, np.ndarray](), dict[int, str]()
        for line, segment in enumerate(lines):
            try:
                if isinstance(segment, str):
                    raise ClipError(segment)
                waveforms[line] = read_segment(segment)
            except ClipError as error:
                reasons[line] = str(error)
        groups = {i: s.batch_no for i, s in enumerate(lines) if i in waveforms and s}  # type: ignore[union-attr]
        seconds = {line: len(clip) / SAMPLING_RATE for line, clip in waveforms.items()}
        found: dict[int, np.ndarray] = {}
        for batch in batches(seconds, groups, BATCH_SIZE):
            found |= self._encode({line: waveforms[line] for line in batch}, reasons)
        width = len(next(iter(found.values()))) if found else n_dims
        rows = np.zeros((len(lines), width), np.float32)
        for line, row in found.items():
            rows[line] = row
        block = _checked(rows)
        return _Block(block.rows, reasons | block.reasons)

    def _encode(
        self, waveforms: dict[int, np.ndarray], reasons: dict[int, str]
    ) -> dict[int, np.ndarray]:
        """Embed a batch; if one of it cannot be, each by itself."""
        try:
            rows = self.encoder.encode_speech(list(waveforms.values()))
        except ClipError as error:
            if len(waveforms) == 1:
                reasons[next(iter(waveforms))] = str(error)
                return {}
            found: dict[int, np.ndarray] = {}
            for line, waveform in waveforms.items():
                found |= self._encode({line: waveform}, reasons)
            return found
        return dict(zip(waveforms, rows, strict=True))


@dataclass(frozen=True)
class EmbedUnits:
    """The shards of both sides as numbered units, those of the source first."""

    works: Sequence[EmbedWork]

    @property
    def _units(self) -> list[tuple[EmbedWork, int]]:
        return [(work, index) for work in self.works for index in range(len(work.shards))]

    @property
    def sizes(self) -> list[int]:
        """Lines of every shard."""
        return [work.shards[index].n_lines for work, index in self._units]

    def proof(self, unit: int) -> Path:
        """The record of a shard, which says when it is complete."""
        work, index = self._units[unit]
        return _beside(work.path(index), ".json")

    def is_done(self, unit: int) -> bool:
        """Whether a shard is embedded, and as it would be now."""
        work, index = self._units[unit]
        return _finished(work.path(index), self.proof(unit), work.description(index)) is not None

    def __call__(self, unit: int) -> EmbedReport:
        """Embed a shard."""
        work, index = self._units[unit]
        return work(index)


@dataclass(frozen=True)
class _Block:
    """Rows of some lines, and why some of them are zeros."""

    rows: np.ndarray
    reasons: dict[int, str]


def embed_side(work: EmbedWork, which: Sequence[int], num_workers: int) -> list[EmbedReport]:
    """Embed some of the shards of a side, and write the file of line counts.

    Raises
    ------
    InputError
        As :class:`EmbedWork`; or if shards were embedded in different widths.
    """
    work.folder.mkdir(parents=True, exist_ok=True)
    if 0 in which:  # of several tasks, one
        counts = "".join(f"{shard.n_lines}\n" for shard in work.shards)
        write_atomically(work.folder / f"{work.side.name}.nl", counts.encode())
    for shard in (work.shards[index] for index in which):
        if not shard.n_lines:
            logger.warning("%s is empty; it has no rows", shard.name)
    pool = WorkerPool(work, num_workers if len(which) > 1 else 0)
    with pool:
        reports = sorted((report for _, report in pool.run(which)), key=lambda one: one.shard)
    quarantined = sum(report.quarantined for report in reports)
    if quarantined:
        logger.warning(
            "%d lines of %s are left out; their reasons are in %s/*.quarantine.jsonl",
            *(quarantined, work.side.name, work.folder),
        )
    return reports


def embedded_shards(work: EmbedWork) -> list[Path]:
    """Rows of all shards of a side: files of float16 [shape=(n_lines, n_dims)] each.

    Raises
    ------
    InputError
        If a shard is not embedded yet, or was embedded in another way or width.
    """
    width = 0
    for index in range(len(work.shards)):
        path = work.path(index)
        report = _finished(path, _beside(path, ".json"), work.description(index))
        if report is None:
            raise InputError(
                f"{path} is not finished; embed all shards of {work.side.name} first, "
                "with --step embed"
            )
        if report.lines and width and report.n_dims != width:
            raise InputError(
                f"{path} has {report.n_dims} dimensions and the shards before {width}; "
                "embed all shards of a side with one encoder"
            )
        width = width or report.n_dims
    return [work.path(index) for index in range(len(work.shards))]


def batches(
    seconds: dict[int, float], groups: dict[int, int], batch_size: int
) -> Iterator[list[int]]:
    """Lines that are embedded together: of one group where they name one, else of like length.

    Parameters
    ----------
    seconds : dict of int to float
        Duration of every line.
    groups : dict of int to int
        ``batch_no`` of every line; 0 for none.
    batch_size : int
        At most so many, and so few that they last ``BATCH_SECONDS`` together.
    """
    batch: list[int] = []
    total = 0.0
    order = sorted(seconds, key=lambda line: (groups.get(line, 0), seconds[line], line))
    for line in order:
        other_group = batch and groups.get(line, 0) != groups.get(batch[-1], 0)
        if batch and (
            other_group or len(batch) == batch_size or total + seconds[line] > BATCH_SECONDS
        ):
            yield batch
            batch, total = [], 0.0
        batch.append(line)
        total += seconds[line]
    if batch:
        yield batch


def _checked(rows: np.ndarray) -> _Block:
    """Scale rows that float16 cannot hold, and blank those that are no numbers."""
    rows = np.asarray(rows, np.float32)
    finite = np.isfinite(rows).all(axis=1)
    rows = np.where(finite[:, None], rows, 0)
    largest = np.abs(rows).max(axis=1, initial=0)
    # Only directions count, so a row may be scaled; small ones would lose digits in float16.
    scale = np.divide(1, largest, out=np.ones_like(largest), where=largest > 0)
    reasons = dict.fromkeys(np.flatnonzero(~finite).tolist(), "its embedding holds NaN or infinity")
    return _Block((rows * scale[:, None]).astype(np.float16), reasons)


def _stored_block(rows: np.ndarray, name: str) -> _Block:
    block = _checked(rows)
    if block.reasons:
        raise InputError(f"the stored rows of {name} hold NaN or infinity; embed the shard again")
    return block


def _open_rows(path: Path, n_rows: int, n_dims: int) -> np.ndarray:
    if not n_rows:
        with path.open("wb") as file:
            np.save(file, np.empty((0, n_dims), np.float16))
        return np.empty((0, n_dims), np.float16)
    return np.lib.format.open_memmap(path, "w+", np.float16, (n_rows, n_dims))


def _finished(path: Path, record: Path, description: dict[str, Any]) -> EmbedReport | None:
    """What a finished shard is known to hold; None if it is not there, or not whole."""
    known = read_json(record)
    if not known:
        return None
    for key, what in (("encoder", "another encoder"), ("source_digest", "another shard")):
        if known.get(key) != json.loads(json.dumps(description[key])):
            raise InputError(
                f"{path} holds rows of {what}; give --overwrite to embed again, or name another "
                "output_dir"
            )
    whole = known.get("status") == COMPLETE and path.is_file()
    if not whole or path.stat().st_size != known.get("bytes"):
        return None
    return EmbedReport(*(known[key] for key in ("shard", "lines", "quarantined", "n_dims")))


def _beside(path: Path, suffix: str) -> Path:
    # The name of a side may have a dot in it, so with_suffix is no help.
    return path.with_name(path.name + suffix)
