"""The ``models`` command line in this process, as tests use it."""

import pytest
from command_outcome import Outcome

from models.cli import app
from pipeline.command import run_app


def run_models(capfd: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run ``models`` with some arguments."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_app(app, [str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return Outcome(int(str(ended.value.code)), out, err)
