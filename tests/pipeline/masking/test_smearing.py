"""Spectral smearing: the matrix, and what it does to the spectra of sounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import noise, seeded, tone
from msbg_reference import SMEARING_DELAY, late_smear, published_noise

from pipeline.masking import smearing
from pipeline.masking.smearing import (
    Broadening,
    Frames,
    auditory_filters,
    smear,
    smearing_matrix,
)

RATES = (16_000, 44_100)
SEVERE = Broadening(4.0, 2.0)
# Those of pyclarity's own tests.
PUBLISHED = Broadening(0.5, 1.5)


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    expected, actual = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    return 10 * np.log10(np.sum(expected**2) / np.sum((expected - actual) ** 2))


def matrix_at(rate: int, broadening: Broadening) -> np.ndarray:
    return smearing_matrix(broadening, rate, Frames.at(rate).n_bins)


# --- the sums that pyclarity 0.9.0 publishes ---


def test_auditory_filters_have_the_published_sum():
    filters = auditory_filters(PUBLISHED, 44_100, 128)
    assert filters.shape == (128, 128)
    assert filters.sum() == pytest.approx(19.879915844855944, rel=1e-12)


def test_the_matrix_has_the_published_sum():
    matrix = matrix_at(44_100, PUBLISHED)
    assert matrix.shape == (256, 256)
    assert np.abs(matrix).sum() == pytest.approx(2273.976168294156, rel=1e-9)


def test_smeared_noise_has_the_published_sum():
    smeared = late_smear(published_noise(10_000), matrix_at(44_100, PUBLISHED))
    assert smeared.shape == (10_240,)
    assert np.abs(smeared).sum() == pytest.approx(5066.986397433977, rel=1e-9)


def test_ours_is_the_published_one_without_its_delay():
    waveform = np.pad(noise(0.3, 44_100), 1_024)
    matrix = matrix_at(44_100, SEVERE)
    late = late_smear(waveform, matrix)[SMEARING_DELAY:][: len(waveform)]
    ours = smear(waveform, matrix, Frames.at(44_100))
    assert ours.dtype == np.float32
    assert snr_db(late, ours) > 110


def test_bins_with_nothing_but_side_lobes_have_their_phases_too():
    waveform = np.pad(hum(44_100), 1_024)
    matrix = matrix_at(44_100, SEVERE)
    late = late_smear(waveform, matrix)[SMEARING_DELAY:][: len(waveform)]
    # Measured: 141 dB; with transforms in single precision it would be 53.
    assert snr_db(late, smear(waveform, matrix, Frames.at(44_100))) > 120


# --- the frames ---


@pytest.mark.parametrize(("rate", "hop"), [(16_000, 23), (44_100, 64)])
def test_frames_last_as_long_at_every_rate(rate, hop):
    frames = Frames.at(rate)
    assert (frames.hop_length, frames.length, frames.n_fft) == (hop, 4 * hop, 8 * hop)
    assert frames.length / rate == pytest.approx(256 / 44_100, rel=0.01)


@pytest.mark.parametrize("rate", RATES)
def test_squared_windows_add_up_to_one(rate):
    frames = Frames.at(rate)
    quarters = (frames.window**2).reshape(4, frames.hop_length)
    np.testing.assert_allclose(quarters.sum(axis=0), 1, rtol=1e-12)


@seeded
@given(n_samples=st.integers(1, 1_000), rate=st.sampled_from(RATES))
def test_without_smearing_a_signal_comes_out_as_it_was(n_samples, rate):
    waveform = tone(300, n_samples / rate, rate)
    frames = Frames.at(rate)
    smeared = smear(waveform, np.eye(frames.n_bins), frames)
    assert smeared.shape == waveform.shape
    # The bin at the Nyquist frequency, lost, holds side lobes only; most where the tone breaks off.
    np.testing.assert_allclose(smeared, waveform, atol=3e-3)


def test_frames_done_together_and_one_by_one_are_the_same(monkeypatch):
    frames, matrix = Frames.at(16_000), matrix_at(16_000, SEVERE)
    together = smear(noise(0.2), matrix, frames)
    monkeypatch.setattr(smearing, "N_TOGETHER", 1)
    np.testing.assert_allclose(smear(noise(0.2), matrix, frames), together, atol=1e-6)


# --- what smearing does ---


@pytest.mark.parametrize("rate", RATES)
def test_filters_of_normal_width_smear_nothing(rate):
    waveform = tone(1_000, 0.2, rate)
    smeared = smear(waveform, matrix_at(rate, Broadening(1, 1)), Frames.at(rate))
    assert snr_db(waveform[500:-500], smeared[500:-500]) > 60


def hum(rate: int) -> np.ndarray:
    """Half a second of noise from 1.9 to 2.1 kHz, the same at every rate: float32 [shape=(n,)].

    Not a tone: on a bin's centre that has no side lobes, and a bin with nothing in it no phase.
    """
    rng = np.random.default_rng(0)
    time = np.arange(rate // 2) / rate
    partials_hz = np.arange(1_900, 2_101, 8)
    phases = rng.uniform(0, 2 * np.pi, len(partials_hz))
    waves = np.cos(2 * np.pi * partials_hz[:, None] * time + phases[:, None])
    return (0.02 * waves.sum(axis=0)).astype(np.float32)


def side_levels_db(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Energy 300 to 900 Hz below and above 2 kHz, re all."""
    energies = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))) ** 2
    hz_per_bin = rate / len(waveform)
    bands = [
        slice(round(low / hz_per_bin), round((low + 600) / hz_per_bin)) for low in (1_100, 2_300)
    ]
    return np.array([10 * np.log10(energies[band].sum() / energies.sum()) for band in bands])


def spread_db(rate: int, *factors: float) -> np.ndarray:
    return side_levels_db(
        smear(hum(rate), matrix_at(rate, Broadening(*factors)), Frames.at(rate)), rate
    )


@pytest.mark.parametrize("rate", RATES)
def test_more_broadening_spreads_a_sound_further(rate):
    mild, moderate, severe = (
        spread_db(rate, *factors) for factors in ((1.6, 1.1), (2.4, 1.6), (4.0, 2.0))
    )
    assert (side_levels_db(hum(rate), rate) < mild).all()
    assert (mild < moderate).all() and (moderate < severe).all()


@pytest.mark.parametrize("rate", RATES)
def test_filters_that_reach_far_down_spread_a_sound_upwards(rate):
    reaching_down, reaching_up = spread_db(rate, 4.0, 1.0), spread_db(rate, 1.0, 4.0)
    assert reaching_down[1] > reaching_down[0] + 6
    assert reaching_up[0] > reaching_up[1] + 6


def test_noise_keeps_its_level():
    waveform = noise(1.0)
    smeared = smear(waveform, matrix_at(16_000, SEVERE), Frames.at(16_000))
    assert 20 * np.log10(smeared.std() / waveform.std()) == pytest.approx(0, abs=1)


@seeded
@given(n_samples=st.integers(1, 600), exponent=st.integers(-20, 0))
def test_level_changes_nothing_and_silence_stays_silent(n_samples, exponent):
    frames, matrix = Frames.at(16_000), matrix_at(16_000, SEVERE)
    waveform = noise(n_samples / 16_000)
    expected = np.ldexp(smear(waveform, matrix, frames), exponent)
    quieter = smear(np.ldexp(waveform, exponent), matrix, frames)
    assert np.isfinite(quieter).all()
    np.testing.assert_array_equal(quieter, expected)
    assert not smear(np.zeros(n_samples, np.float32), matrix, frames).any()
