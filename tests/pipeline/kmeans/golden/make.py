"""Make the golden files: FAIRSEQ_DIR=… python tests/pipeline/kmeans/golden/make.py, see README.md.

Needs torch, torchaudio and a checkout of fairseq; its scripts are run as they are.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import numpy as np

HERE = Path(__file__).parent
LENGTHS = (400, 401, 559, 560, 561, 720, 1200, 4321)
N_SHARDS, N_CLUSTERS, N_DIMS = 3, 6, 5


def main() -> None:
    make_mfcc()
    make_units(Path(os.environ["FAIRSEQ_DIR"]) / "examples/hubert/simple_kmeans")


def make_mfcc() -> None:
    import torch
    import torchaudio
    from torchaudio.compliance import kaldi

    rng = np.random.default_rng(0)
    arrays = {}
    for length in LENGTHS:
        time = np.arange(length) / 16_000
        hum = sum(np.sin(2 * np.pi * 140 * n * time) / n for n in range(1, 30))
        waveform = (0.1 * hum + 0.01 * rng.standard_normal(length)).astype(np.float32)
        cepstra = kaldi.mfcc(torch.from_numpy(waveform)[None], use_energy=False).T
        deltas = torchaudio.functional.compute_deltas(cepstra)
        stacked = torch.cat([cepstra, deltas, torchaudio.functional.compute_deltas(deltas)])
        arrays[f"waveform_{length}"] = waveform
        arrays[f"mfcc_{length}"] = stacked.T.contiguous().numpy()
    np.savez_compressed(HERE / "mfcc.npz", **arrays)


def make_units(scripts: Path) -> None:
    rng = np.random.default_rng(1)
    middles = 5 * rng.standard_normal((N_CLUSTERS, N_DIMS))
    with tempfile.TemporaryDirectory() as folder:
        for rank in range(N_SHARDS):
            lengths = rng.integers(1, 30, size=8)
            lengths[rank + 1] = 0  # a clip that was left out
            nearest = rng.integers(N_CLUSTERS, size=lengths.sum())
            frames = middles[nearest] + rng.standard_normal((lengths.sum(), N_DIMS))
            for target in (HERE, Path(folder)):
                np.save(target / f"train_{rank}_{N_SHARDS}.npy", frames.astype(np.float32))
                text = "".join(f"{length}\n" for length in lengths)
                (target / f"train_{rank}_{N_SHARDS}.len").write_text(text)
        for percent in ("-1", "0.5"):
            model = f"{folder}/km.bin"
            learn = [scripts / "learn_kmeans.py", folder, "train", N_SHARDS, model, N_CLUSTERS]
            said = run(*learn, "--percent", percent, "--n_init", 3)
            inertia = float(said.split("total intertia: ")[1].split()[0])
            centroids = joblib.load(model).cluster_centers_
            np.savez(HERE / f"centroids_{percent}.npz", centroids=centroids, inertia=inertia)
            for rank in range(N_SHARDS):
                label = [scripts / "dump_km_label.py", folder, "train", model, N_SHARDS, rank]
                run(*label, HERE / f"labels_{percent}")


def run(*command: object) -> str:
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
