"""A CTC recogniser (wav2vec2) on the platform.

Columns are named as in ``analysis.parquet``: the platform joins the name of a metadata handler or
metric and its key with an underscore, so metric ``word`` with key ``hits`` is ``word_hits``.

There is no ``from __future__ import annotations`` here: code-loader reads the annotations as types.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from code_loader import leap_binder
from code_loader.contract.datasetclasses import PredictionTypeHandler, PreprocessResponse
from code_loader.contract.enums import (
    DatasetMetadataType,
    DataStateType,
    LeapDataType,
    MetricDirection,
)
from code_loader.contract.responsedataclasses import LeapAnalysisConfiguration
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
    tensorleap_metadata,
    tensorleap_preprocess,
)

from hearing_analysis import encoders, losses, visualizers
from hearing_analysis.config import load_config
from hearing_analysis.metadata import (
    HANDLERS,
    audio_metadata,
    clip_metadata,
    profile_metadata,
    text_metadata,
)
from hearing_analysis.metrics import (
    COUNTS,
    ErrorCounts,
    batch_character_errors,
    batch_word_errors,
)
from hearing_analysis.samples import SampleSet, open_samples
from models.wav2vec2 import Wav2Vec2Preprocessor, open_session
from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError

if TYPE_CHECKING:
    import onnxruntime

CONFIG = load_config()
PREPROCESSOR = Wav2Vec2Preprocessor.from_folder(CONFIG.model_folder)
encoders.check_window(PREPROCESSOR, CONFIG.n_samples)

# Counts grow with the sentence, so insights are drawn from rates and from kinds of errors alone.
DIRECTIONS = {
    "error_rate": MetricDirection.Downward,
    "hits": MetricDirection.Upward,
    "substitutions": MetricDirection.Downward,
    "deletions": MetricDirection.Downward,
    "insertions": MetricDirection.Downward,
    "edits": MetricDirection.Downward,
    "reference_length": MetricDirection.Downward,  # neither is better, but one must be given
}
INSIGHTS = {
    key: key in ("error_rate", "substitutions", "deletions", "insertions") for key in DIRECTIONS
}
_METADATA_TYPES = {
    float: DatasetMetadataType.float,
    int: DatasetMetadataType.float,  # what code-loader makes of an int
    str: DatasetMetadataType.string,
}

leap_binder.leap_analysis_configuration = LeapAnalysisConfiguration(
    domain_gap_metadata=["profile_name"], deterministic_results=True
)


@tensorleap_preprocess()
def preprocess() -> list[PreprocessResponse]:
    """Every clip under every profile; all profiles of a clip share its state."""
    states = CONFIG.splits.by_state().items()
    return [_response(_samples(split), DataStateType(state)) for state, split in states]


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


@tensorleap_gt_encoder("reference_bytes")
def reference_bytes(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """UTF-8 of the normalised sentence: float32 [shape=(max_label_length,)], padded with 0."""
    sentence = preprocess.data.sentence(idx)
    return encoders.reference_bytes(sentence, PREPROCESSOR, CONFIG.max_label_length)


@tensorleap_gt_encoder("playback")
def playback(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Gain in dB and length in seconds that the model's input hides: float32 [shape=(2,)]."""
    return encoders.playback(preprocess.data.waveform(idx), PREPROCESSOR, CONFIG.n_samples)


@tensorleap_gt_encoder("thresholds_db_hl")
def thresholds_db_hl(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Audiogram at the octaves: float32 [shape=(7,)]."""
    return encoders.thresholds_db_hl(preprocess.data.profile(idx))


def _types(handler: str) -> dict[str, DatasetMetadataType]:
    return {key: _METADATA_TYPES[kind] for key, kind in HANDLERS[handler].items()}


@tensorleap_metadata("profile", _types("profile"))
def profile(idx: str, preprocess: PreprocessResponse) -> dict[str, float | str | None]:
    """Describe the hearing the clip was filtered through."""
    return profile_metadata(preprocess.data.profile(idx))


@tensorleap_metadata("audio", _types("audio"))
def audio(idx: str, preprocess: PreprocessResponse) -> dict[str, float | None]:
    """Describe how the clip sounds, unpadded."""
    return audio_metadata(preprocess.data.waveform(idx), SAMPLING_RATE)


@tensorleap_metadata("text", _types("text"))
def text(idx: str, preprocess: PreprocessResponse) -> dict[str, float | int | str | None]:
    """Describe the sentence as the corpus spells it."""
    return text_metadata(preprocess.data.sentence(idx))


@tensorleap_metadata("clip", _types("clip"))
def clip(idx: str, preprocess: PreprocessResponse) -> dict[str, float | str | None]:
    """Describe who speaks, and how."""
    return clip_metadata(preprocess.data.columns(idx))


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


@tensorleap_custom_metric("word", direction=DIRECTIONS, compute_insights=INSIGHTS)
def word(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> dict[str, np.ndarray]:
    """Count the errors in words, sample by sample."""
    return _metric(batch_word_errors(*_texts(logits, lengths, reference_bytes)))


@tensorleap_custom_metric("character", direction=DIRECTIONS, compute_insights=INSIGHTS)
def character(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> dict[str, np.ndarray]:
    """Count the errors in characters, sample by sample."""
    return _metric(batch_character_errors(*_texts(logits, lengths, reference_bytes)))


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
    waveform = _waveform(input_values, playback)
    picture = visualizers.log_mel_picture(waveform, SAMPLING_RATE)
    return LeapAudio(waveform, SAMPLING_RATE, LeapImage(picture, compress=False))


@tensorleap_custom_visualizer("log_mel", LeapDataType.Image)
def log_mel(input_values: np.ndarray, playback: np.ndarray) -> LeapImage:
    """Paint the clip on a scale that is the same for all clips and profiles."""
    waveform = _waveform(input_values, playback)
    return LeapImage(visualizers.log_mel_picture(waveform, SAMPLING_RATE), compress=False)


@tensorleap_custom_visualizer("transcript", LeapDataType.Text)
def transcript(logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray) -> LeapText:
    """Show what was said and what was recognised."""
    return LeapText(visualizers.transcript(*_text(logits, lengths, reference_bytes)))


@tensorleap_custom_visualizer("alignment", LeapDataType.TextMask)
def alignment(logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray) -> LeapTextMask:
    """Show word by word what became of the sentence, deletions included."""
    marked = visualizers.word_alignment(*_text(logits, lengths, reference_bytes))
    return LeapTextMask(marked.codes, list(marked.words), list(visualizers.EDIT_LABELS))


@tensorleap_custom_visualizer("audiogram", LeapDataType.Graph)
def audiogram(thresholds_db_hl: np.ndarray) -> LeapGraph:
    """Draw the audiogram of the profile."""
    curve = visualizers.audiogram_curve(thresholds_db_hl)
    return LeapGraph(
        curve,
        x_label="octaves above 125 Hz",
        y_label="- dB HL",
        x_range=(0.0, float(len(curve) - 1)),
        legend=["threshold"],
    )


@tensorleap_integration_test()
def integration_test(idx: str, preprocess: PreprocessResponse) -> None:
    """Walk one sample through everything; only decorated functions may be called here."""
    values, sound = input_values(idx, preprocess), playback(idx, preprocess)
    ids, sizes = labels(idx, preprocess), lengths(idx, preprocess)
    reference = reference_bytes(idx, preprocess)

    model = load_model()
    predictions = model.run(None, {"input_values": values})
    logits, hidden_states = predictions[0], predictions[1]

    for describe in (profile, audio, text, clip):
        describe(idx, preprocess)
    word(logits, sizes, reference)
    character(logits, sizes, reference)
    ctc_loss_metric(logits, ids, sizes)
    ctc_loss(logits, ids, sizes)
    mean_hidden_state(hidden_states, sizes)
    listen(values, sound)
    log_mel(values, sound)
    transcript(logits, sizes, reference)
    alignment(logits, sizes, reference)
    audiogram(thresholds_db_hl(idx, preprocess))


@cache
def _samples(split: str) -> SampleSet:
    # code-loader asks for the same splits again and again.
    return open_samples(CONFIG, split)


def _response(samples: SampleSet, state: DataStateType) -> PreprocessResponse:
    return PreprocessResponse(sample_ids=list(samples.ids), data=samples, state=state)


def _texts(
    logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray
) -> tuple[list[str], list[str]]:
    """Read the references and hypotheses of a batch."""
    logits, lengths = logits.astype(np.float32), lengths.astype(np.float32)
    hypotheses = encoders.hypotheses(logits, lengths[:, 0], PREPROCESSOR)
    return encoders.reference_texts(reference_bytes), hypotheses


def _metric(counts: tuple[ErrorCounts, ...]) -> dict[str, np.ndarray]:
    names = {"error_rate": "rate"} | dict(zip(COUNTS, COUNTS, strict=True))
    return {
        key: np.array([getattr(count, name) for count in counts], dtype=np.float32)
        for key, name in names.items()
    }


def _ctc_loss(logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    logits, labels = logits.astype(np.float32), labels.astype(np.float32)
    n_frames, n_labels = np.rint(lengths.astype(np.float32)).T
    return losses.ctc_loss(logits, labels, n_frames, n_labels, blank_id=PREPROCESSOR.blank_id)


# Visualizers get a batch of one from the integration test, and no batch axis on the platform.


def _waveform(input_values: np.ndarray, playback: np.ndarray) -> np.ndarray:
    gain_db, seconds = playback.astype(np.float32).ravel().tolist()
    return encoders.restore_waveform(input_values.ravel(), gain_db, seconds)


def _text(logits: np.ndarray, lengths: np.ndarray, reference_bytes: np.ndarray) -> tuple[str, str]:
    """Read the reference and hypothesis of one sample."""
    logits = logits.reshape(1, -1, len(PREPROCESSOR.vocabulary))
    references, hypotheses = _texts(logits, lengths.reshape(1, 2), reference_bytes.reshape(1, -1))
    return references[0], hypotheses[0]
