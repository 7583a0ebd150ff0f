"""wav2vec2 without torch: what goes into the network, and how text is read from what comes out.

Reads any Hugging Face folder of the family (``facebook/wav2vec2-base-960h``, a HuBERT with CTC and
the small model shipped here alike) and agrees with transformers' feature extractor and tokenizer::

    preprocessor = Wav2Vec2Preprocessor.from_folder(folder)
    session = open_session(folder)
    batch = preprocessor.input_values(waveform, n_samples=128_000)[np.newaxis]
    logits = session.run(["logits"], {"input_values": batch})[0]
    text = preprocessor.decode(logits[0], preprocessor.n_frames(len(waveform)))
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.checkpoint import ONNX_FILE, open_checkpoint, open_session, read_object
from pipeline.errors import InputError

__all__ = ["ONNX_FILE", "Wav2Vec2Preprocessor", "open_session"]

CTC_FAMILIES = ("wav2vec2", "hubert")
VARIANCE_FLOOR = 1e-7  # Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Marks that people type for an apostrophe, and marks that separate words.
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u02b9\u0060\u00b4\uff07]")
# Letters that Unicode does not take apart into a plain one and a mark.
_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L"}
    | {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH", "ı": "i"}
)
_OUTER_APOSTROPHES = re.compile(r"(?<![A-Z])'|'(?![A-Z])")


@dataclass(frozen=True)
class Wav2Vec2Preprocessor:
    """Waveform to input, text to labels, logits to text.

    Attributes
    ----------
    sampling_rate : int
        What the network listens at, in Hz.
    do_normalize : bool
        Whether a clip is brought to zero mean and unit variance.
    vocabulary : tuple of str
        Token of every id.
    blank_id : int
        The blank of CTC; ``<pad>`` in this family.
    word_delimiter : str
        The token that stands for a space.
    conv_kernel, conv_stride : tuple of int
        Of the feature encoder, first layer first, in samples of the layer's input.
    special_tokens : frozenset of str
        Tokens that are never text.
    """

    sampling_rate: int
    do_normalize: bool
    vocabulary: tuple[str, ...]
    blank_id: int
    word_delimiter: str
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    special_tokens: frozenset[str] = frozenset({"<pad>", "<s>", "</s>", "<unk>"})

    def __post_init__(self) -> None:
        """Check what the methods rely on."""
        if not LETTERS.issubset(self.vocabulary):
            missing = "".join(sorted(LETTERS.difference(self.vocabulary)))
            raise InputError(
                f"the vocabulary lacks the letters {missing}; only models of upper case English "
                "text are supported, such as facebook/wav2vec2-base-960h"
            )
        if self.word_delimiter not in self.vocabulary:
            raise InputError(
                f"the word delimiter {self.word_delimiter!r} is not in the vocabulary; "
                "correct word_delimiter_token in tokenizer_config.json"
            )
        if len(self.conv_kernel) != len(self.conv_stride) or not self.conv_kernel:
            raise InputError(
                f"conv_kernel {self.conv_kernel} and conv_stride {self.conv_stride} must have the "
                "same length, at least 1; correct config.json"
            )

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read a Hugging Face checkpoint folder.

        Parameters
        ----------
        folder : Path
            Holds ``config.json``, ``preprocessor_config.json``, ``vocab.json`` and
            ``tokenizer_config.json``.

        Raises
        ------
        MissingPathError
            If the folder does not exist.
        InputError
            If a file is missing or unreadable, or the model is of another family.
        """
        folder = Path(folder)
        config = _read_config(folder)
        extractor = read_object(folder, "preprocessor_config.json")
        tokenizer = read_object(folder, "tokenizer_config.json")
        vocabulary = _ordered_vocabulary(folder, read_object(folder, "vocab.json"))
        roles = {
            f"{role}_token": _token_text(tokenizer.get(f"{role}_token"), default)
            for role, default in (
                *(("pad", "<pad>"), ("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>")),
                ("word_delimiter", "|"),
            )
        }
        if roles["pad_token"] not in vocabulary:
            raise InputError(
                f"{folder}/vocab.json has no {roles['pad_token']!r}, the blank of CTC; "
                "correct pad_token in tokenizer_config.json"
            )
        return cls(
            sampling_rate=int(extractor.get("sampling_rate", 16_000)),
            do_normalize=bool(extractor.get("do_normalize", True)),
            vocabulary=vocabulary,
            blank_id=vocabulary.index(roles["pad_token"]),
            word_delimiter=roles["word_delimiter_token"],
            conv_kernel=tuple(config["conv_kernel"]),
            conv_stride=tuple(config["conv_stride"]),
            special_tokens=frozenset(roles.values()) - {roles["word_delimiter_token"]},
        )

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of logits that see nothing but the first ``n_samples`` samples."""
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            n_samples = max(0, (n_samples - kernel) // stride + 1)
        return n_samples

    def window_samples(self, window_seconds: float) -> int:
        """Count the samples of a window.

        Raises
        ------
        InputError
            If they are too few for a frame.
        """
        n_samples = round(window_seconds * self.sampling_rate)
        if self.n_frames(n_samples) < 1:
            raise InputError(
                f"a window of {window_seconds} s is {n_samples} samples, too few for one frame; "
                "give at least 0.1 s"
            )
        return n_samples

    def input_values(self, waveform: np.ndarray, n_samples: int) -> np.ndarray:
        """Cut to ``n_samples``, normalise what is left of the clip, pad with zeros.

        Parameters
        ----------
        waveform : np.ndarray [shape=(n,)]
            Mono, at ``sampling_rate`` Hz.
        n_samples : int
            Length of the result.

        Returns
        -------
        np.ndarray [shape=(n_samples,), dtype=float32]
            Zero mean and unit variance over the clip, if ``do_normalize``.
        """
        if waveform.ndim != 1:
            raise InputError(
                f"a waveform has one dimension, not shape {waveform.shape}; mix it down"
            )
        padded = np.zeros(n_samples, np.float32)
        clip = waveform[:n_samples].astype(np.float32, copy=False)
        if len(clip):
            padded[: len(clip)] = self.normalize(clip)
        return padded

    def normalize(self, clip: np.ndarray) -> np.ndarray:
        """Bring a whole clip to zero mean and unit variance, if ``do_normalize``.

        Parameters
        ----------
        clip : np.ndarray [shape=(n,), dtype=float32]
            At least one sample, no padding.
        """
        if not self.do_normalize:
            return clip
        return (clip - clip.mean()) / np.sqrt(clip.var() + VARIANCE_FLOOR)

    def normalize_text(self, text: str) -> str:
        """Reduce text to what the model can write: upper case letters, apostrophe, single spaces.

        Accents are dropped, an apostrophe is kept inside a word only (elsewhere it is a quotation
        mark more often than not); every other mark, and every digit, separates words. The same is
        done to references and to hypotheses.
        """
        text = _APOSTROPHES.sub("'", text).translate(_UNDECOMPOSED)
        text = unicodedata.normalize("NFKD", text).upper()
        text = "".join(
            character if character in self._written else " "
            for character in text
            if not unicodedata.combining(character)
        )
        return " ".join(_OUTER_APOSTROPHES.sub("", text).split())

    def label_ids(self, text: str) -> np.ndarray:
        """Encode normalised text for CTC: int64 [shape=(n_characters,)], no blanks."""
        ids = {token: index for index, token in enumerate(self.vocabulary)}
        text = self.normalize_text(text).replace(" ", self.word_delimiter)
        return np.array([ids[character] for character in text], dtype=np.int64)

    def decode(self, logits: np.ndarray, n_frames: int) -> str:
        """Read the best path: greedy CTC.

        Parameters
        ----------
        logits : np.ndarray [shape=(frames, vocabulary)]
            Scores before or after a softmax.
        n_frames : int
            How many frames see the clip and not its padding; see ``n_frames()``.

        Returns
        -------
        str
            Repeats collapsed, blanks and special tokens dropped, delimiters turned into spaces.
        """
        if logits.ndim != 2 or logits.shape[1] != len(self.vocabulary):
            raise InputError(
                f"logits must have shape (frames, {len(self.vocabulary)}), not {logits.shape}"
            )
        return self.decode_ids(logits[:n_frames].argmax(axis=1))

    def decode_ids(self, ids: np.ndarray) -> str:
        """Read a path, one token id per frame: int [shape=(frames,)]."""
        tokens = (self.vocabulary[index] for index, _ in groupby(ids.tolist()))
        text = "".join(token for token in tokens if token not in self.special_tokens)
        return text.replace(self.word_delimiter, " ").strip()

    @cached_property
    def _written(self) -> frozenset[str]:
        return LETTERS | {" "} | ({"'"} & set(self.vocabulary))


def _read_config(folder: Path) -> Mapping[str, Any]:
    checkpoint = open_checkpoint(folder)
    if checkpoint.family not in CTC_FAMILIES:
        raise InputError(
            f"{folder} holds a model of type {checkpoint.family!r}; supported: "
            f"{', '.join(map(repr, CTC_FAMILIES))}, which are read by CTC"
        )
    config = checkpoint.config
    if config.get("add_adapter"):
        raise InputError(f"{folder} has adapter layers (add_adapter), which are not supported")
    for key in ("conv_kernel", "conv_stride"):
        if key not in config:
            raise InputError(f"{folder}/config.json lacks {key!r}; take the model's original file")
    return config


def _ordered_vocabulary(folder: Path, ids: dict[str, Any]) -> tuple[str, ...]:
    tokens = {index: token for token, index in ids.items() if isinstance(index, int)}
    if sorted(tokens) != list(range(len(ids))) or not ids:
        raise InputError(f"{folder}/vocab.json must number its {len(ids)} tokens from 0, each once")
    return tuple(tokens[index] for index in range(len(ids)))


def _token_text(token: Any, default: str) -> str:
    # A tokenizer writes a token as its text, or as an object with the text as "content".
    if isinstance(token, dict):
        return str(token.get("content", default))
    return default if token is None else str(token)
