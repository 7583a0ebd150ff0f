"""A Whisper on the platform, told the sentence so far at every step (teacher forcing).

Every token is scored given the true ones before it, so its errors are fewer than those of a Whisper
that has to live with its own; metrics of texts say ``forced``. Unlike `.autoregressive` this has
latent spaces and simulations.

There is no ``from __future__ import annotations`` here: code-loader reads the annotations as types.
"""

from typing import TYPE_CHECKING

import numpy as np
from code_loader.contract.datasetclasses import (
    PredictionTypeHandler,
    PreprocessResponse,
    RawInputsForHeatmap,
)
from code_loader.contract.enums import LeapDataType, MetricDirection
from code_loader.contract.visualizer_classes import (
    LeapImage,
    LeapText,
    LeapTextMask,
)
from code_loader.inner_leap_binder.leapbinder_decorators import (
    tensorleap_custom_latent_space,
    tensorleap_custom_loss,
    tensorleap_custom_metric,
    tensorleap_custom_visualizer,
    tensorleap_gt_encoder,
    tensorleap_input_encoder,
    tensorleap_integration_test,
    tensorleap_load_model,
)

from hearing_analysis import encoders, losses, visualizers
from hearing_analysis.recognition import scores, words
from hearing_analysis.tensorleap import drawing, scoring
from hearing_analysis.tensorleap.dataset import (
    METADATA,
    playback,
    preprocess,
    reference_bytes,
    spectra_dbfs,
    thresholds_db_hl,
)
from hearing_analysis.tensorleap.spaces import SIMULATIONS, SPACES
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
from models.confidence import whisper_confidences

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["SIMULATIONS", "integration_test", "preprocess"]


@tensorleap_input_encoder("input_features", channel_dim=1)
def input_features(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Make what the model hears: float32 [shape=(n_mels, frames)]."""
    return features_of(idx, preprocess)


@tensorleap_input_encoder("token_ids_high", channel_dim=-1)
def token_ids_high(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """High digits of the tokens so far: float32 [shape=(positions,)]."""
    return _digits_given(idx, preprocess)[:, 0].copy()


@tensorleap_input_encoder("token_ids_low", channel_dim=-1)
def token_ids_low(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Low digits of the tokens so far: float32 [shape=(positions,)]."""
    return _digits_given(idx, preprocess)[:, 1].copy()


@tensorleap_gt_encoder("target_digits")
def target_digits(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Tokens to be written, as digits: float32 [shape=(positions, 2)], padded with -1."""
    wanted = encoders.targets(preprocess.data.sentence(idx), PREPROCESSOR, POSITIONS)[1]
    return encoders.digits(wanted, POSITIONS)


@tensorleap_gt_encoder("lengths")
def lengths(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Encoder frames that heard the clip, prompt, and tokens: float32 [shape=(3,)]."""
    samples = preprocess.data
    given = encoders.targets(samples.sentence(idx), PREPROCESSOR, POSITIONS)[0]
    n_frames = encoders.encoder_frames(len(samples.waveform(idx)), PREPROCESSOR)
    return np.array([n_frames, len(PREPROCESSOR.prompt_ids) - 1, len(given)], dtype=np.float32)


@tensorleap_load_model(
    [
        PredictionTypeHandler("logits", [], channel_dim=-1),
        PredictionTypeHandler("encoder_hidden_states", [], channel_dim=-1),
    ]
)
def load_model() -> "onnxruntime.InferenceSession":
    """Open the graph for this mode; on the platform the uploaded one takes its place."""
    return open_session(model_file("seq2seq"))


@tensorleap_custom_metric(
    "forced_word",
    direction=scoring.directions(scoring.WORD_KEYS),
    compute_insights=scoring.insights(scoring.WORD_KEYS),
)
def forced_word(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> dict[str, np.ndarray]:
    """Count errors in words, each token given the true ones before it."""
    return scoring.as_metric(scores.word_scores(*_texts(logits, lengths, reference_bytes)))


@tensorleap_custom_metric(
    "forced_character",
    direction=scoring.directions(scoring.CHARACTER_KEYS),
    compute_insights=scoring.insights(scoring.CHARACTER_KEYS),
)
def forced_character(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> dict[str, np.ndarray]:
    """Count errors in characters, each token given the true ones before it."""
    return scoring.as_metric(scores.character_scores(*_texts(logits, lengths, reference_bytes)))


@tensorleap_custom_metric(
    "forced_confidence",
    direction=scoring.directions(scores.CONFIDENCE),
    compute_insights=scoring.insights(scores.CONFIDENCE),
)
def forced_confidence(
    logits: np.ndarray, target_digits: np.ndarray, lengths: np.ndarray
) -> dict[str, np.ndarray]:
    """Tell how sure the model was of its next token, and how far from it the true one was."""
    answers, wanted, counts = _answers(logits, target_digits, lengths)
    return scoring.as_metric(scores.forced_confidence_scores(answers, wanted, counts))


@tensorleap_custom_metric("token_accuracy", direction=MetricDirection.Upward, compute_insights=True)
def token_accuracy(
    logits: np.ndarray, target_digits: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Share of the tokens behind the prompt that scored best: float32 [shape=(batch,)]."""
    return scores.token_accuracy(*_answers(logits, target_digits, lengths)).astype(np.float32)


@tensorleap_custom_metric(
    "cross_entropy", direction=MetricDirection.Downward, compute_insights=True
)
def cross_entropy_metric(
    logits: np.ndarray, target_digits: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Mean negative log-likelihood of the tokens behind the prompt: float32 [shape=(batch,)]."""
    return losses.cross_entropy(*_answers(logits, target_digits, lengths))


@tensorleap_custom_loss("cross_entropy")
def cross_entropy(logits: np.ndarray, target_digits: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mean negative log-likelihood of the tokens behind the prompt: float32 [shape=(batch,)]."""
    return losses.cross_entropy(*_answers(logits, target_digits, lengths))


@tensorleap_custom_latent_space("mean_encoder_state", use_ls_for_analysis=True)
def mean_encoder_state(encoder_hidden_states: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Average the encoder's states over the clip, without its padding."""
    states, sizes = encoder_hidden_states.astype(np.float32), lengths.astype(np.float32)
    return encoders.mean_pool(states, sizes[:, 0])


def log_mel_heatmap(input_features: np.ndarray, raw: RawInputsForHeatmap) -> np.ndarray:
    """Show over the features what the model looked at: float32 [shape=(240, frames)]."""
    values = input_features.reshape(PREPROCESSOR.mel.n_mels, -1)
    return visualizers.log_mel_heatmap(values, values.shape[1])


@tensorleap_custom_visualizer("log_mel", LeapDataType.Image, heatmap_function=log_mel_heatmap)
def log_mel(input_features: np.ndarray) -> LeapImage:
    """Paint the features as the model gets them, on a scale of their own."""
    return drawing.features(input_features.reshape(PREPROCESSOR.mel.n_mels, -1))


@tensorleap_custom_visualizer("transcript", LeapDataType.Text)
def transcript(logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray) -> LeapText:
    """Show what was said and what was recognised."""
    return drawing.transcript(*_text(logits, lengths, reference_bytes))


@tensorleap_custom_visualizer("alignment", LeapDataType.TextMask)
def alignment(logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray) -> LeapTextMask:
    """Show word by word what became of the sentence, deletions included."""
    return drawing.alignment(*_text(logits, lengths, reference_bytes))


@tensorleap_custom_visualizer("word_confidence", LeapDataType.Text)
def word_confidence(logits: np.ndarray, lengths: np.ndarray) -> LeapText:
    """Show how sure the model was of every word it wrote."""
    answers, counts = _written(logits.reshape(1, POSITIONS, -1), lengths.reshape(1, -1))
    found = whisper_confidences(answers, answers.argmax(axis=2), counts)
    n = int(counts[0])
    ids, probabilities = found.ids[0, :n].tolist(), found.probability[0, :n].tolist()
    return drawing.confidence(words.whisper_words(ids, probabilities, PREPROCESSOR))


@tensorleap_integration_test()
def integration_test(idx: str, preprocess: PreprocessResponse) -> None:
    """Walk one sample through everything; only decorated functions may be called here."""
    features, level = input_features(idx, preprocess), playback(idx, preprocess)
    high, low = token_ids_high(idx, preprocess), token_ids_low(idx, preprocess)
    digits, sizes = target_digits(idx, preprocess), lengths(idx, preprocess)
    reference, heard = reference_bytes(idx, preprocess), sound(idx, preprocess)

    model = load_model()
    predictions = model.run(
        None, {"input_features": features, "token_ids_high": high, "token_ids_low": low}
    )
    logits, states = predictions[0], predictions[1]

    for describe in (*METADATA, *SPACES):
        describe(idx, preprocess)
    forced_word(logits, sizes, reference)
    token_accuracy(logits, digits, sizes)
    forced_character(logits, sizes, reference)
    forced_confidence(logits, digits, sizes)
    cross_entropy_metric(logits, digits, sizes)
    cross_entropy(logits, digits, sizes)
    mean_encoder_state(states, sizes)
    listen(heard, level)
    waveform(heard, level)
    log_mel(features)
    transcript(logits, sizes, reference)
    alignment(logits, sizes, reference)
    word_confidence(logits, sizes)
    audiogram(thresholds_db_hl(idx, preprocess))
    spectrum(spectra_dbfs(idx, preprocess))


def _digits_given(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    given = encoders.targets(preprocess.data.sentence(idx), PREPROCESSOR, POSITIONS)[0]
    padded = PREPROCESSOR.decoder_input_ids([given.tolist()], POSITIONS)[0]
    return encoders.digits(padded, POSITIONS)


def _written(logits: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits behind the prompt, and how many of each sample count.

    The prompt is of the same length for all samples.
    """
    sizes = np.rint(lengths.astype(np.float32)).astype(np.int64)
    n_prompt = len(PREPROCESSOR.prompt_ids) - 1
    return logits.astype(np.float32)[:, n_prompt:], sizes[:, 2] - n_prompt


def _answers(
    logits: np.ndarray, target_digits: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits and true tokens behind the prompt, and how many of each sample count."""
    answers, counts = _written(logits, lengths)
    wanted = encoders.ids_of_digits(target_digits)[:, len(PREPROCESSOR.prompt_ids) - 1 :]
    return answers, wanted, counts


def _texts(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> tuple[list[str], list[str]]:
    """Read the references and hypotheses of a batch."""
    answers, counts = _written(logits, lengths)
    ids = answers.argmax(axis=2)
    hypotheses = [text_of(row[:count]) for row, count in zip(ids, counts, strict=True)]
    return encoders.reference_texts(reference_bytes), hypotheses


def _text(logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray) -> tuple[str, str]:
    """Read the reference and hypothesis of one sample."""
    references, hypotheses = _texts(
        logits.reshape(1, POSITIONS, -1), lengths.reshape(1, -1), reference_bytes.reshape(1, -1)
    )
    return references[0], hypotheses[0]
