"""``pipeline logmel``: parse, import late, run the stage; ``logmel-batch`` does it for variants."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.command import configure_logging, one_of, split_names
from pipeline.errors import MissingPathError
from pipeline.options import (
    DryRun,
    Json,
    Limit,
    LogLevel,
    MaxFailures,
    Overwrite,
    Shard,
    Splits,
    Workers,
    launchable,
    run_options,
)

if TYPE_CHECKING:
    from pipeline.launch.request import Launch


@launchable()
def logmel(
    input_dataset: Annotated[Path, typer.Option("--input-dataset", "-i", help="Corpus to read.")],
    output_dataset: Annotated[
        Path, typer.Option("--output-dataset", "-o", help="Folder to write.")
    ],
    model_size: Annotated[
        str,
        typer.Option(
            help="Whisper model: tiny … large-v3, turbo; the last two have 128 mel bins, others 80."
        ),
    ] = "large-v3",
    chunk_length: Annotated[int, typer.Option(min=1, help="Seconds a feature covers.")] = 30,
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            help="whisper, or auris (spectrograms in dB, for lexicon models).",
        ),
    ] = "whisper",
    layout: Annotated[
        str, typer.Option(help="compact (no padded tail) or padded (every feature in full).")
    ] = "compact",
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    long_clips: Annotated[
        str,
        typer.Option(
            "--long", help="Clips longer than a feature: cut, or split into a row for each part."
        ),
    ] = "cut",
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder or hub name of the Whisper tokenizer that makes the labels "
            "[default: the small one shipped in models/mini-whisper]."
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="Language token of the labels.")] = "en",
    task: Annotated[str, typer.Option(help="transcribe or translate.")] = "transcribe",
    shuffle_seed: Annotated[int, typer.Option(help="Order of the train split.")] = 42,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Accepted for older scripts; clips are streamed one by one.")
    ] = 1000,
    writer_batch_size: Annotated[
        int, typer.Option(min=1, help="Accepted for older scripts, as --batch-size.")
    ] = 100,
    max_memory_per_worker: Annotated[
        float, typer.Option(help="Accepted for older scripts; a worker needs about 0.5 GB.")
    ] = 4.0,
    splits: Splits = None,
    limit: Limit = None,
    num_workers: Workers = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    max_failures: MaxFailures = None,
    shard: Shard = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
    *,
    launch: "Launch",
) -> None:
    """Turn a corpus into Whisper's log-mel features and token labels.

    The values are those of transformers' WhisperFeatureExtractor. Read them with
    pipeline.logmel.open_features, which restores the padding that is not stored.
    """
    configure_logging(log_level)
    from pipeline.launch.perform import perform
    from pipeline.logmel.features import DTYPES, KINDS, LAYOUTS, MelSettings, mel_bins_of
    from pipeline.logmel.stage import LONG_CLIPS, LogMelStage
    from pipeline.logmel.tokens import TASKS, LabelSettings

    stage = LogMelStage(
        input_dataset,
        output_dataset,
        MelSettings(mel_bins_of(model_size), chunk_length),
        LabelSettings(tokenizer, language, one_of("--task", task, TASKS)),
        one_of("--layout", layout, LAYOUTS),
        one_of("--dtype", dtype, DTYPES),
        one_of("--format", kind, KINDS),
        one_of("--long", long_clips, LONG_CLIPS),
        shuffle_seed,
        split_names(splits),
        limit,
    )
    options = run_options(num_workers, overwrite, max_failures, shard, launch)
    perform(stage, options, launch, dry_run=dry_run, as_json=as_json)


@launchable(launcher="slurm", shards=False)
def logmel_batch(
    input_base: Annotated[
        Path, typer.Option(help="Variants are INPUT_BASE_<profile>, as mask writes them.")
    ] = Path("data/CommonVoiceEN"),
    model_size: Annotated[str, typer.Option(help="As of logmel.")] = "large-v3",
    tokenizer: Annotated[str | None, typer.Option(help="As of logmel.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Accepted for older scripts; clips are streamed one by one.")
    ] = 1000,
    limit: Limit = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out variants whose output folder exists.")
    ] = False,
    num_workers: Workers = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
    *,
    launch: "Launch",
) -> None:
    """Turn every variant of a corpus into log-mel features: one job for each.

    Writes INPUT_BASE_<profile>_logmel for every INPUT_BASE_<profile> that is there. With
    --launcher local they are made here, one after the other.
    """
    configure_logging(log_level)
    from pipeline.launch.perform import perform_all
    from pipeline.launch.request import CommandLine
    from pipeline.logmel.features import DTYPES, MelSettings, mel_bins_of
    from pipeline.logmel.stage import LogMelStage
    from pipeline.logmel.tokens import LabelSettings

    given = {"model-size": model_size, "tokenizer": tokenizer, "dtype": dtype, "limit": limit}
    given["num-workers"] = num_workers
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    work = []
    for variant in _variants(input_base):
        output = variant.with_name(f"{variant.name}_logmel")
        if skip_existing and output.exists():
            continue
        paths = (f"--input-dataset={variant}", f"--output-dataset={output}")
        stage = LogMelStage(
            variant,
            output,
            MelSettings(mel_bins_of(model_size)),
            LabelSettings(tokenizer),
            dtype=one_of("--dtype", dtype, DTYPES),
            limit=limit,
        )
        work.append((stage, CommandLine("pipeline", ("logmel",), (*paths, *options))))
    if launch.resources.array_size is None:
        launch = replace(launch, resources=replace(launch.resources, array_size=1))
    perform_all(
        work,
        run_options(num_workers, overwrite, None, None, launch),
        launch,
        dry_run=dry_run,
        as_json=as_json,
    )


def _variants(base: Path) -> list[Path]:
    """Folders of a corpus under some profile: those that mask made, or datasets of somebody else.

    Raises
    ------
    MissingPathError
        If there is none.
    """
    from pipeline.corpus import DATASET_FOLDER, read_json

    folders = sorted(base.parent.glob(f"{base.name}_*"))
    found = [
        folder
        for folder in folders
        if (folder / DATASET_FOLDER).is_dir()
        and not folder.name.endswith("_logmel")
        and read_json(folder / "run.json").get("stage", "mask") == "mask"
    ]
    if not found:
        raise MissingPathError(
            f"{base}_<profile> does not exist for any profile; make variants with `pipeline mask`, "
            "or name their common beginning as --input-base"
        )
    return found
