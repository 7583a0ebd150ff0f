"""The network to train, set up such that a CPU computes it right and fast."""

from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC


def make_model(output: Path, checkpoint: Path | None = None) -> Wav2Vec2ForCTC:
    """Make the network to train: from a checkpoint, or at random by the config in ``output``."""
    # On a CPU and for clips of seconds, plain attention takes a quarter less time per step.
    attention = None if torch.cuda.is_available() else "eager"
    if checkpoint is not None:
        model = Wav2Vec2ForCTC.from_pretrained(checkpoint, attn_implementation=attention)
    else:
        config = Wav2Vec2Config.from_pretrained(output, attn_implementation=attention)
        model = Wav2Vec2ForCTC(config)
    _keep_float32(model.wav2vec2.encoder.pos_conv_embed.conv)
    return model


def _keep_float32(module: torch.nn.Module) -> None:
    """Leave a module out of mixed precision.

    Needed for the positional convolution: on CPUs with matrix units (AMX), torch 2.12 computes
    grouped convolutions in bfloat16 wrongly, and a model that recognises speech then writes noise.
    """
    forward = module.forward

    def in_float32(features: torch.Tensor) -> torch.Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return forward(features.float())

    module.forward = in_float32
