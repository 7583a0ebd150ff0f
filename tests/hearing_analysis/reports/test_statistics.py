"""Statistics against independent ones: jiwer, scikit-learn, SciPy, plain bootstraps, simulation."""

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mutual_info_score, silhouette_score

from hearing_analysis.insights.slices import group_excess
from hearing_analysis.insights.transcripts import robust_deviations
from hearing_analysis.latent_space import assign_clusters, best_number, draw_map, silhouettes
from hearing_analysis.metrics import bootstrap_interval, corpus_error_rate, word_errors
from hearing_analysis.reports.statistics import (
    benjamini_hochberg,
    energy_coefficient,
    mutual_information,
    paired_difference,
    proportion_difference,
    quantile_bins,
    ratio_estimate,
    standardized_difference,
)
from pipeline.errors import InputError

WORDS = st.lists(st.sampled_from("a bee sea dee".split()), max_size=6).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_the_rate_of_a_group_is_jiwers_over_all_its_sentences(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = zip(*pairs, strict=True)
    counts = [word_errors(*pair) for pair in pairs]
    edits, lengths = (
        np.array([getattr(c, n) for c in counts]) for n in ("edits", "reference_length")
    )
    if not lengths.sum():
        return
    whole = jiwer.process_words(list(references), list(hypotheses)).wer
    assert corpus_error_rate(edits, lengths) == pytest.approx(whole)
    assert ratio_estimate(edits, lengths).value == pytest.approx(whole)


def corpus(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 15, size=n)
    return random.binomial(lengths, random.beta(2, 4, size=n)), lengths


def plain_bootstrap(edits: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """As a textbook has it, one resample after the other."""
    random = np.random.default_rng(99)
    rates = []
    for _ in range(3000):
        drawn = random.choice(len(edits), len(edits))
        rates.append(edits[drawn].sum() / lengths[drawn].sum())
    return np.quantile(rates, [0.025, 0.975])


@pytest.mark.parametrize("n", [60, 500])
def test_intervals_equal_a_plain_bootstrap(n: int) -> None:
    edits, lengths = corpus(1, n)
    low, high = plain_bootstrap(edits, lengths)
    width = high - low
    for found in (bootstrap_interval(edits, lengths), ratio_estimate(edits, lengths)):
        assert found.low == pytest.approx(low, abs=0.08 * width)
        assert found.high == pytest.approx(high, abs=0.08 * width)
    paired = paired_difference(edits, lengths)  # against an opponent that makes no errors
    assert (paired.low, paired.high) == pytest.approx((low, high), abs=0.08 * width)


def test_the_large_sample_interval_covers_the_truth_as_often_as_it_says() -> None:
    truth = 1 / 3  # of a Beta(2, 4)
    covered = 0
    for seed in range(600):
        found = ratio_estimate(*corpus(seed, 80))
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 600 <= 0.975


def test_the_paired_test_is_calibrated_when_both_are_equally_good() -> None:
    rejected = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        lengths = random.integers(3, 12, size=60)
        hard = random.beta(2, 5, size=60)  # for both alike
        first, second = (random.binomial(lengths, hard) for _ in range(2))
        rejected.append(paired_difference(first - second, lengths, seed=seed).p_value)
    p_values = np.array(rejected)
    # Three standard errors of a share of 300 around 5 % and around a half.
    assert 0.015 <= np.mean(p_values < 0.05) <= 0.088
    assert 0.41 <= np.mean(p_values < 0.5) <= 0.59


def test_the_paired_test_finds_what_pairing_shows() -> None:
    random = np.random.default_rng(3)
    lengths = np.full(40, 10)
    hard = random.integers(0, 8, size=40)
    better = paired_difference((hard + 1) - hard, lengths)
    assert (better.value, better.low, better.high) == (0.1, 0.1, 0.1)
    assert better.p_value == pytest.approx(1 / 2001)
    apart = ratio_estimate(hard + 1, lengths)
    assert apart.low < ratio_estimate(hard, lengths).high  # intervals that overlap say nothing


def test_a_difference_of_nothing_is_certain() -> None:
    same = paired_difference(np.zeros(20, np.int64), np.full(20, 5))
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    nothing = paired_difference(np.zeros(2, np.int64), np.zeros(2, np.int64))
    assert nothing.value is None and nothing.p_value is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=60))
def test_mutual_information_equals_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs).T
    assert mutual_information(first, second) == pytest.approx(
        mutual_info_score(first, second), abs=1e-12
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_equal_scipys(p_values: list[float]) -> None:
    found = benjamini_hochberg(np.array(p_values))
    assert found == pytest.approx(stats.false_discovery_control(p_values), abs=1e-12)


def test_effect_sizes_by_hand() -> None:
    inside, outside = np.array([3.0, 4, 5, 6]), np.array([1.0, 2, 3])
    pooled = np.sqrt((3 * inside.var(ddof=1) + 2 * outside.var(ddof=1)) / 5)
    assert standardized_difference(inside, outside) == pytest.approx(2.5 / pooled * (1 - 3 / 19))
    assert standardized_difference(np.ones(3), np.ones(4)) == 0
    assert proportion_difference(1, 0) == pytest.approx(np.pi)
    assert proportion_difference(0.3, 0.3) == 0


def test_energy_coefficient_is_0_for_the_same_cloud_and_1_for_two_points() -> None:
    random = np.random.default_rng(0)
    cloud = random.normal(size=(200, 3))
    assert energy_coefficient(cloud, cloud) == pytest.approx(0, abs=1e-12)
    assert energy_coefficient(np.zeros((3, 2)), np.ones((4, 2))) == pytest.approx(1)
    one = random.normal(size=(300, 1)), random.normal(1, 1, size=(400, 1))
    distance = stats.energy_distance(one[0][:, 0], one[1][:, 0]) ** 2
    between = np.abs(one[0] - one[1].T).mean()
    assert energy_coefficient(*one) == pytest.approx(distance / (2 * between))


def test_bins_hold_equal_shares_and_missing_values_are_apart() -> None:
    values = np.append(np.arange(100.0), np.nan)
    bins = quantile_bins(values)
    assert np.bincount(bins).tolist() == [10] * 10 + [1]
    assert len(set(quantile_bins(np.ones(5)))) == 1


def test_robust_deviations_of_a_normal_sample_are_standard_ones() -> None:
    values = np.random.default_rng(0).normal(10, 2, size=20_000)
    assert robust_deviations(values) == pytest.approx((values - 10) / 2, abs=0.2)
    assert robust_deviations(np.array([1.0, np.nan, 1.0])).tolist() == [0, 0, 0]


def test_a_group_is_judged_by_clips_and_the_judgement_is_calibrated() -> None:
    """Three copies of a clip are one piece of evidence, not three."""
    p_values = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        residuals = np.repeat(random.normal(size=60), 3)
        clips = np.repeat(np.arange(60), 3)
        inside = np.repeat(random.random(60) < 0.3, 3)
        p_values.append(group_excess(residuals, np.full(180, 8), clips, inside).p_value)
    assert 0.015 <= np.mean(np.array(p_values) < 0.05) <= 0.1


# --- the latent space -----------------------------------------------------------------------------


def clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    middles = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 9]])
    truth = np.repeat([0, 1, 2], [60, 40, 20])
    return (middles[truth] + random.normal(size=(120, 3))).astype(np.float32), truth


def test_clusters_are_found_and_numbered_by_size() -> None:
    latents, truth = clouds()
    assert (assign_clusters(latents, 3) == truth).all()
    assert (draw_map(latents, "pca", n_clusters=None).clusters == truth).all()
    assert len(np.unique(draw_map(latents, "pca").clusters)) == 5


def test_silhouettes_equal_scikit_learns_and_choose_the_number() -> None:
    latents, truth = clouds()
    found = silhouettes(latents)
    assert sorted(found) == list(range(2, 11))
    assert best_number(found) == 3
    assert found[3] == pytest.approx(silhouette_score(latents, truth))


def test_a_map_by_principal_components_keeps_distances() -> None:
    latents, _ = clouds()
    flat = np.pad(latents[:, :2], ((0, 0), (0, 3)))
    found = draw_map(flat, "pca").coordinates
    for a, b in ((0, 80), (5, 119)):
        assert np.linalg.norm(found[a] - found[b]) == pytest.approx(
            np.linalg.norm(flat[a] - flat[b]), rel=1e-4
        )


def test_umap_without_its_package_is_told() -> None:
    try:
        import umap  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="umap-learn"):
            draw_map(clouds()[0], "umap")
    else:
        assert draw_map(clouds()[0], "umap").coordinates.shape == (120, 2)


def test_few_samples_have_a_map_too() -> None:
    for n in range(4):
        assert draw_map(np.ones((n, 4), np.float32)).coordinates.shape == (n, 2)
