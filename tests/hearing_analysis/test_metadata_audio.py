"""`audio_metadata` against librosa, and on clips that have little in them."""

import warnings

import librosa
import numpy as np
import pytest

from hearing_analysis.metadata.audio import DESCRIPTORS, STATISTICS, TYPES, audio_metadata
from pipeline.errors import InputError
from pipeline.masking.profiles import get_profile

RATE = 16_000


def speech_like(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Harmonics of a gliding voice in syllables, with breath noise and silence at both ends."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time + seed)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 30))
    syllables = np.sin(2 * np.pi * 2.1 * time) ** 2 * (time > 0.3) * (time < seconds - 0.3)
    noise = random.standard_normal(len(time))
    return (0.1 * voice * syllables + 0.005 * noise).astype(np.float32)


def with_librosa(waveform: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    feature = librosa.feature
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "n_fft is too large" for the shortest clips
        return {
            "spectral_flatness": feature.spectral_flatness(y=waveform),
            "spectral_contrast": feature.spectral_contrast(y=waveform, sr=rate).mean(axis=0),
            "melspectrogram": feature.melspectrogram(y=waveform, sr=rate),
            "mfcc": feature.mfcc(y=waveform, sr=rate),
            "rms": feature.rms(y=waveform),
            "spectral_centroid": feature.spectral_centroid(y=waveform, sr=rate),
            "spectral_bandwidth": feature.spectral_bandwidth(y=waveform, sr=rate),
            "spectral_rolloff": feature.spectral_rolloff(y=waveform, sr=rate),
            "poly_features": feature.poly_features(y=waveform, sr=rate, order=1)[0],
            "zero_crossing_rate": feature.zero_crossing_rate(waveform),
        }


def assert_equals_librosa(waveform: np.ndarray, rate: int = RATE) -> None:
    found = audio_metadata(waveform, rate)
    for name, values in with_librosa(waveform, rate).items():
        values = values.astype(np.float64)
        # A mean or a standard deviation may be 0 where the values are not; the slope of a flat
        # spectrum is 0 but for rounding.
        tolerance = max(1e-6 * np.abs(values).max(), 1e-15)
        for statistic in STATISTICS:
            expected = getattr(np, statistic)(values)
            assert found[f"{name}_{statistic}"] == pytest.approx(
                expected, rel=1e-4, abs=tolerance
            ), f"{name}_{statistic}"


def attenuated_above_1_khz(waveform: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(waveform)
    spectrum[len(spectrum) // 8 :] *= 1e-5  # -100 dB
    return np.fft.irfft(spectrum, len(waveform)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.7, 2.0, 4.321, 30.0])
def test_equals_librosa(seconds: float) -> None:
    assert_equals_librosa(speech_like(seconds))


@pytest.mark.parametrize("seed", range(5))
def test_equals_librosa_for_other_voices(seed: int) -> None:
    assert_equals_librosa(speech_like(1.5 + 0.1 * seed, seed))


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_equals_librosa_at_other_sampling_rates(rate: int) -> None:
    assert_equals_librosa(speech_like(1.0, rate=rate), rate)


def test_equals_librosa_after_an_attenuation_by_100_db() -> None:
    assert_equals_librosa(attenuated_above_1_khz(speech_like(2.0)))


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(8000, np.float32),
        np.full(1, 0.5, np.float32),
        np.zeros(1, np.float32),
        np.full(3000, -0.25, np.float32),
        speech_like(0.4)[:511],
        speech_like(0.4)[:2047],
        np.concatenate([np.zeros(4000, np.float32), speech_like(0.8)]),
        np.tile(np.array([0.5, -0.5], np.float32), 3000),
    ],
    ids=[
        *("silence", "one sample", "one zero", "offset", "under a hop", "under a frame", "late"),
        "half the sampling rate",
    ],
)
def test_equals_librosa_at_the_edges(waveform: np.ndarray) -> None:
    assert_equals_librosa(waveform)


@pytest.mark.parametrize("n_samples", [1, 400, 48_000, 480_000])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_keys_and_types_are_always_the_same(n_samples: int, level: float) -> None:
    noise = level * np.random.default_rng(0).standard_normal(n_samples)
    found = audio_metadata(noise.astype(np.float32), RATE)
    assert list(found) == list(TYPES)
    for key, value in found.items():
        assert value is None or (type(value) is TYPES[key] and np.isfinite(value)), key


def test_covers_every_descriptor_in_four_statistics() -> None:
    assert len(TYPES) == 9 + 4 * len(DESCRIPTORS) == 49


def test_levels_are_in_db_re_full_scale() -> None:
    time = np.arange(RATE) / RATE
    found = audio_metadata(np.sin(2 * np.pi * 1000 * time).astype(np.float32), RATE)
    assert found["duration_s"] == 1.0
    assert found["level_dbfs"] == pytest.approx(-3.0103, abs=1e-4)
    assert found["peak_dbfs"] == pytest.approx(0.0, abs=1e-4)
    assert found["signal_mean"] == pytest.approx(0.0, abs=1e-6)
    assert found["signal_std"] == pytest.approx(np.sqrt(0.5), rel=1e-6)


def test_digital_silence_has_no_level_and_is_all_pause() -> None:
    found = audio_metadata(np.zeros(RATE, np.float32), RATE)
    assert found["level_dbfs"] is None
    assert found["peak_dbfs"] is None
    assert (found["pause_ratio"], found["pause_count"]) == (1.0, 1)


def clip_of(*parts: tuple[float, float]) -> np.ndarray:
    """Noise in parts of (seconds, level in dB)."""
    random = np.random.default_rng(0)
    noise = [
        10 ** (level_db / 20) * random.standard_normal(round(seconds * RATE))
        for seconds, level_db in parts
    ]
    return np.concatenate(noise).astype(np.float32)


@pytest.mark.parametrize(
    ("parts", "ratio", "count"),
    [
        ([(2.0, -20)], 0.0, 0),
        ([(1.0, -20), (0.5, -80), (0.5, -20)], 0.25, 1),
        ([(0.5, -80), (1.0, -20), (0.5, -80)], 0.5, 2),  # the ends count
        ([(1.0, -20), (0.125, -80), (0.875, -20)], 0.0, 0),  # a stop consonant, not a pause
        ([(1.0, -20), (0.15, -80), (0.85, -20)], 0.075, 1),  # the shortest pause
        ([(1.0, -20), (0.5, -55), (0.5, -20)], 0.0, 0),  # 35 dB down: quiet speech
        ([(1.0, -70), (0.5, -120), (0.5, -70)], 0.25, 1),  # relative to the clip's own level
    ],
)
def test_pauses(parts: list[tuple[float, float]], ratio: float, count: int) -> None:
    found = audio_metadata(clip_of(*parts), RATE)
    assert found["pause_ratio"] == pytest.approx(ratio)
    assert found["pause_count"] == count


def test_spectral_contrast_is_missing_where_its_top_band_does_not_exist() -> None:
    found = audio_metadata(speech_like(1.0, rate=8000), 8000)
    assert found["spectral_contrast_mean"] is None
    assert found["spectral_centroid_mean"] is not None
    assert list(found) == list(TYPES)


def test_values_do_not_depend_on_where_blocks_of_frames_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waveform = speech_like(6.0)
    whole = audio_metadata(waveform, RATE, get_profile("N3"))
    monkeypatch.setattr("hearing_analysis.metadata.audio._BLOCK_FRAMES", 7)
    assert audio_metadata(waveform, RATE, get_profile("N3")) == pytest.approx(whole, rel=1e-6)


def test_takes_float64_and_leaves_the_waveform_alone() -> None:
    waveform = speech_like(0.5)
    before = waveform.copy()
    assert audio_metadata(waveform.astype(np.float64), RATE) == audio_metadata(waveform, RATE)
    assert np.array_equal(waveform, before)


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (np.zeros(0), RATE, r"got shape \(0,\)"),
        (np.zeros((2, 100)), RATE, r"got shape \(2, 100\)"),
        (np.array([0.0, np.nan]), RATE, "NaN or infinite"),
        (np.zeros(100), 0, "got 0"),
    ],
)
def test_refuses(waveform: np.ndarray, rate: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        audio_metadata(waveform, rate)
