"""Embed a list of segments by a trained model: to measure it, or to keep the vectors."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus import write_json, write_path
from pipeline.errors import CheckFailed, InputError
from pipeline.sse.embed import embed, open_output
from pipeline.sse.features import FeatureSettings, make_features
from pipeline.sse.frames import source_from
from pipeline.sse.lists import Sections, Segments, write_segments
from pipeline.sse.model import Model
from pipeline.sse.precision import Retrieval, retrieval
from pipeline.sse.store import Store, open_store

TASKS = ("map", "dump")


@contextmanager
def frames_for(
    model: Model,
    segments: Segments,
    *,
    root: Path | None = None,
    features: Path | None = None,
    encoder: Path | None = None,
    num_workers: int = 0,
) -> Iterator[Store]:
    """Frames of the sections that segments lie in: from ``features``, else made from the clips.

    Raises
    ------
    InputError
        If neither or both are given, the features are not those of the model, or a clip cannot be
        used.
    """
    if (root is None) == (features is None):
        raise InputError("give the clips by --path-wavs, or features of them by --path-features")
    if features is not None:
        store = open_store(features)
        check_frames(store, model.frames)
        yield store
        return
    assert root is not None
    source = source_from(model.frames, encoder)
    sections = distinct_sections(segments)
    with tempfile.TemporaryDirectory(prefix="sse-") as folder:
        settings, where = FeatureSettings(source), Path(folder)
        with suppress(CheckFailed):  # told below, by the name of a clip
            make_features(root, sections, settings, where, num_workers=num_workers)
        reasons = _reasons(where)
        if reasons:
            raise InputError(
                f"{len(reasons)} of {len(sections)} sections of the segments cannot be used; the "
                f"first, of {reasons[0]}; take them out of the list"
            )
        yield open_store(Path(folder))


def check_frames(store: Store, frames: dict[str, Any]) -> None:
    """Refuse features that another source made.

    Raises
    ------
    InputError
        If they differ in what decides their values.
    """
    ignored = ("checkpoint",)  # where an encoder lies does not matter, its digest does
    changed = [
        f"{name}: {store.settings.get(name)} there, {frames.get(name)} wanted"
        for name in sorted(store.settings.keys() | frames.keys())
        if name not in ignored and store.settings.get(name) != frames.get(name)
    ]
    if changed:
        raise InputError(
            f"the features in {store.folder} are not those of the model ({'; '.join(changed)}); "
            "make them as the model's config.json says"
        )


def distinct_sections(segments: Segments) -> Sections:
    """The sections that hold some segments, each once, in the order in which they come."""
    held = segments.sections
    keys = np.stack([held.path, held.speaker, *held.spans.T], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    return held.take(np.sort(first))


def measure(vectors: np.ndarray, segments: Segments) -> Retrieval:
    """MAP of embedded segments.

    Raises
    ------
    InputError
        If no transcription comes twice.
    """
    labels = segments.label
    counts = np.bincount(labels[labels >= 0], minlength=1)
    if not (counts > 1).any():
        raise InputError(
            "no transcription of the list comes twice, so nothing can be found; give transcribed "
            "segments, as `pipeline sse transcribe` writes them"
        )
    return retrieval(vectors, labels, segments.sections.speaker)


def report_of(found: Retrieval, segments: Segments) -> dict[str, Any]:
    """What ``pipeline sse map`` prints."""
    return {
        "segments": len(segments),
        "transcriptions": len(np.unique(segments.label[segments.label >= 0])),
        "speakers": len(np.unique(segments.sections.speaker)),
        **note(segments),
        "all": _figures(found.within),
        "across_speakers": _figures(found.across),
    }


def note(segments: Segments) -> dict[str, str]:
    """A sentence on what cannot be measured, if there is such."""
    speakers = np.unique(segments.sections.speaker)
    if len(speakers) > 1:
        return {}
    name = segments.sections.speakers[int(speakers[0])]
    return {
        "note": f"all {len(segments)} segments are spoken by {name!r}, so nothing can be found "
        "across speakers and those figures are left empty; add clips of somebody else"
    }


def dump(model: Model, store: Store, segments: Segments, output: Path) -> dict[str, Any]:
    """Write ``<output>.npy`` and, row by row alike, ``<output>.segments``; ``<output>.json`` last.

    Vectors go to disk as they are made, so a list may be longer than memory.
    """
    stem = output.with_suffix("") if output.suffix == ".npy" else output
    ranges = store.locate(segments)
    width = model.network.architecture.width
    array = stem.with_name(stem.name + ".npy")
    with write_path(array) as temporary:
        embed(model.network, store, ranges, open_output(temporary, len(segments), width))
    index = stem.with_name(stem.name + ".segments")
    write_segments(index, segments)
    report = {"segments": len(segments), "dimensions": width, "embeddings": array.name}
    write_json(stem.with_name(stem.name + ".json"), {**report, "index": index.name})
    return report


def _figures(figures: Any) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in asdict(figures).items()}


def _reasons(folder: Path) -> list[str]:
    """Clips that were left out, each with why."""
    entries = [
        json.loads(line)
        for path in sorted(folder.glob("quarantine_*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [f"{entry['path']}: {entry['reason']}" for entry in entries]
