"""The ``pipeline`` command line: parse, import late, call the stage of the same name."""

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipeline.command import configure_logging, run_app, split_names
from pipeline.download.cli import download
from pipeline.errors import InputError
from pipeline.imports.cli import import_corpus
from pipeline.kmeans.cli import app as kmeans_app
from pipeline.logmel.cli import logmel, logmel_batch
from pipeline.masking.cli import mask
from pipeline.mining.cli import app as mining_app
from pipeline.options import DryRun, Json
from pipeline.sse.cli import app as sse_app

app = typer.Typer(
    help="Turn a speech corpus into hearing-loss variants and model-ready features.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(kmeans_app, name="kmeans")
app.add_typer(mining_app, name="mine")
app.add_typer(sse_app, name="sse")


def main() -> NoReturn:
    """Entry point of the ``pipeline`` command."""
    run_app(app)


app.command()(download)
app.command("import")(import_corpus)
app.command()(mask)
app.command()(logmel)
app.command("logmel-batch")(logmel_batch)


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
def status(
    output: Annotated[Path, typer.Argument(help="Folder that a command writes.")],
    as_json: Json = False,
) -> None:
    """Say how far an output has come: shards, tasks of its jobs, what failed, when it will end.

    Asks SLURM and the records of shards, and changes nothing. Exits with status 1 if tasks failed
    for good or will never start.
    """
    configure_logging()
    from pipeline.launch.show import show

    show(output, as_json=as_json)


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
    from pipeline.masking.listing import describe_profile, print_profiles
    from pipeline.masking.profiles import PROFILES

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
