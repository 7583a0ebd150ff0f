"""Losses in numpy: what the platform can run without torch or tensorflow.

CTC: Graves et al., "Connectionist temporal classification", ICML 2006, section 4.1.
"""

from functools import reduce

import numpy as np

from pipeline.errors import InputError


def ctc_loss(
    logits: np.ndarray,
    labels: np.ndarray,
    n_frames: np.ndarray,
    n_labels: np.ndarray,
    *,
    blank_id: int = 0,
) -> np.ndarray:
    """Negative log-likelihood of the labels, summed over all their alignments to the frames.

    Equal to ``torch.nn.functional.ctc_loss(reduction="none")`` and ``tf.nn.ctc_loss``, but for
    labels that cannot be aligned.

    Parameters
    ----------
    logits : np.ndarray [shape=(batch, frames, vocabulary)]
        Unnormalised, in any floating type: float16 is what the platform hands over. Computed in
        float64.
    labels : np.ndarray [shape=(batch, length)]
        Ids, in any numeric type; padded with whatever, -1 by convention.
    n_frames : np.ndarray [shape=(batch,)]
        Frames of each sample that count.
    n_labels : np.ndarray [shape=(batch,)]
        Labels of each sample that count. With none, the loss is that of nothing but blanks.
    blank_id : int
        Id of the blank.

    Returns
    -------
    np.ndarray [shape=(batch,), dtype=float32]
        Nats per sample, not divided by the number of labels. Labels that do not fit into the frames
        have probability 0 and an infinite loss; what is returned instead is finite and no smaller
        than the loss of any labels that do fit: the sum over the frames of the least likely symbol.
        So they rank as the worst sample of their length; with 0, as other libraries have it on
        request, they would rank as the best one. NaN in a sample's logits gives NaN.

    Raises
    ------
    InputError
        If shapes disagree, a length exceeds its axis, or a label is no id or the blank.
    """
    labels, n_frames, n_labels = (
        np.asarray(x).astype(np.int64) for x in (labels, n_frames, n_labels)
    )
    _check(logits, labels, n_frames, n_labels, blank_id)
    log_probs = _log_softmax(logits)
    log_likelihood = _forward(log_probs, labels, n_frames, n_labels, blank_id)
    impossible = np.isneginf(log_likelihood)
    return np.where(impossible, _upper_bound(log_probs, n_frames), -log_likelihood).astype(
        np.float32
    )


def cross_entropy(logits: np.ndarray, targets: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """Mean negative log-likelihood of the tokens that count.

    Equal to ``torch.nn.functional.cross_entropy`` over those tokens of each sample.

    Parameters
    ----------
    logits : np.ndarray [shape=(batch, positions, vocabulary)]
        Unnormalised, in any floating type; row i scores ``targets[:, i]``. Computed in float64.
    targets : np.ndarray [shape=(batch, positions)]
        Ids, in any numeric type; padded with whatever.
    n_targets : np.ndarray [shape=(batch,)]
        Tokens of each sample that count. Without any, the loss is 0.

    Returns
    -------
    np.ndarray [shape=(batch,), dtype=float32]
        Nats per token.

    Raises
    ------
    InputError
        If shapes disagree, a length exceeds its axis, or a target is no id.
    """
    targets, n_targets = (np.asarray(x).astype(np.int64) for x in (targets, n_targets))
    if np.ndim(logits) != 3 or np.shape(logits)[:2] != targets.shape:
        raise InputError(
            "the cross-entropy needs logits [batch, positions, vocabulary] and targets "
            f"[batch, positions], got shapes {np.shape(logits)} and {targets.shape}"
        )
    _check_range("n_targets", n_targets, targets.shape[1])
    counts = np.arange(targets.shape[1]) < n_targets[:, None]
    ids = np.where(counts, targets, 0)
    if ((ids < 0) | (ids >= logits.shape[2])).any():
        raise InputError(f"a target must be an id from 0 to {logits.shape[2] - 1}")
    log_probs = np.take_along_axis(_log_softmax(logits), ids[:, :, None], axis=2)[:, :, 0]
    total = -np.where(counts, log_probs, 0.0).sum(axis=1)
    return (total / np.maximum(n_targets, 1)).astype(np.float32)


def _check(
    logits: np.ndarray,
    labels: np.ndarray,
    n_frames: np.ndarray,
    n_labels: np.ndarray,
    blank_id: int,
) -> None:
    shapes = [np.shape(x) for x in (logits, labels, n_frames, n_labels)]
    if [len(shape) for shape in shapes] != [3, 2, 1, 1] or len({shape[0] for shape in shapes}) > 1:
        raise InputError(
            "the CTC loss needs logits [batch, frames, vocabulary], labels [batch, length], "
            "n_frames [batch] and n_labels [batch] of one batch size, got shapes "
            + ", ".join(map(str, shapes))
        )
    _, max_frames, vocabulary = shapes[0]
    if not max_frames or not 0 <= blank_id < vocabulary:
        raise InputError(
            f"the CTC loss needs a frame and a blank id below the vocabulary's size, "
            f"got logits of shape {shapes[0]} and blank id {blank_id}"
        )
    _check_range("n_frames", n_frames, max_frames)
    _check_range("n_labels", n_labels, shapes[1][1])
    real = labels[np.arange(labels.shape[1]) < n_labels[:, None]]
    wrong = real[(real < 0) | (real >= vocabulary) | (real == blank_id)]
    if wrong.size:
        raise InputError(
            f"a label must be an id from 0 to {vocabulary - 1} other than the blank, {blank_id}; "
            f"got {wrong[0]}"
        )


def _check_range(name: str, lengths: np.ndarray, axis_length: int) -> None:
    wrong = lengths[(lengths < 0) | (lengths > axis_length)]
    if wrong.size:
        raise InputError(f"{name} must lie between 0 and {axis_length}, got {wrong[0]}")


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # infinite logits: their NaN is the result
        shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _forward(
    log_probs: np.ndarray,
    labels: np.ndarray,
    n_frames: np.ndarray,
    n_labels: np.ndarray,
    blank_id: int,
) -> np.ndarray:
    """Log-likelihood [shape=(batch,)]: all states of all samples at once, frame by frame."""
    states, may_skip = _states(labels, n_labels, blank_id)
    emissions = np.take_along_axis(log_probs, states[:, None, :], axis=2)
    # Two columns for "nowhere" lead, so that no state needs a special case. Before the first
    # frame everything is in the first blank, which leads to that blank or to the first label.
    alpha = np.full((len(states), states.shape[1] + 2), -np.inf)
    alpha[:, 2] = 0.0
    for frame in range(n_frames.max(initial=0)):
        stay, step, skip = alpha[:, 2:], alpha[:, 1:-1], np.where(may_skip, alpha[:, :-2], -np.inf)
        advanced = _log_add(stay, step, skip) + emissions[:, frame]
        alpha[:, 2:] = np.where(frame < n_frames[:, None], advanced, stay)
    batch = np.arange(len(states))
    return _log_add(alpha[batch, 2 * n_labels + 2], alpha[batch, 2 * n_labels + 1])


def _states(
    labels: np.ndarray, n_labels: np.ndarray, blank_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a blank before, between and after them, and where one may skip that blank.

    Both [shape=(batch, 2 * longest + 1)]. States behind the end of a sample's labels are never
    read: nothing leads back from them.
    """
    labels = labels[:, : n_labels.max(initial=0)]
    states = np.full((len(labels), 2 * labels.shape[1] + 1), blank_id)
    states[:, 1::2] = np.where(np.arange(labels.shape[1]) < n_labels[:, None], labels, blank_id)
    may_skip = np.zeros(states.shape, dtype=bool)
    may_skip[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]  # a repeated label needs its blank
    return states, may_skip


def _log_add(*terms: np.ndarray) -> np.ndarray:
    """Logarithm of the sum of the exponentials, -inf where every term is."""
    largest = np.maximum(reduce(np.maximum, terms), -1e300)  # -inf - -inf would be NaN
    with np.errstate(divide="ignore"):
        return largest + np.log(sum(np.exp(term - largest) for term in terms))


def _upper_bound(log_probs: np.ndarray, n_frames: np.ndarray) -> np.ndarray:
    """Loss [shape=(batch,)] of the least likely symbol in every frame, and in one at least."""
    possible = np.where(np.isfinite(log_probs), log_probs, 0.0)  # a logit may be -inf
    counts = np.arange(log_probs.shape[1]) < np.maximum(n_frames, 1)[:, None]
    return -(possible.min(axis=2) * counts).sum(axis=1)
