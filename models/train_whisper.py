"""Train a Whisper on log-mel features: from scratch by an architecture, or from a checkpoint.

Features and labels come from ``pipeline logmel``, padded as they are read. Built on
``transformers.Seq2SeqTrainer``.
"""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import yaml
from transformers import (
    GenerationConfig,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from models.clips import IGNORED_LABEL
from models.recipe import (
    LogLines,
    TrainingRecipe,
    begin,
    run,
    training_arguments,
    write_summary,
)
from pipeline.errors import InputError
from pipeline.logmel import FeatureSet, SplitFeatures, open_features
from pipeline.logmel.features import MelSettings
from pipeline.logmel.tokens import SHIPPED_TOKENIZER, TASKS, LabelSettings, load_tokenizer

START, NO_TIMESTAMPS = "<|startoftranscript|>", "<|notimestamps|>"


def train_whisper(
    features: Path,
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
    """Train, transcribe the validation split, and save a Hugging Face folder.

    Parameters
    ----------
    features : Path
        What ``pipeline logmel`` wrote, with the splits train and validation.
    output : Path
        Gets the checkpoint folder and, below ``checkpoints/``, what resuming needs.
    architecture : Path, optional
        YAML with the keys of ``WhisperConfig``; weights start at random.
    checkpoint : Path, optional
        A folder to start from instead.
    recipe : TrainingRecipe, optional
        What it says of windows, padding, noise and speed is for waveforms, and not used.
    resume, max_steps, stop_after, num_threads
        As in :func:`models.train.train_ctc`.

    Returns
    -------
    dict
        What ``training.json`` holds: recipe, versions, steps, last figures.

    Raises
    ------
    InputError
        If neither or both of ``architecture`` and ``checkpoint`` are given, or the features are not
        what the checkpoint takes.
    """
    recipe = begin(architecture, checkpoint, recipe, num_threads)
    source = open_features(features)
    labels = label_settings(source)
    tokenizer = load_tokenizer(labels)
    if checkpoint is None:
        assert architecture is not None
        model = _new_model(architecture, source.mel, tokenizer)
    else:
        model = WhisperForConditionalGeneration.from_pretrained(checkpoint)
    _check_fit(model.config, source.mel, tokenizer, features)
    trainer = WhisperTrainer(
        model,
        Seq2SeqTrainingArguments(**training_arguments(output, recipe, max_steps)),
        tokenizer=tokenizer,
        labels=labels,
        train_features=source["train"],
        validation_features=source["validation"],
    )
    figures = run(trainer, resume=resume, stop_after=stop_after)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    WhisperFeatureExtractor(
        feature_size=source.mel.n_mels, chunk_length=source.mel.chunk_length
    ).save_pretrained(output)
    about = {"features": source.corpus.root.name, "clips": len(trainer.train_features)}
    return write_summary(output, about, recipe, trainer, model, figures)


def label_settings(features: FeatureSet) -> LabelSettings:
    """How the labels of a set of features were made.

    Raises
    ------
    InputError
        If it has none.
    """
    labels = features.corpus.run()["config"].get("labels")
    if labels is None:
        raise InputError(
            f"{features.corpus.root} has no labels to train with; make the features with "
            "--format whisper"
        )
    shipped = labels["tokenizer"] == SHIPPED_TOKENIZER.name
    return LabelSettings(**{**labels, "tokenizer": None if shipped else labels["tokenizer"]})


class WhisperTrainer(Seq2SeqTrainer):
    """A Trainer that scores transcripts of the validation split."""

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        arguments: Seq2SeqTrainingArguments,
        *,
        tokenizer: WhisperTokenizer,
        labels: LabelSettings,
        train_features: SplitFeatures,
        validation_features: SplitFeatures,
    ) -> None:
        self.train_features, self.validation_features = train_features, validation_features
        self._network, self._tokenizer, self._labels = model, tokenizer, labels
        super().__init__(
            model,
            arguments,
            data_collator=collate,
            train_dataset=train_features,
            eval_dataset=cast(torch.utils.data.Dataset, validation_features),  # it is one in kind
            callbacks=[LogLines()],
        )
        self.remove_callback(PrinterCallback)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Transcribe the validation clips greedily; corpus WER and CER, case and marks aside."""
        import jiwer

        model, tokenizer = self._network.eval(), self._tokenizer
        references, hypotheses = [], []
        for start in range(0, len(self.validation_features), self.args.eval_batch_size):
            stop = min(start + self.args.eval_batch_size, len(self.validation_features))
            rows = [self.validation_features[index] for index in range(start, stop)]
            batch = torch.from_numpy(np.stack([row["input_features"] for row in rows]))
            tokens = model.generate(
                batch.to(model.device), language=self._labels.language, task=self._labels.task
            )
            for row, ids in zip(rows, tokens.cpu().numpy(), strict=True):
                reference, hypothesis = (
                    tokenizer.basic_normalize(tokenizer.decode(text, skip_special_tokens=True))
                    for text in (row["labels"], ids)
                )
                if reference:  # without words there is no rate
                    references.append(reference)
                    hypotheses.append(hypothesis)
        model.train()
        figures = {
            "eval_wer": jiwer.wer(references, hypotheses) if references else math.nan,
            "eval_cer": jiwer.cer(references, hypotheses) if references else math.nan,
        }
        self.log(dict(figures))
        return figures


def collate(rows: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Stack features, and labels without their first token, which the model puts there itself."""
    longest = max(len(row["labels"]) for row in rows) - 1
    labels = np.full((len(rows), longest), IGNORED_LABEL)
    for target, row in zip(labels, rows, strict=True):
        target[: len(row["labels"]) - 1] = row["labels"][1:]
    features = np.stack([row["input_features"] for row in rows])
    return {"input_features": torch.from_numpy(features), "labels": torch.from_numpy(labels)}


def _new_model(
    architecture: Path, mel: MelSettings, tokenizer: WhisperTokenizer
) -> WhisperForConditionalGeneration:
    end = tokenizer.eos_token_id
    start = cast(int, tokenizer.convert_tokens_to_ids(START))
    ends = {name: end for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    config = WhisperConfig(
        architectures=["WhisperForConditionalGeneration"],
        vocab_size=len(tokenizer),
        num_mel_bins=mel.n_mels,
        max_source_positions=mel.n_frames // 2,
        decoder_start_token_id=start,
        **ends,
        **yaml.safe_load(architecture.read_text(encoding="utf-8")),
    )
    model = WhisperForConditionalGeneration(config)
    # Without these, generate would not know how to ask for a language and a task.
    ids = {token: cast(int, tokenizer.convert_tokens_to_ids(token)) for token in _prompts()}
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start,
        is_multilingual=True,
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES},
        task_to_id={task: ids[f"<|{task}|>"] for task in TASKS},
        no_timestamps_token_id=ids[NO_TIMESTAMPS],
        max_length=config.max_target_positions,
        **ends,
    )
    return model


def _prompts() -> tuple[str, ...]:
    return (*(f"<|{name}|>" for name in (*LANGUAGES, *TASKS)), NO_TIMESTAMPS)


def _check_fit(
    config: WhisperConfig, mel: MelSettings, tokenizer: WhisperTokenizer, features: Path
) -> None:
    """Refuse features that the network cannot take."""
    takes = config.num_mel_bins, 2 * config.max_source_positions
    if takes != (mel.n_mels, mel.n_frames):
        raise InputError(
            f"the features in {features} are {mel.n_mels} × {mel.n_frames}, and the network takes "
            f"{takes[0]} × {takes[1]}; make them again with the --model-size and --chunk-length of "
            "the checkpoint"
        )
    if config.vocab_size < len(tokenizer):
        raise InputError(
            f"the labels in {features} have {len(tokenizer)} tokens, and the network knows "
            f"{config.vocab_size}; make them again with the checkpoint's folder as --tokenizer"
        )
