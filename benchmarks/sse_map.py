"""MAP of 20,000 segments: seconds and memory; and held against two other ways to compute it.

Embeddings of 192 numbers, 3,000 transcriptions, 20 speakers; all figures of ``pipeline sse map``
are computed. The definition, word by word, computes MAP@R of 1,000 of them, and
pytorch-metric-learning MAP@R and P@1 of 4,000, if it is installed.
"""

import argparse
import importlib.util
import resource
import time

import numpy as np

from pipeline.sse.precision import precision, retrieval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=20_000)
    arguments = parser.parse_args()
    embeddings, labels, speakers = draw(arguments.segments)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    found = retrieval(embeddings, labels, speakers)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{arguments.segments:,} segments: {seconds:.1f} s, {cpu:.1f} CPU s, {grown:.0f} MB more")
    print(f"  MAP@R {found.within.map_at_r:.4f}, across speakers {found.across.map_at_r:.4f}")
    by_definition(embeddings[:1000], labels[:1000])
    if importlib.util.find_spec("pytorch_metric_learning"):
        compare(embeddings[:4000], labels[:4000])


def draw(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3000, n)
    middles = 0.5 * rng.standard_normal((3000, 192))
    embeddings = (rng.standard_normal((n, 192)) + middles[labels]).astype(np.float32)
    return embeddings, labels, rng.integers(0, 20, n)


def by_definition(embeddings: np.ndarray, labels: np.ndarray) -> None:
    started = time.process_time()
    ours = precision(embeddings, labels).mean().map_at_r
    ours_seconds = time.process_time() - started
    started = time.process_time()
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = []
    for query, label in enumerate(labels):
        nearest = [i for i in np.argsort(-(unit @ unit[query]), kind="stable") if i != query]
        n_relevant = int((labels == label).sum()) - 1
        hits = [labels[i] == label for i in nearest[:n_relevant]]
        if n_relevant:
            precisions = [sum(hits[: k + 1]) / (k + 1) for k in range(n_relevant) if hits[k]]
            found.append(sum(precisions) / n_relevant)
    seconds = time.process_time() - started
    print(
        f"{len(labels):,} segments: ours {ours:.6f}, {ours_seconds:.2f} CPU s; by definition "
        f"{np.mean(found):.6f}, {seconds:.2f} CPU s"
    )


def compare(embeddings: np.ndarray, labels: np.ndarray) -> None:
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    started = time.process_time()
    ours = precision(embeddings, labels).mean()
    ours_seconds = time.process_time() - started
    calculator = AccuracyCalculator(
        include=("mean_average_precision_at_r", "precision_at_1"),
        k="max_bin_count",
        knn_func=CustomKNN(CosineSimilarity()),
        device=torch.device("cpu"),
    )
    x, y = torch.from_numpy(embeddings), torch.from_numpy(labels)
    started = time.process_time()
    theirs = calculator.get_accuracy(x, y, x, y, ref_includes_query=True)
    seconds = time.process_time() - started
    print(
        f"{len(x):,} segments: ours {ours.map_at_r:.6f}, {ours_seconds:.1f} CPU s; "
        f"pytorch-metric-learning {theirs['mean_average_precision_at_r']:.6f}, {seconds:.1f} CPU s"
    )


if __name__ == "__main__":
    main()
