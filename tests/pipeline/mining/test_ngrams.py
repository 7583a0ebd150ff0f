"""Counts of n-grams: of texts against counting by hand, of speech against the text it says."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded

from pipeline.mining.ngrams import (
    N_FEATURES,
    SYMBOLS,
    TRIPLE_PLACES,
    heard_letters,
    ngram_features,
    symbol_places,
    written_letters,
)

texts = st.text(alphabet="abc 'xyz", min_size=1, max_size=20).filter(str.strip)
VOCABULARY = {"<pad>": 0, "<s>": 1, "|": 2, "'": 3} | {
    letter.upper(): 4 + number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")
}
PLACES = symbol_places(VOCABULARY, "|")


def spoken(text: str, sureness: float = 1.0) -> np.ndarray:
    """Posteriors of a recogniser that hears a text letter by letter, with blanks between."""
    rest = (1 - sureness) / (len(VOCABULARY) - 1)
    frames = []
    for letter in " ".join(text.split()):
        token = VOCABULARY["|" if letter == " " else letter.upper()]
        for number, times in ((token, 2), (0, 1)):
            frame = np.full(len(VOCABULARY), rest, np.float32)
            frame[number] = sureness
            frames += [frame] * times
    return np.array(frames, np.float32)


@seeded
@given(texts)
def test_letters_and_pairs_are_counted(text):
    features = ngram_features(written_letters(text))
    plain = " ".join(text.split())
    padded = f" {plain} "
    n = len(SYMBOLS)
    letters = Counter(plain)
    pairs = Counter(itertools.pairwise(padded))
    apart = Counter(zip(padded, padded[2:], strict=False))
    squares = features.astype(np.float64) ** 2
    total = len(plain) + 2 * len(padded) - 3 + len(padded) - 2

    assert squares.sum() == pytest.approx(1, abs=1e-5)
    for symbol, count in letters.items():
        assert squares[SYMBOLS.index(symbol)] * total == pytest.approx(count, rel=1e-3)
    for offset, counted in ((n, pairs), (n + n * n, apart)):
        for (first, second), count in counted.items():
            place = offset + SYMBOLS.index(first) * n + SYMBOLS.index(second)
            assert squares[place] * total == pytest.approx(count, rel=1e-3)
    triples = squares[N_FEATURES - TRIPLE_PLACES :].sum() * total
    assert triples == pytest.approx(len(padded) - 2, rel=1e-3)


@seeded
@given(texts)
def test_what_is_heard_surely_is_what_is_written(text):
    heard = ngram_features(heard_letters(spoken(text), PLACES))

    np.testing.assert_allclose(heard, ngram_features(written_letters(text)), atol=1e-5)


def test_a_doubtful_letter_lies_between_its_readings():
    said = spoken("cat")
    token, other = VOCABULARY["C"], VOCABULARY["B"]
    said[0:2, token], said[0:2, other] = 0.6, 0.4
    doubtful = ngram_features(heard_letters(said, PLACES))
    cat, bat, dog = (ngram_features(written_letters(text)) for text in ("cat", "bat", "dog"))

    assert doubtful @ cat > doubtful @ bat > doubtful @ dog
    assert doubtful @ bat > cat @ bat


def test_nothing_heard_and_nothing_written_are_zeros():
    silence = np.zeros((5, len(VOCABULARY)), np.float32)
    silence[:, 0] = 1

    assert len(heard_letters(silence, PLACES)) == 0
    for letters in (heard_letters(silence, PLACES), written_letters("12 – !")):
        np.testing.assert_array_equal(ngram_features(letters), np.zeros(N_FEATURES))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("It’s  a\tsmall-town Café.", "it's a small town cafe"),
        ("Naïve, ÉTÉ!", "naive ete"),
    ],
)
def test_texts_are_reduced_to_letters(text, plain):
    assert "".join(SYMBOLS[place] for place in written_letters(text).argmax(1)) == plain
