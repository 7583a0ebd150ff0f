"""Loudness recruitment: the filterbank against a slow one, and levels against the audiogram."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import noise, seeded, tone
from msbg_reference import envelopes, gammatone_channels, published_noise, recruit

from pipeline.masking.cochlear import BLOCK_LENGTHS
from pipeline.masking.ear_constants import Gammatones, load_gammatones
from pipeline.masking.profiles import HearingProfile, get_profile
from pipeline.masking.recruitment import (
    Filterbank,
    below_catch_up,
    expansion_ratios,
    gammatone_responses,
    highpass_responses,
    recruitment_gain,
    smoothing_responses,
)

RATE = 44_100
WIDTHS = (1.5, 2.0, 3.0)
# The equivalent rectangular bandwidths that pyclarity's tests give are all above the limit of
# 100 Hz, as are those at these centres.
WIDE_CENTRES_HZ = np.array([2000.0, 4000.0, 8000.0])


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    expected, actual = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    return 10 * np.log10(np.sum(expected**2) / np.sum((expected - actual) ** 2))


def flat(threshold_db_hl: float) -> HearingProfile:
    return HearingProfile("flat", (1000.0,), (threshold_db_hl,))


@cache
def bank(width: float, rate: int = 16_000) -> Filterbank:
    return Filterbank(load_gammatones(width), rate, BLOCK_LENGTHS[rate])


def ratios(gammatones: Gammatones, *profiles: HearingProfile) -> np.ndarray:
    return np.array([expansion_ratios(profile, gammatones.centres_hz) for profile in profiles])


# --- the sums that pyclarity 0.9.0 publishes ---


def test_channels_have_the_published_sum():
    channels = gammatone_channels(published_noise(1_000), load_gammatones(2.0))
    assert channels.shape == (28, 1_000)
    assert np.abs(channels).sum() == pytest.approx(1327.2811434076052, rel=1e-9)


def test_envelopes_have_the_published_sum():
    smoothed = envelopes(published_noise(3, 1_000), WIDE_CENTRES_HZ)
    assert np.abs(smoothed).sum() == pytest.approx(1444.2528021105204, rel=1e-9)


def test_without_a_loss_recruitment_has_the_published_sum():
    channels = published_noise(3, 1_000)
    gains = recruitment_gain(below_catch_up(envelopes(channels, WIDE_CENTRES_HZ), 100), 1.0)
    assert np.abs(channels * gains).sum() == pytest.approx(1512.7196632453372, rel=1e-12)


# --- the filters ---


@pytest.mark.parametrize(("width", "n_channels"), [(1.5, 36), (2.0, 28), (3.0, 19)])
def test_a_filterbank_has_its_channels_in_order_and_a_gain_of_one_at_their_centres(
    width, n_channels
):
    gammatones = load_gammatones(width)
    centres = gammatones.centres_hz
    assert centres.shape == (n_channels,)
    assert (np.diff(centres) > 0).all() and centres[0] < 100 and 17_000 < centres[-1] < 20_000
    gains = np.abs(
        gammatone_responses(gammatones, centres) * highpass_responses(gammatones, centres)
    )
    np.testing.assert_allclose(np.diagonal(gains), 1, rtol=1e-6)


@pytest.mark.parametrize("width", WIDTHS)
def test_responses_are_those_of_the_recursive_filters(width):
    gammatones = load_gammatones(width)
    n_fft, start = 2**14, 1_000
    impulse = np.zeros(n_fft)
    impulse[start] = 1
    expected = gammatone_channels(impulse, gammatones)
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / RATE)
    responses = gammatone_responses(gammatones, frequencies_hz)
    responses *= highpass_responses(gammatones, frequencies_hz)
    actual = np.roll(np.fft.irfft(responses), start, axis=1)
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_smoothing_passes_slow_fluctuations_and_stops_fast_ones():
    hz = np.array([0.0, 20.0, 75.0, 1000.0])
    gains_db = 20 * np.log10(np.abs(smoothing_responses(np.array([1000.0]), hz)[0]))
    assert (np.abs(gains_db[:3]) <= 0.2501).all()
    assert gains_db[3] <= -34.9


@pytest.mark.parametrize("width", WIDTHS)
def test_channels_line_up_and_add_up_to_what_went_in(width):
    click = np.zeros(8_000, np.float32)
    click[4_000] = 1
    gammatones = bank(width).gammatones
    whole = bank(width).recruit(click, ratios(gammatones, flat(0)), 100)[0]
    assert abs(int(np.abs(whole).argmax()) - 4_000) <= 3
    gains_db = 20 * np.log10(np.abs(np.fft.rfft(whole)))
    np.testing.assert_allclose(gains_db[200:3_750:50] - gains_db[1_000], 0, atol=2)


# --- against the slow one ---


@pytest.mark.parametrize(("width", "name"), [(1.5, "N1"), (2.0, "N2"), (3.0, "N3"), (3.0, "N4")])
def test_it_equals_the_model_in_the_time_domain(width, name):
    # White noise is the worst case: rectified at 44.1 kHz, the model's upper channels alias, those
    # here, made of analytic signals, do not. Measured: 51 to 59 dB; 58 to 75 dB for speech.
    waveform = np.pad(noise(0.3, RATE), 6_000)
    gammatones = bank(width, RATE).gammatones
    its_ratios = ratios(gammatones, get_profile(name))
    expected = recruit(waveform.astype(np.float64), gammatones, its_ratios[0], 100)
    actual = bank(width, RATE).recruit(waveform, its_ratios, 100)[0]
    assert actual.dtype == np.float32
    assert snr_db(expected, actual) > 50


@pytest.mark.parametrize("width", WIDTHS)
def test_a_clip_in_blocks_equals_one_in_a_single_block(width):
    waveform = noise(4.0) * (0.01 + np.sin(np.arange(64_000) / 3_000).astype(np.float32) ** 2)
    gammatones = bank(width).gammatones
    single = Filterbank(gammatones, 16_000, 2**17)
    its_ratios = ratios(gammatones, get_profile("N3"))
    pieces = bank(width).recruit(waveform, its_ratios, 100)
    # Channels are rectified at low rates, on whose grid they alias a little: measured, 76 to 79 dB.
    assert snr_db(single.recruit(waveform, its_ratios, 100), pieces) > 70


def test_ears_heard_together_equal_each_heard_alone():
    gammatones = bank(2.0).gammatones
    its_ratios = ratios(gammatones, get_profile("N2"), flat(0), get_profile("S2"))
    together = bank(2.0).recruit(noise(0.3), its_ratios, 100)
    for row, alone in zip(together, its_ratios, strict=True):
        np.testing.assert_array_equal(row, bank(2.0).recruit(noise(0.3), alone[None], 100)[0])


# --- levels ---


def test_the_ratio_is_that_of_the_model():
    centres = np.array([100.0, 1500.0, 9000.0])
    profile = HearingProfile("sloping", (1000.0, 2000.0), (0.0, 80.0))
    np.testing.assert_allclose(expansion_ratios(profile, centres), [1, 105 / 65, 105 / 25])
    over_octaves = 105 / (105 - 80 * np.log2(1.5))
    assert expansion_ratios(profile, centres, "octave")[1] == pytest.approx(over_octaves)


@pytest.mark.parametrize("threshold", [104.0, 105.0, 106.0, 140.0])
def test_thresholds_at_the_catch_up_level_and_above_have_a_ratio_too(threshold):
    assert expansion_ratios(flat(threshold), np.array([1000.0])) == pytest.approx(105)


def level_db_spl(waveform: np.ndarray) -> float:
    """Of the middle of a clip where full scale is 100 dB SPL."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4].astype(np.float64)
    return 100 + 20 * np.log10(np.sqrt(np.mean(middle**2)))


def heard_db_spl(level: float, threshold: float, width: float = 1.5) -> float:
    """Level at which an ear of a flat loss hears a tone of 1 kHz, re that of one of none."""
    waveform = tone(1_000, 0.6)
    waveform *= np.float32(10 ** ((level - level_db_spl(waveform)) / 20))
    both = ratios(bank(width).gammatones, flat(threshold), flat(0))
    impaired, normal = bank(width).recruit(waveform, both, 100)
    return level_db_spl(impaired) - level_db_spl(normal) + level


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("threshold", "level"), [(20, 60), (50, 60), (50, 90), (80, 90), (80, 80)])
def test_a_tone_is_heard_at_the_level_the_expansion_says(threshold, level, width):
    # A tone's rectified mean lies 0.9 dB below its root mean square, smoothing takes 0.5 dB, and it
    # is split among channels, in each of which it is a few dB softer; fewest where the ratio is
    # high and the loudest channel all that counts.
    ratio = 105 / (105 - threshold)
    expected = level + (ratio - 1) * (level - 0.9 - 0.5 - 2.8 - 105)
    assert heard_db_spl(level, threshold, width) == pytest.approx(expected, abs=1.8 * (ratio - 1))


@seeded
@given(threshold=st.floats(5, 80), level=st.floats(40, 95))
def test_louder_is_attenuated_less(threshold, level):
    soft = level - heard_db_spl(level, threshold, 3.0)
    loud = level + 10 - heard_db_spl(level + 10, threshold, 3.0)
    assert loud < soft
    # By what the ratio says, channels far from the tone aside.
    assert soft - loud == pytest.approx(10 * (105 / (105 - threshold) - 1), rel=0.03, abs=0.05)


@pytest.mark.parametrize("threshold", [0, 40, 80, 120])
def test_what_is_as_loud_as_the_catch_up_level_is_left_alone(threshold):
    assert heard_db_spl(130, threshold) == pytest.approx(130, abs=0.05)


@seeded
@given(
    threshold=st.floats(-20, 140),
    envelope=st.floats(-1, 2.0**100, width=32),
    full_scale=st.floats(-200, 1000),
)
def test_a_gain_is_a_number_and_of_a_loss_not_above_one(threshold, envelope, full_scale):
    ratio = expansion_ratios(flat(threshold), np.array([1000.0]))[0]
    below = below_catch_up(np.array([envelope], np.float32), full_scale)
    gain = recruitment_gain(below, ratio)
    assert np.isfinite(gain).all() and (gain >= 0).all()
    assert gain[0] <= 1 if threshold >= 0 else gain[0] >= 1


@seeded
@given(n_samples=st.integers(1, 4_000))
def test_length_is_kept_and_silence_silent(n_samples):
    two_ears = ratios(bank(3.0).gammatones, flat(60), flat(-10))
    silence = bank(3.0).recruit(np.zeros(n_samples, np.float32), two_ears, 100)
    assert silence.shape == (2, n_samples)
    assert not silence.any()
