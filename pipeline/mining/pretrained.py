"""Encoders of transformers, from checkpoint folders on this machine; nothing is fetched.

Speech: the mean of the frames of wav2vec2, HuBERT, WavLM or Whisper's encoder, one clip at a time.
Text: the mean of the token states, as sentence-transformers' models are trained to be read.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audio import SAMPLING_RATE
from pipeline.corpus import files_digest, read_json
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.mining.encoders import Kind
from pipeline.mining.preset import EncoderChoice

SPEECH_MODELS = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
POOLINGS = ("mean", "cls")
FILES = (
    *("config.json", "preprocessor_config.json", "model.safetensors", "tokenizer.json"),
    *("model.safetensors.index.json", "pytorch_model.bin", "vocab.txt", "vocab.json"),
)
SHORTEST = 400  # samples
WHISPER_SAMPLES_PER_FRAME = 320


@dataclass(frozen=True)
class PooledSpeechEncoder:
    """Mean of the frames of a speech model.

    Attributes
    ----------
    checkpoint : Path
    layer : int, optional
        Transformer block, from 1; the last without it.
    device : str
    """

    checkpoint: Path
    layer: int | None = None
    device: str = "cpu"
    kind: Kind = "speech"

    @classmethod
    def from_choice(cls, choice: EncoderChoice) -> "PooledSpeechEncoder":
        """Open what a preset names."""
        folder = _folder(choice, "models/mini-wav2vec2")
        model_type = read_json(folder / "config.json").get("model_type")
        if model_type not in (*SPEECH_MODELS, "whisper"):
            raise InputError(
                f"{folder} holds a model of type {model_type!r}; {choice.target} takes: "
                f"{', '.join(SPEECH_MODELS)}, whisper"
            )
        layer = choice.settings.get("layer")
        if layer is not None and (type(layer) is not int or layer < 1):
            raise InputError(f"layer is {layer!r}; give a number from 1, or null for the last")
        return cls(folder, layer, _device(choice))

    @property
    def settings(self) -> dict[str, Any]:
        """Which weights, and what is taken of them."""
        digest = files_digest(self.checkpoint, FILES)
        return {"encoder": "pooled speech", "checkpoint_digest": digest, "layer": self.layer}

    def encode_speech(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed clips."""
        return np.stack([self._encode(waveform) for waveform in waveforms])

    def _encode(self, waveform: np.ndarray) -> np.ndarray:
        import torch

        if len(waveform) < SHORTEST:
            raise ClipError(f"{len(waveform)} samples are fewer than one frame's {SHORTEST}")
        model, extractor = _speech_model(self.checkpoint, self.device)
        inputs = extractor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt")
        values = next(iter(inputs.values())).to(self.device)
        with torch.inference_mode():
            states = model(values, output_hidden_states=True).hidden_states
        if self.layer is not None and self.layer >= len(states):
            raise InputError(
                f"{self.checkpoint} has no layer {self.layer}; it has 1 to {len(states) - 1}"
            )
        frames = states[-1 if self.layer is None else self.layer][0]
        if model.config.model_type == "whisper":  # what lies behind the clip is padding
            frames = frames[: -(-len(waveform) // WHISPER_SAMPLES_PER_FRAME)]
        return np.asarray(frames.mean(0).float().cpu())


@dataclass(frozen=True)
class SentenceEncoder:
    """Token states of a text model, pooled.

    Attributes
    ----------
    checkpoint : Path
    pooling : {"mean", "cls"}
    batch_size : int
    device : str
    """

    checkpoint: Path
    pooling: str = "mean"
    batch_size: int = 64
    device: str = "cpu"
    kind: Kind = "text"

    @classmethod
    def from_choice(cls, choice: EncoderChoice) -> "SentenceEncoder":
        """Open what a preset names."""
        folder = _folder(choice, "a local copy of sentence-transformers/LaBSE")
        pooling = str(choice.settings.get("pooling", "mean"))
        if pooling not in POOLINGS:
            raise InputError(f"pooling {pooling!r} is not one of: {', '.join(POOLINGS)}")
        return cls(folder, pooling, choice.mini_batch_size or 64, _device(choice))

    @property
    def settings(self) -> dict[str, Any]:
        """Which weights, and how they are read."""
        digest = files_digest(self.checkpoint, FILES)
        return {"encoder": "sentences", "checkpoint_digest": digest, "pooling": self.pooling}

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts."""
        import torch

        model, tokenizer = _text_model(self.checkpoint, self.device)
        rows = []
        for start in range(0, len(texts), self.batch_size):
            tokens = tokenizer(
                list(texts[start : start + self.batch_size]),
                padding=True,
                truncation=True,
                return_tensors="pt",
            ).to(self.device)
            with torch.inference_mode():
                states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][:, :, None]
            pooled = states[:, 0] if self.pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
            rows.append(np.asarray(pooled.float().cpu()))
        return np.concatenate(rows)


def _folder(choice: EncoderChoice, such_as: str) -> Path:
    if not choice.model:
        raise InputError(f"{choice.target} needs encoder_model: a folder such as {such_as}")
    folder = Path(choice.model)
    if not (folder / "config.json").is_file():
        raise MissingPathError(
            f"{folder} is no Hugging Face checkpoint folder (config.json is missing); "
            f"set encoder_model to {such_as}"
        )
    return folder


def _device(choice: EncoderChoice) -> str:
    import torch

    return "cuda" if choice.gpu and torch.cuda.is_available() else "cpu"


@functools.cache
def _speech_model(checkpoint: Path, device: str) -> Any:
    from transformers import AutoFeatureExtractor, AutoModel

    model = _load(AutoModel, checkpoint)
    if model.config.model_type == "whisper":
        model = model.encoder
    return model.eval().to(device), _load(AutoFeatureExtractor, checkpoint)


@functools.cache
def _text_model(checkpoint: Path, device: str) -> Any:
    from transformers import AutoModel, AutoTokenizer

    return _load(AutoModel, checkpoint).eval().to(device), _load(AutoTokenizer, checkpoint)


def _load(kind: Any, checkpoint: Path) -> Any:
    import torch
    import transformers

    torch.set_num_threads(1)  # workers run side by side
    transformers.logging.set_verbosity_error()  # of weights that a headless model does not use
    transformers.logging.disable_progress_bar()
    try:
        return kind.from_pretrained(checkpoint, local_files_only=True)
    except Exception as error:  # of torch, of safetensors, of transformers: each has its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{checkpoint} cannot be loaded ({reason}); give a folder with config.json and weights"
        ) from error
