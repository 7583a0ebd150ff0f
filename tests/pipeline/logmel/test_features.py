"""Log-mel features, held against transformers' own extractor."""

from functools import cache
from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import noise, seeded, tone
from transformers import WhisperFeatureExtractor

from pipeline.audio import load_mono
from pipeline.errors import ClipError, InputError
from pipeline.logmel.features import (
    MEL_BINS,
    MelSettings,
    log_mel,
    mel_bins_of,
    mel_filters,
    pad,
    padded_batch,
)
from pipeline.masking.mask import StftSettings, apply_mask, gains, normalize
from pipeline.masking.profiles import get_profile

RATE = 16_000
# Where real speech lies beside the repository it is taken, too.
ROOT = Path(__file__).parents[3]
CLIPS = [
    *sorted((ROOT / "examples/mini-corpus").rglob("common_voice_en_100000[0-3]0.mp3")),
    *sorted((ROOT.parent / "shared/speech/clips").glob("*"))[::8],
]
WHISPERS = [(80, 5), (128, 5), (80, 30), (128, 30)]
LENGTHS_OF_5_S = [
    *(1, 2, 159, 160, 161, 199, 200, 201, 399, 400, 401, 1_000, 16_000, 16_001, 12_345),
    *(79_000, 79_799, 79_800, 79_801, 79_839, 79_840, 79_841, 79_999, 80_000, 80_001, 100_000),
]


@cache
def extractor(n_mels: int, chunk_length: int) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=n_mels, chunk_length=chunk_length)


def expected(waveform: np.ndarray, settings: MelSettings) -> np.ndarray:
    extract = extractor(settings.n_mels, settings.chunk_length)
    features = extract(waveform, sampling_rate=RATE, return_tensors="np").input_features[0]
    return np.asarray(features, dtype=np.float32)


def in_double_precision(waveform: np.ndarray, settings: MelSettings) -> np.ndarray:
    """What the extractor computes where there is no torch."""
    chunk = np.zeros((1, settings.n_samples), dtype=np.float32)
    kept = waveform[: settings.n_samples]
    chunk[0, : len(kept)] = kept
    return extractor(settings.n_mels, settings.chunk_length)._np_extract_fbank_features(
        chunk, "cpu"
    )[0]


def padded(waveform: np.ndarray, settings: MelSettings) -> np.ndarray:
    return pad(log_mel(waveform, settings), settings.n_frames)


def assert_as_whisper(waveform: np.ndarray, settings: MelSettings) -> None:
    ours = padded(waveform, settings)
    assert ours.shape == (settings.n_mels, settings.n_frames)
    assert ours.dtype == np.float32
    errors = np.abs(ours - expected(waveform, settings))
    assert errors.max() <= 1e-4
    assert np.quantile(errors, 0.999) <= 1.5e-5
    np.testing.assert_allclose(ours, in_double_precision(waveform, settings), atol=1e-6, rtol=0)


def click(n_samples: int, place: int) -> np.ndarray:
    waveform = np.zeros(n_samples, dtype=np.float32)
    waveform[place] = 1
    return waveform


SOUNDS = {
    "noise": noise(2.0),
    "loud noise": np.clip(10 * noise(2.0), -1, 1),
    "silence": np.zeros(20_000, dtype=np.float32),
    "a click in the middle": click(20_000, 7_777),
    "a click at the beginning": click(20_000, 0),
    "a click at the end": click(20_000, 19_999),
    "a click at the end of the chunk": click(80_000, 79_999),
    "a click near the end of the chunk": click(80_000, 79_850),
    "a tone": tone(440, 2.0),
    "a constant": np.full(10_000, 0.5, dtype=np.float32),
    "noise 60 dB down": 1e-3 * noise(2.0),
    "noise 100 dB down": 1e-5 * noise(2.0),
    "noise 160 dB down": 1e-8 * noise(2.0),
    "noise that fades by 120 dB": noise(2.0) * np.logspace(0, -6, 32_000, dtype=np.float32),
    "noise and then silence": np.concatenate([noise(1.0), np.zeros(16_000, dtype=np.float32)]),
    "silence and then noise": np.concatenate([np.zeros(70_000, dtype=np.float32), noise(1.0)]),
}


@pytest.mark.parametrize(("n_mels", "chunk_length"), WHISPERS)
@pytest.mark.parametrize("sound", SOUNDS)
def test_features_equal_whispers(sound, n_mels, chunk_length):
    assert_as_whisper(SOUNDS[sound], MelSettings(n_mels, chunk_length))


@pytest.mark.parametrize("n_samples", LENGTHS_OF_5_S)
def test_so_they_do_for_any_length_up_to_the_chunk_and_beyond(n_samples):
    assert_as_whisper(noise(n_samples / RATE), MelSettings(80, 5))


@pytest.mark.parametrize("n_samples", [479_999, 480_000, 480_001, 500_000])
def test_so_they_do_around_thirty_seconds(n_samples):
    assert_as_whisper(noise(n_samples / RATE), MelSettings(128, 30))


@seeded
@given(n_samples=st.integers(1, 20_000), level_db=st.integers(-120, 0), seed=st.integers(0, 9))
def test_so_they_do_at_any_level(n_samples, level_db, seed):
    waveform = noise(n_samples / RATE, seed=seed) * np.float32(10 ** (level_db / 20))
    assert_as_whisper(waveform, MelSettings(80, 1))


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("profile", ["normal", "lfloss", "hfloss", "S3"])
def test_so_they_do_for_speech_under_every_hearing_loss(profile, n_mels):
    stft, gain = StftSettings(), gains((get_profile(profile),), StftSettings())
    for path in CLIPS:
        waveform = load_mono(path)
        masked = apply_mask(waveform, gain, stft)
        heard = normalize(masked, "shared", float(np.abs(waveform).max())).waveforms[0]
        settings = MelSettings(n_mels, 30)
        ours, exact = padded(heard, settings), in_double_precision(heard, settings)
        np.testing.assert_allclose(ours, exact, atol=1e-6, rtol=0)
        # The extractor's single precision, which a steep loss brings to light, is its own error.
        errors, own = (np.abs(expected(heard, settings) - other) for other in (ours, exact))
        assert errors.max() <= max(1e-4, own.max() + 1e-6)
        assert np.quantile(errors, 0.999) <= max(1.5e-5, np.quantile(own, 0.999) + 1e-6)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_mel_filters_are_librosas(n_mels):
    theirs = librosa.filters.mel(sr=RATE, n_fft=400, n_mels=n_mels)
    np.testing.assert_allclose(mel_filters(n_mels), theirs, atol=1e-8, rtol=0)


def test_a_batch_is_its_clips_one_by_one():
    clips = [noise(0.3), tone(300, 2.0), noise(1.0)]
    settings = MelSettings(80, 1)
    batch = padded_batch(clips, settings)
    assert (batch.shape, batch.dtype) == ((3, 80, 100), np.float32)
    np.testing.assert_array_equal(batch, np.stack([padded(clip, settings) for clip in clips]))


# --- what is stored, and what is put back ---


@pytest.mark.parametrize(
    ("n_samples", "n_seen"),
    [(1, 2), (120, 2), (121, 3), (160, 3), (1_000, 8), (79_640, 499), (79_641, 500), (90_000, 500)],
)
def test_only_frames_that_see_signal_are_computed(n_samples, n_seen):
    # A frame reaches 200 samples to either side of its centre, and there is one every 160.
    settings = MelSettings(80, 5)
    assert log_mel(noise(n_samples / RATE), settings).shape == (80, n_seen)


@pytest.mark.parametrize("sound", SOUNDS)
def test_frames_that_are_not_stored_are_one_constant_of_whispers(sound):
    settings = MelSettings(80, 5)
    n_seen = log_mel(SOUNDS[sound], settings).shape[1]
    tail = expected(SOUNDS[sound], settings)[:, n_seen:]
    if tail.size:
        assert np.ptp(tail) == 0
        np.testing.assert_allclose(
            padded(SOUNDS[sound], settings)[:, n_seen:], tail, atol=1e-4, rtol=0
        )


@seeded
@given(
    n_mels=st.sampled_from([80, 128]),
    n_seen=st.integers(1, 100),
    dtype=st.sampled_from(["float32", "float16"]),
    level=st.floats(-3, 3),
    seed=st.integers(0, 9),
)
def test_padding_again_and_cutting_off_change_no_bit(n_mels, n_seen, dtype, level, seed):
    rng = np.random.default_rng(seed)
    features = (level + rng.uniform(-1, 0, (n_mels, n_seen))).astype(dtype)
    whole = pad(features, 100)
    assert whole.dtype == features.dtype
    assert whole[:, :n_seen].tobytes() == features.tobytes()
    assert pad(whole, 100).tobytes() == whole.tobytes()
    assert pad(pad(features, n_seen), 100).tobytes() == whole.tobytes()
    assert len(set(whole[:, n_seen:].ravel().tolist())) <= 1


def test_silence_is_the_lowest_value_there_is():
    features = padded(np.zeros(5_000, dtype=np.float32), MelSettings(80, 5))
    np.testing.assert_allclose(features, -1.5, atol=1e-6)


def test_the_tail_is_never_above_the_softest_frame():
    for waveform in (noise(1.0), 1e-6 * noise(1.0)):
        features = log_mel(waveform, MelSettings(80, 5))
        tail = pad(features, 500)[:, features.shape[1] :]
        assert tail.max() <= features.min() + 1e-6


def test_the_clip_itself_is_not_changed():
    waveform = noise(1.0)
    before = waveform.copy()
    log_mel(waveform, MelSettings(80, 5))
    np.testing.assert_array_equal(waveform, before)


def test_double_precision_input_gives_the_same_features():
    waveform = noise(0.5)
    np.testing.assert_array_equal(
        log_mel(waveform.astype(np.float64), MelSettings(80, 5)),
        log_mel(waveform, MelSettings(80, 5)),
    )


@pytest.mark.parametrize(
    ("waveform", "shape"), [(np.zeros(0), r"\(0,\)"), (np.zeros((2, 10)), r"\(2, 10\)")]
)
def test_what_is_no_clip_is_refused_with_a_reason(waveform, shape):
    with pytest.raises(ClipError, match=f"^a mono waveform is needed, not one of shape {shape}$"):
        log_mel(waveform, MelSettings())


# --- models ---


@pytest.mark.parametrize(
    ("model_size", "n_mels"),
    [
        *[(size, 80) for size in ("tiny", "base", "small", "medium", "large", "large-v2")],
        *[(size, 128) for size in ("large-v3", "large-v3-turbo", "turbo")],
    ],
)
def test_only_large_v3_and_what_came_of_it_have_128_bins(model_size, n_mels):
    assert mel_bins_of(model_size) == n_mels


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(InputError) as refusal:
        mel_bins_of("large-v4")
    expected_message = f"unknown Whisper model size 'large-v4'; choose from: {', '.join(MEL_BINS)}"
    assert str(refusal.value) == expected_message
