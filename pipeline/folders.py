"""Output folders: what was made in them, and who may work there now.

A folder is a stage's if its ``run.json`` says so. That file is the first to be written and the last
to be removed, and it is written by one process at a time.
"""

import fcntl
import importlib.metadata
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pipeline.corpus import DATASET_FOLDER, read_json
from pipeline.errors import InputError

RUN_FILE = "run.json"
OWN_FILES = (RUN_FILE, "timing.json", "quarantine.jsonl", "remarks.jsonl")
LAUNCH_FOLDER = "launch"  # what was submitted to a cluster, and its logs
OWN_FOLDERS = (DATASET_FOLDER, "shards")
VERSIONS_OF = ("hearing-analysis", "numpy", "pyarrow", "scipy", "soundfile", "soxr")
COMPLETE, RUNNING = "complete", "running"


def status_of(root: Path, description: Mapping[str, Any]) -> str | None:
    """How far the described output has come in a folder; None if nothing has begun there.

    Raises
    ------
    InputError
        If the folder holds something else, or an output made in another way.
    """
    run = _read_run(root)
    if run is None:
        return None
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
    for root in [root for root in roots if _read_run(root) is not None]:
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


def _read_run(root: Path) -> dict[str, Any] | None:
    """What a stage wrote down in a folder; None if none has begun there."""
    # Looked for in this order, since a stage that begins just now writes run.json first.
    has_dataset = (root / DATASET_FOLDER).exists()
    run = read_json(root / RUN_FILE)
    if "stage" in run:
        return run
    for name, found in ((DATASET_FOLDER, has_dataset), (RUN_FILE, bool(run))):
        if found:
            raise InputError(
                f"{root} holds a {name} that no stage of ours made; "
                "name another output folder, or remove it yourself"
            )
    return None


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


def versions() -> dict[str, str]:
    """Versions of what decides the bytes of an output, as far as it is installed."""
    found = {}
    for name in VERSIONS_OF:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
