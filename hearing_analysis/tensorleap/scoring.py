"""Directions and insights of metrics, and what turns scores into what code-loader takes."""

import numpy as np
from code_loader.contract.enums import MetricDirection

from hearing_analysis.metrics import INFORMATION
from hearing_analysis.recognition.scores import ERRORS, HALLUCINATION, Scores

UP, DOWN = MetricDirection.Upward, MetricDirection.Downward
# What is better when there is more of it. Of a reference's length neither is, but one must be said.
_MORE_IS_BETTER = {
    *("hits", "information_preserved", "token_probability"),
    *("token_accuracy", "ended"),
}
# Counts grow with the sentence, so insights are drawn from rates and from kinds of errors alone.
_INSIGHTFUL = {
    *("error_rate", "substitutions", "deletions", "insertions"),
    *("token_probability", "entropy", "suspected", "cross_entropy"),
}
WORD_KEYS = (*ERRORS, *INFORMATION)
CHARACTER_KEYS = ERRORS
HALLUCINATION_KEYS = HALLUCINATION


def directions(keys: tuple[str, ...]) -> dict[str, MetricDirection]:
    """Key -> whether more is better."""
    return {key: UP if key in _MORE_IS_BETTER else DOWN for key in keys}


def insights(keys: tuple[str, ...]) -> dict[str, bool]:
    """Key -> whether insights are drawn from it."""
    return {key: key in _INSIGHTFUL for key in keys}


def as_metric(scores: Scores) -> dict[str, np.ndarray]:
    """Scores of a batch as code-loader takes them."""
    return {key: values.astype(np.float32) for key, values in scores.items()}
