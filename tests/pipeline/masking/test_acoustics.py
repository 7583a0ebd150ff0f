"""The ruler itself: bands, delay and clipping, held against what is known of a signal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import SAMPLING_RATE, noise, seeded, tone

from pipeline.errors import ClipError
from pipeline.masking import acoustics
from pipeline.masking.acoustics import (
    LEVEL_TOLERANCE_DB,
    band_levels,
    band_powers,
    count_clipped,
    count_flat_tops,
    expected_clip,
    mask_filter,
    measure_delay,
    noise_error_db,
    octave_centres_hz,
    rounding_powers,
)
from pipeline.masking.mask import StftSettings, apply_mask, attenuation_db
from pipeline.masking.profiles import PROFILES, get_profile

STEP = 2.0**-23
SETTINGS = StftSettings()


def gains_of(profile: str, settings: StftSettings = SETTINGS) -> np.ndarray:
    """Gains [shape=(n_fft / 2 + 1,)] that are not those the mask computes for itself."""
    return 10 ** (-attenuation_db(get_profile(profile), settings.bins_hz) / 20)


def masked(
    waveform: np.ndarray, gains: np.ndarray, settings: StftSettings = SETTINGS
) -> np.ndarray:
    return apply_mask(waveform, gains[None].astype(np.float32), settings)[0]


def stored(waveform: np.ndarray, step: float = STEP) -> np.ndarray:
    return np.round(waveform.astype(np.float64) / step) * step


# --- bands ---


@pytest.mark.parametrize(
    ("rate", "highest"), [(1_000, 500), (8_000, 4_000), (15_999, 4_000), (16_000, 8_000)]
)
def test_bands_reach_up_to_half_the_sampling_rate(rate, highest):
    centres = octave_centres_hz(rate)
    assert (centres[0], centres[-1]) == (125, highest)


@pytest.mark.parametrize("centre", [125, 250, 500, 1_000, 2_000, 4_000])
def test_a_tone_is_in_its_own_band_with_its_own_power(centre):
    powers = band_powers(tone(centre, 1.0), SAMPLING_RATE)
    band = list(octave_centres_hz(SAMPLING_RATE)).index(centre)
    assert powers[band] == pytest.approx(0.5**2 / 2, rel=1e-6)
    assert np.delete(powers, band).max() < 1e-12


def test_white_noise_is_spread_over_bands_by_their_width():
    powers = band_powers(noise(20.0), SAMPLING_RATE)
    shares = powers / powers.sum()
    # 125 Hz to 4 kHz double in width; the last band ends early, at 8 kHz instead of 11.3.
    widths = np.array([1, 2, 4, 8, 16, 32, (8_000 - 4_000 * 2**0.5) / (62.5 * 2**0.5)])
    np.testing.assert_allclose(shares, widths / widths.sum(), rtol=0.05)


def test_rounding_is_as_loud_as_it_is_said_to_be():
    sound = noise(20.0).astype(np.float64)
    difference = stored(sound, 2.0**-15) - sound
    powers = band_powers(difference, SAMPLING_RATE)
    np.testing.assert_allclose(powers, rounding_powers(SAMPLING_RATE, 2.0**-15), rtol=0.05)


# --- the filter that a mask is ---


def test_a_flat_mask_is_a_factor():
    kernel = mask_filter(np.full(1025, 0.1), SETTINGS).kernel
    assert kernel.argmax() == len(kernel) // 2
    assert kernel.max() == pytest.approx(0.1)
    assert np.delete(kernel, len(kernel) // 2).max() < 1e-15


@seeded
@given(st.sampled_from(sorted(PROFILES)), st.sampled_from([(256, 64), (512, 100), (2048, 512)]))
def test_away_from_its_ends_a_masked_clip_is_a_filtered_one(name, window):
    settings = StftSettings(SAMPLING_RATE, *window)
    sound, gains = noise(1.0), gains_of(name, settings)
    filtered = expected_clip(sound, mask_filter(gains, settings), 0.0, STEP).samples
    middle = slice(settings.n_fft, -settings.n_fft)
    error = masked(sound, gains, settings)[middle] - filtered[middle]
    assert error.std() < 10 ** (-55 / 20) * filtered[middle].std()


def test_levels_change_by_the_power_weighted_attenuation():
    sound, gains = noise(10.0), gains_of("hfloss")
    levels = band_levels(
        masked(sound, gains), *expectation(sound, "hfloss", gain_db=0.0), SAMPLING_RATE
    )
    bins_hz = np.fft.rfftfreq(len(sound), 1 / SAMPLING_RATE)
    powers = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    attenuation = 10 ** (-attenuation_db(get_profile("hfloss"), bins_hz) / 10)
    for band, centre in enumerate(octave_centres_hz(SAMPLING_RATE)):
        inside = (bins_hz >= centre / 2**0.5) & (bins_hz < centre * 2**0.5)
        expected = (powers * attenuation)[inside].sum() / powers[inside].sum()
        assert levels.expected_db[band] == pytest.approx(10 * np.log10(expected), abs=0.1)


# --- levels ---


def expectation(sound: np.ndarray, profile: str, gain_db: float, settings=SETTINGS):
    """What `band_levels` wants beside the variant: what is expected, and the source."""
    mask = mask_filter(gains_of(profile, settings), settings)
    return expected_clip(sound, mask, gain_db, STEP), sound


@seeded
@given(
    st.sampled_from(sorted(PROFILES)),
    st.sampled_from(
        [(8_000, 2048, 512), (16_000, 2048, 512), (16_000, 256, 64), (44_100, 512, 64)]
    ),
    st.floats(-20, 20),
)
def test_a_right_variant_is_within_tolerance_in_every_band(name, stft, gain_db):
    settings = StftSettings(*stft)
    sound = noise(1.0, settings.sampling_rate)
    gain = np.float32(10 ** (gain_db / 20))
    variant = stored(masked(sound, gains_of(name, settings), settings) * gain)
    levels = band_levels(
        variant, *expectation(sound, name, gain_db, settings), settings.sampling_rate
    )
    assert np.abs(levels.error_db[levels.judged]).max(initial=0) < LEVEL_TOLERANCE_DB


@pytest.mark.parametrize("name", ["normal", "lfloss", "hfloss", "N3", "S2"])
@pytest.mark.parametrize("error_db", [-1.0, 0.2, 1.0])
def test_a_wrong_level_is_measured_as_it_is(name, error_db):
    sound = noise(1.0)
    variant = stored(masked(sound, gains_of(name)) * 10 ** (error_db / 20))
    levels = band_levels(variant, *expectation(sound, name, 0.0), SAMPLING_RATE)
    assert levels.judged.any()
    np.testing.assert_allclose(levels.error_db[levels.judged], error_db, atol=0.05)


def test_an_audiogram_interpolated_in_the_wrong_way_is_noticed():
    sound = noise(2.0)
    octaves = attenuation_db(get_profile("lfloss"), SETTINGS.bins_hz, "octave")
    variant = stored(masked(sound, 10 ** (-octaves / 20)))
    levels = band_levels(variant, *expectation(sound, "lfloss", 0.0), SAMPLING_RATE)
    assert np.abs(levels.error_db[levels.judged]).max() > 2 * LEVEL_TOLERANCE_DB


def test_the_gain_of_normalisation_is_no_error():
    sound = noise(1.0)
    variant = stored(masked(sound, gains_of("N3")) * 10 ** (20 / 20))
    levels = band_levels(variant, *expectation(sound, "N3", 20.0), SAMPLING_RATE)
    assert levels.change_db[0] == pytest.approx(-35, abs=0.1)
    assert np.abs(levels.error_db).max() < 0.05


def test_what_lies_below_the_noise_of_storage_is_not_judged():
    sound = noise(1.0)
    variant = stored(masked(sound, gains_of("hfloss")), 2.0**-15)
    mask = mask_filter(gains_of("hfloss"), SETTINGS)
    expected = expected_clip(sound, mask, 0.0, 2.0**-15)
    levels = band_levels(variant, expected, sound, SAMPLING_RATE)
    assert levels.judged[:2].all()
    assert not levels.judged[4:].any()


def test_a_band_that_should_be_silent_and_is_not_is_judged():
    sound = noise(1.0)
    variant = stored(masked(sound, gains_of("hfloss")) + 0.01 * tone(6_000, 1.0))
    levels = band_levels(variant, *expectation(sound, "hfloss", 0.0), SAMPLING_RATE)
    assert levels.judged[-1]
    assert levels.error_db[-1] > 30


def test_silence_is_not_judged():
    silence = np.zeros(8_000, dtype=np.float32)
    levels = band_levels(silence, *expectation(silence, "N3", 0.0), SAMPLING_RATE)
    assert not levels.judged.any()


@seeded
@given(st.floats(-60, -5), st.integers(0, 1_000))
def test_noise_moves_a_level_by_no_more_than_is_allowed_for(ratio_db, seed):
    signal, disturbance = noise(0.5, seed=seed), noise(0.5, seed=seed + 5_000)
    before = band_powers(signal, SAMPLING_RATE)
    after = band_powers(signal + 10 ** (ratio_db / 20) * disturbance, SAMPLING_RATE)
    centres = octave_centres_hz(SAMPLING_RATE)
    widths_hz = np.minimum(centres * 2**0.5, 8_000) - centres / 2**0.5
    ratios = band_powers(10 ** (ratio_db / 20) * disturbance, SAMPLING_RATE) / before
    allowed_db = noise_error_db(ratios, widths_hz * 0.5 / acoustics.HANN_BINS)
    assert (np.abs(10 * np.log10(after / before)) < allowed_db).all()


def test_clips_of_two_lengths_have_no_levels():
    sound = noise(1.0)
    with pytest.raises(ClipError, match="15999 samples where the source has 16000"):
        band_levels(sound[1:], *expectation(sound, "N3", 0.0), SAMPLING_RATE)


# --- delay ---


@seeded
@given(st.integers(-50, 50), st.sampled_from(sorted(PROFILES)))
def test_a_delay_is_told_to_the_sample(lag, name):
    sound = noise(1.0)
    expected = expectation(sound, name, 0.0)[0].samples
    delay = measure_delay(np.roll(expected, lag), expected)
    assert delay.samples == lag
    assert delay.likeness > 0.99


@pytest.mark.parametrize("name", ["normal", "lfloss", "hfloss", "N7"])
def test_the_mask_has_no_delay(name):
    sound = noise(1.0)
    expected = expectation(sound, name, 0.0)[0].samples
    assert measure_delay(masked(sound, gains_of(name)), expected).samples == 0


def test_an_inverted_clip_is_not_in_place():
    sound = noise(1.0)
    assert measure_delay(-sound, sound).samples != 0


def test_silence_and_strangers_are_unlike():
    sound = noise(1.0)
    assert measure_delay(0 * sound, sound).likeness == 0
    assert measure_delay(noise(1.0, seed=1), sound).likeness < 0.1
    assert measure_delay(sound[100:], sound).samples == -100


# --- clipping ---


def test_the_peak_of_normalisation_is_no_clipping():
    sound = noise(1.0).astype(np.float64)
    sound /= np.abs(sound).max()
    assert count_clipped(np.minimum(stored(sound), 1 - STEP), sound, STEP) == 0
    assert count_flat_tops(np.minimum(stored(sound), 1 - STEP), STEP) == 0


def test_what_was_cut_off_is_clipped():
    sound = 40 * noise(1.0).astype(np.float64)
    cut = np.clip(stored(sound), -1, 1 - STEP)
    assert count_clipped(cut, sound, STEP) == pytest.approx((np.abs(sound) > 1).sum(), rel=0.1)
    assert count_flat_tops(cut, STEP) > 100


def test_full_scale_that_nothing_asks_for_is_clipping():
    sound = noise(1.0).astype(np.float64)
    assert count_clipped(np.sign(sound), sound, STEP) > 10_000


def test_floats_beyond_full_scale_are_clipping():
    sound = np.array([0.0, 1.2, 0.5])
    assert count_clipped(sound, sound, 0.0) == 1
    assert count_flat_tops(np.full(5, 1.2), 0.0) == 1
