"""What is said in the corpora: everyday, matrix and grammar sentences, and words in any order."""

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SEED = 20261121
# The English matrix test: one word of each column in a row, 100,000 sentences (Kollmeier et al.
# 2015, Int. J. Audiol. 54 Suppl. 2:3-16, describes the principle; these are our own fifty words).
MATRIX = (
    ["Alan", "Barry", "Doris", "Hannah", "Kathy", "Lucy", "Nina", "Peter", "Steven", "Thomas"],
    ["bought", "gives", "got", "has", "kept", "likes", "ordered", "sees", "sold", "wants"],
    ["two", "three", "four", "five", "six", "eight", "nine", "twelve", "sixty", "some"],
    ["big", "cheap", "dark", "green", "heavy", "large", "old", "pink", "red", "small"],
    ["beds", "chairs", "desks", "flowers", "houses", "mugs", "rings", "ships", "shoes", "spoons"],
)
# A line that can be read aloud as it stands: no digits, no signs, no abbreviations.
SPOKEN = re.compile(r"[A-Z][a-z]*(?:[ ,;:'-]{1,2}(?:[A-Z]?[a-z]+|I|A))*[.?!]?")


def read_everyday() -> list[tuple[str, str]]:
    """Our own sentences with their domains, in a fixed random order."""
    lines = (HERE / "text" / "everyday.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [(sentence, domain) for sentence, domain in (line.split("\t") for line in lines)]
    random.Random(SEED).shuffle(rows)
    return rows


def matrix_sentences(rng: random.Random, count: int) -> list[str]:
    """Draw distinct sentences of the matrix test."""
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        drawn[" ".join(rng.choice(column) for column in MATRIX) + "."] = None
    return list(drawn)


def grammar_sentences(
    rng: random.Random, count: int, avoid: set[str], candidates: int = 1
) -> list[str]:
    """Draw distinct sentences of text/grammar.yaml that are not in ``avoid``.

    Of so many candidates the one whose words have come least often is kept.
    """
    grammar = yaml.safe_load((HERE / "text" / "grammar.yaml").read_text(encoding="utf-8"))
    drawn: dict[str, None] = {}
    seen: Counter[str] = Counter()
    while len(drawn) < count:
        texts = [grammar_sentence(rng, grammar) for _ in range(candidates)]
        texts = [text for text in texts if text not in avoid and len(text) <= 75]
        if texts:
            text = max(texts, key=lambda text: rarity(text, seen))
            drawn[text] = None
            seen.update(words_of(text))
    return list(drawn)


def grammar_sentence(rng: random.Random, grammar: dict[str, Any]) -> str:
    """Fill the slots of a template."""
    template = rng.choice(grammar["templates"])
    text = re.sub(r"\{(\w+)\}", lambda slot: rng.choice(grammar["slots"][slot[1]]), template)
    return text[0].upper() + text[1:]


def rarity(text: str, seen: Counter[str]) -> float:
    """How rare the words of a sentence are among those seen."""
    words = words_of(text)
    return sum(1 / (1 + seen[word]) for word in words) / len(words)


def word_sentences(rng: random.Random, count: int, texts: list[str]) -> list[str]:
    """Three to six words after one another, every word of ``texts`` as often as any other.

    Nothing of a sentence can be guessed from its other words: each has to be heard and spelled.
    """
    vocabulary = sorted({word for text in texts for word in words_of(text)})
    return [
        " ".join(rng.choices(vocabulary, k=rng.randint(3, 6))).capitalize() + "."
        for _ in range(count)
    ]


def words_of(text: str) -> list[str]:
    """Words in lower case, without the marks around them."""
    return re.findall(r"[a-z][a-z']*", text.lower())


def collected_sentences(
    rng: random.Random, texts: list[str], count: int, avoid: set[str]
) -> list[str]:
    """Draw distinct sentences that people wrote, of 2 to 11 common words, none of ``avoid``.

    A common word is one that ``texts`` hold three times. Of two candidates the one whose words
    have come less often is kept.
    """
    fit = {text for line in texts if SPOKEN.fullmatch(text := line.strip()) and len(text) <= 62}
    spoken_before = {" ".join(words_of(text)) for text in avoid}
    frequency = Counter(word for text in fit for word in words_of(text))
    pool = [text for text in sorted(fit) if is_common(words_of(text), frequency)]
    pool = [text for text in pool if " ".join(words_of(text)) not in spoken_before]
    rng.shuffle(pool)
    drawn: list[str] = []
    seen: Counter[str] = Counter()
    while pool and len(drawn) < count:
        pair = [pool.pop() for _ in range(min(2, len(pool)))]
        text = max(pair, key=lambda text: rarity(text, seen))
        # The other one has another chance, at the far end of the pool.
        pool[:0] = [other for other in pair if other is not text]
        drawn.append(text)
        seen.update(words_of(text))
    return drawn


def is_common(words: list[str], frequency: Counter[str]) -> bool:
    """Whether a sentence is of a length and of words to learn from."""
    return 2 <= len(words) <= 11 and all(frequency[word] >= 3 for word in words)
