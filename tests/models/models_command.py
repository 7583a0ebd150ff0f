"""The ``models`` command line in this process, as tests use it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from models.cli import app
from pipeline.command import run_app


@dataclass(frozen=True)
class Ending:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one sentence on standard error; no traceback, and nothing else."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("error: ")

    @property
    def report(self) -> Any:
        """What ``--json`` printed."""
        return json.loads(self.out)


def run_models(capfd: pytest.CaptureFixture[str], *arguments: object) -> Ending:
    """Run ``models`` with some arguments."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_app(app, [str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return Ending(int(str(ended.value.code)), out, err)
