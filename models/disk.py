"""A disk that is full while a network is trained: every library has its own word for it."""

import errno
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from pipeline.corpus import NO_ROOM, explain_full_disk

# safetensors names the system's number; torch says no more than that writing failed.
NUMBERED = re.compile(r"os error (\d+)")
UNNUMBERED = re.compile(r"PytorchStreamWriter failed|unexpected pos")


@contextmanager
def explain_full_disk_of(output: Path) -> Iterator[None]:
    """Turn all of them into one sentence.

    Raises
    ------
    InputError
        If what is done inside finds no room.
    """
    say = threading.excepthook
    # TensorBoard writes in a thread, and tells whoever gives it more to write.
    threading.excepthook = lambda told: None if _is_full(told.exc_value) else say(told)
    try:
        with explain_full_disk(output):
            try:
                yield
            except (SafetensorError, RuntimeError) as error:
                if _is_full(error):
                    raise OSError(errno.ENOSPC, str(error)) from error
                raise
    finally:
        threading.excepthook = say


def _is_full(error: BaseException | None) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    numbered = NUMBERED.search(str(error))
    return int(numbered[1]) in NO_ROOM if numbered else bool(UNNUMBERED.search(str(error)))
