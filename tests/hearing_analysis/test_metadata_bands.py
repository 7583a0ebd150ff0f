"""Third-octave bands: levels of known signals, and audibility where it can be told by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearing_analysis.metadata import audio_metadata
from hearing_analysis.metadata.bands import (
    CENTRES_HZ,
    FLOOR_DBFS,
    IMPORTANCE,
    INTERNAL_NOISE_DB,
    long_term_levels_dbfs,
)
from pipeline.masking.mask import StftSettings, apply_mask, gains
from pipeline.masking.profiles import OCTAVES_HZ, HearingProfile, get_profile

RATE = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    waveform = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (0.1 * waveform).astype(np.float32)


def flat(threshold: float) -> HearingProfile:
    return HearingProfile("flat", OCTAVES_HZ, (threshold,) * 7)


def masked(waveform: np.ndarray, profile: HearingProfile) -> np.ndarray:
    return apply_mask(waveform, gains((profile,), StftSettings(RATE)), StftSettings(RATE))[0]


def test_the_table_is_that_of_the_standard():
    assert len(CENTRES_HZ) == len(IMPORTANCE) == len(INTERNAL_NOISE_DB) == 18
    assert sum(IMPORTANCE) == pytest.approx(1, abs=5e-4)


def test_a_tone_has_its_level_in_its_band():
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
    levels = long_term_levels_dbfs(tone.astype(np.float32), RATE, 2048)
    assert levels.argmax() == CENTRES_HZ.index(1000.0)
    assert levels.max() == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)


def test_silence_has_the_floor_s_level():
    levels = long_term_levels_dbfs(np.zeros(100, np.float32), RATE, 2048)
    np.testing.assert_array_equal(levels, np.float32(FLOOR_DBFS))


def test_the_tilt_of_white_noise_is_flat_and_of_a_slope_is_the_slope():
    white = audio_metadata(noise(5), RATE)["spectral_tilt_db_per_octave"]
    sloped = HearingProfile("s", OCTAVES_HZ, tuple(6.0 * octave for octave in range(7)))
    tilted = audio_metadata(masked(noise(5), sloped), RATE)["spectral_tilt_db_per_octave"]
    assert white == pytest.approx(0, abs=0.3)
    assert tilted == pytest.approx(-6, abs=0.4)


def test_without_a_mask_there_is_no_audibility():
    assert audio_metadata(noise(1), RATE)["audibility"] is None


def test_silence_has_neither_tilt_nor_audibility():
    columns = audio_metadata(np.zeros(1600, np.float32), RATE, flat(0.0))
    assert columns["spectral_tilt_db_per_octave"] is None
    assert columns["audibility"] is None


@pytest.mark.parametrize(("loss_db", "share"), [(0, 1.0), (20, 1.0), (100, 0.0)])
def test_audibility_of_noise_at_65_db_spl(loss_db, share):
    # Its spectrum level, 65 - 10 log10(8000) = 26 dB SPL, lies 25 dB or more above the internal
    # noise of every band, and nowhere 70 dB.
    profile = flat(float(loss_db))
    columns = audio_metadata(masked(noise(2), profile), RATE, profile)
    assert columns["audibility"] == pytest.approx(share, abs=0.01)


def test_audibility_falls_with_the_loss_and_knows_what_matters_for_speech():
    def audibility(name: str) -> float:
        profile = get_profile(name)
        found = audio_metadata(masked(noise(2), profile), RATE, profile)["audibility"]
        assert found is not None
        return found

    by_degree = [audibility(name) for name in ("normal", "N2", "N3", "N4", "N6")]
    assert by_degree == sorted(by_degree, reverse=True)
    assert audibility("hfloss") < audibility("lfloss")  # consonants weigh more


@settings(max_examples=20, deadline=None)
@given(gain_db=st.floats(-60, 0), loss_db=st.floats(0, 100))
def test_audibility_does_not_depend_on_the_level_of_the_recording(gain_db, loss_db):
    profile = flat(loss_db)
    heard = masked(noise(0.5), profile)
    quiet = (heard * 10 ** (gain_db / 20)).astype(np.float32)
    whole, less = (audio_metadata(w, RATE, profile)["audibility"] for w in (heard, quiet))
    assert 0 <= whole <= 1
    assert less == pytest.approx(whole, abs=0.05)
