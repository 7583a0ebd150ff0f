"""Clips whose transcript is likely wrong: the corpus erred, not the recogniser."""

from dataclasses import dataclass

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from hearing_analysis.reports.table import DURATION_COLUMN, REFERENCE_PROFILE, AnalysisTable

WRONG = 0.5  # character error rate from which a transcript is looked at
BETTER = 0.3  # character error rate at which another transcript fits
OUTLIER = 3.5  # robust deviations (Iglewicz & Hoaglin 1993)
MAX_EXAMINED = 300  # clips that are compared with all transcripts, the worst first
MAX_LISTED = 200
LARGEST_POOL = 20_000  # transcripts that a clip is compared with
FEWEST = 20  # clips, without which nothing is an outlier


@dataclass(frozen=True)
class DoubtfulTranscript:
    """A clip and why its transcript is doubted.

    Attributes
    ----------
    model : str
    row : int
        The sample in which it shows.
    reasons : tuple of str
    score : float
        The larger, the more doubtful.
    """

    model: str
    row: int
    reasons: tuple[str, ...]
    score: float


def doubtful_transcripts(table: AnalysisTable) -> tuple[DoubtfulTranscript, ...]:
    """Look for wrong transcripts, under the profile that hurts least.

    Three signs: what was recognised fits the transcript of another clip; the loss per character is
    far beyond that of other clips that are recognised badly; the sentence has more or fewer
    characters per second than anyone speaks. A model that fails in general gives no signs.
    """
    found = [item for model in table.models for item in _of_model(table, model)]
    return tuple(sorted(found, key=lambda item: -item.score)[:MAX_LISTED])


def robust_deviations(values: np.ndarray) -> np.ndarray:
    """Distance from the median in robust standard deviations, signed: float64 [shape=(n,)].

    0.6745 (x - median) / median absolute deviation; 0 where missing, or where nothing varies.
    """
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values))
    centred = values - np.median(values[known])
    spread = np.median(np.abs(centred[known]))
    return np.where(known, 0.6745 * centred / spread, 0.0) if spread else np.zeros(len(values))


def _of_model(table: AnalysisTable, model: str) -> list[DoubtfulTranscript]:
    profiles, models = np.array(table.texts("profile_name")), np.array(table.texts("model"))
    rows = np.flatnonzero((models == model) & (profiles == _easiest(table)))
    if len(rows) < FEWEST:
        return []
    wrong = table.numbers("character_error_rate")[rows]
    reasons: dict[int, list[tuple[str, float]]] = {int(row): [] for row in rows}
    for row, reason, score in (
        *_outliers(table, rows),
        *_fitting_elsewhere(table, rows[np.argsort(-wrong, kind="stable")]),
    ):
        reasons[row].append((reason, score))
    return [
        DoubtfulTranscript(model, row, tuple(text for text, _ in why), sum(s for _, s in why))
        for row, why in reasons.items()
        if why
    ]


def _easiest(table: AnalysisTable) -> str:
    return REFERENCE_PROFILE if REFERENCE_PROFILE in table.profiles else table.profiles[0]


def _outliers(table: AnalysisTable, rows: np.ndarray) -> list[tuple[int, str, float]]:
    lengths = np.maximum(table.numbers("character_reference_length")[rows], 1)
    wrong = table.numbers("character_error_rate")[rows] >= WRONG
    losses = table.numbers("ctc_loss")[rows] / lengths
    deviations = robust_deviations(np.log(np.maximum(losses, 1e-6)))
    found = [
        (int(rows[i]), "the model finds the transcript improbable", float(deviations[i]))
        for i in np.flatnonzero(wrong & (deviations > OUTLIER))
    ]
    if DURATION_COLUMN not in table.rows.column_names:
        return found
    seconds = table.numbers(DURATION_COLUMN)[rows]
    rates = robust_deviations(np.log(lengths / np.where(seconds > 0, seconds, np.nan)))
    for i in np.flatnonzero(wrong & (np.abs(rates) > OUTLIER)):
        word = "more" if rates[i] > 0 else "fewer"
        reason = f"{word} characters per second than anyone speaks"
        found.append((int(rows[i]), reason, float(abs(rates[i]))))
    return found


def _fitting_elsewhere(table: AnalysisTable, worst: np.ndarray) -> list[tuple[int, str, float]]:
    references, hypotheses = table.texts("reference"), table.texts("hypothesis")
    rates = table.numbers("character_error_rate")
    pool = list(dict.fromkeys(references[row] for row in worst if references[row]))[:LARGEST_POOL]
    found = []
    for row in worst[:MAX_EXAMINED].tolist():
        said = hypotheses[row]
        if rates[row] < WRONG or len(said) < 5:
            continue
        best = process.extractOne(
            said, pool, scorer=Levenshtein.normalized_distance, score_cutoff=BETTER
        )
        if best is not None and best[0] != references[row]:
            reason = f"what was recognised fits another clip: {best[0]}"
            found.append((row, reason, 10 * (1 - best[1])))
    return found
