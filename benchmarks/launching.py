"""What launching costs beside the clips: CPU seconds of a task, of the finish, of a look at all.

The output has as many shards as a corpus of 2.57 million clips, in three variants, all empty:
everything but the clips is there. What an import does when it is submitted, and again when it is
finished, is measured on a release folder of empty files.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import pyarrow as pa
from corpora import write_corpus

from pipeline.audio import encode_audio
from pipeline.corpus import AUDIO_TYPE
from pipeline.imports.detect import open_layout
from pipeline.launch.progress import standing_of
from pipeline.launch.record import Record
from pipeline.shards import Kept, Output, record_path, shard_path
from pipeline.stage import RunOptions, begin, plan, run_stage

VARIANTS = ("normal", "lfloss", "hfloss")
SIZES = {"train": 1_147_812, "validation": 16_403, "test": 16_403, "other": 1_393_786}


@dataclass(frozen=True)
class EmptyStage:
    """Variants whose clips nobody makes."""

    folder: Path
    name: str = "empty"
    sources: tuple[Path, ...] = ()
    source_digest: str = ""

    @property
    def outputs(self) -> tuple[Output, ...]:
        columns = {"id": pa.string(), "audio": AUDIO_TYPE}
        return tuple(Output(self.folder / name, columns) for name in VARIANTS)

    @property
    def config(self) -> dict[str, Any]:
        return {}

    def split_sizes(self) -> dict[str, int]:
        return SIZES

    def prepare(self) -> None:
        pass

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept]:
        raise NotImplementedError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20_000, help="of the release folder")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_shards(EmptyStage(Path(folder) / "out"))
        measure_task(Path(folder), arguments.repeats)
        measure_release(Path(folder), arguments.clips)


def measure_shards(stage: EmptyStage) -> None:
    """Finish, and look at, an output of thousands of shards."""
    begin(stage, overwrite=False)
    tasks = plan(SIZES)
    for output in stage.outputs:
        for task in tasks:
            shard = shard_path(output.root, task)
            shard.parent.mkdir(parents=True, exist_ok=True)
            shard.touch()
            facts = {"clips_out": task.n_rows, "quarantined": [], "remarks": [], "further_rows": 0}
            record = record_path(output.root, task)
            record.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(str(task).encode()).hexdigest()
            record.write_text(json.dumps({**facts, "xxh128": digest, "bytes": 0}))
    roots = tuple(str(output.root) for output in stage.outputs)
    launched = Record(
        *("empty-0", "empty", "", roots[0], roots, SIZES, {}, 64, tuple(range(64)), 3),
        array="1",
        submitted_at=time.time(),
    )
    looking = cpu_seconds(lambda: standing_of(launched))
    finishing = cpu_seconds(lambda: run_stage(stage, RunOptions(num_workers=0, finish="only")))
    n_files = sum(path.is_file() for path in stage.folder.rglob("*"))
    print(
        f"{len(tasks):,} shards, three variants, {n_files:,} files: {looking:.1f} s of CPU to look "
        f"at them, {finishing:.1f} s to finish"
    )


def measure_task(folder: Path, repeats: int) -> None:
    """Start a task that has next to nothing to do."""
    sound = encode_audio(np.zeros(1_600, np.float32))
    write_corpus(folder / "one", [sound], 1)
    command = [sys.executable, "-m", "pipeline.cli", "mask", "--input-dir", str(folder / "one")]
    shares = [*command, "--num-workers", "0", "--shard", "0/1", "--finish", "never"]
    submitit = [sys.executable, "-c", "import submitit.core._submit, pipeline.launch.task"]
    once = [cpu_seconds_of(shares) + cpu_seconds_of(submitit) for _ in range(1 + repeats)][1:]
    print(f"a task of masking: {np.median(once):.1f} s of CPU before its first clip")


def measure_release(folder: Path, n_clips: int) -> None:
    """Read the tables of a release and the sizes of its clips."""
    release = folder / "cv-corpus-1.0" / "en"
    (release / "clips").mkdir(parents=True)
    names = [f"common_voice_en_{index:08d}.mp3" for index in range(n_clips)]
    for name in names:
        (release / "clips" / name).touch()
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\n"
    rows = (f"{'0' * 128}\t{name}\tIt is a small tree.\t2\t0\t\t\t\ten\n" for name in names)
    (release / "train.tsv").write_text(header + "".join(rows))
    layout = open_layout(release.parent, folder / "imported", "commonvoice", None)
    seconds = cpu_seconds(lambda: (layout.digest(("train",)), layout.size("train")))
    print(f"an import: {1e6 * seconds / n_clips:.0f} µs of CPU a clip to know its input")


def cpu_seconds(work: Callable[[], object]) -> float:
    before = getrusage(RUSAGE_SELF)
    with redirect_stderr(io.StringIO()):
        work()
    after = getrusage(RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_seconds_of(command: list[str]) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
