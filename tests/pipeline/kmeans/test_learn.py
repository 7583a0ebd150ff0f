"""Centroids and labels: fairseq's to the bit, or better; its files both ways; bad files."""

import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded
from sklearn.cluster import KMeans, MiniBatchKMeans

from pipeline.kmeans.learn import SampledFrames
from pipeline.kmeans.lloyd import ArrayFrames, LloydSettings, fit
from pipeline.kmeans.model import Model, load_model, save_npz
from pipeline.kmeans.nearest import Nearest
from pipeline.kmeans.shards import open_shards

GOLDEN = Path(__file__).parent / "golden"
N_SHARDS = 3
FAIRSEQ = Path(os.environ.get("FAIRSEQ_DIR", "")) / "examples/hubert/simple_kmeans"


def blobs(n: int, n_dims: int, n_middles: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    middles = 4 * rng.standard_normal((n_middles, n_dims))
    return (middles[rng.integers(n_middles, size=n)] + rng.standard_normal((n, n_dims))).astype(
        np.float32
    )


def write_shard(folder: Path, frames: np.ndarray, lengths: list[int], name: str = "train_0_1"):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", frames)
    (folder / f"{name}.len").write_text("".join(f"{length}\n" for length in lengths))
    return folder


def their_learning(percent: float) -> MiniBatchKMeans:
    """learn_kmeans.py in the words of scikit-learn, on the golden features."""
    np.random.seed(0)  # noqa: NPY002 - as it does
    parts = []
    for rank in range(N_SHARDS):
        frames = np.load(GOLDEN / f"train_{rank}_{N_SHARDS}.npy")
        lengths = np.loadtxt(GOLDEN / f"train_{rank}_{N_SHARDS}.len", dtype=int)
        clips = np.split(frames, np.cumsum(lengths)[:-1])
        if percent >= 0:
            n = int(np.ceil(len(clips) * percent))
            chosen = np.random.choice(len(clips), n, replace=False)  # noqa: NPY002
            clips = [clips[index] for index in chosen]
        parts += clips
    return MiniBatchKMeans(
        n_clusters=6,
        init="k-means++",
        max_iter=100,
        batch_size=10000,
        compute_labels=False,
        tol=0.0,
        max_no_improvement=100,
        n_init=3,
        reassignment_ratio=0.0,
    ).fit(np.concatenate(parts))


@pytest.mark.parametrize("percent", ["-1", "0.5"])
def test_minibatch_is_fairseq_to_the_bit(command, tmp_path, percent):
    learned = command(
        *("kmeans", "learn", GOLDEN, "train", N_SHARDS, tmp_path / "km.npz", 6, "--percent"),
        *(percent, "--n_init", 3, "--engine", "minibatch", "--log-level", "ERROR", "--json"),
    )
    centroids = load_model(tmp_path / "km.npz").centroids
    np.testing.assert_array_equal(centroids, their_learning(float(percent)).cluster_centers_)
    golden = np.load(GOLDEN / f"centroids_{percent}.npz")
    np.testing.assert_allclose(centroids, golden["centroids"], rtol=1e-4, atol=1e-4)
    assert learned.report["inertia"] == pytest.approx(float(golden["inertia"]), abs=1e-4)


@pytest.mark.parametrize("percent", ["-1", "0.5"])
def test_labels_are_those_of_fairseq(command, tmp_path, percent):
    centroids = np.load(GOLDEN / f"centroids_{percent}.npz")["centroids"]
    save_npz(tmp_path / "km.npz", Model(centroids))
    labelled = command("kmeans", "label", GOLDEN, "train", tmp_path / "km.npz", 3, "all", tmp_path)
    assert labelled.status == 0
    assert command("kmeans", "merge", tmp_path, "train", 3, workers=None).status == 0
    expected = [(GOLDEN / f"labels_{percent}/train_{rank}_3.km").read_bytes() for rank in range(3)]
    assert [(tmp_path / f"train_{rank}_3.km").read_bytes() for rank in range(3)] == expected
    assert (tmp_path / "train.km").read_bytes() == b"".join(expected)
    assert (tmp_path / "dict.km.txt").read_text() == "0 1\n1 1\n2 1\n3 1\n4 1\n5 1\n"


@pytest.mark.skipif(not FAIRSEQ.is_dir(), reason="FAIRSEQ_DIR names no checkout of fairseq")
@pytest.mark.parametrize("engine", ["minibatch", "lloyd"])
def test_the_scripts_of_fairseq_and_ours_take_turns(command, tmp_path, engine):
    def fairseq(script, *arguments):
        words = [sys.executable, str(FAIRSEQ / script), *map(str, arguments)]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    features = write_shard(tmp_path / "feat", blobs(3000, 39, 30), [1000, 0, 700, 1300])
    theirs, ours = tmp_path / "theirs.bin", tmp_path / "ours.bin"
    said = fairseq("learn_kmeans.py", features, "train", 1, theirs, 20, "--n_init", 3)
    learned = command(
        *("kmeans", "learn", features, "train", 1, ours, 20, "--format", "joblib"),
        *("--n-init", 3, "--engine", engine, "--json"),
    )
    if engine == "minibatch":
        centres = [joblib.load(model).cluster_centers_ for model in (theirs, ours)]
        np.testing.assert_array_equal(*centres)
        # scikit-learn adds up in float32, and its threads in any order.
        inertia = float(said.split("total intertia: ")[1].split()[0])
        assert learned.report["inertia"] == pytest.approx(inertia, rel=1e-5)
    for index, model in enumerate((theirs, ours)):
        fairseq("dump_km_label.py", features, "train", model, 1, 0, tmp_path / f"theirs{index}")
        trusted = ("kmeans", "label", features, "train", model, 1, 0, tmp_path / f"ours{index}")
        assert command(*trusted, "--trust-pickle").status == 0
        labels = [
            (tmp_path / f"{who}{index}/train_0_1.km").read_bytes() for who in ("theirs", "ours")
        ]
        assert labels[0] == labels[1]


# --- lloyd ----------------------------------------------------------------------------------------


def test_lloyd_is_as_good_as_scikit_learn():
    frames = blobs(20_000, 8, 40)
    peer = KMeans(30, n_init=3, random_state=0).fit(frames)
    found = fit(ArrayFrames(frames), LloydSettings(30, n_init=3, max_iter=50, tol=0))
    assert found.inertia < 1.03 * peer.inertia_ / len(frames)
    distances = ((frames[:, None] - found.centroids) ** 2).sum(-1).min(1)
    assert found.inertia == pytest.approx(distances.mean(), rel=1e-4)


def test_lloyd_does_not_depend_on_threads():
    frames = blobs(20_000, 8, 40, seed=2)
    results = [fit(ArrayFrames(frames), LloydSettings(30, num_threads=n)) for n in (1, 2, 5)]
    assert len({found.centroids.tobytes() for found in results}) == 1


def test_inertia_never_rises():
    told: list[float] = []
    settings = LloydSettings(25, max_iter=20, tol=0, init="random")
    fit(ArrayFrames(blobs(40_000, 4, 60)), settings, lambda n_iter, inertia: told.append(inertia))
    assert len(told) > 3
    assert (np.diff(told) <= 1e-6 * np.array(told[:-1])).all()


@seeded
@given(st.integers(1, 12), st.integers(1, 6))
def test_lloyd_finds_points_that_repeat(n_clusters, n_dims):
    points = 10 * np.random.default_rng(n_clusters).standard_normal((n_clusters, n_dims))
    frames = np.repeat(points, 5, axis=0).astype(np.float32)
    found = fit(ArrayFrames(frames), LloydSettings(n_clusters, n_init=5))
    assert np.isfinite(found.centroids).all()
    assert found.centroids.shape == (n_clusters, n_dims)
    assert found.inertia < 1e-3 or n_clusters > 2


def test_more_clusters_than_different_frames_are_survived():
    frames = np.repeat(np.float32([[0.0], [1.0]]), 50, axis=0)
    found = fit(ArrayFrames(frames), LloydSettings(5))
    assert found.inertia == pytest.approx(0, abs=1e-6)
    assert np.isfinite(found.centroids).all()


def test_blocks_and_taken_frames_are_the_drawn_clips(tmp_path):
    shards = open_shards(GOLDEN, "train", N_SHARDS)
    frames = SampledFrames(shards, 0.5, np.random.RandomState(4))
    every = np.concatenate(list(frames.blocks(7)))
    assert max(map(len, frames.blocks(7))) <= 7
    assert frames.n_clips == 12
    with frames.as_array(tmp_path) as array:
        np.testing.assert_array_equal(array, every)
    some = np.array([0, 3, len(every) - 1])
    np.testing.assert_array_equal(frames.take(some), every[some])


def test_a_model_is_the_same_bytes_again(command, tmp_path):
    for name in ("a.npz", "b.npz"):
        learned = command("kmeans", "learn", GOLDEN, "train", N_SHARDS, tmp_path / name, 6)
        assert learned.status == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    about = load_model(tmp_path / "a.npz").about
    assert (about["settings"]["engine"], about["n_clips"]) == ("lloyd", 24)


# --- labels ---------------------------------------------------------------------------------------


@seeded
@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 40), st.integers(0, 99))
def test_nearest_is_the_formula_of_fairseq_to_the_bit(n_frames, n_clusters, n_dims, seed):
    rng = np.random.default_rng(seed)
    frames = (30 * rng.standard_normal((n_frames, n_dims))).astype(np.float32)
    centroids = (30 * rng.standard_normal((n_clusters, n_dims))).astype(np.float32)
    table = centroids.transpose()
    norms = (table**2).sum(0, keepdims=True)
    distances = (frames**2).sum(1, keepdims=True) - 2 * np.matmul(frames, table) + norms
    np.testing.assert_array_equal(Nearest(centroids)(frames), np.argmin(distances, axis=1))


def test_a_pickle_of_fairseq_is_read_on_request_only(command, tmp_path):
    joblib.dump(their_learning(-1), tmp_path / "km.bin")
    label = ("kmeans", "label", GOLDEN, "train", tmp_path / "km.bin", 3, 0, tmp_path)
    refused = command(*label)
    assert refused.status == 2
    assert "give --trust-pickle" in refused.complaint
    assert command(*label, "--trust-pickle").status == 0
    expected = (GOLDEN / "labels_-1/train_0_3.km").read_bytes()
    assert (tmp_path / "train_0_3.km").read_bytes() == expected


def test_our_pickle_predicts(command, tmp_path):
    path = tmp_path / "km.joblib"
    command("kmeans", "learn", GOLDEN, "train", 3, path, 6, "--format", "joblib")
    estimator = joblib.load(path)
    frames = np.load(GOLDEN / "train_0_3.npy")
    labels = Nearest(estimator.cluster_centers_)(frames)
    np.testing.assert_array_equal(estimator.predict(frames), labels)


class Hostile:
    def __reduce__(self):
        return (os.mkdir, (os.environ["HOSTILE_TARGET"],))


def test_a_hostile_pickle_is_not_opened(command, tmp_path, monkeypatch):
    target = tmp_path / "run"
    monkeypatch.setenv("HOSTILE_TARGET", str(target))
    inside = tmp_path / "inside.npz"
    array = np.empty(1, object)
    array[0] = Hostile()
    np.savez(inside, centroids=array, about=np.array("{}"))
    (tmp_path / "km.bin").write_bytes(pickle.dumps(Hostile()))
    for model in (tmp_path / "km.bin", inside):
        outcome = command("kmeans", "label", GOLDEN, "train", model, 3, 0, tmp_path)
        assert outcome.status == 2
        assert str(model) in outcome.complaint
    assert not target.exists()


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("centroids.npy", "w", force_zip64=True) as member:
            for _ in range(65):
                member.write(bytes(2**24))
        archive.writestr("about.npy", b"")


def test_bad_models_are_one_sentence(command, tmp_path):
    makers = {
        "bomb.npz": bomb,
        "void.npz": lambda path: np.savez(path, other=np.zeros(3)),
        "flat.npz": lambda path: np.savez(path, centroids=np.zeros(3), about=np.array("{}")),
        "nan.npz": lambda path: np.savez(
            path, centroids=np.full((2, 5), np.nan), about=np.array("{}")
        ),
        "half.npz": lambda path: (
            save_npz(path, Model(np.ones((90, 5)))),
            path.write_bytes(path.read_bytes()[:-40]),
        ),
        "dims.npz": lambda path: save_npz(path, Model(np.ones((2, 4), np.float32))),
    }
    for name, make in makers.items():
        make(tmp_path / name)
        outcome = command("kmeans", "label", GOLDEN, "train", tmp_path / name, 3, 0, tmp_path)
        assert outcome.status == 2, name
        assert outcome.complaint
    missing = command("kmeans", "label", GOLDEN, "train", tmp_path / "no.npz", 3, 0, tmp_path)
    assert "no.npz does not exist" in missing.complaint


# --- bad features ---------------------------------------------------------------------------------


def cut_off(folder):
    content = (folder / "train_0_3.npy").read_bytes()
    (folder / "train_0_3.npy").write_bytes(content[:-20])


def with_nan(folder):
    frames = np.load(folder / "train_1_3.npy")
    frames[3, 2] = np.nan
    np.save(folder / "train_1_3.npy", frames)


def with_wider_shard(folder):
    np.save(folder / "train_2_3.npy", np.pad(np.load(folder / "train_2_3.npy"), ((0, 0), (0, 1))))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut_off, "train_0_3.npy is truncated or no array file"),
        (with_nan, "train_1_3.npy holds NaN or infinite features"),
        (with_wider_shard, "train_2_3.npy has 6 dimensions"),
        (lambda f: (f / "train_1_3.len").unlink(), "train_1_3.len does not exist"),
        (lambda f: (f / "train_1_3.npy").unlink(), "train_1_3.npy does not exist"),
        (lambda f: (f / "train_1_3.len").write_text("4\n"), "and train_1_3.len counts 4"),
        (lambda f: (f / "train_1_3.len").write_text("x\n"), "does not hold a number of frames"),
        (lambda f: (f / "train_1_3.len").write_text("-4\n"), "a negative number of frames"),
        (lambda f: np.save(f / "train_0_3.npy", np.zeros(4)), "is float64 (4,), not float32"),
    ],
)
def test_bad_features_are_one_sentence(command, tmp_path, spoil, said):
    folder = tmp_path / "feat"
    shutil.copytree(GOLDEN, folder)
    spoil(folder)
    outcome = command("kmeans", "learn", folder, "train", 3, tmp_path / "km.npz", 6)
    assert outcome.status == 2
    assert said in outcome.complaint.replace("INFO", "")
    assert not (tmp_path / "km.npz").exists()


def test_nan_features_are_not_labelled(command, tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "feat")
    with_nan(tmp_path / "feat")
    save_npz(tmp_path / "km.npz", Model(np.ones((2, 5), np.float32)))
    label = ("kmeans", "label", tmp_path / "feat", "train", tmp_path / "km.npz", 3, "all", tmp_path)
    outcome = command(*label)
    assert outcome.status == 2
    assert "train_1_3.npy holds features that are NaN" in outcome.complaint
    assert not (tmp_path / "train_1_3.km").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--percent", "1.5"], "--percent 1.5 is no part"),
        (["--percent", "0"], "--percent 0 is no part"),
        (["--engine", "faiss"], "--engine 'faiss' is not one of: lloyd, minibatch"),
        (["--init", "best"], "--init 'best' is not one of"),
        (["--format", "onnx"], "--format 'onnx' is not one of"),
    ],
)
def test_bad_options_are_one_sentence(command, tmp_path, options, said):
    outcome = command("kmeans", "learn", GOLDEN, "train", 3, tmp_path / "km.npz", 6, *options)
    assert outcome.status == 2
    assert said in outcome.complaint


def test_too_few_frames_are_one_sentence(command, tmp_path):
    outcome = command("kmeans", "learn", GOLDEN, "train", 3, tmp_path / "km.npz", 9999)
    assert outcome.status == 2
    assert "frames cannot make 9999 clusters" in outcome.complaint


def test_labels_that_are_missing_are_not_merged(command, tmp_path):
    (tmp_path / "train_0_2.km").write_text("1 2\n")
    missing = command("kmeans", "merge", tmp_path, "train", 2, workers=None)
    assert missing.status == 2
    assert "train_1_2.km does not exist" in missing.complaint
    (tmp_path / "train_1_2.km").write_text("1 2\n3")
    cut = command("kmeans", "merge", tmp_path, "train", 2, workers=None)
    assert "train_1_2.km ends inside a line" in cut.complaint
    assert not (tmp_path / "train.km").exists()
