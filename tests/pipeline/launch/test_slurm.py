"""Stages on a real SLURM: tasks that are killed, nodes that go, jobs that never start."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_outcome import Command, Outcome
from slurm_cluster import NODES, Cluster, wait_until

from hearing_analysis.config import ROOT
from pipeline.launch.record import Record, path_of

Products = Callable[[Path], dict[str, str]]
VARIANTS = ("normal", "lfloss", "hfloss")
N_SHARDS = 9


def record_of(root: Path, stage: str) -> Record:
    return Record.read(path_of(root, stage))


def has_begun(record: Record, share: int) -> bool:
    return record.attempts(share).is_file()


def status(command: Command, folder: object) -> Outcome:
    return command("status", folder, "--json", workers=None)


def standing(command: Command, folder: object) -> dict:
    return status(command, folder).report[0]


def test_a_task_that_is_killed(
    on_cluster: Cluster, workplace: Path, command: Command, products: Products
) -> None:
    mask = ("mask", "--input-dir", "speech", "--output-base")
    launched = command(*mask, "out", "--launcher", "slurm", "--json")
    assert launched.status == 0, launched.err
    record = record_of(workplace / "out_normal", "mask")
    jobs = launched.report["jobs"]
    assert launched.report["tasks"] == 4
    assert jobs == {"array": record.array, "finish": record.finisher}

    # While it works, nobody else may; any of its outputs knows how far it is.
    again = command(*mask, "out", "--launcher", "slurm")
    assert again.status == 2
    assert f"being made by the SLURM jobs {record.array}, {record.finisher}" in again.complaint
    found = standing(command, "out_hfloss")
    assert found["state"] in ("waiting", "running")
    assert (found["shards"], found["clips"], found["jobs"]) == (N_SHARDS, 108, list(jobs.values()))

    wait_until(lambda: has_begun(record, 2))
    on_cluster.ask("scancel", "--signal=KILL", f"{record.array}_2")
    wait_until(lambda: state_of(command, "out_lfloss", 2) == "failed")
    on_cluster.wait_for_all()

    # The finishing job has found its shards missing, and had them made before it finished.
    found = standing(command, "out_lfloss")
    assert found["state"] == "complete"
    assert found["jobs"] != list(jobs.values())
    assert sum(node["clips"] for node in found["nodes"]) == 108
    assert len(lines_of(record, 2)) == 4
    assert command(*mask, "here").status == 0
    for variant in VARIANTS:
        made, expected = products(Path(f"out_{variant}")), products(Path(f"here_{variant}"))
        assert made == expected


def test_a_node_that_is_drained_and_one_that_is_lost(
    on_cluster: Cluster, command: Command, products: Products, workplace: Path
) -> None:
    logmel = ("logmel", "-i", "speech", "--model-size", "tiny", "-o")
    launched = command(*logmel, "out", "--launcher", "slurm")
    assert launched.status == 0, launched.err
    record = record_of(workplace / "out", "logmel")
    wait_until(lambda: all(has_begun(record, share) for share in range(4)))
    lost = lines_of(record, 1)[0]["node"]
    drained = next(node for node in NODES if node != lost)

    on_cluster.ask("scontrol", "update", f"nodename={drained}", "state=drain", "reason=test")
    on_cluster.ask("scontrol", "update", f"nodename={lost}", "state=down", "reason=test")
    try:
        assert state_of(command, "out", 1) == "requeued"
        on_cluster.wait_for_all()
    finally:
        on_cluster.bring_up(lost)
        on_cluster.bring_up(drained)

    assert standing(command, "out")["state"] == "complete"
    begun = [line["node"] for line in lines_of(record, 1) if line["event"] == "start"]
    assert len(begun) == 2
    assert begun[1] not in (lost, drained)  # the node that was left
    assert command(*logmel, "here").status == 0
    assert products(workplace / "out") == products(workplace / "here")


def state_of(command: Command, folder: str, share: int) -> str:
    tasks = {task["share"]: task["state"] for task in standing(command, folder)["tasks"]}
    return str(tasks[share])


def lines_of(record: Record, share: int) -> list[dict]:
    return [json.loads(line) for line in record.attempts(share).read_text().splitlines()]


def test_a_task_that_fails_for_good(on_cluster: Cluster, command: Command, workplace: Path) -> None:
    splits = ("--splits", "train", "--splits", "test")
    launch = ("--launcher", "slurm", "--array-size", 2, "--retries", 5)
    mask = ("mask", "--input-dir", "speech", "--output-base", "out", *splits, *launch)
    Path("speech").rename("moved")  # once it is needed
    Path("speech").symlink_to("moved")
    launched = command(*mask)
    assert launched.status == 0, launched.err
    Path("speech").unlink()
    on_cluster.wait_for_all()

    # Its input is not there: nobody tries that again.
    record = record_of(workplace / "out_normal", "mask")
    ended = status(command, "out_normal")
    assert ended.status == 1
    assert "6 of 6 shards are missing: train/data-00000-of-00003.arrow, train/" in ended.complaint
    found = ended.report[0]
    assert found["state"] == "failed"
    assert "speech" in found["reason"]
    assert [(task["state"], task["attempts"]) for task in found["tasks"]] == [("failed", 1)] * 2
    log = next(record.folder.glob(f"{record.finisher}_*.err")).read_text()
    assert "6 of 6 parts of" in log
    assert "train/data-00000-of-00003.arrow (task 0), train/data-00001-of-00003.arrow (task" in log
    assert not Path("out_normal/dataset/dataset_dict.json").exists()

    # What somebody makes by hand is not made again, and the next launch only finishes.
    Path("moved").rename("speech")
    assert command(*mask[:-6], "--shard", "0/1", "--finish", "never").status == 0
    resumed = command(*mask, "--json")
    assert resumed.report["tasks"] == 0
    on_cluster.wait_for_all()
    assert standing(command, "out_hfloss")["state"] == "complete"


def test_a_job_that_never_starts_ends_the_wait(on_cluster: Cluster, command: Command) -> None:
    mask = ("mask", "--input-dir", "speech", "--output-base", "out", "--limit", 2)
    waited = command(*mask, "--launcher", "slurm", "--time", "9-00:00:00", "--wait")

    assert waited.status == 1
    reason = "PartitionTimeLimit" if "TimeLimit" in waited.err else "PartitionConfig"
    assert f"out_normal is not complete; SLURM will not start it ({reason})" in waited.complaint
    told = status(command, "out_normal")
    assert told.status == 1
    assert told.report[0]["state"] == "stuck"
    on_cluster.ask("scancel", *told.report[0]["jobs"])
    on_cluster.wait_for_all()
    assert status(command, "out_normal").report[0]["state"] == "failed"


def test_what_slurm_refuses(on_cluster: Cluster, command: Command) -> None:
    mask = ("mask", "--input-dir", "speech", "--output-base", "out", "--limit", 2)
    refused = command(*mask, "--launcher", "slurm", "--partition", "gpu-a100")

    assert refused.status == 2
    assert "SLURM refused the job: " in refused.complaint
    assert "partition" in refused.complaint
    assert on_cluster.jobs() == []


def test_import_units_and_analysis(
    on_cluster: Cluster, command: Command, workplace: Path, model_folder: Path
) -> None:
    slurm = ("--launcher", "slurm", "--array-size", 1)
    # All at once: none reads what another writes.
    manifest = command("kmeans", "manifest", "speech", "tsv", workers=None)
    assert manifest.status == 0, manifest.err
    mfcc = command("kmeans", "mfcc", "tsv", "test", 2, "all", "features", *slurm)
    assert mfcc.status == 0, mfcc.err
    release = ROOT / "examples" / "mini-corpus" / "cv-corpus-1.0-2026-11-21"
    imported = command("import", release, "again", "--limit", 36, *slurm)
    assert imported.status == 0, imported.err
    assert (
        command("mask", "--input-dir", "speech", "--limit", 4, "--profiles", "normal").status == 0
    )
    analysed = run("analyze", "run", "analysis", "--data-root", "speech", "--model", model_folder,
                   "--profiles", "normal", "--splits", "test", "-j", "0", *slurm)  # fmt: skip
    assert analysed.returncode == 0, analysed.stderr
    on_cluster.wait_for_all()

    assert standing(command, "features")["state"] == "complete"
    assert sorted(path.name for path in Path("features").glob("*.npy")) == [
        *("test_0_2.npy", "test_1_2.npy")
    ]
    assert standing(command, "again")["state"] == "complete"
    digest = json.loads(Path("speech/run.json").read_text())["output_digest"]
    assert json.loads(Path("again/run.json").read_text())["output_digest"] == digest
    assert standing(command, "analysis")["state"] == "complete"
    assert Path("analysis/analysis.parquet").is_file()


# --- The pilot's command lines --------------------------------------------------------------------

# As they stand in its document, from its sections "SLURM Processing" and "Batch Processing Script".
PILOT = """
cp .env.local.template .env.local
source .env.local
sbatch scripts/mask_audio.sbatch
BATCH_SIZE=256 NUM_WORKERS=32 sbatch scripts/mask_audio.sbatch
sbatch scripts/mask_audio.sbatch --batch-size 256 --num-workers 32
sbatch scripts/DataSet2LogMel.sbatch \\
    --input_dataset data/CommonVoiceEN_normal/dataset \\
    --output_dataset data/CommonVoiceEN_normal_logmel
python scripts/DataSet2LogMelBatch.py \\
    --cpus-per-task 64 \\
    --memory 500G \\
    --batch-size 2000
"""


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    modules = {"analyze": "hearing_analysis.cli", "pipeline": "pipeline.cli"}
    command = [sys.executable, "-m", modules[program], *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def project(workplace: Path) -> Path:
    """The pilot's folders: scripts, and a corpus under its name, of one shard a split."""
    for name in ("scripts", ".env.local.template"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, workplace / name)
    release = ROOT / "examples" / "mini-corpus" / "cv-corpus-1.0-2026-11-21"
    few = ("--splits", "test", "--limit", 2, "-j", 0)
    done = run("pipeline", "import", release, "data/CommonVoiceEN", *few)
    assert done.returncode == 0, done.stderr
    programs = workplace / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    for name, start in (("pipeline", "-m pipeline.cli"), ("python", "")):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {start} "$@"\n')
        script.chmod(0o755)
    return workplace


def test_the_command_lines_of_the_pilot(on_cluster: Cluster, project: Path) -> None:
    lines = PILOT.replace("\\\n", " ").strip().splitlines()

    def submit(line: str) -> None:
        # The folder of the template is what everybody replaces.
        setup = (
            f". .venv/bin/activate; sed -i 's|^PROJECT_ROOT=.*|PROJECT_ROOT={project}|' .env.local"
        )
        text = f"{line}; {setup}" if line.startswith("cp ") else f". .venv/bin/activate; {line}"
        done = subprocess.run(
            ["bash", "-eu", "-c", text], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
        on_cluster.wait_for_all()
        logs = {path.name: path.read_text() for path in Path().glob("slurm-*.out")}
        assert not any("error" in log.lower() for log in logs.values()), (line, logs)

    for line in lines:
        submit(line)

    for variant in VARIANTS:
        root = Path(f"data/CommonVoiceEN_{variant}")
        assert json.loads((root / "run.json").read_text())["status"] == "complete"
        features = json.loads(Path(f"{root}_logmel/run.json").read_text())
        assert features["status"] == "complete"
        assert features["config"]["mel"]["n_mels"] == 128
    # One job for each variant that is not there yet, which asks for what was asked for.
    scripts = [path.read_text() for path in Path("data").rglob("*_submission.sh")]
    works = [text for text in scripts if "--cpus-per-task=64" in text]
    assert len(works) == 2
    assert all("--mem=500G" in text for text in works)
