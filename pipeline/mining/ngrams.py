"""What a recogniser may have heard, and what a text says, in the same numbers: counts of n-grams.

A recogniser's frames are taken together where they agree on a letter, which leaves a distribution
over letters for each one it heard; a text has the same with certainty. Counts are expectations:
letters, pairs, pairs with one between them, and triples, which are hashed into a fixed number of
places. Their square roots, at length 1, have an inner product that is the Bhattacharyya coefficient
of the counts, so that frequent pairs do not drown the rest.
"""

import unicodedata

import numpy as np

SYMBOLS = " 'abcdefghijklmnopqrstuvwxyz"
TRIPLE_PLACES = 2_048
N_FEATURES = len(SYMBOLS) + 2 * len(SYMBOLS) ** 2 + TRIPLE_PLACES
ALTERNATIVES = 2  # readings of a letter that count in triples
LEAST_SHARE = 0.1  # of a letter's distribution that such a reading has
LONGEST_TEXT = 2_000  # characters
KNUTH = 2_654_435_761  # of his multiplicative hash


def ngram_features(letters: np.ndarray) -> np.ndarray:
    """Square roots of expected counts, at length 1.

    Parameters
    ----------
    letters : np.ndarray [shape=(n, n_symbols), dtype=float32]
        A distribution over ``SYMBOLS`` for every letter.

    Returns
    -------
    np.ndarray [shape=(N_FEATURES,), dtype=float32]
        Zeros if there is no letter.
    """
    if not len(letters):
        return np.zeros(N_FEATURES, np.float32)
    space = np.zeros((1, len(SYMBOLS)), np.float32)
    space[0, 0] = 1
    padded = np.concatenate([space, letters, space])
    counts = [
        letters.sum(0),
        (padded[:-1].T @ padded[1:]).ravel(),
        (padded[:-2].T @ padded[2:]).ravel(),
        _triples(padded),
    ]
    features = np.sqrt(np.maximum(np.concatenate(counts), 0))
    return (features / np.linalg.norm(features)).astype(np.float32)


def heard_letters(posteriors: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """Distributions over letters, one for each that a recogniser heard.

    Parameters
    ----------
    posteriors : np.ndarray [shape=(n_frames, vocabulary), dtype=float32]
        Of a recogniser trained with CTC.
    symbols : np.ndarray [shape=(vocabulary,), dtype=int64]
        Place in ``SYMBOLS`` of every token; -1 for blanks and other tokens that are no letter.

    Returns
    -------
    np.ndarray [shape=(n_letters, n_symbols), dtype=float32]
    """
    best = posteriors.argmax(1)
    starts = np.flatnonzero(np.diff(best, prepend=-1))
    kept = symbols[best[starts]] >= 0
    lengths = np.diff(starts, append=len(best))
    sums = np.add.reduceat(posteriors, starts, axis=0)[kept] / lengths[kept, None]
    letters = np.zeros((len(sums), len(SYMBOLS)), np.float32)
    for token in np.flatnonzero(symbols >= 0):
        letters[:, symbols[token]] += sums[:, token]
    return letters / np.maximum(letters.sum(1, keepdims=True), 1e-9)


def written_letters(text: str) -> np.ndarray:
    """The same of a text: its letters, apostrophes and spaces; accents are taken off."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'")).lower()[:LONGEST_TEXT]
    kept = "".join(
        symbol if symbol in SYMBOLS else " " * (symbol.isspace() or symbol == "-")
        for symbol in plain
    )
    places = [SYMBOLS.index(symbol) for symbol in " ".join(kept.split())]
    return np.eye(len(SYMBOLS), dtype=np.float32)[np.array(places, np.int64)]


def symbol_places(vocabulary: dict[str, int], word_delimiter: str) -> np.ndarray:
    """Place in ``SYMBOLS`` of every token of a recogniser; -1 where there is none."""
    places = np.full(max(vocabulary.values(), default=-1) + 1, -1, np.int64)
    for token, number in vocabulary.items():
        symbol = " " if token == word_delimiter else token.lower()
        if len(symbol) == 1 and symbol in SYMBOLS:
            places[number] = SYMBOLS.index(symbol)
    return places


def _triples(letters: np.ndarray) -> np.ndarray:
    """Counts of triples, of the likeliest readings of each letter."""
    likeliest = np.argsort(-letters, axis=1, kind="stable")[:, :ALTERNATIVES]
    shares = np.take_along_axis(letters, likeliest, axis=1)
    shares = np.where(shares >= LEAST_SHARE, shares, 0)
    weights = np.einsum("na,nb,nc->nabc", shares[:-2], shares[1:-1], shares[2:])
    first, second, third = (likeliest[i : len(likeliest) - 2 + i] for i in range(3))
    n = len(SYMBOLS)
    codes = (
        first[:, :, None, None] * n * n + second[:, None, :, None] * n + third[:, None, None, :]
    ).astype(np.uint64)
    places = (codes * np.uint64(KNUTH) & np.uint64(2**32 - 1)) >> np.uint64(21)
    return np.bincount(
        places.ravel().astype(np.int64), weights.ravel(), minlength=TRIPLE_PLACES
    ).astype(np.float32)
