"""``pipeline kmeans evaluate``: what label files say of the units, and of hearing losses."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipeline.corpus import write_path
from pipeline.errors import InputError, MissingPathError
from pipeline.kmeans.label import read_labels
from pipeline.kmeans.manifest import clip_name, open_manifest
from pipeline.kmeans.metrics import PairCounts, deduplicate, entropy, unit_edits

BOOTSTRAPS = 1000
TABLE_SUFFIXES = (".parquet", ".csv")
EDITS = np.dtype([("units", np.int64), ("edits", np.int64)])


@dataclass(frozen=True)
class Question:
    """What is asked of the labels of a split.

    Attributes
    ----------
    folder : Path
        Where ``<split>.km`` lies.
    split : str
    tsv_dir : Path, optional
        Manifest or corpus that names the clips.
    phones : Path, optional
        ``id<TAB>phone,phone,…``, a phone per frame.
    upsample : int
        Times that a unit is repeated to reach the rate of the phones.
    n_clusters : int, optional
        How many units there could be.
    reruns : tuple of Path
        Labels of the same clips by other models.
    profiles : mapping of str to Path
        Labels of the same clips under hearing losses, by the same model.
    """

    folder: Path
    split: str
    tsv_dir: Path | None = None
    phones: Path | None = None
    upsample: int = 1
    n_clusters: int | None = None
    reruns: tuple[Path, ...] = ()
    profiles: Mapping[str, Path] = field(default_factory=dict)

    @property
    def labels(self) -> Path:
        """The labels that are looked at."""
        return self.folder / f"{self.split}.km"


@dataclass(frozen=True)
class Answer:
    """What was found: a report of JSON values, and a row per clip and profile."""

    report: dict[str, Any]
    clips: pa.Table


def evaluate(question: Question) -> Answer:
    """Compute all that is asked.

    Raises
    ------
    MissingPathError, InputError
        If a file is missing, damaged, or not about the same clips.
    """
    names = _clip_names(question)
    report: dict[str, Any] = {"usage": _usage(question)}
    if question.phones:
        report["phones"] = _phones(question, names)
    if question.reruns:
        report["stability"] = {str(path): _stability(question, path) for path in question.reruns}
    tables = []
    for profile, folder in question.profiles.items():
        edits = _edits(question, folder)
        report.setdefault("unit_error_rate", {})[profile] = _error_rate(edits)
        tables.append(_table(profile, names, edits))
    return Answer(report, pa.concat_tables([_table("", [], np.empty(0, EDITS)), *tables]))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet or CSV, whichever the name ends in.

    Raises
    ------
    InputError
        If it ends in neither.
    """
    check_table_name(path)
    with write_path(path) as temporary:
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(table, temporary)
        else:
            pyarrow.parquet.write_table(table, temporary)


def check_table_name(path: Path) -> None:
    """Refuse a name that says no format."""
    if path.suffix not in TABLE_SUFFIXES:
        raise InputError(f"{path} ends in neither of {', '.join(TABLE_SUFFIXES)}; name it so")


def parse_profiles(values: list[str] | None) -> dict[str, Path]:
    """Read ``NAME=LAB_DIR``.

    Raises
    ------
    InputError
        If one is not of that shape.
    """
    found = {}
    for value in values or ():
        name, equals, folder = value.partition("=")
        if not (name and equals and folder):
            raise InputError(f"--profile {value!r} is not NAME=LAB_DIR, such as lfloss=labels_lf")
        found[name] = Path(folder)
    return found


def _clip_names(question: Question) -> list[str]:
    n_clips = sum(1 for _ in read_labels(question.labels))
    if question.tsv_dir is None:
        return [str(index) for index in range(n_clips)]
    manifest = open_manifest(question.tsv_dir, question.split)
    names = [clip_name(clip.path) for clip in manifest.clips()]
    if len(names) != n_clips:
        raise InputError(
            f"{question.labels} has {n_clips} lines and {manifest.source} {len(names)} clips; "
            "give the manifest that the features were made from"
        )
    return names


def _usage(question: Question) -> dict[str, Any]:
    counts = np.zeros(0, np.int64)
    n_clips = n_empty = n_runs = 0
    for labels in read_labels(question.labels):
        highest = labels.max(initial=-1) + 1
        if question.n_clusters is not None and highest > question.n_clusters:
            raise InputError(
                f"{question.labels} holds label {highest - 1}, and --n-clusters is "
                f"{question.n_clusters}; give the number of clusters of the model"
            )
        here = np.bincount(labels, minlength=len(counts)) if len(labels) else counts * 0
        here[: len(counts)] += counts
        counts = here
        n_clips, n_empty = n_clips + 1, n_empty + (not len(labels))
        n_runs += len(deduplicate(labels))
    if not counts.sum():
        raise InputError(f"{question.labels} holds no labels; label features that have frames")
    n_clusters = len(counts) if question.n_clusters is None else question.n_clusters
    used = int((counts > 0).sum())
    bits = entropy(counts)
    return {
        "clips": n_clips,
        "empty_clips": n_empty,
        "frames": int(counts.sum()),
        "clusters": n_clusters,
        "used": used,
        "dead": n_clusters - used,
        "entropy_nats": bits,
        "perplexity": float(np.exp(bits)),
        "frames_per_run": float(counts.sum() / n_runs),
    }


def _phones(question: Question, names: list[str]) -> dict[str, Any]:
    assert question.phones is not None
    if question.tsv_dir is None:
        raise InputError("--phones names clips; give --tsv-dir too, which says in which order")
    aligned, n_phones = _read_phones(question.phones)
    pairs, n_compared = PairCounts(), 0
    for name, labels in zip(names, read_labels(question.labels), strict=True):
        if name in aligned and len(labels):
            units = labels.repeat(question.upsample)
            n = min(len(units), len(aligned[name]))
            pairs.add(aligned[name][:n].astype(np.int64), units[:n])
            n_compared += 1
    table = pairs.table()
    if not table.n_frames:
        raise InputError(f"{question.phones} names none of the clips of {question.split}")
    return {
        "clips": n_compared,
        "frames": table.n_frames,
        "phones": n_phones,
        "phone_purity": table.phone_purity,
        "cluster_purity": table.cluster_purity,
        "pnmi": table.pnmi,
    }


def _read_phones(path: Path) -> tuple[dict[str, np.ndarray], int]:
    """Phones of every clip as numbers, without marks of stress; and how many different ones."""
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; give a file of aligned phones")
    numbers: dict[str, int] = {}
    aligned = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            name, tab, phones = line.rstrip("\n").partition("\t")
            if not tab or not phones:
                raise InputError(f"{path}, line {number}: not `id<TAB>phone,phone,…`; correct it")
            plain = (re.sub(r"\d", "", phone) for phone in phones.strip().split(","))
            codes = (numbers.setdefault(phone, len(numbers)) for phone in plain)
            aligned[name] = np.fromiter(codes, np.int32)
    return aligned, len(numbers)


def _stability(question: Question, folder: Path) -> dict[str, float]:
    pairs = PairCounts()
    for labels, others in _side_by_side(question, folder):
        if len(labels) != len(others):
            raise InputError(
                f"{folder / question.labels.name} has clips of other lengths than "
                f"{question.labels}; label the same features"
            )
        pairs.add(labels, others)
    table = pairs.table()
    return {
        "normalized_mutual_information": table.normalized_mutual_information,
        "adjusted_rand_index": table.adjusted_rand_index,
    }


def _edits(question: Question, folder: Path) -> np.ndarray:
    """Units and edits of every clip; none of a clip that was left out on either side."""
    found = (
        (len(deduplicate(labels)), unit_edits(labels, others))
        if len(labels) and len(others)
        else (0, 0)
        for labels, others in _side_by_side(question, folder)
    )
    return np.fromiter(found, EDITS)


def _side_by_side(question: Question, folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    other = folder / question.labels.name
    both = itertools.zip_longest(read_labels(question.labels), read_labels(other))
    for number, (labels, others) in enumerate(both, start=1):
        if labels is None or others is None:
            raise InputError(
                f"{question.labels} and {other} part at line {number}, where one ends; "
                "give labels of the same clips"
            )
        yield labels, others


def _error_rate(edits: np.ndarray) -> dict[str, Any]:
    """Edits per unit over all clips, with what resampling the clips leaves uncertain."""
    kept = edits[edits["units"] > 0]
    if not len(kept):
        return {"clips": 0, "units": 0, "edits": 0, "rate": None, "low": None, "high": None}
    rng = np.random.default_rng(0)
    rates = np.empty(BOOTSTRAPS)
    for index in range(BOOTSTRAPS):
        drawn = kept[rng.integers(len(kept), size=len(kept))]
        rates[index] = drawn["edits"].sum() / drawn["units"].sum()
    low, high = np.quantile(rates, [0.025, 0.975])
    units, number = int(kept["units"].sum()), int(kept["edits"].sum())
    rate = number / units
    figures = {"rate": rate, "low": float(low), "high": float(high)}
    return {"clips": len(kept), "units": units, "edits": number, **figures}


def _table(profile: str, names: list[str], edits: np.ndarray) -> pa.Table:
    """A row per clip; no rate where a clip was left out on either side."""
    units = edits["units"]
    rate = edits["edits"] / np.maximum(units, 1)
    return pa.table(
        {
            "id": pa.array(names, pa.string()),
            "profile_name": pa.array([profile] * len(names), pa.string()),
            "units": pa.array(units, pa.int64()),
            "unit_edits": pa.array(edits["edits"], pa.int64()),
            "unit_error_rate": pa.array(rate, pa.float64(), mask=units == 0),
        }
    )
