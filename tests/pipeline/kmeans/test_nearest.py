"""Labels: the formula's, whatever decides them; the kernel against float64; lines of labels."""

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded

from pipeline.kmeans import kernel as kernels
from pipeline.kmeans import nearest as labelling
from pipeline.kmeans.kernel import Kernel, kernel_for
from pipeline.kmeans.label import Words
from pipeline.kmeans.machine_code import Shape
from pipeline.kmeans.nearest import Bounds, Formula, Nearest
from pipeline.kmeans.shards import FeatureShard

REGISTERS = kernels._registers()
#: Sizes of registers that this processor has.
SIZES = [] if REGISTERS is None else [(8, 2), *([REGISTERS] * (REGISTERS != (8, 2)))]
needs_kernel = pytest.mark.skipif(not SIZES, reason="this processor has no kernel")
KINDS = ("far", "grid", "same", "between", "offset")


def fairseq(frames: np.ndarray, centroids: np.ndarray, lengths: list[int]) -> np.ndarray:
    """dump_km_label.py, a clip at a time."""
    table = centroids.transpose()
    norms = (table**2).sum(0, keepdims=True)
    ends = np.cumsum(lengths)
    return np.concatenate(
        [
            np.argmin((x**2).sum(1, keepdims=True) - 2 * np.matmul(x, table) + norms, axis=1)
            for x in (frames[end - n : end] for end, n in zip(ends, lengths, strict=True))
        ]
    )


def drawn(kind: str, n_frames: int, n_clusters: int, n_dims: int, scale: float, seed: int):
    """Frames and centroids: far apart, or such that many frames have several nearest."""
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((n_clusters, n_dims))
    frames = rng.standard_normal((n_frames, n_dims))
    if kind == "grid":
        frames, centroids = np.rint(frames), np.rint(centroids)
    elif kind == "same":
        centroids = centroids[rng.integers(max(1, n_clusters // 2), size=n_clusters)]
        frames = centroids[rng.integers(n_clusters, size=n_frames)]
    elif kind == "between":
        pairs = centroids[rng.integers(n_clusters, size=(n_frames, 2))]
        frames = pairs.mean(axis=1) + 1e-7 * frames
    elif kind == "offset":
        frames, centroids = frames + 300, centroids + 300
    return (frames * scale).astype(np.float32), (centroids * scale).astype(np.float32)


def clips_of(n_frames: int, rng: np.random.Generator) -> list[int]:
    cuts = np.sort(rng.integers(0, n_frames + 1, size=rng.integers(0, 6)))
    return np.diff([0, *cuts, n_frames]).tolist()


@pytest.fixture(params=[*SIZES, None], ids=str)
def registers(request, monkeypatch):
    """Every kind of register in turn, and none."""
    monkeypatch.setattr(kernels, "_registers", lambda: request.param)
    return request.param


@seeded
@given(
    st.sampled_from(KINDS),
    st.integers(0, 300),
    st.integers(1, 150),
    st.integers(1, 800),
    st.sampled_from([1e-30, 1e-21, 1e-19, 1e-3, 1.0, 30.0, 1e15, 1e17, 1e18]),
    st.integers(0, 99),
    st.sampled_from([*SIZES, None]),
)
def test_labels_are_the_formulas(kind, n_frames, n_clusters, n_dims, scale, seed, registers):
    frames, centroids = drawn(kind, n_frames, n_clusters, n_dims, scale, seed)
    lengths = clips_of(n_frames, np.random.default_rng(seed))
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore"):
        patch.setattr(kernels, "_registers", lambda: registers)
        nearest = Nearest(centroids)
        # Squares beyond float32 are refused, by the formula.
        if np.isfinite((frames**2).sum(axis=1)).all():
            with np.errstate(invalid="ignore"):
                expected = fairseq(frames, centroids, lengths)
            for _ in range(2):
                labels = nearest(frames, np.array(lengths))
                np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(("n_dims", "n_clusters"), [(39, 100), (96, 37), (768, 50)])
def test_ties_are_decided_where_the_frame_is(registers, monkeypatch, n_dims, n_clusters):
    """Linear algebra may add up in another order for another place in a clip."""
    monkeypatch.setattr(labelling, "MOST_REDONE", 2)
    frames, centroids = drawn("between", 3000, n_clusters, n_dims, 1.0, 0)
    lengths = [700, 1, 0, 11, 588, 700, 1000]
    expected = fairseq(frames, centroids, lengths)
    np.testing.assert_array_equal(Nearest(centroids)(frames, np.array(lengths)), expected)


@needs_kernel
@seeded
@given(st.integers(1, 200), st.integers(1, 80), st.sampled_from([1, 7, 40, 300]), st.integers(0, 9))
def test_what_is_settled_does_not_depend_on_the_order(n_frames, n_clusters, n_dims, seed):
    kind = KINDS[seed % len(KINDS)]
    frames, centroids = drawn(kind, n_frames, n_clusters, n_dims, 3.0, seed)
    formula = Formula(centroids)
    bounds = Bounds(centroids, formula.norms)
    found = kernel_for(centroids, formula.norms)(frames)
    settled = bounds.settle(found)
    labels, settled_in_double = bounds.settle_in_double(frames)
    np.testing.assert_array_equal(found.labels[settled], labels[settled])
    rng = np.random.default_rng(seed)
    for _ in range(4):
        order = rng.permutation(n_dims)
        others = fairseq(frames[:, order], centroids[:, order], [n_frames])
        np.testing.assert_array_equal(others[settled], labels[settled])
        np.testing.assert_array_equal(others[settled_in_double], labels[settled_in_double])


@needs_kernel
def test_frames_that_are_far_from_ties_are_settled():
    frames, centroids = drawn("far", 4000, 60, 40, 1.0, 0)
    formula = Formula(centroids)
    bounds = Bounds(centroids, formula.norms)
    found = kernel_for(centroids, formula.norms)(frames)
    assert bounds.settle(found).mean() > 0.99
    assert bounds.settle_in_double(frames)[1].mean() > 0.999


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e19])
def test_what_has_no_distance_is_refused(registers, value):
    frames, centroids = drawn("far", 50, 20, 40, 1.0, 0)
    frames[33, 39] = value
    with pytest.raises(FloatingPointError, match="features that are NaN"):
        Nearest(centroids)(frames, np.array([20, 30]))


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_other_precisions_and_orders_are_the_formulas(registers, kind):
    frames, centroids = drawn("far", 90, 20, 40, 1.0, 0)
    expected = fairseq(frames.astype(kind), centroids.astype(np.float64), [90])
    nearest = Nearest(centroids.astype(np.float64))
    np.testing.assert_array_equal(nearest(frames.astype(kind)), expected)
    fortran = Nearest(centroids)(np.asfortranarray(frames))
    np.testing.assert_array_equal(fortran, fairseq(frames, centroids, [90]))


@needs_kernel
def test_it_is_left_to_the_formula_where_most_are_ties(monkeypatch):
    frames, centroids = drawn("same", 300, 40, 16, 1.0, 0)
    monkeypatch.setattr(labelling, "FEW_FRAMES", 500)
    nearest = Nearest(centroids)
    calls = []
    kernel = nearest._kernel
    monkeypatch.setattr(nearest, "_kernel", lambda x: calls.append(len(x)) or kernel(x))
    for _ in range(3):
        np.testing.assert_array_equal(nearest(frames), fairseq(frames, centroids, [300]))
    assert calls == [300]


def test_long_clips_are_cut(monkeypatch, registers):
    monkeypatch.setattr(labelling, "TABLE_NUMBERS", 2000)
    frames, centroids = drawn("between", 450, 20, 5, 1.0, 0)
    labels = Nearest(centroids)(frames, np.array([50, 0, 250, 150]))
    np.testing.assert_array_equal(labels, fairseq(frames, centroids, [50, 100, 100, 50, 100, 50]))


def test_labels_need_no_compiler(monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    kernels._registers.cache_clear()
    try:
        frames, centroids = drawn("far", 200, 30, 40, 1.0, 0)
        assert kernel_for(centroids, Formula(centroids).norms) is None
        np.testing.assert_array_equal(Nearest(centroids)(frames), fairseq(frames, centroids, [200]))
    finally:
        kernels._registers.cache_clear()


# --- kernel ---------------------------------------------------------------------------------------


@needs_kernel
@seeded
@given(st.integers(0, 50), st.integers(1, 150), st.integers(1, 70), st.integers(0, 99))
def test_the_kernel_finds_the_two_lowest_scores(n_frames, n_clusters, n_dims, seed):
    frames, centroids = drawn("far", n_frames, n_clusters, n_dims, 1.0, seed)
    norms = Formula(centroids).norms
    scores = norms - 2 * frames.astype(float) @ centroids.T.astype(float)
    scores = np.pad(scores, ((0, 0), (0, 1)), constant_values=np.inf)
    lowest, second = np.sort(scores, axis=1)[:, :2].T
    for lanes, panel in SIZES:
        kernel = Kernel(centroids, norms, Shape(n_dims, n_clusters, lanes, panel))
        found = kernel(frames)
        np.testing.assert_allclose(found.scores, lowest, atol=1e-4)
        np.testing.assert_allclose(found.runners_up, second, atol=1e-4)
        np.testing.assert_allclose(found.squares, (frames.astype(float) ** 2).sum(1), rtol=1e-5)
        chosen = np.take_along_axis(scores, found.labels[:, None].astype(int), axis=1)[:, 0]
        np.testing.assert_allclose(chosen, lowest, atol=1e-4)


@needs_kernel
def test_the_kernel_takes_the_first_of_equals():
    for lanes, panel in SIZES:
        centroids = np.zeros((3 * lanes * panel, 5), np.float32)
        centroids[: lanes + 3] = 9
        kernel = Kernel(centroids, Formula(centroids).norms, Shape(5, len(centroids), lanes, panel))
        found = kernel(np.zeros((13, 5), np.float32))
        assert set(found.labels.tolist()) == {lanes + 3}
        assert not found.scores.any()
        assert not found.runners_up.any()


@needs_kernel
def test_scores_are_the_same_numbers_on_all_processors():
    frames, centroids = drawn("offset", 5000, 77, 50, 1.0, 0)
    norms = Formula(centroids).norms
    found = [Kernel(centroids, norms, Shape(50, 77, *size))(frames) for size in [*SIZES, (4, 3)]]
    for name in ("labels", "scores", "runners_up"):
        first, *others = (getattr(one, name).tobytes() for one in found)
        assert all(other == first for other in others), name


# --- files ----------------------------------------------------------------------------------------


@seeded
@given(
    st.lists(st.lists(st.integers(0, 120), max_size=9), max_size=9), st.sampled_from([121, 1000])
)
def test_lines_are_labels_between_spaces(clips, n_clusters):
    labels = np.array([*itertools.chain(*clips)], np.int64)
    lengths = np.array([len(clip) for clip in clips], np.int64)
    expected = "".join(" ".join(map(str, clip)) + "\n" for clip in clips)
    assert Words(n_clusters).lines(labels, lengths) == expected.encode()


@seeded
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 15))
def test_groups_are_all_clips_in_their_order(lengths, size):
    frames = np.arange(sum(lengths), dtype=np.float32)[:, None]
    groups = list(FeatureShard(None, frames, np.array(lengths, np.int64)).groups(size))
    assert [*itertools.chain(*(found for _, found in groups))] == lengths
    assert [*itertools.chain(*(part[:, 0] for part, _ in groups))] == frames[:, 0].tolist()
    assert all(len(part) == found.sum() for part, found in groups)
    assert all(len(part) <= size or len(found) == 1 for part, found in groups)
