"""Speech sequence embeddings as an encoder of speech: checkpoints of ``pipeline sse train``.

Stages do not import each other, so the code that reads these checkpoints is looked up by its name,
as every registered encoder is.
"""

import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus import files_digest
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.mining.encoders import Kind
from pipeline.mining.preset import EncoderChoice

FILES = ("config.json", "model.safetensors")
SHORTEST = 400  # samples: one frame


@dataclass(frozen=True)
class SseEncoder:
    """A network that embeds a stretch of speech, whatever its length, as one vector."""

    checkpoint: Path
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
        return cls(folder)

    @property
    def settings(self) -> dict[str, Any]:
        """Which weights."""
        return {"encoder": "sse", "checkpoint_digest": files_digest(self.checkpoint, FILES)}

    def encode_speech(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed clips, one at a time."""
        return np.stack([self._encode(waveform) for waveform in waveforms])

    def _encode(self, waveform: np.ndarray) -> np.ndarray:
        import torch

        if len(waveform) < SHORTEST:
            raise ClipError(f"{len(waveform)} samples are fewer than one frame's {SHORTEST}")
        network, source = _model(self.checkpoint)
        frames = source.normalize(source.frames(waveform))
        with torch.inference_mode():
            inputs = torch.from_numpy(np.ascontiguousarray(frames, np.float32))[None]
            row = network(inputs, torch.tensor([len(frames)]))[0]
        return np.asarray(row.float().cpu())


@functools.cache
def _model(checkpoint: Path) -> Any:
    import torch

    torch.set_num_threads(1)  # workers run side by side
    model = importlib.import_module("pipeline.sse.model").load_model(checkpoint)
    source = importlib.import_module("pipeline.sse.frames").source_from(model.frames)
    return model.network, source
