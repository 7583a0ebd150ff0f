"""The networks to export: loaded in float32 with plain attention, outputs in a fixed order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch.nn.utils import parametrize
from transformers import (
    HubertForCTC,
    PreTrainedModel,
    Wav2Vec2ForCTC,
    WhisperForConditionalGeneration,
)

from models.checkpoint import Checkpoint, Family, check_weights
from pipeline.errors import InputError

CLASSES: dict[Family, type[PreTrainedModel]] = {
    "wav2vec2": Wav2Vec2ForCTC,
    "hubert": HubertForCTC,
    "whisper": WhisperForConditionalGeneration,
}


@dataclass(frozen=True)
class Graph:
    """One ONNX file to write.

    Attributes
    ----------
    name : str
        Of the file.
    network : torch.nn.Module
        Takes the inputs by position, returns the outputs as a tuple.
    inputs, outputs : dict of str to tuple of str
        Names in order, each with the names of its free axes by position; "" for a fixed one.
    examples : callable
        Inputs for a batch size: (batch, seed) -> one tensor per input.
    """

    name: str
    network: torch.nn.Module
    inputs: dict[str, tuple[str, ...]]
    outputs: dict[str, tuple[str, ...]]
    examples: Callable[[int, int], tuple[torch.Tensor, ...]]


def load_network(checkpoint: Checkpoint, *, trust_pickle: bool = False) -> Any:
    """Load a checkpoint's weights, ready for tracing.

    Raises
    ------
    InputError
        If there are none, they are damaged or not the network's, or a pickle is not trusted.
    """
    folder = checkpoint.folder
    check_weights(folder, trust_pickle=trust_pickle)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        # With output_loading_info, it is a pair that its type does not know of.
        loaded: Any = CLASSES[checkpoint.family].from_pretrained(
            str(folder),
            attn_implementation="eager",
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=None if trust_pickle else True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a damaged folder makes transformers stumble on
        reason = str(error).partition("\n")[0]
        raise InputError(f"{folder} holds no weights that load ({reason})") from error
    model, loading = loaded
    missing = sorted(loading["missing_keys"])
    if missing:
        raise InputError(
            f"the weights in {folder} lack {len(missing)} tensors of a "
            f"{checkpoint.architecture}, {missing[0]} first; take the checkpoint that was "
            "fine-tuned to write text"
        )
    return model.eval()


class CtcLogitsAndStates(torch.nn.Module):
    """wav2vec2 or HuBERT: logits and the states they are read from."""

    def __init__(self, model: Any, *, dynamic_length: bool = False) -> None:
        super().__init__()
        self.base, self.head = model.base_model, model.lm_head
        norm = getattr(self.base.feature_extractor.conv_layers[0], "layer_norm", None)
        if isinstance(norm, torch.nn.GroupNorm) and norm.num_groups == norm.num_channels:
            self.base.feature_extractor.conv_layers[0].layer_norm = ChannelNorm(
                norm, dynamic_length=dynamic_length
            )
        # The weight norm of the positional convolution is a constant once training is over.
        convolution = self.base.encoder.pos_conv_embed.conv
        if parametrize.is_parametrized(convolution, "weight"):
            parametrize.remove_parametrizations(convolution, "weight")

    def forward(self, input_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, samples) to (batch, frames, vocabulary) and (batch, frames, hidden)."""
        states = self.base(input_values).last_hidden_state
        return self.head(states), states


class ChannelNorm(torch.nn.Module):
    """``torch.nn.GroupNorm`` with a group per channel, summed so that no precision is lost.

    ONNX Runtime sums one value after the other: over the tens of thousands of a window, the
    variance of a clip with loud and silent parts then has a hundred times the error of torch's.
    Sums of short blocks, and the sum of those, do not.
    """

    block = 128

    def __init__(self, norm: torch.nn.GroupNorm, *, dynamic_length: bool = False) -> None:
        super().__init__()
        self.dynamic_length = dynamic_length
        self.weight, self.bias, self.epsilon = norm.weight, norm.bias, norm.eps

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """Normalise every channel over time: (batch, channels, time) to the same."""
        centred = signal - self._mean(signal)
        normed = centred / torch.sqrt(self._mean(centred * centred) + self.epsilon)
        return normed * self.weight[:, None] + self.bias[:, None]

    def _mean(self, signal: torch.Tensor) -> torch.Tensor:
        # An int is a constant in the graph, which leaves less there to convert.
        length = signal.shape[2] if self.dynamic_length else int(signal.shape[2])
        n_blocks = length // self.block
        blocks = signal[:, :, : n_blocks * self.block]
        blocks = blocks.reshape(-1, len(self.weight), n_blocks, self.block)
        rest = signal[:, :, n_blocks * self.block :].sum(dim=2, keepdim=True)
        return (blocks.sum(dim=3).sum(dim=2, keepdim=True) + rest) / length


def ctc_graph(model: Any, name: str, n_samples: int, *, dynamic_length: bool = False) -> Graph:
    """wav2vec2 or HuBERT as one graph: input_values -> logits, hidden_states."""

    def examples(batch: int, seed: int) -> tuple[torch.Tensor, ...]:
        longer = 4_321 if dynamic_length and seed % 2 else 0
        return (noise(seed, batch, n_samples + longer),)

    samples, frames = ("samples", "frames") if dynamic_length else ("", "")
    return Graph(
        name,
        CtcLogitsAndStates(model, dynamic_length=dynamic_length).eval(),
        {"input_values": ("batch", samples)},
        {"logits": ("batch", frames), "hidden_states": ("batch", frames)},
        examples,
    )


def noise(seed: int, *shape: int) -> torch.Tensor:
    """Gaussian noise that is the same every time: float32."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_ids(seed: int, batch: int, length: int, vocabulary_size: int) -> torch.Tensor:
    """Token ids that are the same every time: int64 [shape=(batch, length)]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary_size, (batch, length), generator=generator)
