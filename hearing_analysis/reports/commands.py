"""The commands of ``analyze`` that show what was analysed: pages, comparisons, tests, figures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import CheckFailed, MissingPathError

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Table = Annotated[Path, typer.Argument(help="analysis.parquet, or its folder.")]
MaxAudio = Annotated[int, typer.Option(min=0, help="Clips that can be listened to in the page.")]
MaxPage = Annotated[
    float,
    typer.Option(min=0, help="MB of audio in the page; more goes into a folder beside it."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``analyze``."""
    for command in (dashboard, compare, tests, serve, figures):
        app.command()(command)


def dashboard(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="analysis.parquet, or its folder; one or several."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Page to write.")] = Path(
        "dashboard.html"
    ),
    max_audio: MaxAudio = 40,
    max_page_mb: MaxPage = 50.0,
    words: Annotated[
        Path | None,
        typer.Option(help="Folder of `pipeline sse robustness`: whose neighbours words become."),
    ] = None,
    mining: Annotated[
        Path | None,
        typer.Option(help="Folder of `pipeline mine profiles`: which clips still find themselves."),
    ] = None,
) -> None:
    """Write one self-contained page that opens by a double click, offline, with sound."""
    from hearing_analysis.dashboard.build import build_dashboard

    report = build_dashboard(
        [find_table(table) for table in tables],
        output,
        max_audio=max_audio,
        max_page_mb=max_page_mb,
        words=words,
        mining=mining,
    )
    where = f" in {report.audio_folder}" if report.audio_folder else ""
    print(f"{report.n_samples:,} samples, {report.n_clips_with_audio} clips with audio{where}")
    print(f"{report.output.resolve().as_uri()} ({report.megabytes:.1f} MB)")


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Table, or its folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="What it is compared with.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write a dashboard of both.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only this split, or all for all together.")
    ] = None,
    max_audio: MaxAudio = 40,
    max_page_mb: MaxPage = 50.0,
    as_json: Json = False,
) -> None:
    """Compare two models, or one before and after training, clip by clip."""
    from hearing_analysis.dashboard.build import build_dashboard
    from hearing_analysis.reports.comparison import compare_models, of_split
    from hearing_analysis.reports.summary import print_comparison
    from hearing_analysis.reports.table import read_tables

    paths = [find_table(first), find_table(second)]
    found = of_split(compare_models(read_tables(paths)), split)
    if as_json:
        print(json.dumps([asdict(comparison) for comparison in found], indent=2))
    else:
        print_comparison(found)
    if output is not None:
        report = build_dashboard(paths, output, max_audio=max_audio, max_page_mb=max_page_mb)
        if not as_json:
            print(f"{report.output.resolve().as_uri()} ({report.megabytes:.1f} MB)")


def tests(
    conditions: Annotated[Path, typer.Argument(metavar="CONF", help="YAML file of conditions.")],
    table: Annotated[
        Path | None, typer.Option(help="Table to test [default: that of the file].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Test conditions such as "WER on hfloss < 0.4"; exit with status 1 if one fails."""
    from hearing_analysis.reports.assertions import load_tests, run_tests
    from hearing_analysis.reports.summary import print_tests
    from hearing_analysis.reports.table import read_table

    suite = load_tests(conditions)
    outcomes = run_tests(read_table(find_table(table or suite.table_path(conditions))), suite)
    if as_json:
        print(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
    else:
        print_tests(outcomes)
    if failed := [outcome for outcome in outcomes if not outcome.passed]:
        raise CheckFailed(f"{len(failed)} of {len(outcomes)} conditions of {conditions} failed")


def serve(
    table: Table,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Read audio from DATA_ROOT_<profile> [default: from the table]."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8050,
) -> None:
    """Serve the dashboard to this machine alone, with the audio of all clips."""
    from hearing_analysis.dashboard.serve import serve_dashboard

    serve_dashboard(find_table(table), data_root=data_root, port=port)


def figures(
    table: Table,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that gets the figures.")
    ] = Path("figures"),
    formats: Annotated[str, typer.Option(help="Of png, svg and pdf, separated by commas.")] = "pdf",
    split: Annotated[str | None, typer.Option(help="Only this split [default: the first].")] = None,
    width: Annotated[float, typer.Option(min=30, help="Width of a column in mm.")] = 89.0,
) -> None:
    """Draw figures for papers: error rates, audiograms, map, metadata, words."""
    from hearing_analysis.reports.plots import draw_figures

    for path in draw_figures(find_table(table), output, formats, split=split, width_mm=width):
        print(path)


def find_table(path: Path) -> Path:
    """Accept the table or the folder it is in."""
    from hearing_analysis.evaluate import TABLE_FILE

    table = path / TABLE_FILE if path.is_dir() else path
    if not table.is_file():
        raise MissingPathError(f"{table} does not exist; make it with `analyze run`")
    return table
