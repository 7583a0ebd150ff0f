"""The commands of ``analyze`` that prepare a push to Tensorleap: ``mode`` and ``check``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import CheckFailed


def register_platform_commands(app: typer.Typer) -> None:
    """Add them to an app."""
    app.command()(mode)
    app.command()(check)


def mode(
    name: Annotated[str, typer.Argument(help="ctc, seq2seq or autoregressive.")],
    model: Annotated[
        str | None, typer.Option(help="Checkpoint folder [default: the one we ship].")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="File to change [default: conf/analysis.yaml].")
    ] = None,
) -> None:
    """Switch how the model is driven, on the platform and here.

    Writes the mode, with the model and the window that go with it, into conf/analysis.yaml and
    leaves all else there as it is; makes the graph that is pushed for a Whisper.
    """
    from hearing_analysis.config import BUNDLED_CONFIG, ROOT
    from hearing_analysis.tensorleap.modes import switch_mode

    switched = switch_mode(name, config or BUNDLED_CONFIG, model)
    file = switched.model_file
    print(f"{switched.path}: mode {switched.config.mode}, model {switched.config.model}")
    print(f"to push: {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}")


def check(
    config: Annotated[
        Path | None, typer.Option(help="What to check [default: conf/analysis.yaml].")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--mode", help="In another mode than that of the file.")
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help="Interpreter that has it all already; no environment is made then."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Do here what a push sets in motion: bundle, unpack, install requirements.txt, check.

    Takes minutes, and a package index, where it makes a fresh environment. Exit status 1 if a
    check failed.
    """
    from hearing_analysis.config import config_path, load_config, parse_config
    from hearing_analysis.tensorleap.modes import mode_values, set_values
    from hearing_analysis.tensorleap.rehearsal import rehearse

    path = config or config_path()
    loaded = load_config(path)
    if name is not None:
        text = set_values(path.read_text(encoding="utf-8"), mode_values(name))
        loaded = parse_config(text, path)
    outcomes = rehearse(loaded, python)
    if as_json:
        print(json.dumps([asdict(found) for found in outcomes], indent=2))
    else:
        for found in outcomes:
            mark = "passed" if found.passed else "FAILED"
            print(f"{found.name:>18}  {mark}  {found.seconds:6.1f} s  {found.detail}")
    failed = [found.name for found in outcomes if not found.passed]
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(outcomes)} checks failed: {', '.join(failed)}")
