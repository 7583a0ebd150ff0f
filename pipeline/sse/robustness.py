"""How far a hearing loss moves words from themselves, and whose neighbours they become.

The same segments are embedded as every profile hears them. Against the first profile, the
reference, each is asked: does a masked word still find its like, does an unmasked query find masked
words, how far has a word moved, and which word lies nearest to where it went.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.corpus import write_json, write_path
from pipeline.errors import InputError
from pipeline.neighbours import nearest, unit_rows
from pipeline.sse.confusion import WordConfusion, confuse, draw_confusion
from pipeline.sse.embed import embed
from pipeline.sse.evaluate import frames_for, measure, note
from pipeline.sse.lists import Segments
from pipeline.sse.model import Model
from pipeline.sse.precision import precision

CONFUSIONS_NAMED = 5


@dataclass(frozen=True)
class Variant:
    """Clips as one profile hears them."""

    profile: str
    root: Path


@dataclass(frozen=True)
class ProfileFigures:
    """What a profile does to words.

    Attributes
    ----------
    profile : str
    map_at_r, map_across_speakers : float
        Among the words as the profile hears them; the second is full MAP.
    map_at_r_of_reference_queries : float
        Of words as the reference hears them, among those of the profile.
    displacement : float
        Mean of 1 - cosine between a word and itself as the reference hears it.
    words_kept : float
        Share of the words whose nearest neighbour, among other words of the reference, is the same
        word.
    """

    profile: str
    map_at_r: float
    map_across_speakers: float
    map_at_r_of_reference_queries: float
    displacement: float
    words_kept: float


@dataclass(frozen=True)
class ProfileResult:
    """Figures, and what they are made of: a value for every segment.

    Attributes
    ----------
    figures : ProfileFigures
    displacement, precision : np.ndarray [shape=(n,), dtype=float64]
        1 - cosine, and MAP@R of the segment as a query.
    heard : np.ndarray [shape=(n,), dtype=int32]
        Label of the nearest other segment.
    """

    figures: ProfileFigures
    displacement: np.ndarray
    precision: np.ndarray
    heard: np.ndarray


def compare(
    profile: str, reference: np.ndarray, masked: np.ndarray, segments: Segments
) -> ProfileResult:
    """Compare embeddings of segments under a profile with those of the reference.

    Parameters
    ----------
    profile : str
    reference, masked : np.ndarray [shape=(n, n_dims)]
    segments : Segments
        Of as many rows, transcribed.
    """
    labels = segments.label
    within = measure(masked, segments)
    crossed = precision(masked, labels, queries=reference)
    own = precision(masked, labels).map_at_r
    one, other = unit_rows(reference), unit_rows(masked)
    displacement = np.maximum(1.0 - np.einsum("ij,ij->i", one, other, dtype=np.float64), 0.0)
    heard = nearest_labels(other, one, labels)
    counted = ~np.isnan(crossed.map_at_r)
    figures = ProfileFigures(
        profile,
        within.within.map_at_r,
        within.across.mean_average_precision,
        crossed.mean().map_at_r,
        float(displacement.mean()),
        float((heard == labels)[counted].mean()),
    )
    return ProfileResult(figures, displacement, own, heard)


def nearest_labels(masked: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Label of the reference segment nearest to each masked one, its own left out: [shape=(n,)]."""
    found = nearest(masked, reference, min(2, len(reference)))
    rows = np.arange(len(masked))
    itself = found.indices[:, 0] == rows
    place = np.where(itself, min(1, found.indices.shape[1] - 1), 0)
    return np.asarray(labels[found.indices[rows, place]])


def robustness(
    model: Model,
    segments: Segments,
    variants: tuple[Variant, ...],
    output: Path,
    *,
    encoder: Path | None = None,
    num_workers: int = 0,
) -> dict[str, Any]:
    """Measure all profiles, and write tables and a figure.

    ``profiles.csv`` a row per profile; ``confusions.csv`` which word is taken for which;
    ``clips.parquet`` a row per clip and profile, to be joined by ``id`` and ``profile_name``;
    ``words.csv`` a row per word and profile; ``robustness.png``, ``confusions.png``;
    ``robustness.json``, last.

    Raises
    ------
    InputError
        If there are fewer than two profiles, or segments are not transcribed.
    """
    if len(variants) < 2:
        raise InputError("give --profile NAME=CLIPS twice or more; the first is the reference")
    segments = segments.take(np.flatnonzero(segments.label >= 0))
    if not len(segments):
        raise InputError("no segment of the list is transcribed; see `pipeline sse transcribe`")
    vectors = _embed_all(model, segments, variants, encoder, num_workers)
    results = [
        compare(variant.profile, vectors[0], masked, segments)
        for variant, masked in zip(variants, vectors, strict=True)
    ]
    output.mkdir(parents=True, exist_ok=True)
    profiles = [_known(vars(result.figures)) for result in results]
    _write_csv(output / "profiles.csv", profiles)
    _write_csv(output / "confusions.csv", list(confusions(results, segments)))
    _write_csv(output / "words.csv", list(words_moved(results, segments)))
    with write_path(output / "clips.parquet") as temporary:
        pq.write_table(clip_table(results, segments), temporary)
    confused = confuse(results, segments)
    _draw(results, confused, segments, output)
    report = {
        "segments": len(segments),
        "words": len(np.unique(segments.label)),
        **note(segments),
        "reference": variants[0].profile,
        "profiles": profiles,
        "most_confused": [
            row for row in confusions(results, segments) if row["rank"] <= CONFUSIONS_NAMED
        ],
    }
    matrices = {one.profile: one.counts.tolist() for one in confused}
    confusion = {"words": confused[0].words, "counts": matrices}
    write_json(output / "robustness.json", {**report, "confusion": confusion})
    return report


def confusions(results: list[ProfileResult], segments: Segments) -> Iterator[dict[str, Any]]:
    """Which words lie nearest to which, most often first, by profile."""
    for result in results:
        wrong = np.flatnonzero(result.heard != segments.label)
        pairs = Counter(
            (segments.labels[segments.label[row]], segments.labels[result.heard[row]])
            for row in wrong
        )
        ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        for rank, ((word, heard_as), count) in enumerate(ordered, start=1):
            about = {"profile": result.figures.profile, "rank": rank}
            yield {**about, "word": word, "heard_as": heard_as, "count": count}


def words_moved(results: list[ProfileResult], segments: Segments) -> Iterator[dict[str, Any]]:
    """What became of every word, those that moved farthest first, by profile."""
    labels = np.unique(segments.label)
    place = np.searchsorted(labels, segments.label)
    counts = np.bincount(place)
    for result in results:
        moved = np.bincount(place, weights=result.displacement) / counts
        kept = np.bincount(place, weights=result.heard == segments.label) / counts
        for word in np.argsort(-moved, kind="stable").tolist():
            heard = np.bincount(result.heard[place == word])
            yield {
                "profile": result.figures.profile,
                "word": segments.labels[labels[word]],
                "count": int(counts[word]),
                "displacement": float(moved[word]),
                "words_kept": float(kept[word]),
                "heard_as": segments.labels[int(heard.argmax())],
            }


def clip_table(results: list[ProfileResult], segments: Segments) -> pa.Table:
    """A row per clip and profile: how its words fared."""
    clips = np.unique(segments.sections.path)
    ids = [Path(segments.sections.paths[clip]).stem for clip in clips]
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            *("id", "profile_name", "sse_words", "sse_displacement", "sse_words_kept"),
            "sse_map_at_r",
        )
    }
    place = np.searchsorted(clips, segments.sections.path)
    counts = np.bincount(place, minlength=len(clips))
    for result in results:
        kept = (result.heard == segments.label).astype(np.float64)
        columns["id"] += ids
        columns["profile_name"] += [result.figures.profile] * len(ids)
        columns["sse_words"] += counts.tolist()
        columns["sse_displacement"] += _means(place, result.displacement, len(clips))
        columns["sse_words_kept"] += _means(place, kept, len(clips))
        columns["sse_map_at_r"] += _means(place, result.precision, len(clips))
    return pa.table(columns)


def parse_variants(given: list[str] | None) -> tuple[Variant, ...]:
    """Read ``NAME=CLIPS`` several times.

    Raises
    ------
    InputError
        If one is not of that form, or a name comes twice.
    """
    variants = []
    for text in given or ():
        name, equals, root = text.partition("=")
        if not (name and equals and root):
            raise InputError(
                f"--profile {text!r} is not NAME=CLIPS, such as hfloss=data/demo_hfloss"
            )
        variants.append(Variant(name, Path(root)))
    names = [variant.profile for variant in variants]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"--profile {twice} is given twice")
    return tuple(variants)


def _embed_all(
    model: Model,
    segments: Segments,
    variants: tuple[Variant, ...],
    encoder: Path | None,
    num_workers: int,
) -> list[np.ndarray]:
    vectors = []
    for variant in variants:
        with ExitStack() as held:
            store = held.enter_context(
                frames_for(
                    model, segments, root=variant.root, encoder=encoder, num_workers=num_workers
                )
            )
            vectors.append(embed(model.network, store, store.locate(segments)))
    return vectors


def _draw(
    results: list[ProfileResult], confused: list[WordConfusion], segments: Segments, output: Path
) -> None:
    from pipeline.sse.robustness_figure import draw

    with write_path(output / "robustness.png") as temporary:
        draw(results, segments, temporary)
    with write_path(output / "confusions.png") as temporary:
        draw_confusion(confused, temporary)


def _known(figures: dict[str, Any]) -> dict[str, Any]:
    """None for what is NaN, which JSON has not."""
    return {name: None if value != value else value for name, value in figures.items()}


def _means(place: np.ndarray, values: np.ndarray, n: int) -> list[float | None]:
    """Mean of the values of every clip, those that are NaN left out; None where nothing is left."""
    known = ~np.isnan(values)
    counts = np.bincount(place[known], minlength=n)
    sums = np.bincount(place[known], weights=values[known], minlength=n)
    return [float(s / c) if c else None for s, c in zip(sums, counts, strict=True)]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows) if rows else pa.table({})
    with write_path(path) as temporary:
        pyarrow.csv.write_csv(table, temporary)
