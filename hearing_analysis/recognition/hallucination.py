"""Signs that a recogniser writes what nobody said: insertions, repetition, compressibility.

Recognisers that write freely, as Whisper does, fill silence and noise with fluent text. Radford et
al. 2023 (Whisper, section 4.5) take text for a loop where it compresses by more than 2.4.
"""

import zlib
from dataclasses import dataclass, fields

from hearing_analysis.metrics import ErrorCounts

COMPRESSION_LIMIT = 2.4
N_GRAM = 3


@dataclass(frozen=True)
class Hallucination:
    """What one transcript shows.

    Attributes
    ----------
    insertion_ratio : float
        Words that nobody said over words that were said; over 1 for an empty reference.
    repetition : float
        Share of the hypothesis' sequences of three words that occurred before.
    compression_ratio : float
        Bytes of the hypothesis over its bytes once compressed; 0 for an empty one.
    suspected : bool
        More words inserted than were said, or text that compresses like a loop.
    """

    insertion_ratio: float
    repetition: float
    compression_ratio: float
    suspected: bool


COLUMNS = tuple(f"hallucination_{field.name}" for field in fields(Hallucination))


def hallucination(hypothesis: str, words: ErrorCounts) -> Hallucination:
    """Judge one transcript.

    Parameters
    ----------
    hypothesis : str
    words : ErrorCounts
        Its errors in words.
    """
    insertion_ratio = words.insertions / max(words.reference_length, 1)
    compression_ratio = _compression_ratio(hypothesis)
    return Hallucination(
        insertion_ratio,
        _repetition(hypothesis.split()),
        compression_ratio,
        insertion_ratio > 1 or compression_ratio > COMPRESSION_LIMIT,
    )


def _repetition(words: list[str]) -> float:
    sequences = list(zip(*(words[start:] for start in range(N_GRAM)), strict=False))
    return 1 - len(set(sequences)) / len(sequences) if sequences else 0.0


def _compression_ratio(text: str) -> float:
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded)) if encoded else 0.0
