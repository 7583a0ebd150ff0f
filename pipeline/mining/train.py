"""Train a dual encoder: readings and their sentences pulled together, all others apart.

The recogniser stays as it is, so what it hears is computed once, of clips that are played somewhat
faster or slower and get some noise; what is learned from that takes seconds.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
import transformers
from torch import nn
from transformers import Wav2Vec2ForCTC

from pipeline.corpus import Split, open_corpus, read_json
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.mining.dual import DualEncoder, read_texts, save_dual
from pipeline.mining.ngrams import symbol_places
from pipeline.progress import Progress
from pipeline.workers import WorkerPool

CHUNK = 128  # clips that a worker listens to at once
DOMAIN = "sentence_domain"

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class DualRecipe:
    """What decides the outcome of a training.

    Attributes
    ----------
    epochs : int
    batch_size : int
        Pairs that are told apart at a time, of one domain where there are enough.
    learning_rate : float
        Peak; it rises over a tenth of the steps and falls along a half cosine.
    n_dims : int
        Of the space.
    speed_change : float
        Clips are played up to so much faster or slower.
    noise_share : float
        Part of the clips that get noise, 5 to 30 dB below them.
    dropout : float
        Part of the features that are blanked in a step.
    limit : int, optional
        Learn from so many clips at most, the first.
    seed : int
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    n_dims: int = 128
    speed_change: float = 0.15
    noise_share: float = 0.5
    dropout: float = 0.2
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Pairs:
    """Readings and their sentences, before they are mapped.

    Attributes
    ----------
    heard : torch.Tensor [shape=(n, N_FEATURES + n_states)]
    written : torch.Tensor [shape=(n, N_FEATURES)]
    texts : np.ndarray of str
    domains : np.ndarray of str
    """

    heard: torch.Tensor
    written: torch.Tensor
    texts: np.ndarray
    domains: np.ndarray


@dataclass(frozen=True)
class HearWork:
    """What the recogniser hears in rows of a split; called with the first row of a chunk."""

    split: Split
    n_rows: int
    checkpoint: Path
    recipe: DualRecipe
    disturb: bool

    def __call__(self, start: int) -> list[np.ndarray | None]:
        """Features of every row in half precision, None of those that cannot be read."""
        dual = untrained(self.checkpoint, self.recipe)
        rows = range(start, min(start + CHUNK, self.n_rows))
        return [self._hear(dual, row) for row in rows]

    def _hear(self, dual: DualEncoder, row: int) -> np.ndarray | None:
        try:
            waveform = self.split.waveform(row)
            if self.disturb:
                rng = np.random.default_rng([self.recipe.seed, row])
                waveform = _disturb(waveform, self.recipe, rng)
            return dual.hear(waveform).astype(np.float16)
        except ClipError:
            return None


def train_dual(
    corpus: Path, checkpoint: Path, output: Path, recipe: DualRecipe, num_workers: int
) -> dict[str, Any]:
    """Train on the split train, judge on validation, write a checkpoint folder; gives figures.

    Raises
    ------
    MissingPathError, InputError
        If there is no such corpus or recogniser.
    """
    if output.resolve() == checkpoint.resolve():
        raise InputError(f"{output} is the recogniser that is trained from; name another folder")
    splits = open_corpus(corpus)
    dual = untrained(checkpoint, recipe)
    sizes = {name: len(splits[name]) for name in ("train", "validation")}
    n_train = min(sizes["train"], recipe.limit or sizes["train"])
    work = HearWork(splits["train"], n_train, checkpoint, recipe, True)
    train = _pairs(work, num_workers)
    work = HearWork(splits["validation"], sizes["validation"], checkpoint, recipe, False)
    validation = _pairs(work, num_workers)
    started = time.process_time()
    history = _learn(dual, train, validation, recipe)
    figures = {
        "recipe": asdict(recipe),
        "pairs": len(train.texts),
        "validation_pairs": len(validation.texts),
        "validation_recall_at_1": history,
        "cpu_seconds_of_learning": round(time.process_time() - started, 1),
    }
    save_dual(dual, output, figures)
    return figures


def untrained(checkpoint: Path, recipe: DualRecipe) -> DualEncoder:
    """Put fresh maps behind a recogniser."""
    if not (checkpoint / "config.json").is_file():
        raise MissingPathError(
            f"{checkpoint} is no Hugging Face checkpoint folder; "
            "give a wav2vec2 with CTC such as models/mini-wav2vec2"
        )
    if read_json(checkpoint / "config.json").get("model_type") != "wav2vec2":
        raise InputError(f"{checkpoint} holds no wav2vec2; give one such as models/mini-wav2vec2")
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    recogniser = Wav2Vec2ForCTC.from_pretrained(checkpoint, local_files_only=True)
    delimiter = read_json(checkpoint / "tokenizer_config.json").get("word_delimiter_token", "|")
    symbols = symbol_places(read_json(checkpoint / "vocab.json"), str(delimiter))
    described = read_json(checkpoint / "preprocessor_config.json")
    torch.manual_seed(recipe.seed)
    normalizes = bool(described.get("do_normalize", True))
    return DualEncoder(recogniser, symbols, recipe.n_dims, normalizes)


def _pairs(work: HearWork, num_workers: int) -> Pairs:
    found: dict[int, list[np.ndarray | None]] = {}
    with (
        Progress(work.split.name, work.n_rows) as bar,
        WorkerPool(work, num_workers) as pool,
    ):
        for start, rows in pool.run(range(0, work.n_rows, CHUNK)):
            found[start] = rows
            bar.advance(len(rows))
    heard = [clip for start in sorted(found) for clip in found[start]]
    texts = work.split.column("sentence").to_pylist()
    has_domain = DOMAIN in work.split.columns
    domains = work.split.column(DOMAIN).to_pylist() if has_domain else [""] * len(texts)
    kept = [row for row in range(work.n_rows) if heard[row] is not None and texts[row]]
    if not kept:
        raise InputError(f"{work.split.name} has no clip with a sentence; name another corpus")
    return Pairs(
        torch.from_numpy(np.stack([clip for row in kept if (clip := heard[row]) is not None])),
        read_texts([texts[row] for row in kept]).half(),
        np.array([texts[row] for row in kept]),
        np.array([domains[row] or "" for row in kept]),
    )


def _learn(dual: DualEncoder, train: Pairs, validation: Pairs, recipe: DualRecipe) -> list[float]:
    """Learn the maps; gives the recall on the validation split, before and after every epoch."""
    rng = np.random.default_rng(recipe.seed)
    log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07)))
    parameters = [p for p in dual.parameters() if p.requires_grad] + [log_scale]
    optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=1e-3)
    steps = recipe.epochs * sum(1 for _ in _batches(train, recipe, np.random.default_rng(0)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps + 1, pct_start=0.1
    )
    history = [_recall(dual.eval(), validation)]
    for epoch in range(recipe.epochs):
        for batch in _batches(train, recipe, rng):
            loss = _loss(dual, log_scale, train, torch.from_numpy(batch), recipe)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        history.append(_recall(dual.eval(), validation))
        logger.info(
            "epoch %d: loss %.3f, validation recall@1 %.3f", epoch + 1, loss.item(), history[-1]
        )
    return [round(value, 4) for value in history]


def _batches(train: Pairs, recipe: DualRecipe, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of batches in random order; one domain each, since its sentences are hard to tell."""
    names, counts = np.unique(train.domains, return_counts=True)
    large = set(names[counts >= recipe.batch_size].tolist())
    groups = np.array([name if name in large else "" for name in train.domains])
    batches: list[np.ndarray] = []
    for name in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == name))
        batches += np.array_split(rows, max(len(rows) // recipe.batch_size, 1))
    for index in rng.permutation(len(batches)):
        yield batches[index]


def _loss(
    dual: DualEncoder,
    log_scale: torch.Tensor,
    train: Pairs,
    batch: torch.Tensor,
    recipe: DualRecipe,
) -> torch.Tensor:
    """Symmetric cross-entropy of which sentence belongs to which reading."""
    heard = nn.functional.dropout(train.heard[batch].float(), recipe.dropout)
    written = nn.functional.dropout(train.written[batch].float(), recipe.dropout)
    logits = dual.embed_heard(heard) @ dual.embed_letters(written).T
    logits = logits * log_scale.exp().clamp(max=100)
    # A sentence that was read twice is no mistake.
    same = train.texts[batch.numpy()]
    twins = torch.from_numpy((same[:, None] == same[None]) & ~np.eye(len(same), dtype=bool))
    logits = logits.masked_fill(twins, -torch.inf)
    target = torch.arange(len(batch))
    there = nn.functional.cross_entropy(logits, target)
    return (there + nn.functional.cross_entropy(logits.T, target)) / 2


def _disturb(waveform: np.ndarray, recipe: DualRecipe, rng: np.random.Generator) -> np.ndarray:
    largest = np.log1p(recipe.speed_change)
    factor = float(np.exp(rng.uniform(-largest, largest)))
    waveform = soxr.resample(waveform, factor, 1.0, quality="LQ")
    if rng.random() < recipe.noise_share:
        level = np.std(waveform) * 10 ** (-rng.uniform(5, 30) / 20)
        waveform = waveform + level * rng.standard_normal(len(waveform), dtype=np.float32)
    return waveform


@torch.inference_mode()
def _recall(dual: DualEncoder, pairs: Pairs) -> float:
    """Share of readings whose nearest sentence is their own."""
    speech = dual.embed_heard(pairs.heard.float())
    nearest = (speech @ dual.embed_letters(pairs.written.float()).T).argmax(1).numpy()
    return float(np.mean(pairs.texts[nearest] == pairs.texts))
