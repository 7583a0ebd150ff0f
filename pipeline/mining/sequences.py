"""Speech sequence embeddings as an encoder of speech: checkpoints of ``pipeline sse train``.

They are made for stretches of up to a second. So a clip is cut into overlapping stretches of two
durations, each is embedded, and a match kernel (:mod:`pipeline.mining.kernel`) makes one vector of
all of them.

Stages do not import each other, so the code that reads these checkpoints is looked up by its name,
as every registered encoder is.
"""

import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from pipeline.corpus import files_digest
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.mining.encoders import Kind
from pipeline.mining.kernel import MatchKernel
from pipeline.mining.preset import EncoderChoice

FILES = ("config.json", "model.safetensors")
SHORTEST = 400  # samples: one frame
HOP = 320  # samples from frame to frame
# Frames of a stretch, and from one to the next.
STRETCHES = ((12, 2), (20, 4))
SILENCE_DB = 30  # below the loudest frame; what is so quiet at either end is no speech
Pooling = Literal["sequence", "clip"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


@dataclass(frozen=True)
class SseEncoder:
    """A network that embeds a stretch of speech, whatever its length, as one vector.

    Attributes
    ----------
    checkpoint : Path
    pooling : {"sequence", "clip"}
        One vector from overlapping stretches, or of the clip as one stretch.
    """

    checkpoint: Path
    pooling: Pooling = "sequence"
    kind: Kind = "speech"

    @classmethod
    def from_choice(cls, choice: EncoderChoice) -> "SseEncoder":
        """Open what a preset names."""
        if not choice.model:
            raise InputError(f"{choice.target} needs encoder_model: such as models/mini-sse")
        folder = Path(choice.model)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise MissingPathError(
                f"{folder} is no model of speech sequence embeddings ({missing[0]} is missing); "
                "set encoder_model to one such as models/mini-sse"
            )
        pooling = choice.settings.get("pooling") or POOLINGS[0]
        if pooling not in POOLINGS:
            raise InputError(f"pooling {pooling!r} is not one of: {', '.join(POOLINGS)}")
        return cls(folder, pooling)

    @property
    def settings(self) -> dict[str, Any]:
        """Which weights, and how they are used."""
        digest = files_digest(self.checkpoint, FILES)
        return {"encoder": "sse", "checkpoint_digest": digest, "pooling": self.pooling}

    def encode_speech(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed clips, one at a time."""
        return np.stack([self._encode(waveform) for waveform in waveforms])

    def _encode(self, waveform: np.ndarray) -> np.ndarray:
        if len(waveform) < SHORTEST:
            raise ClipError(f"{len(waveform)} samples are fewer than one frame's {SHORTEST}")
        if self.pooling == "clip":
            return self._embed([_model(self.checkpoint).source.frames(waveform)])[0]
        frames = _model(self.checkpoint).source.frames(without_silence(waveform))
        kernel, parts = MatchKernel(), list[np.ndarray]()
        for width, step in STRETCHES:
            starts = range(0, max(len(frames) - width, 0) + 1, step)
            rows = self._embed([frames[start : start + width] for start in starts])
            parts.append(kernel.embed(rows, (np.arange(len(rows)) + 0.5) / len(rows)))
        return np.concatenate(parts)

    def _embed(self, stretches: Sequence[np.ndarray]) -> np.ndarray:
        """Embed stretches of equal length."""
        import torch

        network, source = _model(self.checkpoint)
        frames = np.stack([source.normalize(stretch) for stretch in stretches]).astype(np.float32)
        with torch.inference_mode():
            lengths = torch.full((len(frames),), frames.shape[1])
            return np.asarray(network(torch.from_numpy(frames), lengths).float().cpu())


def without_silence(waveform: np.ndarray) -> np.ndarray:
    """Cut what is quiet off both ends: from the first frame to the last that is not.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        At least 400 samples.
    """
    squares = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.arange(0, len(waveform) - SHORTEST + 1, HOP)
    power = squares[starts + SHORTEST] - squares[starts]
    loud = np.flatnonzero(power >= power.max() * 10 ** (-SILENCE_DB / 10))
    return waveform[starts[loud[0]] : starts[loud[-1]] + SHORTEST]


class _Model(NamedTuple):
    network: Any
    source: Any


@functools.cache
def _model(checkpoint: Path) -> _Model:
    import torch

    torch.set_num_threads(1)  # workers run side by side
    model = importlib.import_module("pipeline.sse.model").load_model(checkpoint)
    source = importlib.import_module("pipeline.sse.frames").source_from(model.frames)
    return _Model(model.network, source)
