"""Labels of all shards in one go, as tasks of a real SLURM, are those made here."""

from pathlib import Path

import numpy as np
from command_outcome import Command
from slurm_cluster import Cluster

from pipeline.kmeans.model import Model, save_npz

N_SHARDS = 3


def test_labels(on_cluster: Cluster, command: Command, workplace: Path) -> None:
    rng = np.random.default_rng(0)
    Path("features").mkdir()
    for rank in range(N_SHARDS):
        frames = rng.standard_normal((50 + rank, 13)).astype(np.float32)
        np.save(f"features/test_{rank}_{N_SHARDS}.npy", frames)
        Path(f"features/test_{rank}_{N_SHARDS}.len").write_text(f"50\n0\n{rank}\n")
    save_npz(Path("km.npz"), Model(rng.standard_normal((20, 13)).astype(np.float32)))
    label = ("kmeans", "label", "features", "test", "km.npz", N_SHARDS, "all")
    launched = command(*label, "labels", "--launcher", "slurm", "--json")
    assert launched.status == 0, launched.err
    assert command(*label, "here").status == 0
    on_cluster.wait_for_all()

    assert command("kmeans", "merge", "labels", "test", N_SHARDS, workers=None).status == 0
    names = ["dict.km.txt", *(f"test_{rank}_{N_SHARDS}.km" for rank in range(N_SHARDS))]
    for name in names:
        assert (Path("labels") / name).read_bytes() == (Path("here") / name).read_bytes()
    assert Path("labels/test.km").read_text().count("\n") == 3 * N_SHARDS
