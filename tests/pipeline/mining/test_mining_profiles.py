"""Profiles: clips that find themselves and clips that do not, and what is written of them."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import noise, seeded, tone, write_corpus

from pipeline.mining.profiles import compare, replaced_words
from pipeline.mining.rows import UnitRows
from pipeline.neighbours import unit_rows

MODEL = "models/mini-wav2vec2"
POOLED = ("--encoder", "pipeline.mining.PooledSpeechEncoder", "--encoder-model")


def stored(path, rows) -> UnitRows:
    np.save(path, np.asarray(rows, np.float16))
    return UnitRows([path])


@seeded
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 20))
def test_ranks_and_errors_are_those_of_all_cosines(tmp_path_factory, seed, n, k):
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((n, 6))
    normal = stored(folder / "normal.npy", base)
    worse = stored(folder / "worse.npy", base + 0.8 * rng.standard_normal((n, 6)))
    a, b = (unit_rows(np.load(folder / name)) for name in ("worse.npy", "normal.npy"))
    cosines = a @ b.T
    own = np.diag(cosines)

    result = compare("worse", worse, normal, k)
    np.testing.assert_array_equal(result.rank, 1 + (cosines > own[:, None]).sum(1))
    np.testing.assert_array_equal(result.became, cosines.argmax(1))
    np.testing.assert_allclose(result.cosine, own, atol=1e-6)
    assert result.xsim_error_cosine == pytest.approx(np.mean(cosines.argmax(1) != np.arange(n)))


def test_the_same_speech_finds_itself(tmp_path):
    rows = np.random.default_rng(0).standard_normal((30, 8))
    normal = stored(tmp_path / "rows.npy", rows)
    result = compare("same", normal, normal, 4)

    assert result.xsim_error == result.xsim_error_cosine == 0
    assert (result.rank == 1).all()
    np.testing.assert_array_equal(result.became, np.arange(30))
    assert (result.margin > 1).all()


def test_clips_that_were_left_out_have_no_rank(tmp_path):
    rows = np.random.default_rng(0).standard_normal((10, 8))
    normal = stored(tmp_path / "normal.npy", np.where(np.arange(10)[:, None] == 3, 0, rows))
    worse = stored(tmp_path / "worse.npy", np.where(np.arange(10)[:, None] == 7, 0, rows))
    result = compare("worse", worse, normal, 4)

    assert np.flatnonzero(result.rank == 0).tolist() == [3, 7]
    assert np.isnan(result.margin[[3, 7]]).all()
    assert result.became[7] == -1
    assert (np.delete(result.became, [3, 7]) == np.delete(np.arange(10), [3, 7])).all()


@pytest.mark.parametrize(
    ("said", "became", "expected"),
    [
        ("Nina got six old mugs.", "Nina got six cold mugs.", [("old", "cold")]),
        ("Nina got six mugs.", "Peter got six rings.", [("nina", "peter"), ("mugs", "rings")]),
        ("one two", "three four", []),
        ("it is here", "it was over here", []),
        ("", "anything", []),
    ],
)
def test_words_that_became_others(said, became, expected):
    assert replaced_words(said, became) == expected


@pytest.fixture
def variants(tmp_path):
    clips = [tone(150 + 70 * n, 0.4) + 0.05 * noise(0.4, seed=n) for n in range(5)]
    lost = [0.001 * noise(0.4, seed=9) for _ in clips]
    sentences = ("a red cup", "a red cap", "a blue cup", "some tea", "more tea")
    base = tmp_path / "base"
    for name, content in (("normal", clips), ("louder", [1.5 * c for c in clips]), ("deaf", lost)):
        write_corpus(tmp_path / f"base_{name}", {"test": content}, sentences=sentences)
    return base


def test_profiles_are_compared_with_normal_hearing(command, variants, tmp_path):
    given = ("mine", "profiles", variants, "--profiles", "louder,deaf", *POOLED, MODEL, "--json")
    outcome = command(*given)

    assert outcome.status == 0, outcome.err
    table = {row["profile"]: row for row in outcome.report["profiles"]}
    assert table["louder"]["xsim_error"] == 0
    assert table["louder"]["cosine_mean"] == pytest.approx(1, abs=1e-3)
    assert table["deaf"]["xsim_error_cosine"] == pytest.approx(0.8)
    folder = tmp_path / "base_mining"
    clips = pq.read_table(folder / "clips.parquet").to_pylist()
    assert len(clips) == 10
    assert {clip["profile_name"] for clip in clips} == {"louder", "deaf"}
    assert [clip["id"] for clip in clips[:5]] == [f"test-{n}" for n in range(5)]
    assert all(clip["mining_nearest_id"] == clip["id"] for clip in clips[:5])
    assert sum(clip["mining_found_itself"] for clip in clips[5:]) == 1
    with (folder / "profiles.csv").open() as file:
        assert [row["profile"] for row in csv.DictReader(file)] == ["louder", "deaf"]
    assert (folder / "confusions.csv").read_text().startswith("profile,said,became,clips\n")
    assert (folder / "profiles.png").read_bytes().startswith(b"\x89PNG")
    before = (folder / "clips.parquet").read_bytes()
    report = json.loads((folder / "profiles.json").read_text())
    assert report["profiles"] == outcome.report["profiles"]

    assert command(*given).status == 0
    assert (folder / "clips.parquet").read_bytes() == before


def test_variants_must_be_aligned(command, variants, tmp_path):
    write_corpus(tmp_path / "base_other", {"test": [tone(100, 0.2)]})
    given = ("mine", "profiles", variants, *POOLED, MODEL, "--profiles")

    assert "does not hold the clips of" in command(*given, "other").complaint
    assert "base_none does not exist" in command(*given, "none").complaint
    assert "names nothing but the reference" in command(*given, "normal").complaint
    text = ("mine", "profiles", variants, "--encoder", "pipeline.mining.SentenceEncoder")
    assert command(*text, "--encoder-model", "nowhere", "--profiles", "deaf").status == 2
