"""What is drawn of a sample, as plain data: pictures, words and curves.

Pictures share one scale for all clips and all profiles, so a loss looks like a loss.
"""

from dataclasses import dataclass

import numpy as np

from hearing_analysis.metrics import WordEdit, align_words
from hearing_analysis.spectrogram import (
    CEILING_DBFS,
    FLOOR_DBFS,
    N_MELS,
    PALETTE,
    log_mel_dbfs,
)
from pipeline.masking.profiles import OCTAVES_HZ

WAVEFORM_POINTS = 600  # as wide as a panel
EDIT_LABELS = ("substitution", "deletion", "insertion")
_CODES = {"equal": 0, "substitute": 1, "delete": 2, "insert": 3}  # 0 is left uncoloured
_ROW_HEIGHT = 3  # pixels per mel band
FEATURE_RANGE = 1.5  # (log10 of power + 4) / 4 of what full-scale audio reaches


@dataclass(frozen=True)
class MarkedWords:
    """Words with what happened to them.

    Attributes
    ----------
    words : tuple of str
        At least one.
    codes : np.ndarray [shape=(words,), dtype=uint8]
        0 for a word that is right, else 1 + its place in `EDIT_LABELS`.
    """

    words: tuple[str, ...]
    codes: np.ndarray


@dataclass(frozen=True)
class ConfidentWords:
    """Words with how sure the recogniser was of each.

    Attributes
    ----------
    words : tuple of str
        At least one.
    probabilities : tuple of float
        Of each word's least probable token.
    """

    words: tuple[str, ...]
    probabilities: tuple[float, ...]


def log_mel_picture(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Paint the level of every mel band over time.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        At its true level: full scale is [-1, 1].
    sampling_rate : int
        In Hz.

    Returns
    -------
    np.ndarray [shape=(240, frames, 3), dtype=uint8]
        Low frequencies at the bottom; black is -100 dBFS and pale yellow -20 dBFS, always.
    """
    levels = np.flipud(log_mel_dbfs(waveform, sampling_rate))
    scaled = (levels - FLOOR_DBFS) / (CEILING_DBFS - FLOOR_DBFS)
    shades = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return np.repeat(_colours()[shades], _ROW_HEIGHT, axis=0)


def feature_picture(features: np.ndarray) -> np.ndarray:
    """Paint Whisper's log-mel features.

    Parameters
    ----------
    features : np.ndarray [shape=(n_mels, frames)]
        On Whisper's scale: 80 dB below a clip's highest value is 2 below it.

    Returns
    -------
    np.ndarray [shape=(3 n_mels, frames, 3), dtype=uint8]
        Low frequencies at the bottom; black is -1.5 and pale yellow 1.5, always.
    """
    scaled = (np.flipud(features) + FEATURE_RANGE) / (2 * FEATURE_RANGE)
    shades = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return np.repeat(_colours()[shades], _ROW_HEIGHT, axis=0)


def log_mel_heatmap(heatmap: np.ndarray, n_frames: int) -> np.ndarray:
    """Lay a heatmap over a log-mel picture.

    Parameters
    ----------
    heatmap : np.ndarray [shape=(n,)] or [shape=(bands, n)]
        Over the part of the model's input that heard the clip: samples, or mel bands by frames.
    n_frames : int
        Width of the picture.

    Returns
    -------
    np.ndarray [shape=(height, n_frames), dtype=float32]
        As high as the picture, low frequencies at the bottom. A heatmap over samples is the same
        at all frequencies.
    """
    bands = np.atleast_2d(np.asarray(heatmap, dtype=np.float32))
    starts = np.linspace(0, bands.shape[1], n_frames, endpoint=False).astype(int)
    means = np.add.reduceat(bands, starts, axis=1)
    means /= np.maximum(np.diff(starts, append=bands.shape[1]), 1)
    n_rows = _ROW_HEIGHT * (len(bands) if len(bands) > 1 else N_MELS)
    return np.flipud(means[np.arange(n_rows) * len(bands) // n_rows])


def waveform_envelope(waveform: np.ndarray) -> np.ndarray:
    """Highest and lowest sample in each of 600 stretches: float32 [shape=(points, 2)].

    Fewer points for a clip of fewer samples. A peak is never lost, as it is in a resampled clip.
    """
    n_points = min(WAVEFORM_POINTS, len(waveform))
    starts = np.linspace(0, len(waveform), n_points, endpoint=False).astype(int)
    extremes = [ufunc.reduceat(waveform, starts) for ufunc in (np.maximum, np.minimum)]
    return np.stack(extremes, axis=1).astype(np.float32)


def transcript(reference: str, hypothesis: str) -> list[str]:
    """Said and recognised, one under the other as far as a list of words allows."""
    return ["said:", *reference.split(), "recognised:", *hypothesis.split()]


def word_alignment(reference: str, hypothesis: str) -> MarkedWords:
    """Align word by word; a missing word keeps its place.

    A substitution reads ``SAID→RECOGNISED``, a deletion is the word that was said, an insertion the
    word that nobody said.
    """
    edits = align_words(reference, hypothesis)
    if not edits:
        return MarkedWords(("",), np.zeros(1, dtype=np.uint8))
    codes = np.array([_CODES[edit.kind] for edit in edits], dtype=np.uint8)
    return MarkedWords(tuple(_spell(edit) for edit in edits), codes)


def audiogram_curve(thresholds_db_hl: np.ndarray) -> np.ndarray:
    """Thresholds at the octaves as a curve: float32 [shape=(7, 1)].

    They are drawn below zero, because audiograms put what is heard worse further down.
    """
    return -np.asarray(thresholds_db_hl, dtype=np.float32).reshape(len(OCTAVES_HZ), 1)


def _spell(edit: WordEdit) -> str:
    if edit.kind == "substitute":
        return f"{edit.reference}→{edit.hypothesis}"
    return edit.reference or edit.hypothesis or ""


def _colours() -> np.ndarray:
    """RGB of 256 shades: uint8 [shape=(256, 3)]."""
    anchors = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in PALETTE])
    positions = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(positions, np.arange(len(anchors)), anchors[:, i]) for i in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)
