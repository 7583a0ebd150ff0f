"""``pipeline mask``: parse, import late, run the stage."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.audio import SAMPLING_RATE
from pipeline.command import configure_logging, one_of, split_names
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
    from pipeline.launch.request import Launch


@launchable()
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
    *,
    launch: "Launch",
) -> None:
    """Simulate hearing losses: one corpus in, one row-aligned variant per profile out.

    Each clip is decoded once, changed as every profile asks, and stored as 24-bit FLAC. A clip
    that fails for one profile is quarantined for all.
    """
    configure_logging(log_level)
    from pipeline.audio import AUDIO_FORMATS
    from pipeline.corpus import corpus_root
    from pipeline.launch.perform import perform
    from pipeline.masking.audibility import THRESHOLDS
    from pipeline.masking.audiograms import resolve_profiles
    from pipeline.masking.mask import INTERPOLATIONS, NORMALIZATIONS, StftSettings
    from pipeline.masking.profiles import PILOT_PROFILES
    from pipeline.masking.simulators import SIMULATORS, SimulationSettings
    from pipeline.masking.stage import MaskStage

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
    options = run_options(num_workers, overwrite, max_failures, shard, launch)
    perform(stage, options, launch, dry_run=dry_run, as_json=as_json)
