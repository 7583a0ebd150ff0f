"""A larger wav2vec2 that starts with what a smaller one knows.

Feed-forward layers are widened by units that say nothing yet (Chen et al. 2016, Net2Net, arXiv
1511.05641), and layers are added on top that change next to nothing: the new network transcribes
as the old one does, and learns from there.
"""

from typing import cast

import torch
from torch import nn
from transformers import Wav2Vec2ForCTC
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2EncoderLayer

from pipeline.errors import InputError

WIDENED = ("intermediate_dense.weight", "intermediate_dense.bias", "output_dense.weight")


def grow(model: Wav2Vec2ForCTC, smaller: Wav2Vec2ForCTC) -> None:
    """Give a network, in place, the weights of one with fewer layers or narrower feed-forwards.

    Raises
    ------
    InputError
        If the two differ in anything else.
    """
    target = model.state_dict()
    for name, weights in smaller.state_dict().items():
        if name not in target:
            raise InputError(f"the architecture has no {name}, which the checkpoint has")
        with torch.no_grad():
            target[name].copy_(_fit(name, weights, target[name]))
    first_new = len(smaller.wav2vec2.encoder.layers)
    below = smaller.wav2vec2.encoder.layers[-1].final_layer_norm
    for layer in list(model.wav2vec2.encoder.layers)[first_new:]:
        _say_nothing(cast(Wav2Vec2EncoderLayer, layer), cast(nn.LayerNorm, below))


def _fit(name: str, weights: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Weights of the old units; those of the new ones as they are, but for what they say."""
    if weights.shape == target.shape:
        return weights
    fits = weights.ndim == target.ndim and all(
        old <= new for old, new in zip(weights.shape, target.shape, strict=True)
    )
    if not fits or not name.endswith(WIDENED):
        raise InputError(
            f"{name} is {tuple(weights.shape)} in the checkpoint and {tuple(target.shape)} in the "
            "architecture; only more layers and a larger intermediate_size can be grown into"
        )
    widened = target.clone()
    if name.endswith("output_dense.weight"):
        widened.zero_()
    widened[tuple(slice(size) for size in weights.shape)] = weights
    return widened


def _say_nothing(layer: Wav2Vec2EncoderLayer, below: nn.LayerNorm) -> None:
    """Make a layer whose two branches are silent and whose norms undo themselves.

    What comes in has been normalised by ``below``, with its gain and bias; normalised again it has
    zero mean and unit variance over the channels, which the layer's own norms take back on average.
    """
    for branch in (layer.attention.out_proj, layer.feed_forward.output_dense):
        nn.init.zeros_(branch.weight)
        nn.init.zeros_(branch.bias)
    gain, bias = below.weight.detach(), below.bias.detach()
    mean = bias.mean()
    variance = gain.square().mean() + (bias - mean).square().mean()
    for norm in (layer.layer_norm, layer.final_layer_norm):
        nn.init.constant_(norm.weight, float(variance.sqrt()))
        nn.init.constant_(norm.bias, float(mean))
