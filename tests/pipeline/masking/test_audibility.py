"""The absolute threshold: what lies below it is gone, and only that."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded

from pipeline.errors import ClipError, InputError
from pipeline.masking.audibility import (
    THRESHOLD_DB_SPL,
    THRESHOLD_HZ,
    active_rms,
    auditory_bandwidth_hz,
    full_scale_db_spl,
    hearing_threshold_db_spl,
    threshold_noise,
)
from pipeline.masking.mask import StftSettings
from pipeline.masking.profiles import HearingProfile, get_profile
from pipeline.masking.simulators import SimulationSettings, make_simulator

STFT = StftSettings()
RATE = STFT.sampling_rate
FULL_SCALE = 100.0  # dB SPL


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def tone(frequency_hz: float, level_db_spl: float, seconds: float = 2.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    rms = 10 ** ((level_db_spl - FULL_SCALE) / 20)
    return (rms * np.sqrt(2) * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def simulate(waveform: np.ndarray, *names: str, **settings) -> np.ndarray:
    profiles = tuple(map(get_profile, names))
    chosen = SimulationSettings("audibility", **settings)
    return make_simulator(profiles, STFT, chosen).simulate(waveform)


# --- levels ---


def test_pauses_do_not_count_as_speech_level():
    speech = tone(500, 65, 1.0)
    paused = np.concatenate([np.zeros(3 * RATE, np.float32), speech, np.zeros(RATE, np.float32)])
    assert decibels(active_rms(paused, RATE) / active_rms(speech, RATE)) == pytest.approx(
        0, abs=0.1
    )


@pytest.mark.parametrize("n_samples", [1, 5, 319, 320, 321])
def test_the_level_of_a_steady_sound_is_its_root_mean_square(n_samples):
    waveform = np.full(n_samples, -0.25, np.float32)
    assert active_rms(waveform, RATE) == pytest.approx(0.25)


def test_full_scale_follows_from_the_speech_level():
    assert full_scale_db_spl(tone(500, 70), RATE, 65) == pytest.approx(FULL_SCALE - 5, abs=0.01)
    assert full_scale_db_spl(np.zeros(10, np.float32), RATE) == np.inf


def test_the_threshold_is_that_of_the_standard_at_its_frequencies():
    np.testing.assert_allclose(hearing_threshold_db_spl(np.array(THRESHOLD_HZ)), THRESHOLD_DB_SPL)
    assert hearing_threshold_db_spl(np.array([0.0, 50.0, 9_000.0])).tolist() == [22.1, 22.1, 12.6]


def test_auditory_filters_are_as_wide_as_glasberg_and_moore_found():
    widths = auditory_bandwidth_hz(np.array([100.0, 1000.0, 4000.0]))
    assert widths.tolist() == pytest.approx([35.5, 132.6, 456.5], abs=0.1)


# --- noise ---


@pytest.mark.parametrize("frequency_hz", [125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 6000.0])
def test_the_noise_in_an_auditory_filter_has_the_level_of_the_threshold(frequency_hz):
    seconds = 30
    noise = threshold_noise(seconds * RATE, STFT, FULL_SCALE, seed=1)
    power = np.abs(np.fft.rfft(noise.astype(np.float64))) ** 2 * 2 / len(noise) ** 2
    bins_hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    half = auditory_bandwidth_hz(np.array([frequency_hz]))[0] / 2
    inside = (bins_hz >= frequency_hz - half) & (bins_hz < frequency_hz + half)
    level = 10 * np.log10(power[inside].sum()) + FULL_SCALE
    expected = hearing_threshold_db_spl(np.array([frequency_hz]))[0]
    assert level == pytest.approx(expected, abs=0.6)


def test_the_noise_follows_from_the_clip_alone():
    clip, other = tone(440, 65, 0.5), tone(441, 65, 0.5)
    first, again = simulate(clip, "N2", "S1"), simulate(clip, "S1", "N2")
    np.testing.assert_array_equal(first, again[::-1])
    added = [simulate(x, "flat40")[0] - x * np.float32(0.01) for x in (clip, other)]
    assert abs(np.corrcoef(*added)[0, 1]) < 0.1


def test_speech_far_below_the_threshold_drowns_and_a_gain_does_not_bring_it_back():
    clip = tone(1000, 65)
    shallow, deep = simulate(clip, "flat20", "flat100")
    assert np.corrcoef(shallow, clip)[0, 1] > 0.95
    assert abs(np.corrcoef(deep, clip)[0, 1]) < 0.2
    attenuated = make_simulator((get_profile("flat100"),), STFT, SimulationSettings())
    assert np.corrcoef(attenuated.simulate(clip)[0], clip)[0, 1] > 0.999


def test_louder_speech_is_heard_through_the_same_loss():
    clip = tone(1000, 65)
    soft = simulate(clip, "flat60", speech_level_db_spl=50.0)[0]
    loud = simulate(clip, "flat60", speech_level_db_spl=100.0)[0]
    assert abs(np.corrcoef(soft, clip)[0, 1]) < 0.5 < 0.95 < np.corrcoef(loud, clip)[0, 1]


# --- gate ---


@pytest.mark.parametrize(
    ("n_fft", "frequency_hz"),
    # A short window cannot tell low frequencies apart.
    [(2048, 250.0), (2048, 1000.0), (2048, 4000.0), (400, 1000.0), (400, 4000.0), (256, 4000.0)],
)
@pytest.mark.parametrize(("above_db", "kept"), [(1, True), (-1, False)])
def test_the_gate_lets_through_what_is_above_the_threshold(frequency_hz, above_db, kept, n_fft):
    level = hearing_threshold_db_spl(np.array([frequency_hz]))[0] + 40 + above_db
    clip = tone(frequency_hz, level)
    settings = SimulationSettings("audibility", speech_level_db_spl=level, threshold="gate")
    stft = StftSettings(n_fft=n_fft, hop_length=n_fft // 4)
    heard = make_simulator((get_profile("flat40"),), stft, settings).simulate(clip)[0]
    middle = slice(RATE // 2, -RATE // 2)
    left = heard[middle].std() / clip[middle].std()
    if kept:
        assert decibels(left) == pytest.approx(-40, abs=0.1)
    else:
        assert not heard[middle].any()


def test_the_gate_treats_frequencies_on_their_own():
    low, high = tone(500, 65), tone(4000, 30)
    heard = simulate(low + high, "flat40", threshold="gate")[0]
    spectrum = np.abs(np.fft.rfft(heard[RATE // 2 : RATE // 2 + RATE]))
    assert spectrum[4000] < 1e-4 * spectrum[500]


# --- all ---


@seeded
@given(
    n_samples=st.integers(1, 6000),
    gain=st.sampled_from([0.0, 1e-6, 0.1, 1.0]),
    threshold=st.sampled_from(["noise", "gate"]),
)
def test_any_clip_keeps_its_length_and_stays_finite(n_samples, gain, threshold):
    rng = np.random.default_rng(n_samples)
    clip = (gain * rng.standard_normal(n_samples)).astype(np.float32)
    heard = simulate(clip, "normal", "hfloss", threshold=threshold)
    assert heard.shape == (2, n_samples)
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert gain or not heard.any()  # digital silence has no level


@pytest.mark.parametrize("name", ["mask", "audibility", "cochlear"])
@pytest.mark.parametrize(
    "waveform",
    [np.zeros(0, np.float32), np.zeros((2, 5), np.float32), np.float32([0.1, np.nan])],
    ids=["empty", "stereo", "NaN"],
)
def test_no_simulator_takes_what_is_no_clip(name, waveform):
    simulator = make_simulator((get_profile("N2"),), STFT, SimulationSettings(name))
    with pytest.raises(ClipError):
        simulator.simulate(waveform)


@pytest.mark.parametrize("name", ["mask", "audibility", "cochlear"])
def test_a_simulator_goes_to_a_worker_and_does_the_same_there(name):
    clip = tone(700, 60, 0.3)
    simulator = make_simulator((get_profile("N3"),), STFT, SimulationSettings(name))
    there = pickle.loads(pickle.dumps(simulator))
    np.testing.assert_array_equal(simulator.simulate(clip), there.simulate(clip))


@pytest.mark.parametrize("level", [10.0, 111.0, float("nan"), float("inf")])
def test_levels_that_no_speech_has_are_refused(level):
    with pytest.raises(InputError, match="is not between 20 and 110; conversation is 65"):
        SimulationSettings("audibility", speech_level_db_spl=level)


def test_a_profile_that_starts_above_nyquist_is_refused():
    high = HearingProfile("high", (9_000.0, 12_000.0), (30.0, 40.0))
    with pytest.raises(InputError, match="'high' starts at 9000 Hz, above the 8000 Hz"):
        make_simulator((high,), STFT, SimulationSettings())


def test_a_profile_that_ends_above_nyquist_is_read_up_to_it():
    profile = HearingProfile("wide", (1_000.0, 16_000.0), (20.0, 100.0))
    heard = make_simulator((profile,), STFT, SimulationSettings()).simulate(tone(4000, 65))[0]
    left = heard[RATE // 2 : RATE].std() / tone(4000, 65)[RATE // 2 : RATE].std()
    assert decibels(left) == pytest.approx(-60, abs=0.1)  # halfway in octaves
