"""What ``leap push`` uploads of the code: the rules of the client, so that its result can be tried.

Globs of ``include`` minus those of ``exclude``, the entry file in any case; relative to the root,
with ``**`` over folders. The client itself is silent about a pattern that matches nothing, and asks
back without a file of requirements; here both are errors.
"""

import io
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from hearing_analysis.config import ROOT, AnalysisConfig
from pipeline.errors import CheckFailed

LEAP_FILE = "leap.yaml"
REQUIREMENTS = "requirements.txt"


def bundle_files(root: Path = ROOT) -> list[Path]:
    """List the files of the bundle, relative to the root.

    Raises
    ------
    CheckFailed
        If there is no entry file or no file of requirements, or a pattern matches nothing.
    """
    content = _read(root / LEAP_FILE)
    excluded = [_regex(pattern) for pattern in content.get("exclude") or []]
    files: set[Path] = set()
    for pattern in content["include"]:
        matched = {path.relative_to(root) for path in root.glob(pattern) if path.is_file()}
        if not matched:
            raise CheckFailed(f"{LEAP_FILE} includes {pattern!r}, which matches no file")
        files |= {
            path
            for path in matched
            if not any(regex.fullmatch(path.as_posix()) for regex in excluded)
        }
    files.add(Path(content["entryFile"]))
    for needed in (content["entryFile"], REQUIREMENTS):
        if Path(needed) not in files or not (root / needed).is_file():
            raise CheckFailed(f"the bundle lacks {needed}; include it in {LEAP_FILE}")
    return sorted(files)


def write_bundle(path: Path, root: Path = ROOT) -> int:
    """Write the bundle as the client does, gzipped tar with plain paths, and count its files."""
    files = bundle_files(root)
    with tarfile.open(path, "w:gz") as archive:
        for file in files:
            content = (root / file).read_bytes()
            entry = tarfile.TarInfo(file.as_posix())
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return len(files)


@contextmanager
def unpacked_bundle(root: Path = ROOT) -> Iterator[tuple[Path, int]]:
    """Give the folder of an unpacked bundle, and how many files it has."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        n_files = write_bundle(folder / "bundle.tar.gz", root)
        with tarfile.open(folder / "bundle.tar.gz") as archive:
            archive.extractall(folder / "bundle", filter="data")
        yield folder / "bundle", n_files


def place_config(config: AnalysisConfig, bundle: Path) -> Path:
    """Write a configuration into a bundle, and lay the model beside its JSON files.

    The data are where they are, as on the platform's data volume; and the model is where the
    integration test looks for it, which on the platform is not there at all.
    """
    values = asdict(config) | {
        "data_root": str(ROOT / config.data_root),
        "clip_tables": [str(path) for path in config.table_paths],
        "profiles": list(config.profiles),
    }
    path = bundle / "conf" / "analysis.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    model = bundle / config.model
    if model.is_relative_to(bundle):
        model.mkdir(parents=True, exist_ok=True)
        for file in config.model_folder.glob("*.onnx"):
            (model / file.name).symlink_to(file)
    return path


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    # The client would take an empty list for everything, secrets and data included.
    if not isinstance(content, dict) or not content.get("include") or not content.get("entryFile"):
        raise CheckFailed(f"{path} needs entryFile and a list of patterns in include")
    return content


def _regex(pattern: str) -> re.Pattern[str]:
    """Translate a glob: ``*`` stays in a folder, ``**`` does not."""
    parts = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(token, re.escape(token)) for token in tokens))
