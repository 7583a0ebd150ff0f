"""What is said in the generated corpora, and by whom; nothing here needs espeak-ng."""

import random
import sys

import pytest

from hearing_analysis.config import ROOT

TEXTS = [
    "The old lighthouse keeper waved.",
    "The old keeper waved.",
    "The old lighthouse waved.",
    "The keeper of the old lighthouse waved.",
    "the old keeper waved.",  # begins in the middle
    "The old keeper of 3 lighthouses waved.",
    "The KEEPER waved.",
    "Dr. Old waved.",
    "Waved the quokka.",  # says a word that no other says
    "Waved.",
    "  Keeper, the old lighthouse waved!  ",
]


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "examples" / "mini-corpus")
    import generate

    yield generate
    for name in ("generate", "sentences", "timbres"):
        sys.modules.pop(name, None)


def test_sentences_that_people_wrote_are_drawn_if_they_can_be_read_aloud(generator):
    drawn = generator.collected_sentences(random.Random(0), TEXTS, 10, {"the old lighthouse waved"})
    # "of" and "quokka" are said once, "The old lighthouse waved." is to be avoided.
    assert sorted(drawn) == [
        "Keeper, the old lighthouse waved!",
        "The old keeper waved.",
        "The old lighthouse keeper waved.",
    ]


@pytest.mark.parametrize("size", ["training", "voices", "spelling", "collected"])
def test_no_sentence_and_no_timbre_of_the_test_split_is_trained_on(generator, size):
    shipped = generator.plan(generator.SIZES["shipped"], "shipped")
    tested = [utterance for utterance in shipped if utterance.split == "test"]
    learned = list(generator.plan(generator.SIZES[size], size, TEXTS))
    assert learned
    assert {u.sentence.lower() for u in tested}.isdisjoint(u.sentence.lower() for u in learned)
    assert {u.voice.timbre for u in tested}.isdisjoint(u.voice.timbre for u in learned)
    assert {u.voice.client_id for u in tested}.isdisjoint(u.voice.client_id for u in learned)
