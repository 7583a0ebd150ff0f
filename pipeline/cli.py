"""The ``pipeline`` command line: parse, import late, call the stage of the same name."""

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipeline.audio import SAMPLING_RATE
from pipeline.command import configure_logging, one_of, run_app, split_names
from pipeline.download.cli import download
from pipeline.errors import InputError
from pipeline.imports.cli import import_corpus
from pipeline.kmeans.cli import app as kmeans_app
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
    run_options,
)

app = typer.Typer(
    help="Turn a speech corpus into hearing-loss variants and model-ready features.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(kmeans_app, name="kmeans")


def main() -> NoReturn:
    """Entry point of the ``pipeline`` command."""
    run_app(app)


app.command()(download)
app.command("import")(import_corpus)


@app.command()
def mask(
    input_dir: Annotated[Path, typer.Option(help="Corpus to read.")] = Path("data/CommonVoiceEN"),
    output_base: Annotated[
        Path | None,
        typer.Option(help="Variants go to OUTPUT_BASE_<profile> [default: the input's own path]."),
    ] = None,
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            help="Hearing profiles, as --splits: names that `pipeline profiles` lists, flat40 and "
            "the like, or files of audiograms, FILE or FILE:NAME [default: normal,lfloss,hfloss]."
        ),
    ] = None,
    sample_rate: SampleRate = SAMPLING_RATE,
    simulator: Annotated[
        str,
        typer.Option(
            help="mask (attenuation), audibility (and an absolute threshold) or cochlear "
            "(recruitment and smearing)."
        ),
    ] = "mask",
    speech_level_db_spl: Annotated[
        float, typer.Option(help="Level a clip is played at, for audibility and cochlear.")
    ] = 65.0,
    threshold: Annotated[
        str,
        typer.Option(help="How audibility loses what is too soft: noise covers it, gate cuts it."),
    ] = "noise",
    interpolation: Annotated[
        str,
        typer.Option(
            help="Between the points of an audiogram: linear (in Hz), octave, or auto (linear for "
            "the pilot's three profiles, octave for all others)."
        ),
    ] = "auto",
    normalize: Annotated[
        str,
        typer.Option(
            help="Level: shared (one gain a clip for all profiles), peak (each variant to full "
            "scale, which cancels the loss), limit (only what would clip), none."
        ),
    ] = "shared",
    audio_format: Annotated[
        str, typer.Option(help="How variants are stored: flac24, flac16 or wav32 (exact).")
    ] = "flac24",
    n_fft: Annotated[int, typer.Option(help="Window length in samples.")] = 2048,
    hop_length: Annotated[int, typer.Option(help="Samples between windows.")] = 512,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Accepted for older scripts; clips are streamed one by one.")
    ] = 32,
    splits: Splits = None,
    limit: Limit = None,
    num_workers: Workers = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    max_failures: MaxFailures = None,
    shard: Shard = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Simulate hearing losses: one corpus in, one row-aligned variant per profile out.

    Each clip is decoded once, changed as every profile asks, and stored as 24-bit FLAC. A clip
    that fails for one profile is quarantined for all.
    """
    configure_logging(log_level)
    from pipeline.audio import AUDIO_FORMATS
    from pipeline.corpus import corpus_root
    from pipeline.masking.audibility import THRESHOLDS
    from pipeline.masking.audiograms import resolve_profiles
    from pipeline.masking.mask import INTERPOLATIONS, NORMALIZATIONS, StftSettings
    from pipeline.masking.profiles import PILOT_PROFILES
    from pipeline.masking.simulators import SIMULATORS, SimulationSettings
    from pipeline.masking.stage import MaskStage
    from pipeline.report import perform

    stage = MaskStage(
        input_dir,
        output_base or corpus_root(input_dir),
        resolve_profiles(split_names(profiles) or PILOT_PROFILES),
        StftSettings(sample_rate, n_fft, hop_length),
        SimulationSettings(
            one_of("--simulator", simulator, SIMULATORS),
            one_of("--interpolation", interpolation, INTERPOLATIONS),
            speech_level_db_spl,
            one_of("--threshold", threshold, THRESHOLDS),
        ),
        one_of("--normalize", normalize, NORMALIZATIONS),
        one_of("--audio-format", audio_format, tuple(AUDIO_FORMATS)),
        split_names(splits),
        limit,
    )
    options = run_options(num_workers, overwrite, max_failures, shard)
    perform(stage, options, dry_run=dry_run, as_json=as_json)


@app.command()
def logmel(
    input_dataset: Annotated[Path, typer.Option("--input-dataset", "-i", help="Corpus to read.")],
    output_dataset: Annotated[Path, typer.Option("--output-dataset", "-o", help="To write.")],
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
) -> None:
    """Turn a corpus into Whisper's log-mel features and token labels.

    The values are those of transformers' WhisperFeatureExtractor. Read them with
    pipeline.logmel.open_features, which restores the padding that is not stored.
    """
    configure_logging(log_level)
    from pipeline.logmel.features import DTYPES, KINDS, LAYOUTS, MelSettings, mel_bins_of
    from pipeline.logmel.stage import LONG_CLIPS, LogMelStage
    from pipeline.logmel.tokens import TASKS, LabelSettings
    from pipeline.report import perform

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
    options = run_options(num_workers, overwrite, max_failures, shard)
    perform(stage, options, dry_run=dry_run, as_json=as_json)


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="YAML list of command lines.")],
    until: Annotated[
        str | None, typer.Option(help="Stop after the last step of this name, such as mask.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Run a recipe: command lines one after the other, each skipped when its work is done."""
    configure_logging()
    from pipeline.recipe import run_recipe

    run_recipe(recipe, until=until, dry_run=dry_run)


@app.command()
def profiles(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Profiles or audiogram files, as `pipeline mask` takes them."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw them into this file: .png, .svg or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List hearing profiles: audiograms, averages and grades; all the built-in ones by default."""
    from pipeline.masking.audiograms import resolve_profiles
    from pipeline.masking.profiles import PROFILES
    from pipeline.report import describe_profile, print_profiles

    chosen = resolve_profiles(split_names(names) or tuple(PROFILES))
    if plot:
        from pipeline.masking.plot import plot_audiograms

        plot_audiograms(chosen, plot)
    if as_json:
        print(json.dumps({profile.name: describe_profile(profile) for profile in chosen}, indent=2))
    else:
        print_profiles(chosen)
        if plot:
            print(f"drawn in {plot}")


@app.command()
def validate(
    output: Annotated[Path, typer.Argument(help="Folder that import, mask or logmel has made.")],
    acoustics: Annotated[
        bool,
        typer.Option(
            "--acoustics", help="Of a mask variant: hold its sound against that of its source."
        ),
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option(help="Corpus that was masked [default: OUTPUT without _<profile>]."),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many clips are listened to.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Which clips are.")] = 0,
    as_json: Json = False,
) -> None:
    """Check what a stage has made: shards, counts, ids, audio, alignment of variants, acoustics.

    Prints every check with what was measured and what is allowed, and changes nothing. Exits with
    status 1 if one failed. Takes seconds; with --acoustics, one for every 25 clips of the sample.
    """
    configure_logging()
    if source and not acoustics:
        raise InputError("--source says what --acoustics compares with; give both")
    from pipeline.checks import conclude
    from pipeline.masking.verification import verify_variant
    from pipeline.validate import examine

    examined = examine(output, sample, seed)
    checks = verify_variant(examined, acoustics=acoustics, source=source)
    conclude(examined.root, (*examined.checks, *checks), as_json=as_json)


if __name__ == "__main__":
    main()
