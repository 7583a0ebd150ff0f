"""The ``models`` command line: train recognisers, export them, verify what was exported."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from pipeline.command import configure_logging, one_of, run_app
from pipeline.options import Json

app = typer.Typer(
    help="Train wav2vec2 and Whisper recognisers, export them to ONNX and Keras, verify exports.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Entry point of the ``models`` command."""
    run_app(app)


@app.command()
def train(
    corpus: Annotated[
        Path,
        typer.Argument(
            help="Corpus with the splits train and validation; for a Whisper, what "
            "`pipeline logmel` made of one."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
    architecture: Annotated[
        Path | None, typer.Option(help="YAML of an architecture to train from scratch.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint folder to start from.")
    ] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the train split.")] = 20,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Plan for so many steps instead of epochs.")
    ] = None,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many steps of the plan.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips per step.")] = 24,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.5e-3,
    window_seconds: Annotated[float, typer.Option(help="Longest clip, and longest padding.")] = 6.0,
    noise_share: Annotated[float, typer.Option(help="Share of clips that get white noise.")] = 0.0,
    speed_change: Annotated[
        float, typer.Option(help="Play clips up to so much faster or slower; 0.1 is 10 %.")
    ] = 0.0,
    freeze_features: Annotated[
        bool, typer.Option("--freeze-features", help="Leave a wav2vec2's convolutions as they are.")
    ] = False,
    ctc_weight: Annotated[
        float, typer.Option(min=0, max=1, help="Share of CTC in a Whisper's loss.")
    ] = 0.0,
    label_smoothing: Annotated[
        float, typer.Option(min=0, max=1, help="Of a Whisper's tokens.")
    ] = 0.0,
    level_change_db: Annotated[
        float, typer.Option(min=0, help="Make a Whisper's clips up to so much louder or softer.")
    ] = 0.0,
    warp: Annotated[
        float, typer.Option(min=0, max=0.5, help="Stretch a Whisper's spectra by up to so much.")
    ] = 0.0,
    masks: Annotated[
        int, typer.Option(min=0, help="Blank out so many stretches and bands of a Whisper's clips.")
    ] = 0,
    crop: Annotated[
        bool, typer.Option("--crop", help="Leave out most of the silence after a Whisper's clips.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of weights, order and padding.")] = 0,
    bf16: Annotated[bool, typer.Option(help="Mixed precision.")] = False,
    patience: Annotated[
        int, typer.Option(min=0, help="End after so many passes that heard no better [0: never].")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    num_threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.")] = None,
) -> None:
    """Train a recogniser and write a Hugging Face checkpoint folder.

    A wav2vec2 with CTC on a corpus, a Whisper on log-mel features; --window-seconds, --noise-share
    and --speed-change are for the former. Prints a line every half minute, and corpus WER on the
    validation split after every epoch.
    """
    configure_logging()
    from models.disk import explain_full_disk_of
    from models.recipe import TrainingRecipe, quiet_libraries

    quiet_libraries()

    recipe = TrainingRecipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        window_seconds=window_seconds,
        noise_share=noise_share,
        speed_change=speed_change,
        freeze_features=freeze_features,
        ctc_weight=ctc_weight,
        label_smoothing=label_smoothing,
        level_change_db=level_change_db,
        warp=warp,
        masks=masks,
        crop=crop,
        seed=seed,
        bf16=bf16,
        patience=patience,
    )
    with explain_full_disk_of(output):
        figures = _training_of(corpus)(
            corpus,
            output,
            architecture=architecture,
            checkpoint=checkpoint,
            recipe=recipe,
            resume=resume,
            max_steps=max_steps,
            stop_after=stop_after,
            num_threads=num_threads,
        )
    print(f"{output}: validation WER {figures['validation_wer']:.2%}")


def _training_of(corpus: Path) -> Callable[..., dict[str, Any]]:
    """Choose what is trained by what there is to train on."""
    from pipeline.corpus import open_corpus

    if "mel" in open_corpus(corpus).run().get("config", {}):
        from models.train_whisper import train_whisper

        return train_whisper
    from models.train import train_ctc

    return train_ctc


@app.command()
def export(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="Checkpoint folder, or a name on the Hugging Face hub "
            "(facebook/wav2vec2-base-960h, openai/whisper-large-v3)."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Argument(help="Folder or file to write [default: the checkpoint's folder]."),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="onnx, h5 or keras [default: as the file's name ends, or onnx]."
        ),
    ] = None,
    window_seconds: Annotated[
        float, typer.Option(help="Length of the input; a Whisper has its own.")
    ] = 6.0,
    positions: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of a Whisper's graph [default: all its decoder takes]."),
    ] = None,
    steps: Annotated[
        bool, typer.Option(help="Write a Whisper's encoder.onnx and decoder.onnx too.")
    ] = True,
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = 17,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Load pytorch_model.bin, which can run code.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export a wav2vec2, HuBERT or Whisper checkpoint and check what was written against torch.

    Writes model.onnx, or wav2vec2 and HuBERT as model.h5 or model.keras. Inputs: input_values
    (batch, samples); a Whisper's input_features (batch, mels, frames) and decoder_input_ids (batch,
    positions). First output: logits. Takes seconds for a small model, minutes for a large one.
    """
    configure_logging("WARNING")
    from models.export import ExportSettings, export_checkpoint
    from models.export.command import FORMATS

    report = export_checkpoint(
        checkpoint,
        output,
        format_=one_of("--format", format_, FORMATS) if format_ else None,
        settings=ExportSettings(window_seconds, positions, steps, opset, trust_pickle=trust_pickle),
    )
    print(json.dumps(report.as_dict(), indent=2) if as_json else report)


@app.command()
def verify(
    model: Annotated[
        Path, typer.Argument(help="model.onnx, .h5 or .keras, or a folder with model.onnx.")
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint it was exported from [default: the model's folder]."),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="Corpus to transcribe [default: data/demo_normal, if it is there]."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to transcribe.")] = "test",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Transcribe so many clips only.")
    ] = None,
    num_threads: Annotated[
        int | None, typer.Option(min=1, help="Threads per operator [default: all cores].")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Load pytorch_model.bin, which can run code.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at what `leap push` would send, and say whether it is what it should be.

    Inputs, outputs, operators that the platform's converter lacks, difference from the checkpoint,
    real-time factor on this machine, word error rate. Exit status 1 if it computes something else
    than its checkpoint, or cannot be converted.
    """
    configure_logging("WARNING")
    from models.verify import VerifySettings, verify_model

    report = verify_model(
        model,
        VerifySettings(checkpoint, corpus, split, limit, num_threads, trust_pickle),
    )
    print(json.dumps(report.as_dict(), indent=2) if as_json else report)
    report.require()


@app.command()
def tokenizer(
    corpus: Annotated[Path, typer.Argument(help="Corpus whose train sentences are learned from.")],
    output: Annotated[Path, typer.Argument(help="Tokenizer folder to write.")],
    vocabulary_size: Annotated[int, typer.Option(min=300, help="Text tokens to learn.")] = 1000,
) -> None:
    """Learn a small tokenizer in Whisper's layout, for labels where the hub is out of reach."""
    from models.tokenizer import train_tokenizer
    from pipeline.corpus import open_corpus

    sentences = open_corpus(corpus)["train"].column("sentence").to_pylist()
    n_tokens = train_tokenizer(sentences, output, vocabulary_size)
    print(f"{output}: {n_tokens:,} tokens from {len(sentences):,} sentences")


if __name__ == "__main__":
    main()
