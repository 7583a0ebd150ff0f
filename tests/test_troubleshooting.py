"""What docs/troubleshooting.md shows is what the commands print."""

import errno
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from test_docs import PROGRAMS, Tree, blocks, prose

from pipeline.command import run_app
from pipeline.corpus import explain_full_disk
from pipeline.folders import lock
from pipeline.workers import WorkerPool

DOCUMENT = "docs/troubleshooting.md"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A copy of the repository with a few clips, and no network, worker or key."""
    tree = Tree(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, value in {"SLURM_CPUS_PER_TASK": "0", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("PIPELINE_SHARD", "MDC_API_KEY", "HEARING_ANALYSIS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tree


def shown() -> list[tuple[str, list[str]]]:
    """Every command of the document, with the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks(DOCUMENT, "text"):
        for line in block.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def run(command: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status, and the last line of standard error."""
    program, *arguments = shlex.split(command)
    if program not in PROGRAMS:
        return subprocess.run(["bash", "-c", command], check=True).returncode, ""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_app(PROGRAMS[program], arguments)
    err = capfd.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in err), err
    return int(str(ended.value.code)), err[-1] if err else ""


def test_every_sentence_is_what_the_command_says(
    tree: Tree, capfd: pytest.CaptureFixture[str]
) -> None:
    assert len(shown()) > 30
    for command, lines in shown():
        status, said = run(command, capfd)
        if not lines:
            assert status == 0, f"{command}: {said}"
            continue
        (expected,) = lines
        pattern = re.escape(expected).replace("…", ".*")
        assert re.fullmatch(pattern, said), f"{command}\nshown: {expected}\nsaid:  {said}"
        assert status == (1 if "quarantined" in said else 2)


def die(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_is_said_while_a_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    section = prose(DOCUMENT).partition("## While it runs")[2].partition("\n## ")[0]
    sentences = re.findall(r"^\| `error: (.*?)` \|", section, flags=re.M)
    monkeypatch.chdir(tmp_path)
    said = [_message(fault) for fault in (_full_disk, _locked, _killed_worker)]

    monkeypatch.setattr("typer.main.get_command", _interrupt)
    with pytest.raises(SystemExit):
        run_app(PROGRAMS["pipeline"], [])
    said.append(capfd.readouterr().err.strip().removeprefix("error: "))

    assert sentences == said


def _message(fault: object) -> str:
    try:
        fault()  # type: ignore[operator]
    except Exception as error:
        return str(error)
    return ""


def _full_disk() -> None:
    with explain_full_disk(Path("data")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _locked() -> None:
    root = Path("data/demo")
    with lock([root], exclusive=True), lock([root], exclusive=True):
        pass


def _killed_worker() -> None:
    with WorkerPool(die, 1) as pool:
        list(pool.run([0]))


def _interrupt(app: object) -> None:
    raise KeyboardInterrupt
