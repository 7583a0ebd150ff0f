"""Mining on a real SLURM: an array for every step, each submitted by the job that ends the last."""

from pathlib import Path

import numpy as np
import pytest
from command_outcome import Command
from outputs import digests
from slurm_cluster import Cluster, wait_until

from pipeline.launch.record import Record, path_of, records_of

STEPS = ("distances", "embed", "mine")  # of exact search, which takes no index


@pytest.fixture
def preset(workplace: Path) -> Path:
    """Two sides of two shards each, whose rows are stored, and a preset."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((80, 12), dtype=np.float32)
    sides = ""
    for name, noise in (("a", 0.0), ("b", 0.3)):
        folder = workplace / name
        folder.mkdir()
        for shard, part in enumerate(np.split(rows + noise * rng.standard_normal(rows.shape), 2)):
            np.save(folder / f"{shard}.npy", part.astype(np.float32))
            lines = "".join(f"{name} {shard} {line}\n" for line in range(len(part)))
            (folder / f"{shard}.txt").write_text(lines)
        sides += (
            f"  {name}: {{data: {{shard_glob: '{folder}/*.txt'}}, embed_text: {{encoder: "
            f"{{_target_: pipeline.mining.StoredEmbeddings, encoder_model: {folder}}}}}}}\n"
        )
    path = workplace / "preset.yaml"
    path.write_text(f"output_dir: {workplace}/out\nlang_configs:\n{sides}")
    return path


def test_every_step_is_an_array_of_its_own(
    on_cluster: Cluster, command: Command, workplace: Path, preset: Path
) -> None:
    mine = ("mine", "--config", preset, "calculate_distances.knn=4", "mine_threshold=1.0")
    launched = command(*mine, "--launcher", "slurm", "--array-size", 2, "--json", "-j", 0)
    assert launched.status == 0, launched.err
    assert launched.report["tasks"] == 2
    out = workplace / "out"
    embed = Record.read(path_of(out, "mine-embed"))
    wait_until(lambda: embed.attempts(1).is_file())
    on_cluster.ask("scancel", "--signal=KILL", f"{embed.array}_1")
    again = command(*mine, "--launcher", "slurm")
    assert f"being made by the SLURM jobs {embed.array}" in again.complaint

    refused = command("mine", "--config", preset, "--launcher", "slurm", "--overwrite")
    assert "drop --overwrite" in refused.complaint
    wait_until(lambda: not on_cluster.jobs() and (out / "mining.json").is_file(), 180)
    found = {record.stage: record for record in records_of(out)}
    assert list(found) == [f"mine-{step}" for step in STEPS]
    assert found["mine-embed"].round == 1  # the killed task's share was made again
    stages = command("status", out, "--json", workers=None).report
    assert {(stage["state"], stage["shards_done"] == stage["shards"]) for stage in stages} == {
        ("complete", True)
    }

    # A launch when all is done takes one job, and the wait for it ends in the report.
    waited = command(*mine, "--launcher", "slurm", "--wait", "--json", "-j", 0)
    assert waited.report["mine"]["pairs"] == 80, waited.err
    assert command(*mine, f"output_dir={workplace}/here").status == 0
    products = {
        name: digest for name, digest in digests(out).items() if not name.startswith("launch/")
    }
    assert products == digests(workplace / "here")
