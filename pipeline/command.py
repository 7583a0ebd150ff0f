"""What the three command lines share: exit codes, option spelling, quiet logs.

Exit status 0: done. 1: finished, but a check failed or too many clips were quarantined.
2: bad usage or input, told in one sentence on standard error. 130: interrupted. 143: terminated, as
batch systems do before they kill.
"""

import logging
import os
import re
import signal
import sys
from typing import NoReturn, TypeVar

import typer
import typer.main
from typer.exceptions import TyperException

from pipeline.corpus import SPLIT_ORDER
from pipeline.errors import CheckFailed, HearingAnalysisError, InputError
from pipeline.masking.profiles import PROFILES

Choice = TypeVar("Choice", bound=str)
OPTIONS_OF_SEVERAL = ("--splits", "--profiles")
WORDS_OF_SEVERAL = {*SPLIT_ORDER, "dev", *PROFILES}
# Profiles that no list can name: flat ones, and those of files.
PROFILE_WORD = re.compile(r"flat[\d.]+|.+\.(yaml|yml|csv)(:[^:/]+)?", re.IGNORECASE)
INTERRUPTED, TERMINATED = 130, 143
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def run_app(app: typer.Typer, arguments: list[str] | None = None) -> NoReturn:
    """Run a Typer app and leave the process with the exit status its outcome deserves.

    Long options may be spelt with underscores (``--input_dataset``) as well as with hyphens.
    """
    # Silence a library that would otherwise contact its vendor when imported.
    os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")
    signal.signal(signal.SIGTERM, _stop)
    try:
        status = _invoke(app, arguments)
    except CheckFailed as error:
        _complain(error)
        status = 1
    except HearingAnalysisError as error:
        _complain(error)
        status = 2
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:  # which is also how Typer returns an interrupt
        # The handler takes itself away when it is called.
        was_terminated = signal.getsignal(signal.SIGTERM) is not _stop
        status = TERMINATED if was_terminated else INTERRUPTED
        how = "terminated" if was_terminated else "interrupted"
        _complain(f"{how}; run the same command again to go on where it stopped")
    sys.stdout.flush()
    sys.exit(status)


def _stop(number: int, frame: object) -> NoReturn:
    """Stop as Ctrl-C does, so that workers end and nothing half-written stays; at once if again."""
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def gather(arguments: list[str]) -> list[str]:
    """Join the words behind an option that takes several: ``--splits train test``.

    Only words that can be meant so: what else follows is an argument of its own.
    """
    gathered: list[str] = []
    for argument in arguments:
        option = gathered[-2] if len(gathered) > 1 else ""
        if option in OPTIONS_OF_SEVERAL and _is_meant(option, argument):
            gathered[-1] += f",{argument}"
        else:
            gathered.append(argument)
    return gathered


def _is_meant(option: str, word: str) -> bool:
    profile = option == "--profiles" and PROFILE_WORD.fullmatch(word) is not None
    return profile or word in WORDS_OF_SEVERAL


def hyphenate(arguments: list[str]) -> list[str]:
    """Spell every long option with hyphens: ``--input_dataset=x`` becomes ``--input-dataset=x``."""
    spelt: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            return spelt + arguments[position:]
        name, equals, value = argument.partition("=")
        spelt.append(name.replace("_", "-") + equals + value if name[:2] == "--" else argument)
    return spelt


def one_of(option: str, value: str, allowed: tuple[Choice, ...]) -> Choice:
    """Return the allowed value that was given.

    Raises
    ------
    InputError
        If it is not an allowed one; the message lists them.
    """
    for choice in allowed:
        if choice == value:
            return choice
    raise InputError(f"{option} {value!r} is not one of: {', '.join(allowed)}")


def split_names(values: list[str] | None) -> tuple[str, ...] | None:
    """Flatten a repeated, comma- or space-separated option; None if it was not given."""
    names = [name for value in values or () for name in value.replace(",", " ").split()]
    return tuple(dict.fromkeys(names)) or None


def configure_logging(level: str = "INFO") -> None:
    """Send log records of ``level`` and above to standard error, one plain line each."""
    logging.basicConfig(
        level=one_of("--log-level", level.upper(), LOG_LEVELS),
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def _invoke(app: typer.Typer, arguments: list[str] | None) -> int:
    given = gather(hyphenate(sys.argv[1:] if arguments is None else arguments))
    try:
        result = typer.main.get_command(app).main(args=given, standalone_mode=False)
    except TyperException as error:
        # Usage errors know how to show themselves with the usage line; plain ones have a message.
        show = getattr(error, "show", None)
        show() if show else _complain(error)
        return int(error.exit_code)
    return result if isinstance(result, int) else 0


def _complain(message: object) -> None:
    print(f"error: {message}", file=sys.stderr)
