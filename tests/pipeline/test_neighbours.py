"""Nearest neighbours: exact search against all products, and indexes against exact search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded

from pipeline import neighbours as module
from pipeline.errors import InputError
from pipeline.neighbour_index import Index, recall
from pipeline.neighbours import (
    Neighbours,
    merge_neighbours,
    nearest,
    nearest_both,
    ranks,
    unit_rows,
)


def by_hand(queries: np.ndarray, base: np.ndarray, k: int) -> Neighbours:
    """Neighbours from the whole product, the first of equals first."""
    products = queries @ base.T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(products, order, axis=1), order)


def assert_same(found: Neighbours, expected: Neighbours) -> None:
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.similarities, expected.similarities)


@st.composite
def two_sides(draw):
    """Rows of small integers: products are exact, and many are equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_dims = draw(st.integers(1, 5))
    sizes = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    return tuple(rng.integers(-3, 4, (n, n_dims)).astype(np.float32) for n in sizes)


@seeded
@given(two_sides(), st.integers(1, 20), st.integers(1, 40), st.integers(1, 40), st.integers(1, 60))
def test_both_ways_are_what_all_products_say(sides, k, query_block, base_block, held):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUERY_BLOCK", query_block)
        patch.setattr(module, "BASE_BLOCK", base_block)
        patch.setattr(module, "HELD", held)
        found = nearest_both(*sides, k)
        one_way = nearest(*sides, k)

    a, b = sides
    assert_same(found.forward, by_hand(a, b, k))
    assert_same(found.backward, by_hand(b, a, k))
    assert_same(one_way, found.forward)


@seeded
@given(two_sides(), st.data())
def test_a_rank_counts_what_is_nearer(sides, data):
    queries, base = sides
    own = np.array([data.draw(st.integers(0, len(base) - 1)) for _ in queries])
    products = queries @ base.T
    expected = 1 + (products > products[np.arange(len(own)), own][:, None]).sum(1)

    np.testing.assert_array_equal(ranks(queries, base, own), expected)


@seeded
@given(two_sides(), st.integers(1, 12), st.integers(1, 5))
def test_parts_of_a_base_merge_to_the_whole(sides, k, n_parts):
    queries, base = sides
    parts = []
    for rows in np.array_split(np.arange(len(base)), n_parts):
        if len(rows):
            part = nearest(queries, base[rows], k)
            parts.append(Neighbours(part.similarities, part.indices + rows[0]))
    merged = merge_neighbours(parts)
    width = max(part.indices.shape[1] for part in parts)

    expected = by_hand(queries, base, width)
    np.testing.assert_array_equal(merged.indices[:, :width], expected.indices)


def test_no_rows_have_no_neighbours():
    found = nearest_both(np.empty((0, 3), np.float32), np.ones((4, 3), np.float32), 2)

    assert found.forward.indices.shape == (0, 2)
    assert found.backward.indices.shape == (4, 0)
    assert found.forward.similarities.dtype == np.float32
    assert found.forward.indices.dtype == np.int64


def test_half_precision_is_read_as_it_is():
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((50, 8)).astype(np.float16) for _ in range(2))

    found = nearest(a, b, 3)
    expected = by_hand(a.astype(np.float32), b.astype(np.float32), 3)
    np.testing.assert_array_equal(found.indices, expected.indices)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value):
    rows = np.ones((3, 2), np.float32)
    spoilt = rows.copy()
    spoilt[1, 1] = value

    with pytest.raises(InputError, match="first rows hold NaN or infinity"):
        nearest(spoilt, rows, 1)
    with pytest.raises(InputError, match="second rows hold NaN or infinity"):
        nearest_both(rows, spoilt, 1)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match=r"\(2, 3\) and \(2, 4\)"):
        nearest(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32), 1)
    with pytest.raises(InputError, match="k is 0"):
        nearest(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32), 0)


def test_unit_rows_have_length_one_or_nothing():
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))

    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    assert rows.dtype == np.float32


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return unit_rows(np.random.default_rng(0).standard_normal((2000, 16)))


@pytest.mark.parametrize("kind", ["Flat", "IVF16,Flat", "IVF16,SQfp16", "HNSW16"])
def test_an_index_that_looks_everywhere_finds_everything(kind, rows):
    index = Index(kind, rows.shape[1])
    index.train(rows)
    index.add(rows)
    exact = nearest(rows[:100], rows, 4)

    assert len(index) == len(rows)
    assert recall(index.search(rows[:100], 4, 512), exact) > 0.995
    if "IVF" in kind:
        assert recall(index.search(rows[:100], 4, 1), exact) < 0.9


def test_indexes_with_one_training_merge(rows, tmp_path):
    first = Index("IVF16,Flat", rows.shape[1])
    first.train(rows)
    first.save(tmp_path / "trained.idx")
    second = Index.load(tmp_path / "trained.idx", first.kind)
    first.add(rows[:700])
    second.add(rows[700:])
    first.merge(second)

    assert recall(first.search(rows[:50], 4, 16), nearest(rows[:50], rows, 4)) == 1


def test_an_index_says_what_it_cannot_do(rows, tmp_path):
    with pytest.raises(InputError, match="faiss makes no index 'Wunder'"):
        Index("Wunder", 16)
    with pytest.raises(InputError, match="64 cells and there are 10 rows"):
        Index("IVF64,Flat", 16).train(rows[:10])
    (tmp_path / "broken.idx").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is damaged"):
        Index.load(tmp_path / "broken.idx", "Flat")


def test_neighbours_that_an_index_misses_are_marked(rows):
    index = Index("IVF16,Flat", rows.shape[1])
    index.train(rows)
    index.add(rows[:20])
    found = index.search(rows[:5], 20, 1)

    assert (found.indices == -1).any()
    assert np.isneginf(found.similarities[found.indices == -1]).all()
    assert np.isfinite(found.similarities[found.indices >= 0]).all()


def test_a_row_that_is_as_near_counts_in_the_place_of_another():
    exact = Neighbours(np.array([[1.0, 0.5]], np.float32), np.array([[0, 1]]))
    found = Neighbours(np.array([[1.0, 0.5]], np.float32), np.array([[0, 2]]))

    assert recall(found, exact) == 0.5
    assert recall(found, exact, keeps_whole=True) == 1
    assert recall(Neighbours(found.similarities - 0.1, found.indices + 5), exact) == 0
