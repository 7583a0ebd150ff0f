"""Output folders: what was made in them, and who may work there now.

A folder is a stage's if its ``run.json`` says so. That file is the first to be written and the last
to be removed, and it is written by one process at a time.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from pipeline.corpus import DATASET_FOLDER, read_json
from pipeline.errors import InputError

RUN_FILE = "run.json"
OWN_FILES = (RUN_FILE, "timing.json", "quarantine.jsonl")
OWN_FOLDERS = (DATASET_FOLDER, "shards")
COMPLETE, RUNNING = "complete", "running"


def status_of(root: Path, description: Mapping[str, Any]) -> str | None:
    """How far the described output has come in a folder; None if nothing has begun there.

    Raises
    ------
    InputError
        If the folder holds something else, or an output made in another way.
    """
    if not _is_ours(root):
        _refuse_foreign(root)
        return None
    run = read_json(root / RUN_FILE)
    differences = _differences(run, description)
    if differences:
        raise InputError(
            f"{root} was made with other settings ({'; '.join(differences)}); "
            "give --overwrite to make it again, or name another output folder"
        )
    return run["status"]


def clear(roots: Sequence[Path]) -> None:
    """Remove what a stage made, and nothing else that may lie in the folders.

    Raises
    ------
    InputError
        If one of them holds a dataset of somebody else; then nothing is removed anywhere.
    """
    ours = [root for root in roots if _is_ours(root)]
    for root in roots:
        if root not in ours:
            _refuse_foreign(root)
    for root in ours:
        for folder in OWN_FOLDERS:
            if (root / folder).exists():
                shutil.rmtree(root / folder)
        for name in reversed(OWN_FILES):
            (root / name).unlink(missing_ok=True)


@contextmanager
def lock(roots: Sequence[Path], *, exclusive: bool, patience_seconds: float = 0) -> Iterator[None]:
    """Hold folders, made if they are missing, for one process or for the tasks of one array.

    Raises
    ------
    InputError
        If another run holds one of them for longer than ``patience_seconds``.
    """
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    deadline = time.monotonic() + patience_seconds
    with ExitStack() as held:
        for root in roots:
            file = held.enter_context(_open_lock(root))
            while not _try_lock(file, kind):
                if time.monotonic() >= deadline:
                    raise InputError(
                        f"another run is working on {root}; "
                        "wait for it, or name another output folder"
                    )
                time.sleep(0.05)
        yield


def _is_ours(root: Path) -> bool:
    return "stage" in read_json(root / RUN_FILE)


def _refuse_foreign(root: Path) -> None:
    for name in (DATASET_FOLDER, RUN_FILE):
        if (root / name).exists():
            raise InputError(
                f"{root} holds a {name} that no stage of ours made; "
                "name another output folder, or remove it yourself"
            )


def _differences(run: Mapping[str, Any], description: Mapping[str, Any]) -> list[str]:
    then, now = dict(run.get("config", {})), dict(description["config"])
    then["stage"], now["stage"] = run.get("stage"), description["stage"]
    found = [
        f"{key}: {json.dumps(then.get(key))} then, {json.dumps(now.get(key))} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    if not found and run.get("source_digest") != description["source_digest"]:
        found = ["the input has changed since"]
    return found


def _open_lock(root: Path) -> IO[str]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return (root / ".lock").open("w")
    except OSError as error:
        raise InputError(f"{root} cannot be written to: {error.strerror}") from error


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
