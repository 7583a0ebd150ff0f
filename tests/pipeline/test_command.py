"""What every command line promises: exit codes, spellings, one sentence when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from makers import ReleaseDraft, mp3, seeded, tone, write_corpus

from pipeline.command import gather, hyphenate, one_of, run_app, split_names
from pipeline.corpus import open_corpus
from pipeline.errors import (
    CheckFailed,
    ClipError,
    HearingAnalysisError,
    InputError,
    MissingPathError,
)
from pipeline.options import parse_shard


@pytest.fixture
def root(tmp_path: Path) -> Path:
    splits = {"train": [tone(300, 0.1)] * 2, "validation": [tone(300, 0.1)], "test": [tone(9, 0.1)]}
    return write_corpus(tmp_path / "speech", splits)


def in_a_process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


# --- exit codes ---


@pytest.mark.parametrize(
    ("raised", "status", "sentence"),
    [
        (None, 0, None),
        (CheckFailed("3 clips are quarantined"), 1, "3 clips are quarantined"),
        (HearingAnalysisError("no"), 2, "no"),
        (InputError("--layout 'x' is not one of: a, b"), 2, "--layout 'x' is not one of: a, b"),
        (MissingPathError("a/b does not exist"), 2, "a/b does not exist"),
        (ClipError("empty file"), 2, "empty file"),
        (typer.Exit(3), 3, None),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on"),
        (typer.Abort(), 130, "interrupted; run the same command again to go on"),
    ],
)
def test_the_exit_status_says_how_it_ended(capsys, raised, status, sentence):
    app = typer.Typer()

    @app.command()
    def act() -> None:
        if raised is not None:
            raise raised

    with pytest.raises(SystemExit) as ended:
        run_app(app, [])
    assert ended.value.code == status
    lines = capsys.readouterr().err.splitlines()
    if sentence is None:
        assert not lines
    else:
        assert len(lines) == 1
        assert lines[0].startswith(f"error: {sentence}")


def test_a_mistake_of_ours_is_not_hidden_as_one_of_the_user():
    app = typer.Typer()

    @app.command()
    def act() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_app(app, [])


def test_done_is_0(command, root):
    outcome = command("mask", "--input-dir", root, "--dry-run")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("mask: 4 clips in 3 shards, nothing written")
    assert [path.name for path in root.parent.iterdir()] == ["speech"]


def test_too_many_quarantined_is_1(command, tmp_path):
    draft = ReleaseDraft()
    draft.add("test", "good.mp3", mp3(tone(300, 0.2)))
    draft.add("test", "bad.mp3", b"")
    outcome = command("import", draft.write(tmp_path), tmp_path / "out", "--max-failures", "0")
    assert outcome.status == 1
    expected = "1 of 2 clips are quarantined, more than --max-failures 0; see "
    assert outcome.complaint == f"{expected}{tmp_path}/out/quarantine.jsonl"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("mask", "--profiles", "deaf"), "unknown hearing profile 'deaf'; the known ones are: nor"),
        (("mask", "--normalize", "loud"), "--normalize 'loud' is not one of: shared, peak, limit,"),
        (("mask", "--interpolation", "cubic"), "--interpolation 'cubic' is not one of: auto, lin"),
        (("mask", "--n-fft", "7"), "n_fft 7 and hop_length 512 do not go together"),
        (("mask", "--shard", "3/3"), "--shard '3/3' is not I/N with 0 <= I < N, such as 0/8"),
        (("mask", "--log-level", "LOUD"), "--log-level 'LOUD' is not one of: DEBUG, INFO, WARN"),
        (("mask", "--splits", "tset"), "{root} has no split 'tset'; available splits: train, val"),
        (("logmel", "-o", "x", "--model-size", "huge"), "unknown Whisper model size 'huge'; choo"),
        (("logmel", "-o", "x", "--layout", "flat"), "--layout 'flat' is not one of: compact, pad"),
        (("logmel", "-o", "x", "--dtype", "int8"), "--dtype 'int8' is not one of: float32, float"),
        (("logmel", "-o", "x", "--task", "sing"), "--task 'sing' is not one of: transcribe, tran"),
    ],
)
def test_a_value_that_cannot_be_used_is_2_and_one_sentence(
    command, root, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    given = "--input-dir" if arguments[0] == "mask" else "--input-dataset"
    outcome = command(*arguments, given, root)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.complaint.startswith(sentence.format(root=root))
    assert not list(tmp_path.rglob("*.arrow.tmp"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mask", "--input-dir"), "--input-dir"),
        (("mask", "--input-dirr", "x"), "--input-dirr"),
        (("mask", "--n-fft", "many"), "--n-fft"),
        (("mask", "--limit", "-1"), "--limit"),
        (("import", "x"), "output"),
        (("maks",), "maks"),
    ],
)
def test_bad_usage_is_2_and_names_the_culprit_last(command, arguments, told):
    outcome = command(*arguments, workers=None)
    assert (outcome.status, outcome.out) == (2, "")
    *usage, complaint = outcome.err.splitlines()
    assert complaint.lower().startswith("error: ")
    assert told in complaint
    assert all(line.startswith(("Usage: ", "Try ")) for line in usage if line)


def test_a_path_that_does_not_exist_is_2(command, tmp_path):
    absent = tmp_path / "absent"
    for arguments in (
        ("mask", "--input-dir", absent),
        ("logmel", "-i", absent, "-o", tmp_path / "out"),
        ("import", absent, tmp_path / "out"),
    ):
        outcome = command(*arguments)
        assert outcome.status == 2
        assert outcome.complaint.startswith(f"{absent} does not exist; ")
    outcome = command("run", absent, workers=None)
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{absent} does not exist; ")


def test_an_output_that_is_a_file_is_2(command, tmp_path):
    draft = ReleaseDraft()
    draft.add("test", "good.mp3", mp3(tone(300, 0.2)))
    (tmp_path / "notes.txt").write_text("mine")
    outcome = command("import", draft.write(tmp_path), tmp_path / "notes.txt")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{tmp_path}/notes.txt cannot be written to: ")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_typing_error_does_not_spoil_the_output_for_the_next_run(command, root):
    assert command("mask", "--input-dir", root, "--splits", "tset").status == 2
    assert command("mask", "--input-dir", root, "--splits", "test").status == 0


# --- in a process of its own, as a user starts it ---


def test_a_process_ends_with_one_sentence_and_no_traceback(tmp_path):
    finished = in_a_process("mask", "--input-dir", tmp_path / "absent", "-j", "2")
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith(f"error: {tmp_path}/absent does not exist; ")
    assert finished.stderr.count("\n") == 1


def test_a_process_that_works_says_nothing_on_standard_error(root):
    finished = in_a_process("mask", "--input-dir", root, "--profiles", "N1", "-j", "0", "--json")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert json.loads(finished.stdout)["splits"]["train"] == {
        "clips_in": 2,
        "clips_out": 2,
        "quarantined": 0,
    }


# --- spelling ---


@pytest.mark.parametrize(
    "spelt",
    [
        ["--splits", "train", "test"],
        ["--splits", "train,test"],
        ["--splits", "train test"],
        ["--splits=train,test"],
        ["--splits", "train", "--splits", "test"],
        ["--splits", "train", "train", "test"],
    ],
)
def test_several_splits_may_be_spelt_in_any_usual_way(command, root, spelt):
    outcome = command("mask", "--input-dir", root, "--profiles", "N1", *spelt)
    assert outcome.status == 0, outcome.err
    assert open_corpus(f"{root}_N1").splits == ("train", "test")


@pytest.mark.parametrize("option", ["--input-dir", "--input_dir"])
def test_an_option_may_be_spelt_with_underscores(command, root, option):
    names = ["--output-base", "--sample-rate", "--num-workers", "--batch-size", "--max-failures"]
    if "_" in option:
        names = ["--" + name[2:].replace("-", "_") for name in names]
    values = [root.parent / "out", 16_000, 0, 128, 0]
    pairs = [word for pair in zip(names, values, strict=True) for word in pair]
    outcome = command("mask", f"{option}={root}", *pairs, "--profiles", "N1", workers=None)
    assert outcome.status == 0, outcome.err
    assert open_corpus(root.parent / "out_N1").splits == ("train", "validation", "test")


def test_the_commands_of_the_pilot_run_as_they_were_written(command, root, tmp_path):
    masked = command(
        *("mask", "--input-dir", root, "--output-base", root, "--sample-rate", 16_000),
        *("--batch-size", 128, "--num-workers", 0, "--splits", "train", "test"),
        *("--log-level", "INFO", "--dry-run"),
        workers=None,
    )
    assert masked.status == 0, masked.err
    assert masked.out.splitlines()[0] == "mask: 3 clips in 2 shards, nothing written"
    features = command(
        *("logmel", "--input_dataset", root, "--output_dataset", tmp_path / "out"),
        *("--num_cpus", 0, "--model_size", "large-v3", "--shuffle_seed", 42, "--max_samples", 1),
        *("--batch_size", 1000, "--writer_batch_size", 100, "--max_memory_per_worker", 4.0),
        *("--language", "en", "--task", "transcribe", "--dry-run"),
        workers=None,
    )
    assert features.status == 0, features.err
    assert features.out.splitlines()[0] == "logmel: 3 clips in 3 shards, nothing written"


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["--input_dataset", "a_b"], ["--input-dataset", "a_b"]),
        (["--input_dataset=a_b=c_d"], ["--input-dataset=a_b=c_d"]),
        (["-o", "a_b", "some_file"], ["-o", "a_b", "some_file"]),
        (["--dry_run", "--", "--not_an_option"], ["--dry-run", "--", "--not_an_option"]),
    ],
)
def test_only_the_names_of_options_are_respelt(given, understood):
    assert hyphenate(given) == understood


@seeded
@given(st.lists(st.text("ab_-=/ ", max_size=8)))
def test_respelling_twice_changes_nothing_more(arguments):
    assert hyphenate(hyphenate(arguments)) == hyphenate(arguments)
    assert len(hyphenate(arguments)) == len(arguments)


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["--splits", "train", "test"], ["--splits", "train,test"]),
        (["--profiles", "N1", "N2", "N3"], ["--profiles", "N1,N2,N3"]),
        (["--splits", "train", "-j", "2"], ["--splits", "train", "-j", "2"]),
        (["--splits", "train", "release", "out"], ["--splits", "train", "release", "out"]),
        (["--splits", "train", "data/x"], ["--splits", "train", "data/x"]),
        (["--limit", "5", "out"], ["--limit", "5", "out"]),
        (["a", "b", "c"], ["a", "b", "c"]),
        ([], []),
    ],
)
def test_words_behind_an_option_of_several_belong_to_it(given, understood):
    assert gather(given) == understood


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (None, None),
        ([], None),
        ([""], None),
        (["train,test"], ("train", "test")),
        (["train", "test,train", " validation "], ("train", "test", "validation")),
    ],
)
def test_split_names_are_flat_and_each_once(values, names):
    assert split_names(values) == names


@pytest.mark.parametrize(
    ("text", "shard"), [(None, None), ("", None), ("0/1", (0, 1)), ("7/8", (7, 8))]
)
def test_a_share_of_the_shards_is_read(text, shard):
    assert parse_shard(text) == shard


@pytest.mark.parametrize("text", ["1", "1/1", "2/1", "-1/2", "a/b", "1/2/3", "0/0", "/", "1/"])
def test_a_share_that_cannot_be_is_refused(text):
    with pytest.raises(InputError, match="is not I/N with 0 <= I < N"):
        parse_shard(text)


def test_one_of_returns_the_allowed_value_or_lists_them():
    assert one_of("--dtype", "float16", ("float32", "float16")) == "float16"
    with pytest.raises(InputError, match="^--dtype 'half' is not one of: float32, float16$"):
        one_of("--dtype", "half", ("float32", "float16"))


# --- help ---


@pytest.mark.parametrize("subcommand", ["import", "mask", "logmel", "run", "profiles"])
def test_every_command_and_option_says_what_it_is_for(command, subcommand):
    outcome = command(subcommand, "-h", workers=None)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("Usage: ")


def test_every_option_has_a_help_text():
    import typer.main

    from pipeline.cli import app

    silent = [
        f"{name} {parameter.name}"
        for name, subcommand in typer.main.get_command(app).commands.items()
        for parameter in subcommand.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("ours", "of_python"),
    [
        (InputError, ValueError),
        (ClipError, ValueError),
        (MissingPathError, FileNotFoundError),
        (CheckFailed, Exception),
    ],
)
def test_an_error_is_also_that_of_python_and_shows_its_message(ours, of_python):
    assert issubclass(ours, HearingAnalysisError)
    assert issubclass(ours, of_python)
    assert str(ours("clip 'a': too short")) == "clip 'a': too short"
