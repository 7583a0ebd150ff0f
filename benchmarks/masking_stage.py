"""The whole masking stage against the pilot's: CPU seconds and bytes on disk, three profiles, 5 s.

Both read FLAC clips and end in a dataset on disk. The pilot's way is restated with the libraries it
used: librosa per profile, float64 lists, ``Dataset.from_list``, ``save_to_disk``. The clips are
those of examples/mini-corpus, joined to 5 s.
"""

from masking import pilot  # isort: skip - sets the number of threads before numpy is imported

import argparse
import multiprocessing
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets
import numpy as np
from corpora import write_corpus

from pipeline.audio import encode_audio, load_mono
from pipeline.corpus import open_corpus
from pipeline.masking.profiles import PILOT_PROFILES, get_profile
from pipeline.masking.stage import MaskStage
from pipeline.stage import RunOptions, run_stage

CLIPS = Path(__file__).parents[1] / "examples/mini-corpus/cv-corpus-1.0-2026-11-21/en/clips"
SECONDS, SAMPLING_RATE = 5, 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = write_source(Path(folder) / "speech", arguments.clips)
        once = [run_pair(source, Path(folder)) for _ in range(arguments.repeats)]
    pairs = np.array(once)
    cpu, disk = pairs[:, :2], pairs[0, 2:]
    low, median, high = np.quantile(cpu[:, 1] / cpu[:, 0], [0, 0.5, 1])
    per_clip = 1e3 * np.median(cpu, axis=0) / arguments.clips
    print(
        f"masking stage: {per_clip[0]:.1f} ms of CPU a clip against {per_clip[1]:.1f} ms, "
        f"{median:.1f} times less ({low:.1f} to {high:.1f} over {arguments.repeats} repeats)"
    )
    print(
        f"on disk: {disk[0] / 1e6:.1f} MB against {disk[1] / 1e6:.1f} MB, "
        f"{disk[1] / disk[0]:.1f} times less"
    )
    floor(arguments.clips)


def write_source(root: Path, n_clips: int) -> Path:
    """Write a corpus of 5 s clips as 16-bit FLAC."""
    speech = np.concatenate([load_mono(path) for path in sorted(CLIPS.glob("*.mp3"))[:200]])
    length = SECONDS * SAMPLING_RATE
    starts = np.linspace(0, len(speech) - length, n_clips).astype(int)
    pieces = (speech[start : start + length] for start in starts)
    sounds = [encode_audio(piece, audio_format="flac16") for piece in pieces]
    return write_corpus(root, sounds, n_clips)


def run_pair(source: Path, folder: Path) -> tuple[float, float, int, int]:
    ours_s, ours_bytes = in_a_process(ours, source, folder / "out")
    peer_s, peer_bytes = in_a_process(peer, source, folder / "out")
    return ours_s, peer_s, ours_bytes, peer_bytes


def in_a_process(
    way: Callable[[Path, Path], None],
    source: Path,
    output: Path,
    before: Callable[[], object] = list,
) -> tuple[float, int]:
    """CPU seconds and bytes written, in a process whose memory is as fresh as a real run's."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        process.submit(before).result()  # not counted
        seconds = process.submit(cpu_seconds, way, source, output).result()
    outputs = list(output.parent.glob(f"{output.name}*"))
    n_bytes = sum(f.stat().st_size for o in outputs for f in o.rglob("*") if f.is_file())
    for folder in outputs:
        shutil.rmtree(folder)
    return seconds, n_bytes


def ours(source: Path, output_base: Path) -> None:
    profiles = tuple(map(get_profile, PILOT_PROFILES))
    run_stage(MaskStage(source, output_base, profiles), RunOptions(num_workers=0))


def peer(source: Path, output_base: Path) -> None:
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in PILOT_PROFILES}
    split = open_corpus(source)["train"]
    for index in range(len(split)):
        row = split.row(index)
        # Its workers send what they make back to the parent.
        variants = pickle.loads(pickle.dumps(pilot(split.waveform(index))))
        for name, variant in zip(PILOT_PROFILES, variants, strict=True):
            samples = variant.astype(np.float64).tolist()
            rows[name].append({**row, "audio": {"array": samples, "sampling_rate": 16_000}})
    datasets.disable_progress_bars()
    for name, of_profile in rows.items():
        datasets.Dataset.from_list(of_profile).save_to_disk(f"{output_base}_{name}")


def floor(n_clips: int) -> None:
    """What decoding and encoding alone take, which no simulation can save."""
    rng = np.random.default_rng(0)
    clip = (0.1 * rng.standard_normal(SECONDS * SAMPLING_RATE)).astype(np.float32)
    stored = encode_audio(clip, audio_format="flac16")
    decoding = cpu_seconds(lambda: [load_mono(stored) for _ in range(n_clips)])
    encoding = cpu_seconds(lambda: [encode_audio(clip) for _ in range(3 * n_clips)])
    print(
        f"floor: decoding {1e3 * decoding / n_clips:.1f} ms and encoding three times "
        f"{1e3 * encoding / n_clips:.1f} ms a clip"
    )


def cpu_seconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


if __name__ == "__main__":
    main()
