from pathlib import Path

import numpy as np
import pytest
from fixtures import VOCABULARY, make_model, make_waveform

from hearing_analysis import encoders
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.errors import InputError
from pipeline.masking.profiles import get_profile

WINDOW = 16_000  # samples
LENGTH = 40


@pytest.fixture(scope="module")
def preprocessor(tmp_path_factory) -> Wav2Vec2Preprocessor:
    folder = Path(tmp_path_factory.mktemp("model")) / "tiny"
    make_model(folder)
    return Wav2Vec2Preprocessor.from_folder(folder)


def stored(tensor: np.ndarray) -> np.ndarray:
    """As the platform keeps it."""
    return tensor.astype(np.float16)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.0, 2.5])
def test_input_has_the_window_s_length_whatever_the_clip_s(preprocessor, seconds):
    values = encoders.input_values(make_waveform(0, seconds), preprocessor, WINDOW)
    assert values.shape == (WINDOW,)
    assert values.dtype == np.float32


@pytest.mark.parametrize("gain", [1.0, 0.1, 1e-3, 1e-5])
@pytest.mark.parametrize("seconds", [0.4, 1.5])
def test_what_is_played_is_the_clip_at_its_own_level(preprocessor, gain, seconds):
    waveform = gain * make_waveform(1, seconds)
    values = encoders.input_values(waveform, preprocessor, WINDOW)
    gain_db, length = stored(encoders.playback(waveform, preprocessor, WINDOW)).tolist()
    played = encoders.restore_waveform(stored(values), gain_db, length)
    heard = waveform[:WINDOW]
    assert abs(len(played) - len(heard)) <= 0.004 * 16_000
    n = min(len(played), len(heard))
    assert np.abs(played[:n] - heard[:n]).max() < 0.01 * np.abs(heard).max()


def test_silence_stays_silent(preprocessor):
    waveform = np.zeros(8_000, dtype=np.float32)
    gain_db, seconds = encoders.playback(waveform, preprocessor, WINDOW)
    assert (gain_db, seconds) == (0.0, 0.5)
    values = encoders.input_values(waveform, preprocessor, WINDOW)
    assert not encoders.restore_waveform(values, gain_db, seconds).any()


@pytest.mark.parametrize("values", [[np.nan, 3.0], [np.inf, -np.inf]])
def test_what_is_played_is_finite_and_within_full_scale(values):
    played = encoders.restore_waveform(np.array(values, np.float32), 20.0, 1.0)
    assert np.isfinite(played).all()
    assert np.abs(played).max() <= 1


def test_a_clip_of_no_length_still_has_a_sample_to_play():
    assert len(encoders.restore_waveform(np.ones(10, np.float32), 0.0, 0.0)) == 1


def test_labels_spell_the_sentence_and_are_padded_with_minus_one(preprocessor):
    row = stored(encoders.labels("It's a tree.", preprocessor, LENGTH))
    ids = row[row >= 0].astype(int)
    assert "".join(VOCABULARY[i] for i in ids) == "IT'S|A|TREE"
    assert (row[len(ids) :] == -1).all()
    assert row.shape == (LENGTH,)


def test_the_reference_survives_float16(preprocessor):
    row = encoders.reference_bytes("It's\u2014a  tree.", preprocessor, LENGTH)
    assert row.dtype == np.float32
    assert encoders.reference_text(stored(row)) == "IT'S A TREE"


def test_an_empty_sentence_is_an_empty_reference(preprocessor):
    assert encoders.reference_text(encoders.reference_bytes("…", preprocessor, LENGTH)) == ""
    assert (encoders.labels("…", preprocessor, LENGTH) == -1).all()


def test_a_sentence_of_just_the_length_fits(preprocessor):
    encoders.labels("A" * LENGTH, preprocessor, LENGTH)
    assert encoders.reference_text(
        encoders.reference_bytes("A" * LENGTH, preprocessor, LENGTH)
    ) == ("A" * LENGTH)


@pytest.mark.parametrize("encode", [encoders.labels, encoders.reference_bytes])
def test_a_longer_sentence_is_refused_and_not_cut(preprocessor, encode):
    with pytest.raises(InputError, match=r"has 41 labels, max_label_length is 40; set it to 41"):
        encode("A" * (LENGTH + 1), preprocessor, LENGTH)


@pytest.mark.parametrize(("seconds", "frames"), [(0.01, 0), (0.5, 24), (1.0, 49), (3.0, 49)])
def test_lengths_count_what_the_model_heard(preprocessor, seconds, frames):
    sizes = encoders.lengths(make_waveform(0, seconds), "It's a tree", preprocessor, WINDOW)
    assert sizes.tolist() == [frames, 11]
    assert sizes.dtype == np.float32


@pytest.mark.parametrize("n_samples", [100, 2048 * 320 + 400])
def test_a_window_float16_cannot_count_is_refused(preprocessor, n_samples):
    with pytest.raises(InputError, match="at least 1 and fewer than 2048"):
        encoders.check_window(preprocessor, n_samples)


def test_the_longest_window_float16_can_count_is_accepted(preprocessor):
    encoders.check_window(preprocessor, 2047 * 320 + 79)


def test_the_audiogram_is_read_at_the_octaves():
    np.testing.assert_array_equal(
        encoders.thresholds_db_hl(get_profile("hfloss")), [10, 25, 40, 55, 70, 85, 100]
    )
    # Bisgaard's N7 begins at 250 Hz and ends at 6 kHz.
    edges = encoders.thresholds_db_hl(get_profile("N7"))
    assert (edges[0], edges[-1]) == (90, 105)


def test_a_batch_is_transcribed_without_its_padding(preprocessor):
    logits = np.zeros((2, 6, len(VOCABULARY)), dtype=np.float32)
    for sample, spelt in enumerate(["AA<pad>A|T", "NO||NO"]):
        tokens = spelt.replace("<pad>", "\0")
        for frame, token in enumerate(tokens):
            logits[sample, frame, VOCABULARY.index(token.replace("\0", "<pad>"))] = 1
    texts = encoders.hypotheses(stored(logits), stored(np.array([6.0, 3.0])), preprocessor)
    assert texts == ["AA T", "NO"]


def test_pooling_leaves_padding_out():
    states = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    pooled = encoders.mean_pool(states, np.array([7.0, 2.0, 0.0], dtype=np.float32))
    expected = [states[0].mean(0), states[1, :2].mean(0), states[2, 0]]
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)
    assert pooled.dtype == np.float32
