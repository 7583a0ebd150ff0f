"""How much faster `audio_metadata` is than ten calls of librosa that compute the same.

Run it with ``python benchmarks/metadata.py``. Both are measured in turn in the same process, on the
same clips of noise in syllables, on one thread; what is printed is the ratio of their times.
"""

import argparse
import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import time
from collections.abc import Callable

import librosa
import numpy as np

from hearing_analysis.metadata import audio_metadata

SAMPLING_RATE = 16_000


def main() -> None:
    """Print the ratio for each clip length, with its spread over the repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="pairs of measurements per length")
    parser.add_argument("--clips", type=int, default=8, help="clips per measurement")
    options = parser.parse_args()
    for seconds in (2, 6, 15):
        clips = [_clip(seconds, seed) for seed in range(options.clips)]
        ours, theirs = _measure(clips, options.repeats)
        low, median, high = np.quantile(theirs / ours, [0, 0.5, 1])
        print(
            f"{seconds:>3} s clips: {1e3 * np.median(ours):6.2f} ms against "
            f"{1e3 * np.median(theirs):6.2f} ms with librosa, "
            f"{median:.1f} times as fast ({low:.1f} to {high:.1f} over {options.repeats} repeats)"
        )


def _clip(seconds: int, seed: int) -> np.ndarray:
    n_samples = seconds * SAMPLING_RATE
    syllables = np.sin(2 * np.pi * 2 * np.arange(n_samples) / SAMPLING_RATE) ** 2
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    return (0.1 * noise * syllables).astype(np.float32)


def _measure(clips: list[np.ndarray], repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds per clip [shape=(repeats,)] of ours and of librosa's, measured in turn."""
    for describe in (audio_metadata, _with_librosa):
        describe(clips[0], SAMPLING_RATE)  # caches and compilation
    pairs = [
        (_seconds(audio_metadata, clips), _seconds(_with_librosa, clips)) for _ in range(repeats)
    ]
    ours, theirs = np.array(pairs).T
    return ours, theirs


def _seconds(describe: Callable[[np.ndarray, int], object], clips: list[np.ndarray]) -> float:
    start = time.perf_counter()
    for clip in clips:
        describe(clip, SAMPLING_RATE)
    return (time.perf_counter() - start) / len(clips)


def _with_librosa(waveform: np.ndarray, sampling_rate: int) -> dict[str, float]:
    feature = librosa.feature
    described = {
        "spectral_flatness": feature.spectral_flatness(y=waveform),
        "spectral_contrast": feature.spectral_contrast(y=waveform, sr=sampling_rate).mean(axis=0),
        "melspectrogram": feature.melspectrogram(y=waveform, sr=sampling_rate),
        "mfcc": feature.mfcc(y=waveform, sr=sampling_rate),
        "rms": feature.rms(y=waveform),
        "spectral_centroid": feature.spectral_centroid(y=waveform, sr=sampling_rate),
        "spectral_bandwidth": feature.spectral_bandwidth(y=waveform, sr=sampling_rate),
        "spectral_rolloff": feature.spectral_rolloff(y=waveform, sr=sampling_rate),
        "poly_features": feature.poly_features(y=waveform, sr=sampling_rate, order=1)[0],
        "zero_crossing_rate": feature.zero_crossing_rate(waveform),
    }
    return {
        f"{name}_{statistic}": float(getattr(np, statistic)(values))
        for name, values in described.items()
        for statistic in ("min", "max", "mean", "std")
    }


if __name__ == "__main__":
    main()
