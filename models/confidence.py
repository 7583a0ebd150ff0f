"""How sure a recogniser was of each token: its probability, its rank, and the entropy around it.

Probability and rank are of one token in the softmax over the vocabulary (rank 1 is the most
probable one), entropy is of the whole of it (Shannon, in nats). A Whisper scores a token at every
step. CTC scores every frame: there a token is judged at the frame of its stretch where it is most
probable; the stretches of a hypothesis are those of the best path, the stretches of a reference
those of its most probable alignment (Viterbi; Graves et al. 2006, section 3, and Kürzinger et al.
2020, arXiv 2007.09127).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError

NO_TOKEN = -1


@dataclass(frozen=True)
class TokenConfidences:
    """Confidences of the tokens of a batch, padded behind.

    Attributes
    ----------
    ids : np.ndarray [shape=(batch, n_tokens), dtype=int64]
        The tokens; -1 where there is none.
    probability : np.ndarray [shape=(batch, n_tokens), dtype=float32]
        In the softmax; NaN where there is no token.
    rank : np.ndarray [shape=(batch, n_tokens), dtype=int64]
        1 + how many tokens are more probable; 0 where there is no token.
    entropy : np.ndarray [shape=(batch, n_tokens), dtype=float32]
        Nats; NaN where there is no token.
    """

    ids: np.ndarray
    probability: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray

    @property
    def mean_probability(self) -> np.ndarray:
        """Mean over the tokens of each sample: float32 [shape=(batch,)], NaN without tokens."""
        return _mean(self.probability, self.ids)

    @property
    def mean_entropy(self) -> np.ndarray:
        """Mean over the tokens of each sample: float32 [shape=(batch,)], NaN without tokens."""
        return _mean(self.entropy, self.ids)

    @property
    def mean_rank(self) -> np.ndarray:
        """Mean over the tokens of each sample: float32 [shape=(batch,)], NaN without tokens."""
        return _mean(self.rank, self.ids)


def whisper_confidences(
    logits: np.ndarray, ids: np.ndarray, n_tokens: np.ndarray
) -> TokenConfidences:
    """Confidences of tokens that were scored one by one.

    Parameters
    ----------
    logits : np.ndarray [shape=(batch, n, vocabulary)]
        In any floating type; row i is what token i was, or would have been, chosen by.
    ids : np.ndarray [shape=(batch, n)]
        What was chosen; or, with logits given the reference so far, the reference.
    n_tokens : np.ndarray [shape=(batch,)]
        Tokens of each sample that count.

    Raises
    ------
    InputError
        If shapes disagree, or a token is not of the vocabulary.
    """
    ids, n_tokens = _integers(ids), _integers(n_tokens)
    _check(logits, ids, n_tokens, "ids", "n_tokens")
    if ids.shape[1] != logits.shape[1]:
        raise InputError(
            f"there are logits for {logits.shape[1]} tokens, and {ids.shape[1]} tokens"
        )
    rows = [
        _score(scores[:count], tokens[:count])
        for scores, tokens, count in zip(logits, ids, n_tokens.tolist(), strict=True)
    ]
    return _gather(rows)


def ctc_confidences(
    logits: np.ndarray, n_frames: np.ndarray, *, blank_id: int = 0
) -> TokenConfidences:
    """Confidences of what greedy CTC reads.

    Parameters
    ----------
    logits : np.ndarray [shape=(batch, frames, vocabulary)]
        In any floating type.
    n_frames : np.ndarray [shape=(batch,)]
        Frames of each sample that count.
    blank_id : int

    Raises
    ------
    InputError
        If shapes disagree or a length exceeds its axis.
    """
    n_frames = _integers(n_frames)
    _check(logits, np.zeros((len(logits), 0), np.int64), n_frames, "ids", None)
    _check_lengths("n_frames", n_frames, logits.shape[1])
    rows = []
    for scores, count in zip(logits, n_frames.tolist(), strict=True):
        path = scores[:count].argmax(axis=1)
        starts = np.flatnonzero(np.diff(path, prepend=NO_TOKEN))
        stops = np.append(starts[1:], count).astype(np.int64)
        written = path[starts] != blank_id
        rows.append(_score_stretches(scores[:count], path[starts], starts, stops, written))
    return _gather(rows)


def ctc_reference_confidences(
    logits: np.ndarray,
    labels: np.ndarray,
    n_frames: np.ndarray,
    n_labels: np.ndarray,
    *,
    blank_id: int = 0,
) -> TokenConfidences:
    """Confidences of the tokens that should have been read, where they most probably are.

    Parameters
    ----------
    logits : np.ndarray [shape=(batch, frames, vocabulary)]
        In any floating type.
    labels : np.ndarray [shape=(batch, length)]
        Ids, in any numeric type; padded with whatever.
    n_frames, n_labels : np.ndarray [shape=(batch,)]
        Frames and labels of each sample that count.
    blank_id : int

    Returns
    -------
    TokenConfidences
        Without tokens for labels that do not fit into their frames.

    Raises
    ------
    InputError
        If shapes disagree, a length exceeds its axis, or a label is not of the vocabulary.
    """
    labels, n_frames, n_labels = (_integers(values) for values in (labels, n_frames, n_labels))
    _check(logits, labels, n_labels, "labels", "n_labels")
    _check_lengths("n_frames", n_frames, logits.shape[1])
    rows = []
    samples = zip(logits, labels, n_frames.tolist(), n_labels.tolist(), strict=True)
    for scores, row, frames, length in samples:
        heard, tokens = scores[:frames], row[:length]
        stretches = ctc_alignment(heard, tokens, blank_id=blank_id)
        tokens = tokens[: len(stretches)]
        every = np.ones(len(tokens), dtype=bool)
        starts, stops = stretches.T
        rows.append(_score_stretches(heard, tokens, starts, stops, every))
    return _gather(rows)


def ctc_alignment(logits: np.ndarray, labels: np.ndarray, *, blank_id: int = 0) -> np.ndarray:
    """Most probable frames of every label of one sample.

    Parameters
    ----------
    logits : np.ndarray [shape=(frames, vocabulary)]
    labels : np.ndarray [shape=(length,), dtype=int64]
    blank_id : int

    Returns
    -------
    np.ndarray [shape=(length, 2), dtype=int64]
        First frame of each label and the one behind its last; [shape=(0, 2)] if the labels do not
        fit.
    """
    if not len(labels) or not len(logits):
        return np.zeros((0, 2), dtype=np.int64)
    # Between labels, before and behind them, there may be blanks.
    states = np.full(2 * len(labels) + 1, blank_id)
    states[1::2] = labels
    skips = np.zeros(len(states), dtype=bool)  # a blank between different labels may be left out
    skips[3::2] = labels[1:] != labels[:-1]
    scores = log_softmax(logits)[:, states]
    best = np.full(len(states), -np.inf)
    best[:2] = scores[0, :2]
    steps = np.zeros(scores.shape, dtype=np.int8)
    for frame in range(1, len(scores)):
        stay, move, skip = best, np.roll(best, 1), np.where(skips, np.roll(best, 2), -np.inf)
        move[0] = -np.inf
        reached = np.stack([stay, move, skip])
        steps[frame] = reached.argmax(axis=0)
        best = reached.max(axis=0) + scores[frame]
    last = len(states) - 1 - int(best[-2] > best[-1])
    if np.isneginf(best[last]):
        return np.zeros((0, 2), dtype=np.int64)
    path = np.empty(len(scores), dtype=np.int64)
    for frame in range(len(scores) - 1, -1, -1):
        path[frame] = last
        last -= int(steps[frame, last])  # no int8, which a long sentence leaves
    first = np.searchsorted(path, np.arange(1, len(states), 2), side="left")
    behind = np.searchsorted(path, np.arange(1, len(states), 2), side="right")
    return np.stack([first, behind], axis=1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities over the last axis: float64, whatever the floating type of the logits."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return scores


_Row = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _score_stretches(
    scores: np.ndarray,
    tokens: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    chosen: np.ndarray,
) -> _Row:
    """Judge each chosen token at the frame of its stretch where it is most probable."""
    log_probabilities = log_softmax(scores) if chosen.any() else scores
    frames = [
        start + int(log_probabilities[start:stop, token].argmax())
        for token, start, stop in zip(
            tokens[chosen].tolist(), starts[chosen].tolist(), stops[chosen].tolist(), strict=True
        )
    ]
    return _score(scores[np.array(frames, dtype=np.int64)], tokens[chosen])


def _score(scores: np.ndarray, tokens: np.ndarray) -> _Row:
    """Ids, probability, rank and entropy of one token per row of scores."""
    if not len(tokens):
        return tokens, np.empty(0), np.empty(0), np.empty(0)
    logs = log_softmax(scores)
    own = np.take_along_axis(logs, tokens[:, None], axis=1)
    # What is impossible adds nothing: 0 log 0 = 0.
    entropy = -(np.exp(logs) * np.where(np.isneginf(logs), 0, logs)).sum(axis=1)
    return tokens, np.exp(own[:, 0]), 1 + (logs > own).sum(axis=1), entropy


def _gather(rows: list[_Row]) -> TokenConfidences:
    shape = len(rows), max((len(tokens) for tokens, *_ in rows), default=0)
    ids, rank = np.full(shape, NO_TOKEN, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    probability = np.full(shape, np.nan, dtype=np.float32)
    entropy = probability.copy()
    for index, row in enumerate(rows):
        n = len(row[0])
        ids[index, :n], probability[index, :n], rank[index, :n], entropy[index, :n] = row
    return TokenConfidences(ids, probability, rank, entropy)


def _mean(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    there = ids != NO_TOKEN
    with np.errstate(invalid="ignore"):
        return (np.where(there, values, 0).sum(axis=1) / there.sum(axis=1)).astype(np.float32)


def _integers(values: np.ndarray) -> np.ndarray:
    # The platform hands everything over as floats.
    return np.rint(np.asarray(values)).astype(np.int64)


def _check(
    logits: np.ndarray, ids: np.ndarray, counts: np.ndarray, ids_name: str, counts_name: str | None
) -> None:
    shapes = [np.shape(values) for values in (logits, ids, counts)]
    if [len(shape) for shape in shapes] != [3, 2, 1] or len({shape[0] for shape in shapes}) > 1:
        raise InputError(
            f"logits [batch, n, vocabulary], {ids_name} [batch, n] and counts [batch] must have "
            f"one batch size, got shapes {', '.join(map(str, shapes))}"
        )
    if counts_name is None:
        return
    _check_lengths(counts_name, counts, ids.shape[1])
    real = ids[np.arange(ids.shape[1]) < counts[:, None]]
    if real.size and not 0 <= real.min() <= real.max() < logits.shape[2]:
        raise InputError(
            f"{ids_name} from {real.min()} to {real.max()} are not all of the vocabulary, "
            f"0 to {logits.shape[2] - 1}"
        )


def _check_lengths(name: str, lengths: np.ndarray, longest: int) -> None:
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= longest:
        raise InputError(
            f"{name} from {lengths.min()} to {lengths.max()} are not all within 0 and {longest}"
        )
