"""Who said it, and how: what the corpus tells about a clip."""

from collections.abc import Mapping
from typing import Any

from hearing_analysis.metadata.text import words

# Key -> the column of the corpus it comes from.
STRING_COLUMNS = {
    "id": "id",
    "path": "path",
    "speaker": "client_id",
    "speaker_name": "speaker_name",
    "chapter": "chapter_id",
    "subset": "subset",
    "accent": "accents",
    "age": "age",
    "gender": "gender",
    "locale": "locale",
    "sentence_domain": "sentence_domain",
}

TYPES: dict[str, type] = {
    **dict.fromkeys(STRING_COLUMNS, str),
    "output_gain_db": float,
    "speaking_rate_words_per_s": float,
}


def clip_metadata(columns: Mapping[str, Any]) -> dict[str, float | str | None]:
    """Describe one clip by its row of the corpus.

    Parameters
    ----------
    columns : Mapping[str, Any]
        Column -> value. A column that is missing, empty or NaN gives None.

    Returns
    -------
    dict[str, float | str | None]
        The keys of `TYPES`, always, in that order. ``output_gain_db`` is what normalisation added
        to this variant; ``speaking_rate_words_per_s`` counts the pauses in.
    """
    return {
        **{key: _string(columns.get(column)) for key, column in STRING_COLUMNS.items()},
        "output_gain_db": _number(columns.get("output_gain_db")),
        "speaking_rate_words_per_s": _speaking_rate(columns),
    }


def _string(value: Any) -> str | None:
    if value is None or value != value:  # NaN is what pandas makes of a missing string
        return None
    return str(value).strip() or None


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _speaking_rate(columns: Mapping[str, Any]) -> float | None:
    sentence, seconds = _string(columns.get("sentence")), _number(columns.get("duration_s"))
    return len(words(sentence)) / seconds if sentence and seconds else None
