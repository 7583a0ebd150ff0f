"""Train a CTC recogniser on a corpus: from scratch by an architecture, or from a checkpoint.

Built on ``transformers.Trainer``. Clips are grouped by length; a batch is padded with zeros, and
now and then with more zeros than it needs, since the group norm of wav2vec2-base sees padding and
at inference every clip is padded to one window.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from transformers import (
    Trainer,
    TrainingArguments,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
)

from models.clips import IGNORED_LABEL, Clips, Collator
from models.encoded_clips import EncodedClips, encode
from models.network import freeze_features, make_model
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
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.corpus import Corpus, open_corpus
from pipeline.errors import InputError

# The alphabet of facebook/wav2vec2-base-960h, in its order.
VOCABULARY = ("<pad>", "<s>", "</s>", "<unk>", *"|ETAONIHSRDLUMWCFGYPBVK'XJQZ")
PROCESSOR_FILES = ("vocab.json", "tokenizer_config.json", "preprocessor_config.json")


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
        A folder to start from instead; or as well, if the architecture has more layers or wider
        feed-forwards than it.
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
        If neither ``architecture`` nor ``checkpoint`` is given, or the one cannot grow into the
        other.
    """
    recipe = begin(recipe, num_threads)
    if architecture is None and checkpoint is None:
        raise InputError(NEITHER)
    arguments = TrainingArguments(**training_arguments(output, recipe, max_steps))
    # One process writes what all of them read.
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            _prepare(output, architecture, checkpoint)
    preprocessor = Wav2Vec2Preprocessor.from_folder(output)
    model = make_model(output, checkpoint)
    source = open_corpus(corpus)
    clips = _clips(source, "train", preprocessor, recipe)
    train_clips: Clips | EncodedClips = clips
    if recipe.freeze_features:
        freeze_features(model)
        train_clips = encode(
            clips,
            model.wav2vec2.feature_extractor,
            preprocessor,
            recipe.window_seconds,
            folder=output / "checkpoints",
            process=arguments.process_index,
            n_processes=arguments.world_size,
            barrier=PartialState().wait_for_everyone,
        )
    trainer = CtcTrainer(
        model,
        arguments,
        recipe=recipe,
        preprocessor=preprocessor,
        train_clips=train_clips,
        validation_clips=_clips(source, "validation", preprocessor, recipe),
    )
    figures = run(trainer, resume=resume, stop_after=stop_after, patience=recipe.patience)
    if trainer.is_world_process_zero():
        model.save_pretrained(output)
    hours = round(sum(trainer.train_clips.lengths) / 16_000 / 3600, 2)
    about = {"corpus": source.root.name, "clips": len(trainer.train_clips), "hours": hours}
    return write_summary(output, about, recipe, trainer, model, figures)


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


class CtcTrainer(GroupsByLength, Trainer):
    """A Trainer of the CTC loss that scores transcripts of the validation split."""

    def __init__(
        self,
        model: Wav2Vec2ForCTC,
        arguments: TrainingArguments,
        *,
        recipe: TrainingRecipe,
        preprocessor: Wav2Vec2Preprocessor,
        train_clips: Clips | EncodedClips,
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
        model = self._network.eval()
        texts = []
        with torch.no_grad():
            for batch in batches_of_this_process(self, len(self.validation_clips)):
                clips = [self.validation_clips[index] for index in batch]
                values = np.zeros((len(clips), self._window), dtype=np.float32)
                for row, clip in enumerate(clips):
                    values[row, : len(clip["input_values"])] = clip["input_values"]
                logits = model(torch.from_numpy(values).to(model.device)).logits.float().cpu()
                for clip, scores in zip(clips, logits.numpy(), strict=True):
                    n_frames = self._preprocessor.n_frames(len(clip["input_values"]))
                    reference = self._preprocessor.decode_ids(_spaced(clip["labels"]))
                    texts.append((reference, self._preprocessor.decode(scores, n_frames)))
        model.train()
        return error_rates(self, texts)


def _spaced(labels: np.ndarray) -> np.ndarray:
    """Put a blank between labels, so that decoding does not merge double letters."""
    return np.stack([labels, np.zeros_like(labels)], axis=1).ravel()


def _prepare(output: Path, architecture: Path | None, checkpoint: Path | None) -> None:
    output.mkdir(parents=True, exist_ok=True)
    write_processor(output)
    if checkpoint is not None:
        for name in PROCESSOR_FILES:
            (output / name).write_bytes((checkpoint / name).read_bytes())
    if architecture is not None:
        config = read_architecture(architecture, Wav2Vec2Config, architectures=["Wav2Vec2ForCTC"])
    else:
        config = Wav2Vec2Config.from_pretrained(str(checkpoint))
    config.save_pretrained(output)


def _clips(
    corpus: Corpus, split: str, preprocessor: Wav2Vec2Preprocessor, recipe: TrainingRecipe
) -> Clips:
    return Clips(
        corpus[split].at_rate(preprocessor.sampling_rate), preprocessor, recipe.window_seconds
    )
