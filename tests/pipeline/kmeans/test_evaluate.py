"""Quality of units: definitions on small tables, references on random ones, the command."""

import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import noise, seeded, write_corpus
from sklearn.metrics import adjusted_rand_score, mutual_info_score, normalized_mutual_info_score

from pipeline.kmeans.metrics import PairCounts, deduplicate, entropy, unit_edits

LABELS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=80)
UNITS = st.lists(st.integers(0, 3), max_size=12)


def counted(first, second):
    pairs = PairCounts()
    for start in range(0, len(first), 3):
        pairs.add(first[start : start + 3], second[start : start + 3])
    return pairs.table()


@seeded
@given(LABELS)
def test_agreement_is_that_of_scikit_learn(pairs):
    first, second = np.array(pairs).T
    table = counted(first, second)
    assert table.mutual_information == pytest.approx(mutual_info_score(first, second), abs=1e-9)
    nmi = normalized_mutual_info_score(first, second)
    if len(set(first)) > 1 or len(set(second)) > 1:
        assert table.normalized_mutual_information == pytest.approx(nmi, abs=1e-9)
    assert table.adjusted_rand_index == pytest.approx(adjusted_rand_score(first, second), abs=1e-9)


@seeded
@given(LABELS)
def test_purities_are_those_of_measure_teacher_quality(pairs):
    phones, units = np.array(pairs).T
    p = np.zeros((6, 8))
    np.add.at(p, (phones, units), 1 / len(pairs))
    table = counted(phones, units)
    assert table.phone_purity == pytest.approx(p.max(axis=0).sum())
    assert table.cluster_purity == pytest.approx(p.max(axis=1).sum())
    if len(set(phones)) > 1:
        h = entropy(np.bincount(phones))
        assert table.pnmi == pytest.approx(mutual_info_score(phones, units) / h, abs=1e-9)


def plain_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


@seeded
@given(UNITS, UNITS)
def test_unit_edits_are_the_edit_distance_of_runs(a, b):
    once = [[x for i, x in enumerate(u) if not i or u[i - 1] != x] for u in (a, b)]
    assert deduplicate(np.array(a)).tolist() == once[0]
    assert unit_edits(np.array(a), np.array(b)) == plain_distance(*once)


@pytest.fixture
def labels(tmp_path):
    """Labels of three clips, and of the same under two profiles and by another model."""
    texts = {
        "normal": "0 0 1 1 2\n3 3\n\n",
        "same": "0 1 1 2 2\n3 3\n\n",
        "lfloss": "0 0 4 4 2\n\n1\n",
        "rerun": "5 5 6 6 7\n8 8\n\n",
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.km").write_text(text)
    return tmp_path


def test_usage(command, labels):
    outcome = command(
        *("kmeans", "evaluate", labels / "normal", "train", "--n-clusters", 10, "--json"),
        workers=None,
    )
    usage = outcome.report["usage"]
    assert (usage["clips"], usage["empty_clips"], usage["frames"]) == (3, 1, 7)
    assert (usage["clusters"], usage["used"], usage["dead"]) == (10, 4, 6)
    p = np.array([2, 2, 1, 2]) / 7
    assert usage["perplexity"] == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert usage["frames_per_run"] == pytest.approx(7 / 4)


def test_what_profiles_change_goes_to_a_table(command, labels):
    given = (
        *("kmeans", "evaluate", labels / "normal", "train", "--rerun", labels / "rerun"),
        *("--profile", f"same={labels / 'same'}", "--profile", f"lfloss={labels / 'lfloss'}"),
    )
    tables = []
    for name in ("units.parquet", "units.csv"):
        outcome = command(*given, "--output", labels / name, "--json", workers=None)
        assert outcome.status == 0
    tables = [
        pyarrow.parquet.read_table(labels / "units.parquet").to_pylist(),
        pyarrow.csv.read_csv(labels / "units.csv").to_pylist(),
    ]
    rates = outcome.report["unit_error_rate"]
    assert (rates["same"]["rate"], rates["same"]["units"]) == (0.0, 4)
    # The second clip was left out under the profile, the third under none: neither counts.
    assert (rates["lfloss"]["edits"], rates["lfloss"]["units"], rates["lfloss"]["clips"]) == (
        1,
        3,
        1,
    )
    stability = outcome.report["stability"][str(labels / "rerun")]
    assert stability["adjusted_rand_index"] == pytest.approx(1)
    assert stability["normalized_mutual_information"] == pytest.approx(1)
    for table in tables:
        assert [row["profile_name"] for row in table] == ["same"] * 3 + ["lfloss"] * 3
        assert [row["unit_error_rate"] for row in table] == [0, 0, None, 1 / 3, None, None]
        assert [row["unit_edits"] for row in table] == [0, 0, 0, 1, 0, 0]


def test_clips_are_named_by_the_manifest_and_held_against_phones(command, labels):
    root = write_corpus(labels / "corpus", {"train": [noise(0.1)] * 3})
    phones = labels / "phones.tsv"
    phones.write_text("train-0\tAA0,AA1,B,B,B\ntrain-1\tC,C,C,C\nelse\tD\n")
    outcome = command(
        *("kmeans", "evaluate", labels / "normal", "train", "--tsv-dir", root, "--phones", phones),
        *("--profile", f"lfloss={labels / 'lfloss'}", "--output", labels / "u.parquet", "--json"),
        workers=None,
    )
    found = outcome.report["phones"]
    # AA: 0 0 (stress aside), B: 1 1 2, C: 3 3
    assert (found["clips"], found["frames"]) == (2, 7)
    assert found["phone_purity"] == 1
    assert found["cluster_purity"] == pytest.approx(6 / 7)
    assert found["pnmi"] == pytest.approx(1)
    ids = pyarrow.parquet.read_table(labels / "u.parquet").column("id").to_pylist()
    assert ids == ["train-0", "train-1", "train-2"]


def test_bad_questions_are_one_sentence(command, labels):
    (labels / "short").mkdir()
    (labels / "short/train.km").write_text("0 0\n")
    (labels / "odd").mkdir()
    (labels / "odd/train.km").write_text("0 x\n")
    (labels / "none").mkdir()
    (labels / "none/train.km").write_text("\n\n")
    (labels / "bad.tsv").write_text("no tab\n")
    (labels / "tsv").mkdir()
    (labels / "tsv/train.tsv").write_text("/data\na.flac\t1\n")
    for options, said in (
        (["--profile", f"x={labels / 'short'}"], "part at line 2, where one ends"),
        (["--profile", f"x={labels / 'void'}"], "train.km does not exist"),
        (["--profile", "lfloss"], "--profile 'lfloss' is not NAME=LAB_DIR"),
        (["--rerun", labels / "odd"], "line 1: not a list of labels"),
        (["--rerun", labels / "lfloss"], "has clips of other lengths"),
        (["--n-clusters", 3], "holds label 3, and --n-clusters is 3"),
        (["--output", labels / "units.xlsx"], "ends in neither of .parquet, .csv"),
        (["--phones", labels / "bad.tsv"], "give --tsv-dir too"),
        (["--tsv-dir", labels / "tsv"], "has 3 lines and"),
    ):
        outcome = command("kmeans", "evaluate", labels / "normal", "train", *options, workers=None)
        assert outcome.status == 2, options
        assert said in outcome.complaint
    empty = command("kmeans", "evaluate", labels / "none", "train", workers=None)
    assert "holds no labels" in empty.complaint


def test_the_whole_way(command, tmp_path):
    """From a corpus and a variant of it to the units that the variant changes."""
    clean = [noise(0.3, seed=seed) for seed in range(4)]
    muffled = [np.convolve(clip, np.ones(8) / 8, "same").astype(np.float32) for clip in clean]
    for name, clips in (("normal", clean), ("lfloss", muffled)):
        root = write_corpus(tmp_path / name, {"test": clips})
        assert (
            command("kmeans", "mfcc", root, "test", 2, "all", tmp_path / f"feat_{name}").status == 0
        )
    model = tmp_path / "km.npz"
    assert command("kmeans", "learn", tmp_path / "feat_normal", "test", 2, model, 8).status == 0
    for name in ("normal", "lfloss"):
        feat, lab = tmp_path / f"feat_{name}", tmp_path / f"lab_{name}"
        assert command("kmeans", "label", feat, "test", model, 2, "all", lab).status == 0
        assert command("kmeans", "merge", lab, "test", 2, workers=None).status == 0
    outcome = command(
        *("kmeans", "evaluate", tmp_path / "lab_normal", "test", "--tsv-dir", tmp_path / "normal"),
        *("--profile", f"lfloss={tmp_path / 'lab_lfloss'}"),
        *("--profile", f"normal={tmp_path / 'lab_normal'}", "--json"),
        workers=None,
    )
    rates = json.loads(outcome.out)["unit_error_rate"]
    assert rates["normal"]["rate"] == 0
    assert rates["lfloss"]["low"] <= rates["lfloss"]["rate"] <= rates["lfloss"]["high"]
    assert rates["lfloss"]["rate"] > 0.3
