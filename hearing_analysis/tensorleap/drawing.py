"""From plain pictures, curves and words to what the platform draws."""

import numpy as np
from code_loader.contract.visualizer_classes import (
    LeapAudio,
    LeapGraph,
    LeapImage,
    LeapText,
    LeapTextMask,
)

from hearing_analysis import encoders, visualizers
from hearing_analysis.metadata.bands import CENTRES_HZ
from pipeline.audio import SAMPLING_RATE

# Visualizers get a batch of one from the integration test, and no batch axis on the platform.


def restore(values: np.ndarray, playback: np.ndarray) -> np.ndarray:
    """Make a clip of what carried it, at its true level: float32 [shape=(n,)]."""
    gain_db, seconds = playback.astype(np.float32).ravel().tolist()
    return encoders.restore_waveform(values.ravel(), gain_db, seconds)


def audio(waveform: np.ndarray) -> LeapAudio:
    """Player over a picture."""
    return LeapAudio(waveform, SAMPLING_RATE, log_mel(waveform))


def log_mel(waveform: np.ndarray) -> LeapImage:
    """Paint a clip on a scale that is the same for all clips and profiles."""
    return LeapImage(visualizers.log_mel_picture(waveform, SAMPLING_RATE), compress=False)


def features(log_mel: np.ndarray) -> LeapImage:
    """Paint Whisper's features [shape=(n_mels, frames)], which reach from -1 to 1 and above."""
    return LeapImage(visualizers.feature_picture(log_mel.astype(np.float32)), compress=False)


def waveform_graph(waveform: np.ndarray) -> LeapGraph:
    """Draw the envelope of a clip."""
    return LeapGraph(
        visualizers.waveform_envelope(waveform),
        x_label="seconds",
        y_label="full scale",
        x_range=(0.0, float(len(waveform) / SAMPLING_RATE)),
        legend=["highest", "lowest"],
    )


def audiogram(thresholds_db_hl: np.ndarray) -> LeapGraph:
    """Draw an audiogram, worse downward."""
    curve = visualizers.audiogram_curve(thresholds_db_hl)
    return LeapGraph(
        curve,
        x_label="octaves above 125 Hz",
        y_label="- dB HL",
        x_range=(0.0, float(len(curve) - 1)),
        legend=["threshold"],
    )


def spectrum(spectra_dbfs: np.ndarray) -> LeapGraph:
    """Draw the long-term spectrum before and after the loss."""
    curves = spectra_dbfs.astype(np.float32).reshape(2, len(CENTRES_HZ))
    return LeapGraph(
        np.ascontiguousarray(curves.T),
        x_label="third octaves above 160 Hz",
        y_label="dBFS",
        x_range=(0.0, float(len(CENTRES_HZ) - 1)),
        legend=["first profile", "this profile"],
    )


def transcript(reference: str, hypothesis: str) -> LeapText:
    """Show what was said and what was recognised."""
    return LeapText(visualizers.transcript(reference, hypothesis))


def alignment(reference: str, hypothesis: str) -> LeapTextMask:
    """Show word by word what became of a sentence, deletions included."""
    marked = visualizers.word_alignment(reference, hypothesis)
    return LeapTextMask(marked.codes, list(marked.words), list(visualizers.EDIT_LABELS))


def confidence(words: visualizers.ConfidentWords) -> LeapText:
    """Show how sure the recogniser was of every word."""
    return LeapText(list(words.words), heatmap=list(words.probabilities))


def per_token(values: list[float], unit: str) -> LeapGraph:
    """Draw one value per token."""
    curve = np.array(values, dtype=np.float32).reshape(-1, 1)
    return LeapGraph(curve, x_label="token", y_label=unit, x_range=(1.0, float(max(len(curve), 2))))


def heatmap(values: np.ndarray, seconds: float | None) -> np.ndarray:
    """Lay a heatmap over the samples of a model's input over `log_mel`'s picture."""
    values = values.astype(np.float32).ravel()
    n_samples = len(values) if seconds is None else max(1, round(seconds * SAMPLING_RATE))
    picture = visualizers.log_mel_picture(np.zeros(n_samples, np.float32), SAMPLING_RATE)
    return visualizers.log_mel_heatmap(values[:n_samples], picture.shape[1])
