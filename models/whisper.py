"""Whisper without torch: what goes into the network, and how text is read from what comes out.

Reads any Hugging Face folder of the family (``openai/whisper-large-v3`` and the small model shipped
here alike) and agrees with transformers' feature extractor, tokenizer and greedy generation::

    preprocessor = WhisperPreprocessor.from_folder(folder)
    features = preprocessor.input_features([waveform])
    transcripts = transcribe(open_network(folder), features, preprocessor)
    text = preprocessor.decode(transcripts.tokens(0))
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.checkpoint import open_checkpoint, read_object
from pipeline.errors import InputError
from pipeline.logmel.features import HOP_LENGTH, N_FFT, SAMPLING_RATE, MelSettings, padded_batch

TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
ENGLISH_ONLY_VOCABULARY = 51_864  # of openai/whisper-*.en; multilingual ones have 51,865 or more


@dataclass(frozen=True)
class WhisperPreprocessor:
    """Waveform to log-mel features, text to tokens, tokens to text.

    Attributes
    ----------
    folder : Path
        Holds the tokenizer.
    mel : MelSettings
        Mel bins, and seconds that a feature covers.
    vocabulary_size : int
        Width of the logits; a tokenizer may know fewer tokens.
    max_positions : int
        Tokens that the decoder takes at most, prompt included.
    language, task : str, optional
        What the prompt asks for; None for models of English alone.
    suppressed : tuple of int
        Tokens that are never chosen (``suppress_tokens`` of ``generation_config.json``).
    suppressed_first : tuple of int
        Tokens that are not chosen right after the prompt (``begin_suppress_tokens``).
    """

    folder: Path
    mel: MelSettings
    vocabulary_size: int
    max_positions: int
    language: str | None = "en"
    task: str | None = "transcribe"
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()

    @classmethod
    def from_folder(cls, folder: Path, *, language: str = "en", task: str = "transcribe") -> Self:
        """Read a Hugging Face checkpoint folder.

        Parameters
        ----------
        folder : Path
            Holds ``config.json``, ``preprocessor_config.json`` and a tokenizer;
            ``generation_config.json`` and ``normalizer.json`` are read if they are there.
        language, task : str
            Not used for a model of English alone.

        Raises
        ------
        MissingPathError
            If the folder does not exist.
        InputError
            If a file is missing or unreadable, the model is of another family, or its features are
            not Whisper's.
        """
        checkpoint = open_checkpoint(folder)
        if checkpoint.family != "whisper":
            raise InputError(f"{folder} holds a {checkpoint.family} model; a Whisper is needed")
        folder, config = checkpoint.folder, checkpoint.config
        generation = _read_if_there(folder, "generation_config.json")
        if not any((folder / name).is_file() for name in TOKENIZER_FILES):
            raise InputError(
                f"{folder} has no tokenizer ({' or '.join(TOKENIZER_FILES)}); take it from the "
                "model's repository"
            )
        n_tokens = int(config.get("vocab_size", 51_865))
        multilingual = generation.get("is_multilingual", n_tokens != ENGLISH_ONLY_VOCABULARY)
        return cls(
            folder=folder,
            mel=_mel_settings(folder, config),
            vocabulary_size=n_tokens,
            max_positions=int(config.get("max_target_positions", 448)),
            language=language if multilingual else None,
            task=task if multilingual else None,
            suppressed=_ids(generation.get("suppress_tokens"), n_tokens),
            suppressed_first=_ids(generation.get("begin_suppress_tokens"), n_tokens),
        )

    @property
    def sampling_rate(self) -> int:
        """What the network listens at, in Hz."""
        return SAMPLING_RATE

    @property
    def n_samples(self) -> int:
        """Samples that a feature covers; what is beyond them is not heard."""
        return self.mel.n_samples

    @cached_property
    def prompt_ids(self) -> tuple[int, ...]:
        """What a transcript starts with: start, language, task, no timestamps."""
        return tuple(self._tokenizer.prefix_tokens)

    @cached_property
    def end_id(self) -> int:
        """The token that ends a transcript, and fills what is behind it."""
        return int(self._tokenizer.eos_token_id)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Tokens that are never text."""
        return frozenset(self._tokenizer.all_special_ids)

    def input_features(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Make what the network hears.

        Parameters
        ----------
        waveforms : sequence of np.ndarray [shape=(n,), dtype=float32]
            At 16 kHz; samples beyond the chunk are left out.

        Returns
        -------
        np.ndarray [shape=(n_clips, n_mels, frames), dtype=float32]

        Raises
        ------
        ClipError
            If a waveform is empty or not one-dimensional.
        """
        return padded_batch(waveforms, self.mel)

    def label_ids(self, text: str) -> np.ndarray:
        """Encode text as the decoder is trained on it: prompt, text, end; int64 [shape=(n,)]."""
        return np.array(self._tokenizer(text).input_ids, dtype=np.int64)

    def decoder_input_ids(
        self, rows: Iterable[Sequence[int] | np.ndarray], n_positions: int
    ) -> np.ndarray:
        """Pad rows of tokens behind: int64 [shape=(n_rows, n_positions)].

        The decoder looks back only, so what stands behind a position does not reach its logits.

        Raises
        ------
        InputError
            If a row is longer than ``n_positions``.
        """
        rows = list(rows)
        padded = np.full((len(rows), n_positions), self.end_id, dtype=np.int64)
        for target, row in zip(padded, rows, strict=True):
            if len(row) > n_positions:
                raise InputError(
                    f"{len(row)} tokens do not fit the decoder, which takes {n_positions}"
                )
            target[: len(row)] = row
        return padded

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Read tokens, special ones left out."""
        text: str = self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=True)
        return text.strip()

    def token_texts(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """Read tokens one by one, special ones included."""
        return [self._tokenizer.decode([index]) for index in np.asarray(ids).tolist()]

    def normalize_text(self, text: str) -> str:
        """Reduce text to what is compared: transformers' English normaliser, as Whisper's paper.

        Other languages get the basic one, which drops marks and case. The same is done to
        references and to hypotheses.
        """
        normalized: str = self._normalizer(text)
        return " ".join(normalized.split())

    @cached_property
    def _normalizer(self) -> Any:
        from transformers.models.whisper.english_normalizer import (
            BasicTextNormalizer,
            EnglishTextNormalizer,
        )

        if self.language not in (None, "en", "english"):
            return BasicTextNormalizer()
        # British to American spellings; not every folder has them.
        return EnglishTextNormalizer(_read_if_there(self.folder, "normalizer.json"))

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import WhisperTokenizer

        try:
            return WhisperTokenizer.from_pretrained(
                str(self.folder), language=self.language, task=self.task, local_files_only=True
            )
        except Exception as error:  # a damaged file ends in whatever transformers stumbles on
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise InputError(
                f"{self.folder} has no tokenizer that loads ({reason}); take it from the model's "
                "repository"
            ) from error


def _read_if_there(folder: Path, name: str) -> dict[str, Any]:
    return read_object(folder, name) if (folder / name).is_file() else {}


def _mel_settings(folder: Path, config: Any) -> MelSettings:
    extractor = read_object(folder, "preprocessor_config.json")
    expected = {"sampling_rate": SAMPLING_RATE, "hop_length": HOP_LENGTH, "n_fft": N_FFT}
    for key, value in expected.items():
        if extractor.get(key, value) != value:
            raise InputError(
                f"{folder}/preprocessor_config.json has {key} {extractor[key]}; Whisper's is "
                f"{value}"
            )
    mel = MelSettings(
        n_mels=int(extractor.get("feature_size", 80)),
        chunk_length=int(extractor.get("chunk_length", 30)),
    )
    takes = config.get("num_mel_bins", 80), 2 * config.get("max_source_positions", 1500)
    if takes != (mel.n_mels, mel.n_frames):
        raise InputError(
            f"{folder}/preprocessor_config.json makes features of {mel.n_mels} × {mel.n_frames}, "
            f"and config.json says that the network takes {takes[0]} × {takes[1]}; correct "
            "feature_size or chunk_length"
        )
    return mel


def _ids(values: Any, n_tokens: int) -> tuple[int, ...]:
    # -1 among them stands for what openai/whisper calls the non-speech tokens.
    return tuple(i for i in values or () if isinstance(i, int) and 0 <= i < n_tokens)
