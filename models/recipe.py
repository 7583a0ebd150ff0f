"""What every training shares: the recipe, how it becomes a Trainer's arguments, and its log."""

import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from pipeline.errors import InputError

LOG_INTERVAL_SECONDS = 30.0

logger = logging.getLogger("models.train")


@dataclass(frozen=True)
class TrainingRecipe:
    """What decides the outcome of a training.

    Attributes
    ----------
    epochs : float
    batch_size : int
        Clips per step.
    learning_rate : float
        Peak, reached after ``warmup_share`` of all steps; it falls along a half cosine.
    warmup_share : float
    weight_decay : float
    max_grad_norm : float
    window_seconds : float
        Longest padding; clips that are longer are left out.
    extra_padding : float
        Probability that a batch is padded further than its longest clip.
    noise_share : float
        Probability that white noise is added to a clip, at 10 to 40 dB below it.
    speed_change : float
        Clips are played up to so much faster or slower; 0.1 is 10 %.
    seed : int
    bf16 : bool
        Mixed precision.
    """

    epochs: float = 20
    batch_size: int = 24
    learning_rate: float = 1.5e-3
    warmup_share: float = 0.08
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    window_seconds: float = 6.0
    extra_padding: float = 0.3
    noise_share: float = 0.0
    speed_change: float = 0.0
    seed: int = 0
    bf16: bool = False


def training_arguments(
    output: Path, recipe: TrainingRecipe, max_steps: int | None
) -> dict[str, Any]:
    """What a recipe means to transformers' ``TrainingArguments``."""
    return dict(
        output_dir=str(output / "checkpoints"),
        num_train_epochs=recipe.epochs,
        max_steps=max_steps or -1,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_share,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.bf16,
        seed=recipe.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        logging_steps=50,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        use_cpu=not torch.cuda.is_available(),
    )


def begin(
    architecture: Path | None,
    checkpoint: Path | None,
    recipe: TrainingRecipe | None,
    num_threads: int | None,
) -> TrainingRecipe:
    """Set torch up for a training, and return its recipe.

    Raises
    ------
    InputError
        If neither or both of ``architecture`` and ``checkpoint`` are given.
    """
    if (architecture is None) == (checkpoint is None):
        raise InputError("give either an architecture to start from scratch, or a checkpoint")
    recipe = recipe or TrainingRecipe()
    if num_threads:
        torch.set_num_threads(num_threads)
    torch.manual_seed(recipe.seed)
    return recipe


def run(trainer: Trainer, *, resume: bool, stop_after: int | None) -> dict[str, float]:
    """Train, from the last checkpoint if ``resume``, and return the figures of an evaluation."""
    if stop_after:
        trainer.add_callback(StopAfter(stop_after))
    trainer.train(resume_from_checkpoint=resume or None)
    return trainer.evaluate()


def write_summary(
    output: Path,
    about: dict[str, Any],
    recipe: TrainingRecipe,
    trainer: Trainer,
    model: PreTrainedModel,
    figures: dict[str, float],
) -> dict[str, Any]:
    """Write ``training.json``, with what the training was ``about`` at its head."""
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    summary = {
        **about,
        "recipe": asdict(recipe),
        "steps": trainer.state.global_step,
        "train_loss": losses[-1] if losses else math.nan,
        "validation_wer": figures["eval_wer"],
        "validation_cer": figures["eval_cer"],
        "parameters": model.num_parameters(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    (output / "training.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def quiet_libraries() -> None:
    """Leave standard error to the lines of the training."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("datasets").setLevel(logging.WARNING)


class StopAfter(TrainerCallback):
    """Ends a training before its plan does."""

    def __init__(self, n_steps: int) -> None:
        self._n_steps = n_steps

    def on_step_end(  # noqa: D102 - transformers says what these are
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_training_stop = state.global_step >= self._n_steps


class LogLines(TrainerCallback):
    """One line every half minute and after every evaluation, instead of a bar."""

    def __init__(self) -> None:
        self._last = self._start = time.monotonic()
        self._first_step = 0

    def on_train_begin(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._first_step = state.global_step
        self._last = self._start = time.monotonic()

    def on_log(  # noqa: D102
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        now = time.monotonic()
        figures = logs or {}
        if "eval_wer" not in figures and now - self._last < LOG_INTERVAL_SECONDS:
            return
        self._last = now
        done = state.global_step - self._first_step
        left = (state.max_steps - state.global_step) * (now - self._start) / max(done, 1)
        shown = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
        logger.info(
            "step %d of %d, %.0f s left: %s", state.global_step, state.max_steps, left, shown
        )
