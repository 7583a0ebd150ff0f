"""`text_metadata` as a table of values, offline."""

import socket
import subprocess
import sys

import pytest

from hearing_analysis.metadata.text import COUNTS, TYPES, text_metadata, words

FOX = "The quick brown fox jumps over the lazy dog."
READABILITY = [*COUNTS, *list(TYPES)[list(TYPES).index("flesch_reading_ease") :]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("text metadata reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_loads_its_dictionaries_without_the_network() -> None:
    code = (
        "import socket\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from hearing_analysis.metadata.text import text_metadata\n"
        "print(text_metadata('Zaphod reads.')['syllable_count'])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "3", result.stderr


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            FOX,
            {
                "word_count": 9,
                "average_word_length": 35 / 9,
                "min_word_length": 3,
                "max_word_length": 5,
                "char_count": 44,
                "max_char": "o",
                "max_char_count": 4,
                "min_char": "a",
                "min_char_count": 1,
                "syllable_count": 11,
                "lexicon_count": 9,
                "sentence_count": 1,
                # 206.835 - 1.015 * 9 words per sentence - 84.6 * 11/9 syllables per word
                "flesch_reading_ease": 206.835 - 1.015 * 9 - 84.6 * 11 / 9,
                "flesch_kincaid_grade": 0.39 * 9 + 11.8 * 11 / 9 - 15.59,
                "gunning_fog": 0.4 * 9,
                "difficult_words": 0,
                "linsear_write_formula": (9 - 2) / 2,
            },
        ),
        ('  "Don\'t!"  ', {"word_count": 1, "max_word_length": 5, "char_count": 8}),
        ("Well - no.", {"word_count": 2, "lexicon_count": 2}),
        ("Up\u2014down it\u2019s", {"word_count": 3, "lexicon_count": 3, "syllable_count": 3}),
        ("aabbc", {"max_char": "a", "max_char_count": 2, "min_char": "c", "min_char_count": 1}),
        ("Aa b", {"max_char": "a", "max_char_count": 2, "min_char": "b", "min_char_count": 1}),
        (
            "One day we met. Then we all went home. It was good.",
            {"sentence_count": 3, "lexicon_count": 12},
        ),
        ("Incomprehensible multiplication exhausted everybody.", {"difficult_words": 3}),
        ("Zürich", {"word_count": 1, "max_word_length": 6}),
    ],
)
def test_values(sentence: str, expected: dict[str, object]) -> None:
    found = text_metadata(sentence)
    for key, value in expected.items():
        assert found[key] == (pytest.approx(value) if isinstance(value, float) else value), key


@pytest.mark.parametrize("sentence", ["", "   ", "...", "- ?", "_"])
def test_without_words_counts_are_0_and_the_rest_is_missing(sentence: str) -> None:
    found = text_metadata(sentence)
    counts = {key for key in TYPES if key.endswith("_count")} | {"difficult_words"}
    assert {key for key, value in found.items() if value is not None} == counts
    assert all(found[key] == 0 for key in counts - {"char_count"})
    assert found["char_count"] == len(sentence.strip())


@pytest.mark.parametrize("sentence", ["", "I", "1.", FOX, FOX.upper(), "日本語", "ﬀ", "a " * 300])
def test_keys_and_types_are_always_the_same(sentence: str) -> None:
    found = text_metadata(sentence)
    assert list(found) == list(TYPES)
    for key, value in found.items():
        assert value is None or type(value) is TYPES[key], key


def test_a_word_no_dictionary_holds_has_syllables() -> None:
    assert text_metadata("The slartibartfast sings.")["syllable_count"] == 5


def test_capitals_score_as_the_sentence_they_stand_for() -> None:
    sentence = "Don't you know that it's the slartibartfast's multiplication table"
    capitals = text_metadata(sentence.upper())
    usual = text_metadata(sentence)
    assert {key: capitals[key] for key in READABILITY} == {key: usual[key] for key in READABILITY}


def test_scores_are_not_rounded() -> None:
    score = text_metadata(FOX)["flesch_kincaid_grade"]
    assert isinstance(score, float)
    assert score != round(score, 4)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("", []),
        ('"Don\'t!"', ["Don't"]),
        ("well-known  (or not)", ["well-known", "or", "not"]),
        ("a -- b", ["a", "b"]),
    ],
)
def test_words(sentence: str, expected: list[str]) -> None:
    assert words(sentence) == expected
