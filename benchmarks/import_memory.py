"""Peak memory and disk of a streaming import, over releases of growing size.

Runs ``pipeline import --streaming`` with two threads on archives of tiny clips, with the tables
before the clips and behind them, and watches what it and its workers hold. Told apart are memory of
their own and pages of files that happen to be mapped. Of the disk it tells the most that the output
folder took on the way, against what the finished corpus takes.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from stage_memory import SECONDS_BETWEEN_LOOKS, held

BASE = "cv-corpus-9.9/en"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--only", choices=("first", "last"), help="Place of the tables.")
    arguments = parser.parse_args()
    for place in (arguments.only,) if arguments.only else ("first", "last"):
        for n_clips in arguments.clips:
            with tempfile.TemporaryDirectory() as folder:
                archive = write_archive(Path(folder) / "cv.tar.gz", n_clips, place)
                print(f"tables {place}, {n_clips:,} clips: {watch(archive)}", flush=True)


def write_archive(path: Path, n_clips: int, place: str) -> Path:
    """Write a release of 0.2 s MP3 clips, with tables before or behind them."""
    sounds = [tiny_mp3(seed) for seed in range(50)]
    names = [f"common_voice_en_{number:08d}.mp3" for number in range(n_clips)]
    order = np.random.default_rng(0).permutation(n_clips)  # the tables know no order of the archive
    rows = "".join(f"{number:0128x}\t{names[number]}\tone two three\n" for number in order)
    clips = ((f"clips/{name}", sounds[n % len(sounds)]) for n, name in enumerate(names))
    header = "client_id\tpath\tsentence\n"
    tables = [("train.tsv", (header + rows).encode())]
    for name in ("dev", "test", "other", "invalidated"):
        tables.append((f"{name}.tsv", header.encode()))
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for group in (tables, clips) if place == "first" else (clips, tables):
            for name, content in group:
                info = tarfile.TarInfo(f"{BASE}/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            tar.members.clear()
    return path


def tiny_mp3(seed: int) -> bytes:
    import soundfile

    noise = 0.1 * np.random.default_rng(seed).standard_normal(3_200).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, 16_000, format="MP3")
    return buffer.getvalue()


def watch(archive: Path) -> str:
    output = archive.parent / "out"
    command = [sys.executable, "-m", "pipeline.cli", "import", str(archive), str(output)]
    command += ["--streaming", "-j", "2"]
    started, own, mapped, disk = time.monotonic(), 0, 0, 0
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            own_now, mapped_now = held(run.pid)
            own, mapped = max(own, own_now), max(mapped, mapped_now)
            disk = max(disk, taken(output))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if run.returncode:
        raise SystemExit(f"pipeline import ended with {run.returncode}")
    seconds = time.monotonic() - started
    return (
        f"peak {own / 1e6:.0f} MB, and {mapped / 1e6:.0f} MB mapped; disk at most "
        f"{disk / 1e6:.0f} MB for a corpus of {taken(output) / 1e6:.0f} MB; {seconds:.0f} s"
    )


def taken(folder: Path) -> int:
    """Bytes of all files of a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # removed since it was listed
            continue
    return total


if __name__ == "__main__":
    main()
