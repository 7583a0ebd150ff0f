"""Judgements: precision, recall and F1 against known pairs, and xsim against its definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded

from pipeline.errors import InputError, MissingPathError
from pipeline.mining.evaluate import Gold, best_threshold, judge, judge_groups, read_gold, xsim
from pipeline.mining.margin import Alignment
from pipeline.neighbours import nearest_both, unit_rows


def alignment(*pairs: tuple[float, int, int]) -> Alignment:
    scores, source, target = zip(*pairs, strict=True) if pairs else ((), (), ())
    return Alignment(
        np.array(scores, np.float32),
        np.array(source, np.int64),
        np.array(target, np.int64),
        np.ones(len(pairs), np.uint8),
    )


def gold(*pairs: tuple[int, int], groups: tuple[str, ...] = ()) -> Gold:
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return Gold(rows[:, 0], rows[:, 1], np.array(groups or [""] * len(pairs)))


def test_precision_and_recall_are_shares():
    found = alignment((1.3, 0, 0), (1.2, 1, 2), (1.1, 2, 2))
    judged = judge(found, gold((0, 0), (1, 1), (2, 2), (3, 3)))

    assert (judged.pairs, judged.right, judged.gold) == (3, 2, 4)
    assert (judged.precision, judged.recall) == (pytest.approx(2 / 3), 0.5)
    assert judged.f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_nothing_found_is_no_precision_and_no_error():
    judged = judge(alignment(), gold((0, 0)))

    assert math.isnan(judged.precision)
    assert (judged.recall, judged.f1) == (0, 0)
    assert judged.as_json()["precision"] is None
    assert best_threshold(alignment(), gold((0, 0)))[1].pairs == 0


def test_groups_are_judged_by_their_sources():
    found = alignment((1.3, 0, 0), (1.2, 1, 0), (1.1, 2, 2))
    judged = judge_groups(found, gold((0, 0), (1, 1), (2, 2), groups=("a", "a", "b")))

    assert {name: one.f1 for name, one in judged.items()} == {
        "all": pytest.approx(2 / 3),
        "a": 0.5,
        "b": 1.0,
    }


def test_the_best_threshold_is_that_of_the_highest_f1():
    found = alignment((1.3, 0, 0), (1.2, 1, 1), (1.1, 2, 0), (1.0, 2, 1))
    threshold, judged = best_threshold(found, gold((0, 0), (1, 1), (2, 2)))

    assert threshold == pytest.approx(1.2)
    assert (judged.pairs, judged.right) == (2, 2)


def test_gold_is_read_with_and_without_groups(tmp_path):
    path = tmp_path / "gold.tsv"
    path.write_text("0\t3\tmatrix\n7\t1\n")
    found = read_gold(path)

    assert (found.source.tolist(), found.target.tolist()) == ([0, 7], [3, 1])
    assert found.groups.tolist() == ["matrix", ""]
    path.write_text("0\t3\nsource\ttarget\n")
    with pytest.raises(InputError, match="gold.tsv, line 2: 'source"):
        read_gold(path)
    path.write_text("")
    assert len(read_gold(path).source) == 0
    with pytest.raises(MissingPathError):
        read_gold(tmp_path / "none.tsv")


@seeded
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(1, 30))
def test_xsim_is_the_share_that_is_not_found(seed, n, k):
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.05, 1, (n, 6))
    a, b = (unit_rows(base + 0.3 * rng.uniform(0, 1, (n, 6))) for _ in range(2))
    cosines = a.astype(np.float64) @ b.T.astype(np.float64)
    usual = (
        np.sort(cosines, axis=1)[:, ::-1][:, :k].mean(1)[:, None]
        + np.sort(cosines, axis=0)[::-1][:k].mean(0)[None]
    ) / 2
    # Only neighbours are candidates, as in LASER's xsim.
    near = np.argsort(-cosines, axis=1)[:, :k]
    best = [int(row[np.argmax((cosines / usual)[i, row])]) for i, row in enumerate(near)]

    found = nearest_both(a, b, k)
    assert xsim(found)["forward"] == pytest.approx(np.mean(np.array(best) != np.arange(n)))
    nearest = cosines.argmax(1)
    assert xsim(found, "absolute")["forward"] == np.mean(nearest != np.arange(n))
