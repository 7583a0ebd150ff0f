"""The table of docs/sse.md: how well embeddings of speech segments find what says the same.

Made on the corpus of words of examples/mini-corpus/alignments.py, whose test split has other words
and other voices than the training split::

    python examples/mini-corpus/alignments.py words data/words
    python benchmarks/sse_table.py data/words data/words-table

What is made in the second folder is kept, and not made again. With --real FOLDER, real digits are
measured too, by models that never heard any. CPU seconds of every training stand at its end.
"""

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipeline.audio import load_mono
from pipeline.sse.augment import EFFECTS, Augmentation
from pipeline.sse.batches import LabelledPairs, ListedPairs, MixedPairs, Pairs, ViewPairs
from pipeline.sse.embed import BASELINES, embed, embed_baseline
from pipeline.sse.features import FeatureSettings, make_features
from pipeline.sse.frames import FrameSource
from pipeline.sse.lists import Sections, Segments, read_sections
from pipeline.sse.model import Architecture, Model, load_model, new_network
from pipeline.sse.pairs import (
    FoundPairs,
    PairSettings,
    error_rate,
    near_pairs,
    read_pairs,
    select,
    write_pairs,
)
from pipeline.sse.precision import retrieval
from pipeline.sse.segments import SegmentSettings, make_segments
from pipeline.sse.store import Store, open_store
from pipeline.sse.train import Trainer, TrainSettings, about, frame_statistics
from pipeline.sse.transcribe import aligned_segments, read_alignment, repeated, transcribe
from pipeline.sse.vad import VadSettings, write_vads

SPLITS = ("train", "dev", "test")
SKIPPED = 77
ROOT = Path(__file__).parents[1]
PHONES = (3, 8)  # in an n-gram
SHORTEST_SECONDS = 0.2
MOST_SEGMENTS = 6000
SEARCHED_SEGMENTS = 20_000
THE_ORIGINALS = PairSettings(mutual=False, by_duration=False)
TRAINED_ON = PairSettings(keep=1.0, support=4, other_speakers=True)


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long."""

    work: Path
    source: FrameSource
    architecture: Architecture
    settings: TrainSettings
    n_views: int
    neighbour_epochs: int
    gold_epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, nargs="?", default=ROOT / "data/words")
    parser.add_argument("work", type=Path, nargs="?", default=ROOT / "data/words-table")
    parser.add_argument("--frames", choices=("logmel", "encoder"), default="logmel")
    parser.add_argument("--normalize", default="level")
    parser.add_argument("--layer", type=int, default=3)
    parser.add_argument("--pooling", choices=("max", "grid"), default="grid")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--neighbour-epochs", type=int, default=3)
    parser.add_argument("--gold-epochs", type=int, default=8)
    parser.add_argument("--only", nargs="*", help="Systems to make.")
    parser.add_argument("--real", type=Path, help="Folder with clips/ and manifest.tsv.")
    parser.add_argument("-j", "--num-workers", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.corpus.is_dir():
        print(f"skipped: no {arguments.corpus.name}; examples/mini-corpus/alignments.py makes them")
        raise SystemExit(SKIPPED)

    encoder = {"checkpoint": "models/mini-wav2vec2", "layer": arguments.layer}
    source = (
        FrameSource("encoder", **encoder)
        if arguments.frames == "encoder"
        else FrameSource("logmel", 40, arguments.normalize)
    )
    plan = Plan(
        arguments.work,
        source,
        Architecture(
            source.n_dims,
            arguments.width,
            heads=4,
            feed_forward=2 * arguments.width,
            stride=arguments.stride,
            dropout=arguments.dropout,
            pooling=arguments.pooling,
        ),
        TrainSettings(
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            steps_per_epoch=arguments.steps,
            epochs=arguments.epochs,
            patience=arguments.epochs,
            decay=True,
            valid_on="loss",
        ),
        arguments.views,
        arguments.neighbour_epochs,
        arguments.gold_epochs,
    )
    stores = {
        split: prepare(arguments.corpus, split, plan, arguments.num_workers) for split in SPLITS
    }
    names = "phones.txt"
    test = evaluation(arguments.corpus / names, stores["test"], PHONES)
    words = evaluation(arguments.corpus / "words.txt", stores["test"], (1, 1))
    sets = {"n-grams of phones": (stores["test"], test), "words": (stores["test"], words)}
    if arguments.real:
        sets["real digits"] = digits(arguments.real, plan, arguments.num_workers)
    for name, (_, segments) in sets.items():
        n_labels = len(np.unique(segments.label))
        print(f"{name}: {len(segments)} segments, {n_labels} labels")
    print(f"{'system':34}" + "".join(f"{name:^28}" for name in sets))
    print(" " * 34 + "  MAP@R   MAP   P@1  across" * len(sets))
    for name, make in systems(arguments.corpus, plan, stores).items():
        if arguments.only and name.replace(",", " ").split()[0] not in arguments.only:
            continue
        started = time.process_time()
        vectors_of = make()
        seconds = time.process_time() - started
        cells = "".join(figures(vectors_of, store, segments) for store, segments in sets.values())
        print(f"{name:34}{cells}   {seconds:6.0f} s", flush=True)


VectorsOf = Callable[[Store, Segments], np.ndarray]


def systems(
    corpus: Path, plan: Plan, stores: dict[str, Store]
) -> dict[str, Callable[[], VectorsOf]]:
    """Name -> what makes the function that embeds."""
    made = {
        "random": lambda: (
            lambda _, segments: np.random.default_rng(0).standard_normal(
                (len(segments), plan.architecture.width)
            )
        )
    }
    for kind in BASELINES:
        made[f"{kind} of frames"] = lambda kind=kind: (
            lambda store, segments: embed_baseline(kind, store, store.locate(segments))
        )
    train = stores["train"]
    half = plan.settings.learning_rate / 2
    more = replace(plan.settings, epochs=plan.neighbour_epochs, learning_rate=half)
    shorter = replace(plan.settings, epochs=plan.gold_epochs)

    def continued(
        name: str, pairs: Callable[[], Pairs], settings: TrainSettings = more
    ) -> Callable[[], VectorsOf]:
        return lambda: by(trained(plan, name, train, pairs, settings, "initial"))

    return {
        **made,
        "untrained network": lambda: by(untrained(plan, train)),
        "initial": lambda: by(trained(plan, "initial", train, views(plan, train), plan.settings)),
        "own neighbours (alone)": continued(
            "own-neighbours", lambda: own_neighbours(corpus, plan, train)
        ),
        "neighbours (one iteration)": continued(
            "neighbours", lambda: neighbours(corpus, plan, train)
        ),
        "control (as many steps without)": continued(
            "control", views(plan, train), replace(more, seed=1)
        ),
        "gold (weakly supervised)": lambda: by(
            trained(plan, "gold", train, lambda: gold(corpus, plan, train), shorter)
        ),
    }


def by(model: Model) -> VectorsOf:
    return lambda store, segments: embed(model.network, store, store.locate(segments))


def untrained(plan: Plan, store: Store) -> Model:
    network = new_network(plan.architecture, *frame_statistics(store), plan.settings.seed)
    return Model(network.eval(), store.settings)


def trained(
    plan: Plan,
    name: str,
    store: Store,
    pairs: Callable[[], Pairs],
    settings: TrainSettings,
    start_from: str = "",
) -> Model:
    """Train a system, unless it lies there already."""
    folder = plan.work / name
    if not (folder / "config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        model = load_model(plan.work / start_from) if start_from else untrained(plan, store)
        log = Trainer(model, store, pairs(), settings, folder).run()
        model.about.update({**about(settings, log), "start_from": start_from})
        model.save(folder)
    return load_model(folder)


def views(plan: Plan, store: Store) -> Callable[[], Pairs]:
    return lambda: ViewPairs(store, plan.settings.batch_size)


def neighbours(corpus: Path, plan: Plan, store: Store) -> Pairs:
    """Neighbours beside views, half of each; says how good the pairs are."""
    path = plan.work / "pairs"
    if not path.is_file():
        find_neighbours(corpus, plan, store, path)
    half = plan.settings.batch_size // 2
    listed = ListedPairs(store, *read_pairs(path, store), half)
    return MixedPairs(ViewPairs(store, half), listed)


def own_neighbours(corpus: Path, plan: Plan, store: Store) -> Pairs:
    """Neighbours that the initial model itself has found, among some segments, and nothing else."""
    path = plan.work / "pairs-own"
    if not path.is_file():
        segments = grid_segments(store).draw(SEARCHED_SEGMENTS)
        network = load_model(plan.work / "initial").network
        near = near_pairs(embed(network, store, store.locate(segments)), segments, PairSettings())
        told = transcribe(segments, read_alignment(corpus / "phones.txt"))
        print(f"  neighbours by the model, {len(segments)} segments")
        describe_pairs("the original's", select(near, segments, THE_ORIGINALS), told)
        chosen = select(near, segments, PairSettings())
        describe_pairs("mutual, by duration, half", chosen, told)
        write_pairs(path, chosen, segments)
    return ListedPairs(store, *read_pairs(path, store), plan.settings.batch_size)


def find_neighbours(corpus: Path, plan: Plan, store: Store, path: Path) -> None:
    """Search all segments by ten frames of each."""
    segments = grid_segments(store)
    told = transcribe(segments, read_alignment(corpus / "phones.txt"))
    searched = ten_frames_store(corpus, plan, store)
    vectors = embed_baseline("downsample", searched, searched.locate(segments))
    near = near_pairs(vectors, segments, PairSettings())
    print(f"  neighbours by ten frames, {len(segments)} segments")
    for name, settings in {
        "the original's": THE_ORIGINALS,
        "mutual, by duration, half": PairSettings(),
        "mutual, by duration, tenth": PairSettings(keep=0.1),
        "mutual, 4 support it": PairSettings(keep=1.0, support=4),
        "the same, of other speakers": TRAINED_ON,
    }.items():
        chosen = select(near, segments, settings)
        describe_pairs(name, chosen, told)
    write_pairs(path, chosen, segments)


def grid_segments(store: Store) -> Segments:
    settings = SegmentSettings(shortest_seconds=0.32)
    return joined(list(make_segments(sections_of(store), settings)))


def describe_pairs(name: str, pairs: FoundPairs, told: Segments) -> None:
    """Print how much alike a sample of the pairs is."""
    rows = np.random.default_rng(0).permutation(len(pairs))[:2000]
    wrong = error_rate(pairs.take(rows), told)
    same = float((told.label[pairs.first] == told.label[pairs.second]).mean())
    seconds = told.seconds[pairs.first].mean()
    speaker = told.sections.speaker
    others = float((speaker[pairs.first] != speaker[pairs.second]).mean())
    print(
        f"    {name}: {len(pairs)}, phones differ by {wrong:.3f}, {same:.1%} the same, "
        f"{seconds:.2f} s long, {others:.0%} of other speakers",
        flush=True,
    )


def ten_frames_store(corpus: Path, plan: Plan, store: Store) -> Store:
    """Frames to search by: an encoder's as they are, log-mel without the mean of every band."""
    if plan.source.kind == "encoder":
        return store
    folder = plan.work / "features-search"
    source = FrameSource("logmel", 40, "bands")
    make_features(corpus, sections_of(store), FeatureSettings(source), folder, num_workers=0)
    return open_store(folder)


def gold(corpus: Path, plan: Plan, store: Store) -> Pairs:
    """Pairs of phone n-grams of the training words."""
    alignment = read_alignment(corpus / "phones.txt")
    segments = repeated(
        aligned_segments(
            sections_of(store), alignment, shortest=2, longest=PHONES[1], shortest_seconds=0.16
        ),
        150_000,
    )
    return LabelledPairs(store, store.locate(segments), segments.label, plan.settings.batch_size)


def prepare(corpus: Path, split: str, plan: Plan, num_workers: int) -> Store:
    """Sections and features of a split."""
    vads, folder = plan.work / f"{split}-vads", plan.work / f"features-{split}"
    plan.work.mkdir(parents=True, exist_ok=True)
    if not vads.is_file():
        write_split_vads(corpus, split, vads, num_workers)
    effects = tuple(effect for effect in EFFECTS if effect != "hearing")
    is_train = split == "train"
    settings = FeatureSettings(
        plan.source,
        Augmentation(effects if is_train else ()),
        plan.n_views if is_train else 0,
    )
    make_features(corpus, read_sections(vads), settings, folder, num_workers=num_workers)
    return open_store(folder)


def write_split_vads(corpus: Path, split: str, vads: Path, num_workers: int) -> None:
    """Listen to the clips of a split, whose paths stay those of the whole corpus."""
    table = vads.with_suffix(".speakers")
    rows = read_table(corpus / "manifest.tsv")
    own = [row for row in rows if row["split"] == split]
    prefix = f"clips/{split}/"
    lines = [f"{row['path'].removeprefix(prefix)}\t{row['speaker']}" for row in own]
    table.write_text("\n".join(["path\tspeaker", *lines]) + "\n", encoding="utf-8")
    found = vads.with_suffix(".found")
    write_vads(corpus / prefix, found, VadSettings(), speakers=table, num_workers=num_workers)
    text = "".join(prefix + line for line in found.read_text("utf-8").splitlines(keepends=True))
    vads.write_text(text, encoding="utf-8")


def evaluation(alignment: Path, store: Store, lengths: tuple[int, int]) -> Segments:
    """Segments of a test split whose transcription comes more than once."""
    found = aligned_segments(
        sections_of(store),
        read_alignment(alignment),
        shortest=lengths[0],
        longest=lengths[1],
        shortest_seconds=SHORTEST_SECONDS,
    )
    return repeated(found, MOST_SEGMENTS)


def sections_of(store: Store) -> Sections:
    """The unchanged sections of a store, as a list."""
    rows = np.flatnonzero(store.view == 0)
    return Sections(
        store.paths, store.speakers, store.path[rows], store.speaker[rows], store.spans[rows]
    )


def joined(blocks: list[Segments]) -> Segments:
    sections = blocks[0].sections
    together = replace(
        sections,
        path=np.concatenate([b.sections.path for b in blocks]),
        speaker=np.concatenate([b.sections.speaker for b in blocks]),
        spans=np.concatenate([b.sections.spans for b in blocks]),
    )
    spans = np.concatenate([b.spans for b in blocks])
    return Segments(together, spans, (), np.full(len(spans), -1, np.int32))


def digits(folder: Path, plan: Plan, num_workers: int) -> tuple[Store, Segments]:
    """Clips of one spoken digit, each a segment of its own."""
    rows = [row for row in read_table(folder / "manifest.tsv") if "fsdd" in row["path"]]
    seconds = [len(load_mono(folder / row["path"])) / 16_000 for row in rows]
    names = sorted({row["speaker"] for row in rows})
    sections = Sections(
        tuple(row["path"] for row in rows),
        tuple(names),
        np.arange(len(rows), dtype=np.int32),
        np.array([names.index(row["speaker"]) for row in rows], np.int32),
        np.stack([np.zeros(len(rows)), np.array(seconds)], axis=1),
    )
    store_folder = plan.work / "features-digits"
    make_features(folder, sections, FeatureSettings(plan.source), store_folder, num_workers=0)
    words = sorted({row["sentence"] for row in rows})
    label = np.array([words.index(row["sentence"]) for row in rows], np.int32)
    return open_store(store_folder), Segments(sections, sections.spans, tuple(words), label)


def figures(vectors_of: VectorsOf, store: Store, segments: Segments) -> str:
    vectors = vectors_of(store, segments)
    found = retrieval(vectors, segments.label, segments.sections.speaker)
    within, across = found.within, found.across
    return (
        f"  {within.map_at_r:.3f} {within.mean_average_precision:.3f} "
        f"{within.precision_at_1:.3f} {across.mean_average_precision:.3f} "
    )


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
