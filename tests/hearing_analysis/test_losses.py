"""`ctc_loss` against torch, tensorflow and the definition."""

from itertools import groupby, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearing_analysis.losses import ctc_loss
from pipeline.errors import InputError

# What `GOLDEN_LOSSES` was computed from, in two processes, with `x` the logits below:
#
#   torch.nn.functional.ctc_loss(torch.tensor(x).log_softmax(-1).transpose(0, 1),
#       torch.tensor(LABELS).clamp(min=0), torch.tensor(N_FRAMES), torch.tensor(N_LABELS),
#       reduction="none")                                                        # torch 2.12.1
#   tf.nn.ctc_loss(np.maximum(LABELS, 0).astype("int32"), tf.constant(x, tf.float32), N_LABELS,
#       N_FRAMES, logits_time_major=False, blank_index=0)                        # tensorflow 2.21
LABELS = np.array(
    [
        [3, 1, 4, 1, 5, 9],
        [2, 2, 2, -1, -1, -1],  # repeats need a blank between them
        [7, -1, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1],
        [6, 5, 4, 3, 2, 1],  # as many as frames: a single alignment
    ]
)
N_LABELS = np.array([6, 3, 1, 0, 6])
N_FRAMES = np.array([12, 9, 12, 5, 6])
GOLDEN_LOSSES = [21.9748349, 21.3934808, 34.5587849, 25.2103626, 22.3156304]


def golden_logits() -> np.ndarray:
    return 4 * np.sin(np.arange(5 * 12 * 10) ** 2 / 7.0).reshape(5, 12, 10)


def loss_by_definition(logits: np.ndarray, labels: list[int], blank_id: int) -> float:
    """Sum over every path of symbols that collapses to the labels."""
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    total = 0.0
    for path in product(range(logits.shape[1]), repeat=len(logits)):
        if [symbol for symbol, _ in groupby(path) if symbol != blank_id] == labels:
            total += np.prod(probabilities[np.arange(len(logits)), path])
    return -np.log(total) if total else np.inf


def one_loss(logits: np.ndarray, labels: list[int], **options: int) -> float:
    padded = np.array([[*labels, -1]])
    return float(ctc_loss(logits[None], padded, [len(logits)], [len(labels)], **options)[0])


def test_equals_torch_and_tensorflow() -> None:
    losses = ctc_loss(golden_logits(), LABELS, N_FRAMES, N_LABELS)
    assert losses.dtype == np.float32
    assert losses == pytest.approx(GOLDEN_LOSSES, rel=1e-6)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_equals_the_definition(data: st.DataObject) -> None:
    n_frames = data.draw(st.integers(1, 5))
    vocabulary = data.draw(st.integers(2, 4))
    blank_id = data.draw(st.integers(0, vocabulary - 1))
    symbols = [symbol for symbol in range(vocabulary) if symbol != blank_id]
    labels = data.draw(st.lists(st.sampled_from(symbols), max_size=n_frames))
    seed = data.draw(st.integers(0, 2**32 - 1))
    logits = 3 * np.random.default_rng(seed).standard_normal((n_frames, vocabulary))
    expected = loss_by_definition(logits, labels, blank_id)
    found = one_loss(logits, labels, blank_id=blank_id)
    if np.isfinite(expected):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    else:
        assert np.isfinite(found)


def test_a_batch_scores_as_its_samples_do() -> None:
    together = ctc_loss(golden_logits(), LABELS, N_FRAMES, N_LABELS)
    for index, logits in enumerate(golden_logits()):
        alone = one_loss(logits[: N_FRAMES[index]], LABELS[index, : N_LABELS[index]].tolist())
        assert alone == pytest.approx(together[index], rel=1e-6)


def test_what_lies_behind_the_lengths_does_not_count() -> None:
    logits, labels = golden_logits(), LABELS.copy()
    logits[1, 9:] = 1e4
    labels[1, 3:] = 9
    assert ctc_loss(logits, labels, N_FRAMES, N_LABELS) == pytest.approx(GOLDEN_LOSSES, rel=1e-6)


def test_takes_float16_logits_and_float_labels_as_the_platform_hands_them_over() -> None:
    losses = ctc_loss(
        golden_logits().astype(np.float16),
        LABELS.astype(np.float32),
        N_FRAMES.astype(np.float32),
        N_LABELS.astype(np.float16),
    )
    assert losses == pytest.approx(GOLDEN_LOSSES, rel=2e-3)


def test_no_labels_is_the_loss_of_blanks() -> None:
    logits = golden_logits()[0]
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert one_loss(logits, []) == pytest.approx(-log_probs[:, 0].sum(), rel=1e-6)


def test_labels_without_an_axis_to_lie_on() -> None:
    losses = ctc_loss(golden_logits(), np.zeros((5, 0)), N_FRAMES, np.zeros(5))
    assert losses[3] == pytest.approx(GOLDEN_LOSSES[3], rel=1e-6)


def test_long_clips_neither_underflow_nor_overflow() -> None:
    logits = 50 * np.sin(np.arange(2000 * 32) ** 2 / 7.0).reshape(1, 2000, 32)
    labels = 1 + np.arange(300)[None] % 31
    losses = ctc_loss(logits, labels, [2000], [300])
    assert np.isfinite(losses).all()
    assert losses[0] > 1000


@pytest.mark.parametrize(
    ("labels", "n_frames"),
    [([1, 2, 3, 4], 3), ([2, 2], 2), ([1], 0)],
    ids=["too many", "no room for the blank of a repeat", "no frames"],
)
def test_impossible_labels_are_finite_and_the_worst(labels: list[int], n_frames: int) -> None:
    logits = golden_logits()[:1, :3]
    losses = ctc_loss(logits, [labels], [n_frames], [len(labels)])
    log_probs = logits[0] - np.log(np.exp(logits[0]).sum(axis=1, keepdims=True))
    bound = -log_probs.min(axis=1)[: max(n_frames, 1)].sum()
    assert losses[0] == pytest.approx(bound, rel=1e-6)
    possible = [
        one_loss(logits[0, :n_frames], list(others))
        for length in range(3)
        for others in product(range(1, 10), repeat=length)
        if 0 < length + sum(a == b for a, b in pairwise(others)) <= n_frames
    ]
    assert losses[0] >= max(possible, default=0.0) * (1 - 1e-6)
    assert losses[0] > 0


def test_nothing_in_no_frames_costs_nothing() -> None:
    assert ctc_loss(golden_logits()[:1], LABELS[3:4], [0], [0])[0] == 0


def test_nan_stays_in_its_sample() -> None:
    logits = golden_logits()
    logits[2, 4, 1] = np.nan
    losses = ctc_loss(logits, LABELS, N_FRAMES, N_LABELS)
    assert np.flatnonzero(np.isnan(losses)).tolist() == [2]


def test_a_symbol_of_probability_0_is_finite() -> None:
    logits = golden_logits()
    logits[:, :, 1] = -np.inf
    losses = ctc_loss(logits, LABELS, N_FRAMES, N_LABELS)
    assert np.isfinite(losses).all()


def test_an_empty_batch() -> None:
    losses = ctc_loss(golden_logits()[:0], LABELS[:0], N_FRAMES[:0], N_LABELS[:0])
    assert losses.shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": np.zeros((12, 10))}, r"got shapes \(12, 10\), \(5, 6\)"),
        ({"n_frames": np.array([12])}, "of one batch size"),
        ({"logits": np.zeros((5, 0, 10))}, "needs a frame"),
        ({"blank_id": 10}, "blank id 10"),
        ({"n_frames": N_FRAMES + 1}, "n_frames must lie between 0 and 12, got 13"),
        ({"n_labels": N_LABELS + 1}, "n_labels must lie between 0 and 6, got 7"),
        ({"labels": LABELS + 1}, "from 0 to 9 other than the blank, 0; got 10"),
        ({"blank_id": 5}, "other than the blank, 5; got 5"),
        ({"n_labels": np.array([6, 4, 1, 0, 6])}, "got -1"),
    ],
)
def test_refuses(changes: dict, message: str) -> None:
    arguments = {
        "logits": golden_logits(),
        "labels": LABELS,
        "n_frames": N_FRAMES,
        "n_labels": N_LABELS,
    }
    with pytest.raises(InputError, match=message):
        ctc_loss(**(arguments | changes))
