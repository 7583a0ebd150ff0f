"""SONAR, if it is installed: one space of speech and text for many languages (arXiv 2308.11466).

It needs fairseq2, which pins another version of torch than ours, so it lives in an environment of
its own; rows embedded there come back as :class:`pipeline.mining.encoders.StoredEmbeddings`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.mining.encoders import Kind
from pipeline.mining.preset import EncoderChoice

TEXT_MODEL = "text_sonar_basic_encoder"
SPEECH_MODEL = "sonar_speech_encoder_eng"


@dataclass(frozen=True)
class SonarSpeechEncoder:
    """Speech, by a model card of SONAR."""

    card: str
    kind: Kind = "speech"

    @classmethod
    def from_choice(cls, choice: EncoderChoice) -> "SonarSpeechEncoder":
        """Check that SONAR is there."""
        _require("speech")
        return cls(choice.model or SPEECH_MODEL)

    @property
    def settings(self) -> dict[str, Any]:
        """Which model."""
        return {"encoder": "sonar speech", "card": self.card}

    def encode_speech(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed clips."""
        import torch

        pipeline = _require("speech").SpeechToEmbeddingModelPipeline(encoder=self.card)
        clips = [torch.from_numpy(waveform)[None] for waveform in waveforms]
        return np.asarray(pipeline.predict(clips).cpu(), np.float32)


@dataclass(frozen=True)
class SonarTextEncoder:
    """Text, by a model card of SONAR."""

    card: str
    language: str
    kind: Kind = "text"

    @classmethod
    def from_choice(cls, choice: EncoderChoice) -> "SonarTextEncoder":
        """Check that SONAR is there."""
        _require("text")
        return cls(choice.model or TEXT_MODEL, str(choice.settings.get("source_lang", "eng_Latn")))

    @property
    def settings(self) -> dict[str, Any]:
        """Which model and language."""
        return {"encoder": "sonar text", "card": self.card, "language": self.language}

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts."""
        pipeline = _require("text").TextToEmbeddingModelPipeline(
            encoder=self.card, tokenizer=self.card
        )
        rows = pipeline.predict(list(texts), source_lang=self.language)
        return np.asarray(rows.cpu(), np.float32)


def _require(modality: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"sonar.inference_pipelines.{modality}")
    except ImportError as error:
        raise InputError(
            "SONAR is not installed; make an environment for it with `pip install sonar-space` "
            "(it pins another torch), embed there, and name the .npy files with "
            "pipeline.mining.StoredEmbeddings"
        ) from error
