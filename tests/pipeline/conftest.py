"""The command line as the tests of the pipeline use it; from here they import `makers`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_outcome import Command, Outcome

from pipeline.cli import app
from pipeline.command import run_app


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``pipeline`` with some arguments, in this process and without workers."""
    for name in ("PIPELINE_SHARD", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, workers: int | None = 0) -> Outcome:
        given = [str(argument) for argument in arguments]
        if workers is not None:
            given += ["--num-workers", str(workers)]
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(app, given)
        out, err = capfd.readouterr()
        return Outcome(int(str(ended.value.code)), out, err)

    return run


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def quarantine() -> Callable[[Path], dict[str, str]]:
    """Reasons by path, of what a stage left out."""

    def read(root: Path) -> dict[str, str]:
        entries = read_lines(root / "quarantine.jsonl")
        reasons = {entry["path"]: entry["reason"] for entry in entries}
        assert len(reasons) == len(entries)
        return reasons

    return read
