"""Train a network on pairs; killed and resumed, it ends in the same weights.

What a step sees and which units it drops follows from the seed and the step's number alone, so a
checkpoint needs to hold no state of a generator.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pipeline.corpus import write_json, write_path
from pipeline.errors import InputError
from pipeline.sse.batches import PairBatch, Pairs, load
from pipeline.sse.model import Model, SequenceEmbedder, nt_xent
from pipeline.sse.store import Store

ValidOn = Literal["map", "loss"]
VALID_ON: tuple[ValidOn, ...] = ("map", "loss")
Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
CHECKPOINT = "checkpoint.pt"
LOG = "log.json"

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class TrainSettings:
    """What decides the weights, besides the data.

    Attributes
    ----------
    batch_size : int
        Pairs.
    learning_rate : float
    temperature : float
    steps_per_epoch : int
        Between two validations.
    epochs : int
        At most.
    patience : int
        Epochs without a gain before it ends.
    decay : bool
        Let the learning rate fall to zero along half a cosine over all epochs, instead of keeping
        it as the original does.
    seed : int
    valid_on : {"map", "loss"}
    precision : {"float32", "bfloat16", "float16"}
    """

    batch_size: int = 250
    learning_rate: float = 1e-4
    temperature: float = 0.15
    steps_per_epoch: int = 200
    epochs: int = 75
    patience: int = 2
    decay: bool = False
    seed: int = 0
    valid_on: ValidOn = "map"
    precision: Precision = "float32"

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if not self.decay:
            return self.learning_rate
        share = step / (self.steps_per_epoch * self.epochs)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1)))


@dataclass
class Progress:
    """How far a training has come; kept in its checkpoint."""

    step: int = 0
    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    losses: float = 0.0


class Trainer:
    """Trains one network.

    Parameters
    ----------
    model : Model
        Its network is changed.
    store : Store
    pairs : Pairs
    settings : TrainSettings
    folder : Path
        Gets the best network, a checkpoint to go on from, and ``log.json``.
    validate : callable, optional
        Gives the score of a network, the higher the better; without it the loss is the score.
    stop_after : int, optional
        Stop after so many steps, as if killed.
    """

    def __init__(
        self,
        model: Model,
        store: Store,
        pairs: Pairs,
        settings: TrainSettings,
        folder: Path,
        validate: Callable[[SequenceEmbedder], float] | None = None,
        stop_after: int | None = None,
    ) -> None:
        self._model, self._store, self._pairs = model, store, pairs
        self._settings, self._folder = settings, folder
        self._validate, self._stop_after = validate, stop_after
        self._network = model.network
        self._device = next(self._network.parameters()).device
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=settings.learning_rate)
        self._scaler = torch.amp.GradScaler(
            self._device.type, enabled=settings.precision == "float16"
        )
        several = self._device.type == "cuda" and torch.cuda.device_count() > 1
        self._parallel: torch.nn.Module = (
            torch.nn.DataParallel(self._network) if several else self._network
        )
        self._best = copy.deepcopy(self._network.state_dict())
        self._log: list[dict[str, float]] = []
        self.progress = Progress()

    def run(self) -> list[dict[str, float]]:
        """Train until it stops getting better, and save the best; returns the log by epoch."""
        settings = self._settings
        self._resume()
        while self._goes_on():
            self._epoch()
        if self._stopped():
            return self._log
        self._network.load_state_dict(self._best)
        self._network.eval()
        self._model.save(self._folder)
        write_json(self._folder / LOG, {"settings": asdict(settings), "epochs": self._log})
        return self._log

    def _goes_on(self) -> bool:
        progress, settings = self.progress, self._settings
        waited = progress.epoch - progress.best_epoch
        return (
            progress.epoch < settings.epochs and waited <= settings.patience and not self._stopped()
        )

    def _stopped(self) -> bool:
        return self._stop_after is not None and self.progress.step >= self._stop_after

    def _epoch(self) -> None:
        progress, settings = self.progress, self._settings
        started = time.process_time()
        self._network.train()
        while progress.step < (progress.epoch + 1) * settings.steps_per_epoch:
            progress.losses += self._step(progress.step)
            progress.step += 1
            if self._stopped():
                return
        loss = progress.losses / settings.steps_per_epoch
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is {loss} after {progress.step} steps; check the features for NaN, or "
                "give a smaller --learning-rate"
            )
        self._network.eval()
        score = -loss if self._validate is None else self._validate(self._network)
        progress.epoch, progress.losses = progress.epoch + 1, 0.0
        if score > progress.best:
            progress.best, progress.best_epoch = score, progress.epoch
            self._best = copy.deepcopy(self._network.state_dict())
        entry = {"epoch": progress.epoch, "loss": loss, settings.valid_on: abs(score)}
        self._log.append(entry)
        self._save()
        logger.info(
            "epoch %d: loss %.3f, %s %.4f, %.0f CPU seconds",
            *(progress.epoch, loss, settings.valid_on, abs(score)),
            time.process_time() - started,
        )

    def _step(self, step: int) -> float:
        settings = self._settings
        batch = self._pairs.batch(np.random.default_rng([settings.seed, step]))
        torch.manual_seed(hash_of(settings.seed, step))
        for group in self._optimizer.param_groups:
            group["lr"] = settings.rate(step)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(
            self._device.type,
            dtype=getattr(torch, settings.precision),
            enabled=settings.precision != "float32",
        ):
            loss = self._loss(batch)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return float(loss.detach())

    def _loss(self, batch: PairBatch) -> torch.Tensor:
        sides = [load(self._store, side) for side in (batch.first, batch.second)]
        longest = max(frames.shape[1] for frames, _ in sides)
        frames = np.concatenate(
            [np.pad(x, ((0, 0), (0, longest - x.shape[1]), (0, 0))) for x, _ in sides]
        )
        lengths = np.concatenate([n for _, n in sides])
        vectors = self._parallel(
            torch.from_numpy(frames).to(self._device), torch.from_numpy(lengths).to(self._device)
        )
        first, second = vectors.chunk(2)
        ignored = torch.from_numpy(batch.ignored).to(self._device)
        return nt_xent(first, second, ignored, self._settings.temperature)

    def _save(self) -> None:
        state = {
            "settings": asdict(self._settings),
            "progress": asdict(self.progress),
            "network": self._network.state_dict(),
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "log": self._log,
        }
        with write_path(self._folder / CHECKPOINT) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        path = self._folder / CHECKPOINT
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            settings = state["settings"]
        except Exception as error:  # torch has many for a damaged file
            raise InputError(f"{path} is damaged; remove it to train from the beginning") from error
        changed = [
            name for name, value in asdict(self._settings).items() if settings[name] != value
        ]
        if changed:
            raise InputError(
                f"{self._folder} holds a training with other settings ({', '.join(changed)} "
                "differ); give --overwrite to begin again, or name another folder"
            )
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._best, self._log = state["best"], list(state["log"])
        self.progress = Progress(**state["progress"])


def hash_of(seed: int, step: int) -> int:
    """A seed of torch for a step."""
    return int(np.random.SeedSequence([seed, step, 1]).generate_state(1)[0])


def frame_statistics(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every number of a frame: float64 [shape=(n_dims,)] both.

    Raises
    ------
    InputError
        If one is NaN or infinite.
    """
    from pipeline.sse.store import check_finite

    check_finite(store)
    total, squares, count = np.zeros(store.n_dims), np.zeros(store.n_dims), 0
    for row in np.flatnonzero(store.view == 0):
        frames = np.asarray(store.frames(int(row)), np.float64)
        total += frames.sum(axis=0)
        squares += np.square(frames).sum(axis=0)
        count += len(frames)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))


def count_parameters(network: SequenceEmbedder) -> int:
    """Numbers that are learned."""
    return sum(parameter.numel() for parameter in network.parameters())


def about(settings: TrainSettings, log: list[dict[str, float]]) -> dict[str, Any]:
    """What a model says of its training."""
    return {"settings": asdict(settings), "epochs": len(log), "last": log[-1] if log else {}}
