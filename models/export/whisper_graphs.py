"""Whisper as ONNX graphs: whole, for the platform, and in steps, for decoding at leisure's pace."""

from typing import Any

import torch

from models.export.networks import Graph, noise, random_ids
from models.whisper_decoding import DECODER_FILE, ENCODER_FILE

CACHED_AXES = ("", "batch", "", "past")


class WholeWhisper(torch.nn.Module):
    """Encoder and decoder in one; every position's logits from the tokens up to it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.head = model.model, model.proj_out

    def forward(
        self, input_features: torch.Tensor, decoder_input_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (batch, positions, vocabulary), encoder's states (batch, frames / 2, hidden)."""
        states = self.model.encoder(input_features).last_hidden_state
        decoded = self.model.decoder(
            decoder_input_ids,
            # Without one, transformers looks for packed sequences, which cannot be exported.
            attention_mask=torch.ones_like(decoder_input_ids),
            encoder_hidden_states=states,
            use_cache=False,
        )
        return self.head(decoded.last_hidden_state), states


class WhisperEncoder(torch.nn.Module):
    """The encoder, and what every layer of the decoder will ask of its states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.layers = model.model.encoder, model.model.decoder.layers

    def forward(
        self, input_features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """States (batch, frames / 2, hidden); keys and values (layers, batch, heads, …, width)."""
        states = self.encoder(input_features).last_hidden_state
        attentions = [layer.encoder_attn for layer in self.layers]
        keys = [split_heads(attention.k_proj(states), attention) for attention in attentions]
        values = [split_heads(attention.v_proj(states), attention) for attention in attentions]
        return states, torch.stack(keys), torch.stack(values)


class WhisperDecoderStep(torch.nn.Module):
    """The decoder on the tokens that are new, given what it kept of those before.

    The arithmetic is ``WhisperDecoder``'s (transformers), the keys and values of earlier tokens and
    of the encoder's states handed in instead of computed.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder, self.head = model.model.decoder, model.proj_out

    def forward(
        self,
        decoder_input_ids: torch.Tensor,
        cross_keys: torch.Tensor,
        cross_values: torch.Tensor,
        self_keys: torch.Tensor,
        self_values: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of the new tokens, keys and values of all."""
        n_past = self_keys.shape[3]
        positions = torch.arange(decoder_input_ids.shape[1]) + n_past
        hidden = self.decoder.embed_tokens(decoder_input_ids)
        hidden = hidden + self.decoder.embed_positions.weight[positions]
        # A token sees those before it, and itself.
        visible = torch.arange(decoder_input_ids.shape[1] + n_past) <= positions[:, None]
        all_keys, all_values = [], []
        for index, layer in enumerate(self.decoder.layers):
            attention = layer.self_attn
            normed = layer.self_attn_layer_norm(hidden)
            keys, values = (
                torch.cat([past[index], split_heads(project(normed), attention)], dim=2)
                for past, project in (
                    (self_keys, attention.k_proj),
                    (self_values, attention.v_proj),
                )
            )
            hidden = hidden + attend(attention, normed, keys, values, visible)
            normed = layer.encoder_attn_layer_norm(hidden)
            hidden = hidden + attend(
                layer.encoder_attn, normed, cross_keys[index], cross_values[index]
            )
            normed = layer.final_layer_norm(hidden)
            hidden = hidden + layer.fc2(layer.activation_fn(layer.fc1(normed)))
            all_keys.append(keys)
            all_values.append(values)
        logits = self.head(self.decoder.layer_norm(hidden))
        return logits, torch.stack(all_keys), torch.stack(all_values)


def split_heads(projected: torch.Tensor, attention: Any) -> torch.Tensor:
    """(batch, n, hidden) to (batch, heads, n, width)."""
    return projected.unflatten(2, (attention.num_heads, attention.head_dim)).transpose(1, 2)


def attend(
    attention: Any,
    hidden: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    visible: torch.Tensor | None = None,
) -> torch.Tensor:
    """Plain attention of ``hidden`` to keys and values that are already there."""
    queries = split_heads(attention.q_proj(hidden) * attention.scaling, attention)
    scores = queries @ keys.transpose(2, 3)
    if visible is not None:
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    heard = scores.softmax(dim=-1) @ values
    return attention.out_proj(heard.transpose(1, 2).flatten(2))


def whole_graph(model: Any, name: str, n_positions: int) -> Graph:
    """Whisper as one graph: input_features, decoder_input_ids -> logits, encoder_hidden_states."""
    config = model.config

    def examples(batch: int, seed: int) -> tuple[torch.Tensor, ...]:
        ids = random_ids(seed, batch, n_positions, config.vocab_size)
        return features(config, batch, seed), ids

    return Graph(
        name,
        WholeWhisper(model).eval(),
        {"input_features": ("batch",), "decoder_input_ids": ("batch",)},
        {"logits": ("batch",), "encoder_hidden_states": ("batch",)},
        examples,
    )


def step_graphs(model: Any) -> tuple[Graph, Graph]:
    """Whisper as two graphs that keep keys and values between steps."""
    config = model.config
    encoder = Graph(
        ENCODER_FILE,
        WhisperEncoder(model).eval(),
        {"input_features": ("batch",)},
        {
            "encoder_hidden_states": ("batch",),
            "cross_keys": ("", "batch"),
            "cross_values": ("", "batch"),
        },
        lambda batch, seed: (features(config, batch, seed),),
    )
    heads = config.decoder_attention_heads
    width = config.d_model // heads

    def examples(batch: int, seed: int) -> tuple[torch.Tensor, ...]:
        n_new, n_past = (1, 3) if seed % 2 else (4, 0)
        cross, past = (
            (config.decoder_layers, batch, heads, length, width)
            for length in (config.max_source_positions, n_past)
        )
        kept = [noise(seed + i, *shape) for i, shape in enumerate((cross, cross, past, past))]
        return random_ids(seed, batch, n_new, config.vocab_size), *kept

    decoder = Graph(
        DECODER_FILE,
        WhisperDecoderStep(model).eval(),
        {
            "decoder_input_ids": ("batch", "new"),
            "cross_keys": ("", "batch"),
            "cross_values": ("", "batch"),
            "self_keys": CACHED_AXES,
            "self_values": CACHED_AXES,
        },
        {
            "logits": ("batch", "new"),
            "all_self_keys": ("", "batch", "", "all"),
            "all_self_values": ("", "batch", "", "all"),
        },
        examples,
    )
    return encoder, decoder


def features(config: Any, batch: int, seed: int) -> torch.Tensor:
    """Noise where log-mel features belong."""
    return noise(seed, batch, config.num_mel_bins, 2 * config.max_source_positions)
