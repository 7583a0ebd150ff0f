"""Peak memory of a stage over corpora of growing size: it must not grow with them.

Runs ``pipeline mask`` or ``pipeline logmel`` with two workers on corpora of half-second clips, and
watches what it and its workers hold. Told apart are memory of their own, and pages of the corpus
that happen to be mapped: the system takes those back whenever it needs them.
"""

import argparse
import contextlib
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
WAYS = {
    "mask": lambda source: ["mask", "--input-dir", str(source)],
    "logmel": lambda source: ["logmel", "-i", str(source), "-o", f"{source}_logmel"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=WAYS, nargs="+", default=list(WAYS))
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    arguments = parser.parse_args()
    noise = 0.1 * np.random.default_rng(0).standard_normal((50, 8_000)).astype(np.float32)
    sounds = [encode_audio(clip) for clip in noise]
    for stage in arguments.stage:
        for n_clips in arguments.clips:
            with tempfile.TemporaryDirectory() as folder:
                source = write_corpus(Path(folder) / "speech", sounds, n_clips)
                seconds, own, mapped = watch(WAYS[stage](source))
            print(
                f"{stage}, {n_clips:,} clips: peak {own / 1e6:.0f} MB, and "
                f"{mapped / 1e6:.0f} MB mapped; {seconds:.0f} s, {n_clips / seconds:.0f} clips/s",
                flush=True,
            )


def watch(arguments: list[str]) -> tuple[float, int, int]:
    started, own, mapped = time.monotonic(), 0, 0
    command = [sys.executable, "-m", "pipeline.cli", *arguments, "-j", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            own_now, mapped_now = held(run.pid)
            own, mapped = max(own, own_now), max(mapped, mapped_now)
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if run.returncode:
        raise SystemExit(f"pipeline {arguments[0]} ended with {run.returncode}")
    return time.monotonic() - started, own, mapped


def held(pid: int) -> tuple[int, int]:
    """Bytes a process and its children hold: of their own, and mapped from files."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    own = mapped = 0
    for member in family:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{member.pid}/status").read_text(encoding="ascii")
            own += kilobytes(status, "RssAnon") + kilobytes(status, "RssShmem")
            mapped += kilobytes(status, "RssFile")
    return own, mapped


def kilobytes(status: str, name: str) -> int:
    line = next((line for line in status.splitlines() if line.startswith(f"{name}:")), None)
    return 1024 * int(line.split()[1]) if line else 0


if __name__ == "__main__":
    main()
