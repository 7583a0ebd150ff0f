"""The network to train, set up such that a CPU computes it right and fast."""

from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from models.growth import grow


def make_model(output: Path, checkpoint: Path | None = None) -> Wav2Vec2ForCTC:
    """Make the network to train by the config in ``output``: at random, or from a checkpoint.

    The checkpoint may be smaller than the config says; see :func:`models.growth.grow`.
    """
    attention = fastest_attention()
    source = checkpoint if checkpoint and not (output / "config.json").is_file() else output
    config = Wav2Vec2Config.from_pretrained(source, attn_implementation=attention)
    if checkpoint is None:
        model = Wav2Vec2ForCTC(config)
    elif _size(Wav2Vec2Config.from_pretrained(checkpoint)) == _size(config):
        model = Wav2Vec2ForCTC.from_pretrained(checkpoint, attn_implementation=attention)
    else:
        model = Wav2Vec2ForCTC(config)
        grow(model, Wav2Vec2ForCTC.from_pretrained(checkpoint))
    _keep_float32(model.wav2vec2.encoder.pos_conv_embed.conv)
    return model


def fastest_attention() -> str | None:
    """Which attention to train with: on a CPU and for clips of seconds, the plain one.

    In bfloat16 it takes half the time per step of torch's fused one.
    """
    return None if torch.cuda.is_available() else "eager"


def freeze_features(model: Wav2Vec2ForCTC) -> None:
    """Train no convolutions, and let what went through them already pass: [shape=(b, dim, t)]."""
    model.freeze_feature_encoder()
    encoder = model.wav2vec2.feature_extractor
    forward = encoder.forward
    module: torch.nn.Module = encoder
    module.forward = lambda values: values if values.ndim == 3 else forward(values)


def _size(config: Wav2Vec2Config) -> tuple[int, int]:
    return config.num_hidden_layers, config.intermediate_size


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
