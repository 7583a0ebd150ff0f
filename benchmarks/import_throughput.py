"""Import of MP3 at 48 kHz as FLAC at 16 kHz, against ``librosa.load`` and ``Dataset.from_list``.

Both read the same release folder and end in a dataset on disk, each in a process of its own; CPU
seconds are compared, so the figures are those of one core. The floor is what decoding alone takes.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import csv
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from pipeline.audio import decode, encode_audio, load_mono
from pipeline.commonvoice.layout import CommonVoice
from pipeline.imports.stage import ImportStage
from pipeline.stage import RunOptions, run_stage

CLIPS = Path(__file__).parents[1] / "examples/mini-corpus/cv-corpus-1.0-2026-11-21/en/clips"
SECONDS, SAMPLING_RATE = 5, 48_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    n_clips = arguments.clips
    with tempfile.TemporaryDirectory() as folder:
        release = write_release(Path(folder) / "release", n_clips)
        rows = [run_pair(release, Path(folder) / "out") for _ in range(arguments.repeats)]
        cpu = np.array(rows)
        low, median, high = np.quantile(cpu[:, 1] / cpu[:, 0], [0, 0.5, 1])
        mine, theirs = np.median(cpu, axis=0)
        print(
            f"import: {n_clips / mine:.0f} clips of {SECONDS} s a second and core against "
            f"{n_clips / theirs:.0f}, {median:.1f} times as many "
            f"({low:.1f} to {high:.1f} over {arguments.repeats} repeats)"
        )
        floor(sorted((release / "en" / "clips").iterdir()))


def write_release(root: Path, n_clips: int) -> Path:
    """Write MP3 files of speech, 5 s at 48 kHz, and their table."""
    speech = np.concatenate(
        [load_mono(path, SAMPLING_RATE) for path in sorted(CLIPS.glob("*.mp3"))[:200]]
    )
    length = SECONDS * SAMPLING_RATE
    (root / "en" / "clips").mkdir(parents=True)
    names = [f"clip{number:06d}.mp3" for number in range(n_clips)]
    starts = np.linspace(0, len(speech) - length, n_clips).astype(int)
    for name, start in zip(names, starts, strict=True):
        piece = speech[start : start + length]
        soundfile.write(root / "en" / "clips" / name, piece, SAMPLING_RATE, format="MP3")
    lines = ["path\tsentence", *(f"{name}\tone two three" for name in names), ""]
    (root / "en" / "train.tsv").write_text("\n".join(lines))
    return root


def run_pair(release: Path, output: Path) -> tuple[float, float]:
    """CPU seconds of both, each in a process whose memory is as fresh as a real run's."""
    seconds = []
    for way in (ours, peer):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            seconds.append(process.submit(prepared, way, release, output).result())
        shutil.rmtree(output)
    return seconds[0], seconds[1]


def prepared(way: Callable[[Path, Path], None], release: Path, output: Path) -> float:
    """CPU seconds without those of imports and first calls."""
    import datasets
    import librosa

    datasets.disable_progress_bars()
    librosa.load(next((release / "en" / "clips").iterdir()), sr=16_000)
    return cpu_seconds(lambda: way(release, output))


def ours(release: Path, output: Path) -> None:
    stage = ImportStage(CommonVoice(release, output / "source"), output)
    run_stage(stage, RunOptions(num_workers=0))


def peer(release: Path, output: Path) -> None:
    import datasets
    import librosa

    rows = []
    with (release / "en" / "train.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            samples, rate = librosa.load(release / "en" / "clips" / row["path"], sr=16_000)
            audio = {"array": samples.tolist(), "sampling_rate": rate}
            rows.append({**row, "audio": audio})
    datasets.Dataset.from_list(rows).save_to_disk(str(output))


def floor(paths: list[Path]) -> None:
    """What decoding alone takes, and what resampling and encoding add to it."""
    sounds = [path.read_bytes() for path in paths]
    decoding = cpu_seconds(lambda: [decode(sound) for sound in sounds]) / len(sounds)
    loading = cpu_seconds(lambda: [load_mono(sound) for sound in sounds]) / len(sounds)
    waveform = load_mono(sounds[0])
    encoding = cpu_seconds(lambda: [encode_audio(waveform) for _ in sounds]) / len(sounds)
    print(
        f"floor: decoding alone {1 / decoding:.0f} clips a second ({1e3 * decoding:.2f} ms a clip);"
        f" resampling {1e3 * (loading - decoding):.2f} ms, encoding {1e3 * encoding:.2f} ms"
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
