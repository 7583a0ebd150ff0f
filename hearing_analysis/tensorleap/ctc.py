"""A CTC recogniser (wav2vec2, HuBERT) on the platform.

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
    LeapAudio,
    LeapGraph,
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

from hearing_analysis import encoders, losses
from hearing_analysis.recognition import scores, words
from hearing_analysis.recognition.recognisers import open_wav2vec2
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
from hearing_analysis.tensorleap.spaces import SIMULATIONS, SPACES
from hearing_analysis.tensorleap.views import audiogram, spectrum
from models.checkpoint import open_session
from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["SIMULATIONS", "integration_test", "preprocess"]

PREPROCESSOR = open_wav2vec2(CONFIG)
encoders.check_window(PREPROCESSOR, CONFIG.n_samples)


@tensorleap_input_encoder("input_values", channel_dim=-1)
def input_values(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Make what the model hears: float32 [shape=(n_samples,)]."""
    return encoders.input_values(preprocess.data.waveform(idx), PREPROCESSOR, CONFIG.n_samples)


@tensorleap_gt_encoder("labels")
def labels(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Token ids: float32 [shape=(max_label_length,)], padded with -1."""
    sentence = preprocess.data.sentence(idx)
    return encoders.labels(sentence, PREPROCESSOR, CONFIG.max_label_length)


@tensorleap_gt_encoder("lengths")
def lengths(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Frames that heard the clip, and labels: float32 [shape=(2,)]."""
    waveform, sentence = preprocess.data.waveform(idx), preprocess.data.sentence(idx)
    return encoders.lengths(waveform, sentence, PREPROCESSOR, CONFIG.n_samples)


@tensorleap_load_model(
    [
        PredictionTypeHandler("logits", list(PREPROCESSOR.vocabulary), channel_dim=-1),
        PredictionTypeHandler("hidden_states", [], channel_dim=-1),
    ]
)
def load_model() -> "onnxruntime.InferenceSession":
    """Open the exported model; on the platform the uploaded one takes its place."""
    session = open_session(CONFIG.model_folder)
    n_samples = session.get_inputs()[0].shape[1]
    if isinstance(n_samples, int) and n_samples != CONFIG.n_samples:
        raise InputError(
            f"the model in {CONFIG.model_folder} takes {n_samples} samples, window_seconds makes "
            f"{CONFIG.n_samples}; set it to {n_samples / SAMPLING_RATE:g}, or export it again"
        )
    return session


@tensorleap_custom_metric(
    "word",
    direction=scoring.directions(scoring.WORD_KEYS),
    compute_insights=scoring.insights(scoring.WORD_KEYS),
)
def word(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> dict[str, np.ndarray]:
    """Count the errors in words, sample by sample."""
    return scoring.as_metric(scores.word_scores(*_texts(logits, lengths, reference_bytes)))


@tensorleap_custom_metric(
    "character",
    direction=scoring.directions(scoring.CHARACTER_KEYS),
    compute_insights=scoring.insights(scoring.CHARACTER_KEYS),
)
def character(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> dict[str, np.ndarray]:
    """Count the errors in characters, sample by sample."""
    return scoring.as_metric(scores.character_scores(*_texts(logits, lengths, reference_bytes)))


@tensorleap_custom_metric(
    "confidence",
    direction=scoring.directions(scores.CTC_CONFIDENCE),
    compute_insights=scoring.insights(scores.CTC_CONFIDENCE),
)
def confidence(
    logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray
) -> dict[str, np.ndarray]:
    """Tell how sure the model was of what it wrote, and how far from it the reference was."""
    logits, labels = logits.astype(np.float32), labels.astype(np.float32)
    return scoring.as_metric(
        scores.ctc_confidence_scores(
            logits, labels, *_lengths(lengths), blank_id=PREPROCESSOR.blank_id
        )
    )


# The platform calls whatever loss it is given "loss"; the metric keeps the name of our column.
@tensorleap_custom_metric("ctc_loss", direction=MetricDirection.Downward, compute_insights=False)
def ctc_loss_metric(logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of the labels: float32 [shape=(batch,)]."""
    return _ctc_loss(logits, labels, lengths)


@tensorleap_custom_loss("ctc_loss")
def ctc_loss(logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of the labels: float32 [shape=(batch,)]."""
    return _ctc_loss(logits, labels, lengths)


@tensorleap_custom_latent_space("mean_hidden_state", use_ls_for_analysis=True)
def mean_hidden_state(hidden_states: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Average the last hidden layer over the clip, without its padding."""
    hidden_states, lengths = hidden_states.astype(np.float32), lengths.astype(np.float32)
    return encoders.mean_pool(hidden_states, lengths[:, 0])


@tensorleap_custom_visualizer("audio", LeapDataType.Audio)
def listen(input_values: np.ndarray, playback: np.ndarray) -> LeapAudio:
    """Play the clip as loud as its profile left it, over its picture."""
    return drawing.audio(drawing.restore(input_values, playback))


@tensorleap_custom_visualizer("waveform", LeapDataType.Graph)
def waveform(input_values: np.ndarray, playback: np.ndarray) -> LeapGraph:
    """Draw the clip's envelope at its true level."""
    return drawing.waveform_graph(drawing.restore(input_values, playback))


def log_mel_heatmap(
    input_values: np.ndarray, playback: np.ndarray, raw: RawInputsForHeatmap
) -> np.ndarray:
    """Show over the spectrogram what the model looked at: float32 [shape=(240, frames)]."""
    told = raw.raw_input_by_vizualizer_arg_name.get("playback")
    return drawing.heatmap(input_values, None if told is None else float(np.ravel(told)[1]))


@tensorleap_custom_visualizer("log_mel", LeapDataType.Image, heatmap_function=log_mel_heatmap)
def log_mel(input_values: np.ndarray, playback: np.ndarray) -> LeapImage:
    """Paint the clip on a scale that is the same for all clips and profiles."""
    return drawing.log_mel(drawing.restore(input_values, playback))


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
    logits = logits.reshape(-1, len(PREPROCESSOR.vocabulary)).astype(np.float32)
    n_frames = round(float(lengths.ravel()[0]))
    return drawing.confidence(words.ctc_words(logits, n_frames, PREPROCESSOR))


@tensorleap_integration_test()
def integration_test(idx: str, preprocess: PreprocessResponse) -> None:
    """Walk one sample through everything; only decorated functions may be called here."""
    values, level = input_values(idx, preprocess), playback(idx, preprocess)
    ids, sizes = labels(idx, preprocess), lengths(idx, preprocess)
    reference = reference_bytes(idx, preprocess)

    model = load_model()
    predictions = model.run(None, {"input_values": values})
    logits, hidden_states = predictions[0], predictions[1]

    for describe in (*METADATA, *SPACES):
        describe(idx, preprocess)
    word(logits, sizes, reference)
    character(logits, sizes, reference)
    confidence(logits, ids, sizes)
    ctc_loss_metric(logits, ids, sizes)
    ctc_loss(logits, ids, sizes)
    mean_hidden_state(hidden_states, sizes)
    listen(values, level)
    waveform(values, level)
    log_mel(values, level)
    transcript(logits, sizes, reference)
    alignment(logits, sizes, reference)
    word_confidence(logits, sizes)
    audiogram(thresholds_db_hl(idx, preprocess))
    spectrum(spectra_dbfs(idx, preprocess))


def _texts(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> tuple[list[str], list[str]]:
    """Read the references and hypotheses of a batch."""
    logits, lengths = logits.astype(np.float32), lengths.astype(np.float32)
    hypotheses = encoders.hypotheses(logits, lengths[:, 0], PREPROCESSOR)
    return encoders.reference_texts(reference_bytes), hypotheses


def _lengths(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames and labels of every sample of a batch."""
    n_frames, n_labels = np.rint(lengths.astype(np.float32)).T
    return n_frames, n_labels


def _ctc_loss(logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    logits, labels = logits.astype(np.float32), labels.astype(np.float32)
    return losses.ctc_loss(logits, labels, *_lengths(lengths), blank_id=PREPROCESSOR.blank_id)


def _text(logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray) -> tuple[str, str]:
    """Read the reference and hypothesis of one sample."""
    logits = logits.reshape(1, -1, len(PREPROCESSOR.vocabulary))
    references, hypotheses = _texts(logits, lengths.reshape(1, -1), reference_bytes.reshape(1, -1))
    return references[0], hypotheses[0]
