"""A Whisper on the platform that writes on its own: greedy decoding, a token per step.

The platform feeds the graph what `write` returns and hands its scores of the next token back, until
`write` returns nothing. Tokens travel in the state, as plain integers; in tensors as two digits,
because tensors are float16. Input encoders, simulations and latent spaces of our own are not
allowed in such an integration; the mode ``seq2seq`` has them.

There is no ``from __future__ import annotations`` here: code-loader reads the annotations as types.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from code_loader.contract.datasetclasses import PredictionTypeHandler, PreprocessResponse
from code_loader.contract.enums import LeapDataType
from code_loader.contract.visualizer_classes import (
    LeapGraph,
    LeapImage,
    LeapText,
    LeapTextMask,
)
from code_loader.inner_leap_binder.leapbinder_decorators import (
    tensorleap_autoregressive_loss,
    tensorleap_autoregressive_metric,
    tensorleap_autoregressive_step,
    tensorleap_autoregressive_visualizer,
    tensorleap_custom_visualizer,
    tensorleap_integration_test,
    tensorleap_load_model,
    tensorleap_model_loop,
)

from hearing_analysis import encoders
from hearing_analysis.recognition import scores, words
from hearing_analysis.tensorleap import drawing, scoring
from hearing_analysis.tensorleap.dataset import (
    CONFIG,
    METADATA,
    playback,
    preprocess,
    reference_bytes,
    spectra_dbfs,
    thresholds_db_hl,
)
from hearing_analysis.tensorleap.views import audiogram, spectrum
from hearing_analysis.tensorleap.whisper_ends import (
    POSITIONS,
    PREPROCESSOR,
    features_of,
    listen,
    model_file,
    sound,
    text_of,
    waveform,
)
from models.checkpoint import open_session
from models.confidence import log_softmax

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["integration_test", "preprocess"]

CHAIN_KEYS = ("token_probability", "entropy", "n_tokens", "ended")
Inputs = dict[str, np.ndarray]
State = dict[str, Any]


@tensorleap_autoregressive_step(latent_space_aggregation="mean")
def write(
    sample_id: str,
    prev_inputs: Inputs | None,
    prev_outputs: Inputs | None,
    state: State | None,
    preprocess: PreprocessResponse,
) -> tuple[Inputs | None, State]:
    """Take the best token, and ask for the next; nothing to ask for when the text has ended.

    The state holds ``tokens`` behind the prompt and, of each, the logarithm of its probability and
    the entropy around it, in nats.
    """
    if prev_inputs is None or prev_outputs is None or state is None:
        begun: State = {"tokens": [], "log_probabilities": [], "entropies": []}
        return _inputs(features_of(sample_id, preprocess), begun["tokens"]), begun
    state = _chosen(prev_outputs["next_token_logits"], state)
    tokens = state["tokens"]
    if tokens[-1] == PREPROCESSOR.end_id or len(tokens) >= _room():
        return None, state
    return _inputs(prev_inputs["input_features"], tokens), state


@tensorleap_load_model([PredictionTypeHandler("next_token_logits", [], channel_dim=-1)])
def load_model() -> "onnxruntime.InferenceSession":
    """Open the graph for this mode; on the platform the uploaded one takes its place."""
    return open_session(model_file("autoregressive"))


@tensorleap_model_loop()
def model_loop(
    model: Any, sample_id: str, preprocess: PreprocessResponse
) -> tuple[Inputs, Inputs, State]:
    """Drive one chain, as the platform does."""
    inputs, state = write(sample_id, None, None, None, preprocess)
    while True:
        outputs = model.run(
            None,
            {
                "input_features": inputs["input_features"],
                "token_ids_high": inputs["token_ids_high"],
                "token_ids_low": inputs["token_ids_low"],
                "position_mask": inputs["position_mask"],
            },
        )
        following, state = write(sample_id, inputs, outputs, state, preprocess)
        if following is None:
            return inputs, outputs, state
        inputs = following


@tensorleap_autoregressive_metric(
    "word",
    direction=scoring.directions(scoring.WORD_KEYS),
    compute_insights=scoring.insights(scoring.WORD_KEYS),
)
def word(state: State, reference_bytes: np.ndarray) -> dict[str, float]:
    """Count the errors in words."""
    return _of_one(scores.word_scores(*_texts(state, reference_bytes)))


@tensorleap_autoregressive_metric(
    "character",
    direction=scoring.directions(scoring.CHARACTER_KEYS),
    compute_insights=scoring.insights(scoring.CHARACTER_KEYS),
)
def character(state: State, reference_bytes: np.ndarray) -> dict[str, float]:
    """Count the errors in characters."""
    return _of_one(scores.character_scores(*_texts(state, reference_bytes)))


@tensorleap_autoregressive_metric(
    "hallucination",
    direction=scoring.directions(scoring.HALLUCINATION_KEYS),
    compute_insights=scoring.insights(scoring.HALLUCINATION_KEYS),
)
def hallucination(state: State, reference_bytes: np.ndarray) -> dict[str, float]:
    """Look for text that nobody said."""
    return _of_one(scores.hallucination_scores(*_texts(state, reference_bytes)))


@tensorleap_autoregressive_metric(
    "confidence",
    direction=scoring.directions(CHAIN_KEYS),
    compute_insights=scoring.insights(CHAIN_KEYS),
)
def confidence(state: State) -> dict[str, float]:
    """Tell how sure the model was of what it wrote, how much it wrote, and whether it ended."""
    return {
        "token_probability": float(np.exp(state["log_probabilities"]).mean()),
        "entropy": float(np.mean(state["entropies"])),
        "n_tokens": float(len(state["tokens"])),
        "ended": float(state["tokens"][-1] == PREPROCESSOR.end_id),
    }


@tensorleap_autoregressive_loss("negative_log_probability")
def negative_log_probability(state: State) -> float:
    """Mean negative log-probability of the tokens written, in nats: Whisper's own doubt."""
    return float(-np.mean(state["log_probabilities"]))


@tensorleap_custom_visualizer("log_mel", LeapDataType.Image)
def log_mel(sound: np.ndarray, playback: np.ndarray) -> LeapImage:
    """Paint the clip on a scale that is the same for all clips and profiles."""
    return drawing.log_mel(drawing.restore(sound, playback))


@tensorleap_autoregressive_visualizer("transcript", LeapDataType.Text)
def transcript(state: State, reference_bytes: np.ndarray) -> LeapText:
    """Show what was said and what was recognised."""
    return drawing.transcript(*_text(state, reference_bytes))


@tensorleap_autoregressive_visualizer("alignment", LeapDataType.TextMask)
def alignment(state: State, reference_bytes: np.ndarray) -> LeapTextMask:
    """Show word by word what became of the sentence, deletions included."""
    return drawing.alignment(*_text(state, reference_bytes))


@tensorleap_autoregressive_visualizer("word_confidence", LeapDataType.Text)
def word_confidence(state: State) -> LeapText:
    """Show how sure the model was of every word it wrote."""
    probabilities = np.exp(state["log_probabilities"]).tolist()
    return drawing.confidence(words.whisper_words(state["tokens"], probabilities, PREPROCESSOR))


@tensorleap_autoregressive_visualizer("token_entropy", LeapDataType.Graph)
def token_entropy(state: State) -> LeapGraph:
    """Draw how undecided the model was at every token."""
    return drawing.per_token(state["entropies"], "nats")


@tensorleap_integration_test()
def integration_test(idx: str, preprocess: PreprocessResponse) -> None:
    """Walk one sample through everything; only decorated functions may be called here."""
    reference, level = reference_bytes(idx, preprocess), playback(idx, preprocess)
    heard = sound(idx, preprocess)

    model = load_model()
    _, _, state = model_loop(model, idx, preprocess)

    for describe in METADATA:
        describe(idx, preprocess)
    word(state, reference)
    character(state, reference)
    hallucination(state, reference)
    confidence(state)
    negative_log_probability(state)
    listen(heard, level)
    waveform(heard, level)
    log_mel(heard, level)
    transcript(state, reference)
    alignment(state, reference)
    word_confidence(state)
    token_entropy(state)
    audiogram(thresholds_db_hl(idx, preprocess))
    spectrum(spectra_dbfs(idx, preprocess))


def _room() -> int:
    """Tokens that may be written behind the prompt."""
    return min(CONFIG.max_new_tokens, POSITIONS - len(PREPROCESSOR.prompt_ids))


def _inputs(features: np.ndarray, tokens: list[int]) -> Inputs:
    ids = [*PREPROCESSOR.prompt_ids, *tokens]
    padded = PREPROCESSOR.decoder_input_ids([ids], POSITIONS)[0]
    high, low = encoders.digits(padded, POSITIONS).T.copy()
    mask = np.zeros(POSITIONS, dtype=np.float32)
    mask[len(ids) - 1] = 1.0
    return {
        "input_features": features.astype(np.float32, copy=False),
        "token_ids_high": high,
        "token_ids_low": low,
        "position_mask": mask,
    }


def _chosen(logits: np.ndarray, state: State) -> State:
    """State with the best token that is allowed; what came before is left as it is."""
    log_probabilities = log_softmax(logits.ravel())
    allowed = logits.ravel().astype(np.float32)
    allowed[list(PREPROCESSOR.suppressed)] = -np.inf
    if not state["tokens"]:
        allowed[list(PREPROCESSOR.suppressed_first)] = -np.inf
    best = int(allowed.argmax())
    entropy = -float(np.exp(log_probabilities) @ log_probabilities)
    return {
        "tokens": [*state["tokens"], best],
        "log_probabilities": [*state["log_probabilities"], float(log_probabilities[best])],
        "entropies": [*state["entropies"], entropy],
    }


def _of_one(found: scores.Scores) -> dict[str, float]:
    return {key: float(values[0]) for key, values in found.items()}


def _texts(state: State, reference_bytes: np.ndarray) -> tuple[list[str], list[str]]:
    reference, hypothesis = _text(state, reference_bytes)
    return [reference], [hypothesis]


def _text(state: State, reference_bytes: np.ndarray) -> tuple[str, str]:
    """Read the reference and what was written."""
    hypothesis = text_of(np.array(state["tokens"], dtype=np.int64))
    return encoders.reference_text(np.ravel(reference_bytes)), hypothesis
