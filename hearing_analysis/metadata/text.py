"""What a sentence asks of a reader: lengths, characters and readability.

Readability comes from textstat, set to English as it is by default; its word lists come with it,
so nothing is fetched. A score of one sentence is a rough guide, good for comparing groups of clips.
"""

from collections import Counter

TYPES: dict[str, type] = {
    "word_count": int,
    "average_word_length": float,
    "min_word_length": int,
    "max_word_length": int,
    "char_count": int,
    "max_char": str,
    "max_char_count": int,
    "min_char": str,
    "min_char_count": int,
    "syllable_count": int,
    "lexicon_count": int,
    "sentence_count": int,
    "flesch_reading_ease": float,
    "flesch_kincaid_grade": float,
    "gunning_fog": float,
    "dale_chall_readability_score": float,
    "difficult_words": int,
    "linsear_write_formula": float,
    "text_standard": float,
}
COUNTS = ("syllable_count", "lexicon_count", "sentence_count", "difficult_words")
SCORES = (
    "flesch_reading_ease",
    "flesch_kincaid_grade",
    "gunning_fog",
    "dale_chall_readability_score",
    "linsear_write_formula",
)

# textstat deletes typographic apostrophes and dashes: "its" for "it's", "updown" for "up - down".
_ASCII = str.maketrans({"\u2019": "'", "\u2013": " ", "\u2014": " "})


def text_metadata(sentence: str) -> dict[str, float | int | str | None]:
    """Describe one sentence.

    Parameters
    ----------
    sentence : str
        As the corpus holds it, with its punctuation and capitals.

    Returns
    -------
    dict[str, float | int | str | None]
        The keys of `TYPES`, always, in that order:

        - words (between white space, their outer punctuation not counted): ``word_count``,
          ``average_word_length``, ``min_word_length``, ``max_word_length``;
        - ``char_count``, spaces and punctuation included; the most frequent letter or digit,
          ``max_char``, the rarest one, ``min_char`` (lower case; of several the first in order),
          and how often each occurs;
        - readability, by the names of textstat.

        Without any word the counts are 0 and everything else is None.
    """
    columns = {**_word_lengths(words(sentence)), **_characters(sentence), **_readability(sentence)}
    return {key: columns[key] for key in TYPES}


def words(sentence: str) -> list[str]:
    """Words of a sentence without the punctuation around them: ``'"Don't!"'`` gives ``Don't``."""
    stripped = (_strip_punctuation(token) for token in sentence.translate(_ASCII).split())
    return [word for word in stripped if word]


def _strip_punctuation(token: str) -> str:
    inside = [index for index, character in enumerate(token) if character.isalnum()]
    return token[inside[0] : inside[-1] + 1] if inside else ""


def _word_lengths(found: list[str]) -> dict[str, float | int | str | None]:
    lengths = [len(word) for word in found]
    return {
        "word_count": len(lengths),
        "average_word_length": sum(lengths) / len(lengths) if lengths else None,
        "min_word_length": min(lengths, default=None),
        "max_word_length": max(lengths, default=None),
    }


def _characters(sentence: str) -> dict[str, float | int | str | None]:
    counts = Counter(character for character in sentence.lower() if character.isalnum())
    most = min(counts, key=lambda character: (-counts[character], character), default=None)
    least = min(counts, key=lambda character: (counts[character], character), default=None)
    return {
        "char_count": len(sentence.strip()),
        "max_char": most,
        "max_char_count": counts[most] if most else 0,
        "min_char": least,
        "min_char_count": counts[least] if least else 0,
    }


def _readability(sentence: str) -> dict[str, float | int | str | None]:
    if not words(sentence):
        return dict.fromkeys(COUNTS, 0) | dict.fromkeys((*SCORES, "text_standard"))
    import textstat

    text = _sentence_case(sentence.translate(_ASCII))
    return {
        **{name: int(getattr(textstat, name)(text)) for name in COUNTS},
        **{name: float(getattr(textstat, name)(text)) for name in SCORES},
        "text_standard": float(textstat.text_standard(text, float_output=True)),
    }


def _sentence_case(sentence: str) -> str:
    """LibriSpeech writes in capitals, whose contractions textstat does not recognise."""
    return sentence.capitalize() if sentence.isupper() else sentence
