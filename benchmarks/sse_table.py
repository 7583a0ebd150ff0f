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
from pipeline.sse.batches import LabelledPairs, ListedPairs, Pairs, ViewPairs
from pipeline.sse.embed import BASELINES, embed, embed_baseline
from pipeline.sse.features import FeatureSettings, make_features
from pipeline.sse.frames import FrameSource
from pipeline.sse.lists import Sections, Segments, read_sections
from pipeline.sse.model import Architecture, Model, load_model, new_network
from pipeline.sse.pairs import PairSettings, error_rate, find_pairs, read_pairs, write_pairs
from pipeline.sse.precision import retrieval
from pipeline.sse.segments import SegmentSettings, make_segments
from pipeline.sse.store import Store, open_store
from pipeline.sse.train import Trainer, TrainSettings, about, frame_statistics
from pipeline.sse.transcribe import aligned_segments, read_alignment, repeated, transcribe
from pipeline.sse.vad import VadSettings, write_vads

SPLITS = ("train", "dev", "test")
PHONES = (3, 8)  # in an n-gram
SHORTEST_SECONDS = 0.2
MOST_SEGMENTS = 6000
SEARCHED_SEGMENTS = 20_000


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
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
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
    return {
        **made,
        "untrained network": lambda: by(untrained(plan, train)),
        "initial": lambda: by(trained(plan, "initial", train, views(plan, train), plan.settings)),
        "neighbours (one iteration)": lambda: by(
            trained(
                plan, "neighbours", train, lambda: neighbours(corpus, plan, train), more, "initial"
            )
        ),
        "control (as many steps without)": lambda: by(
            trained(plan, "control", train, views(plan, train), replace(more, seed=1), "initial")
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
    """Pairs of the initial model; says how good they are."""
    path = plan.work / "pairs"
    model = load_model(plan.work / "initial")
    sections = sections_of(store)
    grid = list(make_segments(sections, SegmentSettings(shortest_seconds=0.32)))
    segments = joined(grid)
    rng = np.random.default_rng(0)
    chosen = np.sort(
        rng.choice(len(segments), min(SEARCHED_SEGMENTS, len(segments)), replace=False)
    )
    segments = segments.take(chosen)
    vectors = embed(model.network, store, store.locate(segments))
    told = transcribe(segments, read_alignment(corpus / "phones.txt"))
    for title, settings in {
        "the original's": PairSettings(mutual=False, by_duration=False),
        "mutual": PairSettings(by_duration=False, keep=1.0),
        "mutual, by duration": PairSettings(keep=1.0),
        "mutual, by duration, half": PairSettings(),
        "mutual, by duration, fifth": PairSettings(keep=0.2),
    }.items():
        found = find_pairs(vectors, segments, settings)
        seconds = segments.seconds[found.first].mean()
        wrong = error_rate(found.take(np.arange(min(len(found), 2000))), told)
        print(f"  pairs, {title}: {len(found)}, phones differ by {wrong:.3f}, {seconds:.2f} s long")
    found = find_pairs(vectors, segments, PairSettings(keep=0.5))
    write_pairs(path, found, segments)
    return ListedPairs(store, *read_pairs(path, store), plan.settings.batch_size)


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
