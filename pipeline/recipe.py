"""``pipeline run``: a recipe is a list of command lines, run one after the other.

Every command knows for itself what is done already, so a recipe that was stopped is simply run
again. This module imports none of them: each runs in a process of its own, as if typed.

.. code-block:: yaml

    steps:
      - pipeline import examples/mini-corpus/cv-corpus-1.0-2026-11-21 data/demo
      - pipeline mask --input-dir data/demo
"""

import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console

from pipeline.errors import CheckFailed, InputError
from pipeline.yaml_files import read_yaml

MODULE_OF = {
    "pipeline": "pipeline.cli",
    "models": "models.cli",
    "analyze": "hearing_analysis.cli",
}
INTERRUPTED = 130  # exit status of a step that was


@dataclass(frozen=True)
class Step:
    """One command line of a recipe."""

    program: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, line: str) -> Self:
        """Split a command line as a shell would, without being one.

        Raises
        ------
        InputError
            If it does not start with one of our commands.
        """
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise InputError(f"the step {line!r} cannot be read: {error}") from error
        if not words or words[0] not in MODULE_OF:
            known = ", ".join(MODULE_OF)
            raise InputError(f"the step {line!r} does not start with one of: {known}")
        return cls(words[0], tuple(words[1:]))

    @property
    def name(self) -> str:
        """The subcommand, such as ``mask``."""
        return self.arguments[0] if self.arguments else self.program

    @property
    def command(self) -> list[str]:
        """What to execute, with this very Python."""
        return [sys.executable, "-m", MODULE_OF[self.program], *self.arguments]

    def __str__(self) -> str:
        """Spell the step as it would be typed."""
        return shlex.join([self.program, *self.arguments])


def read_recipe(path: Path) -> tuple[Step, ...]:
    """Read the steps of a recipe.

    Raises
    ------
    MissingPathError, InputError
        If the file is missing or is not a recipe.
    """
    content = read_yaml(path, "name a recipe like conf/demo.yaml")
    steps = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise InputError(f"{path} is not a recipe: it needs a list of command lines under 'steps'")
    return tuple(Step.parse(step) for step in steps)


def run_recipe(path: Path, *, until: str | None = None, dry_run: bool = False) -> None:
    """Run a recipe, or print its steps.

    Parameters
    ----------
    path : Path
    until : str, optional
        Stop after the last step of this name.
    dry_run : bool

    Raises
    ------
    InputError
        If the recipe cannot be read, or has no step named ``until``.
    CheckFailed
        If a step fails; it has said why.
    KeyboardInterrupt
        If a step was interrupted.
    """
    steps = _up_to(read_recipe(path), until)
    console = Console(stderr=True, highlight=False)
    for number, step in enumerate(steps, 1):
        console.print(f"{number}/{len(steps)} {step}", soft_wrap=True, markup=False, style="bold")
        if not dry_run:
            _run(step, console)


def _up_to(steps: tuple[Step, ...], until: str | None) -> tuple[Step, ...]:
    if until is None:
        return steps
    places = [place for place, step in enumerate(steps) if step.name == until]
    if not places:
        names = ", ".join(dict.fromkeys(step.name for step in steps))
        raise InputError(f"the recipe has no step {until!r}; its steps are: {names}")
    return steps[: places[-1] + 1]


def _run(step: Step, console: Console) -> None:
    started = time.monotonic()
    status = subprocess.run(step.command, check=False).returncode
    if status in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    if status:
        failure = InputError if status == 2 else CheckFailed
        raise failure(f"the step `{step}` ended with status {status}; mend it and run again")
    console.print(f"    [dim]{time.monotonic() - started:.1f} s[/]")
