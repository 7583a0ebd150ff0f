"""Greedy decoding of a Whisper, step by step, over ONNX Runtime.

Two forms of the network do: the whole graph (``model.onnx``), which hears the clip anew at every
step, and the pair ``encoder.onnx`` and ``decoder.onnx``, which keep what they know between steps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from models.checkpoint import ONNX_FILE, open_session
from models.whisper import WhisperPreprocessor

if TYPE_CHECKING:
    import onnxruntime

ENCODER_FILE, DECODER_FILE = "encoder.onnx", "decoder.onnx"


class WhisperNetwork(Protocol):
    """A network that transcribes a batch, a token per step.

    Attributes
    ----------
    max_positions : int
        Tokens that it takes at most, prompt included.
    """

    max_positions: int

    def start(self, input_features: np.ndarray) -> np.ndarray:
        """Hear a batch.

        Parameters
        ----------
        input_features : np.ndarray [shape=(batch, n_mels, frames), dtype=float32]

        Returns
        -------
        np.ndarray [shape=(batch, frames / 2, hidden), dtype=float32]
            The encoder's states.
        """
        ...

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Score the token that follows.

        Parameters
        ----------
        ids : np.ndarray [shape=(batch, n), dtype=int64]
            All tokens so far, the prompt first; one more column at every call.

        Returns
        -------
        np.ndarray [shape=(batch, vocabulary), dtype=float32]
        """
        ...


@dataclass(frozen=True)
class Transcripts:
    """What a batch was heard as.

    Attributes
    ----------
    ids : np.ndarray [shape=(batch, steps), dtype=int64]
        Tokens behind the prompt; filled with the end token.
    n_tokens : np.ndarray [shape=(batch,), dtype=int64]
        Tokens of each row, the end token included where there is one.
    ended : np.ndarray [shape=(batch,), dtype=bool]
        Whether the end token came; otherwise the row was cut.
    logits : np.ndarray [shape=(batch, steps, vocabulary), dtype=float32]
        Scores by which each token was chosen, before any was suppressed.
    encoder_hidden_states : np.ndarray [shape=(batch, frames / 2, hidden), dtype=float32]
    """

    ids: np.ndarray
    n_tokens: np.ndarray
    ended: np.ndarray
    logits: np.ndarray
    encoder_hidden_states: np.ndarray

    def tokens(self, row: int) -> np.ndarray:
        """Tokens of one row, without what fills it up."""
        return self.ids[row, : self.n_tokens[row]]


class WholeGraph:
    """``model.onnx``: features and tokens in, logits of every position out."""

    def __init__(self, session: "onnxruntime.InferenceSession", end_id: int) -> None:
        self._session, self._end_id = session, end_id
        self.max_positions: int = session.get_inputs()[1].shape[1]
        self._features = np.empty(0, np.float32)

    def start(self, input_features: np.ndarray) -> np.ndarray:
        """Keep the features, and return the encoder's states."""
        self._features = input_features
        states = self._run(["encoder_hidden_states"], np.empty((len(input_features), 0), np.int64))
        return states[0]

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Score the token behind ``ids``."""
        return self._run(["logits"], ids)[0][:, ids.shape[1] - 1]

    def _run(self, outputs: list[str], ids: np.ndarray) -> list[np.ndarray]:
        padded = np.full((len(ids), self.max_positions), self._end_id, dtype=np.int64)
        padded[:, : ids.shape[1]] = ids
        inputs = {"input_features": self._features, "decoder_input_ids": padded}
        return self._session.run(outputs, inputs)


class StepGraphs:
    """``encoder.onnx`` and ``decoder.onnx``: each clip is heard once, each token read once."""

    def __init__(
        self, encoder: "onnxruntime.InferenceSession", decoder: "onnxruntime.InferenceSession"
    ) -> None:
        self._encoder, self._decoder = encoder, decoder
        self.max_positions = int(decoder.get_modelmeta().custom_metadata_map["max_positions"])
        self._kept: dict[str, np.ndarray] = {}
        self._n_read = 0
        self._empty = next(i.shape for i in decoder.get_inputs() if i.name == "self_keys")

    def start(self, input_features: np.ndarray) -> np.ndarray:
        """Hear the clips, and forget what came before."""
        states, keys, values = self._encoder.run(
            ["encoder_hidden_states", "cross_keys", "cross_values"],
            {"input_features": input_features},
        )
        n_layers, _, n_heads, _, width = self._empty
        past = np.zeros((n_layers, len(input_features), n_heads, 0, width), np.float32)
        self._kept = {
            "cross_keys": keys,
            "cross_values": values,
            "self_keys": past,
            "self_values": past,
        }
        self._n_read = 0
        return states

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read the tokens that are new, and score the one behind them."""
        logits, keys, values = self._decoder.run(
            ["logits", "all_self_keys", "all_self_values"],
            {"decoder_input_ids": ids[:, self._n_read :], **self._kept},
        )
        self._kept |= {"self_keys": keys, "self_values": values}
        self._n_read = ids.shape[1]
        return logits[:, -1]


def open_network(
    folder: Path, preprocessor: WhisperPreprocessor, *, num_threads: int | None = None
) -> WhisperNetwork:
    """Open the exported network of a folder, in the quicker of the forms that it holds.

    Raises
    ------
    MissingPathError, InputError
        As :func:`models.checkpoint.open_session`.
    """
    files = [Path(folder) / name for name in (ENCODER_FILE, DECODER_FILE)]
    if all(path.is_file() for path in files):
        return StepGraphs(*(open_session(path, num_threads=num_threads) for path in files))
    whole = open_session(Path(folder) / ONNX_FILE, num_threads=num_threads)
    return WholeGraph(whole, preprocessor.end_id)


def transcribe(
    network: WhisperNetwork,
    input_features: np.ndarray,
    preprocessor: WhisperPreprocessor,
    *,
    max_new_tokens: int | None = None,
) -> Transcripts:
    """Choose the best token at every step, until every row has ended.

    Parameters
    ----------
    network : WhisperNetwork
    input_features : np.ndarray [shape=(batch, n_mels, frames), dtype=float32]
    preprocessor : WhisperPreprocessor
    max_new_tokens : int, optional
        Behind the prompt, at least 1; as many as the network takes unless given.

    Returns
    -------
    Transcripts
    """
    end, prompt = preprocessor.end_id, preprocessor.prompt_ids
    room = network.max_positions - len(prompt)
    n_steps = room if max_new_tokens is None else max(1, min(room, max_new_tokens))
    never, not_first = (
        np.array(ids, dtype=np.int64)
        for ids in (preprocessor.suppressed, preprocessor.suppressed_first)
    )
    states = network.start(input_features)
    ids = np.tile(np.array(prompt, dtype=np.int64), (len(input_features), 1))
    ended = np.zeros(len(ids), dtype=bool)
    scores: list[np.ndarray] = []
    while len(scores) < n_steps and not ended.all():
        scores.append(network.step(ids))
        allowed = scores[-1].copy()
        allowed[:, never] = -np.inf
        if len(scores) == 1:
            allowed[:, not_first] = -np.inf
        chosen = np.where(ended, end, allowed.argmax(axis=1))
        ended |= chosen == end
        ids = np.concatenate([ids, chosen[:, None]], axis=1)
    return _transcripts(ids[:, len(prompt) :], end, scores, states)


def _transcripts(
    ids: np.ndarray, end: int, scores: list[np.ndarray], states: np.ndarray
) -> Transcripts:
    is_end = ids == end
    ended = is_end.any(axis=1)
    n_tokens = np.where(ended, is_end.argmax(axis=1) + 1, ids.shape[1])
    return Transcripts(ids, n_tokens, ended, np.stack(scores, axis=1), states)
