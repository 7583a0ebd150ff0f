"""Which word's neighbourhood a word falls into."""

import numpy as np
import pytest

from pipeline.sse.confusion import confuse
from pipeline.sse.lists import Sections, Segments
from pipeline.sse.robustness import ProfileFigures, ProfileResult

WORDS = ("six", "gives", "long", "large", "mild")


def heard(*labels):
    n = len(labels)
    figures = ProfileFigures("hfloss", 0.0, 0.0, 0.0, 0.0, 0.4)
    return ProfileResult(figures, np.zeros(n), np.zeros(n), np.array(labels, np.int32))


def segments(*labels):
    n = len(labels)
    nothing = np.zeros(n, np.int32)
    held = Sections(("a",), ("s",), nothing, nothing, np.tile([[0.0, 1.0]], (n, 1)))
    return Segments(held, held.spans, WORDS, np.array(labels, np.int32))


def test_every_row_counts_where_a_word_went():
    said = segments(0, 0, 0, 1, 2, 3, 3, 4)
    (found,) = confuse([heard(0, 1, 1, 1, 3, 3, 2, 4)], said, most=4)
    assert set(found.words) == {"six", "gives", "long", "large"}  # mild is never confused
    place = {word: index for index, word in enumerate(found.words)}
    assert found.counts[place["six"], place["gives"]] == 2
    assert found.counts[place["six"], place["six"]] == 1
    assert found.counts[place["large"], place["long"]] == 1
    assert found.counts.sum() == 7
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(4))
    # Words that are taken for each other stand side by side.
    assert abs(place["six"] - place["gives"]) == abs(place["long"] - place["large"]) == 1


def test_what_is_not_shown_has_a_column_of_its_own():
    said = segments(0, 0, 0, 1, 2)
    (found,) = confuse([heard(1, 1, 3, 0, 2)], said, most=2)
    assert found.words == ("six", "gives")
    assert found.counts.tolist() == [[0, 2, 1], [1, 0, 0]]


def test_words_are_the_same_for_all_profiles_and_without_confusion_too():
    said = segments(0, 1, 2)
    one, other = confuse([heard(0, 1, 2), heard(0, 1, 2)], said, most=2)
    assert one.words == other.words
    assert len(one.words) == 2
    assert one.counts.sum() == 2
