"""Train a CTC recogniser on a corpus: from scratch by an architecture, or from a checkpoint.

Built on ``transformers.Trainer``. Clips are grouped by length; a batch is padded with zeros, and
now and then with more zeros than it needs, since the group norm of wav2vec2-base sees padding and
at inference every clip is padded to one window.
"""

import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from models.clips import IGNORED_LABEL, Clips, Collator
from models.network import make_model
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.corpus import Corpus, open_corpus
from pipeline.errors import InputError

# The alphabet of facebook/wav2vec2-base-960h, in its order.
VOCABULARY = ("<pad>", "<s>", "</s>", "<unk>", *"|ETAONIHSRDLUMWCFGYPBVK'XJQZ")
LOG_INTERVAL_SECONDS = 30.0
PROCESSOR_FILES = ("vocab.json", "tokenizer_config.json", "preprocessor_config.json")

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


def train_ctc(
    corpus: Path,
    output: Path,
    *,
    architecture: Path | None = None,
    checkpoint: Path | None = None,
    recipe: TrainingRecipe | None = None,
    resume: bool = False,
    max_steps: int | None = None,
    stop_after: int | None = None,
    num_threads: int | None = None,
) -> dict[str, Any]:
    """Train, evaluate on the validation split, and save a Hugging Face folder.

    Parameters
    ----------
    corpus : Path
        A corpus (or variant) with the splits train and validation.
    output : Path
        Gets the checkpoint folder and, below ``checkpoints/``, what resuming needs.
    architecture : Path, optional
        YAML with the keys of ``Wav2Vec2Config``; weights start at random.
    checkpoint : Path, optional
        A folder to start from instead.
    recipe : TrainingRecipe, optional
    resume : bool
        Go on from the last checkpoint of an interrupted run.
    max_steps : int, optional
        Plan for so many steps, whatever the epochs: the learning rate ends with them.
    stop_after : int, optional
        Stop after so many steps of a plan that is longer, and save what there is.
    num_threads : int, optional
        Threads of torch.

    Returns
    -------
    dict
        What ``training.json`` holds: recipe, versions, steps, last figures.

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
    output.mkdir(parents=True, exist_ok=True)
    write_processor(output)
    preprocessor = _prepare(output, architecture, checkpoint)
    model = make_model(output, checkpoint)
    source = open_corpus(corpus)
    trainer = CtcTrainer(
        model,
        _training_arguments(output, recipe, max_steps),
        recipe=recipe,
        preprocessor=preprocessor,
        train_clips=_clips(source, "train", preprocessor, recipe),
        validation_clips=_clips(source, "validation", preprocessor, recipe),
    )
    if stop_after:
        trainer.add_callback(_StopAfter(stop_after))
    trainer.train(resume_from_checkpoint=resume or None)
    figures = trainer.evaluate()
    model.save_pretrained(output)
    return _write_summary(output, source, recipe, trainer, model, figures)


def write_processor(folder: Path) -> None:
    """Write vocabulary, tokenizer and feature extractor files of the wav2vec2-base-960h kind."""
    vocabulary = {token: id_ for id_, token in enumerate(VOCABULARY)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), do_lower_case=False, word_delimiter_token="|"
    )
    tokenizer.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=16_000, do_normalize=True, return_attention_mask=False
    ).save_pretrained(folder)


class CtcTrainer(Trainer):
    """A Trainer that groups clips by their known lengths and scores transcripts."""

    def __init__(
        self,
        model: Wav2Vec2ForCTC,
        arguments: TrainingArguments,
        *,
        recipe: TrainingRecipe,
        preprocessor: Wav2Vec2Preprocessor,
        train_clips: Clips,
        validation_clips: Clips,
    ) -> None:
        self.train_clips, self.validation_clips = train_clips, validation_clips
        self._network = model
        self._preprocessor = preprocessor
        self._window = int(recipe.window_seconds * preprocessor.sampling_rate)
        super().__init__(
            model,
            arguments,
            data_collator=Collator(recipe, preprocessor),
            train_dataset=train_clips,
            eval_dataset=validation_clips,
            callbacks=[_LogLines()],
        )
        self.remove_callback(PrinterCallback)

    def _get_train_sampler(
        self, train_dataset: torch.utils.data.Dataset | None = None
    ) -> torch.utils.data.Sampler | None:
        generator = torch.Generator()
        generator.manual_seed(self.args.seed + int(self.state.epoch or 0))
        return LengthGroupedSampler(
            self.args.train_batch_size, lengths=self.train_clips.lengths, generator=generator
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """CTC over the frames that heard the clip, since only those are decoded.

        The model itself would have to be given an attention mask for that, which the base
        architecture was never trained with and the exported graph does not take.
        """
        outputs = model(inputs["input_values"])
        labels = inputs["labels"]
        log_probabilities = outputs.logits.float().log_softmax(dim=-1).transpose(0, 1)
        loss = torch.nn.functional.ctc_loss(
            log_probabilities,
            labels.clamp(min=0),
            inputs["n_frames"],
            (labels != IGNORED_LABEL).sum(dim=-1),
            blank=self._preprocessor.blank_id,
            zero_infinity=True,
        )
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Transcribe the validation clips, padded as at inference; corpus WER and CER."""
        import jiwer

        model = self._network.eval()
        references, hypotheses = [], []
        with torch.no_grad():
            for start in range(0, len(self.validation_clips), self.args.eval_batch_size):
                stop = min(start + self.args.eval_batch_size, len(self.validation_clips))
                clips = [self.validation_clips[index] for index in range(start, stop)]
                values = np.zeros((len(clips), self._window), dtype=np.float32)
                for row, clip in enumerate(clips):
                    values[row, : len(clip["input_values"])] = clip["input_values"]
                logits = model(torch.from_numpy(values).to(model.device)).logits.float().cpu()
                for clip, scores in zip(clips, logits.numpy(), strict=True):
                    n_frames = self._preprocessor.n_frames(len(clip["input_values"]))
                    hypotheses.append(self._preprocessor.decode(scores, n_frames))
                    references.append(self._preprocessor.decode_ids(_spaced(clip["labels"])))
        model.train()
        figures = {
            "eval_wer": jiwer.wer(references, hypotheses),
            "eval_cer": jiwer.cer(references, hypotheses),
        }
        self.log(dict(figures))
        return figures


class _StopAfter(TrainerCallback):
    """Ends a training before its plan does."""

    def __init__(self, n_steps: int) -> None:
        self._n_steps = n_steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_training_stop = state.global_step >= self._n_steps


class _LogLines(TrainerCallback):
    """One line every half minute and after every evaluation, instead of a bar."""

    def __init__(self) -> None:
        self._last = self._start = time.monotonic()
        self._first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._first_step = state.global_step
        self._last = self._start = time.monotonic()

    def on_log(
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


def _spaced(labels: np.ndarray) -> np.ndarray:
    """Put a blank between labels, so that decoding does not merge double letters."""
    return np.stack([labels, np.zeros_like(labels)], axis=1).ravel()


def _prepare(
    output: Path, architecture: Path | None, checkpoint: Path | None
) -> Wav2Vec2Preprocessor:
    if checkpoint is not None:
        for name in PROCESSOR_FILES:
            (output / name).write_bytes((checkpoint / name).read_bytes())
        Wav2Vec2Config.from_pretrained(checkpoint).save_pretrained(output)
    else:
        assert architecture is not None
        keys = yaml.safe_load(architecture.read_text(encoding="utf-8"))
        config = Wav2Vec2Config(architectures=["Wav2Vec2ForCTC"], **keys)
        config.save_pretrained(output)
    return Wav2Vec2Preprocessor.from_folder(output)


def _clips(
    corpus: Corpus, split: str, preprocessor: Wav2Vec2Preprocessor, recipe: TrainingRecipe
) -> Clips:
    return Clips(
        corpus[split].at_rate(preprocessor.sampling_rate), preprocessor, recipe.window_seconds
    )


def _training_arguments(
    output: Path, recipe: TrainingRecipe, max_steps: int | None
) -> TrainingArguments:
    return TrainingArguments(
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


def _write_summary(
    output: Path,
    corpus: Corpus,
    recipe: TrainingRecipe,
    trainer: CtcTrainer,
    model: Wav2Vec2ForCTC,
    figures: dict[str, float],
) -> dict[str, Any]:
    import transformers

    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    summary = {
        "corpus": corpus.root.name,
        "clips": len(trainer.train_clips),
        "hours": round(sum(trainer.train_clips.lengths) / 16_000 / 3600, 2),
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
