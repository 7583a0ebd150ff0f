"""The mask as a filter: what it takes away at each frequency, and what it must leave alone."""

import warnings
from functools import cache
from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from makers import noise, seeded, tone

from pipeline.audio import load_mono
from pipeline.errors import ClipError, InputError
from pipeline.masking.mask import (
    NORMALIZATIONS,
    StftSettings,
    apply_mask,
    attenuation_db,
    gains,
    normalize,
)
from pipeline.masking.profiles import HearingProfile, get_profile

ROOT = Path(__file__).parents[3]
STFT = StftSettings()
PILOTS = tuple(map(get_profile, ("normal", "lfloss", "hfloss")))
LOSSES = PILOTS[1:]
FLAT = HearingProfile("flat", (1000.0,), (35.0,))
NO_LOSS = HearingProfile("no-loss", (1000.0,), (0.0,))
OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)


def decibels(ratio: float | np.ndarray) -> np.ndarray:
    return 20 * np.log10(ratio)


def pilot_algorithm(
    waveform: np.ndarray, thresholds_db_hl: tuple[float, ...], *, to_full_scale: bool = True
) -> np.ndarray:
    """The pilot study's own code path, in the words of librosa."""
    stft = librosa.stft(waveform, n_fft=2048, hop_length=512)
    magnitude, phase = np.abs(stft), np.angle(stft)
    frequencies_hz = librosa.fft_frequencies(sr=16_000, n_fft=2048)
    mask_db = np.interp(frequencies_hz, OCTAVES_HZ, thresholds_db_hl)
    masked = magnitude * 10 ** (-mask_db[:, None] / 20)
    audio = librosa.istft(masked * np.exp(1j * phase), hop_length=512, length=len(waveform))
    return audio / np.abs(audio).max() if to_full_scale else audio


# --- against the pilot's algorithm ---


@pytest.mark.parametrize("n_samples", [16_000, 16_001, 37_777, 80_000, 16_000 * 60])
def test_peak_normalised_masks_equal_those_of_the_pilot(n_samples):
    speechlike = noise(n_samples / 16_000) * np.sin(np.arange(n_samples) / 3_000) ** 2
    waveform = speechlike.astype(np.float32)
    masked = normalize(apply_mask(waveform, gains(PILOTS, STFT), STFT), "peak", 1.0).waveforms
    for profile, ours in zip(PILOTS, masked, strict=True):
        expected = pilot_algorithm(waveform, profile.thresholds_db_hl)
        np.testing.assert_allclose(ours, expected, atol=2e-6, rtol=0)


SPEECH = [
    *sorted((ROOT / "examples/mini-corpus").rglob("common_voice_en_100000[0-3]0.mp3")),
    *sorted((ROOT.parent / "shared/speech/clips").glob("librispeech_1089*.flac")),
]


@pytest.mark.parametrize("path", SPEECH, ids=lambda path: path.stem)
def test_so_do_those_of_speech(path):
    waveform = load_mono(path)
    masked = normalize(apply_mask(waveform, gains(PILOTS, STFT), STFT), "peak", 1.0).waveforms
    for profile, ours in zip(PILOTS, masked, strict=True):
        expected = pilot_algorithm(waveform, profile.thresholds_db_hl)
        np.testing.assert_allclose(ours, expected, atol=2e-6, rtol=0)


@seeded
@given(n_samples=st.integers(1, 5_000), seed=st.integers(0, 99))
def test_short_clips_equal_those_of_the_pilot_too(n_samples, seed):
    waveform = noise(n_samples / 16_000, seed=seed)
    masked = apply_mask(waveform, gains(PILOTS, STFT), STFT)
    assert masked.shape == (3, n_samples)
    for profile, ours in zip(PILOTS, masked, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # librosa's, that a clip is shorter than a window
            expected = pilot_algorithm(waveform, profile.thresholds_db_hl, to_full_scale=False)
        np.testing.assert_allclose(ours, expected, atol=2e-6 * np.abs(waveform).max(), rtol=0)


# --- tones: the attenuation at each frequency ---


def slope_db(profile: HearingProfile, frequency_hz: float, interpolation: str) -> float:
    """The pilot's losses fall or rise by 15 dB an octave; between octaves a line in Hz bends."""
    octaves = np.log2(frequency_hz / 125)
    if interpolation == "linear":
        below = np.floor(octaves)
        octaves = below + frequency_hz / (125 * 2**below) - 1
    return 10 + 15 * octaves if profile.name == "hfloss" else 100 - 15 * octaves


def measured_db(profile: HearingProfile, frequency_hz: float, interpolation: str) -> float:
    """Attenuation of four seconds of a tone, its amplitude by least squares in the middle half."""
    waveform = tone(frequency_hz, 4.0)
    masked = apply_mask(waveform, gains((profile,), STFT, interpolation), STFT)[0]
    middle = slice(16_000, 48_000)
    phase = 2 * np.pi * frequency_hz * np.arange(64_000)[middle] / 16_000
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    if frequency_hz == 8_000:  # of which a sample sees a cosine at most
        basis = basis[:, 1:]
    amplitudes = [np.linalg.lstsq(basis, y[middle], rcond=None)[0] for y in (waveform, masked)]
    return float(decibels(np.linalg.norm(amplitudes[0]) / np.linalg.norm(amplitudes[1])))


BETWEEN_OCTAVES_HZ = (177, 354, 707, 750, 1414, 1500, 2828, 3000, 5657, 5771, 6000, 7900)


@pytest.mark.parametrize("interpolation", ["linear", "octave"])
@pytest.mark.parametrize("profile", LOSSES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("frequency_hz", OCTAVES_HZ[:-1] + BETWEEN_OCTAVES_HZ)
def test_a_tone_is_attenuated_as_the_audiogram_says(profile, frequency_hz, interpolation):
    error = measured_db(profile, frequency_hz, interpolation) - slope_db(
        profile, frequency_hz, interpolation
    )
    assert abs(error) <= (0.30 if frequency_hz == 125 else 0.12)


@seeded
@given(
    profile=st.sampled_from(LOSSES),
    interpolation=st.sampled_from(["linear", "octave"]),
    frequency_hz=st.floats(135, 7_900),
)
def test_so_is_a_tone_of_any_frequency(profile, interpolation, frequency_hz):
    expected = slope_db(profile, frequency_hz, interpolation)
    assert abs(measured_db(profile, frequency_hz, interpolation) - expected) <= 0.12


@pytest.mark.parametrize("profile", [PILOTS[0], FLAT], ids=["normal", "flat"])
@pytest.mark.parametrize("frequency_hz", [50, 125, 440, 1000, 3333, 7000])
def test_a_flat_profile_attenuates_every_tone_alike(profile, frequency_hz):
    expected = profile.thresholds_db_hl[0]
    assert measured_db(profile, frequency_hz, "auto") == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("name", "interpolation"), [("lfloss", "linear"), ("N3", "octave")])
def test_auto_is_linear_for_the_pilots_profiles_and_octave_for_others(name, interpolation):
    profile = get_profile(name)
    curves = {
        kind: attenuation_db(profile, STFT.bins_hz, kind) for kind in ("auto", "linear", "octave")
    }
    np.testing.assert_array_equal(curves["auto"], curves[interpolation])
    assert np.abs(curves["linear"] - curves["octave"]).max() > 0.2


@pytest.mark.parametrize("interpolation", ["linear", "octave"])
@pytest.mark.parametrize("name", ["lfloss", "N2", "S3"])
def test_the_curve_meets_its_points_and_is_level_beyond_them(name, interpolation):
    profile = get_profile(name)
    levels = profile.thresholds_db_hl
    points = np.array(profile.frequencies_hz)
    np.testing.assert_allclose(attenuation_db(profile, points, interpolation), levels, atol=1e-9)
    beyond = attenuation_db(profile, np.array([0.0, 20.0, 12_000.0]), interpolation)
    np.testing.assert_allclose(beyond, [levels[0], levels[0], levels[-1]], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "frequency_hz", "interpolation", "expected_db"),
    [
        ("lfloss", 3000, "linear", 32.5),
        ("lfloss", 2000 * 2**0.5, "octave", 32.5),
        ("hfloss", 6000, "linear", 92.5),
        ("hfloss", 4000 * 2**0.5, "octave", 92.5),
        ("S2", 2500, "linear", 65.0),
        ("S2", 6**0.5 * 1000, "octave", 65.0),
        ("N1", 250, "octave", 10.0),
        ("N1", 8000, "octave", 40.0),
    ],
)
def test_between_two_points_a_line_in_hz_or_in_octaves(
    name, frequency_hz, interpolation, expected_db
):
    levels = attenuation_db(get_profile(name), np.array([frequency_hz]), interpolation)
    assert levels == pytest.approx([expected_db], abs=1e-9)


def test_a_loud_low_tone_leaks_nothing_to_where_the_ear_is_good():
    waveform = (0.9 * np.sin(2 * np.pi * 125 * np.arange(64_000) / 16_000)).astype(np.float32)
    masked = apply_mask(waveform, gains(PILOTS, STFT), STFT)[2]
    spectrum = np.abs(np.fft.rfft(masked * np.blackman(64_000))) / 64_000
    assert decibels(np.linalg.norm(spectrum[4_000:])) < -130


@pytest.mark.parametrize("profile", LOSSES, ids=lambda profile: profile.name)
def test_a_minute_of_noise_loses_in_every_third_of_an_octave_what_the_audiogram_says(profile):
    waveform = noise(60)
    masked = apply_mask(waveform, gains((profile,), STFT), STFT)[0]
    window = np.hanning(len(waveform))  # or the ends would leak into what is 90 dB below
    before, after = (np.abs(np.fft.rfft(window * x)) ** 2 for x in (waveform, masked))
    bins_hz = np.fft.rfftfreq(len(waveform), 1 / 16_000)
    loss = 10 ** (-attenuation_db(profile, bins_hz, "linear") / 10)
    for centre_hz in 1000 * 2.0 ** (np.arange(-9, 9) / 3):
        band = (bins_hz >= centre_hz * 2 ** (-1 / 6)) & (bins_hz < centre_hz * 2 ** (1 / 6))
        level_db = 10 * np.log10(after[band].sum() / before[band].sum())
        expected_db = 10 * np.log10((before * loss)[band].sum() / before[band].sum())
        assert level_db == pytest.approx(expected_db, abs=0.06)


# --- what a mask must leave alone ---


def keep_all(spectrum: np.ndarray) -> np.ndarray:
    """A gate that lets everything through, so that flat profiles take the way of all others."""
    return np.ones(spectrum.shape, dtype=bool)


@pytest.mark.parametrize("n_samples", [1, 2, 100, 511, 512, 513, 1500, 2047, 2048, 5000, 80_000])
def test_a_profile_without_loss_gives_the_clip_back(n_samples):
    waveform = noise(n_samples / 16_000)
    masked = apply_mask(waveform, gains((NO_LOSS,), STFT), STFT, gate=keep_all)
    np.testing.assert_allclose(masked[0], waveform, atol=2e-6 * waveform.std() + 1e-12, rtol=0)


@seeded
@given(
    n_samples=st.integers(1, 4_000),
    n_fft=st.sampled_from([64, 256, 400, 1024]),
    hop=st.sampled_from([4, 5, 7.3]),
)
def test_so_it_does_for_any_length_window_and_hop(n_samples, n_fft, hop):
    settings = StftSettings(n_fft=n_fft, hop_length=int(n_fft / hop))
    waveform = noise(n_samples / 16_000)
    masked = apply_mask(waveform, gains((NO_LOSS, FLAT), settings), settings, gate=keep_all)
    assert masked.shape == (2, n_samples)
    assert masked.dtype == np.float32
    np.testing.assert_allclose(masked[0], waveform, atol=2e-5, rtol=0)


def response_to_a_click(profile: HearingProfile, position: int) -> np.ndarray:
    waveform = np.zeros(16_000, dtype=np.float32)
    waveform[position] = 1
    return apply_mask(waveform, gains((profile,), STFT), STFT)[0]


@pytest.mark.parametrize("profile", LOSSES, ids=lambda profile: profile.name)
def test_nothing_is_delayed(profile):
    for position in (8_192, 8_193, 8_000):
        assert np.abs(response_to_a_click(profile, position)).argmax() == position
    centre, reach = 16 * STFT.hop_length, 1_000  # in the middle of a window all is symmetric
    response = response_to_a_click(profile, centre)
    before, behind = response[centre - reach : centre][::-1], response[centre + 1 :][:reach]
    np.testing.assert_allclose(before, behind, atol=1e-6 * np.abs(response).max(), rtol=0)


def test_the_filter_is_the_same_wherever_a_sound_falls_in_a_hop():
    responses = []
    for position in range(8_000, 8_000 + 512, 16):
        response = response_to_a_click(LOSSES[1], position)
        responses.append(response[position - 1_500 : position + 1_500])
    average = np.mean(responses, axis=0)
    variation = np.abs(np.array(responses) - average).max()
    assert decibels(variation / np.abs(average).max()) < -80


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_a_clip_twice_as_loud_is_masked_twice_as_loud(factor):
    waveform, gain = noise(0.5), gains(PILOTS, STFT)
    scaled = apply_mask(np.float32(factor) * waveform, gain, STFT)
    np.testing.assert_array_equal(scaled, np.float32(factor) * apply_mask(waveform, gain, STFT))


def test_a_profile_is_masked_alike_whatever_others_there_are():
    waveform = noise(0.5)
    together = apply_mask(waveform, gains(PILOTS, STFT), STFT)
    for row, profile in zip(together, PILOTS, strict=True):
        alone = apply_mask(waveform, gains((profile,), STFT), STFT)
        np.testing.assert_array_equal(alone[0], row)


def test_the_clip_itself_is_not_changed():
    waveform = noise(0.2)
    before = waveform.copy()
    apply_mask(waveform, gains(PILOTS, STFT), STFT)
    np.testing.assert_array_equal(waveform, before)


def test_silence_stays_silence():
    masked = apply_mask(np.zeros(5_000, dtype=np.float32), gains(PILOTS, STFT), STFT)
    assert not masked.any()


@pytest.mark.parametrize("n_samples", [1, 100, 511, 512, 513, 2047, 2048, 2049, 9_000, 80_000])
def test_a_flat_profile_is_the_same_gain_with_and_without_a_transform(n_samples):
    """A threshold a hair off flat goes through the transform; a flat one needs none."""
    waveform = noise(n_samples / STFT.sampling_rate)[:n_samples]
    hair = HearingProfile("hair", (1000.0, 8000.0), (10.0, 10.0 + 1e-4))
    flat, transformed = apply_mask(waveform, gains((get_profile("normal"), hair), STFT), STFT)
    np.testing.assert_allclose(transformed, flat, atol=1e-5 * np.abs(waveform).max())
    np.testing.assert_array_equal(flat, waveform * np.float32(10**-0.5))


# --- levels ---


@cache
def variants() -> np.ndarray:
    return apply_mask(noise(1.0), gains(PILOTS, STFT), STFT)


def test_shared_is_the_gain_that_brings_the_clip_itself_to_full_scale():
    peak = float(np.abs(noise(1.0)).max())
    shared = normalize(variants(), "shared", peak)
    assert shared.output_gain_db == pytest.approx([-decibels(peak)] * 3, abs=1e-6)
    # Of normal hearing, 10 dB flat, the loudest sample is so much below full scale.
    assert decibels(np.abs(shared.waveforms[0]).max()) == pytest.approx(-10, abs=1e-4)
    levels_db = decibels(variants().std(axis=1))
    np.testing.assert_allclose(
        np.diff(decibels(shared.waveforms.std(axis=1))), np.diff(levels_db), atol=1e-4
    )


def test_shared_is_the_same_whatever_other_profiles_there_are():
    peak = float(np.abs(noise(1.0)).max())
    together = normalize(variants(), "shared", peak)
    for number in range(3):
        alone = normalize(variants()[number : number + 1], "shared", peak)
        assert alone.output_gain_db[0] == together.output_gain_db[number]
        np.testing.assert_array_equal(alone.waveforms[0], together.waveforms[number])


def test_shared_does_not_clip_a_variant_that_is_louder_than_its_clip():
    amplified = HearingProfile("sharp-eared", (1000.0,), (-20.0,))
    waveform = noise(0.5)
    masked = apply_mask(waveform, gains((amplified, *PILOTS), STFT), STFT)
    shared = normalize(masked, "shared", float(np.abs(waveform).max()))
    assert np.abs(shared.waveforms).max() == pytest.approx(1, abs=1e-6)
    assert len(set(shared.output_gain_db)) == 1


def test_peak_brings_each_to_its_own_full_scale_and_so_cancels_the_loss():
    peak = normalize(variants(), "peak", 1.0)
    np.testing.assert_allclose(np.abs(peak.waveforms).max(axis=1), 1, atol=1e-6)
    assert len(set(peak.output_gain_db)) == 3
    assert (np.diff(peak.output_gain_db) != 0).all()


@pytest.mark.parametrize(("loudest", "gain_db"), [(0.5, 0.0), (1.0, 0.0), (4.0, -12.0412)])
def test_limit_touches_only_what_would_clip_and_then_all_alike(loudest, gain_db):
    waveforms = np.float32([[loudest, -0.1], [0.01, -0.02]])
    limited = normalize(waveforms, "limit", 1.0)
    assert limited.output_gain_db == pytest.approx([gain_db, gain_db], abs=1e-4)
    expected = waveforms / np.float32(max(loudest, 1))
    np.testing.assert_allclose(limited.waveforms, expected, rtol=1e-6)


def test_none_changes_nothing():
    loud = np.float32([[3.0, -0.1], [0.01, -0.02]])
    kept = normalize(loud, "none", 3.0)
    np.testing.assert_array_equal(kept.waveforms, loud)
    assert kept.output_gain_db.tolist() == [0, 0]


@seeded
@given(
    mode=st.sampled_from(NORMALIZATIONS),
    scale_db=st.floats(-100, 40),
    n_profiles=st.integers(1, 4),
)
def test_the_recorded_gain_gives_the_level_back(mode, scale_db, n_profiles):
    rng = np.random.default_rng(0)
    scales = 10 ** ((scale_db - 15 * np.arange(n_profiles)) / 20)
    waveforms = (scales[:, None] * rng.uniform(-1, 1, (n_profiles, 50))).astype(np.float32)
    result = normalize(waveforms, mode, float(np.abs(waveforms).max()))
    restored = result.waveforms / 10 ** (result.output_gain_db[:, None] / 20)
    np.testing.assert_allclose(restored, waveforms, rtol=1e-6)
    assert result.output_gain_db.dtype == np.float64
    assert result.waveforms.dtype == np.float32
    assume(mode != "none")
    assert np.abs(result.waveforms).max() <= 1 + 1e-6


@pytest.mark.parametrize("mode", NORMALIZATIONS)
def test_silence_is_not_amplified(mode):
    silent = normalize(np.zeros((2, 10), dtype=np.float32), mode, 0.0)
    assert not silent.waveforms.any()
    assert [str(gain) for gain in silent.output_gain_db] == ["0.0", "0.0"]


def test_one_silent_variant_of_several_is_left_silent_under_peak():
    waveforms = np.float32([[0.5, -0.25], [0, 0]])
    result = normalize(waveforms, "peak", 1.0)
    np.testing.assert_array_equal(result.waveforms, np.float32([[1, -0.5], [0, 0]]))
    assert result.output_gain_db == pytest.approx([6.0206, 0], abs=1e-4)


# --- what is refused ---


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (np.zeros(0), r"^a mono waveform is needed, not one of shape \(0,\)$"),
        (np.zeros((2, 100)), r"^a mono waveform is needed, not one of shape \(2, 100\)$"),
        (np.float32(1), r"^a mono waveform is needed, not one of shape \(\)$"),
        ([0.0, np.nan], "^NaN or infinite samples$"),
        ([0.0, np.inf], "^NaN or infinite samples$"),
        ([0.0, 1e300], "^NaN or infinite samples$"),
    ],
)
def test_what_is_no_clip_is_refused_with_a_reason(waveform, reason):
    with pytest.raises(ClipError, match=reason), np.errstate(over="ignore"):
        apply_mask(np.asarray(waveform), gains(PILOTS, STFT), STFT)


@pytest.mark.parametrize(
    ("n_fft", "hop_length"), [(2047, 512), (0, 0), (-2, 1), (2048, 0), (2048, -1), (2048, 513)]
)
def test_a_transform_that_cannot_be_undone_is_refused(n_fft, hop_length):
    with pytest.raises(InputError, match=f"n_fft {n_fft} and hop_length {hop_length} do not go"):
        StftSettings(n_fft=n_fft, hop_length=hop_length)
