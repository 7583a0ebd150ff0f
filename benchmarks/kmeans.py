"""K-means against scikit-learn as fairseq's learn_kmeans.py calls it, labels against its formula.

Both work on the same features, in one run, on one thread; CPU seconds, since they are steadier than
a clock. The features are drawn from mixtures of Gaussians: 500,000 frames of 39 dimensions, as MFCC
have, and 200,000 of 768 in a latent space of 64, as HuBERT has. Inertia is the mean squared
distance over all frames, computed in float64 for both.

Labels are those of centroids that were learned, and once more of some frames taken as centroids,
among which ties within rounding are more frequent than they are in use.

With FAIRSEQ_DIR set, whole commands are compared too: ``pipeline kmeans label`` with
dump_km_label.py, start-up and text included.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from pipeline.kmeans import kernel
from pipeline.kmeans.label import FRAMES_AT_ONCE, LabelWork
from pipeline.kmeans.learn import LearnSettings, learn
from pipeline.kmeans.model import Model, save_joblib, save_npz
from pipeline.kmeans.nearest import Nearest
from pipeline.kmeans.shards import FeatureShard, open_shards

FRAMES_PER_CLIP = 600
N_CLUSTERS = (100, 500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="Part of the frames.")
    parser.add_argument("--only", choices=("learn", "label"))
    parser.add_argument("--n-clusters", type=int, nargs="*", default=N_CLUSTERS)
    parser.add_argument("--avx2", action="store_true", help="Leave AVX-512 alone.")
    arguments = parser.parse_args()
    if arguments.avx2:
        mock.patch.object(kernel, "_registers", lambda: (8, 2)).start()
    # The allocator keeps what is freed, from the first time on that so much is: in favour of the
    # formula, which makes and frees a table for every clip.
    np.ones(24 * 2**20, np.uint8).sum()
    with tempfile.TemporaryDirectory() as folder:
        for n_frames, n_dims, middles, latent in ((500_000, 39, 400, 39), (200_000, 768, 1500, 64)):
            root = Path(folder) / str(n_dims)
            root.mkdir()
            write_features(root, int(n_frames * arguments.part), n_dims, middles, latent)
            (shard,) = open_shards(root, "train", 1)
            for n_clusters in arguments.n_clusters:
                name = f"{len(shard.frames):,} x {n_dims}, k = {n_clusters}"
                if arguments.only != "label":
                    centroids = compare_learning(name, shard, n_clusters)
                else:
                    quick = LearnSettings(n_clusters, percent=0.15, max_iter=1)
                    centroids = learn([shard], quick, root).centroids
                if arguments.only != "learn":
                    compare_labels(f"{name}, learned", shard, centroids, root)
                    if "FAIRSEQ_DIR" in os.environ:
                        compare_commands(root, centroids)
                    chosen = np.random.default_rng(0).choice(len(shard.frames), n_clusters, False)
                    drawn = np.array(shard.frames[np.sort(chosen)])
                    compare_labels(f"{name}, frames as centroids", shard, drawn, root)


def write_features(root: Path, n_frames: int, n_dims: int, n_middles: int, n_latent: int) -> None:
    """Write one shard of clips of six seconds."""
    rng = np.random.default_rng(0)
    middles = 2 * rng.standard_normal((n_middles, n_latent))
    spreads = rng.uniform(0.3, 1.2, (n_middles, n_latent))
    which = rng.choice(n_middles, n_frames, p=rng.dirichlet(np.full(n_middles, 2.0)))
    frames = middles[which] + spreads[which] * rng.standard_normal((n_frames, n_latent))
    if n_latent != n_dims:
        frames = frames @ rng.standard_normal((n_latent, n_dims)) / np.sqrt(n_latent)
        frames += 0.3 * rng.standard_normal(frames.shape)
    np.save(root / "train_0_1.npy", frames.astype(np.float32))
    n_clips = -(-n_frames // FRAMES_PER_CLIP)
    lengths = np.full(n_clips, FRAMES_PER_CLIP)
    lengths[-1] = n_frames - FRAMES_PER_CLIP * (n_clips - 1)
    (root / "train_0_1.len").write_text("".join(f"{length}\n" for length in lengths))


def compare_learning(name: str, shard: FeatureShard, n_clusters: int) -> np.ndarray:
    seconds, found = timed(
        lambda: learn([shard], LearnSettings(n_clusters), shard.path.parent).centroids
    )
    frames = np.array(shard.frames)  # it holds them in memory
    their_seconds, theirs = timed(lambda: as_fairseq(frames, n_clusters))
    mine, other = inertia_of(frames, found), inertia_of(frames, theirs)
    print(
        f"learn {name}: {seconds:.1f} s against {their_seconds:.1f} s of CPU, "
        f"{their_seconds / seconds:.1f} times less; inertia {mine:.3f} against {other:.3f} "
        f"({100 * (mine / other - 1):+.2f} %)",
        flush=True,
    )
    return found


def as_fairseq(frames: np.ndarray, n_clusters: int) -> np.ndarray:
    """Settings of learn_kmeans.py."""
    np.random.seed(0)  # noqa: NPY002 - as it does
    model = MiniBatchKMeans(
        n_clusters=n_clusters,
        init="k-means++",
        max_iter=100,
        batch_size=10000,
        verbose=0,
        compute_labels=False,
        tol=0.0,
        max_no_improvement=100,
        init_size=None,
        n_init=20,
        reassignment_ratio=0.0,
    )
    return np.asarray(model.fit(frames).cluster_centers_)


def compare_labels(name: str, shard: FeatureShard, centroids: np.ndarray, root: Path) -> None:
    clips = [np.array(clip) for clip in shard.clips()]
    groups = [(np.array(frames), lengths) for frames, lengths in shard.groups(FRAMES_AT_ONCE)]
    nearest = Nearest(centroids)
    transposed = centroids.transpose()
    norms = (transposed**2).sum(0, keepdims=True)

    def formula(x: np.ndarray) -> np.ndarray:
        return np.argmin((x**2).sum(1, keepdims=True) - 2 * np.matmul(x, transposed) + norms, 1)

    def their_file() -> None:
        mapped = np.load(shard.path, mmap_mode="r")
        with (root / "theirs.km").open("w") as file:
            for start in range(0, len(mapped), FRAMES_PER_CLIP):
                labels = formula(mapped[start : start + FRAMES_PER_CLIP]).tolist()
                file.write(" ".join(map(str, labels)) + "\n")

    work = LabelWork(root, "train", 1, centroids, root)
    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "formula": (
            lambda: [nearest(frames, lengths) for frames, lengths in groups],
            lambda: [formula(clip) for clip in clips],
        ),
        "file": (lambda: work(0), their_file),
    }
    product = np.empty((FRAMES_PER_CLIP, len(centroids)), np.float32)
    floor = best(lambda: [np.matmul(clip, transposed, product[: len(clip)]) for clip in clips])
    print(f"label {name}: numpy's matrix multiply alone {floor:.3f} s of CPU")
    for what, (ours, peer) in ways.items():
        mine, theirs = best(ours), best(peer)
        print(f"  {what}: {mine:.3f} s against {theirs:.3f} s, {theirs / mine:.2f} times less")
    redone = nearest.n_redone / max(1, nearest.n_seen)
    print(f"  the formula was given besides {100 * redone:.1f} rows for 100 frames")
    same = (root / "train_0_1.km").read_bytes() == (root / "theirs.km").read_bytes()
    print(f"  labels {'are the same' if same else 'DIFFER'}", flush=True)


def compare_commands(root: Path, centroids: np.ndarray) -> None:
    """Run both commands in processes of their own."""
    model, pickle = root / "model.npz", root / "model.joblib"
    save_npz(model, Model(centroids))
    save_joblib(pickle, centroids)
    script = Path(os.environ["FAIRSEQ_DIR"]) / "examples/hubert/simple_kmeans/dump_km_label.py"
    ours = ["-m", "pipeline.cli", "kmeans", "label", root, "train", model, 1, 0, root]
    theirs = [script, root, "train", pickle, 1, 0, root / "km"]
    mine, peer = (min(in_process(*way) for _ in range(3)) for way in (ours, theirs))
    print(f"  command: {mine:.2f} s against {peer:.2f} s, {peer / mine:.2f} times less", flush=True)


def in_process(*command: object) -> float:
    """CPU seconds of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def inertia_of(frames: np.ndarray, centroids: np.ndarray) -> float:
    middle = frames.mean(axis=0, dtype=np.float64)
    table = (centroids - middle).T
    total = 0.0
    for start in range(0, len(frames), 4096):
        block = frames[start : start + 4096] - middle
        scores = (table**2).sum(axis=0) - 2 * block @ table
        total += scores.min(axis=1).sum() + np.sum(block**2)
    return float(total / len(frames))


def best(work: Callable[[], object]) -> float:
    """CPU seconds, the least of three."""
    return min(timed(work)[0] for _ in range(3))


def timed(work: Callable[[], object]) -> tuple[float, np.ndarray]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result  # type: ignore[return-value]


if __name__ == "__main__":
    main()
