"""What must be true of the repository as a whole."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hearing_analysis.config import ROOT

PACKAGES = ("pipeline", "models", "hearing_analysis")
LONGEST_MODULE = 400  # lines
# Where people and machines keep things of their own.
MACHINE_PATH = r"(?<![\w.<])/(?:home|Users|root|work|mnt|opt|scratch)/[\w.-]+"
PUBLIC_INDEX = "pypi.org"


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Content of every tracked text file, by its path."""
    found = {}
    for path in tracked_files():
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content[:8000]:
            found[path.relative_to(ROOT).as_posix()] = content.decode("utf-8", errors="replace")
    return found


def test_the_lock_names_no_source() -> None:
    lock = tomllib.loads((ROOT / "poetry.lock").read_text(encoding="utf-8"))

    assert len(lock["package"]) > 50
    assert [package["name"] for package in lock["package"] if "source" in package] == []
    files = [file for package in lock["package"] for file in package["files"]]
    assert all(set(file) == {"file", "hash"} for file in files)


def test_the_requirements_of_the_platform_are_those_of_the_lock() -> None:
    script = ROOT / "scripts" / "platform_requirements.py"
    checked = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_long(package: str) -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / package).rglob("*.py")
    }

    assert lengths
    assert {name: n for name, n in lengths.items() if n >= LONGEST_MODULE} == {}


def test_no_file_names_a_machine(texts: dict[str, str]) -> None:
    assert find(rf"{re.escape(str(ROOT))}\b|{MACHINE_PATH}", texts) == {}


def test_no_file_names_a_package_index(texts: dict[str, str]) -> None:
    hosts = {urlsplit(index).hostname or "" for index in package_indexes()} - {"", PUBLIC_INDEX}
    patterns = [r"https?://\S+/simple\b", *map(re.escape, sorted(hosts))]

    assert find("|".join(patterns), texts) == {}


def find(pattern: str, texts: dict[str, str]) -> dict[str, str]:
    """First match of a pattern in every file that has one."""
    matches = {name: re.search(pattern, text) for name, text in texts.items()}
    return {name: match.group() for name, match in matches.items() if match}


def package_indexes() -> list[str]:
    """Indexes that pip is told to use on this machine."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    return re.findall(r"https?://[^\s'\"]+", listed.stdout)
