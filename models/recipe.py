"""What every training shares: the recipe, how it becomes a Trainer's arguments, and its log."""

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    EarlyStoppingCallback,
    PreTrainedConfig,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_pt_utils import get_length_grouped_indices

from models.callbacks import LogBeforeSaving, LogLines, StopAfter, tensorboard
from pipeline.errors import InputError
from pipeline.yaml_files import LONGEST_REASON, read_yaml

LOG_STEPS = 50
Configuration = TypeVar("Configuration", bound=PreTrainedConfig)
NEITHER = "give either an architecture to start from scratch, or a checkpoint"


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
    freeze_features : bool
        Leave the convolutions of a wav2vec2 as they are, and hear every clip through them once.
    ctc_weight : float
        Share of a Whisper's loss that is CTC over characters, on its encoder (Watanabe et al.
        2017, IEEE J. Sel. Top. Signal Process. 11:1240-1253).
    label_smoothing : float
        Of the tokens of a Whisper.
    level_change_db : float
        A Whisper's clips are made up to so many dB louder or softer.
    warp : float
        The spectrum of a Whisper's clips is stretched or squeezed by up to this share.
    masks : int
        So many stretches of time, and of bands, of a Whisper's clips are blanked out.
    crop : bool
        Leave out the silence that pads a Whisper's chunk, but for ``extra_padding`` of the batches.
    seed : int
    bf16 : bool
        Mixed precision.
    patience : int
        End after so many passes without a better word error rate on the validation split, and keep
        the best; 0 trains to the end of the plan.
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
    freeze_features: bool = False
    ctc_weight: float = 0.0
    label_smoothing: float = 0.0
    level_change_db: float = 0.0
    warp: float = 0.0
    masks: int = 0
    crop: bool = False
    seed: int = 0
    bf16: bool = False
    patience: int = 0


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
        load_best_model_at_end=recipe.patience > 0,
        metric_for_best_model="wer",
        greater_is_better=False,
        logging_steps=LOG_STEPS,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        ddp_find_unused_parameters=False,
        use_cpu=not torch.cuda.is_available(),
    )


def begin(recipe: TrainingRecipe | None, num_threads: int | None) -> TrainingRecipe:
    """Set torch up for a training, and return its recipe."""
    recipe = recipe or TrainingRecipe()
    if num_threads:
        torch.set_num_threads(num_threads)
    torch.manual_seed(recipe.seed)
    return recipe


def run(
    trainer: Trainer, *, resume: bool, stop_after: int | None, patience: int
) -> dict[str, float]:
    """Train, from the last checkpoint if ``resume``, and return the figures of an evaluation."""
    checkpoints = Path(str(trainer.args.output_dir))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(LogLines())
    trainer.add_callback(LogBeforeSaving())
    trainer.add_callback(tensorboard(checkpoints.parent / "logs"))
    if patience:
        trainer.add_callback(EarlyStoppingCallback(patience))
    if stop_after:
        trainer.add_callback(StopAfter(stop_after))
    last = last_checkpoint(checkpoints) if resume else None
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    return trainer.evaluate()


def last_checkpoint(folder: Path) -> Path | None:
    """Find the last checkpoint that was written to its end; none if there is none."""
    found = sorted(
        folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2] or 0)
    )
    return next((path for path in reversed(found) if _is_whole(path)), None)


def _is_whole(checkpoint: Path) -> bool:
    """The trainer's state is what transformers writes last."""
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return True


def error_rates(trainer: Trainer, texts: list[tuple[str, str]]) -> dict[str, float]:
    """Corpus WER and CER of what all processes transcribed: pairs of reference and hypothesis."""
    import jiwer
    from accelerate.utils import gather_object

    pairs = [pair for pair in gather_object(texts) if pair[0]]  # without words there is no rate
    references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    figures = {
        "eval_wer": jiwer.wer(references, hypotheses) if pairs else math.nan,
        "eval_cer": jiwer.cer(references, hypotheses) if pairs else math.nan,
    }
    trainer.log(dict(figures))
    trainer.control = trainer.callback_handler.on_evaluate(
        trainer.args, trainer.state, trainer.control, figures
    )
    return figures


def batches_of_this_process(trainer: Trainer, n_clips: int) -> Iterator[range]:
    """Rows to transcribe, batch by batch; every process takes its own."""
    size = trainer.args.eval_batch_size
    for number, start in enumerate(range(0, n_clips, size)):
        if number % trainer.args.world_size == trainer.args.process_index:
            yield range(start, min(start + size, n_clips))


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
    if trainer.is_world_process_zero():
        text = json.dumps(summary, indent=2) + "\n"
        (output / "training.json").write_text(text, encoding="utf-8")
    return summary


def quiet_libraries() -> None:
    """Leave standard error to the lines of the training."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("datasets").setLevel(logging.WARNING)


class GroupedByLength(torch.utils.data.Sampler):
    """Clips of like length after one another; the order follows from the seed and the pass."""

    def __init__(self, clips: Any, batch_size: int, lengths: list[int], seed: int) -> None:
        self._clips, self._batch_size = clips, batch_size
        self._lengths, self._seed, self._epoch = lengths, seed, 0

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        """Rows of one pass."""
        generator = torch.Generator().manual_seed(1_000_003 * self._seed + self._epoch)
        yield from get_length_grouped_indices(self._lengths, self._batch_size, generator=generator)

    def set_epoch(self, epoch: int) -> None:
        """Say which pass it is, to the clips as well."""
        self._epoch = epoch
        self._clips.set_epoch(epoch)


class GroupsByLength:
    """Give a Trainer batches of clips of like length; ``train_clips`` know their lengths."""

    train_clips: Any
    args: Any

    def _get_train_sampler(
        self, train_dataset: torch.utils.data.Dataset | None = None
    ) -> torch.utils.data.Sampler | None:
        return GroupedByLength(
            self.train_clips, self.args.train_batch_size, self.train_clips.lengths, self.args.seed
        )


def read_architecture(path: Path, kind: type[Configuration], **settled: Any) -> Configuration:
    """Read a network's configuration from YAML.

    Parameters
    ----------
    path : Path
    kind : type
        A configuration of transformers, whose keys the file may hold.
    **settled
        Keys that the training decides, unless the file does.

    Raises
    ------
    MissingPathError, InputError
        If there is no such file, or it is no configuration of this kind.
    """
    keys = read_yaml(path, "name an architecture such as conf/mini-wav2vec2.yaml")
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys):
        raise InputError(f"{path} is no architecture; write keys as conf/mini-wav2vec2.yaml has")
    known = {*dir(kind()), "model_type", "attn_implementation"}
    if unknown := [key for key in keys if key not in known]:
        raise InputError(f"{path}: {kind.__name__} has no key {unknown[0]!r}")
    try:
        return kind(**{**settled, **keys})
    except StrictDataclassError as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise InputError(f"{path} is no {kind.__name__}: {reason}") from None
