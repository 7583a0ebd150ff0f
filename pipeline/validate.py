"""``pipeline validate``: hold an output folder against what its ``run.json`` says of it.

What is wrong inside the dataset is a check that failed. What is no output of ours, or has a
``run.json`` that no stage wrote, is bad input.
"""

import hashlib
import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.audio import DecodedAudio, decode
from pipeline.checks import Check, check_each, verdict_of
from pipeline.corpus import Split, corpus_root, open_corpus, read_json
from pipeline.counts import SplitCounts
from pipeline.errors import (
    ClipError,
    HearingAnalysisError,
    InputError,
    MissingPathError,
)
from pipeline.folders import COMPLETE, RUN_FILE

Choice = TypeVar("Choice", bound=str)
QUARANTINE_FILE = "quarantine.jsonl"
NAME_ANOTHER = "name the output folder of pipeline import, mask or logmel"
QUARANTINE_KEYS = ("id", "split", "path", "reason")


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` says, of the types a stage writes."""

    path: Path
    stage: str
    status: str
    config: dict[str, Any]
    source_digest: str
    splits: dict[str, SplitCounts]


@dataclass(frozen=True)
class Place:
    """A row of a split."""

    split: str
    row: int


@dataclass(frozen=True)
class Examination:
    """An output folder and what was found there.

    Attributes
    ----------
    root : Path
    run : RunRecord
    splits : dict of str to Split
        Empty if they cannot all be opened; nothing more can be checked then.
    sample : tuple of Place
        The clips that are looked at one by one.
    checks : tuple of Check
    """

    root: Path
    run: RunRecord
    splits: dict[str, Split]
    sample: tuple[Place, ...]
    checks: tuple[Check, ...]


def examine(path: Path, n_clips: int, seed: int) -> Examination:
    """Check what every output has: its shards, its counts, its ids, and the audio of a sample.

    Parameters
    ----------
    path : Path
        An output folder, or the ``dataset`` folder inside it.
    n_clips : int
        Size of the sample.
    seed : int
        Of the sample.

    Raises
    ------
    InputError
        If no stage of ours made the folder, or its ``run.json`` is damaged.
    """
    root = corpus_root(path)
    run = read_run(root)
    complete = verdict_of("run.json", run.status, COMPLETE, run.status == COMPLETE)
    if complete.verdict == "failed":
        return Examination(root, run, {}, (), (complete,))
    try:
        splits = open_splits(root)
    except HearingAnalysisError as error:
        damage = Check("shards", str(error), "all open", "failed")
        return Examination(root, run, {}, (), (complete, damage))
    n_shards = sum(len(split.shards) for split in splits.values())
    sizes = {name: len(split) for name, split in splits.items()}
    sample = draw_sample(sizes, n_clips, seed)
    checks = (
        complete,
        Check("shards", f"{n_shards:,} open", "all open", "passed"),
        _check_rows(sizes, run.splits),
        _check_counts(run.splits),
        _check_quarantine(root / QUARANTINE_FILE, run.splits),
        _check_ids(splits),
        _check_audio(splits, sample),
    )
    return Examination(root, run, splits, sample, checks)


def read_run(root: Path) -> RunRecord:
    """Read what a stage wrote down of its output.

    Raises
    ------
    InputError
        If there is no such file, or what it holds was not written by a stage.
    """
    path = root / RUN_FILE
    if not root.exists():
        raise MissingPathError(f"{root} does not exist; {NAME_ANOTHER}")
    try:
        run = read_json(path)
    except InputError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        reason = error.__cause__.strerror
        raise InputError(f"{path} cannot be read ({reason}); {NAME_ANOTHER}") from error
    if "stage" not in run:
        raise InputError(f"{root} has no {RUN_FILE} of ours; {NAME_ANOTHER}")
    return RunRecord(
        path,
        typed(path, run, "stage", str),
        typed(path, run, "status", str),
        typed(path, run, "config", dict),
        typed(path, run, "source_digest", str),
        _read_counts(path, run),
    )


def typed(path: Path, values: Mapping[str, Any], key: str, kind: type) -> Any:
    """Return a value of a JSON object, if it is of the kind that a stage writes.

    Raises
    ------
    InputError
        If it is missing or of another kind.
    """
    value = values.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(
            f"{path} has {key} {reprlib.repr(value)}, which is not what a stage writes; "
            "make the output again with --overwrite"
        )
    return value


def one_of_those(
    path: Path, values: Mapping[str, Any], key: str, allowed: Sequence[Choice]
) -> Choice:
    """Return a value of a JSON object, if it is one of those allowed.

    Raises
    ------
    InputError
        If it is another.
    """
    for choice in allowed:
        if values.get(key) == choice:
            return choice
    raise InputError(
        f"{path} has {key} {reprlib.repr(values.get(key))}, not one of: {', '.join(allowed)}; "
        "make the output again with --overwrite"
    )


def draw_sample(sizes: Mapping[str, int], n_clips: int, seed: int) -> tuple[Place, ...]:
    """Draw rows without replacement, as many from each split as far as it has them."""
    rng = np.random.default_rng(seed)
    places, left = [], n_clips
    smallest_first = sorted(sizes, key=lambda split: (sizes[split], split))
    for number, split in enumerate(smallest_first):
        share = min(sizes[split], left // (len(smallest_first) - number))
        left -= share
        rows = np.sort(rng.choice(sizes[split], share, replace=False))
        places += [Place(split, int(row)) for row in rows]
    return tuple(sorted(places, key=lambda place: (list(sizes).index(place.split), place.row)))


def stored_audio(split: Split, row: int) -> bytes:
    """The file in a cell of the ``audio`` column.

    Raises
    ------
    ClipError
        If there is no such column, or it is of something else.
    """
    kind = split.table.schema.field("audio").type if "audio" in split.columns else None
    fields = {field.name: field.type for field in kind} if isinstance(kind, pa.StructType) else {}
    if fields.get("bytes") not in (pa.binary(), pa.large_binary()):
        raise ClipError(f"column 'audio' is of type {kind}")
    return split.audio_bytes(row)


def decode_row(split: Split, row: int) -> DecodedAudio:
    """Decode a cell of the ``audio`` column as it is stored.

    Raises
    ------
    ClipError
        If it does not decode, is not mono, or has another sampling rate than its column declares.
    """
    audio = decode(stored_audio(split, row))
    if len(audio.samples) != 1:
        raise ClipError(f"{len(audio.samples)} channels, not 1")
    if audio.sampling_rate != split.sampling_rate:
        raise ClipError(f"{audio.sampling_rate} Hz, not {split.sampling_rate}")
    return audio


def has_ids(split: Split) -> bool:
    """Whether rows have ids that can be compared."""
    kind = split.table.schema.field("id").type if "id" in split.columns else None
    return kind is not None and (pa.types.is_string(kind) or pa.types.is_integer(kind))


def name_of(splits: Mapping[str, Split], place: Place) -> str:
    """Name a clip as messages do."""
    name = splits[place.split].row(place.row).get("id")
    return str(name) if name else f"{place.split}, row {place.row}"


def open_splits(root: Path) -> dict[str, Split]:
    """Open every shard of a dataset, and see that what they hold can be read.

    Raises
    ------
    InputError, MissingPathError
        Naming the first shard that is missing or damaged, or the file that should name it.
    """
    try:
        corpus = open_corpus(root)
        splits = {name: corpus[name] for name in corpus.splits}
        for split in splits.values():
            _check_shards(split)
    except (AttributeError, TypeError, RecursionError, OSError, pa.ArrowException) as error:
        if isinstance(error, HearingAnalysisError):
            raise
        raise InputError(f"{root}/dataset holds what no stage writes: {error}") from error
    return splits


def _check_shards(split: Split) -> None:
    schemas = []
    for path in split.shards:
        if not path.is_file():
            raise MissingPathError(f"{split.name}/{path.name} is missing")
        table = replace(split, shards=(path,)).table
        table.validate(full=True)
        schemas.append(table.schema)
        if schemas[-1] != schemas[0]:
            raise InputError(f"{split.name}/{path.name} has other columns than the first shard")


def _read_counts(path: Path, run: Mapping[str, Any]) -> dict[str, SplitCounts]:
    if "splits" not in run and run["status"] != COMPLETE:
        return {}  # they are written when all is done
    counts = typed(path, run, "splits", dict)
    for split in counts:
        typed(path, counts, split, dict)
    return {
        split: SplitCounts(
            *(typed(path, numbers, key, int) for key in ("clips_in", "clips_out", "quarantined")),
            *(typed(path, {key: 0, **numbers}, key, int) for key in ("further_rows", "remarks")),
        )
        for split, numbers in counts.items()
    }


def _check_rows(sizes: Mapping[str, int], counts: Mapping[str, SplitCounts]) -> Check:
    for split in (*sizes, *counts):
        found = sizes.get(split)
        recorded = counts[split].n_rows if split in counts else None
        if found != recorded:
            measured = f"{split}: {_rows(found)} found, {_rows(recorded)} recorded"
            return Check("rows", measured, "as recorded", "failed")
    return Check("rows", f"{sum(sizes.values()):,} found", "as recorded", "passed")


def _rows(count: int | None) -> str:
    return "no split" if count is None else f"{count:,}"


def _check_counts(counts: Mapping[str, SplitCounts]) -> Check:
    rule = "they add up"
    totals = [0, 0, 0]
    for split, count in counts.items():
        numbers = (count.clips_in, count.clips_out, count.quarantined)
        if numbers[0] != numbers[1] + numbers[2] or min(numbers) < 0:
            return Check("counts", f"{split}: {_sum_of(numbers)}", rule, "failed")
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
    return Check("counts", _sum_of(totals), rule, "passed")


def _sum_of(numbers: Sequence[int]) -> str:
    return "{:,} in, {:,} out, {:,} left out".format(*numbers)


def _check_quarantine(path: Path, counts: Mapping[str, SplitCounts]) -> Check:
    found = dict.fromkeys(counts, 0)
    try:
        with path.open("rb") as lines:
            for line in lines:
                name = _split_of_entry(line)
                found[name] = found.get(name, 0) + 1
    except OSError as error:
        return Check("quarantine", f"{path.name}: {error.strerror}", "as recorded", "failed")
    except (ValueError, TypeError, KeyError, RecursionError):
        told = f"line {sum(found.values()) + 1} is no entry"
        return Check("quarantine", told, "as recorded", "failed")
    for split, n_lines in found.items():
        recorded = counts[split].quarantined if split in counts else 0
        if n_lines != recorded:
            measured = f"{split}: {n_lines:,} listed, {recorded:,} recorded"
            return Check("quarantine", measured, "as recorded", "failed")
    return Check("quarantine", f"{sum(found.values()):,} listed", "as recorded", "passed")


def _split_of_entry(line: bytes) -> str:
    entry = json.loads(line)
    if not all(isinstance(entry[key], str) for key in QUARANTINE_KEYS):
        raise TypeError
    return str(entry["split"])


def _check_ids(splits: Mapping[str, Split]) -> Check:
    for name, split in splits.items():
        if not has_ids(split):
            return Check("ids", f"{name} has no column 'id' of text", "unique", "skipped")
        twice = _repeated_id(split)
        if twice is not None:
            return Check("ids", f"{name}: {twice!r} more than once", "unique", "failed")
    return Check("ids", "unique in every split", "unique", "passed")


def _repeated_id(split: Split) -> str | None:
    """An id that comes more than once; only 64-bit digests are held, not the ids themselves."""
    digests = np.fromiter(map(_digest, _ids(split)), dtype=np.uint64, count=len(split))
    ordered = np.sort(digests)
    suspects = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(suspects):
        return None
    seen: set[str] = set()
    for value in _ids(split):
        if _digest(value) == suspects[0]:
            if value in seen:
                return value
            seen.add(value)
    return None


def _ids(split: Split) -> Iterator[str]:
    """Id of every row, and of clips that were split the part, too."""
    names = ["id", *({"part"} & set(split.columns))]
    for batch in split.table.select(names).to_batches(max_chunksize=1000):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield ", part ".join(map(str, values))


def _digest(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little")


def _check_audio(splits: Mapping[str, Split], sample: Sequence[Place]) -> Check:
    if not any("audio" in split.columns for split in splits.values()):
        return Check("audio", "no column 'audio'", "decodes", "skipped")
    rates = {f"{split.sampling_rate}" for split in splits.values()}
    measured = f"{len(sample)} clips at {', '.join(rates)} Hz, finite"
    return check_each("audio", sample, lambda place: _fault(splits, place), measured, "decodes")


def _fault(splits: Mapping[str, Split], place: Place) -> str | None:
    try:
        decode_row(splits[place.split], place.row)
    except ClipError as error:
        return f"{name_of(splits, place)}: {error}"
    return None
