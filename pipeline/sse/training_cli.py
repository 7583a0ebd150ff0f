"""``pipeline sse train``, ``neighbours`` and ``iterate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.command import configure_logging, one_of
from pipeline.options import Json, LogLevel, Overwrite
from pipeline.printing import tell

if TYPE_CHECKING:
    from pipeline.sse.train import TrainSettings

PathFeatures = Annotated[Path, typer.Option(help="What `pipeline sse features` has made.")]
ValidFeatures = Annotated[
    Path | None, typer.Option(help="Features of the sections of --valid-segments.")
]
ValidSegments = Annotated[
    Path | None, typer.Option(help="Transcribed segments whose MAP@R says how good a model is.")
]
ValidOn = Annotated[str, typer.Option(help="What says so: map, or loss (of the training).")]
StartFrom = Annotated[
    Path | None, typer.Option(help="Model to go on from, instead of random weights.")
]
BatchSize = Annotated[
    int | None, typer.Option(min=2, help="Pairs a step [default: init 250, else 256].")
]
LearningRate = Annotated[float, typer.Option(min=0, help="Of Adam.")]
Decay = Annotated[bool, typer.Option("--decay", help="Let it fall to zero along half a cosine.")]
Temperature = Annotated[float, typer.Option(min=0.001, help="Of the loss.")]
StepsPerEpoch = Annotated[
    int | None,
    typer.Option(min=1, help="Steps between validations [default: init 200, else 1000]."),
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="At most [default: init 75, knn 100, gold 60].")
]
Patience = Annotated[
    int | None,
    typer.Option(min=0, help="Epochs without a gain before it ends [default: 2, 1, 5]."),
]
ViewShare = Annotated[
    float,
    typer.Option(help="Of knn: share of a step's pairs that are views of one segment, as in init."),
]
Precision = Annotated[str, typer.Option(help="float32, or mixed: bfloat16 or float16.")]
Seed = Annotated[int, typer.Option(min=0, help="Of weights, batches and dropout.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto; several GPUs share a batch.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Of torch [default: its own].")]
Width = Annotated[int, typer.Option(min=8, help="Of transformer and embedding.")]
FeedForward = Annotated[int, typer.Option(min=8, help="Of the transformer's inner layer.")]
Dropout = Annotated[float, typer.Option(min=0, max=0.9, help="Share of units.")]
Stride = Annotated[int, typer.Option(min=1, help="Frames that the convolution moves by.")]
Pooling = Annotated[
    str, typer.Option(help="max over time, or grid (places along the segment, in order).")
]
K = Annotated[int, typer.Option("--k", min=1, help="Neighbours of every segment.")]
Keep = Annotated[float, typer.Option(help="Share of the segments that keep one.")]
Mutual = Annotated[
    bool, typer.Option("--mutual/--one-way", help="Each must be among the other's nearest.")
]
ByDuration = Annotated[
    bool,
    typer.Option("--by-duration/--one-threshold", help="A threshold for every 160 ms of duration."),
]
Dims = Annotated[
    int, typer.Option(min=0, help="Principal components that are compared; 0 for all.")
]
Support = Annotated[
    int,
    typer.Option(
        min=0, help="Other pairs of the same two clips, shifted alike, that a pair needs."
    ),
]
OtherSpeakers = Annotated[
    bool, typer.Option("--other-speakers", help="Keep those alone that are by two speakers.")
]
MaxSegments = Annotated[
    int, typer.Option(min=0, help="Search so many, drawn at random; 0 for all.")
]


def train(
    path_features: PathFeatures,
    output_dir: Annotated[Path, typer.Option(help="Gets the model and its checkpoint.")],
    mode: Annotated[
        str,
        typer.Option(help="init (views of a segment), knn (its neighbours), gold (its like)."),
    ] = "init",
    path_pairs: Annotated[
        Path | None, typer.Option(help="Of knn: what `pipeline sse neighbours` has found.")
    ] = None,
    path_segments: Annotated[
        Path | None, typer.Option(help="Of gold: transcribed segments of the features.")
    ] = None,
    valid_features: ValidFeatures = None,
    valid_segments: ValidSegments = None,
    valid_on: ValidOn = "map",
    start_from: StartFrom = None,
    view_share: ViewShare = 0.0,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = 1e-4,
    decay: Decay = False,
    temperature: Temperature = 0.15,
    steps_per_epoch: StepsPerEpoch = None,
    epochs: Epochs = None,
    patience: Patience = None,
    width: Width = 512,
    feed_forward: FeedForward = 2048,
    dropout: Dropout = 0.3,
    stride: Stride = 1,
    pooling: Pooling = "max",
    precision: Precision = "float32",
    seed: Seed = 0,
    device: Device = "auto",
    num_threads: Threads = None,
    overwrite: Overwrite = False,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Train a model: each segment is to be nearer to its partner than to all others.

    Stopped, the same command goes on at the last epoch and ends in the same weights.
    """
    configure_logging(log_level)
    from pipeline.kmeans.encoders import choose_device
    from pipeline.sse.model import POOLINGS
    from pipeline.sse.training import MODES, Sources
    from pipeline.sse.training import train as train_model

    chosen = one_of("--mode", mode, MODES)
    one_of("--pooling", pooling, POOLINGS)
    settings = _settings(
        chosen,
        valid_on,
        batch_size,
        learning_rate,
        decay,
        temperature,
        steps_per_epoch,
        epochs,
        patience,
        precision,
        seed,
    )
    report = train_model(
        Sources(
            path_features,
            chosen,
            path_pairs,
            path_segments,
            valid_features,
            valid_segments,
            start_from,
            view_share,
        ),
        output_dir,
        settings,
        _architecture(width, feed_forward, dropout, stride, pooling),
        device=choose_device(device),
        num_threads=num_threads,
        overwrite=overwrite,
    )
    tell(report, as_json=as_json)


def neighbours(
    path_features: PathFeatures,
    path_segments: Annotated[Path, typer.Option(help="Segments to search, and to search among.")],
    output_file: Annotated[Path, typer.Option(help="Gets a line for every pair, nearest first.")],
    path_sse: Annotated[
        Path | None,
        typer.Option(help="Model that embeds them [default: ten frames of each, joined]."),
    ] = None,
    k: K = 10,
    keep: Keep = 0.5,
    mutual: Mutual = True,
    by_duration: ByDuration = True,
    dims: Dims = 128,
    support: Support = 0,
    other_speakers: OtherSpeakers = False,
    max_segments: MaxSegments = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the segments that are drawn.")] = 0,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Find pairs of segments of different clips that may well say the same: nearest neighbours.

    Of transcribed segments it also says how different the phones of a pair are.
    """
    configure_logging(log_level)
    from pipeline.sse.iterate import Search, write_neighbours
    from pipeline.sse.lists import read_segments
    from pipeline.sse.pairs import PairSettings
    from pipeline.sse.store import open_store

    search = Search(
        PairSettings(k, keep, mutual, by_duration, dims, support, other_speakers),
        max_segments,
        seed,
    )
    report = write_neighbours(
        path_sse, open_store(path_features), read_segments(path_segments), search, output_file
    )
    tell(report, as_json=as_json)


def iterate(
    path_features: PathFeatures,
    path_segments: Annotated[Path, typer.Option(help="Segments to search, and to search among.")],
    valid_features: Annotated[Path, typer.Option(help="Features of --valid-segments.")],
    valid_segments: Annotated[Path, typer.Option(help="Transcribed segments, to measure by.")],
    output_dir: Annotated[Path, typer.Option(help="Gets round-1, round-2 …, iterations.json.")],
    path_sse: Annotated[Path, typer.Option(help="Model to begin with.")],
    max_rounds: Annotated[int, typer.Option(min=1, help="At most.")] = 5,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Begin a round with the weights of the last.")
    ] = False,
    valid_on: ValidOn = "map",
    k: K = 10,
    keep: Keep = 0.5,
    mutual: Mutual = True,
    by_duration: ByDuration = True,
    dims: Dims = 128,
    support: Support = 0,
    other_speakers: OtherSpeakers = False,
    max_segments: MaxSegments = 0,
    view_share: ViewShare = 0.0,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = 1e-4,
    decay: Decay = False,
    temperature: Temperature = 0.15,
    steps_per_epoch: StepsPerEpoch = None,
    epochs: Epochs = None,
    patience: Patience = None,
    width: Width = 512,
    feed_forward: FeedForward = 2048,
    dropout: Dropout = 0.3,
    stride: Stride = 1,
    pooling: Pooling = "max",
    precision: Precision = "float32",
    seed: Seed = 0,
    device: Device = "auto",
    num_threads: Threads = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Find neighbours, train on them, find those of the new model, until MAP@R stops rising."""
    configure_logging(log_level)
    from pipeline.kmeans.encoders import choose_device
    from pipeline.sse.iterate import Search
    from pipeline.sse.iterate import iterate as iterate_training
    from pipeline.sse.model import POOLINGS
    from pipeline.sse.pairs import PairSettings
    from pipeline.sse.training import Sources

    one_of("--pooling", pooling, POOLINGS)
    report = iterate_training(
        path_sse,
        Sources(
            path_features,
            "knn",
            segments=path_segments,
            valid_features=valid_features,
            valid_segments=valid_segments,
            view_share=view_share,
        ),
        output_dir,
        Search(
            PairSettings(k, keep, mutual, by_duration, dims, support, other_speakers),
            max_segments,
            seed,
        ),
        _settings(
            "knn",
            valid_on,
            batch_size,
            learning_rate,
            decay,
            temperature,
            steps_per_epoch,
            epochs,
            patience,
            precision,
            seed,
        ),
        _architecture(width, feed_forward, dropout, stride, pooling),
        warm_start=warm_start,
        most_rounds=max_rounds,
        device=choose_device(device),
        num_threads=num_threads,
    )
    tell(report, as_json=as_json)


def _settings(
    mode: str,
    valid_on: str,
    batch_size: int | None,
    learning_rate: float,
    decay: bool,
    temperature: float,
    steps_per_epoch: int | None,
    epochs: int | None,
    patience: int | None,
    precision: str,
    seed: int,
) -> "TrainSettings":
    """What was asked for, and else what the original's launcher of the mode has."""
    from dataclasses import replace

    from pipeline.sse.train import PRECISIONS, VALID_ON
    from pipeline.sse.training import DEFAULTS, MODES

    given = {
        "batch_size": batch_size,
        "steps_per_epoch": steps_per_epoch,
        "epochs": epochs,
        "patience": patience,
    }
    return replace(
        DEFAULTS[one_of("--mode", mode, MODES)],
        learning_rate=learning_rate,
        decay=decay,
        temperature=temperature,
        seed=seed,
        valid_on=one_of("--valid-on", valid_on, VALID_ON),
        precision=one_of("--precision", precision, PRECISIONS),
        **{name: value for name, value in given.items() if value is not None},
    )


def _architecture(
    width: int, feed_forward: int, dropout: float, stride: int, pooling: str
) -> dict[str, Any]:
    return {
        "width": width,
        "feed_forward": feed_forward,
        "dropout": dropout,
        "stride": stride,
        "pooling": pooling,
    }
