"""A recipe: our own command lines, one after the other, and never a shell."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import recipe
from pipeline.errors import InputError, MissingPathError
from pipeline.recipe import Step, read_recipe

STEPS = [
    "pipeline import release 'data/my demo'",
    "pipeline mask --input-dir 'data/my demo'",
    "pipeline logmel -i a -o b",
    "pipeline logmel -i c -o d",
    "analyze run data/out",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "recipe.yaml", STEPS)


def write(path: Path, steps: object) -> Path:
    path.write_text(yaml.safe_dump({"steps": steps}))
    return path


class Runner:
    """Stands for `subprocess.run`: remembers what was started, and how it ended."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.started: list[list[str]] = []

    def __call__(self, arguments: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        self.started.append(arguments)
        return subprocess.CompletedProcess(arguments, self.statuses.pop(0) if self.statuses else 0)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    runner = Runner()
    monkeypatch.setattr(recipe.subprocess, "run", runner)
    return runner


# --- reading ---


@pytest.mark.parametrize(
    ("line", "program", "arguments"),
    [
        ("pipeline mask", "pipeline", ("mask",)),
        ("  models   train --epochs 3 ", "models", ("train", "--epochs", "3")),
        ("pipeline import 'my release' \"a b\"", "pipeline", ("import", "my release", "a b")),
        ("analyze", "analyze", ()),
    ],
)
def test_a_step_is_split_into_words(line, program, arguments):
    step = Step.parse(line)
    assert (step.program, step.arguments) == (program, arguments)
    assert step.name == (arguments[0] if arguments else program)
    assert Step.parse(str(step)) == step


def test_a_step_is_run_by_this_very_python():
    command = Step.parse("analyze run out").command
    assert command == [sys.executable, "-m", "hearing_analysis.cli", "run", "out"]


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf /",
        "; rm -rf /",
        "sudo pipeline mask",
        "/tmp/pipeline mask",
        "./pipeline mask",
        "PATH=. pipeline mask",
        "$(pipeline mask)",
        "`pipeline mask`",
        "pipeline;rm",
        "pipeline& mask",
        "bash -c 'pipeline mask'",
        "Pipeline mask",
        "",
        "   ",
    ],
)
def test_a_stranger_is_refused(tmp_path, line):
    with pytest.raises(InputError, match="does not start with one of: pipeline, models, analyze$"):
        read_recipe(write(tmp_path / "recipe.yaml", ["pipeline mask", line]))


def test_a_quote_left_open_is_refused():
    with pytest.raises(InputError, match="^the step .* cannot be read: No closing quotation$"):
        Step.parse("pipeline mask --input-dir 'data")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("steps: pipeline mask", "needs a list of command lines under 'steps'$"),
        ("steps:\n  - pipeline: mask", "needs a list of command lines"),
        ("steps:\n  - [pipeline, mask]", "needs a list of command lines"),
        ("- pipeline mask", "needs a list of command lines"),
        ("", "needs a list of command lines"),
        ("steps: [", "is not valid YAML: "),
        ("steps: !!python/object/apply:os.system ['true']", "is not valid YAML: "),
        (b"steps: [\xff]", "is not valid YAML: "),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as refusal:
        read_recipe(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(MissingPathError, match="does not exist; name a recipe like conf/demo.yaml"):
        read_recipe(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_recipe(tmp_path)


def test_the_recipe_we_ship_can_be_read():
    steps = read_recipe(Path(__file__).parents[2] / "conf" / "demo.yaml")
    assert {"import", "mask", "logmel", "run", "dashboard"} <= {step.name for step in steps}


# --- running ---


def test_steps_run_in_order(command, path, runner):
    outcome = command("run", path, workers=None)
    assert (outcome.status, outcome.out) == (0, "")
    assert runner.started == [Step.parse(line).command for line in STEPS]
    assert "1/5 pipeline import release 'data/my demo'\n" in outcome.err


def test_a_dry_run_shows_every_step_and_starts_none(command, path, runner):
    outcome = command("run", path, "--dry-run", workers=None)
    assert (outcome.status, runner.started) == (0, [])
    expected = [f"{number}/5 {line}" for number, line in enumerate(STEPS, 1)]
    assert outcome.err.splitlines() == expected


@pytest.mark.parametrize(("until", "n_steps"), [("import", 1), ("mask", 2), ("logmel", 4)])
def test_until_stops_after_the_last_step_of_the_name(command, path, runner, until, n_steps):
    assert command("run", path, "--until", until, workers=None).status == 0
    assert runner.started == [Step.parse(line).command for line in STEPS[:n_steps]]


def test_until_an_unknown_step_lists_the_known_ones(command, path, runner):
    outcome = command("run", path, "--until", "masc", workers=None)
    assert (outcome.status, runner.started) == (2, [])
    expected = "the recipe has no step 'masc'; its steps are: import, mask, logmel, run"
    assert outcome.complaint == expected


@pytest.mark.parametrize(("status", "ours"), [(1, 1), (2, 2), (-9, 1)])
def test_a_failing_step_ends_the_recipe(command, path, runner, status, ours):
    runner.statuses = [0, status]
    outcome = command("run", path, workers=None)
    assert (outcome.status, len(runner.started)) == (ours, 2)
    assert outcome.err.splitlines()[-1] == (
        f"error: the step `pipeline mask --input-dir 'data/my demo'` ended with status {status}; "
        "mend it and run again"
    )


@pytest.mark.parametrize("status", [130, -2])
def test_an_interrupted_step_interrupts_the_recipe(command, path, runner, status):
    runner.statuses = [0, status]
    outcome = command("run", path, workers=None)
    assert (outcome.status, len(runner.started)) == (130, 2)
    last = outcome.err.splitlines()[-1]
    assert last.startswith("error: interrupted; run the same command again")


def test_a_step_is_shown_as_it_is_written(command, tmp_path, runner):
    line = "pipeline mask --input-dir 'data/[bold]x[/] [1]'"
    outcome = command("run", write(tmp_path / "recipe.yaml", [line]), "--dry-run", workers=None)
    assert outcome.err == f"1/1 {line}\n"


def test_no_step_sees_a_shell(command, tmp_path):
    trap = tmp_path / "trap"
    path = write(tmp_path / "recipe.yaml", [f"pipeline profiles --json && touch {trap}; # $(id)"])
    outcome = command("run", path, workers=None)
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].startswith("error: the step `pipeline profiles --json '&&'")
    assert not trap.exists()


def test_steps_of_a_real_recipe_run_in_processes_of_their_own(command, tmp_path):
    path = write(tmp_path / "recipe.yaml", ["pipeline profiles --json"])
    outcome = command("run", path, workers=None)
    assert outcome.status == 0
    assert set(outcome.report) >= {"normal", "lfloss", "hfloss"}
