"""The ``analyze`` command line: evaluate a recogniser per hearing profile, and look at it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hearing_analysis.reports.commands import find_table, register
from hearing_analysis.tensorleap.commands import register_platform_commands
from pipeline.command import configure_logging, one_of, run_app, split_names
from pipeline.options import Shard, launchable, run_options

if TYPE_CHECKING:
    from pipeline.launch.request import Launch

app = typer.Typer(
    help="See what a recogniser loses per hearing profile: evaluation, figures, dashboard.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def main() -> NoReturn:
    """Entry point of the ``analyze`` command."""
    run_app(app)


@app.command()
@launchable(program="analyze")
def run(
    output: Annotated[Path, typer.Argument(help="Folder that gets analysis.parquet.")],
    config: Annotated[
        Path | None, typer.Option(help="What to analyse [default: conf/analysis.yaml].")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Variants are DATA_ROOT_<profile>; overrides the config.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Checkpoint folder with model.onnx; overrides the config.")
    ] = None,
    profiles: Annotated[
        list[str] | None, typer.Option(help="Only these profiles; overrides the config.")
    ] = None,
    splits: Annotated[
        list[str] | None, typer.Option(help="Only these splits [default: those of the config].")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "--max-samples", min=1, help="Only the first clips of a split."),
    ] = None,
    latent_map: Annotated[
        str, typer.Option("--map", help="Latent map: tsne, pca, umap, or auto (t-SNE up to 5,000).")
    ] = "auto",
    audio: Annotated[
        bool, typer.Option("--audio/--no-audio", help="Keep each sample's audio in the table.")
    ] = True,
    num_workers: Annotated[
        int | None, typer.Option("--num-workers", "-j", min=0, help="Worker processes.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again instead of going on.")
    ] = False,
    max_failures: Annotated[
        int | None,
        typer.Option(min=0, help="Exit with status 1 if more clips than this are quarantined."),
    ] = None,
    shard: Shard = None,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    as_json: Json = False,
    *,
    launch: "Launch",
) -> None:
    """Run a recogniser over every clip under every hearing profile.

    Writes OUTPUT/analysis.parquet, a row per sample with its transcript, errors, loss, metadata
    and place in the latent space, and prints corpus error rates with 95 % intervals.
    """
    configure_logging(log_level)
    from hearing_analysis.config import load_config
    from hearing_analysis.evaluate import TABLE_FILE, EvaluateStage, evaluate
    from hearing_analysis.latent_space import METHODS
    from hearing_analysis.recognition.recognisers import suited
    from pipeline.launch.perform import launch_stage
    from pipeline.report import tell

    analysis = load_config(config)
    changes: dict[str, Any] = {
        "data_root": str(data_root.absolute()) if data_root else None,
        "model": str(model.absolute()) if model else None,
        "profiles": split_names(profiles),
    }
    analysis = suited(replace(analysis, **{key: value for key, value in changes.items() if value}))
    stage = EvaluateStage(analysis, output, split_names(splits), limit)
    options = run_options(num_workers, overwrite, max_failures, shard, launch)
    method = one_of("--map", latent_map, METHODS)
    table = output / TABLE_FILE
    if launch.is_remote:
        launch_stage(
            stage,
            options,
            launch,
            as_json=as_json,
            home=output,
            unfinished=not table.is_file(),
        )
        return
    report = evaluate(stage, options, method=method, embed_audio=audio)
    if report.complete:
        summary(table, as_json=as_json)
    else:
        tell(report, as_json=as_json)


@app.command()
def summary(
    table: Annotated[Path, typer.Argument(help="analysis.parquet, or its folder.")],
    split: Annotated[
        str | None, typer.Option(help="Only this split, or all for all together.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=VALUE or COLUMN!=VALUE; repeat for more conditions."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print corpus error rates of every profile, with 95 % intervals."""
    from hearing_analysis.reports.summary import as_json as to_json
    from hearing_analysis.reports.summary import print_summary, summarize

    figures = summarize(find_table(table), split, tuple(where or ()))
    if as_json:
        print(json.dumps(to_json(figures), indent=2))
    else:
        print_summary(figures)


register(app)
register_platform_commands(app)


if __name__ == "__main__":
    main()
