"""The network, its loss, what a batch holds, and trainings that end in the same weights."""

import numpy as np
import pytest
from sse_speech import write_language

from pipeline.errors import InputError
from pipeline.neighbours import unit_rows
from pipeline.sse.augment import Augmentation
from pipeline.sse.batches import (
    LabelledPairs,
    ListedPairs,
    MixedPairs,
    ViewPairs,
    load,
    overlapping,
)
from pipeline.sse.features import FeatureSettings, make_features
from pipeline.sse.frames import FrameSource
from pipeline.sse.lists import Segments, read_sections
from pipeline.sse.pairs import (
    FoundPairs,
    PairSettings,
    above_threshold,
    error_rate,
    find_pairs,
    mutual,
    read_pairs,
    reduce,
    write_pairs,
)
from pipeline.sse.segments import SegmentSettings, make_segments
from pipeline.sse.store import FrameRanges, open_store
from pipeline.sse.support import support
from pipeline.sse.transcribe import aligned_segments, read_alignment, repeated

torch = pytest.importorskip("torch")

from pipeline.sse.model import Architecture, Model, load_model, new_network, nt_xent  # noqa: E402
from pipeline.sse.train import Trainer, TrainSettings, frame_statistics  # noqa: E402

SMALL = {"width": 16, "heads": 2, "feed_forward": 32, "dropout": 0.2}
QUICK = TrainSettings(
    batch_size=12, learning_rate=3e-3, steps_per_epoch=3, epochs=3, patience=9, valid_on="loss"
)


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    return write_language(tmp_path_factory.mktemp("language"))


@pytest.fixture(scope="module")
def store(language, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    settings = FeatureSettings(FrameSource(n_mels=20), Augmentation(("tempo", "noise")), 2)
    make_features(language.root, read_sections(language.vads), settings, folder, num_workers=0)
    return open_store(folder)


@pytest.fixture(scope="module")
def words(language):
    sections = read_sections(language.vads)
    return repeated(aligned_segments(sections, read_alignment(language.words)))


@pytest.fixture
def random_segments(language):
    """Random segments, and vectors of them."""
    sections = read_sections(language.vads)
    (block,) = make_segments(sections, SegmentSettings(random=12, seed=1))
    return block, np.random.default_rng(0).standard_normal((len(block), 6)).astype(np.float32)


def network(**changes):
    torch.manual_seed(0)
    return new_network(Architecture(5, **{**SMALL, **changes}), np.zeros(5), np.ones(5), 0).eval()


@pytest.mark.parametrize("pooling", ["max", "grid"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_vector_does_not_depend_on_what_it_is_batched_with(pooling, stride):
    model = network(pooling=pooling, stride=stride)
    frames = torch.randn(4, 30, 5, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([30, 7, 1, 16])
    with torch.no_grad():
        together = model(frames, lengths)
        alone = [model(frames[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths)]
        frames[1, 7:] = torch.nan
        frames[1, 7:] = 1e6  # padding may be anything
        again = model(frames, lengths)
    np.testing.assert_allclose(together, torch.cat(alone), atol=2e-5)
    np.testing.assert_allclose(again, together, atol=2e-5)


def test_the_loss_is_what_its_formula_says():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 5, 7))
    ignored = np.zeros((5, 5), bool)
    ignored[0, 3] = ignored[3, 0] = True
    vectors = unit_rows(np.concatenate([first, second])).astype(float)
    losses = []
    for i in range(10):
        partner = (i + 5) % 10
        negatives = [j for j in range(10) if j % 5 != i % 5 and not ignored[i % 5, j % 5]]
        scores = np.array([vectors[i] @ vectors[j] / 0.15 for j in [partner, *negatives]])
        losses.append(np.log(np.exp(scores).sum()) - scores[0])
    found = nt_xent(
        torch.from_numpy(first), torch.from_numpy(second), torch.from_numpy(ignored), 0.15
    )
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_batch_of_views_is_of_one_speaker_and_says_the_same_twice(store):
    pairs = ViewPairs(store, 16)
    seen = set()
    for step in range(8):
        batch = pairs.batch(np.random.default_rng(step))
        rows = np.concatenate([batch.first.rows, batch.second.rows])
        assert len(set(store.speaker[rows])) == 1
        seen |= set(store.speaker[rows])
        one, other = batch.first, batch.second
        assert (store.path[one.rows] == store.path[other.rows]).all()
        assert (store.view[one.rows] != store.view[other.rows]).all()
        for ranges in (one, other):
            start = (ranges.first / 50) / store.stretch[ranges.rows]
            seconds = ((ranges.last - ranges.first) / 50) / store.stretch[ranges.rows]
            if ranges is one:
                before = (start, seconds)
        np.testing.assert_allclose(before[0], start, atol=0.09)
        np.testing.assert_allclose(before[1], seconds, atol=0.09)
    assert len(seen) > 1


def test_segments_that_cover_much_the_same_are_no_negatives():
    spans = np.array([[0.0, 0.48], [0.0, 0.64], [0.16, 0.32], [0.0, 0.48]])
    found = overlapping(np.array([0, 0, 0, 1]), spans)
    assert found[0, 1]  # 0.48 of 0.64 s
    assert not found[0, 2]  # 0.16 of 0.48 s
    assert not found[0, 3]  # another section
    assert not found.diagonal().any()


def found_pairs(store, n=40):
    """Pairs of different segments of unchanged sections, drawn at random; and their numbers."""
    rng = np.random.default_rng(3)
    rows = np.flatnonzero(store.view == 0)
    known = FrameRanges(rows, np.full(len(rows), 5), np.full(len(rows), 25))
    number = np.array([rng.permutation(len(rows))[:2] for _ in range(n)])
    return known.take(number[:, 0]), known.take(number[:, 1]), number


def test_segments_that_are_paired_anywhere_are_no_negatives(store):
    first, second, number = found_pairs(store)
    paired = {frozenset(pair) for pair in number.tolist()}
    code = {int(row): code for code, row in enumerate(np.flatnonzero(store.view == 0))}
    section = np.searchsorted(np.flatnonzero(store.view == 0), np.arange(len(store)), "right") - 1
    pairs = ListedPairs(store, first, second, 8)
    assert code
    some = False
    for step in range(10):
        batch = pairs.batch(np.random.default_rng(step))
        sides = np.stack([section[batch.first.rows], section[batch.second.rows]])
        for i in range(8):
            for j in range(8):
                related = any(
                    a == b or frozenset((a, b)) in paired
                    for a in sides[:, i].tolist()
                    for b in sides[:, j].tolist()
                )
                assert batch.ignored[i, j] == (i != j and related)
                some |= bool(batch.ignored[i, j])
    assert some


def test_a_mixed_batch_holds_views_and_neighbours(store):
    first, second, _ = found_pairs(store)
    views, listed = ViewPairs(store, 6), ListedPairs(store, first, second, 4)
    batch = MixedPairs(views, listed).batch(np.random.default_rng(0))
    assert len(batch.first) == len(batch.second) == 10
    assert batch.ignored.shape == (10, 10)
    assert not batch.ignored[:6, 6:].any()
    assert not batch.ignored[6:, :6].any()
    same_clip = store.path[batch.first.rows] == store.path[batch.second.rows]
    assert same_clip[:6].all()
    assert not same_clip[6:].any()
    again = MixedPairs(views, listed).batch(np.random.default_rng(0))
    np.testing.assert_array_equal(again.first.rows, batch.first.rows)


def test_no_two_pairs_of_a_gold_batch_say_the_same(store, words):
    pairs = LabelledPairs(store, store.locate(words), words.label, 6)
    found = store.locate(words)
    spoken = {
        (int(row), int(first)): int(label)
        for row, first, label in zip(found.rows, found.first, words.label, strict=True)
    }
    assert len(spoken) == len(words)
    for step in range(20):
        batch = pairs.batch(np.random.default_rng(step))
        assert len(batch.first) == 6
        if store.view[batch.first.rows].any() or store.view[batch.second.rows].any():
            continue
        one, other = (
            [spoken[int(r), int(f)] for r, f in zip(side.rows, side.first, strict=True)]
            for side in (batch.first, batch.second)
        )
        assert one == other
        assert len(set(one)) == len(one)
    with pytest.raises(InputError, match="transcriptions come more than once, fewer than a batch"):
        LabelledPairs(store, store.locate(words), words.label, 200)


def test_too_little_speech_for_a_batch_is_said(store, language, tmp_path):
    with pytest.raises(InputError, match="segments, fewer than a batch of 100000"):
        ViewPairs(store, 100_000)
    ranges = store.ranges(np.zeros(3, int), np.tile([[0.1, 0.4]], (3, 1)))
    with pytest.raises(InputError, match="3 pairs are fewer than a batch of 4"):
        ListedPairs(store, ranges, ranges, 4)
    make_features(
        language.root,
        read_sections(language.vads),
        FeatureSettings(FrameSource()),
        tmp_path,
        num_workers=0,
    )
    with pytest.raises(InputError, match="one view of each section, and two are needed"):
        ViewPairs(open_store(tmp_path), 4)


def run(store, folder, stop_after=None, settings=QUICK):
    mean, deviation = frame_statistics(store)
    start = new_network(Architecture(store.n_dims, **SMALL), mean, deviation, 0)
    trainer = Trainer(
        Model(start, store.settings),
        store,
        ViewPairs(store, 12),
        settings,
        folder,
        stop_after=stop_after,
    )
    folder.mkdir(exist_ok=True)
    return trainer.run()


def test_training_is_decided_by_its_seed_and_a_stopped_one_ends_the_same(store, tmp_path):
    log = run(store, tmp_path / "whole")
    run(store, tmp_path / "stopped", stop_after=4)  # within the second epoch
    assert not (tmp_path / "stopped" / "config.json").exists()
    run(store, tmp_path / "stopped")
    for name in ("model.safetensors", "config.json", "log.json"):
        whole, stopped = (
            (tmp_path / folder / name).read_bytes() for folder in ("whole", "stopped")
        )
        assert whole == stopped, name
    assert log[-1]["loss"] < log[0]["loss"]
    other = TrainSettings(**{**vars(QUICK), "seed": 1})
    run(store, tmp_path / "other", settings=other)
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()
    with pytest.raises(InputError, match=r"a training with other settings \(seed differ\)"):
        run(store, tmp_path / "whole", settings=other)


def test_a_saved_model_embeds_as_before(store, words, tmp_path):
    from pipeline.sse.embed import embed

    run(store, tmp_path / "m")
    model = load_model(tmp_path / "m")
    ranges = store.locate(words)
    vectors = embed(model.network, store, ranges)
    one = ranges.take(np.array([3]))
    frames, lengths = load(store, one)
    with torch.no_grad():
        alone = model.network(torch.from_numpy(frames), torch.from_numpy(lengths))
    np.testing.assert_allclose(vectors[3], alone[0], atol=2e-5)
    (tmp_path / "m" / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="is no model of speech sequence embeddings"):
        load_model(tmp_path / "m")


def brute_force_pairs(vectors, segments, k):
    """Mutual neighbours in other clips, by comparing all with all."""
    unit = unit_rows(vectors)
    clip, spans = segments.sections.path, segments.spans
    kept = {}
    for i in range(len(unit)):
        others = [j for j in range(len(unit)) if clip[j] != clip[i]]
        best = sorted(others, key=lambda j: -float(unit[i] @ unit[j]))[:k]
        chosen = []
        for j in best:
            overlaps = any(
                clip[j] == clip[c]
                and min(spans[j, 1], spans[c, 1]) - max(spans[j, 0], spans[c, 0])
                > 0.4 * min(spans[j, 1] - spans[j, 0], spans[c, 1] - spans[c, 0])
                for c in chosen
            )
            if not overlaps:
                chosen.append(j)
        kept[i] = chosen
    pairs = {(i, j) for i in kept for j in kept[i] if i < j and i in kept[j]}
    # All segments keep one: what is worse than the best of the worst is left out.
    best = {i: max(float(unit[i] @ unit[j]) for k, j in pairs if k == i) for i, _ in pairs}
    threshold = np.floor(min(best.values()) * 100) / 100
    return {(i, j) for i, j in pairs if float(unit[i] @ unit[j]) >= threshold}


def test_pairs_are_those_of_an_exact_search(random_segments):
    segments, vectors = random_segments
    found = find_pairs(vectors, segments, PairSettings(k=8, keep=1.0, by_duration=False))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == brute_force_pairs(vectors, segments, 8)
    assert pairs


def test_a_share_of_the_segments_keeps_a_pair_in_every_bin():
    rng = np.random.default_rng(0)
    first = np.repeat(np.arange(100), 3)
    bins = np.arange(100) % 4
    cosine = (rng.random(300) / 2 + bins[first] / 8).astype(np.float32)  # some bins are nearer
    pairs = FoundPairs(first, first, cosine)
    kept = above_threshold(pairs, bins, 0.4)
    for one in range(4):
        assert len(set(kept.first[bins[kept.first] == one])) == pytest.approx(10, abs=1)
    together = above_threshold(pairs, np.zeros(100, int), 0.4)
    assert set(bins[together.first]) != {0, 1, 2, 3}  # what one threshold for all does


def test_mutual_pairs_come_once():
    pairs = FoundPairs(np.array([0, 1, 2, 2]), np.array([1, 0, 0, 1]), np.ones(4, np.float32))
    found = mutual(pairs)
    assert list(zip(found.first, found.second, strict=True)) == [(0, 1)]


def test_pairs_on_one_diagonal_support_each_other(language):
    sections = read_sections(language.vads).take(np.array([0, 1, 2]))

    def at(clip, *starts):
        return [(clip, start, start + 0.32) for start in starts]

    told = [*at(0, 0.1, 0.2, 0.3), *at(1, 0.5, 0.62, 0.9), *at(2, 0.5)]
    segments = Segments(
        sections.take(np.array([clip for clip, _, _ in told])),
        np.array([span for _, *span in told]),
        (),
        np.full(len(told), -1, np.int32),
    )
    #           shifts: .4, .42 (one diagonal), .6 (another), .4 the other way round, another clip
    first, second = np.array([0, 1, 2, 4, 0]), np.array([3, 4, 5, 1, 6])
    pairs = FoundPairs(first[:3], second[:3], np.ones(3, np.float32))
    assert support(pairs, segments).tolist() == [1, 1, 0]
    pairs = FoundPairs(first[[0, 3, 4]], second[[0, 3, 4]], np.ones(3, np.float32))
    assert support(pairs, segments).tolist() == [1, 1, 0]
    with pytest.raises(InputError, match="leave --one-way out"):
        PairSettings(mutual=False, support=2)


def test_support_leaves_out_pairs_that_stand_alone(random_segments):
    segments, vectors = random_segments
    everything = find_pairs(vectors, segments, PairSettings(k=8, keep=1.0))
    counts = support(everything, segments)
    assert 0 < (counts > 0).sum() < len(counts)
    supported = find_pairs(
        vectors, segments, PairSettings(k=8, keep=1.0, support=1, by_duration=False)
    )
    assert (support(supported, segments) > 0).any()
    assert len(supported) < len(everything)
    with pytest.raises(InputError, match="a neighbour in another clip that 99 other pairs support"):
        find_pairs(vectors, segments, PairSettings(k=8, support=99))


def test_pairs_of_other_speakers_alone_are_kept(random_segments):
    segments, vectors = random_segments
    speaker = segments.sections.speaker
    everything = find_pairs(vectors, segments, PairSettings(keep=1.0))
    others = find_pairs(vectors, segments, PairSettings(keep=1.0, other_speakers=True))
    differ = speaker[everything.first] != speaker[everything.second]
    assert 0 < differ.sum() < len(everything)
    np.testing.assert_array_equal(others.first, everything.first[differ])
    alone = segments.take(np.flatnonzero(speaker == 0))
    with pytest.raises(InputError, match="a neighbour in another clip by another speaker;"):
        find_pairs(vectors[speaker == 0], alone, PairSettings(other_speakers=True))


def test_principal_components_keep_what_matters():
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 20))
    reduced = reduce(plane.astype(np.float32), 3)
    assert reduced.shape == (200, 3)
    centred = plane - plane.mean(axis=0)
    np.testing.assert_allclose(reduced @ reduced.T, centred @ centred.T, atol=1e-3)


def test_pairs_are_written_and_found_again(random_segments, store, tmp_path):
    segments, vectors = random_segments
    found = find_pairs(vectors, segments, PairSettings(keep=1.0))
    write_pairs(tmp_path / "pairs", found, segments)
    first, second = read_pairs(tmp_path / "pairs", store)
    order = np.argsort(-found.cosine, kind="stable")
    wanted = store.locate(segments)
    for side, rows in ((first, found.first[order]), (second, found.second[order])):
        np.testing.assert_array_equal(side.rows, wanted.rows[rows])
        np.testing.assert_array_equal(side.first, wanted.first[rows])
    line = (tmp_path / "pairs").read_text().splitlines()[0]
    assert len(line.split()) == 9
    for changed, complaint in (
        (line.replace(line.split()[0], "zoe.flac", 1), "names zoe.flac, of which"),
        ("a b c", "line 1, has 3 fields, not 9"),
        (" ".join([*line.split()[:2], "90", "91", *line.split()[4:]]), "no section that holds it"),
    ):
        (tmp_path / "bad").write_text(changed + "\n")
        with pytest.raises(InputError, match=complaint):
            read_pairs(tmp_path / "bad", store)


def test_the_error_rate_of_pairs_is_that_of_their_phones(words):
    held = words.sections.take(np.array([0, 1, 2]))
    labels = ("a,b,c", "a,x,c", "b")
    told = Segments(held, words.spans[:3], labels, np.array([0, 1, 2], np.int32))
    pairs = FoundPairs(np.array([0, 0]), np.array([1, 2]), np.ones(2, np.float32))
    assert error_rate(pairs, told) == pytest.approx((1 / 3 + 2 / 3) / 2)
