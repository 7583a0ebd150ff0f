"""Margins and alignments, against what stopes and LASER answered, and against LASER's formula."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded

from pipeline.mining.margin import (
    BACKWARD,
    BOTH,
    FORWARD,
    MARGINS,
    MINE_TYPES,
    MarginRule,
    align,
    margins,
)
from pipeline.neighbours import BothWays, Neighbours, nearest_both, unit_rows

# Made with stopes 2.2.1 (its own modules, from embeddings to alignments) and LASER's
# mine_bitexts.py at commit 74bc6ae, with faiss 1.15.1, on seeded toy embeddings: four sets of rows,
# and for each case the pairs, their scores and the threshold.
GOLDEN = Path(__file__).parents[2] / "golden" / "mining_margins.npz"
with np.load(GOLDEN) as _file:
    ORACLE = dict(_file)
CASES = [(index, str(name)) for index, name in enumerate(ORACLE["names"])]
SCORE_TOLERANCE = 2e-5


def twice(neighbours: Neighbours) -> Neighbours:
    """Twice the cosine, as stopes has it."""
    return Neighbours(2 * neighbours.similarities, neighbours.indices)


def embedded(name: str) -> tuple[np.ndarray, np.ndarray]:
    return unit_rows(ORACLE[f"{name}/src"]), unit_rows(ORACLE[f"{name}/tgt"])


def expected(index: int) -> dict[tuple[int, int], float]:
    rows = slice(ORACLE["ends"][index], ORACLE["ends"][index + 1])
    pairs = zip(ORACLE["source"][rows].tolist(), ORACLE["target"][rows].tolist(), strict=True)
    return dict(zip(pairs, ORACLE["scores"][rows].tolist(), strict=True))


def answer(index: int, name: str) -> dict[tuple[int, int], float]:
    """What ours says to the question of a case."""
    rows, k, program, margin, how, *rest = name.split("/")
    threshold = float(ORACLE["thresholds"][index])
    found = nearest_both(*embedded(rows), int(k[1:]))
    if program == "stopes":
        found = BothWays(*map(twice, found))
        by_margin = rest[0].endswith("sorted")
        rule = MarginRule(margin, how, threshold, None, int(rest[0][7]), by_margin)
    else:
        kind = {"max": "one_to_one", "intersect": "intersection"}[how]
        lowest = -np.inf if np.isnan(threshold) else threshold
        rule = MarginRule(margin, kind, lowest, None, 1, True)
    pairs = align(found, rule)
    assert (np.diff(pairs.scores) <= 0).all()
    return dict(
        zip(
            zip(pairs.source.tolist(), pairs.target.tolist(), strict=True),
            pairs.scores.tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("rows", ["main", "tiny", "neardup"])
def test_alignments_are_those_of_stopes_and_laser(rows):
    cases = [case for case in CASES if case[1].startswith(f"{rows}/")]
    assert len(cases) == 66

    for index, name in cases:
        ours, theirs = answer(index, name), expected(index)
        assert ours.keys() == theirs.keys(), name
        worst = max((abs(ours[pair] - theirs[pair]) for pair in ours), default=0)
        assert worst <= SCORE_TOLERANCE, name


def test_rows_that_are_equal_are_interchangeable():
    classes = [
        np.unique(ORACLE[f"dups/{side}"], axis=0, return_inverse=True)[1].ravel()
        for side in ("src", "tgt")
    ]

    def as_classes(pairs):
        named = ((int(classes[0][i]), int(classes[1][j]), s) for (i, j), s in pairs.items())
        return sorted(named)

    cases = [case for case in CASES if case[1].startswith("dups/") and "stopes" in case[1]]
    assert len(cases) == 54
    for index, name in cases:
        ours, theirs = as_classes(answer(index, name)), as_classes(expected(index))
        scores = [sorted(pair[2] for pair in side) for side in (ours, theirs)]
        if "union" in name:  # which of equal pairs both sides chose decides how often it is there
            assert {pair[:2] for pair in ours} == {pair[:2] for pair in theirs}, name
            continue
        np.testing.assert_allclose(*scores, atol=SCORE_TOLERANCE, err_msg=name)


def test_the_numbers_of_stopes_own_end_to_end_test():
    """Number n is the bits of n + 1: 1000 pairs, all right, and 55 of them score over 1.25."""
    bits = (np.arange(1, 1001)[:, None] >> np.arange(10)[::-1]) & 1
    rows = unit_rows(np.pad(bits.astype(np.float32), ((0, 0), (0, 1014))))
    found = BothWays(*map(twice, nearest_both(rows, rows, 16)))

    pairs = align(found, MarginRule(threshold=1.04))
    assert len(pairs) == 1000
    np.testing.assert_array_equal(pairs.source, pairs.target)
    assert (pairs.direction == BOTH).all()
    theirs = ORACLE["digits/scores"][np.argsort(ORACLE["digits/src_idx"])]
    ours = pairs.scores[np.argsort(pairs.source)]
    # Theirs kept distances in half precision.
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert (pairs.scores > 1.25).sum() == 55
    assert len(align(found, MarginRule(threshold=1.04, score_max=1.25))) == 945


def laser(x: np.ndarray, y: np.ndarray, k: int, margin: str) -> dict[tuple[int, int], float]:
    """Score all pairs of neighbours by the formula of Artetxe and Schwenk (2019), in two loops."""
    cosines = x.astype(np.float64) @ y.T.astype(np.float64)
    usual_x = np.sort(cosines, axis=1)[:, ::-1][:, :k].mean(1)
    usual_y = np.sort(cosines, axis=0)[::-1][:k].mean(0)
    scores = {}
    for i in range(len(x)):
        for j in range(len(y)):
            usual = (usual_x[i] + usual_y[j]) / 2
            a = cosines[i, j]
            scores[i, j] = {"ratio": a / usual, "distance": a - usual, "absolute": a}[margin]
    return scores


@st.composite
def rows_of_one_half_space(draw):
    """Two sides whose cosines are positive, as ratios need it, and of which none are equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    n_dims = draw(st.integers(3, 12))
    return tuple(unit_rows(rng.uniform(0.05, 1, (n, n_dims)).astype(np.float32)) for n in sizes)


@seeded
@given(rows_of_one_half_space(), st.integers(1, 30), st.sampled_from(MARGINS))
def test_every_margin_is_that_of_the_formula(sides, k, margin):
    found = nearest_both(*sides, k)
    reference = laser(*sides, k, margin)

    scores = margins(found.forward, found.backward, margin)
    for i, row in enumerate(found.forward.indices):
        for place, j in enumerate(row):
            assert scores[i, place] == pytest.approx(reference[i, int(j)], abs=SCORE_TOLERANCE)


@seeded
@given(rows_of_one_half_space(), st.integers(1, 8), st.sampled_from(MARGINS), st.booleans())
def test_mine_types_are_about_who_chose(sides, k, margin, by_margin):
    found = nearest_both(*sides, k)
    mined = {
        kind: align(found, MarginRule(margin, kind, -np.inf, None, 1, by_margin))
        for kind in MINE_TYPES
    }
    pairs = {
        kind: set(zip(one.source.tolist(), one.target.tolist(), strict=True))
        for kind, one in mined.items()
    }

    assert len(pairs["forward"]) == len(sides[0])
    assert len(pairs["backward"]) == len(sides[1])
    assert pairs["union"] == pairs["forward"] | pairs["backward"]
    assert pairs["intersection"] == pairs["forward"] & pairs["backward"]
    assert len(pairs["union"]) == len(mined["union"])
    one = mined["one_to_one"]
    assert len(set(one.source.tolist())) == len(set(one.target.tolist())) == len(one)
    assert pairs["one_to_one"] <= pairs["union"]
    chosen = dict(
        zip(
            zip(mined["union"].source.tolist(), mined["union"].target.tolist(), strict=True),
            mined["union"].direction.tolist(),
            strict=True,
        )
    )
    for pair, direction in chosen.items():
        assert direction == FORWARD * (pair in pairs["forward"]) + BACKWARD * (
            pair in pairs["backward"]
        )


def test_the_threshold_lets_equals_through():
    rows = np.eye(3, dtype=np.float32)
    found = nearest_both(rows, rows, 1)

    assert len(align(found, MarginRule(threshold=1.0))) == 3
    assert len(align(found, MarginRule(threshold=np.nextafter(np.float32(1), np.float32(2))))) == 0


def test_what_an_index_missed_is_no_neighbour():
    forward = Neighbours(
        np.array([[1.0, 0.5], [1.0, -np.inf]], np.float32), np.array([[0, 1], [1, -1]])
    )
    backward = Neighbours(np.array([[1.0], [1.0]], np.float32), np.array([[0], [1]]))

    scores = margins(forward, backward, "ratio")
    assert scores[1, 0] == pytest.approx(1.0)  # usual: (1.0 + 1.0) / 2, not half of it
    assert scores[0, 0] == pytest.approx(1.0 / ((0.75 + 1.0) / 2))
    assert np.isneginf(scores[1, 1])
    assert len(align(BothWays(forward, backward), MarginRule(threshold=0.0, k_extract=2))) == 3


def test_a_neighbourhood_that_points_away_makes_no_ratio():
    found = Neighbours(np.array([[-0.2]], np.float32), np.array([[0]]))

    assert np.isneginf(margins(found, found, "ratio")[0, 0])
    assert margins(found, found, "distance")[0, 0] == pytest.approx(0)
