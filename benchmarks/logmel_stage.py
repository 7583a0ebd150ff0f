"""The whole log-mel stage against the pilot's: CPU seconds and bytes on disk, large-v3, 5 s clips.

Each reads what the masking stage before it wrote, FLAC here and lists of float64 there, and ends in
a dataset on disk. The pilot's way is restated with the libraries it used: transformers' feature
extractor per clip inside ``Dataset.map``, padded float32 features, then ``save_to_disk``. Labels
come from the same small tokenizer. Imports are left out on both sides. The stage here cuts its work
as it would cut a corpus of 60,000 clips, the size of the pilot's own example; with ``--as-is``, as
it cuts the few clips of this benchmark, into shards of 16, which costs more a clip.
"""

import pairs  # noqa: F401  # isort: skip - sets the number of threads before numpy is imported

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from masking_stage import cpu_seconds, in_a_process, write_source

from pipeline import stage
from pipeline.audio import load_mono
from pipeline.corpus import open_corpus
from pipeline.logmel.features import MelSettings, log_mel
from pipeline.logmel.stage import LogMelStage
from pipeline.logmel.tokens import LabelSettings, label_ids
from pipeline.stage import RunOptions, run_stage

CLIPS_OF_THE_PILOT = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--as-is", action="store_true")
    arguments = parser.parse_args()
    prepare = import_all if arguments.as_is else import_and_cut_large
    with tempfile.TemporaryDirectory() as folder:
        source = write_source(Path(folder) / "speech", arguments.clips)
        write_lists(source)
        output = Path(folder) / "out"
        ways = {"float32": ours, "float16": ours_in_half, "the pilot's way": peer}
        runs = [
            [in_a_process(way, source, output, prepare) for way in ways.values()]
            for _ in range(arguments.repeats)
        ]
        seconds, sizes = np.moveaxis(np.array(runs), -1, 0)
        floor(source)
    for column, name in enumerate(list(ways)[:2]):
        low, median, high = np.quantile(seconds[:, 2] / seconds[:, column], [0, 0.5, 1])
        ms = 1e3 * np.median(seconds, axis=0) / arguments.clips
        print(
            f"log-mel stage, {name}: {ms[column]:.1f} ms of CPU a clip against {ms[2]:.1f} ms, "
            f"{median:.1f} times less ({low:.1f} to {high:.1f} over {arguments.repeats} repeats); "
            f"on disk {sizes[0, column] / 1e6:.1f} MB against {sizes[0, 2] / 1e6:.1f} MB, "
            f"{sizes[0, 2] / sizes[0, column]:.1f} times less"
        )


def import_all() -> None:
    """Load what either way does, once for however many clips."""
    from transformers import WhisperFeatureExtractor

    WhisperFeatureExtractor(feature_size=128)(np.zeros(16_000), sampling_rate=16_000)
    label_ids(["a"], LabelSettings())


def import_and_cut_large() -> None:
    import_all()
    rows = stage.rows_per_shard(CLIPS_OF_THE_PILOT)
    stage.rows_per_shard = lambda _: rows


def ours(source: Path, output: Path) -> None:
    run_stage(LogMelStage(source, output), RunOptions(num_workers=0))


def ours_in_half(source: Path, output: Path) -> None:
    run_stage(LogMelStage(source, output, dtype="float16"), RunOptions(num_workers=0))


def peer(source: Path, output: Path) -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=128)
    settings = LabelSettings()

    def prepare(row: dict[str, Any]) -> dict[str, Any]:
        audio = row["audio"]
        features = extractor(audio["array"], sampling_rate=audio["sampling_rate"]).input_features[0]
        return {"input_features": features, "labels": label_ids([row["sentence"]], settings)[0]}

    datasets.disable_progress_bars()
    datasets.disable_caching()
    dataset = datasets.load_from_disk(str(lists_beside(source))).shuffle(seed=42)
    mapped = dataset.map(prepare, remove_columns=dataset.column_names, writer_batch_size=100)
    mapped.save_to_disk(str(output))


def write_lists(source: Path) -> None:
    """Write the clips as the pilot's masking did, which its features start from."""
    split = open_corpus(source)["train"]

    def rows() -> Iterator[dict[str, Any]]:
        for index in range(len(split)):
            samples = split.waveform(index).astype(np.float64)
            audio = {"array": samples, "sampling_rate": split.sampling_rate}
            yield {"sentence": split.row(index)["sentence"], "audio": audio}

    datasets.disable_progress_bars()
    datasets.Dataset.from_generator(rows, cache_dir=str(source)).save_to_disk(lists_beside(source))


def lists_beside(source: Path) -> Path:
    return source.with_name("lists")


def floor(source: Path) -> None:
    """What decoding and the features alone take."""
    split, settings = open_corpus(source)["train"], MelSettings()
    clips = [split.audio_bytes(index) for index in range(len(split))]
    waveforms = [load_mono(clip) for clip in clips]
    decoding = cpu_seconds(lambda: [load_mono(clip) for clip in clips])
    features = cpu_seconds(lambda: [log_mel(waveform, settings) for waveform in waveforms])
    print(
        f"floor: decoding {1e3 * decoding / len(clips):.1f} ms, "
        f"features {1e3 * features / len(clips):.1f} ms a clip"
    )


if __name__ == "__main__":
    main()
