"""MAP of 20,000 segments: seconds and memory; and against pytorch-metric-learning, if installed.

Embeddings of 192 numbers, 3,000 transcriptions, 20 speakers; all figures of ``pipeline sse map``
are computed. pytorch-metric-learning computes MAP@R and P@1 of 4,000 of them.
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
    if importlib.util.find_spec("pytorch_metric_learning"):
        compare(embeddings[:4000], labels[:4000])


def draw(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3000, n)
    middles = 0.3 * rng.standard_normal((3000, 192))
    embeddings = (rng.standard_normal((n, 192)) + middles[labels]).astype(np.float32)
    return embeddings, labels, rng.integers(0, 20, n)


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
