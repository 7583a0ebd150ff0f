"""Whatever goes wrong at whatever moment: run the same command again, and nothing is lost.

Every fault is drawn from a seed that its name tells. ``FAULTS`` in the environment sets how many.
"""

import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
from disturbed import Disturbance, Ending, run_disturbed
from outputs import digests, files, temporary_files

from hearing_analysis.config import ROOT

N_FAULTS = int(os.environ.get("FAULTS", "200"))
CLIPS = 3  # of each of three splits
PASSING_OF_TRAINING = ("training.json", "logs/*", "checkpoints/*", "checkpoint.pt", "log.json")
RELEASE = ROOT / "examples/mini-corpus/cv-corpus-1.0-2026-11-21"
STATUS_OF = {"kill": -9, "interrupt": 130, "terminate": 143, "full disk": 2}
SAY_SO = {
    "interrupt": "error: interrupted; run the same command again to go on where it stopped",
    "terminate": "error: terminated; run the same command again to go on where it stopped",
}
SECONDS_TO_STOP = 5.0
SIGNALS = ("kill", "interrupt", "terminate")
KINDS = (*SIGNALS, *SIGNALS, "full disk", "cut input", "lost input", "cut output")


@dataclass(frozen=True)
class Job:
    """A command, what it reads and what it writes."""

    name: str
    argv: tuple[str, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    passing: tuple[str, ...] = ()  # files that tell of time, and differ from run to run

    def digests(self) -> dict[str, dict[str, str]]:
        """Digest of every file of every output that the same input must always give."""
        return {
            path.name: {
                name: digest
                for name, digest in digests(path).items()
                if not any(fnmatch(name, pattern) for pattern in self.passing)
            }
            for path in self.outputs
        }


class World:
    """A folder in which every stage has run undisturbed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made = {job.name: self._make(job) for job in self.jobs(root)}

    @staticmethod
    def jobs(root: Path, written: Path | None = None) -> list[Job]:
        """Commands that read below ``root`` and write below ``written``."""
        out = written or root
        base, units = root / "base", root / "units"
        profiles = ("normal", "hfloss")

        def job(
            name: str, command: str, inputs: list[Path], outputs: list[Path], *passing: str
        ) -> Job:
            return Job(name, tuple(command.split()), tuple(inputs), tuple(outputs), passing)

        variants = [root / f"base_{profile}" for profile in profiles]
        return [
            job(
                "import",
                f"pipeline import {RELEASE} {out}/base --limit {CLIPS} -j 0",
                [],
                [out / "base"],
            ),
            job(
                "mask",
                f"pipeline mask --input-dir {base} --output-base {out}/base "
                f"--profiles {','.join(profiles)} -j 0",
                [base],
                [out / variant.name for variant in variants],
            ),
            job(
                "logmel",
                f"pipeline logmel -i {variants[0]} -o {out}/mel --model-size tiny -j 0",
                variants[:1],
                [out / "mel"],
            ),
            job(
                "manifest",
                f"pipeline kmeans manifest {variants[0]} {out}/tsv --splits test",
                variants[:1],
                [out / "tsv"],
            ),
            job(
                "mfcc",
                f"pipeline kmeans mfcc {variants[0]} test 1 0 {out}/units",
                variants[:1],
                [out / "units"],
            ),
            job(
                "learn",
                f"pipeline kmeans learn {units} test 1 {out}/model/km.npz 8 -j 1",
                [units],
                [out / "model"],
            ),
            job(
                "label",
                f"pipeline kmeans label {units} test {root}/model/km.npz 1 0 {out}/labels",
                [units, root / "model"],
                [out / "labels"],
            ),
            job(
                "analyze",
                f"analyze run {out}/analysis --data-root {base} --profiles {','.join(profiles)} "
                "--splits test --map pca -j 0",
                variants,
                [out / "analysis"],
            ),
            *World.unit_jobs(job, root, out),
            *World.mining_jobs(job, root, out),
            *World.model_jobs(job, root, out),
        ]

    @staticmethod
    def unit_jobs(job: Callable[..., Job], root: Path, out: Path) -> list[Job]:
        """Units of an encoder, and speech sequence embeddings."""
        base, lists, frames = root / "base", root / "lists", root / "frames"
        sizes = "--width 32 --feed-forward 64 --batch-size 4 --steps-per-epoch 2 --epochs 2"
        return [
            job(
                "hubert",
                f"pipeline kmeans hubert {base} test {ROOT}/models/mini-wav2vec2 2 1 0 "
                f"{out}/hubert -j 0",
                [base],
                [out / "hubert"],
            ),
            job("vad", f"pipeline sse vad {base} {out}/lists/vads -j 0", [base], [out / "lists"]),
            job(
                "segments",
                f"pipeline sse segments {lists}/vads {out}/cut/segments --random 6",
                [lists],
                [out / "cut"],
            ),
            job(
                "features",
                f"pipeline sse features --path-wavs {base} --path-vads {lists}/vads "
                f"--output-dir {out}/frames --views 2 --augment noise -j 0",
                [base, lists],
                [out / "frames"],
            ),
            job(
                "sse train",
                f"pipeline sse train --path-features {frames} --output-dir {out}/sse "
                f"--valid-on loss {sizes} --num-threads 1",
                [frames],
                [out / "sse"],
                *PASSING_OF_TRAINING,
            ),
            job(
                "sse dump",
                f"pipeline sse dump --path-wavs {base} --path-segments {root}/cut/segments "
                f"--path-sse {ROOT}/models/mini-sse --output-file {out}/vectors/out -j 0",
                [base, root / "cut"],
                [out / "vectors"],
            ),
        ]

    @staticmethod
    def mining_jobs(job: Callable[..., Job], root: Path, out: Path) -> list[Job]:
        """Shards, pairs of them, and hearing losses against normal hearing."""
        base, shards = root / "base", root / "shards"
        variants = [root / "base_normal", root / "base_hfloss"]
        sides = " ".join(
            f"lang_configs.{side}.data.data_shard_dir={shards} "
            f"lang_configs.{side}.embed_text.encoder.encoder_model={ROOT}/models/mini-dual"
            for side in ("enA", "en")
        )
        return [
            job(
                "shards",
                f"pipeline mine shards {variants[0]} {out}/shards --splits test",
                variants[:1],
                [out / "shards"],
                "speech/*",  # its lines name clips by where they lie
            ),
            job(
                "mine",
                f"pipeline mine run --config {ROOT}/conf/mining/speech-text.yaml "
                f"output_dir={out}/mined mine_threshold=0 {sides} -j 0",
                [shards],
                [out / "mined"],
            ),
            job(
                "mine profiles",
                f"pipeline mine profiles {base} --profiles hfloss --splits test "
                f"--encoder-model {ROOT}/models/mini-dual --output {out}/mining -j 0",
                variants,
                [out / "mining"],
            ),
        ]

    @staticmethod
    def model_jobs(job: Callable[..., Job], root: Path, out: Path) -> list[Job]:
        """Training, export, and the page."""
        normal, analysis = root / "base_normal", root / "analysis"
        return [
            job(
                "models train",
                f"models train {normal} {out}/trained --architecture "
                f"{ROOT}/conf/mini-wav2vec2.yaml --max-steps 2 --batch-size 2 --num-threads 1",
                [normal],
                [out / "trained"],
                *PASSING_OF_TRAINING,
            ),
            job(
                "models export",
                f"models export {ROOT}/models/mini-wav2vec2 {out}/exported --window-seconds 1",
                [],
                [out / "exported"],
            ),
            job(
                "dashboard",
                f"analyze dashboard {analysis} --output {out}/page/dashboard.html",
                [analysis],
                [out / "page"],
            ),
        ]

    def _make(self, job: Job) -> tuple[dict[str, dict[str, str]], float]:
        ending = run_disturbed(job.argv, Disturbance())
        assert ending.status == 0, f"{job.argv}: {ending.err}"
        return job.digests(), ending.seconds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Made once."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("seed", range(N_FAULTS))
def test_a_fault_loses_nothing(world: World, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    jobs = [job for job in World.jobs(world.root, tmp_path) if kind != "lost input" or job.inputs]
    if kind == "cut input":
        jobs = [job for job in jobs if job.inputs]
    job = rng.choice(jobs)
    expected, seconds = world.made[job.name]
    print(f"seed {seed}: {job.name}, {kind}")
    for _ in range(rng.choice((1, 1, 2))):  # a run that goes on may be disturbed as well
        disturb(job, kind, rng, seconds, tmp_path)
    again = run_disturbed(job.argv, Disturbance())
    if kind == "cut output" and again.status == 2:
        assert_one_sentence(again)
        assert str(tmp_path) in again.err, "the file is named"
        for path in job.outputs:
            shutil.rmtree(path)
        again = run_disturbed(job.argv, Disturbance())
    assert again.status == 0, again.err
    assert job.digests() == expected
    assert not [file for path in job.outputs for file in temporary_files(path)]


def disturb(job: Job, kind: str, rng: random.Random, seconds: float, scratch: Path) -> None:
    """Let a run meet a fault, and see that it ends as it should."""
    if kind in SIGNALS:
        moment = rng.uniform(0, 1.1 * seconds)
        ending = run_disturbed(job.argv, Disturbance(kind, after_seconds=moment))
        assert ending.status in (0, STATUS_OF[kind]), ending.err
        if ending.status in (130, 143):
            assert ending.seconds_after_signal < SECONDS_TO_STOP
            assert ending.complaint == SAY_SO[kind]
            assert "Traceback" not in ending.err, ending.err
        if ending.status != -9:
            assert not [file for path in job.outputs for file in temporary_files(path)]
    elif kind == "full disk":
        room = int(2 ** rng.uniform(6, 18))
        ending = run_disturbed(job.argv, Disturbance(kind, room_bytes=room))
        assert ending.status in (0, 2), ending.err
        if ending.status:
            assert_one_sentence(ending)
            assert "no space left" in ending.err
    elif kind in ("cut input", "lost input"):
        with damaged(rng.choice(job.inputs), kind, rng):
            ending = run_disturbed(job.argv, Disturbance())
        assert ending.status in (0, 1, 2), ending.err
        assert "Traceback" not in ending.err, ending.err
        if ending.status == 2:
            assert_one_sentence(ending)
        # What was made from a damaged input is not what is compared.
        for path in job.outputs:
            shutil.rmtree(path, ignore_errors=True)
    else:
        ending = run_disturbed(job.argv, Disturbance())
        assert ending.status == 0, ending.err
        cut(rng.choice([file for path in job.outputs for file in files(path)]), rng)


def assert_one_sentence(ending: Ending) -> None:
    """One line that says what is wrong; lines of progress may stand before it."""
    said = [line for line in ending.err.strip().splitlines() if not line.startswith("INFO ")]
    assert len(said) == 1, ending.err
    assert re.match(r"error: \S", said[0]), ending.err


class damaged:
    """A file of a folder cut short, or gone, for a while."""

    def __init__(self, folder: Path, kind: str, rng: random.Random) -> None:
        self._file = rng.choice(files(folder))
        self._content = self._file.read_bytes()
        self._kind, self._rng = kind, rng

    def __enter__(self) -> None:
        if self._kind == "lost input":
            self._file.unlink()
        else:
            cut(self._file, self._rng)

    def __exit__(self, *_: object) -> None:
        self._file.write_bytes(self._content)


def cut(file: Path, rng: random.Random) -> None:
    """Leave the beginning of a file."""
    os.truncate(file, rng.randrange(max(1, file.stat().st_size)))
