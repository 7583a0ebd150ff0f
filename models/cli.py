"""The ``models`` command line: train recognisers and export them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from pipeline.command import configure_logging, run_app

app = typer.Typer(
    help="Train wav2vec2 and Whisper recognisers, and export wav2vec2 to ONNX.",
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
    seed: Annotated[int, typer.Option(help="Of weights, order and padding.")] = 0,
    bf16: Annotated[bool, typer.Option(help="Mixed precision.")] = False,
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
    from models.recipe import TrainingRecipe, quiet_libraries

    quiet_libraries()

    recipe = TrainingRecipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        window_seconds=window_seconds,
        noise_share=noise_share,
        speed_change=speed_change,
        seed=seed,
        bf16=bf16,
    )
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
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    output: Annotated[
        Path | None, typer.Argument(help="ONNX file [default: model.onnx in the folder].")
    ] = None,
    window_seconds: Annotated[float, typer.Option(help="Length of the input.")] = 6.0,
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = 17,
) -> None:
    """Export a wav2vec2 CTC checkpoint to ONNX and check it against torch.

    Input: input_values (batch, samples). Outputs: logits (batch, frames, vocabulary) and
    hidden_states (batch, frames, hidden).
    """
    configure_logging("WARNING")
    from models.export import export_onnx

    report = export_onnx(checkpoint, output, window_seconds=window_seconds, opset=opset)
    print(f"{report.path}: {report.n_bytes:,} bytes, largest difference {report.difference:.1e}")


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
