"""Write ``requirements.txt``, which Tensorleap installs beside its own base image.

It holds the direct main dependencies of ``pyproject.toml``, each in the version that
``poetry.lock`` holds. The platform reads neither of those, and brings code-loader itself.

    python scripts/platform_requirements.py            # write it
    python scripts/platform_requirements.py --check    # or say whether it is up to date
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements.txt"
PROVIDED = ("code-loader",)
HEADER = "# Made by scripts/platform_requirements.py from poetry.lock; do not edit.\n"


def main() -> None:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    wanted = requirements()
    if not parser.parse_args().check:
        REQUIREMENTS.write_text(wanted, encoding="utf-8")
        return
    found = REQUIREMENTS.read_text(encoding="utf-8") if REQUIREMENTS.exists() else ""
    if found != wanted:
        sys.exit(f"{REQUIREMENTS} does not match poetry.lock; run {Path(__file__).name} again")


def requirements(root: Path = ROOT) -> str:
    """Text of the file, for the ``pyproject.toml`` and ``poetry.lock`` in a folder."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = locked_versions(root / "poetry.lock")
    names = sorted(canonical(line) for line in project["dependencies"])
    lines = [f"{name}=={versions[name]}\n" for name in names if name not in PROVIDED]
    return HEADER + "".join(lines)


def locked_versions(lock: Path) -> dict[str, str]:
    """Version of every package that ``poetry.lock`` names."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    return {canonical(package["name"]): package["version"] for package in packages}


def canonical(requirement: str) -> str:
    """Name of a requirement as package indexes compare it: ``Foo_Bar[x] (>=1)`` is ``foo-bar``."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    if name is None:
        sys.exit(f"pyproject.toml: {requirement!r} names no package")
    return re.sub(r"[-_.]+", "-", name.group()).lower()


if __name__ == "__main__":
    main()
