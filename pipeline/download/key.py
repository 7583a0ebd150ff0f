"""The API key: where it comes from, and that it is seen nowhere."""

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pipeline.errors import InputError

KEY_VARIABLE = "MDC_API_KEY"
FROM_STANDARD_INPUT = "-"
ERASED = "x"

logger = logging.getLogger("pipeline.download")


@dataclass(frozen=True)
class ApiKey:
    """A key that does not show itself when it is printed, logged or formatted."""

    value: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what no header can carry; the sentence does not quote it."""
        if not (self.value.isascii() and self.value.isprintable() and " " not in self.value):
            raise InputError(
                "the API key holds characters that no key has, such as a space or a line break; "
                f"copy it again into {KEY_VARIABLE}"
            )

    @property
    def header(self) -> dict[str, str]:
        """What the service wants to see, and nobody else may."""
        return {"Authorization": f"Bearer {self.value}"}

    @classmethod
    def find(cls, token: str | None) -> Self:
        """Take the key from ``--token``, standard input (``--token -``) or the environment.

        One on the command line should have been hidden by :func:`hide_argument`.

        Raises
        ------
        InputError
            If there is none.
        """
        if token == FROM_STANDARD_INPUT:
            value = sys.stdin.readline()
        elif token:
            logger.warning(
                "a key on the command line may be seen by all users of this machine until it is "
                "erased there, as it now is where the system allows; better set %s, or give "
                "--token - and the key on standard input",
                KEY_VARIABLE,
            )
            value = token
        else:
            value = os.environ.get(KEY_VARIABLE, "")
        if not value.strip():
            raise InputError(
                "an API key of the Mozilla Data Collective is needed; make one in your account "
                f"there and put it into the environment variable {KEY_VARIABLE}"
            )
        return cls(value.strip())


def hide_argument(secret: str) -> bool:
    """Overwrite an argument of this process, so that lists of processes no longer show it.

    Linux shows there what stands in the memory between ``arg_start`` and ``arg_end`` (proc(5)),
    which a process may write to. Elsewhere nothing is done.

    Returns
    -------
    bool
        Whether it stood there and was overwritten.
    """
    sys.argv = [_without(secret, argument) for argument in sys.argv]
    try:
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            start, end = _place_of_arguments()
            memory.seek(start)
            shown = memory.read(end - start)
            arguments = map(os.fsdecode, shown.split(b"\0"))
            hidden = os.fsencode("\0".join(_without(secret, argument) for argument in arguments))
            if hidden == shown or len(hidden) != len(shown):
                return False
            memory.seek(start)
            memory.write(hidden)
    except (OSError, ValueError, IndexError):
        return False
    return True


def _place_of_arguments() -> tuple[int, int]:
    # Behind the name of the program, which may hold anything, the fields count from the third.
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[48 - 3]), int(fields[49 - 3])


def _without(secret: str, argument: str) -> str:
    """Replace an argument that is the secret, or an option that is given it."""
    name, equals, value = argument.partition("=")
    if secret not in (argument, value):
        return argument
    return ("" if argument == secret else name + equals) + ERASED * len(os.fsencode(secret))
