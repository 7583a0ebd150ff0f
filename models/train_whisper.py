"""Train a Whisper on log-mel features: from scratch by an architecture, or from a checkpoint.

Features and labels come from ``pipeline logmel``, padded as they are read. Built on
``transformers.Seq2SeqTrainer``.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from transformers.models.whisper.modeling_whisper import shift_tokens_right
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from models.clips import IGNORED_LABEL
from models.hybrid import HybridWhisper, character_ids, plain, take_any_length
from models.mel_clips import MelClips, MelCollator
from models.network import fastest_attention
from models.recipe import (
    NEITHER,
    GroupsByLength,
    TrainingRecipe,
    batches_of_this_process,
    begin,
    error_rates,
    read_architecture,
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
    if (architecture is None) == (checkpoint is None):
        raise InputError(NEITHER)
    recipe = begin(recipe, num_threads)
    network = HybridWhisper if recipe.ctc_weight else WhisperForConditionalGeneration
    source = open_features(features)
    labels = label_settings(source)
    tokenizer = load_tokenizer(labels)
    if checkpoint is None:
        assert architecture is not None
        model = _new_model(network, architecture, source.mel, tokenizer)
    else:
        model = network.from_pretrained(checkpoint, attn_implementation=fastest_attention())
    _check_fit(model.config, source.mel, tokenizer, features)
    trainer = WhisperTrainer(
        model,
        Seq2SeqTrainingArguments(**training_arguments(output, recipe, max_steps)),
        recipe=recipe,
        tokenizer=tokenizer,
        labels=labels,
        train_clips=MelClips(source["train"], _n_stored(source)),
        n_frames=source.mel.n_frames,
        validation_features=source["validation"],
    )
    figures = run(trainer, resume=resume, stop_after=stop_after, patience=recipe.patience)
    if isinstance(model, HybridWhisper):
        model = plain(model)
    if trainer.is_world_process_zero():
        model.save_pretrained(output)
        tokenizer.save_pretrained(output)
        WhisperFeatureExtractor(
            feature_size=source.mel.n_mels, chunk_length=source.mel.chunk_length
        ).save_pretrained(output)
    about = {"features": source.corpus.root.name, "clips": len(trainer.train_clips)}
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


class WhisperTrainer(GroupsByLength, Seq2SeqTrainer):
    """A Trainer that scores transcripts of the validation split."""

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        arguments: Seq2SeqTrainingArguments,
        *,
        recipe: TrainingRecipe,
        tokenizer: WhisperTokenizer,
        labels: LabelSettings,
        train_clips: MelClips,
        n_frames: int,
        validation_features: SplitFeatures,
    ) -> None:
        self.train_clips, self.validation_features = train_clips, validation_features
        self._network, self._tokenizer, self._labels = model, tokenizer, labels
        self._recipe = recipe
        if recipe.crop:
            take_any_length(model.model.encoder)
        super().__init__(
            model,
            arguments,
            data_collator=MelCollator(recipe, n_frames),
            train_dataset=train_clips,
            eval_dataset=cast(torch.utils.data.Dataset, validation_features),  # it is one in kind
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Cross-entropy of the tokens, and CTC over characters if the recipe says so."""
        labels = inputs["labels"]
        outputs = model(
            input_features=inputs["input_features"],
            decoder_input_ids=shift_tokens_right(
                labels,
                cast(int, self._network.config.pad_token_id),
                self._network.config.decoder_start_token_id,
            ),
            use_cache=False,
        )
        loss = torch.nn.functional.cross_entropy(
            outputs.logits.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORED_LABEL,
            label_smoothing=self._recipe.label_smoothing,
        )
        share = self._recipe.ctc_weight
        if share:
            loss = (1 - share) * loss + share * self._ctc_loss(outputs.ctc_logits, inputs)
        return (loss, outputs) if return_outputs else loss

    def _ctc_loss(self, logits: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        labels = inputs["labels"].masked_fill(
            inputs["labels"] == IGNORED_LABEL, self._tokenizer.eos_token_id
        )
        texts = self._tokenizer.batch_decode(labels, skip_special_tokens=True)
        characters = [torch.tensor(character_ids(text), dtype=torch.long) for text in texts]
        return torch.nn.functional.ctc_loss(
            logits.float().log_softmax(dim=-1).transpose(0, 1),
            torch.cat(characters).to(logits.device),
            (inputs["n_seen"] // 2).clamp(max=logits.shape[1]),
            torch.tensor([len(text) for text in characters]),
            zero_infinity=True,
        )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Transcribe the validation clips greedily; corpus WER and CER, case and marks aside."""
        model, tokenizer = self._network.eval(), self._tokenizer
        texts = []
        for batch in batches_of_this_process(self, len(self.validation_features)):
            rows = [self.validation_features[index] for index in batch]
            features = torch.from_numpy(np.stack([row["input_features"] for row in rows]))
            tokens = model.generate(
                features.to(model.device), language=self._labels.language, task=self._labels.task
            )
            texts += [
                tuple(
                    tokenizer.basic_normalize(tokenizer.decode(text, skip_special_tokens=True))
                    for text in (row["labels"], ids)
                )
                for row, ids in zip(rows, tokens.cpu().numpy(), strict=True)
            ]
        model.train()
        return error_rates(self, texts)


def _new_model(
    network: type[WhisperForConditionalGeneration],
    architecture: Path,
    mel: MelSettings,
    tokenizer: WhisperTokenizer,
) -> WhisperForConditionalGeneration:
    end = tokenizer.eos_token_id
    start = cast(int, tokenizer.convert_tokens_to_ids(START))
    ends = {name: end for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    config = read_architecture(
        architecture,
        WhisperConfig,
        attn_implementation=fastest_attention(),
        architectures=["WhisperForConditionalGeneration"],
        vocab_size=len(tokenizer),
        num_mel_bins=mel.n_mels,
        max_source_positions=mel.n_frames // 2,
        decoder_start_token_id=start,
        **ends,
    )
    model = network(config)
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


def _n_stored(source: FeatureSet) -> np.ndarray:
    return source.corpus["train"].column("n_frames").to_numpy()


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
