"""A Whisper that is trained with CTC besides: its attention finds the words much sooner.

CTC over characters on the encoder's states pulls each of them to where it is heard, which attention
alone has to find out (Watanabe et al. 2017, IEEE J. Sel. Top. Signal Process. 11:1240-1253). The
head for it is of no use afterwards: :func:`plain` leaves it out.
"""

from typing import Any

import torch
from torch import nn
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

# The alphabet of the wav2vec2 models; the first is CTC's blank.
CHARACTERS = "_ ETAONIHSRDLUMWCFGYPBVK'XJQZ"


class HybridWhisper(WhisperForConditionalGeneration):
    """A Whisper with a head for CTC on its encoder, which takes features of any length."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__(config)
        self.ctc_head = nn.Linear(config.d_model, len(CHARACTERS))
        self.post_init()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As of any Whisper, with ``ctc_logits`` [shape=(batch, t, n_characters)] besides."""
        outputs = super().forward(*args, **kwargs)
        if outputs.encoder_last_hidden_state is not None:
            outputs["ctc_logits"] = self.ctc_head(outputs.encoder_last_hidden_state)
        return outputs


def plain(model: HybridWhisper) -> WhisperForConditionalGeneration:
    """Return the same network without the head for CTC."""
    network = WhisperForConditionalGeneration(model.config)
    weights = {
        name: weight
        for name, weight in model.state_dict().items()
        if not name.startswith("ctc_head.")
    }
    network.load_state_dict(weights)
    network.generation_config = model.generation_config
    return network


def take_any_length(encoder: WhisperEncoder) -> None:
    """Let an encoder take fewer frames than its chunk has: states of fewer positions."""

    def forward(input_features: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        hidden = nn.functional.gelu(encoder.conv1(input_features))
        hidden = nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        hidden = nn.functional.dropout(hidden, p=encoder.dropout, training=encoder.training)
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        return BaseModelOutput(last_hidden_state=encoder.layer_norm(hidden))

    encoder.forward = forward


def character_ids(text: str) -> list[int]:
    """What CTC is to write: letters, apostrophes and spaces."""
    return [CHARACTERS.index(mark) for mark in text.upper() if mark in CHARACTERS[1:]]
