"""What ``--help`` of every command says, and what it loads to say so; also run as a program."""

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# What takes long to import, and no help needs.
HEAVY = (
    *("torch", "tensorflow", "keras", "transformers", "datasets", "librosa", "faiss", "sklearn"),
    *("pandas", "scipy", "matplotlib", "plotly", "onnxruntime", "onnx", "code_loader", "jiwer"),
    *("hydra", "omegaconf", "submitit", "openTSNE", "numba"),
)


@dataclass(frozen=True)
class HelpTexts:
    """Texts by command, and heavy modules that were loaded."""

    texts: dict[str, str]
    loaded: list[str]


@cache
def help_texts() -> HelpTexts:
    """Ask all commands, in one process of their own."""
    finished = subprocess.run(
        [sys.executable, __file__],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return HelpTexts(**json.loads(finished.stdout))


def main() -> None:
    """Print them as JSON."""
    from hearing_analysis.cli import app as analyze
    from models.cli import app as models
    from pipeline.cli import app as pipeline
    from pipeline.command import run_app

    texts: dict[str, str] = {}
    waiting = [(app, name, ()) for name, app in programs(pipeline, models, analyze)]
    while waiting:
        app, name, words = waiting.pop()
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            run_app(app, [*words, "--help"])
        texts[" ".join((name, *words))] = text.getvalue()
        waiting += [(app, name, (*words, word)) for word in commands_in(text.getvalue())]
    loaded = [module for module in HEAVY if module in sys.modules]
    print(json.dumps({"texts": texts, "loaded": loaded}))


def programs(*apps: object) -> zip:
    """Name of every program, with its app."""
    return zip(("pipeline", "models", "analyze"), apps, strict=True)


def commands_in(text: str) -> list[str]:
    """Commands that a help lists."""
    lines = text.partition("\nCommands:\n")[2].splitlines()
    return [line.split()[0] for line in lines if line[:2] == "  " and line[2:3].strip()]


if __name__ == "__main__":
    main()
