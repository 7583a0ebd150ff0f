import numpy as np
import pytest
from fixtures import VOCABULARY, make_model

from hearing_analysis.recognition.words import ctc_words
from hearing_analysis.spectrogram import log_mel_dbfs
from hearing_analysis.visualizers import (
    log_mel_heatmap,
    log_mel_picture,
    waveform_envelope,
)
from models.wav2vec2 import Wav2Vec2Preprocessor


@pytest.fixture(scope="module")
def preprocessor(tmp_path_factory) -> Wav2Vec2Preprocessor:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    make_model(folder)
    return Wav2Vec2Preprocessor.from_folder(folder)


def logits(path: list[tuple[str, float]]) -> np.ndarray:
    """Scores under which each frame's token has the given probability."""
    rest = [np.log((1 - p) / (len(VOCABULARY) - 1)) for _, p in path]
    rows = np.repeat(np.array(rest)[:, None], len(VOCABULARY), axis=1)
    for row, (token, probability) in zip(rows, path, strict=True):
        row[VOCABULARY.index(token)] = np.log(probability)
    return rows


def test_a_word_is_as_sure_as_its_least_sure_letter(preprocessor):
    path = [("A", 0.9), ("<pad>", 0.99), ("T", 0.6), ("T", 0.7), ("|", 0.5), ("O", 0.8)]
    found = ctc_words(logits(path), len(path), preprocessor)
    assert found.words == ("AT", "O")
    assert found.probabilities == pytest.approx((0.7, 0.8), abs=1e-3)


def test_frames_of_padding_write_nothing(preprocessor):
    path = [("A", 0.9), ("|", 0.9), ("O", 0.9)]
    assert ctc_words(logits(path), 1, preprocessor).words == ("A",)


def test_nothing_written_is_one_empty_word(preprocessor):
    assert ctc_words(logits([("<pad>", 0.9)]), 1, preprocessor).words == ("",)


@pytest.mark.parametrize("n_samples", [1, 160, 16_000, 100_001])
def test_an_envelope_loses_no_peak(n_samples):
    waveform = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    envelope = waveform_envelope(waveform)
    assert envelope.shape == (min(600, n_samples), 2)
    assert envelope.dtype == np.float32
    assert (envelope[:, 0].max(), envelope[:, 1].min()) == (waveform.max(), waveform.min())


def test_a_heatmap_over_samples_has_the_picture_s_shape_and_shows_where():
    heat = np.zeros(16_000, np.float32)
    heat[8_000:] = 1.0
    picture = log_mel_picture(heat, 16_000)
    shown = log_mel_heatmap(heat, picture.shape[1])
    assert shown.shape == picture.shape[:2]
    assert log_mel_dbfs(heat, 16_000).shape[1] == shown.shape[1]
    assert shown[:, : shown.shape[1] // 2 - 1].max() == 0
    assert shown[:, shown.shape[1] // 2 + 1 :].min() == 1


def test_a_heatmap_over_mel_bands_has_low_frequencies_at_the_bottom():
    heat = np.zeros((80, 10), np.float32)
    heat[0] = 1.0
    shown = log_mel_heatmap(heat, 10)
    assert shown.shape == (240, 10)
    assert shown[-3:].min() == 1
    assert shown[:-3].max() == 0
