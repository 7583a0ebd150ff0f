"""Scores of a batch against jiwer, scipy and values worked out by hand."""

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from hearing_analysis.losses import cross_entropy
from hearing_analysis.metrics import ErrorCounts, word_errors
from hearing_analysis.recognition.hallucination import hallucination
from hearing_analysis.recognition.scores import (
    HALLUCINATION,
    character_scores,
    ctc_confidence_scores,
    forced_confidence_scores,
    hallucination_scores,
    token_accuracy,
    word_scores,
)
from pipeline.errors import InputError

sentences = st.lists(st.sampled_from(["a", "b", "ab", "it's", "É"]), max_size=6).map(" ".join)


@given(pairs=st.lists(st.tuples(sentences, sentences), min_size=1, max_size=4))
def test_word_scores_are_jiwer_s(pairs):
    references, hypotheses = map(list, zip(*pairs, strict=True))
    scores = word_scores(references, hypotheses)
    for row, (reference, hypothesis) in enumerate(pairs):
        expected = jiwer.process_words(reference, hypothesis)
        found = {key: values[row] for key, values in scores.items()}
        assert found["error_rate"] == pytest.approx(expected.wer)
        assert found["match_error_rate"] == pytest.approx(expected.mer)
        assert found["information_lost"] == pytest.approx(expected.wil)
        assert found["information_preserved"] == pytest.approx(expected.wip)
        assert found["hits"] == expected.hits


@given(reference=sentences, hypothesis=sentences)
def test_character_scores_are_jiwer_s(reference, hypothesis):
    expected = jiwer.process_characters(reference, hypothesis)
    scores = character_scores([reference], [hypothesis])
    assert scores["error_rate"][0] == pytest.approx(expected.cer)
    assert scores["substitutions"][0] == expected.substitutions


@pytest.mark.parametrize(
    ("reference", "hypothesis", "suspected"),
    [
        ("the cat sat", "the cat sat", False),
        ("", "", False),
        ("", "thank you for watching", True),
        ("the cat", "so so so so so so so so so so so so so so so so", True),
        ("the cat sat on the mat", "a dog stood under a tree", False),
    ],
)
def test_text_that_nobody_said_is_suspected(reference, hypothesis, suspected):
    assert hallucination(hypothesis, word_errors(reference, hypothesis)).suspected is suspected


def test_signs_of_a_loop():
    loop = hallucination("on and on and on and on", ErrorCounts(0, 0, 0, 7))
    assert loop.insertion_ratio == 7
    assert loop.repetition == pytest.approx(1 - 2 / 5)
    assert hallucination("one two", ErrorCounts(2, 0, 0, 0)).repetition == 0
    assert list(hallucination_scores(["a"], ["a"])) == list(HALLUCINATION)


def test_cross_entropy_is_the_mean_over_the_tokens_that_count():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 7)) * 4
    targets, counts = rng.integers(0, 7, (3, 5)), np.array([5, 2, 0])
    log_probs = logits - logsumexp(logits, axis=2, keepdims=True)
    expected = [
        -np.mean([log_probs[row, i, targets[row, i]] for i in range(n)]) if n else 0.0
        for row, n in enumerate(counts)
    ]
    np.testing.assert_allclose(cross_entropy(logits, targets, counts), expected, rtol=1e-6)
    padded = targets.copy()
    padded[1, 2:] = -1
    np.testing.assert_allclose(cross_entropy(logits, padded, counts), expected, rtol=1e-6)
    stored = cross_entropy(logits.astype(np.float16), targets, counts)
    np.testing.assert_allclose(stored, expected, atol=2e-3)


def test_cross_entropy_refuses_what_is_no_id():
    with pytest.raises(InputError, match="an id from 0 to 2"):
        cross_entropy(np.zeros((1, 1, 3)), np.array([[3]]), np.array([1]))
    with pytest.raises(InputError, match="n_targets must lie between 0 and 1, got 2"):
        cross_entropy(np.zeros((1, 1, 3)), np.array([[0]]), np.array([2]))
    with pytest.raises(InputError, match=r"got shapes \(1, 1, 3\) and \(1, 2\)"):
        cross_entropy(np.zeros((1, 1, 3)), np.array([[0, 0]]), np.array([1]))


def certain(path: list[int], width: int) -> np.ndarray:
    return 20.0 * np.eye(width)[path][None]


def test_a_certain_ctc_model_is_sure_and_right():
    logits = certain([0, 1, 1, 0, 2, 0], 4)
    scores = ctc_confidence_scores(
        logits, np.array([[1, 2]]), np.array([6]), np.array([2]), blank_id=0
    )
    assert scores["token_probability"][0] == pytest.approx(1)
    assert scores["entropy"][0] == pytest.approx(0, abs=1e-6)
    assert scores["reference_rank"][0] == 1
    assert scores["blank_rate"][0] == pytest.approx(3 / 6)


def test_frames_of_padding_are_not_judged():
    logits = certain([1, 0, 2, 2], 4)
    scores = ctc_confidence_scores(
        logits, np.array([[1]]), np.array([2]), np.array([1]), blank_id=0
    )
    assert scores["blank_rate"][0] == pytest.approx(1 / 2)


def test_a_clip_without_frames_has_no_confidence():
    scores = ctc_confidence_scores(
        np.zeros((1, 2, 4)), np.array([[1]]), np.array([0]), np.array([1]), blank_id=0
    )
    assert all(np.isnan(values).all() for values in scores.values())


def test_forced_scores_look_at_the_tokens_that_count():
    logits = certain([1, 2, 3], 4)
    wanted, counts = np.array([[1, 3, -1]]), np.array([2])
    assert token_accuracy(logits, wanted, counts)[0] == 1 / 2
    scores = forced_confidence_scores(logits, np.maximum(wanted, 0), counts)
    assert scores["token_probability"][0] == pytest.approx(1)
    assert scores["reference_rank"][0] > 1
