"""The network: frames of a segment in, one vector out.

Algayres et al. 2022 (arXiv 2204.05148): layer normalisation, a convolution with a gated linear
unit, positions, one transformer layer, the maximum over time. Training puts a head behind it that
is not used afterwards. Here padding is masked, so that a segment's vector does not depend on what
it is batched with; and ``pooling="grid"`` is another way through: behind the convolution a segment
is read at a few places spread evenly over it, which are what the transformer sees and whose order,
unlike a maximum, the vector keeps. It is several times cheaper, too.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.corpus import read_json, write_atomically, write_json
from pipeline.errors import InputError, MissingPathError

Pooling = Literal["max", "grid"]
POOLINGS: tuple[Pooling, ...] = ("max", "grid")
WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
LOWEST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Architecture:
    """Sizes; the defaults are the paper's.

    Attributes
    ----------
    n_dims : int
        Numbers in a frame.
    width : int
        Of the transformer and of the embedding.
    heads, feed_forward : int
    kernel : int
        Frames that the convolution sees.
    stride : int
        Frames that it moves by; more than 1 makes training as many times cheaper.
    dropout : float
    pooling : {"max", "grid"}
    places : int
        Of ``grid``.
    """

    n_dims: int
    width: int = 512
    heads: int = 4
    feed_forward: int = 2048
    kernel: int = 4
    stride: int = 1
    dropout: float = 0.3
    pooling: Pooling = "max"
    places: int = 8

    def __post_init__(self) -> None:
        """Refuse sizes that do not go together."""
        if self.width % self.heads or self.width % 2:
            raise InputError(
                f"--width {self.width} must be even and a multiple of {self.heads} heads"
            )


class SequenceEmbedder(nn.Module):
    """Frames of segments to vectors.

    Parameters
    ----------
    architecture : Architecture
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.register_buffer("mean", torch.zeros(a.n_dims))
        self.register_buffer("scale", torch.ones(a.n_dims))
        self.norm = nn.LayerNorm(a.n_dims)
        self.convolution = nn.Conv1d(a.n_dims, 2 * a.width, a.kernel, a.stride)
        self.dropout = nn.Dropout(a.dropout)
        self.transformer = nn.TransformerEncoderLayer(
            a.width, a.heads, a.feed_forward, a.dropout, batch_first=True
        )
        if a.pooling == "grid":
            self.places = nn.Linear(a.places * a.width, a.width)
        self.head = nn.Sequential(
            nn.Linear(a.width, a.width), nn.ReLU(), nn.Linear(a.width, a.width)
        )

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Embed a batch; in training mode through the head.

        Parameters
        ----------
        frames : torch.Tensor [shape=(n, longest, n_dims)]
            Padded with anything.
        lengths : torch.Tensor [shape=(n,)]
            Frames of each segment, at least 1.

        Returns
        -------
        torch.Tensor [shape=(n, width)]
        """
        a = self.architecture
        hidden = self.norm((frames - self.mean) * self.scale)
        inside = _mask(lengths, frames.shape[1])
        hidden = (hidden * inside[..., None]).transpose(1, 2)
        # As many places as frames, before the stride: half of the kernel hangs over either end.
        hidden = functional.pad(hidden, ((a.kernel - 1) // 2, a.kernel // 2))
        hidden = functional.glu(self.convolution(hidden), dim=1).transpose(1, 2)
        lengths = torch.div(lengths - 1, a.stride, rounding_mode="floor") + 1
        if a.pooling == "grid":
            hidden, lengths = _grid(hidden, lengths, a.places), torch.full_like(lengths, a.places)
        inside = _mask(lengths, hidden.shape[1])
        hidden = self.dropout(hidden) + _positions(hidden)
        hidden = self.transformer(hidden, src_key_padding_mask=~inside)
        if a.pooling == "grid":
            pooled = self.places(hidden.flatten(1))
        else:
            pooled = hidden.masked_fill(~inside[..., None], -math.inf).amax(dim=1)
        return self.head(pooled) if self.training else pooled


def nt_xent(
    first: torch.Tensor,
    second: torch.Tensor,
    ignored: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Normalised temperature-scaled cross entropy of pairs (Chen et al. 2020, arXiv 2002.05709).

    Each of the ``2 n`` vectors has to pick its partner among all others.

    Parameters
    ----------
    first, second : torch.Tensor [shape=(n, n_dims)]
        Row ``i`` of both is a pair.
    ignored : torch.Tensor [shape=(n, n), dtype=bool]
        Pairs that are no negatives of each other, because they say the same: true off the diagonal.
    temperature : float
    """
    n = len(first)
    together = functional.normalize(torch.cat([first, second]).float(), dim=1)
    logits = together @ together.T / temperature
    same = ignored | torch.eye(n, dtype=torch.bool, device=ignored.device)
    hidden = same.repeat(2, 2)
    partner = torch.arange(2 * n, device=logits.device).roll(n)
    hidden[torch.arange(2 * n, device=logits.device), partner] = False
    return functional.cross_entropy(logits.masked_fill(hidden, -math.inf), partner)


@dataclass(frozen=True)
class Model:
    """A trained network and what its frames are.

    Attributes
    ----------
    network : SequenceEmbedder
    frames : dict
        As :attr:`pipeline.sse.frames.FrameSource.settings` has it.
    about : dict
        How it was trained, for people.
    """

    network: SequenceEmbedder
    frames: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``; the latter last."""
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name: value.detach().cpu().contiguous()
            for name, value in self.network.state_dict().items()
        }
        write_atomically(folder / WEIGHTS, save(weights))
        architecture = asdict(self.network.architecture)
        description = {"architecture": architecture, "frames": self.frames, "training": self.about}
        write_json(folder / DESCRIPTION, description)


def load_model(folder: Path, device: str = "cpu") -> Model:
    """Open what :meth:`Model.save` wrote, ready to embed.

    Raises
    ------
    MissingPathError, InputError
        If it is not there, or not a model of ours.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    description = read_json(folder / DESCRIPTION)
    if not description or not (folder / WEIGHTS).is_file():
        raise MissingPathError(
            f"{folder} holds no finished model ({DESCRIPTION} and {WEIGHTS}); "
            "train one with `pipeline sse train`, or give models/mini-sse"
        )
    try:
        known = {one.name for one in fields(Architecture)}
        sizes = {k: v for k, v in description["architecture"].items() if k in known}
        network = SequenceEmbedder(Architecture(**sizes))
        network.load_state_dict(load_file(folder / WEIGHTS))
        frames = dict(description["frames"])
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "empty"
        raise InputError(
            f"{folder} is no model of speech sequence embeddings ({reason})"
        ) from error
    return Model(network.eval().to(device), frames, dict(description.get("training", {})))


def new_network(
    architecture: Architecture, mean: np.ndarray, deviation: np.ndarray, seed: int
) -> SequenceEmbedder:
    """A network with random weights that brings frames of this mean and deviation to 0 and 1."""
    torch.manual_seed(seed)
    network = SequenceEmbedder(architecture)
    state = {
        "mean": torch.from_numpy(mean.astype(np.float32)),
        "scale": torch.from_numpy((1 / np.maximum(deviation, LOWEST_DEVIATION)).astype(np.float32)),
    }
    network.load_state_dict(state, strict=False)
    return network


def _mask(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """True inside each segment: bool [shape=(n, longest)]."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def _positions(hidden: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of the place in time (Vaswani et al. 2017, §3.5)."""
    n_places, width = hidden.shape[1:]
    place = torch.arange(n_places, device=hidden.device, dtype=torch.float32)[:, None]
    pace = torch.arange(0, width, 2, device=hidden.device, dtype=torch.float32)
    angle = place * torch.exp(pace * (-math.log(10_000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(hidden.dtype)


def _grid(hidden: torch.Tensor, lengths: torch.Tensor, places: int) -> torch.Tensor:
    """Read the frames of each segment at places spread over it: [shape=(n, places, width)].

    Between two frames there is a straight line; the outer places are half a step from the ends.
    """
    step = (torch.arange(places, device=hidden.device) + 0.5) / places
    at = (step[None] * lengths[:, None] - 0.5).clamp(min=0)
    at = torch.minimum(at, (lengths[:, None] - 1).to(at.dtype))
    below = at.floor().long()
    above = torch.minimum(below + 1, lengths[:, None] - 1)
    share = (at - below).to(hidden.dtype)[..., None]

    def take(index: torch.Tensor) -> torch.Tensor:
        return hidden.gather(1, index[..., None].expand(-1, -1, hidden.shape[2]))

    return take(below) * (1 - share) + take(above) * share
