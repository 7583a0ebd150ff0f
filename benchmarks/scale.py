"""The whole way over corpora of growing size: clips per second, memory and disk of every step.

The clips are those of the shipped corpus under new names, their bytes copied as often as it takes:
so every clip is decoded, masked and transcribed as any other, but there are only 420 different
ones. The recogniser hears the test split, a tenth of the clips, under three profiles; units are
learned from the train split, and all other steps take all.
``--plot`` draws what a ``--json`` of earlier runs holds.
"""

import argparse
import contextlib
import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from stage_memory import held

ROOT = Path(__file__).parents[1]
RELEASE = ROOT / "examples/mini-corpus/cv-corpus-1.0-2026-11-21/en"
MODULES = {"pipeline": "pipeline.cli", "analyze": "hearing_analysis.cli"}
SECONDS_BETWEEN_LOOKS = 0.25
# Of ten clips: where they go.
TABLES = {"train": 8, "dev": 1, "test": 1}
# Step, its command, and whether it takes all clips or the test split alone.
STEPS = (
    ("import", "pipeline import {0}/release {0}/speech", "all"),
    ("mask", "pipeline mask --input-dir {0}/speech", "all"),
    ("logmel", "pipeline logmel -i {0}/speech_normal -o {0}/mel --model-size tiny", "all"),
    ("mfcc", "pipeline kmeans mfcc {0}/speech_normal train 8 all {0}/units", "train"),
    ("k-means", "pipeline kmeans learn {0}/units train 8 {0}/km.npz 100", "train"),
    ("labels", "pipeline kmeans label {0}/units train {0}/km.npz 8 all {0}/labels", "train"),
    (
        "analyze",
        "analyze run {0}/analysis --data-root {0}/speech --splits test --map pca",
        "test",
    ),
    (
        "dashboard",
        "analyze dashboard {0}/analysis --output {0}/page/dashboard.html",
        "test",
    ),
)


@dataclass(frozen=True)
class Measured:
    """What one step took for a corpus of some size.

    Attributes
    ----------
    clips : int
        Of the corpus.
    step_clips : int
        That the step takes.
    seconds, cpu_seconds : float
    peak_mb : float
        Of the process and its workers together, without pages of files.
    disk_mb : float
        That the step has added.
    """

    step: str
    clips: int
    step_clips: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    disk_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[200, 800, 3_200])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="Where to work [default: a temporary folder].")
    parser.add_argument("--json", type=Path, help="Add the figures to this file.")
    parser.add_argument(
        "--plot", type=Path, help="Draw the figures of --json, and measure nothing."
    )
    arguments = parser.parse_args()
    if arguments.plot:
        draw(read(arguments.json), arguments.plot)
        return
    measured = []
    for n_clips in arguments.clips:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            measured += list(walk(Path(folder), n_clips, arguments.workers))
    print(as_table(measured))
    print(growth(measured))
    if arguments.json:
        earlier = [m for m in read(arguments.json) if m.clips not in arguments.clips]
        kept = sorted(earlier + measured, key=lambda m: m.clips)
        arguments.json.write_text(json.dumps([asdict(m) for m in kept], indent=1) + "\n")


def walk(folder: Path, n_clips: int, workers: int) -> Iterator[Measured]:
    """Take all steps, one after the other."""
    write_release(folder / "release" / "en", n_clips)
    for step, command, takes in STEPS:
        program, *words = command.format(folder).split()
        if program == "pipeline" or words[0] == "run":
            words += ["-j", str(workers)]
        before = disk_bytes(folder)
        seconds, cpu_seconds, peak = run([sys.executable, "-m", MODULES[program], *words])
        share = {"all": 1.0, "train": 0.8, "test": 0.1}[takes]
        added = (disk_bytes(folder) - before) / 1e6
        step_clips = round(share * n_clips)
        measured = Measured(step, n_clips, step_clips, seconds, cpu_seconds, peak / 1e6, added)
        print(as_row(measured), file=sys.stderr, flush=True)
        yield measured


def write_release(folder: Path, n_clips: int) -> None:
    """Write a release of so many clips, in three tables."""
    clips, n_written = folder / "clips", 0
    clips.mkdir(parents=True)
    durations = dict(rows_of(RELEASE / "clip_durations.tsv", "clip", "duration[ms]"))
    with (folder / "clip_durations.tsv").open("w") as lengths:
        lengths.write("clip\tduration[ms]\n")
        for table, tenths in TABLES.items():
            with (RELEASE / f"{table}.tsv").open(encoding="utf-8", newline="") as file:
                header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            place = header.index("path")
            with (folder / f"{table}.tsv").open("w", encoding="utf-8") as made:
                made.write("\t".join(header) + "\n")
                for number in range(n_clips * tenths // 10):
                    row = list(rows[number % len(rows)])
                    source, row[place] = row[place], f"common_voice_en_{n_written:09d}.mp3"
                    shutil.copyfile(RELEASE / "clips" / source, clips / row[place])
                    made.write("\t".join(row) + "\n")
                    lengths.write(f"{row[place]}\t{durations[source]}\n")
                    n_written += 1


def rows_of(table: Path, *columns: str) -> Iterator[tuple[str, ...]]:
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield tuple(row[column] for column in columns)


def run(command: list[str]) -> tuple[float, float, int]:
    """Wall and CPU seconds of a command with its workers, and the most that they held."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started, used, peak = time.monotonic(), {}, 0
    with tempfile.TemporaryFile("w+") as err:
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=err
        ) as process:
            while process.poll() is None:
                peak = max(peak, held(process.pid)[0])
                used.update(cpu_of_family(process.pid))
                time.sleep(SECONDS_BETWEEN_LOOKS)
        err.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command[2:5])} failed: {err.read()[-500:]}")
    return time.monotonic() - started, sum(used.values()), peak


def cpu_of_family(pid: int) -> dict[int, float]:
    """CPU seconds so far of a process and of each of its descendants."""
    seconds = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for member in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = member.cpu_times()
                seconds[member.pid] = times.user + times.system
    return seconds


def disk_bytes(folder: Path) -> int:
    """Room that the files of a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if not path.is_symlink())


def as_table(measured: list[Measured]) -> str:
    head = "step           clips  of them   wall s    CPU s  clips/s  ms CPU/clip  peak MB  disk MB"
    return "\n".join([head, *map(as_row, measured)])


def as_row(m: Measured) -> str:
    return (
        f"{m.step:12} {m.clips:>7,} {m.step_clips:>8,} {m.seconds:>8.1f} {m.cpu_seconds:>8.1f} "
        f"{m.step_clips / m.seconds:>8.1f} {1e3 * m.cpu_seconds / m.step_clips:>12.1f} "
        f"{m.peak_mb:>8.0f} {m.disk_mb:>8.0f}"
    )


def growth(measured: list[Measured]) -> str:
    """What a further clip of the corpus costs between one size and the next, and memory in all."""
    sizes = sorted({m.clips for m in measured})
    if len(sizes) < 2:
        return ""
    of = {(m.step, m.clips): m for m in measured}
    names = ", ".join(f"{size:,}" for size in sizes)
    lines = [f"a further clip of the corpus, between {names} (equal where growth is linear):"]
    for step, *_ in STEPS:
        steps = [of[step, size] for size in sizes]
        pairs = list(itertools.pairwise(steps))
        more = [large.clips - small.clips for small, large in pairs]
        cpu = [large.cpu_seconds - small.cpu_seconds for small, large in pairs]
        disk = [large.disk_mb - small.disk_mb for small, large in pairs]
        cpu_ms = ", ".join(f"{1e3 * c / n:.1f}" for c, n in zip(cpu, more, strict=True))
        disk_kb = ", ".join(f"{1e3 * d / n:.0f}" for d, n in zip(disk, more, strict=True))
        memory = steps[-1].peak_mb - steps[0].peak_mb
        lines.append(f"{step}: {cpu_ms} ms of CPU, {disk_kb} kB; {memory:+.0f} MB in all")
    return "\n".join(lines)


def read(path: Path | None) -> list[Measured]:
    if path is None or not path.is_file():
        return []
    return [Measured(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def marginal(measured: list[Measured], step: str) -> np.ndarray:
    """Slope and constant of CPU seconds over the clips of a corpus, by least relative squares."""
    points = [(m.clips, m.cpu_seconds) for m in measured if m.step == step]
    clips, seconds = np.array(points, float).T
    return np.polyfit(clips, seconds, 1, w=1 / seconds)


def draw(measured: list[Measured], path: Path) -> None:
    """Draw CPU, memory and disk over the number of clips, and on to 2.5 million."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999")
    most = 2_500_000
    figure, panels = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    fields = (
        ("cpu_seconds", "CPU seconds"),
        ("peak_mb", "memory, MB"),
        ("disk_mb", "disk, MB"),
    )
    for panel, (field, label) in zip(panels, fields, strict=True):
        for colour, (step, *_) in zip(colours, STEPS, strict=True):
            points = sorted((m.clips, getattr(m, field)) for m in measured if m.step == step)
            clips, values = np.array(points, float).T
            if field == "disk_mb" and values.max() < 1:
                continue
            panel.plot(clips, values, "o-", color=colour, label=step, markersize=4)
            if field != "peak_mb" and len(clips) > 1:
                further = np.geomspace(clips[-1], most, 20)
                line = np.polyval(np.polyfit(clips, values, 1, w=1 / values), further)
                panel.plot(further, line, ":", color=colour)
        panel.set(xscale="log", xlabel="clips of the corpus", ylabel=label)
        if field != "peak_mb":
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
