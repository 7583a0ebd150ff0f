"""Peak memory of the masking stage over corpora of growing size: it must not grow with them.

Runs ``pipeline mask`` with two workers on corpora of half-second clips, and watches what it and its
workers hold (proportional set size, so that shared pages count once).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from corpora import write_corpus

from pipeline.audio import encode_audio

SECONDS_BETWEEN_LOOKS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    noise = 0.1 * np.random.default_rng(0).standard_normal((50, 8_000)).astype(np.float32)
    sounds = [encode_audio(clip) for clip in noise]
    for n_clips in parser.parse_args().clips:
        with tempfile.TemporaryDirectory() as folder:
            source = write_corpus(Path(folder) / "speech", sounds, n_clips)
            seconds, peak = watch(source)
        print(
            f"{n_clips:,} clips: peak {peak / 1e6:.0f} MB, {seconds:.0f} s, "
            f"{n_clips / seconds:.0f} clips a second",
            flush=True,
        )


def watch(source: Path) -> tuple[float, int]:
    started, peak = time.monotonic(), 0
    command = [sys.executable, "-m", "pipeline.cli", "mask", "--input-dir", str(source), "-j", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            peak = max(peak, held(run.pid))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if run.returncode:
        raise SystemExit(f"pipeline mask ended with {run.returncode}")
    return time.monotonic() - started, peak


def held(pid: int) -> int:
    """Bytes a process and its children hold."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:
            continue
    return total


if __name__ == "__main__":
    main()
