"""``pipeline sse``: sections, segments, frames, and what embeddings of them are worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.command import configure_logging, one_of, split_names
from pipeline.errors import InputError
from pipeline.options import DryRun, Json, LogLevel, MaxFailures, Overwrite, Splits, Workers
from pipeline.printing import tell
from pipeline.sse.training_cli import iterate, neighbours, train

if TYPE_CHECKING:
    from pipeline.sse.frames import FrameSource

app = typer.Typer(
    help="Speech sequence embeddings: one vector for a stretch of speech of any length.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(train)
app.command()(neighbours)
app.command()(iterate)

PathWavs = Annotated[
    Path, typer.Option(help="Folder that the paths of the list begin in, or a corpus.")
]
PathSse = Annotated[Path, typer.Option(help="Folder of a trained model.")]
PathSegments = Annotated[
    Path, typer.Option(help="Segments: path speaker vad_start vad_end start end [transcription].")
]
Encoder = Annotated[
    Path | None,
    typer.Option(help="Where the encoder that makes the frames lies [default: where it lay]."),
]
Features = Annotated[
    Path | None, typer.Option(help="Features of the sections, in place of --path-wavs.")
]


@app.command()
def vad(
    source: Annotated[Path, typer.Argument(help="A corpus, or a folder of audio files.")],
    output: Annotated[Path, typer.Argument(help="Gets lines: path speaker start end.")],
    speakers: Annotated[
        Path | None,
        typer.Option(
            help="Of a folder: table with columns path and speaker, parted by tabs "
            "[default: the first folder of a path is the speaker]."
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.15, max=1, help="Probability at which speech begins.")
    ] = 0.5,
    min_seconds: Annotated[float, typer.Option(min=0, help="Shortest section.")] = 0.25,
    pause_seconds: Annotated[
        float, typer.Option(min=0, help="Shortest silence that ends a section.")
    ] = 0.1,
    padding_seconds: Annotated[float, typer.Option(min=0, help="Left on either side.")] = 0.03,
    splits: Splits = None,
    num_workers: Workers = None,
    max_failures: MaxFailures = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Find the sections in which somebody speaks, with the Silero detector.

    Clips that cannot be read, or hold no speech, go to OUTPUT.quarantine.jsonl.
    """
    configure_logging(log_level)
    from pipeline.sse.vad import VadSettings, write_vads

    settings = VadSettings(threshold, min_seconds, pause_seconds, padding_seconds)
    report = write_vads(
        source,
        output,
        settings,
        splits=split_names(splits),
        speakers=speakers,
        num_workers=_workers(num_workers),
        max_failures=max_failures,
    )
    tell(report, as_json=as_json)


@app.command()
def segments(
    vads: Annotated[Path, typer.Argument(help="Sections: path speaker start end.")],
    output: Annotated[Path, typer.Argument(help="Gets a line for every segment.")],
    min_seconds: Annotated[float, typer.Option(help="Shortest segment.")] = 0.16,
    max_seconds: Annotated[float, typer.Option(help="Longest segment.")] = 0.96,
    step_seconds: Annotated[float, typer.Option(help="Width of the grid.")] = 0.16,
    random: Annotated[
        int, typer.Option(min=0, help="Draw so many from every section, off the grid.")
    ] = 0,
    alignment: Annotated[
        Path | None,
        typer.Option(
            help="Take what begins and ends with an aligned phone or word, transcribed: a file of "
            "lines path start end name."
        ),
    ] = None,
    min_names: Annotated[
        int, typer.Option(min=1, help="Phones or words of --alignment in a segment, at least.")
    ] = 1,
    max_names: Annotated[int, typer.Option(min=1, help="The same, at most.")] = 1,
    repeated: Annotated[
        bool, typer.Option("--repeated", help="Of --alignment only what is said twice or more.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Of --alignment so many, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Cut sections into segments: all on a grid, some at random, or those of an alignment."""
    configure_logging()
    from pipeline.sse.lists import read_sections, write_segment_blocks
    from pipeline.sse.segments import SegmentSettings, make_segments
    from pipeline.sse.transcribe import aligned_segments, read_alignment
    from pipeline.sse.transcribe import repeated as only_repeated

    sections = read_sections(vads)
    settings = SegmentSettings(min_seconds, max_seconds, step_seconds, random, seed)
    if alignment is None:
        if repeated or limit:
            raise InputError("--repeated and --limit are for --alignment; give it too")
        blocks = make_segments(sections, settings)
    else:
        found = aligned_segments(
            sections,
            read_alignment(alignment),
            shortest=min_names,
            longest=max(min_names, max_names),
            shortest_seconds=min_seconds,
            longest_seconds=max_seconds,
        )
        chosen = only_repeated(found, limit, seed) if repeated else found.draw(limit, seed)
        blocks = iter([chosen])
    count = write_segment_blocks(output, blocks)
    if not count:
        output.unlink()
        raise InputError(
            f"{vads} holds no section as long as a segment; give a smaller --min-seconds"
        )
    tell({"sections": len(sections), "segments": count}, as_json=as_json)


@app.command()
def transcribe(
    path_segments: Annotated[Path, typer.Argument(help="Segments to transcribe.")],
    alignment: Annotated[
        Path, typer.Argument(help="Lines path start end name; or a folder of such files.")
    ],
    output: Annotated[Path, typer.Argument(help="Gets the same segments, transcribed.")],
    as_json: Json = False,
) -> None:
    """Say what is spoken in segments: phones or words of which half, or 30 ms, lie inside."""
    configure_logging()
    from pipeline.sse.lists import read_segments, write_segments
    from pipeline.sse.transcribe import read_alignment
    from pipeline.sse.transcribe import transcribe as transcribe_segments

    told = transcribe_segments(read_segments(path_segments), read_alignment(alignment))
    write_segments(output, told)
    counts = {"segments": len(told), "transcribed": int((told.label >= 0).sum())}
    tell({**counts, "transcriptions": len(told.labels)}, as_json=as_json)


@app.command()
def features(
    path_wavs: PathWavs,
    path_vads: Annotated[Path, typer.Option(help="Sections: path speaker start end.")],
    output_dir: Annotated[Path, typer.Option(help="Gets the frames of every section.")],
    frames: Annotated[str, typer.Option(help="logmel, mfcc or encoder.")] = "logmel",
    encoder: Annotated[
        Path | None,
        typer.Option(help="Hugging Face folder of wav2vec2, HuBERT or WavLM, for encoder."),
    ] = None,
    layer: Annotated[int, typer.Option(min=0, help="Its transformer block, from 1.")] = 0,
    n_mels: Annotated[int, typer.Option(min=4, max=128, help="Bands of logmel.")] = 40,
    normalize: Annotated[
        str,
        typer.Option(
            help="What is taken from a section's logmel or mfcc: level (its mean), bands (the "
            "mean of each, which undoes any fixed filter), none."
        ),
    ] = "level",
    views: Annotated[
        int, typer.Option(min=0, help="Changed copies of every section, to train on.")
    ] = 0,
    augment: Annotated[
        list[str] | None,
        typer.Option(help="How they are changed: tempo,pitch,noise,reverb,hearing, or some."),
    ] = None,
    profiles: Annotated[
        list[str] | None,
        typer.Option(help="Hearing profiles of hearing, as `pipeline mask` takes them."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    seed: Annotated[int, typer.Option(min=0, help="Of the changes.")] = 0,
    num_workers: Workers = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    max_failures: MaxFailures = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Write the frames of sections, 50 a second, and changed views of them to train on."""
    configure_logging(log_level)
    from dataclasses import asdict

    from pipeline.masking.audiograms import resolve_profiles
    from pipeline.sse.augment import EFFECTS, Augmentation
    from pipeline.sse.features import DTYPES, FeatureSettings, make_features
    from pipeline.sse.lists import read_sections

    effects = tuple(one_of("--augment", name, EFFECTS) for name in split_names(augment) or ())
    settings = FeatureSettings(
        frame_source(frames, encoder, layer, n_mels, normalize),
        Augmentation(effects, tuple(resolve_profiles(split_names(profiles) or ()))),
        views,
        seed,
        one_of("--dtype", dtype, DTYPES),
    )
    sections = read_sections(path_vads)
    if dry_run:
        print(f"features: {len(sections):,} sections, nothing written\n  → {output_dir}")
        return
    report = make_features(
        path_wavs,
        sections,
        settings,
        output_dir,
        num_workers=_workers(num_workers),
        overwrite=overwrite,
        max_failures=max_failures,
    )
    tell(asdict(report), as_json=as_json)


@app.command("map")
def mean_average_precision(
    path_segments: PathSegments,
    path_sse: PathSse = Path("models/mini-sse"),
    path_wavs: Annotated[
        Path | None, typer.Option(help="Folder that the paths of the list begin in, or a corpus.")
    ] = None,
    path_features: Features = None,
    task: Annotated[str, typer.Option(help="map, or dump as `pipeline sse dump` does.")] = "map",
    output_file: Annotated[
        Path | None, typer.Option(help="Of --task dump; for map, gets the figures as JSON.")
    ] = None,
    encoder: Encoder = None,
    num_workers: Workers = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Measure how well segments with the same transcription find each other.

    MAP@R, full MAP and P@1, the query itself left out; each also among other speakers only.
    """
    configure_logging(log_level)
    from pipeline.sse.evaluate import TASKS

    if one_of("--task", task, TASKS) == "dump" and output_file is None:
        raise InputError("--task dump needs --output-file")
    report = _evaluate(
        task, path_segments, path_sse, path_wavs, path_features, output_file, encoder, num_workers
    )
    tell(report, as_json=as_json)


@app.command()
def dump(
    path_segments: PathSegments,
    output_file: Annotated[
        Path, typer.Option(help="Gets OUTPUT_FILE.npy, .segments, and .json last.")
    ],
    path_sse: PathSse = Path("models/mini-sse"),
    path_wavs: Annotated[
        Path | None, typer.Option(help="Folder that the paths of the list begin in, or a corpus.")
    ] = None,
    path_features: Features = None,
    encoder: Encoder = None,
    num_workers: Workers = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Embed segments into a file: float32, a row per line of the list beside it."""
    configure_logging(log_level)
    report = _evaluate(
        "dump", path_segments, path_sse, path_wavs, path_features, output_file, encoder, num_workers
    )
    tell(report, as_json=as_json)


@app.command()
def robustness(
    path_segments: PathSegments,
    output_dir: Annotated[Path, typer.Option(help="Gets tables, a figure, a row per clip.")],
    profiles: Annotated[
        list[str],
        typer.Option(
            "--profile",
            metavar="NAME=CLIPS",
            help="Clips as a profile hears them, a folder or a corpus; the first is the reference.",
        ),
    ],
    path_sse: PathSse = Path("models/mini-sse"),
    encoder: Encoder = None,
    num_workers: Workers = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Measure how far hearing losses move words, and whose neighbours the words become."""
    configure_logging(log_level)
    from pipeline.sse.lists import read_segments
    from pipeline.sse.model import load_model
    from pipeline.sse.robustness import parse_variants
    from pipeline.sse.robustness import robustness as measure_robustness

    report = measure_robustness(
        load_model(path_sse),
        read_segments(path_segments),
        parse_variants(profiles),
        output_dir,
        encoder=encoder,
        num_workers=_workers(num_workers),
    )
    tell(report, as_json=as_json)


def frame_source(
    kind: str, encoder: Path | None, layer: int, n_mels: int, normalize: str
) -> "FrameSource":
    """Make the source that options name."""
    from pipeline.sse.frames import KINDS, NORMALIZATIONS, FrameSource

    kind = one_of("--frames", kind, KINDS)
    if kind != "encoder" and (encoder or layer):
        raise InputError("--encoder and --layer are for --frames encoder; give that too")
    return FrameSource(
        kind, n_mels, one_of("--normalize", normalize, NORMALIZATIONS), str(encoder or ""), layer
    )


def _evaluate(
    task: str,
    path_segments: Path,
    path_sse: Path,
    path_wavs: Path | None,
    path_features: Path | None,
    output_file: Path | None,
    encoder: Path | None,
    num_workers: int | None,
) -> dict[str, Any]:
    from pipeline.corpus import write_json
    from pipeline.sse import evaluate
    from pipeline.sse.embed import embed
    from pipeline.sse.lists import read_segments
    from pipeline.sse.model import load_model

    model, found = load_model(path_sse), read_segments(path_segments)
    with evaluate.frames_for(
        model,
        found,
        root=path_wavs,
        features=path_features,
        encoder=encoder,
        num_workers=_workers(num_workers),
    ) as store:
        if task == "dump":
            assert output_file is not None
            return evaluate.dump(model, store, found, output_file)
        vectors = embed(model.network, store, store.locate(found))
    report = evaluate.report_of(evaluate.measure(vectors, found), found)
    if output_file is not None:
        write_json(output_file, report)
    return report


def _workers(num_workers: int | None) -> int:
    from pipeline.workers import default_num_workers

    return default_num_workers() if num_workers is None else num_workers
