"""Real-time factor of the shipped recognisers: ONNX Runtime beside torch, at batch 1 and 16.

Both transcribe the same clips of the shipped corpus in one run, on the same threads, in turns; CPU
seconds per second of speech, since they are steadier than a clock. Torch is transformers as it
comes: eager mode, a Whisper with ``generate``. Preprocessing and reading the text are not counted.
A Whisper is decoded by its step graphs and, in brackets, by the one graph that the platform takes,
which hears the clip anew at every step.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

from models.checkpoint import open_checkpoint, open_session
from models.export.command import export_onnx
from models.export.networks import load_network
from models.speech import spoken_clips
from models.wav2vec2 import Wav2Vec2Preprocessor
from models.whisper import WhisperPreprocessor
from models.whisper_decoding import WholeGraph, open_network, transcribe

ROOT = Path(__file__).parents[1]
SHIPPED = [ROOT / "models" / name for name in ("mini-wav2vec2", "mini-whisper")]
BATCHES = (1, 16)
Transcriber = Callable[[np.ndarray], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*", default=SHIPPED)
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.num_threads)
    transformers.logging.set_verbosity_error()
    print(f"{arguments.num_threads} threads; CPU seconds per second of speech")
    for folder in arguments.folders:
        if not (folder / "model.safetensors").is_file():
            print(f"{folder.name}: not there")
            continue
        with tempfile.TemporaryDirectory() as steps:
            stepwise = folder
            if open_checkpoint(folder).family == "whisper" and not has_steps(folder):
                stepwise = Path(steps)
                export_onnx(folder, stepwise)
            for batch in BATCHES:
                compare(folder, stepwise, batch, arguments.num_threads, arguments.repeats)


def has_steps(folder: Path) -> bool:
    """Whether a Whisper was exported with the graphs that keep what they have heard."""
    return (folder / "decoder.onnx").is_file()


def compare(folder: Path, stepwise: Path, batch: int, num_threads: int, repeats: int) -> None:
    """Print a line for one model and batch size."""
    ways, inputs, seconds = make(folder, stepwise, batch, num_threads)
    for way in ways.values():
        way(inputs)
    taken = np.zeros((repeats, len(ways)))
    for repeat in taken:
        for column, way in enumerate(ways.values()):
            start = time.process_time()
            way(inputs)
            repeat[column] = time.process_time() - start
    factors = dict(zip(ways, np.median(taken, axis=0) / seconds, strict=True))
    names = list(ways)
    ratios = taken[:, names.index("torch")] / taken[:, names.index("onnx")]
    low, median, high = np.quantile(ratios, [0, 0.5, 1])
    whole = f" (one graph {factors['whole']:.4f})" if "whole" in factors else ""
    print(
        f"{folder.name}, batch {batch:2}: ONNX {factors['onnx']:.4f}{whole}, "
        f"torch {factors['torch']:.4f}, {median:.1f} times less "
        f"({low:.1f} to {high:.1f} over {repeats} repeats)"
    )


def make(
    folder: Path, stepwise: Path, batch: int, num_threads: int
) -> tuple[dict[str, Transcriber], np.ndarray, float]:
    """Ways to transcribe a batch, what they are given, and seconds of speech in it."""
    checkpoint = open_checkpoint(folder)
    network = load_network(checkpoint)
    clips = spoken_clips(16_000, batch)
    if checkpoint.family == "whisper":
        preprocessor = WhisperPreprocessor.from_folder(folder)
        inputs = preprocessor.input_features([clip.waveform for clip in clips])
        steps = open_network(stepwise, preprocessor, num_threads=num_threads)
        session = open_session(folder, num_threads=num_threads)
        whole = WholeGraph(session, preprocessor.end_id)

        def generate(features: np.ndarray) -> object:
            with torch.no_grad():
                return network.generate(
                    torch.from_numpy(features), language="en", task="transcribe"
                )

        ways: dict[str, Transcriber] = {
            "onnx": lambda features: transcribe(steps, features, preprocessor),
            "whole": lambda features: transcribe(whole, features, preprocessor),
            "torch": generate,
        }
        return ways, inputs, batch * float(preprocessor.mel.chunk_length)
    reader = Wav2Vec2Preprocessor.from_folder(folder)
    session = open_session(folder, num_threads=num_threads)
    length = session.get_inputs()[0].shape[1]
    values = np.stack([reader.input_values(clip.waveform, length) for clip in clips])

    def listen(batch_of_values: np.ndarray) -> object:
        with torch.no_grad():
            return network(torch.from_numpy(batch_of_values)).logits

    runs: dict[str, Transcriber] = {
        "onnx": lambda v: session.run(["logits"], {"input_values": v}),
        "torch": listen,
    }
    return runs, values, batch * length / reader.sampling_rate


if __name__ == "__main__":
    main()
