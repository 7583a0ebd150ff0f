"""What is uploaded: the client's rules, and nothing that has no business on the platform."""

import re
from pathlib import Path

import pytest
import yaml

from hearing_analysis.config import ROOT
from hearing_analysis.tensorleap.bundle import bundle_files, unpacked_bundle
from pipeline.errors import CheckFailed


def project(folder: Path, **content: object) -> Path:
    for name in (
        "entry.py",
        "requirements.txt",
        "pkg/a.py",
        "pkg/sub/b.py",
        "pkg/__pycache__/c.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / ".env").write_text("SECRET=1")
    given = {"entryFile": "entry.py", "include": ["requirements.txt", "pkg/**/*.py"], **content}
    (folder / "leap.yaml").write_text(yaml.safe_dump(given))
    return folder


def names(files: list[Path]) -> set[str]:
    return {file.as_posix() for file in files}


def test_includes_minus_excludes_and_the_entry_file_in_any_case(tmp_path):
    root = project(tmp_path, exclude=["**/__pycache__/**"])
    assert names(bundle_files(root)) == {
        *("entry.py", "requirements.txt", "pkg/a.py", "pkg/sub/b.py")
    }


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("pkg/sub", {"pkg/a.py", "pkg/sub/b.py"}),  # a folder's name alone excludes nothing in it
        ("pkg/sub/**", {"pkg/a.py"}),
        ("pkg/*.py", {"pkg/sub/b.py"}),
        ("**/?.py", set()),
    ],
)
def test_excludes_follow_the_client_s_globs(tmp_path, exclude, left):
    root = project(tmp_path, exclude=[exclude, "**/__pycache__/**"])
    assert names(bundle_files(root)) - {"entry.py", "requirements.txt"} == left


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"include": ["requirements.txt", "nothing/*.py"]}, "'nothing/\\*.py', which matches no"),
        ({"include": ["pkg/**/*.py"]}, "lacks requirements.txt"),
        ({"entryFile": "other.py"}, "lacks other.py"),
        ({"include": []}, "needs entryFile and a list of patterns"),
    ],
)
def test_what_the_client_would_pass_over_in_silence_is_an_error(tmp_path, content, message):
    with pytest.raises(CheckFailed, match=message):
        bundle_files(project(tmp_path, **content))


def test_a_bundle_unpacks_to_its_files(tmp_path):
    root = project(tmp_path, exclude=["**/__pycache__/**"])
    with unpacked_bundle(root) as (bundle, n_files):
        unpacked = {p.relative_to(bundle) for p in bundle.rglob("*") if p.is_file()}
        assert unpacked == set(bundle_files(root))
        assert n_files == len(unpacked)


def test_our_bundle_holds_code_and_json_and_one_configuration():
    files = names(bundle_files(ROOT))
    assert {"leap_binder.py", "requirements.txt", "conf/analysis.yaml"} <= files
    kinds = {Path(name).suffix for name in files}
    assert kinds == {".py", ".txt", ".yaml", ".json"}
    strangers = re.compile(
        r"(^|/)(\.|data/|tests/|__pycache__)|(train|export)\w*\.py|dashboard|pyproject"
    )
    assert [name for name in files if strangers.search(name)] == []
    assert sum((ROOT / name).stat().st_size for name in files) < 1_000_000
