"""Known vulnerabilities of locked packages, from advisories in the OSV format."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hearing_analysis.config import ROOT

SCRIPT = ROOT / "scripts" / "audit_dependencies.py"
LOCK = '[[package]]\nname = "Some_Package"\nversion = "1.10.0"\n'


def advisory(**changes) -> dict:
    """About some-package, from 1.9 on."""
    part = {
        "package": {"ecosystem": "PyPI", "name": "some-package"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.9"}]}],
        **changes.pop("part", {}),
    }
    return {"id": "X-1", "summary": "It leaks.", "affected": [part], **changes}


def audit(folder: Path, *advisories: dict, suffix: str = ".json") -> subprocess.CompletedProcess:
    (folder / "poetry.lock").write_text(LOCK)
    for number, content in enumerate(advisories):
        dump = json.dumps if suffix == ".json" else yaml.safe_dump
        (folder / f"{number}{suffix}").write_text(dump(content))
    command = [sys.executable, SCRIPT, folder, "--lock", folder / "poetry.lock"]
    return subprocess.run(command, capture_output=True, text=True)


def events(*pairs: dict[str, str]) -> dict:
    return {"ranges": [{"type": "ECOSYSTEM", "events": list(pairs)}]}


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_an_affected_package_is_named(tmp_path: Path, suffix: str):
    ended = audit(tmp_path, advisory(), suffix=suffix)
    assert ended.returncode == 1
    assert ended.stdout == "some-package 1.10.0: X-1: It leaks.\n"


@pytest.mark.parametrize(
    ("part", "affected"),
    [
        (events({"introduced": "0"}, {"fixed": "1.10.0"}), False),
        (events({"introduced": "0"}, {"fixed": "1.10.1"}), True),
        (events({"fixed": "1.10.1"}, {"introduced": "0"}), True),  # in any order
        (events({"introduced": "0"}, {"last_affected": "1.10.0"}), True),
        (events({"introduced": "0"}, {"last_affected": "1.9"}), False),
        (events({"introduced": "2"}), False),
        (events({"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "1.10"}), True),
        (events({"introduced": "0"}, {"fixed": "no version"}), True),
        ({"ranges": [], "versions": ["1.10.0"]}, True),
        ({"ranges": [], "versions": ["1.1"]}, False),
        ({"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
        ({"package": {"ecosystem": "npm", "name": "some-package"}}, False),
        ({"package": {"ecosystem": "PyPI", "name": "another"}}, False),
    ],
)
def test_ranges_and_lists_of_versions(tmp_path: Path, part: dict, affected: bool):
    assert audit(tmp_path, advisory(part=part)).returncode == affected


def test_an_advisory_that_was_withdrawn_is_none(tmp_path: Path):
    assert audit(tmp_path, advisory(withdrawn="2024-01-01T00:00:00Z")).returncode == 0


def test_a_folder_without_advisories_is_no_clean_bill(tmp_path: Path):
    ended = audit(tmp_path)
    assert ended.returncode == 2
    assert "holds no .yaml or .json file" in ended.stderr
