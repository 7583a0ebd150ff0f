import numpy as np
import pytest
from fixtures import make_corpora
from hypothesis import given
from hypothesis import strategies as st

from hearing_analysis.config import AnalysisConfig
from hearing_analysis.samples import SampleSet, open_samples
from hearing_analysis.simulation import FAMILIES, SIDES, HearingLoss, simulate
from pipeline.errors import InputError
from pipeline.masking.profiles import OCTAVES_HZ, get_profile

NORMAL = get_profile("normal")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> SampleSet:
    root = tmp_path_factory.mktemp("corpora") / "tiny"
    make_corpora(root)
    return open_samples(AnalysisConfig(data_root=str(root)), "train")


@pytest.mark.parametrize(
    ("loss", "thresholds"),
    [
        (("flat", 40, 20, "low"), (40, 40, 40, 40, 40, 40, 40)),
        (("sloping", 80, 20, "high"), (10, 10, 10, 20, 40, 60, 80)),
        (("sloping", 80, 20, "low"), (80, 60, 40, 20, 10, 10, 10)),
        (("notch", 60, 25, "high"), (10, 10, 10, 10, 35, 60, 35)),
        (("notch", 60, 25, "low"), (10, 35, 60, 35, 10, 10, 10)),
    ],
)
def test_four_numbers_make_an_audiogram(loss, thresholds):
    assert HearingLoss(*loss).profile(NORMAL).thresholds_db_hl == thresholds


@given(
    family=st.sampled_from(FAMILIES),
    degree=st.floats(0, 100),
    slope=st.floats(0, 40),
    side=st.sampled_from(SIDES),
)
def test_no_simulation_hears_better_than_the_reference(family, degree, slope, side):
    profile = HearingLoss(family, degree, slope, side).profile(NORMAL)
    assert len(profile.thresholds_db_hl) == len(OCTAVES_HZ)
    assert all(10 <= threshold <= max(10, degree) for threshold in profile.thresholds_db_hl)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (("steep", 40, 0, "low"), "family 'steep' is not one of: flat, sloping, notch"),
        (("flat", 40, 0, "left"), "side 'left' is not one of: low, high"),
        (("flat", 101, 0, "low"), "degree_db must lie between 0 and 100, got 101"),
        (("flat", 40, -1, "low"), "slope_db_per_octave must lie between 0 and 40, got -1"),
    ],
)
def test_what_cannot_be_simulated_is_refused(loss, message):
    with pytest.raises(InputError, match=message):
        HearingLoss(*loss)


def test_a_flat_loss_takes_its_decibels_beyond_what_the_reference_took(base):
    simulated = simulate(base, HearingLoss("flat", 40.0, 0.0, "low"), 4, seed=0)
    for sample_id in simulated.ids:
        before, after = simulated.reference_waveform(sample_id), simulated.waveform(sample_id)
        np.testing.assert_allclose(after, before * 10 ** (-30 / 20), atol=1e-6)


def test_the_seed_decides_and_repeats(base):
    loss = HearingLoss("sloping", 60.0, 10.0, "high")
    assert simulate(base, loss, 3, 1).ids == simulate(base, loss, 3, 1).ids
    assert len({simulate(base, loss, 3, seed).clip_places for seed in range(8)}) > 1


def test_clips_repeat_only_when_there_are_fewer(base):
    loss = HearingLoss("sloping", 60.0, 10.0, "high")
    ids = simulate(base, loss, 9, 0).ids
    assert len(set(ids)) == 9
    assert sorted(simulate(base, loss, 4, 0).clip_places) == [0, 1, 2, 3]


def test_samples_answer_to_their_ids_and_to_their_place(base):
    # code-loader's own check asks for sample 0.
    simulated = simulate(base, HearingLoss("sloping", 60.0, 10.0, "high"), 2, 0)
    np.testing.assert_array_equal(simulated.waveform(0), simulated.waveform(simulated.ids[0]))
    assert simulated.sentence("1") == simulated.sentence(simulated.ids[1])
    assert simulated.profile(0).name == simulated.columns(0)["profile"] == "simulated-sloping-high"
    with pytest.raises(InputError, match="no simulated sample 'x'"):
        simulated.waveform("x")
