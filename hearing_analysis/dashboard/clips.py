"""Which clips can be listened to in the page, and what is embedded of each."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hearing_analysis.reports.table import AnalysisTable
from hearing_analysis.spectrogram import log_mel_dbfs, render_png
from pipeline.audio import SAMPLING_RATE, load_mono
from pipeline.corpus import write_atomically


@dataclass(frozen=True)
class EmbeddedAudio:
    """One clip under one profile.

    Attributes
    ----------
    profile : str
    flac, spectrogram : str
        The stored FLAC file and a PNG picture, both in base64; or, when ``in_folder``, their paths
        relative to the page.
    seconds : float
    rms_dbfs : float, optional
        Root mean square relative to full scale, as ``audio_level_dbfs``; ``None`` for silence.
    peak_dbfs : float, optional
        Largest sample relative to full scale; ``None`` for silence.
    """

    profile: str
    flac: str
    spectrogram: str
    seconds: float
    rms_dbfs: float | None
    peak_dbfs: float | None
    in_folder: bool = False


@dataclass(frozen=True)
class EmbeddedClip:
    """A clip, by its number in the table, under all its profiles."""

    clip: int
    profiles: tuple[EmbeddedAudio, ...]


def choose_clips(table: AnalysisTable, max_audio: int) -> tuple[int, ...]:
    """Choose the clips to embed, the same ones for the same table.

    Clips of the first split (test) come first. Half of the places go to those whose WER differs
    most between profiles, the other half is spread evenly over the remaining clips, from the
    easiest to the hardest. Places that are left go to the next split.

    Returns
    -------
    tuple of int
        Clip numbers in ascending order; only clips with audio, at most ``max_audio``.
    """
    if not max_audio:
        return ()
    with_audio = np.unique(table.clips[table.has_audio()])
    difficulty = _difficulty(table)
    split_of = _split_of_clips(table)
    chosen: list[int] = []
    for split in range(len(table.splits)):
        candidates = with_audio[split_of[with_audio] == split]
        chosen += _choose(candidates, difficulty, max_audio - len(chosen))
    return tuple(sorted(chosen))


def embed_clips(table: AnalysisTable, clips: Sequence[int]) -> Iterator[EmbeddedClip]:
    """Read, measure and picture the chosen clips, in the order given."""
    profiles = np.array(table.texts("profile_name"))
    rows = np.flatnonzero(np.isin(table.clips, clips))
    audio = table.audio_of(rows.tolist())
    for clip in clips:
        # Several models share the audio of a clip: the first row of each profile will do.
        first: dict[str, bytes] = {}
        for row in rows[table.clips[rows] == clip].tolist():
            if row in audio:
                first.setdefault(str(profiles[row]), audio[row])
        embedded = (_embed(name, first[name]) for name in table.profiles if name in first)
        yield EmbeddedClip(clip, tuple(embedded))


def embedded_bytes(table: AnalysisTable, clips: Sequence[int]) -> int:
    """Size of the audio of some clips in a page: base64 takes four bytes for three."""
    rows = np.flatnonzero(np.isin(table.clips, clips))
    profiles = np.array(table.texts("profile_name"))
    found = table.audio_of(rows.tolist())
    sizes = {(int(table.clips[row]), profiles[row]): len(audio) for row, audio in found.items()}
    return sum(sizes.values()) * 4 // 3


def move_to_folder(clip: EmbeddedClip, folder: Path) -> EmbeddedClip:
    """Write sounds and pictures into a folder, named after their content."""
    return replace(clip, profiles=tuple(_move(audio, folder) for audio in clip.profiles))


def _move(audio: EmbeddedAudio, folder: Path) -> EmbeddedAudio:
    flac = _write_named(audio.flac, folder, "flac")
    picture = _write_named(audio.spectrogram, folder, "png")
    return replace(audio, flac=flac, spectrogram=picture, in_folder=True)


def _write_named(encoded: str, folder: Path, suffix: str) -> str:
    content = base64.b64decode(encoded)
    path = folder / f"{hashlib.sha256(content).hexdigest()[:20]}.{suffix}"
    if not path.is_file():
        write_atomically(path, content)
    return f"{folder.name}/{path.name}"


@dataclass(frozen=True)
class _Difficulty:
    """Per clip, over its profiles and models: float64 [shape=(clips,)] each."""

    spread: np.ndarray  # largest word error rate minus smallest
    mean: np.ndarray


def _difficulty(table: AnalysisTable) -> _Difficulty:
    rates = np.nan_to_num(table.numbers("word_error_rate"), posinf=0.0)
    highest = np.full(table.n_clips, -np.inf)
    lowest = np.full(table.n_clips, np.inf)
    np.maximum.at(highest, table.clips, rates)
    np.minimum.at(lowest, table.clips, rates)
    rows_per_clip = np.bincount(table.clips, minlength=table.n_clips)
    sums = np.bincount(table.clips, weights=rates, minlength=table.n_clips)
    return _Difficulty(highest - lowest, sums / rows_per_clip)


def _split_of_clips(table: AnalysisTable) -> np.ndarray:
    """Position of each clip's split in ``table.splits``: int64 [shape=(clips,)]."""
    position = {split: index for index, split in enumerate(table.splits)}
    splits = np.zeros(table.n_clips, dtype=np.int64)
    splits[table.clips] = [position[split] for split in table.texts("split")]
    return splits


def _choose(candidates: np.ndarray, difficulty: _Difficulty, places: int) -> list[int]:
    if len(candidates) <= places:
        return candidates.tolist()
    # Stable sorts: equal clips keep the order of the table.
    by_spread = candidates[np.argsort(-difficulty.spread[candidates], kind="stable")]
    n_most_different = (places + 1) // 2
    others = by_spread[n_most_different:]
    others = others[np.argsort(difficulty.mean[others], kind="stable")]
    evenly = np.linspace(0, len(others) - 1, places - n_most_different).round().astype(int)
    return by_spread[:n_most_different].tolist() + others[evenly].tolist()


def _embed(profile: str, flac: bytes) -> EmbeddedAudio:
    waveform = load_mono(flac)
    mean_square = float(np.mean(waveform.astype(np.float64) ** 2))
    peak = float(np.abs(waveform).max())
    return EmbeddedAudio(
        profile=profile,
        flac=base64.b64encode(flac).decode("ascii"),
        spectrogram=base64.b64encode(render_png(log_mel_dbfs(waveform, SAMPLING_RATE))).decode(),
        seconds=len(waveform) / SAMPLING_RATE,
        rms_dbfs=float(10 * np.log10(mean_square)) if mean_square else None,
        peak_dbfs=float(20 * np.log10(peak)) if peak else None,
    )
