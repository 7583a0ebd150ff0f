"""Error counts against an independent edit distance, corpus rates and their intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearing_analysis import metrics
from hearing_analysis.metrics import (
    COLUMNS,
    ErrorCounts,
    WordEdit,
    align_words,
    batch_character_errors,
    batch_word_errors,
    bootstrap_interval,
    character_errors,
    corpus_error_rate,
    word_errors,
)
from pipeline.errors import InputError

sentences = st.lists(st.sampled_from(["a", "b", "ab", "it's", "É"]), max_size=7).map(" ".join)


def edit_distance(reference: list[str] | str, hypothesis: list[str] | str) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, said in enumerate(reference, 1):
        previous, row = row, [i]
        for j, recognised in enumerate(hypothesis, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (said != recognised)))
    return row[-1]


@given(reference=sentences, hypothesis=sentences)
def test_word_errors_have_the_fewest_edits(reference: str, hypothesis: str) -> None:
    counts = word_errors(reference, hypothesis)
    assert counts.edits == edit_distance(reference.split(), hypothesis.split())
    assert counts.reference_length == len(reference.split())
    assert counts.hits + counts.substitutions + counts.insertions == len(hypothesis.split())


@given(reference=sentences, hypothesis=sentences)
def test_character_errors_have_the_fewest_edits(reference: str, hypothesis: str) -> None:
    counts = character_errors(reference, hypothesis)
    assert counts.edits == edit_distance(reference, hypothesis)
    assert counts.reference_length == len(reference)
    assert counts.hits + counts.substitutions + counts.insertions == len(hypothesis)


@given(pairs=st.lists(st.tuples(sentences, sentences), max_size=6))
def test_a_batch_counts_as_its_sentences_do(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert batch_word_errors(references, hypotheses) == tuple(word_errors(*pair) for pair in pairs)
    assert batch_character_errors(references, hypotheses) == tuple(
        character_errors(*pair) for pair in pairs
    )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts", "rate"),
    [
        ("THE CAT SAT", "THE CAT SAT", (3, 0, 0, 0), 0.0),
        ("THE CAT SAT", "THE BAT SAT", (2, 1, 0, 0), 1 / 3),
        ("THE CAT SAT", "THE SAT", (2, 0, 1, 0), 1 / 3),
        ("THE CAT SAT", "THE CAT HAS SAT", (3, 0, 0, 1), 1 / 3),
        ("THE CAT SAT", "", (0, 0, 3, 0), 1.0),
        ("THE CAT", "A DOG AND A BIRD", (0, 2, 0, 3), 2.5),
        ("", "", (0, 0, 0, 0), 0.0),
        ("", "TWO WORDS", (0, 0, 0, 2), 2.0),  # as jiwer: the number of insertions
        ("  ", " ", (0, 0, 0, 0), 0.0),
        (" THE  CAT ", "THE CAT", (2, 0, 0, 0), 0.0),
        ("the cat", "THE CAT", (0, 2, 0, 0), 1.0),  # normalising is not done here
    ],
)
def test_word_errors(reference: str, hypothesis: str, counts: tuple[int, ...], rate: float) -> None:
    found = word_errors(reference, hypothesis)
    assert found == ErrorCounts(*counts)
    assert found.rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts", "rate"),
    [
        ("CAT", "CAT", (3, 0, 0, 0), 0.0),
        ("CAT", "CUT", (2, 1, 0, 0), 1 / 3),
        ("THE CAT", "THECAT", (6, 0, 1, 0), 1 / 7),  # a space counts
        (" CAT ", "CAT", (3, 0, 0, 0), 0.0),  # but not at the ends
        ("CAT", "", (0, 0, 3, 0), 1.0),
        ("", "", (0, 0, 0, 0), 0.0),
        ("", "CAT", (0, 0, 0, 3), 3.0),
    ],
)
def test_character_errors(
    reference: str, hypothesis: str, counts: tuple[int, ...], rate: float
) -> None:
    found = character_errors(reference, hypothesis)
    assert found == ErrorCounts(*counts)
    assert found.rate == pytest.approx(rate)


@pytest.mark.parametrize("score", [batch_word_errors, batch_character_errors])
def test_batches_refuse_unpaired_sentences(score: object) -> None:
    with pytest.raises(InputError, match="got 2 references and 1 hypotheses"):
        score(["a", "b"], ["a"])


def test_columns_are_named_as_everywhere() -> None:
    counts = ErrorCounts(hits=3, substitutions=1, deletions=0, insertions=2)
    assert counts.columns("word") == {
        "word_error_rate": 0.75,
        "word_hits": 3,
        "word_substitutions": 1,
        "word_deletions": 0,
        "word_insertions": 2,
        "word_edits": 3,
        "word_reference_length": 4,
    }
    assert (*counts.columns("word"), *counts.columns("character")) == COLUMNS


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("", "", []),
        ("", "A", [("insert", None, "A")]),
        ("A", "", [("delete", "A", None)]),
        (
            "THE CAT SAT DOWN",
            "A CAT SAT RIGHT DOWN",
            [
                ("substitute", "THE", "A"),
                ("equal", "CAT", "CAT"),
                ("equal", "SAT", "SAT"),
                ("insert", None, "RIGHT"),
                ("equal", "DOWN", "DOWN"),
            ],
        ),
    ],
)
def test_align_words(reference: str, hypothesis: str, expected: list[tuple]) -> None:
    assert align_words(reference, hypothesis) == tuple(WordEdit(*edit) for edit in expected)


@given(reference=sentences, hypothesis=sentences)
def test_an_alignment_spells_both_sides_and_counts_alike(reference: str, hypothesis: str) -> None:
    edits = align_words(reference, hypothesis)
    assert " ".join(edit.reference for edit in edits if edit.reference) == reference
    assert " ".join(edit.hypothesis for edit in edits if edit.hypothesis) == hypothesis
    kinds = [edit.kind for edit in edits]
    counts = [kinds.count(kind) for kind in ("equal", "substitute", "delete", "insert")]
    assert ErrorCounts(*counts) == word_errors(reference, hypothesis)


def test_a_corpus_is_scored_by_the_ratio_of_sums_not_the_mean_of_ratios() -> None:
    edits, lengths = [1, 1], [1, 99]
    assert corpus_error_rate(edits, lengths) == 0.02
    assert np.mean(np.divide(edits, lengths)) > 0.5


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6))
def test_corpus_rate_is_jiwers_over_all_sentences(pairs: list[tuple[str, str]]) -> None:
    counts = [word_errors(*pair) for pair in pairs]
    rate = corpus_error_rate(
        [count.edits for count in counts], [count.reference_length for count in counts]
    )
    together = sum(count.edits for count in counts), sum(len(r.split()) for r, _ in pairs)
    assert rate == together[0] / together[1] if together[1] else np.isnan(rate)


@pytest.mark.parametrize(("edits", "lengths"), [([], []), ([0], [0]), ([3], [0])])
def test_a_group_without_references_has_no_rate(edits: list[int], lengths: list[int]) -> None:
    assert np.isnan(corpus_error_rate(edits, lengths))
    interval = bootstrap_interval(edits, lengths)
    assert np.isnan([interval.low, interval.high]).all()


def counts_of(n_clips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 15, n_clips)
    return random.binomial(lengths, 0.3), lengths


def test_bootstrap_equals_a_naive_loop() -> None:
    edits, lengths = counts_of(40)
    random = np.random.default_rng(7)
    rates = []
    for drawn in random.integers(40, size=(500, 40)):
        rates.append(sum(edits[i] for i in drawn) / sum(lengths[i] for i in drawn))
    found = bootstrap_interval(edits, lengths, n_resamples=500, level=0.9, seed=7)
    assert (found.low, found.high) == pytest.approx(np.quantile(rates, [0.05, 0.95]))


def test_bootstrap_of_groups_equals_a_naive_loop_over_whole_groups() -> None:
    edits, lengths = counts_of(60)
    speakers = np.array(list("abcdef"))[np.arange(60) % 6]
    clips_of = [np.flatnonzero(speakers == speaker) for speaker in "abcdef"]
    random = np.random.default_rng(3)
    rates = []
    for drawn in random.integers(6, size=(400, 6)):
        clips = np.concatenate([clips_of[i] for i in drawn])
        rates.append(edits[clips].sum() / lengths[clips].sum())
    found = bootstrap_interval(edits, lengths, groups=speakers, n_resamples=400, seed=3)
    assert (found.low, found.high) == pytest.approx(np.quantile(rates, [0.025, 0.975]))


def test_bootstrap_does_not_depend_on_how_much_is_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edits, lengths = counts_of(33)
    whole = bootstrap_interval(edits, lengths, n_resamples=100)
    monkeypatch.setattr(metrics, "_MAX_DRAWS", 33 * 7)
    assert bootstrap_interval(edits, lengths, n_resamples=100) == whole


def test_bootstrap_repeats_itself_and_holds_the_rate() -> None:
    edits, lengths = counts_of(200)
    found = bootstrap_interval(edits, lengths)
    assert found == bootstrap_interval(edits, lengths)
    assert found != bootstrap_interval(edits, lengths, seed=1)
    assert 0 < found.low < corpus_error_rate(edits, lengths) < found.high < 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_higher_level_is_wider(seed: int) -> None:
    edits, lengths = counts_of(50, seed)
    narrow = bootstrap_interval(edits, lengths, n_resamples=300, level=0.5)
    wide = bootstrap_interval(edits, lengths, n_resamples=300, level=0.99)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_clips_of_one_speaker_count_as_one_observation() -> None:
    edits, lengths = np.repeat([1, 5, 9], 100), np.full(300, 10)
    by_clip = bootstrap_interval(edits, lengths)
    by_speaker = bootstrap_interval(edits, lengths, groups=np.repeat(["a", "b", "c"], 100))
    assert by_speaker.high - by_speaker.low > 3 * (by_clip.high - by_clip.low)


def test_an_interval_of_one_clip_is_a_point() -> None:
    found = bootstrap_interval([1], [4])
    assert (found.low, found.high) == (0.25, 0.25)


def test_resamples_without_references_are_left_out() -> None:
    found = bootstrap_interval([1, 2], [4, 0])
    assert np.isfinite([found.low, found.high]).all()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 2], [3]), {}, r"got shapes \(2,\) and \(1,\)"),
        (([[1]], [[3]]), {}, r"got shapes \(1, 1\)"),
        (([-1], [3]), {}, "got -1"),
        (([1], [3]), {"groups": ["a", "b"]}, r"shape \(2,\) for 1 clips"),
        (([1], [3]), {"level": 95}, "between 0 and 1, got 95"),
        (([1], [3]), {"n_resamples": 0}, "got 0"),
    ],
)
def test_bootstrap_refuses(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bootstrap_interval(*arguments, **options)
