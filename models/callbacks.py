"""What happens beside a training: lines on standard error, TensorBoard logs, an early end."""

import logging
import sys
import time
import types
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

LOG_INTERVAL_SECONDS = 30.0

logger = logging.getLogger("models.train")


class StopAfter(TrainerCallback):
    """Ends a training before its plan does."""

    def __init__(self, n_steps: int) -> None:
        self._n_steps = n_steps

    def on_step_end(  # noqa: D102 - transformers says what these are
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_training_stop = state.global_step >= self._n_steps


class LogBeforeSaving(TrainerCallback):
    """Logs the loss up to every checkpoint, so that a resumed curve goes on where it ended."""

    def on_epoch_end(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_log = True


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
        is_due = "eval_wer" in figures or now - self._last >= LOG_INTERVAL_SECONDS
        if not is_due or not state.is_world_process_zero:
            return
        self._last = now
        done = state.global_step - self._first_step
        left = (state.max_steps - state.global_step) * (now - self._start) / max(done, 1)
        shown = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
        logger.info(
            "step %d of %d, %.0f s left: %s", state.global_step, state.max_steps, left, shown
        )


def tensorboard(folder: Path) -> TensorBoardCallback:
    """Write loss, learning rate and error rates to a folder that TensorBoard shows."""
    # TensorBoard would load TensorFlow to write files, and torch and TensorFlow in one process
    # crash; in the presence of this module it uses what it brings along.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    callback = TensorBoardCallback()
    callback.logging_dir = str(folder)
    return callback
