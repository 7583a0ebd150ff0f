"""Every change that CONTRIBUTING.md shows is small, applies, is clean, and does what it says."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_docs import Block, Tree, blocks, read

from hearing_analysis.config import ROOT

DOCUMENT = "CONTRIBUTING.md"
MOST_LINES = 20
SECTIONS = ("A hearing profile", "A metadata column", "A metric", "An encoder", "A stage")
BEFORE = """
pipeline import examples/mini-corpus/cv-corpus-1.0-2026-11-21 data/demo
pipeline mask --input-dir data/demo
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """A copy of the repository with the demo's data; changes of one section stay for the next."""
    tree = Tree(tmp_path_factory.mktemp("contributing"))
    shutil.copytree(ROOT / "docs", tree.root / "docs", ignore=shutil.ignore_patterns("*.png"))
    made = tree.run(Block(0, "bash", BEFORE))
    assert made.returncode == 0, made.stderr
    return tree


def section_blocks(section: str, language: str) -> list[Block]:
    """Blocks of a language between a heading and the next."""
    text = read(DOCUMENT)
    start = text.index(f"\n## {section}\n")
    first = text.count("\n", 0, start)
    last = first + text[start + 1 :].partition("\n## ")[0].count("\n")
    return [block for block in blocks(DOCUMENT, language) if first < block.line <= last + 1]


def changed_files(diff: str) -> list[str]:
    return re.findall(r"^\+\+\+ b/(\S+)$", diff, flags=re.M)


def test_every_section_shows_a_change_and_how_it_is_used() -> None:
    shown = len(list(blocks(DOCUMENT, "diff")))

    assert shown == len(SECTIONS)
    for section in SECTIONS:
        assert len(section_blocks(section, "diff")) == 1, section
        assert section_blocks(section, "bash"), section


@pytest.mark.parametrize("section", SECTIONS)
def test_a_change_is_small_applies_and_does_what_it_says(tree: Tree, section: str) -> None:
    (diff,) = section_blocks(section, "diff")
    added = [line for line in diff.text.splitlines() if re.match(r"\+(?!\+\+ )\s*\S", line)]
    assert len(added) < MOST_LINES

    apply(diff.text, tree.root)
    assert_clean([tree.root / name for name in changed_files(diff.text) if name.endswith(".py")])
    for block in section_blocks(section, "bash"):
        used = tree.run(block)
        assert used.returncode == 0, f"{block.text}\n{used.stdout}\n{used.stderr}"
    {
        "A hearing profile": profile_is_there,
        "A metadata column": column_is_there,
        "A metric": metric_is_there,
        "An encoder": encoder_is_there,
        "A stage": stage_is_there,
    }[section](tree.root)


def profile_is_there(root: Path) -> None:
    assert (root / "data/contributed_notch/dataset/dataset_dict.json").is_file()


def column_is_there(root: Path) -> None:
    assert "| `text_different_words` | integer |" in (root / "docs/columns.md").read_text()


def metric_is_there(root: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(root / "data/contributed_analysis/analysis.parquet")
    hits, length = table.column("word_hits"), table.column("word_insertions")
    assert len(hits) == len(length) == 2
    assert all(0 <= value <= 1 for value in table.column("word_precision").to_pylist())
    assert "| `word_precision` | float, ratio |" in (root / "docs/columns.md").read_text()


def encoder_is_there(root: Path) -> None:
    assert "pipeline.mining.SpectrumEncoder" in (root / "data/demo_mining/profiles.json").read_text(
        encoding="utf-8"
    )


def stage_is_there(root: Path) -> None:
    from pipeline.corpus import open_corpus

    corpus = open_corpus(root / "data/contributed_short")
    kept = [s for name in corpus.splits for s in corpus[name].column("duration_s").to_pylist()]
    quarantined = (root / "data/contributed_short/quarantine.jsonl").read_text().splitlines()
    assert kept
    assert max(kept) <= 2.5
    assert quarantined
    assert all("longer than 2.5 s" in line for line in quarantined)
    assert corpus.run()["config"]["longest_seconds"] == 2.5


def apply(diff: str, root: Path) -> None:
    """Apply it, wherever in their files the lines have come to stand since."""
    command = ["git", "apply", "--unsafe-paths", f"--directory={root}", "-"]
    applied = subprocess.run(
        command, input=diff, cwd="/", capture_output=True, text=True, check=False
    )
    assert applied.returncode == 0, applied.stderr


def assert_clean(paths: list[Path]) -> None:
    """Look at them with the settings of the repository."""
    settings = f"--config={ROOT / 'pyproject.toml'}"
    for command in (["check"], ["format", "--check"]):
        checked = subprocess.run(
            [sys.executable, "-m", "ruff", *command, settings, *map(str, paths)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout
