"""A small dual encoder: speech and text as points of one space, for mining without a download.

Speech goes through a recogniser, and what that may have heard through a linear map; a text goes
through the same map (:mod:`pipeline.mining.ngrams` puts both into the same numbers). Both sides
have an offset of their own, and speech the mean of the recogniser's states besides, so that a clip
in which nothing was heard has its place too. The maps are learned by :mod:`pipeline.mining.train`
with the symmetric contrastive loss of Radford et al. (2021, arXiv 2103.00020).

A checkpoint is a folder of ``config.json`` and ``model.safetensors`` (float16); no code, no pickle.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from pipeline.corpus import read_json, write_atomically, write_json
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.mining.ngrams import N_FEATURES, heard_letters, ngram_features, written_letters

MODEL_TYPE = "speech-text-dual-encoder"
SHORTEST = 400  # samples at 16 kHz: what wav2vec2 makes one frame of
LARGEST_SPACE = 4_096


class DualEncoder(nn.Module):
    """The maps into the shared space, and the recogniser that speech goes through first.

    Parameters
    ----------
    recogniser : Wav2Vec2ForCTC
        Stays as it is.
    symbols : np.ndarray [shape=(vocabulary,), dtype=int64]
        Which letters its tokens are, see :func:`pipeline.mining.ngrams.symbol_places`.
    n_dims : int
        Of the space.
    do_normalize : bool
        Whether the recogniser wants clips of zero mean and unit variance.
    """

    def __init__(
        self, recogniser: Wav2Vec2ForCTC, symbols: np.ndarray, n_dims: int, do_normalize: bool
    ) -> None:
        super().__init__()
        if type(n_dims) is not int or not 1 <= n_dims <= LARGEST_SPACE:
            raise InputError(f"n_dims is {n_dims!r}; a space has 1 to {LARGEST_SPACE}")
        self.symbols, self.n_dims, self.do_normalize = symbols, n_dims, do_normalize
        self.recogniser = recogniser.eval().requires_grad_(False)
        self.n_states = int(recogniser.config.hidden_size)
        self.letters = nn.Linear(N_FEATURES, n_dims, bias=False)
        # At first a random projection, which keeps angles about as they are.
        nn.init.normal_(self.letters.weight, std=n_dims**-0.5)
        self.states = nn.Linear(self.n_states, n_dims)
        nn.init.normal_(self.states.weight, std=0.01)
        nn.init.normal_(self.states.bias, std=0.01)
        self.text_offset = nn.Parameter(0.01 * torch.randn(n_dims))

    @torch.inference_mode()
    def hear(self, waveform: np.ndarray) -> np.ndarray:
        """What speech is before it is mapped: float32 [shape=(N_FEATURES + n_states,)].

        One clip at a time, so that what comes out depends on nothing else.

        Raises
        ------
        ClipError
            If it is shorter than one frame.
        """
        if len(waveform) < SHORTEST:
            raise ClipError(f"{len(waveform)} samples are fewer than one frame's {SHORTEST}")
        if self.do_normalize:
            centred = waveform - waveform.mean(dtype=np.float64)
            waveform = centred / np.sqrt(np.mean(centred**2) + 1e-7)
        inputs = torch.from_numpy(np.asarray(waveform, np.float32))[None]
        hidden = self.recogniser.wav2vec2(inputs).last_hidden_state[0]
        posteriors = self.recogniser.lm_head(hidden).softmax(1).numpy()
        letters = heard_letters(posteriors, self.symbols)
        return np.concatenate([ngram_features(letters), hidden.mean(0).numpy()])

    def embed_heard(self, heard: torch.Tensor) -> torch.Tensor:
        """Points of clips (batch, N_FEATURES + n_states), as :meth:`hear` gives them."""
        letters, states = heard[:, :N_FEATURES], heard[:, N_FEATURES:]
        return nn.functional.normalize(self.letters(letters) + self.states(states), dim=1)

    def embed_letters(self, letters: torch.Tensor) -> torch.Tensor:
        """Points of texts (batch, N_FEATURES), as :func:`read_texts` gives them."""
        return nn.functional.normalize(self.letters(letters) + self.text_offset, dim=1)


def read_texts(texts: Sequence[str]) -> torch.Tensor:
    """What texts are before they are mapped: (len(texts), N_FEATURES)."""
    rows = [ngram_features(written_letters(text)) for text in texts]
    return torch.from_numpy(np.stack(rows))


def check_dual(folder: Path) -> Path:
    """Refuse a folder that is no checkpoint of a dual encoder, without loading it.

    Raises
    ------
    MissingPathError, InputError
        If it is not.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise MissingPathError(
                f"{folder} is no checkpoint of a dual encoder ({name} is missing); "
                "give one such as models/mini-dual"
            )
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type != MODEL_TYPE:
        raise InputError(
            f"{folder} holds a model of type {model_type!r}, no {MODEL_TYPE}; "
            "give one such as models/mini-dual"
        )
    return folder


def load_dual(folder: Path) -> DualEncoder:
    """Open a checkpoint.

    Raises
    ------
    MissingPathError, InputError
        If it is not there, or not one.
    """
    config = read_json(check_dual(folder) / "config.json")
    try:
        recogniser = Wav2Vec2ForCTC(Wav2Vec2Config(**config["recogniser"]))
        symbols = np.array(config["symbols"], np.int64)
        dual = DualEncoder(recogniser, symbols, config["n_dims"], bool(config["do_normalize"]))
        weights = load_file(folder / "model.safetensors")
        dual.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except Exception as error:  # of torch, safetensors, transformers: each has its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{folder} is damaged ({reason}); train it again") from error
    return dual.eval()


def save_dual(dual: DualEncoder, folder: Path, training: dict[str, Any]) -> None:
    """Write a checkpoint folder; ``training.json`` says how it was made."""
    config = {
        "model_type": MODEL_TYPE,
        "n_dims": dual.n_dims,
        "do_normalize": dual.do_normalize,
        "symbols": dual.symbols.tolist(),
        "recogniser": json.loads(dual.recogniser.config.to_json_string(use_diff=True)),
    }
    weights = {name: value.half().contiguous() for name, value in dual.state_dict().items()}
    write_atomically(folder / "model.safetensors", save(weights))
    write_json(folder / "training.json", training)
    write_json(folder / "config.json", config)
