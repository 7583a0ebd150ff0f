"""Encoders behind one small protocol, and their names: what a preset may say is what stands here.

An encoder is a value: it says where its weights are, loads them when the first batch comes, and is
sent to worker processes as it is.
"""

import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from pipeline.arrays import map_array
from pipeline.corpus import file_digest, files_digest
from pipeline.errors import InputError, MissingPathError
from pipeline.mining.preset import EncoderChoice

if TYPE_CHECKING:
    from pipeline.mining.dual import DualEncoder

Kind = Literal["speech", "text", "stored"]

# Class of every registered name, as module and attribute; nothing else can be named.
REGISTERED = {
    "pipeline.mining.DualSpeechEncoder": "pipeline.mining.encoders:DualSpeechEncoder",
    "pipeline.mining.DualTextEncoder": "pipeline.mining.encoders:DualTextEncoder",
    "pipeline.mining.PooledSpeechEncoder": "pipeline.mining.pretrained:PooledSpeechEncoder",
    "pipeline.mining.SentenceEncoder": "pipeline.mining.pretrained:SentenceEncoder",
    "pipeline.mining.SseEncoder": "pipeline.mining.sequences:SseEncoder",
    "pipeline.mining.SonarSpeechEncoder": "pipeline.mining.sonar:SonarSpeechEncoder",
    "pipeline.mining.SonarTextEncoder": "pipeline.mining.sonar:SonarTextEncoder",
    "pipeline.mining.StoredEmbeddings": "pipeline.mining.encoders:StoredEmbeddings",
}
# What stopes calls them.
ALIASES = {
    "stopes.modules.preprocess.mining_speech_encoder.Sonar2MiningSpeechEncoder": (
        "pipeline.mining.SonarSpeechEncoder"
    ),
    "stopes.modules.preprocess.sonar_sentence_encoder.SonarTextEncoder": (
        "pipeline.mining.SonarTextEncoder"
    ),
}


class Encoder(Protocol):
    """Turns speech or text into rows whose cosine says how alike they are."""

    @property
    def kind(self) -> Kind:
        """What it takes."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the values, as JSON values."""


class SpeechEncoder(Encoder, Protocol):
    """Takes speech."""

    def encode_speech(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed clips [shape=(n,), mono, 16 kHz]: float32 [shape=(len(waveforms), n_dims)].

        Raises
        ------
        ClipError
            If one of them cannot be embedded.
        """


class TextEncoder(Encoder, Protocol):
    """Takes text."""

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts: float32 [shape=(len(texts), n_dims)]."""


@dataclass(frozen=True)
class DualSpeechEncoder:
    """The speech side of the small space shipped in ``models/mini-dual``."""

    checkpoint: Path
    kind: Kind = "speech"

    @classmethod
    def from_choice(cls, choice: EncoderChoice) -> "DualSpeechEncoder":
        """Open what a preset names."""
        return cls(_dual_folder(choice))

    @property
    def settings(self) -> dict[str, Any]:
        """Which weights."""
        return {"encoder": "dual speech", "checkpoint_digest": _dual_digest(self.checkpoint)}

    def encode_speech(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed clips."""
        import torch

        dual = _dual(self.checkpoint)
        heard = np.stack([dual.hear(waveform) for waveform in waveforms])
        with torch.inference_mode():
            return dual.embed_heard(torch.from_numpy(heard)).numpy()


@dataclass(frozen=True)
class DualTextEncoder:
    """The text side of the small space shipped in ``models/mini-dual``."""

    checkpoint: Path
    kind: Kind = "text"

    @classmethod
    def from_choice(cls, choice: EncoderChoice) -> "DualTextEncoder":
        """Open what a preset names."""
        return cls(_dual_folder(choice))

    @property
    def settings(self) -> dict[str, Any]:
        """Which weights."""
        return {"encoder": "dual text", "checkpoint_digest": _dual_digest(self.checkpoint)}

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts."""
        import torch

        from pipeline.mining.dual import read_texts

        with torch.inference_mode():
            return _dual(self.checkpoint).embed_letters(read_texts(texts)).numpy()


@dataclass(frozen=True)
class StoredEmbeddings:
    """Rows that another program has written: a ``.npy`` file for every shard.

    So encoders that need an environment of their own take part: SONAR, or any other.

    Attributes
    ----------
    files : tuple of Path
        In the order of the shards.
    """

    files: tuple[Path, ...]
    kind: Kind = "stored"

    @classmethod
    def from_choice(cls, choice: EncoderChoice) -> "StoredEmbeddings":
        """Find the files: one, or those of a folder in natural order."""
        from pipeline.mining.shards import natural_key

        path = _model_path(choice, "a .npy file, or a folder of them")
        if path.is_dir():
            return cls(tuple(sorted(path.glob("*.npy"), key=natural_key)))
        return cls((path,))

    @property
    def settings(self) -> dict[str, Any]:
        """What is in the files."""
        return {"encoder": "stored", "digests": [file_digest(path) for path in self.files]}

    def rows(self, shard: int, n_lines: int) -> np.ndarray:
        """Rows of a shard, memory-mapped: [shape=(n_lines, n_dims)].

        Raises
        ------
        InputError
            If there is no such file, or it does not hold so many rows of finite numbers.
        """
        if shard >= len(self.files):
            raise InputError(
                f"there are {len(self.files)} files of stored embeddings and more shards; "
                "give a .npy file for each shard"
            )
        path = self.files[shard]
        rows = map_array(path, "embed the shard again")
        kinds = (np.float16, np.float32)
        if rows.ndim != 2 or rows.dtype not in kinds:
            raise InputError(f"{path} holds no rows of float16 or float32; embed the shard again")
        if len(rows) != n_lines:
            raise InputError(
                f"{path} holds {len(rows)} rows and its shard {n_lines} lines; "
                "embed the shard again, in this order"
            )
        return rows


def make_encoder(choice: EncoderChoice) -> Any:
    """Make the encoder that a preset names.

    Raises
    ------
    MissingPathError, InputError
        If the name is not registered, or its checkpoint is missing or of another kind.
    """
    name = ALIASES.get(choice.target, choice.target)
    if name not in REGISTERED:
        close = get_close_matches(name, list(REGISTERED), 1)
        meant = f"{close[0]!r}, or another of: " if close else "one of: "
        raise InputError(
            f"_target_ {choice.target[:100]!r} is no registered encoder; name {meant}"
            f"{', '.join(REGISTERED)}"
        )
    module, _, attribute = REGISTERED[name].partition(":")
    return getattr(importlib.import_module(module), attribute).from_choice(choice)


def _model_path(choice: EncoderChoice, what: str) -> Path:
    if not choice.model:
        raise InputError(f"{choice.target} needs encoder_model: {what}")
    path = Path(choice.model)
    if not path.exists():
        raise MissingPathError(f"{path} does not exist; set encoder_model to {what}")
    return path


def _dual_folder(choice: EncoderChoice) -> Path:
    from pipeline.mining.dual import check_dual

    return check_dual(_model_path(choice, "a checkpoint such as models/mini-dual"))


def _dual_digest(checkpoint: Path) -> str:
    return files_digest(checkpoint, ("config.json", "model.safetensors"))


@functools.cache
def _dual(checkpoint: Path) -> "DualEncoder":
    import torch

    from pipeline.mining.dual import load_dual

    torch.set_num_threads(1)  # workers run side by side, and sums round alike however many do
    return load_dual(checkpoint)
