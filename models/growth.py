"""A larger wav2vec2 that starts with what a smaller one knows.

Feed-forward layers are widened by units that say nothing yet (Chen et al. 2016, Net2Net, arXiv
1511.05641), and layers are added on top that change nothing: the new network says what the old one
does, and learns from there.
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
    top = len(smaller.wav2vec2.encoder.layers) - 1
    layers = cast(list[Wav2Vec2EncoderLayer], list(model.wav2vec2.encoder.layers)[top:])
    for layer in layers[1:]:
        for branch in (layer.attention.out_proj, layer.feed_forward.output_dense):
            nn.init.zeros_(branch.weight)
            nn.init.zeros_(branch.bias)
    if not model.config.do_stable_layer_norm:
        _move_up([layer.final_layer_norm for layer in layers])


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


def _move_up(norms: list[nn.LayerNorm]) -> None:
    """Give gain and bias of the lowest norm to the highest.

    Between layers whose branches are silent what the lowest one has normalised then stays as it
    is, since normalising it again changes nothing, until the highest gives it gain and bias.
    """
    gain, bias = norms[0].weight.detach().clone(), norms[0].bias.detach().clone()
    for norm in norms:
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
    with torch.no_grad():
        norms[-1].weight.copy_(gain)
        norms[-1].bias.copy_(bias)
