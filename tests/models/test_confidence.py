"""Confidences of tokens, against scipy, brute force and torch's forced alignment by hand."""

from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from models.confidence import (
    ctc_alignment,
    ctc_confidences,
    ctc_reference_confidences,
    whisper_confidences,
)
from pipeline.errors import InputError

SEEDS = st.integers(0, 10_000)


def test_the_pilot_s_definitions() -> None:
    probabilities = np.array([0.5, 0.25, 0.125, 0.125])

    found = whisper_confidences(np.log(probabilities)[None, None], np.array([[2]]), np.array([1]))

    assert found.probability[0, 0] == pytest.approx(0.125)
    assert found.rank[0, 0] == 3  # two are more probable; the equal one does not count
    assert found.entropy[0, 0] == pytest.approx(1.75 * np.log(2))


@given(SEEDS, st.sampled_from(["float16", "float32", "float64"]))
def test_probability_rank_and_entropy_against_scipy(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 5, (3, 6, 40)).astype(dtype)
    ids, n_tokens = rng.integers(0, 40, (3, 6)), rng.integers(0, 7, 3)

    found = whisper_confidences(logits, ids, n_tokens)

    for row, count in enumerate(n_tokens):
        expected = softmax(logits[row, :count].astype(np.float64), axis=1)
        own = expected[np.arange(count), ids[row, :count]]
        np.testing.assert_allclose(found.probability[row, :count], own, rtol=1e-5)
        np.testing.assert_allclose(
            found.entropy[row, :count], entropy(expected, axis=1), rtol=1e-5, atol=1e-7
        )
        assert found.rank[row, :count].tolist() == [
            1 + int((p > q).sum()) for p, q in zip(expected, own, strict=True)
        ]
        assert (found.ids[row, count:] == -1).all()
        assert np.isnan(found.probability[row, count:]).all()


def test_means_are_over_the_tokens_of_a_sample() -> None:
    logits = np.log(np.array([[[0.6, 0.4], [0.9, 0.1]], [[0.5, 0.5], [0.5, 0.5]]]))

    found = whisper_confidences(logits, np.array([[0, 1], [0, 0]]), np.array([2, 0]))

    assert found.mean_probability[0] == pytest.approx(0.35)
    assert found.mean_rank[0] == 1.5
    assert np.isnan(found.mean_probability[1])
    assert np.isnan(found.mean_entropy[1])


def test_an_impossible_token_leaves_the_entropy_of_the_others() -> None:
    logits = np.array([[[0.0, 0.0, -np.inf]]])

    found = whisper_confidences(logits, np.array([[2]]), np.array([1]))

    assert found.probability[0, 0] == 0
    assert found.rank[0, 0] == 3
    assert found.entropy[0, 0] == pytest.approx(np.log(2))


def test_ctc_judges_a_token_where_it_is_most_probable() -> None:
    probabilities = np.array(
        [[0.1, 0.8, 0.1], [0.05, 0.9, 0.05], [0.7, 0.2, 0.1], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]]
    )

    found = ctc_confidences(np.log(probabilities)[None], np.array([5]))

    assert found.ids.tolist() == [[1, 2]]
    np.testing.assert_allclose(found.probability, [[0.9, 0.6]], rtol=1e-6)
    assert found.rank.tolist() == [[1, 1]]


@given(SEEDS)
def test_ctc_reads_the_tokens_of_the_best_path(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, n_frames = rng.normal(0, 3, (2, 12, 5)), rng.integers(0, 13, 2)

    found = ctc_confidences(logits, n_frames)

    for row, count in enumerate(n_frames):
        path = logits[row, :count].argmax(axis=1).tolist()
        expected = [token for token, _ in groupby(path) if token]
        assert found.ids[row][found.ids[row] >= 0].tolist() == expected
        assert (found.rank[row, : len(expected)] == 1).all()


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_alignment_is_the_most_probable_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_frames, n_labels = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    logits, labels = rng.normal(0, 2, (n_frames, 3)), rng.integers(1, 3, n_labels)
    scores = np.log(softmax(logits, axis=1))
    paths = [
        (scores[np.arange(n_frames), list(path)].sum(), path)
        for path in product(range(3), repeat=n_frames)
        if [token for token, _ in groupby(path) if token] == labels.tolist()
    ]

    stretches = ctc_alignment(logits, labels)

    if not paths:
        assert stretches.shape == (0, 2)
        return
    expected = max(paths)[1]
    path = np.zeros(n_frames, dtype=int)
    for label, (start, stop) in zip(labels, stretches, strict=True):
        path[start:stop] = label
    assert path.tolist() == list(expected)


def test_the_reference_s_tokens_have_rank_and_probability_where_they_belong() -> None:
    probabilities = np.full((1, 6, 4), 0.02)
    for frame, token in enumerate([0, 1, 0, 2, 2, 0]):
        probabilities[0, frame, token] = 0.94
    probabilities[0, 3:5, 3] = 0.5  # what should have been heard instead of 2

    found = ctc_reference_confidences(
        np.log(probabilities), np.array([[1.0, 3.0, -1.0]]), np.array([6.0]), np.array([2.0])
    )

    assert found.ids.tolist() == [[1, 3]]
    assert found.rank.tolist() == [[1, 2]]
    np.testing.assert_allclose(found.probability, [[0.94, 0.5 / 1.48]], rtol=1e-5)


def test_labels_that_do_not_fit_have_no_confidences() -> None:
    found = ctc_reference_confidences(
        np.zeros((2, 3, 4)), np.array([[1, 1, 1], [1, 2, 3]]), np.array([3, 3]), np.array([3, 3])
    )

    assert found.ids.tolist() == [[-1, -1, -1], [1, 2, 3]]
    assert np.isnan(found.mean_rank[0])


def test_an_empty_sample_has_none() -> None:
    found = ctc_reference_confidences(
        np.zeros((1, 3, 4)), np.zeros((1, 0)), np.array([0]), np.array([0])
    )

    assert found.ids.shape == (1, 0)


@pytest.mark.parametrize(
    ("ids", "n_tokens", "message"),
    [
        ([[5, 0]], [2], "not all of the vocabulary, 0 to 3"),
        ([[0, 0]], [3], "n_tokens from 3 to 3 are not all within 0 and 2"),
        ([[0, 0], [0, 0]], [1], "must have one batch size"),
        ([[0]], [1], "logits for 2 tokens, and 1 tokens"),
    ],
)
def test_bad_input_is_told(ids: list, n_tokens: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        whisper_confidences(np.zeros((1, 2, 4)), np.array(ids), np.array(n_tokens))


def test_a_sentence_longer_than_a_small_integer_is_aligned() -> None:
    labels = np.arange(200) % 5 + 1
    heard = np.full((len(labels), 6), -9.0)
    heard[np.arange(len(labels)), labels] = 9.0
    stretches = ctc_alignment(heard, labels)
    assert np.array_equal(stretches[:, 0], np.arange(len(labels)))
    assert np.array_equal(stretches[:, 1], np.arange(len(labels)) + 1)
