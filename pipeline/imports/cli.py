"""``pipeline import``: parse, import late, find the layout, run the stage."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.audio import SAMPLING_RATE
from pipeline.command import configure_logging, one_of, split_names
from pipeline.errors import InputError
from pipeline.options import (
    DryRun,
    Json,
    Limit,
    LogLevel,
    MaxFailures,
    Overwrite,
    SampleRate,
    Shard,
    Splits,
    Workers,
    launchable,
    run_options,
)

if TYPE_CHECKING:
    from pipeline.imports.stage import ImportStage
    from pipeline.launch.request import Launch
    from pipeline.stage import RunOptions


@launchable()
def import_corpus(
    source: Annotated[Path, typer.Argument(help="Folder of a corpus, its .tar.gz or manifest.")],
    output: Annotated[Path, typer.Argument(help="Folder of the corpus to make.")],
    layout: Annotated[
        str,
        typer.Option(
            help="auto, or one of: commonvoice, huggingface, ljspeech, librispeech, manifest."
        ),
    ] = "auto",
    streaming: Annotated[
        bool,
        typer.Option("--streaming", help="Import an archive while it is read; do not unpack it."),
    ] = False,
    keep_original: Annotated[
        bool,
        typer.Option("--keep-original", help="Store the source's files as they are, unconverted."),
    ] = False,
    audio_root: Annotated[
        Path | None,
        typer.Option(help="Where a manifest's paths start and stay [default: its own folder]."),
    ] = None,
    sample_rate: SampleRate = SAMPLING_RATE,
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
    """Make a corpus from one you have: Common Voice, LibriSpeech, LJ Speech, manifest, dataset.

    Writes OUTPUT/dataset, a Hugging Face DatasetDict with FLAC audio, one split per table, and
    beside it run.json and quarantine.jsonl. Hundreds of clips a second and core.
    """
    configure_logging(log_level)
    from pipeline.commonvoice.release import is_archive
    from pipeline.imports.detect import KINDS, detect, open_layout
    from pipeline.imports.stage import ImportStage

    if launch.is_remote and (streaming or (is_archive(source) and source.is_file())):
        raise InputError(
            f"{source} is read by one process; unpack it and import the folder, or leave "
            "--launcher slurm out"
        )
    name = one_of("--layout", layout, ("auto", *KINDS))
    name = detect(source) if name == "auto" else name
    opened = open_layout(source, output, name, audio_root)
    stage = ImportStage(opened, output, sample_rate, split_names(splits), limit, keep_original)
    options = run_options(num_workers, overwrite, max_failures, shard, launch)
    if not as_json:
        print(f"{source}: {KINDS[name].title} (--layout {name})")
    _perform(stage, options, launch, streaming=streaming, dry_run=dry_run, as_json=as_json)


def _perform(
    stage: "ImportStage",
    options: "RunOptions",
    launch: "Launch",
    *,
    streaming: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from pipeline.commonvoice.release import is_archive
    from pipeline.commonvoice.streaming import peek, stream_archive
    from pipeline.launch.perform import perform
    from pipeline.report import tell

    source = stage.layout.source
    is_packed = stage.layout.name == "commonvoice" and is_archive(source) and source.is_file()
    if streaming and not is_packed:
        raise InputError(f"--streaming reads an archive, and {source} is none; leave it out")
    if dry_run and is_packed:
        with tempfile.TemporaryDirectory() as folder:
            stage.layout = peek(source, stage.splits, Path(folder))
            perform(stage, options, launch, dry_run=True, as_json=as_json)
    elif streaming:
        tell(stream_archive(stage, options), as_json=as_json)
    else:
        perform(stage, options, launch, dry_run=dry_run, as_json=as_json)
