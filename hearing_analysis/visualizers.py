"""What is drawn of a sample, as plain data: pictures, words and curves.

Pictures share one scale for all clips and all profiles, so a loss looks like a loss.
"""

from dataclasses import dataclass

import numpy as np

from hearing_analysis.metrics import WordEdit, align_words
from hearing_analysis.spectrogram import (
    CEILING_DBFS,
    FLOOR_DBFS,
    PALETTE,
    log_mel_dbfs,
)
from pipeline.masking.profiles import OCTAVES_HZ

EDIT_LABELS = ("substitution", "deletion", "insertion")
_CODES = {"equal": 0, "substitute": 1, "delete": 2, "insert": 3}  # 0 is left uncoloured
_ROW_HEIGHT = 3  # pixels per mel band


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
