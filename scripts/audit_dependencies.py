"""Say which packages of ``poetry.lock`` have known vulnerabilities, with the network cut.

It reads advisories in the OSV format from a folder: a clone of
https://github.com/pypa/advisory-database or of https://github.com/github/advisory-database, or an
unpacked https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip::

    python scripts/audit_dependencies.py ADVISORIES

Ends with status 1 if a package is affected. An advisory is read as the schema says
(https://ossf.github.io/osv-schema/): a version is affected if it is listed, or lies in a range.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version
from platform_requirements import ROOT, canonical, locked_versions


@dataclass(frozen=True)
class Finding:
    """A package that an advisory is about."""

    package: str
    version: str
    advisory: str
    summary: str


def main() -> None:
    """Read the lock and the advisories, print what is affected."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("advisories", type=Path, help="folder of OSV files, .yaml or .json")
    parser.add_argument("--lock", type=Path, default=ROOT / "poetry.lock")
    arguments = parser.parse_args()
    locked = locked_versions(arguments.lock)
    files = sorted(
        path for path in arguments.advisories.rglob("*") if path.suffix in (".yaml", ".json")
    )
    if not files:
        parser.error(f"{arguments.advisories} holds no .yaml or .json file; clone a database there")
    advisories = [advisory for path in files for advisory in read_advisory(path, locked)]
    findings = sorted(
        {finding for advisory in advisories for finding in judge(advisory, locked)},
        key=lambda finding: (finding.package, finding.advisory),
    )
    for finding in findings:
        print(f"{finding.package} {finding.version}: {finding.advisory}: {finding.summary}")
    newest = max((str(advisory.get("modified", "")) for advisory in advisories), default="")[:10]
    print(
        f"{len(locked)} packages, {len(files):,} advisories, {len(advisories):,} of them about "
        f"these, the newest of {newest or 'no date'}: {len(findings)} apply",
        file=sys.stderr,
    )
    sys.exit(1 if findings else 0)


def read_advisory(path: Path, locked: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The advisory of a file, if it stands and is about a package that is locked."""
    text = path.read_text(encoding="utf-8")
    # Most are about other packages, and YAML is slow to read.
    if "PyPI" not in text:
        return
    found = json.loads(text) if path.suffix == ".json" else yaml.load(text, yaml.CSafeLoader)
    if isinstance(found, dict) and not found.get("withdrawn") and any(affected(found, locked)):
        yield found


def affected(advisory: dict[str, Any], locked: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Parts of an advisory that are about locked packages."""
    for part in advisory.get("affected", []):
        package = part.get("package", {})
        if package.get("ecosystem") == "PyPI" and canonical(package["name"]) in locked:
            yield part


def judge(advisory: dict[str, Any], locked: dict[str, str]) -> Iterator[Finding]:
    """What an advisory says of the locked versions."""
    for part in affected(advisory, locked):
        name = canonical(part["package"]["name"])
        if is_affected(locked[name], part):
            summary = advisory.get("summary") or " ".join(advisory.get("details", "").split())
            yield Finding(name, locked[name], str(advisory["id"]), summary[:120])


def is_affected(version: str, part: dict[str, Any]) -> bool:
    """Whether a version is listed, or lies in a range of the package's own versions."""
    ranges = [span["events"] for span in part.get("ranges", []) if span.get("type") == "ECOSYSTEM"]
    return version in part.get("versions", []) or any(
        lies_in(Version(version), events) for events in ranges
    )


def lies_in(version: Version, events: list[dict[str, str]]) -> bool:
    """Whether a version lies in a range: the last event at or before it says so."""
    inside = False
    for at, kind in sorted(_read_events(events)):
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def _read_events(events: list[dict[str, str]]) -> Iterator[tuple[Version, str]]:
    """Events by version; what ends a range at a version that is none does not end it."""
    for kind, text in ((kind, text) for event in events for kind, text in event.items()):
        try:
            yield Version(text), kind
        except InvalidVersion:
            if kind == "introduced":
                yield Version("0"), kind


if __name__ == "__main__":
    main()
