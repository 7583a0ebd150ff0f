"""Labels: the token ids of a sentence, as Whisper is trained on them."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.corpus import files_digest
from pipeline.errors import InputError

Task = Literal["transcribe", "translate"]
TASKS: tuple[Task, ...] = ("transcribe", "translate")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")
SHIPPED_TOKENIZER = Path(__file__).parents[2] / "models" / "mini-whisper"


@dataclass(frozen=True)
class LabelSettings:
    """How sentences become tokens.

    Attributes
    ----------
    tokenizer : str, optional
        A folder, or a name on the Hugging Face hub; by default the small one we ship.
    language : str
    task : {"transcribe", "translate"}
    """

    tokenizer: str | None = None
    language: str = "en"
    task: Task = "transcribe"

    @property
    def name(self) -> str:
        """What ``run.json`` calls the tokenizer."""
        return self.tokenizer or SHIPPED_TOKENIZER.name

    @property
    def digest(self) -> str | None:
        """Digest of the tokenizer's files, if they are on this disk."""
        folder = Path(self.tokenizer) if self.tokenizer else SHIPPED_TOKENIZER
        return files_digest(folder, TOKENIZER_FILES) if folder.is_dir() else None


def label_ids(sentences: list[str], settings: LabelSettings) -> list[list[int]]:
    """Token ids of sentences, each with Whisper's special tokens around it.

    Raises
    ------
    InputError
        If the tokenizer cannot be loaded, or does not know the language.
    """
    tokenizer = load_tokenizer(settings)
    return list(tokenizer(sentences).input_ids) if sentences else []


@functools.cache
def load_tokenizer(settings: LabelSettings) -> Any:
    """Load the ``WhisperTokenizer`` that made, or makes, the labels.

    Raises
    ------
    InputError
        If there is none, or it does not know the language.
    """
    from transformers import WhisperTokenizer
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    if settings.language.lower() not in {*TO_LANGUAGE_CODE, *TO_LANGUAGE_CODE.values()}:
        known = ", ".join(TO_LANGUAGE_CODE.values())
        raise InputError(
            f"--language {settings.language!r} is none that Whisper knows; its codes are: {known}"
        )
    source = settings.tokenizer or str(SHIPPED_TOKENIZER)
    try:
        return WhisperTokenizer.from_pretrained(
            source, language=settings.language, task=settings.task
        )
    except Exception as error:  # a damaged file ends in whatever it makes transformers stumble on
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"no Whisper tokenizer at {source!r} ({reason}); give --tokenizer "
            "a folder that holds one, or a hub name such as openai/whisper-large-v3 while online"
        ) from error
