"""Clips in and clips out, and the same bytes: for one worker, for four, and after ten kills."""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from corpora import write_corpus

from pipeline.audio import encode_audio
from pipeline.masking.profiles import PILOT_PROFILES

KILLS = 10
VARY = ("timing.json", ".lock")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=22_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    rng, moments = np.random.default_rng(0), random.Random(arguments.seed)
    lengths = range(4_000, 4_060)
    sounds = [encode_audio((0.1 * rng.standard_normal(n)).astype(np.float32)) for n in lengths]
    with tempfile.TemporaryDirectory() as folder:
        source = write_corpus(Path(folder) / "speech", sounds, arguments.clips)
        started = time.monotonic()
        subprocess.run(command(source, "one", 1), check=True)
        seconds = time.monotonic() - started
        run = json.loads((source.with_name("one_lfloss") / "run.json").read_text())
        print(f"1 worker, {seconds:.0f} s: {run['splits']['train']}")
        subprocess.run(command(source, "four", 4), check=True)
        print(f"4 workers: same bytes: {digest(source, 'four') == digest(source, 'one')}")
        interrupted = sum(
            killed(command(source, "killed", 2), moments.uniform(0.05, 0.15) * seconds)
            for _ in range(KILLS)
        )
        subprocess.run(command(source, "killed", 2), check=True)
        same = digest(source, "killed") == digest(source, "one")
        print(f"killed {interrupted} times (--seed {arguments.seed}): same bytes: {same}")


def command(source: Path, base: str, workers: int) -> list[str]:
    output = str(source.with_name(base))
    program = [sys.executable, "-m", "pipeline.cli", "mask", "--input-dir", str(source), "--json"]
    quiet = ["sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh"]
    return [*quiet, *program, "--output-base", output, "-j", str(workers)]


def killed(arguments: list[str], seconds: float) -> bool:
    """Start a run and kill it and its workers; false if it was done before."""
    with subprocess.Popen(arguments, start_new_session=True) as run:
        try:
            run.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            return True
    return False


def digest(source: Path, base: str) -> str:
    total = hashlib.sha256()
    for name in PILOT_PROFILES:
        root = source.with_name(f"{base}_{name}")
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            if path.name not in VARY:
                total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    main()
