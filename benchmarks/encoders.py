"""Encoders beside the functions of an older integration, on the same clips, and the first sample.

``python benchmarks/encoders.py`` prints, for one core and in CPU seconds:

- samples per second of our input encoder, metadata and error metrics, and how many times that is
  what functions as in the older wav2vec2 integration for LibriSpeech manage: the clip padded to
  34.96 s, ten calls of librosa with four statistics each, thirteen rates one sample at a time;
- CPU milliseconds from opening the samples of a split to its first tensor, for the demo data and
  for a split of a million rows, made for this in a temporary folder.
"""

import argparse
import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jiwer
import librosa
import numpy as np
import pyarrow as pa
import textstat

from hearing_analysis import encoders
from hearing_analysis.config import AnalysisConfig
from hearing_analysis.metadata import sample_metadata
from hearing_analysis.recognition import scores
from hearing_analysis.samples import SampleSet, open_samples
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.audio import SAMPLING_RATE, encode_audio
from pipeline.corpus import (
    AUDIO_TYPE,
    corpus_schema,
    shard_name,
    write_dataset_dict,
    write_split_metadata,
)

OLDER_LENGTH = 559_280  # samples, 34.96 s
MILLION = 1_000_000
ROWS_PER_SHARD = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=20, help="clips per measurement")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of measurements")
    options = parser.parse_args()
    config = AnalysisConfig(profiles=("normal",))
    samples = open_samples(config, "test")
    preprocessor = Wav2Vec2Preprocessor.from_folder(config.model_folder)
    ids = samples.ids[: options.clips]
    for sample_id in ids:  # the files are in the page cache for both sides
        samples.audio_bytes(sample_id)
    compare(
        "metadata",
        *(samples, ids, our_metadata),
        lambda s, i: older_metadata(s.waveform(i), s.sentence(i)),
        options.repeats,
    )
    compare(
        "input",
        *(samples, ids),
        lambda s, i: encoders.input_values(s.waveform(i), preprocessor, config.n_samples),
        lambda s, i: np.pad(s.waveform(i), (0, OLDER_LENGTH - len(s.waveform(i)))),
        options.repeats,
    )
    compare_metrics([samples.sentence(i).upper() for i in ids], options.repeats)
    print(f"first sample, demo data: {first_sample_ms(config):.0f} ms of CPU")
    with tempfile.TemporaryDirectory() as folder:
        make_million(Path(folder))
        million = AnalysisConfig(data_root=f"{folder}/million", profiles=("normal",))
        print(f"first sample, a million rows: {first_sample_ms(million):.0f} ms of CPU")


def compare(
    what: str,
    samples: SampleSet,
    ids: Sequence[str],
    ours: Callable[[SampleSet, str], object],
    older: Callable[[SampleSet, str], object],
    repeats: int,
) -> None:
    """Print samples per second of both, and their ratio; decoding counts on both sides."""

    def all_of(encode: Callable[[SampleSet, str], object]) -> Callable[[], None]:
        def run() -> None:
            samples._decoded.clear()
            for sample_id in ids:
                encode(samples, sample_id)

        return run

    report(what, len(ids), all_of(ours), all_of(older), repeats)


def compare_metrics(sentences: list[str], repeats: int) -> None:
    """Print how fast the errors of a batch are counted, with every third word wrong."""
    hypotheses = [
        " ".join("X" if place % 3 == 0 else word for place, word in enumerate(s.split()))
        for s in sentences
    ]

    def ours() -> None:
        scores.word_scores(sentences, hypotheses)
        scores.character_scores(sentences, hypotheses)

    def older() -> None:
        for reference, hypothesis in zip(sentences, hypotheses, strict=True):
            for rate in (jiwer.wer, jiwer.cer, jiwer.mer, jiwer.wil, jiwer.wip):
                rate(reference, hypothesis)
            for count in range(4):  # deletions, insertions, substitutions, hits
                jiwer.process_words(reference, hypothesis)
                jiwer.process_characters(reference, hypothesis)
                del count

    report("metrics", len(sentences), ours, older, repeats)


def report(
    what: str, n: int, ours: Callable[[], None], older: Callable[[], None], repeats: int
) -> None:
    ours(), older()  # caches and compilation
    pairs = np.array([(cpu_seconds(ours), cpu_seconds(older)) for _ in range(repeats)])
    low, median, high = np.quantile(pairs[:, 1] / pairs[:, 0], [0, 0.5, 1])
    mine, theirs = n / np.median(pairs, axis=0)
    print(
        f"{what}: {mine:,.0f} samples a second and core against {theirs:,.0f}, "
        f"{median:.1f} times as fast ({low:.1f} to {high:.1f} over {repeats} repeats)"
    )


def cpu_seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def our_metadata(samples: SampleSet, sample_id: str) -> dict[str, Any]:
    return sample_metadata(
        profile=samples.profile(sample_id),
        waveform=samples.waveform(sample_id),
        sampling_rate=SAMPLING_RATE,
        columns=samples.columns(sample_id),
    )


def older_metadata(waveform: np.ndarray, sentence: str) -> dict[str, Any]:
    """Spectral features, counts and readability as in the older integration."""
    feature, rate = librosa.feature, SAMPLING_RATE
    described = {
        "spectral_flatness": feature.spectral_flatness(y=waveform),
        "spectral_contrast": feature.spectral_contrast(y=waveform),
        "melspectrogram": feature.melspectrogram(y=waveform, sr=rate),
        "mfcc": feature.mfcc(y=waveform, sr=rate),
        "rms": feature.rms(y=waveform),
        "spectral_centroid": feature.spectral_centroid(y=waveform, sr=rate),
        "spectral_bandwidth": feature.spectral_bandwidth(y=waveform, sr=rate),
        "spectral_rolloff": feature.spectral_rolloff(y=waveform, sr=rate),
        "poly_features": feature.poly_features(y=waveform, sr=rate),
        "zero_crossing_rate": feature.zero_crossing_rate(y=waveform),
    }
    readability = (
        *("syllable_count", "lexicon_count", "sentence_count", "flesch_reading_ease"),
        *("flesch_kincaid_grade", "gunning_fog", "dale_chall_readability_score"),
        *("difficult_words", "linsear_write_formula", "text_standard"),
    )
    words = sentence.split()
    return {
        **{
            f"{name}_{statistic}": float(getattr(values, statistic)())
            for name, values in described.items()
            for statistic in ("min", "max", "mean", "std")
        },
        **{name: getattr(textstat, name)(sentence) for name in readability},
        "word_count": len(words),
        "longest": max(map(len, words), default=0),
    }


def first_sample_ms(config: AnalysisConfig) -> float:
    """CPU milliseconds from nothing to the first input; the files are in the page cache."""
    preprocessor = Wav2Vec2Preprocessor.from_folder(config.model_folder)
    found = []
    for _ in range(3):
        started = time.process_time()
        samples = open_samples(config, "train")
        first = samples.ids[0]
        encoders.input_values(samples.waveform(first), preprocessor, config.n_samples)
        found.append(1000 * (time.process_time() - started))
    return float(np.median(found))


def make_million(folder: Path) -> None:
    """A variant of a million rows that all hold the same second of noise."""
    noise = np.random.default_rng(0).standard_normal(SAMPLING_RATE).astype(np.float32) / 10
    columns = {
        **dict.fromkeys(("id", "sentence", "profile"), pa.string()),
        "audio": AUDIO_TYPE,
        "output_gain_db": pa.float64(),
    }
    schema = corpus_schema(columns, SAMPLING_RATE)
    dataset = folder / "million_normal" / "dataset"
    (dataset / "train").mkdir(parents=True)
    n_shards = MILLION // ROWS_PER_SHARD
    names = [shard_name(shard, n_shards) for shard in range(n_shards)]
    sound = {"bytes": encode_audio(noise)[:400], "path": None}
    whole = {"bytes": encode_audio(noise), "path": None}
    for shard, name in enumerate(names):
        sounds = [whole if shard == 0 and row == 0 else sound for row in range(ROWS_PER_SHARD)]
        table = pa.table(
            {
                "id": [f"clip_{shard * ROWS_PER_SHARD + row:07d}" for row in range(ROWS_PER_SHARD)],
                "sentence": ["a sentence"] * ROWS_PER_SHARD,
                "profile": ["normal"] * ROWS_PER_SHARD,
                "audio": pa.array(sounds, AUDIO_TYPE),
                "output_gain_db": np.zeros(ROWS_PER_SHARD),
            },
            schema=schema,
        )
        with pa.ipc.new_stream(str(dataset / "train" / name), schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    write_split_metadata(dataset / "train", schema, names, "0" * 16)
    write_dataset_dict(dataset, ("train",))


if __name__ == "__main__":
    main()
