"""What the search of mining costs: CPU seconds and memory, against faiss and plain numpy.

    python benchmarks/mining.py                 # 100,000 x 100,000 x 256, k = 4
    python benchmarks/mining.py --growth        # 10,000, 100,000 and, by an index, 1,000,000
    python benchmarks/mining.py --growth --kinds IVF4000,Flat HNSW32   # other indexes for the last
    python benchmarks/mining.py --rows 20000    # quicker

Every side runs in a process of its own, on one thread, over the same rows: 2,000 clusters of unit
vectors, and a disturbed copy of each as its partner. faiss is used as stopes uses it, a flat index
of squared distances for each direction, searched in batches of 8,192. numpy is what one writes
without either, a product, a sort and a mean; it is timed on a fiftieth of the queries.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import multiprocessing
import resource
import time
from typing import Any

import numpy as np

K = 4
CLUSTERS = 2_000
STOPES_BATCH = 8_192
TRAINED_ON = 200_000


def main() -> None:
    """Parse the command line and print a line per side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--growth", action="store_true", help="10,000 to 1,000,000 rows")
    parser.add_argument("--kinds", nargs="*", default=[""], help="of index; by size if not given")
    parser.add_argument("--noise", type=float, default=1.0, help="around centres, against them")
    parser.add_argument("--only-index", action="store_true", help="no growth of exact search")
    parser.add_argument("--skip-numpy", action="store_true")
    parser.add_argument("--repeats", type=int, default=5, help="with a quarter of the rows")
    arguments = parser.parse_args()
    if arguments.growth:
        grow(arguments, with_exact=not arguments.only_index)
        return
    size = (arguments.rows, arguments.dims)
    ours, faiss = measure(one_pass, *size), measure(faiss_twice, *size)
    print(f"{size[0]:,} x {size[0]:,} x {size[1]}, k = {K}, both directions")
    show("one pass", ours)
    show("faiss, flat, twice", faiss)
    print(f"  one pass / faiss: {ours['cpu_s'] / faiss['cpu_s']:.2f} of the CPU seconds")
    for way in ("forward", "backward"):
        same = np.mean(ours[way] == faiss[way])
        print(f"  {way}: {same:.5%} of the neighbours are the same, in the same places")
    worst = difference(ours, faiss, *size)
    print(f"  where they differ, cosines differ by {worst:.1e} at most")
    if not arguments.skip_numpy:
        numpy = measure(plain_numpy, *size)
        show("numpy (a fiftieth, times 50)", numpy)
        print(f"  one pass / numpy: {ours['cpu_s'] / numpy['cpu_s']:.2f} of the CPU seconds")
    quarter = (arguments.rows // 4, arguments.dims)
    pairs = [
        [measure(way, *quarter)["cpu_s"] for way in (one_pass, faiss_twice)]
        for _ in range(arguments.repeats)
    ]
    low, median, high = np.quantile([theirs / mine for mine, theirs in pairs], [0, 0.5, 1])
    print(
        f"of a quarter of the rows: one pass takes {median:.1f} times less "
        f"({low:.1f} to {high:.1f} over {arguments.repeats} repeats) CPU time than faiss"
    )


def grow(arguments: argparse.Namespace, *, with_exact: bool) -> None:
    """Print what rows cost as they become more."""
    for n_rows in (10_000, 100_000) if with_exact else ():
        found = measure(one_pass, n_rows, arguments.dims)
        print(f"{n_rows:>9,} rows, exact: {found['cpu_s']:8.1f} CPU s, {found['mb']:,.0f} MB")
    for kind in arguments.kinds:
        found = measure(by_index, 1_000_000, arguments.dims, kind, arguments.noise)
        print(
            f"{1_000_000:>9,} rows, {found['kind']}: train {found['train_s']:.0f}, "
            f"add {found['add_s']:.0f} CPU s, {found['mb']:,.0f} MB with one side and its index"
        )
        for effort, share, query_s in found["tried"]:
            total = 2 * (found["train_s"] + found["add_s"] + query_s * 1_000_000)
            print(
                f"           effort {effort:>4}: recall@{K} {share:.3f}, {1000 * query_s:.2f} ms a "
                f"query, {total:,.0f} CPU s for both directions"
            )
        print(f"           exact search: {found['exact_s']:,.0f} CPU s for both directions")


def rows_of(
    n_rows: int, n_dims: int, n_kept: int | None = None, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides: unit rows in clusters, and each once more with noise.

    Of the first side only the first ``n_kept`` are kept, if that is said.
    """
    from pipeline.neighbours import unit_rows

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, n_dims), dtype=np.float32)
    a, b = (np.empty((n, n_dims), np.float32) for n in (n_kept or n_rows, n_rows))
    for start in range(0, n_rows, 50_000):
        n = min(50_000, n_rows - start)
        block = centres[rng.integers(CLUSTERS, size=n)]
        block = block + noise * rng.standard_normal((n, n_dims), dtype=np.float32)
        part = a[start : start + n]
        part[:] = unit_rows(block)[: len(part)]
        block += 0.5 * noise * rng.standard_normal((n, n_dims), dtype=np.float32)
        b[start : start + n] = unit_rows(block)
    return a, b


def one_pass(n_rows: int, n_dims: int) -> dict[str, Any]:
    """Both directions from one product."""
    from pipeline.neighbours import nearest_both

    a, b = rows_of(n_rows, n_dims)
    started = time.process_time()
    found = nearest_both(a, b, K)
    return {
        "cpu_s": time.process_time() - started,
        "mb": peak_mb(),
        "forward": found.forward.indices,
        "backward": found.backward.indices,
    }


def faiss_twice(n_rows: int, n_dims: int) -> dict[str, Any]:
    """A flat index and a search for each direction, as stopes does."""
    import faiss

    a, b = rows_of(n_rows, n_dims)
    started = time.process_time()
    answers = []
    for queries, base in ((a, b), (b, a)):
        index = faiss.index_factory(n_dims, "Flat")
        index.add(base)
        parts = [
            index.search(queries[start : start + STOPES_BATCH], K)[1]
            for start in range(0, n_rows, STOPES_BATCH)
        ]
        answers.append(np.concatenate(parts))
    return {
        "cpu_s": time.process_time() - started,
        "mb": peak_mb(),
        "forward": answers[0],
        "backward": answers[1],
    }


def plain_numpy(n_rows: int, n_dims: int) -> dict[str, Any]:
    """Products in blocks of queries, sorted; of a fiftieth of the queries."""
    a, b = rows_of(n_rows, n_dims)
    started = time.process_time()
    for queries, base in ((a, b), (b, a)):
        for start in range(0, n_rows // 50, 500):
            products = queries[start : start + 500] @ base.T
            order = np.argpartition(-products, K, axis=1)[:, :K]
            np.take_along_axis(products, order, axis=1).mean(1)
    return {"cpu_s": 50 * (time.process_time() - started), "mb": peak_mb()}


def by_index(n_rows: int, n_dims: int, kind: str, noise: float = 1.0) -> dict[str, Any]:
    """An index of one side, looked into as far as recalls of 0.9, 0.95 and 0.99 take."""
    from pipeline.mining.distances import choose_index
    from pipeline.mining.indexing import EFFORTS, SAMPLE_QUERIES
    from pipeline.neighbour_index import Index, recall
    from pipeline.neighbours import nearest

    kind = kind or choose_index(n_rows, n_rows, n_dims)
    queries, base = rows_of(n_rows, n_dims, SAMPLE_QUERIES, noise)
    started = time.process_time()
    index = Index(kind, n_dims)
    index.train(base[np.sort(np.random.default_rng(0).permutation(n_rows)[:TRAINED_ON])])
    trained = time.process_time()
    index.add(base)
    added = time.process_time()
    exact = nearest(queries, base, K)
    exact_s = time.process_time() - added
    tried: list[tuple[int, float, float]] = []
    for effort in EFFORTS:
        searched = time.process_time()
        found = index.search(queries, K, effort)
        query_s = (time.process_time() - searched) / len(queries)
        tried.append((effort, recall(found, exact, keeps_whole=index.keeps_whole), query_s))
        if tried[-1][1] >= 0.99 or effort >= max(index.n_cells, 512):
            break
    return {
        "kind": kind,
        "tried": tried,
        "train_s": trained - started,
        "add_s": added - trained,
        "exact_s": exact_s / len(queries) * n_rows,
        "mb": peak_mb(),
    }


def measure(side: Any, *arguments: Any) -> dict[str, Any]:
    """Run one side in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(side, arguments)


def difference(ours: dict[str, Any], theirs: dict[str, Any], n_rows: int, n_dims: int) -> float:
    """Largest difference of the cosines of neighbours that are not the same."""
    a, b = rows_of(n_rows, n_dims)
    worst = 0.0
    for way, (queries, base) in (("forward", (a, b)), ("backward", (b, a))):
        for row, place in np.argwhere(ours[way] != theirs[way]):
            query = queries[row].astype(np.float64)
            cosines = [float(query @ base[side[way][row, place]]) for side in (ours, theirs)]
            worst = max(worst, abs(cosines[0] - cosines[1]))
    return worst


def peak_mb() -> float:
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def show(name: str, found: dict[str, Any]) -> None:
    """Print a line."""
    print(f"  {name:<29} {found['cpu_s']:8.1f} CPU s, {found['mb']:6,.0f} MB with the rows")


if __name__ == "__main__":
    main()
