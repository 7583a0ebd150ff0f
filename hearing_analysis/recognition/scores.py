"""Scores of a batch, column by column: what the platform calls metrics, and the table columns.

Every function returns key -> float64 [shape=(batch,)], NaN where a sample has no such score.
"""

from collections.abc import Sequence
from dataclasses import astuple, fields

import numpy as np

from hearing_analysis.metrics import (
    COUNTS,
    INFORMATION,
    ErrorCounts,
    batch_character_errors,
    batch_word_errors,
)
from hearing_analysis.recognition.hallucination import Hallucination, hallucination
from models.confidence import (
    TokenConfidences,
    ctc_confidences,
    ctc_reference_confidences,
    whisper_confidences,
)

Scores = dict[str, np.ndarray]
ERRORS = ("error_rate", *COUNTS)
HALLUCINATION = tuple(field.name for field in fields(Hallucination))
CONFIDENCE = ("token_probability", "entropy", "reference_rank")
CTC_CONFIDENCE = (*CONFIDENCE, "blank_rate")


def word_scores(references: Sequence[str], hypotheses: Sequence[str]) -> Scores:
    """Errors in words: rate, counts, match error rate, information lost and preserved."""
    counts = batch_word_errors(references, hypotheses)
    return _errors(counts) | {key: _column(counts, key) for key in INFORMATION}


def character_scores(references: Sequence[str], hypotheses: Sequence[str]) -> Scores:
    """Errors in characters: rate and counts."""
    return _errors(batch_character_errors(references, hypotheses))


def hallucination_scores(references: Sequence[str], hypotheses: Sequence[str]) -> Scores:
    """Signs that something was written that nobody said."""
    counts = batch_word_errors(references, hypotheses)
    signs = [hallucination(*pair) for pair in zip(hypotheses, counts, strict=True)]
    rows = np.array([astuple(sign) for sign in signs], dtype=np.float64)
    return dict(zip(HALLUCINATION, rows.reshape(-1, len(HALLUCINATION)).T, strict=True))


def ctc_confidence_scores(
    logits: np.ndarray,
    labels: np.ndarray,
    n_frames: np.ndarray,
    n_labels: np.ndarray,
    *,
    blank_id: int,
) -> Scores:
    """How sure a CTC model was of what it wrote, and how far off the reference it was.

    Parameters
    ----------
    logits : np.ndarray [shape=(batch, frames, vocabulary)]
    labels : np.ndarray [shape=(batch, length)]
    n_frames, n_labels : np.ndarray [shape=(batch,)]
        Of each sample that count.
    blank_id : int
    """
    written = ctc_confidences(logits, n_frames, blank_id=blank_id)
    said = ctc_reference_confidences(logits, labels, n_frames, n_labels, blank_id=blank_id)
    heard = np.arange(logits.shape[1]) < np.asarray(n_frames)[:, None]
    blanks = ((logits.argmax(axis=2) == blank_id) & heard).sum(axis=1)
    with np.errstate(invalid="ignore"):  # of a clip too short for a frame
        blank_rate = blanks / heard.sum(axis=1)
    return _confidences(written, said) | {"blank_rate": blank_rate}


def forced_confidence_scores(
    logits: np.ndarray, targets: np.ndarray, n_targets: np.ndarray
) -> Scores:
    """How sure a Whisper was of its next token, given the reference so far.

    Parameters
    ----------
    logits : np.ndarray [shape=(batch, positions, vocabulary)]
    targets : np.ndarray [shape=(batch, positions)]
        The reference's tokens.
    n_targets : np.ndarray [shape=(batch,)]
    """
    chosen = whisper_confidences(logits, logits.argmax(axis=2), n_targets)
    said = whisper_confidences(logits, targets, n_targets)
    return _confidences(chosen, said)


def token_accuracy(logits: np.ndarray, targets: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """Share of the reference's tokens that scored best, given those before: [shape=(batch,)].

    Parameters are those of `forced_confidence_scores`.
    """
    counts = np.arange(targets.shape[1]) < np.asarray(n_targets)[:, None]
    hits = ((logits.argmax(axis=2) == targets) & counts).sum(axis=1)
    return hits / np.maximum(counts.sum(axis=1), 1)


def _errors(counts: tuple[ErrorCounts, ...]) -> Scores:
    return {"error_rate": _column(counts, "rate")} | {key: _column(counts, key) for key in COUNTS}


def _column(counts: tuple[ErrorCounts, ...], name: str) -> np.ndarray:
    return np.array([getattr(count, name) for count in counts], dtype=np.float64)


def _confidences(written: TokenConfidences, said: TokenConfidences) -> Scores:
    columns = written.mean_probability, written.mean_entropy, said.mean_rank
    return {key: values.astype(np.float64) for key, values in zip(CONFIDENCE, columns, strict=True)}
