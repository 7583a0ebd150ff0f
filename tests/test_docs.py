"""The documents: their commands run, their options exist, their tables are complete.

Every ```bash and ```python block of README.md and docs/ runs, in reading order, in a copy of the
repository whose corpus has six clips per split. Commands that need what a test has not stand in
```console blocks; `NEEDS` says what that is.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer.main

from hearing_analysis.cli import app as analyze_app
from hearing_analysis.config import CONFIG_VARIABLE, ROOT, AnalysisConfig
from hearing_analysis.evaluate import analysis_schema
from hearing_analysis.metadata.audio import DESCRIPTORS, STATISTICS
from models.cli import app as models_app
from pipeline.cli import app as pipeline_app
from pipeline.masking.profiles import PROFILES

READING_ORDER = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            *("README", "corpus", "corpora", "download", "masking", "validate", "logmel", "kmeans"),
            "mining",
            "sse",
            *("slurm", "scaling"),
            *("models", "analysis", "columns", "dashboard", "tensorleap", "architecture"),
            *("concepts", "coming-from", "troubleshooting"),
        )
    ),
    "CONTRIBUTING.md",
)
# Documents whose commands are run by another test, because they need what they show.
RUN_ELSEWHERE = {"CONTRIBUTING.md": "test_contributing.py, on the code that it changes"}
# What these make, all after them use.
FOUNDATIONS = ("docs/corpus.md", "docs/masking.md")
# Lines of ```bash blocks that are left out, by how they begin, and why.
NOT_RUN = {
    "make": "sets up an environment of its own, then runs commands that are run here one by one",
    "poetry run test": "tests/test_leap_binder.py runs it",
}
# What a ```console block may hold, by how a line begins, and what it needs that a test has not.
NEEDS = {
    "make": "an environment of its own",
    "poetry install": "a package index",
    "git clone": "the network",
    "curl": "the network",
    "export MDC_API_KEY": "a key of one's own",
    "hf download": "the network",
    "uvx embedding-atlas": "the network, and a browser",
    "sbatch": "SLURM",
    "BATCH_SIZE=256 NUM_WORKERS=32 sbatch": "SLURM",
    "python scripts/DataSet2LogMelBatch.py": "SLURM",
    "cp .env.local.template .env.local": "a place on a cluster",
    "leap": "an account on a Tensorleap server",
    "python examples/mini-corpus/generate.py": "espeak-ng",
    "python examples/mini-corpus/alignments.py": "espeak-ng",
    "python benchmarks/sse_table.py": "espeak-ng, and a quarter of an hour",
    "pipeline": "a full release, or what a line before it has made",
    "models": "hours, or what a line before it has made",
    "torchrun": "hours, or several devices",
    "analyze": "what a line before it has made",
}
COPIED = (
    *("conf", "hearing_analysis", "models", "pipeline", "leap.yaml", "leap_binder.py"),
    "examples/mini-corpus/alignments",
    *("leap_test.py", "requirements.txt", "pyproject.toml"),
)
RELEASE = Path("examples/mini-corpus/cv-corpus-1.0-2026-11-21/en")
CLIPS_PER_TABLE = 6
PROGRAMS = {"pipeline": pipeline_app, "models": models_app, "analyze": analyze_app}
MODULES = {"pipeline": "pipeline.cli", "models": "models.cli", "analyze": "hearing_analysis.cli"}
# Documents whose tables do not yet say what --help says, word for word.
IN_OTHER_WORDS: set[str] = set()
# Of sbatch, of Tensorleap's client, and of the Hugging Face hub's.
FOREIGN_OPTIONS = {
    *("--include", "--local-dir"),
    *("--cpus-per-task", "--array", "--dataset-volume", "--api-key", "--model-path"),
    *("--overwrite", "--update", "--eval", "--batch"),
}


@dataclass(frozen=True)
class Block:
    """A fenced block: the line it starts at, its language, its text."""

    line: int
    language: str
    text: str


@dataclass(frozen=True)
class OptionRow:
    """What a table says of one option."""

    document: str
    names: frozenset[str]
    default: str
    meaning: str


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, *languages: str) -> Iterator[Block]:
    text = read(document)
    for match in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, flags=re.M | re.S):
        if match[1] in languages:
            yield Block(text.count("\n", 0, match.start()) + 1, match[1], match[2])


def prose(document: str) -> str:
    return re.sub(r"^```.*?^```$", "", read(document), flags=re.M | re.S)


def lines_of(block: Block) -> list[str]:
    """Command lines, continued ones joined, comments and empty ones left out."""
    joined = block.text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in joined if line.strip() and not line.lstrip().startswith("#")]


def begins_with(line: str, beginnings: dict[str, str]) -> bool:
    return any(re.match(rf"{re.escape(start)}(?!\w)", line) for start in beginnings)


# --- commands -------------------------------------------------------------------------------------


class Tree:
    """A small copy of the repository in which the documents are carried out, two at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._failures: dict[str, Future[str]] = {}
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / name)
        self._shrink_release()
        self._write_programs()

    @contextmanager
    def carried_out(self) -> Iterator["Tree"]:
        pool = ThreadPoolExecutor(2)
        for document in READING_ORDER:
            if document not in RUN_ELSEWHERE:
                self._failures[document] = pool.submit(self._carry_out, document)
        yield self
        pool.shutdown(cancel_futures=True)

    def failure(self, document: str) -> str:
        """What went wrong; empty if nothing did."""
        return self._failures[document].result()

    def _carry_out(self, document: str) -> str:
        for earlier in FOUNDATIONS:
            if READING_ORDER.index(earlier) < READING_ORDER.index(document):
                self.failure(earlier)
        for block in blocks(document, "bash", "python"):
            finished = self.run(block)
            if finished.returncode:
                where = f"{document}, line {block.line}: exit status {finished.returncode}"
                return f"{where}\n{block.text}\n{finished.stdout}\n{finished.stderr}"
        return ""

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a block in the copy."""
        command = [sys.executable, "-c", block.text]
        if block.language == "bash":
            kept = [line for line in lines_of(block) if not begins_with(line, NOT_RUN)]
            command = ["bash", "-euo", "pipefail", "-c", "\n".join(kept)]
        return subprocess.run(
            command,
            cwd=self.root,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != CONFIG_VARIABLE}
        return {
            **inherited,
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "HF_HOME": str(self.root / "cache"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "SLURM_CPUS_PER_TASK": "0",  # no worker processes: six clips are not worth starting any
        }

    def _shrink_release(self) -> None:
        source, target = ROOT / RELEASE, self.root / RELEASE
        (target / "clips").mkdir(parents=True)
        for table in source.glob("*.tsv"):
            header, *rows = table.read_text(encoding="utf-8").splitlines(keepends=True)
            if table.name != "clip_durations.tsv":
                rows = rows[:CLIPS_PER_TABLE]
                names = [row.split("\t")[header.split("\t").index("path")] for row in rows]
                for name in names:
                    shutil.copy(source / "clips" / name, target / "clips" / name)
            (target / table.name).write_text(header + "".join(rows), encoding="utf-8")

    def _write_programs(self) -> None:
        """Console commands that run the copy, not what is installed."""
        scripts = {name: f'-m {module} "$@"' for name, module in MODULES.items()}
        scripts["python"] = '"$@"'
        (self.root / "bin").mkdir()
        for name, arguments in scripts.items():
            script = self.root / "bin" / name
            script.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}\n")
            script.chmod(0o755)
        poetry = self.root / "bin" / "poetry"
        poetry.write_text('#!/bin/sh\n[ "$1" = run ] && shift && exec "$@"\nexit 2\n')
        poetry.chmod(0o755)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Iterator[Tree]:
    with Tree(tmp_path_factory.mktemp("documents")).carried_out() as tree:
        yield tree


def test_every_document_has_its_place_in_the_reading_order():
    found = {
        "README.md",
        "CONTRIBUTING.md",
        *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    }
    assert found == set(READING_ORDER)


@pytest.mark.parametrize("document", [name for name in READING_ORDER if name not in RUN_ELSEWHERE])
def test_every_command_of_a_document_runs(tree, document):
    assert not tree.failure(document), tree.failure(document)


@pytest.mark.parametrize("document", READING_ORDER)
def test_what_is_not_run_says_why(document):
    lines = [line for block in blocks(document, "console") for line in lines_of(block)]
    assert [line for line in lines if not begins_with(line, NEEDS)] == []


@pytest.mark.parametrize("document", READING_ORDER)
def test_every_block_has_a_known_language(document):
    known = {"bash", "python", "console", "text", "yaml", "json", "diff"}
    fences = re.findall(r"^```(.*)$", read(document), flags=re.M)
    assert [language for language in fences[::2] if language not in known] == []


# --- options --------------------------------------------------------------------------------------


def options_of(command: Any) -> dict[frozenset[str], Any]:
    """Spellings of every option -> its default, as --help has them."""
    return {
        frozenset((*parameter.opts, *parameter.secondary_opts)): parameter.default
        for parameter in command.params
        if parameter.param_type_name == "option"
    }


def commands_of(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Name and command of all that can be called, those of groups within groups too."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from commands_of(f"{name} {word}", inner)


COMMANDS = {
    name: options_of(command)
    for program, app in PROGRAMS.items()
    for name, command in commands_of(program, typer.main.get_command(app))
}
HELP = {
    name: {
        frozenset((*option.opts, *option.secondary_opts)): option.help
        for option in command.params
        if option.param_type_name == "option"
    }
    for program, app in PROGRAMS.items()
    for name, command in commands_of(program, typer.main.get_command(app))
}
SPELLINGS = {
    command: frozenset().union(*options, {"--help", "-h"}) for command, options in COMMANDS.items()
}


def option_tables() -> Iterator[tuple[str, OptionRow]]:
    """Command -> row, for every table below a heading that names commands."""
    for document in READING_ORDER:
        for section in re.split(r"^#+ ", prose(document), flags=re.M)[1:]:
            heading, _, body = section.partition("\n")
            commands = [name for name in re.findall(r"`([^`]+)`", heading) if name in COMMANDS]
            for cells in re.findall(r"^\| (`-.*?) \|(.*?)\|(.*?)\|", body, flags=re.M):
                names = frozenset(re.findall(r"`(-[^` ]*)", cells[0]))
                row = OptionRow(document, names, cells[1].strip(), plain(cells[2]))
                yield from ((command, row) for command in commands)


def plain(text: str) -> str:
    """Words without marks of code and links."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "").replace("\\|", "|")


def written_commands(document: str) -> Iterator[tuple[str, list[str]]]:
    """Command and options of every command line, whether it is run here or not."""
    for block in blocks(document, "bash", "console"):
        for line in lines_of(block):
            words = shlex.split(line.removeprefix("poetry run "), comments=True)
            lengths = (n for n in (3, 2) if " ".join(words[:n]) in COMMANDS)
            command = " ".join(words[: next(lengths, 0)])
            if command in COMMANDS:
                options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
                yield command, [option.replace("_", "-") for option in options]


@pytest.mark.parametrize("document", READING_ORDER)
def test_every_option_of_a_command_line_exists(document):
    unknown = [
        f"{command} {option}"
        for command, options in written_commands(document)
        for option in options
        if option not in SPELLINGS[command]
    ]
    assert unknown == []


@pytest.mark.parametrize("document", READING_ORDER)
def test_every_option_in_the_text_exists(document):
    known = frozenset().union(*SPELLINGS.values(), FOREIGN_OPTIONS)
    named = re.findall(r"(?<![\w-])--[a-z][\w-]*", prose(document))
    assert [option for option in named if option.replace("_", "-") not in known] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_of_a_command_names_all_its_options_and_no_other(command):
    documented = {row.names for owner, row in option_tables() if owner == command}
    assert documented == set(COMMANDS[command])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_of_a_command_gives_the_defaults(command):
    defaults = {row.names: row.default for owner, row in option_tables() if owner == command}
    for names, default in COMMANDS[command].items():
        if default is not None and not isinstance(default, bool):
            assert defaults[names] == f"`{default}`", names


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_of_a_command_says_what_its_help_says(command):
    rows = [row for owner, row in option_tables() if owner == command]
    for row in rows:
        # What is said of the default stands in a column of its own; a table may say more.
        said = re.sub(r"\s*\[default[^\]]*\]", "", plain(HELP[command][row.names])).rstrip(".")
        assert said in row.meaning or row.document in IN_OTHER_WORDS, sorted(row.names)


# --- what tables list -----------------------------------------------------------------------------


def code_spans(document: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", prose(document)))


def test_the_document_of_the_columns_names_every_column():
    spans = code_spans("docs/columns.md")
    families = [
        re.compile(re.sub(r"<\w+>", r"\\w+", span)) for span in spans if re.search(r"_<\w+>", span)
    ]
    columns = analysis_schema().names
    missing = [
        name
        for name in columns
        if name not in spans and not any(f.fullmatch(name) for f in families)
    ]
    assert missing == []
    assert {f"audio_{name}_<statistic>" for name in DESCRIPTORS} | {*STATISTICS} <= spans


def test_the_document_of_masking_has_every_audiogram():
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", prose("docs/masking.md"), flags=re.M)
    levels = {name: cells.split("|") for name, cells in rows if name in PROFILES}
    found = {name: tuple(map(float, map(str.strip, cells))) for name, cells in levels.items()}
    assert found == {name: profile.thresholds_db_hl for name, profile in PROFILES.items()}


def test_the_document_of_tensorleap_has_every_key_of_the_configuration():
    section = (
        prose("docs/tensorleap.md").partition("## conf/analysis.yaml")[2].partition("\n## ")[0]
    )
    keys = re.findall(r"^\| `(\w+)` \|", section, flags=re.M)
    assert set(keys) == {field.name for field in fields(AnalysisConfig)}


# --- links ----------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", READING_ORDER)
def test_every_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", path):
            continue
        linked = (ROOT / document).parent / path if path else ROOT / document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target
