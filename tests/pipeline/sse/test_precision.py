"""MAP of embeddings, held against its definition and against pytorch-metric-learning."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded

from pipeline.errors import InputError
from pipeline.sse.precision import precision, ranks, retrieval

# Made with pytorch-metric-learning 2.9.0: AccuracyCalculator(k="max_bin_count") with a CustomKNN of
# CosineSimilarity, and get_accuracy(x, y, x, y, ref_includes_query=True).
GOLDEN = np.load(Path(__file__).parent / "golden" / "map_at_r.npz")


def brute_force(embeddings, labels, speakers=None, queries=None):
    """MAP@R, average precision and P@1 of every query, word by word as they are defined."""
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    base, asked = unit(embeddings), unit(embeddings if queries is None else queries)
    rows = []
    for query in range(len(base)):
        others = [
            i
            for i in range(len(base))
            if i != query and (speakers is None or speakers[i] != speakers[query])
        ]
        cosine = {i: float(asked[query] @ base[i]) for i in others}
        relevant = {i for i in others if labels[i] == labels[query] >= 0}
        if not relevant:
            rows.append((np.nan,) * 3)
            continue
        ranked = sorted(others, key=lambda i: (-cosine[i], i in relevant))
        hits = [i in relevant for i in ranked]
        precisions = [sum(hits[: k + 1]) / (k + 1) for k in range(len(hits))]
        n = len(relevant)
        at_r = sum(p for p, hit in zip(precisions[:n], hits[:n], strict=True) if hit) / n
        average = sum(p for p, hit in zip(precisions, hits, strict=True) if hit) / n
        rows.append((at_r, average, float(hits[0])))
    return np.array(rows).T


@st.composite
def labelled(draw):
    n, n_labels = draw(st.integers(2, 40)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    embeddings = rng.standard_normal((n, draw(st.integers(2, 6))))
    return embeddings, rng.integers(-1, n_labels, n), rng.integers(0, 3, n), rng


@seeded
@given(labelled())
def test_it_is_what_the_definition_says(case):
    embeddings, labels, speakers, rng = case
    queries = rng.standard_normal(embeddings.shape)
    for own, asked in ((None, None), (speakers, None), (None, queries), (speakers, queries)):
        found = precision(embeddings, labels, own, queries=asked)
        columns = (found.map_at_r, found.average_precision, found.precision_at_1)
        np.testing.assert_allclose(columns, brute_force(embeddings, labels, own, asked), atol=1e-9)


@pytest.mark.parametrize("case", range(3))
def test_it_is_that_of_pytorch_metric_learning(case):
    found = precision(GOLDEN[f"embeddings_{case}"], GOLDEN[f"labels_{case}"]).mean()
    assert found.map_at_r == pytest.approx(float(GOLDEN[f"map_at_r_{case}"]), abs=1e-6)
    assert found.precision_at_1 == pytest.approx(float(GOLDEN[f"precision_at_1_{case}"]), abs=1e-6)


@seeded
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30))
def test_what_is_equally_near_counts_against_the_query(items):
    similarities = np.array([value for value, _ in items], np.float32)
    relevant = np.flatnonzero([is_relevant for _, is_relevant in items])
    ranked = sorted(range(len(items)), key=lambda i: (-items[i][0], items[i][1]))
    expected = [place + 1 for place, i in enumerate(ranked) if items[i][1]]
    assert ranks(similarities, relevant).tolist() == expected


def test_the_order_of_a_list_does_not_matter():
    rng = np.random.default_rng(0)
    embeddings, labels = rng.standard_normal((50, 4)), rng.integers(0, 6, 50)
    embeddings[10:20] = embeddings[:10]
    order = rng.permutation(50)
    before = precision(embeddings, labels)
    after = precision(embeddings[order], labels[order])
    np.testing.assert_allclose(after.map_at_r, before.map_at_r[order])


def test_a_list_longer_than_a_block_is_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    embeddings, labels = rng.standard_normal((90, 4)), rng.integers(0, 9, 90)
    at_once = precision(embeddings, labels)
    monkeypatch.setattr("pipeline.sse.precision.CELLS_AT_ONCE", 700)
    in_blocks = precision(embeddings, labels)
    np.testing.assert_allclose(in_blocks.average_precision, at_once.average_precision)


def test_perfect_embeddings_reach_one():
    labels = np.repeat(np.arange(5), 4)
    found = retrieval(np.eye(5)[labels], labels, np.tile([0, 1], 10))
    assert found.within.map_at_r == found.within.precision_at_1 == 1.0
    assert found.across.mean_average_precision == 1.0


def test_one_speaker_finds_nobody_across():
    found = retrieval(
        np.random.default_rng(0).standard_normal((6, 3)), np.zeros(6, int), np.zeros(6)
    )
    assert found.across.queries == 0
    assert np.isnan(found.across.map_at_r)
    assert found.within.queries == 6


def test_nan_is_refused():
    with pytest.raises(InputError, match="embeddings hold NaN"):
        precision(np.array([[1.0, np.nan], [1.0, 0.0]]), np.zeros(2, int))
