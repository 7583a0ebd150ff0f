"""Recognisers at work: what one makes of a batch of clips, and how that compares with the truth.

Every family gives the same columns; what a family has not is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from hearing_analysis import encoders
from hearing_analysis.config import AnalysisConfig
from hearing_analysis.losses import cross_entropy, ctc_loss
from hearing_analysis.metrics import word_errors
from hearing_analysis.recognition import hallucination, scores
from hearing_analysis.recognition.recognisers import is_whisper, open_wav2vec2, open_whisper
from hearing_analysis.recognition.words import ctc_words, whisper_words
from hearing_analysis.visualizers import ConfidentWords
from models.checkpoint import ONNX_FILE, open_session
from models.confidence import whisper_confidences
from models.whisper_decoding import (
    DECODER_FILE,
    ENCODER_FILE,
    Transcripts,
    open_network,
    transcribe,
)
from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError

# Column -> type: what only a listener can tell.
COLUMNS: dict[str, type] = {
    "ctc_loss": float,
    "cross_entropy": float,
    "token_accuracy": float,
    "forced_hypothesis": str,
    "forced_word_error_rate": float,
    "forced_word_edits": int,
    "confidence_token_probability": float,
    "confidence_entropy": float,
    "confidence_reference_rank": float,
    "confidence_blank_rate": float,
    "confidence_n_tokens": int,
    "confidence_ended": bool,
    **dict.fromkeys(hallucination.COLUMNS, float),
    "word_confidence": list,  # a probability per word of the hypothesis
}
_CONFIG_FILES = (
    *("config.json", "preprocessor_config.json", "generation_config.json"),
    *("tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt", "normalizer.json"),
)


@dataclass(frozen=True)
class Heard:
    """What a recogniser made of one clip.

    Attributes
    ----------
    reference, hypothesis : str
        Normalised alike.
    latent : np.ndarray [shape=(hidden,), dtype=float32]
        The model's states, averaged over the frames that heard the clip.
    columns : dict
        The keys of `COLUMNS`, always.
    """

    reference: str
    hypothesis: str
    latent: np.ndarray
    columns: dict[str, Any]


class Listener(Protocol):
    """A recogniser of one family."""

    model_files: tuple[str, ...]

    def hear(self, waveforms: Sequence[np.ndarray], sentences: Sequence[str]) -> list[Heard]:
        """Hear clips, and compare them with what was said."""
        ...


def open_listener(config: AnalysisConfig) -> Listener:
    """Find the listener of a model's family; the model itself is opened when it is needed."""
    return (WhisperListener if is_whisper(config.model_folder) else CtcListener)(config)


class CtcListener:
    """wav2vec2 and HuBERT: greedy CTC."""

    model_files: tuple[str, ...] = (ONNX_FILE, *_CONFIG_FILES)

    def __init__(self, config: AnalysisConfig) -> None:
        self._config = config
        self._preprocessor = open_wav2vec2(config)

    def hear(self, waveforms: Sequence[np.ndarray], sentences: Sequence[str]) -> list[Heard]:
        """Hear clips, and compare them with what was said."""
        n_samples, blank_id = self._config.n_samples, self._preprocessor.blank_id
        values = np.stack([self._preprocessor.input_values(w, n_samples) for w in waveforms])
        logits, states = self._session.run(["logits", "hidden_states"], {"input_values": values})
        n_frames = np.array(
            [self._preprocessor.n_frames(min(len(w), n_samples)) for w in waveforms]
        )
        labels, n_labels = _padded([self._preprocessor.label_ids(s) for s in sentences])
        judged = scores.ctc_confidence_scores(logits, labels, n_frames, n_labels, blank_id=blank_id)
        loss = ctc_loss(logits, labels, n_frames, n_labels, blank_id=blank_id)
        latents = encoders.mean_pool(states, n_frames)
        hypotheses = encoders.hypotheses(logits, n_frames, self._preprocessor)
        return [
            Heard(
                self._preprocessor.normalize_text(sentences[row]),
                hypotheses[row],
                latents[row],
                _columns(
                    {f"confidence_{key}": values[row] for key, values in judged.items()}
                    | {"ctc_loss": loss[row]}
                    | _of_words(
                        hypotheses[row],
                        ctc_words(logits[row], int(n_frames[row]), self._preprocessor),
                    )
                ),
            )
            for row in range(len(waveforms))
        ]

    @cached_property
    def _session(self) -> Any:
        # One thread: the same numbers whatever the machine does, and one core per worker.
        session = open_session(self._config.model_folder, num_threads=1)
        expected = session.get_inputs()[0].shape[-1]
        if isinstance(expected, int) and expected != self._config.n_samples:
            seconds = expected / SAMPLING_RATE
            raise InputError(
                f"the model in {self._config.model_folder} takes {seconds:g} s of sound and "
                f"window_seconds is {self._config.window_seconds:g}; set window_seconds to "
                f"{seconds:g}, or export the model again with --window-seconds"
            )
        return session


class WhisperListener:
    """Whisper: greedy decoding; and, told the sentence so far, the scores of its tokens."""

    model_files: tuple[str, ...] = (ONNX_FILE, ENCODER_FILE, DECODER_FILE, *_CONFIG_FILES)

    def __init__(self, config: AnalysisConfig) -> None:
        self._config = config
        self._preprocessor = open_whisper(config)

    def hear(self, waveforms: Sequence[np.ndarray], sentences: Sequence[str]) -> list[Heard]:
        """Hear clips, and compare them with what was said."""
        features = self._preprocessor.input_features(waveforms)
        written = self._transcribe(features)
        forced = self._force(features, sentences)
        frames = [encoders.encoder_frames(len(w), self._preprocessor) for w in waveforms]
        latents = encoders.mean_pool(written.encoder_hidden_states, np.array(frames))
        heard = []
        for row, sentence in enumerate(sentences):
            reference = self._preprocessor.normalize_text(sentence)
            hypothesis = self._text(written.tokens(row))
            judged = self._judge(reference, hypothesis, written, row)
            columns = _columns(judged | forced[row])
            heard.append(Heard(reference, hypothesis, latents[row], columns))
        return heard

    def _transcribe(self, features: np.ndarray) -> Transcripts:
        room = self._positions - len(self._preprocessor.prompt_ids)
        most = min(self._config.max_new_tokens, room)
        return transcribe(self._network, features, self._preprocessor, max_new_tokens=most)

    def _judge(
        self, reference: str, hypothesis: str, written: Transcripts, row: int
    ) -> dict[str, Any]:
        one = slice(row, row + 1)
        sure = whisper_confidences(written.logits[one], written.ids[one], written.n_tokens[one])
        signs = hallucination.hallucination(hypothesis, word_errors(reference, hypothesis))
        n = int(written.n_tokens[row])
        ids, probabilities = sure.ids[0, :n].tolist(), sure.probability[0, :n].tolist()
        return {
            **_of_words(hypothesis, whisper_words(ids, probabilities, self._preprocessor)),
            "confidence_token_probability": sure.mean_probability[0],
            "confidence_entropy": sure.mean_entropy[0],
            "confidence_n_tokens": written.n_tokens[row],
            "confidence_ended": written.ended[row],
            **{name: getattr(signs, name.partition("_")[2]) for name in hallucination.COLUMNS},
        }

    def _force(self, features: np.ndarray, sentences: Sequence[str]) -> list[dict[str, Any]]:
        """Scores of the true tokens behind the prompt, given those before each.

        Empty for a sentence of more tokens than the model takes.
        """
        labels = [self._preprocessor.label_ids(sentence) for sentence in sentences]
        fits = [row for row, ids in enumerate(labels) if len(ids) - 1 <= self._positions]
        found: list[dict[str, Any]] = [{} for _ in sentences]
        if not fits:
            return found
        n_prompt = len(self._preprocessor.prompt_ids) - 1
        given = [labels[row][:-1].tolist() for row in fits]
        n_graph = self._whole.get_inputs()[1].shape[1]
        (logits,) = self._whole.run(
            ["logits"],
            {
                "input_features": features[fits],
                "decoder_input_ids": self._preprocessor.decoder_input_ids(given, n_graph),
            },
        )
        wanted, counts = _padded([labels[row][n_prompt + 1 :] for row in fits])
        answers = logits[:, n_prompt : n_prompt + wanted.shape[1]]
        loss = cross_entropy(answers, wanted, counts)
        accuracy = scores.token_accuracy(answers, wanted, counts)
        judged = scores.forced_confidence_scores(answers, wanted, counts)
        best = answers.argmax(axis=2)
        for place, row in enumerate(fits):
            hypothesis = self._text(best[place, : counts[place]])
            errors = word_errors(self._preprocessor.normalize_text(sentences[row]), hypothesis)
            found[row] = {
                "cross_entropy": loss[place],
                "token_accuracy": accuracy[place],
                "confidence_reference_rank": judged["reference_rank"][place],
                "forced_hypothesis": hypothesis,
                "forced_word_error_rate": errors.rate,
                "forced_word_edits": errors.edits,
            }
        return found

    def _text(self, ids: np.ndarray) -> str:
        return self._preprocessor.normalize_text(self._preprocessor.decode(ids))

    @property
    def _positions(self) -> int:
        return self._config.positions or self._preprocessor.max_positions

    @cached_property
    def _network(self) -> Any:
        return open_network(self._config.model_folder, self._preprocessor, num_threads=1)

    @cached_property
    def _whole(self) -> Any:
        return open_session(self._config.model_folder, num_threads=1)


def _of_words(hypothesis: str, words: ConfidentWords) -> dict[str, Any]:
    """Confidence per word; None where normalisation has made other words of the transcript."""
    fits = hypothesis and len(words.words) == len(hypothesis.split())
    return {"word_confidence": list(words.probabilities) if fits else None}


def _padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids [shape=(n_rows, longest)], padded with 0, and their lengths."""
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    padded = np.zeros((len(rows), max(1, counts.max(initial=0))), dtype=np.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded, counts


def _columns(found: dict[str, Any]) -> dict[str, Any]:
    """All columns in order, as plain values; what is not there or NaN becomes None."""
    return {name: _plain(found.get(name), kind) for name, kind in COLUMNS.items()}


def _plain(value: Any, kind: type) -> Any:
    return None if value is None or value != value else kind(value)
