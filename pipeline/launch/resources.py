"""What a job gets: from the command line, the environment, ``.env.local`` and ``conf/slurm.yaml``.

In this order; ``.env.local`` holds what is true of a site, the other file what is true of the work.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIG_FILE = Path("conf") / "slurm.yaml"
SITE_FILE = Path(".env.local")
# What sbatch itself reads of a site; here it may stand in .env.local too.
SITE_VARIABLES = {
    "account": "SBATCH_ACCOUNT",
    "partition": "SBATCH_PARTITION",
    "qos": "SBATCH_QOS",
    "constraint": "SBATCH_CONSTRAINT",
}
MEMORY = re.compile(r"\d+[KMGT]?", re.IGNORECASE)
# Of sbatch: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].
TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(\w+)=(.*)")
NUMBERS = {"array_size": 1, "cpus_per_task": 1, "retries": 0}


@dataclass(frozen=True)
class Resources:
    """What to ask SLURM for; None where nothing is said.

    Attributes
    ----------
    array_size, cpus_per_task : int
        Tasks, and cores of each.
    memory, time : str
        Of a task, as ``sbatch`` reads them.
    account, partition, qos, constraint : str
        As ``sbatch`` has them.
    retries : int
        How often a task that failed is requeued.
    setup : tuple of str
        Lines of shell that a job runs first, such as ``module load …``.
    """

    array_size: int | None = None
    cpus_per_task: int | None = None
    memory: str | None = None
    time: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    retries: int | None = None
    setup: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what sbatch would misunderstand."""
        for name, least in NUMBERS.items():
            value = getattr(self, name)
            is_number = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (is_number and value >= least):
                raise InputError(f"{name} {value!r} is not a whole number of at least {least}")
        for name in ("memory", "time", *SITE_VARIABLES):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value and value.isprintable()):
                raise InputError(f"{name} {value!r} is not a word; put it between quotes")
        if self.memory is not None and not MEMORY.fullmatch(self.memory):
            raise InputError(f"memory {self.memory!r} is not a size such as 32G or 500M")
        if self.time is not None:
            minutes_of(self.time)
        if self.setup is not None and not all(isinstance(line, str) for line in self.setup):
            raise InputError("setup is not a list of shell lines")

    def over(self, other: "Resources") -> "Resources":
        """These, and where nothing is said those of another."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{name: v for name, v in given.items() if v is not None})


def minutes_of(time: str) -> int:
    """Read a time limit as sbatch does, in whole minutes.

    Raises
    ------
    InputError
        If it is none.
    """
    match = TIME.fullmatch(time)
    if match is None:
        raise InputError(f"time {time!r} is not a time limit such as 90, 8:00:00 or 1-12:00:00")
    days, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[1] is not None:  # days-hours:minutes:seconds
        seconds = 86_400 * days + 3600 * first + 60 * second + third
    elif match[4] is not None:  # hours:minutes:seconds
        seconds = 3600 * first + 60 * second + third
    else:  # minutes:seconds
        seconds = 60 * first + second
    return max(1, -(-seconds // 60))


def settle(asked: Resources) -> Resources:
    """Fill in what was not asked for.

    Raises
    ------
    InputError
        If one of the files cannot be read, or leaves out what must be said.
    """
    site = read_site(_find(SITE_FILE))
    environment = {**site, **os.environ}
    of_site: dict[str, Any] = {
        name: environment[variable]
        for name, variable in SITE_VARIABLES.items()
        if environment.get(variable)
    }
    path = _find(CONFIG_FILE)
    of_work = read_resources(path) if path else Resources()
    settled = asked.over(Resources(**of_site)).over(of_work)
    for name in ("array_size", "cpus_per_task", "memory", "time", "retries"):
        if getattr(settled, name) is None:
            option = name.replace("_", "-")
            raise InputError(f"{name} is missing in {path or CONFIG_FILE}; give it as --{option}")
    return settled


def read_resources(path: Path) -> Resources:
    """Read ``conf/slurm.yaml``.

    Raises
    ------
    InputError
        If it is not a list of names we know, each with a value.
    """
    content = read_yaml(path, "restore it from the repository")
    content = {} if content is None else content
    known = [f.name for f in fields(Resources)]
    unknown = sorted(map(str, content.keys() - set(known))) if isinstance(content, dict) else []
    if not isinstance(content, dict) or unknown:
        what = f"{unknown[0]!r} is none of them" if unknown else "it is no list of names"
        raise InputError(f"{path} may hold {', '.join(known)}, and {what}")
    values = {name: value for name, value in content.items() if value is not None}
    if "setup" in values:
        lines = values["setup"]
        values["setup"] = tuple(lines) if isinstance(lines, list) else (lines,)
    try:
        return Resources(**values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_site(path: Path | None) -> Mapping[str, str]:
    """Read the assignments of ``.env.local``, without being a shell: no commands, no expansion."""
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    for line in lines:
        match = ASSIGNMENT.fullmatch(line)
        if match:
            value = match[2].split(" #")[0].strip()
            found[match[1]] = value.strip("\"'")
    return found


def _find(name: Path) -> Path | None:
    """Look for a file where the command runs, then in the repository."""
    for folder in (Path(), ROOT):
        if (folder / name).is_file():
            return folder / name
    return None
