"""What jobs get, and how a command is spelt for them: no cluster is needed."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import typer
from command_outcome import Command
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded
from toy_stage import ToyStage

from pipeline.command import run_app
from pipeline.errors import InputError
from pipeline.launch.queue import QueuedTask
from pipeline.launch.record import Record, path_of
from pipeline.launch.request import CommandLine, Launch
from pipeline.launch.resources import Resources, minutes_of, read_site, settle
from pipeline.launch.task import ShareTask, _Attempt, missing_units
from pipeline.options import Limit, Shard, Splits, Workers, launchable
from pipeline.stage import RunOptions, run_stage


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        *(("90", 90), ("0", 1), ("1:30", 2), ("32:00:00", 1920), ("0:00:59", 1)),
        *(("1-0", 1440), ("1-12", 2160), ("1-12:30", 2190), ("2-00:00:01", 2881)),
    ],
)
def test_time_limits_are_read_as_sbatch_reads_them(time: str, minutes: int) -> None:
    assert minutes_of(time) == minutes


@pytest.mark.parametrize("time", ["", "-1", "1 day", "8h", "1:2:3:4", "UNLIMITED", "1-"])
def test_what_is_no_time_limit(time: str) -> None:
    with pytest.raises(InputError, match="is not a time limit such as 90, 8:00:00 or 1-12:00:00"):
        minutes_of(time)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"memory": "lots"}, "memory 'lots' is not a size such as 32G or 500M"),
        ({"array_size": 0}, "array_size 0 is not a whole number of at least 1"),
        ({"cpus_per_task": True}, "cpus_per_task True is not a whole number"),
        ({"account": 7}, "account 7 is not a word"),
        ({"partition": "a\nb"}, r"partition 'a\\nb' is not a word"),
        ({"setup": (1,)}, "setup is not a list of shell lines"),
    ],
)
def test_what_a_job_cannot_get(given_: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Resources(**given_)


def test_who_is_heard_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "slurm.yaml").write_text(
        'array_size: 2\ncpus_per_task: 3\nmemory: 4G\ntime: "5"\nretries: 6\nqos: work\n'
        "partition: work\naccount: work\nsetup: module load python\n"
    )
    (tmp_path / ".env.local").write_text(
        "# mine\nexport SBATCH_QOS='site'\nSBATCH_ACCOUNT=site  # the group's\n"
        'SBATCH_CONSTRAINT=$(touch owned)\nSBATCH_PARTITION="site"\n'
    )
    monkeypatch.chdir(tmp_path)
    for name in ("ACCOUNT", "QOS", "CONSTRAINT"):
        monkeypatch.delenv(f"SBATCH_{name}", raising=False)
    monkeypatch.setenv("SBATCH_PARTITION", "shell")
    monkeypatch.setenv("SBATCH_QOS", "shell")

    settled = settle(Resources(qos="typed", array_size=7))

    assert (settled.array_size, settled.cpus_per_task) == (7, 3)
    assert (settled.qos, settled.partition, settled.account) == ("typed", "shell", "site")
    assert settled.constraint == "$(touch owned)"  # read, not run
    assert not (tmp_path / "owned").exists()
    assert settled.setup == ("module load python",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arraysize: 3", "may hold array_size, .*, and 'arraysize' is none of them"),
        ("- 3", "and it is no list of names"),
        ("time: [", "conf/slurm.yaml is not valid YAML: "),
        ("time: 90", "conf/slurm.yaml: time 90 is not a word; put it between quotes"),
        ("memory: 2G", "array_size is missing in .*; give it as --array-size"),
        ("x: !!python/object/apply:os.system ['true']", "is not valid YAML: could not determine"),
    ],
)
def test_a_configuration_that_cannot_be_read(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "slurm.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InputError, match=message):
        settle(Resources())


def test_the_settings_that_are_shipped_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.launch.resources import ROOT

    monkeypatch.chdir(ROOT)
    assert (settle(Resources()).time, settle(Resources()).retries) == ("8:00:00", 3)
    assert read_site(ROOT / ".env.local.template").keys() == {"PROJECT_ROOT"}


# --- Spelling -------------------------------------------------------------------------------------


def launches(arguments: list[str]) -> tuple[Launch, dict]:
    """What a command gets of a command line."""
    app, got = typer.Typer(pretty_exceptions_enable=False), []

    @app.command()
    @launchable()
    def work(
        source: Path,
        level: float = 1.0,
        audio: bool = typer.Option(True, "--audio/--no-audio"),
        splits: Splits = None,
        limit: Limit = None,
        num_workers: Workers = None,
        overwrite: bool = False,
        shard: Shard = None,
        *,
        launch: Launch,
    ) -> None:
        got.append((launch, {"source": source, "level": level, "audio": audio, "splits": splits}))

    app.command()(lambda: None)
    with pytest.raises(SystemExit) as ended:
        run_app(app, ["work", *arguments])
    assert not ended.value.code
    return got[0]


@seeded
@given(
    source=st.text("ab -=/ü'\"", min_size=1).filter(str.strip),
    level=st.floats(-1e9, 1e9),
    audio=st.booleans(),
    splits=st.lists(st.sampled_from(["train", "test"]), max_size=2, unique=True),
)
def test_a_command_spelt_again_means_the_same(
    source: str, level: float, audio: bool, splits: list[str]
) -> None:
    typed = [f"--level={level}", "--audio" if audio else "--no-audio", "--overwrite", "-j", "2"]
    typed += [f"--splits={split}" for split in splits]
    where = ["--launcher", "slurm", "--memory", "2G", "--wait"]

    launch, values = launches([*typed, *where, "--", source])
    step = launch.command.step("--finish=never", "--shard=1/4")
    assert step.arguments[0] == "work"
    here, again = launches(list(step.arguments[1:]))

    assert again == values
    assert (launch.is_remote, launch.wait, launch.resources.memory) == (True, True, "2G")
    assert (here.is_remote, here.wait, here.finish) == (False, False, "never")
    assert not {"--overwrite", "--launcher", "--memory"} & {
        option.partition("=")[0] for option in step.arguments
    }


def test_an_argument_can_be_another_for_every_task() -> None:
    command = CommandLine("pipeline", ("kmeans", "mfcc"), ("--x=1",), {"split": "a", "rank": "all"})

    step = command.step("--launcher=local", rank="3")

    assert str(step) == "pipeline kmeans mfcc --x=1 --launcher=local -- a 3"
    assert str(command) == "pipeline kmeans mfcc --x=1 a all"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--memory", "2G"), "--memory says how jobs are submitted; give --launcher slurm with it"),
        (("--wait",), "--wait says how jobs are submitted"),
        (("--launcher", "pbs"), "--launcher 'pbs' is not one of: local, slurm"),
        (("--finish", "never"), "--finish never is for the tasks of an array"),
        (("--finish", "only", "--overwrite"), "--finish only makes no shards"),
        (("--launcher", "slurm", "--finish", "only"), "--launcher slurm finishes with a job of"),
        (("--launcher", "slurm", "--shard", "0/2"), "--launcher slurm cuts the work by itself"),
    ],
)
def test_what_does_not_go_together(
    options: tuple[str, ...], message: str, workplace: Path, command: Command
) -> None:
    refused = command("mask", "--input-dir", "speech", *options)

    assert refused.status == 2
    assert message in refused.complaint
    assert not Path("speech_normal").exists()


def test_where_there_is_no_slurm(
    workplace: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(workplace))
    refused = command("mask", "--input-dir", "speech", "--launcher", "slurm")

    assert refused.status == 2
    assert "--launcher slurm needs sbatch, which is not on the PATH" in refused.complaint


def test_an_archive_is_read_by_one_process(workplace: Path, command: Command) -> None:
    (workplace / "release.tar.gz").touch()
    refused = command("import", "release.tar.gz", "out", "--launcher", "slurm")

    assert refused.status == 2
    assert "release.tar.gz is read by one process; unpack it" in refused.complaint


# --- By hand --------------------------------------------------------------------------------------


def test_shares_by_hand_and_who_finishes(workplace: Path, command: Command) -> None:
    mask = ("mask", "--input-dir", "speech", "--output-base", "out", "--profiles", "normal")
    run_json = Path("out_normal/run.json")

    assert command(*mask, "--shard", "0/2", "--finish", "never").status == 0
    halfway = command("status", "out_normal", "--json", workers=None)
    refused = command(*mask, "--finish", "only")
    assert command(*mask, "--shard", "1/2", "--finish", "never").status == 0
    assert '"running"' in run_json.read_text()
    assert command(*mask, "--finish", "only").status == 0
    done = command("status", "out_normal", "--json", workers=None)

    assert halfway.status == 1
    found = halfway.report[0]
    assert (found["state"], found["shards_done"], found["clips_done"]) == ("failed", 5, 56)
    missing = "train/data-00001-of-00003.arrow, validation/data-00000-of-00003.arrow"
    assert "4 of 9 shards are missing: " + missing in halfway.complaint
    assert refused.status == 1
    assert "4 of 9 shards of out_normal are missing: " + missing in refused.complaint
    assert '"complete"' in run_json.read_text()
    assert (done.status, done.report[0]["state"]) == (0, "complete")


def test_a_folder_that_holds_nothing(tmp_path: Path, command: Command) -> None:
    refused = command("status", tmp_path, workers=None)

    assert refused.status == 2
    assert "holds nothing that a stage has begun" in refused.complaint


def test_what_waits_for_ever() -> None:
    assert QueuedTask("1", 0, "PENDING", reason="PartitionConfig").is_hopeless
    assert not QueuedTask("1", 0, "PENDING", reason="Resources").is_hopeless
    assert not QueuedTask("1", 0, "RUNNING", reason="PartitionConfig").is_hopeless


def test_what_went_wrong_is_written_down(tmp_path: Path) -> None:
    lines = tmp_path / "task.jsonl"
    with pytest.raises(Exception, match="no such thing"), _Attempt(lines) as attempt:
        attempt.run(["sh", "-c", "echo fine >&2; echo error: no such thing >&2; exit 2"])
    with pytest.raises(Exception, match="killed by SIGKILL"), _Attempt(lines) as attempt:
        attempt.run(["sh", "-c", "kill -9 $$"])
    with _Attempt(lines) as attempt:
        attempt.run(["true"])

    ends = [json.loads(line) for line in lines.read_text().splitlines()][1::2]
    assert [(end["error"], end["hopeless"]) for end in ends] == [
        *(("no such thing", True), ("killed by SIGKILL", False), ("", False))
    ]


def test_a_task_that_gets_on_is_continued_after_its_time_limit(tmp_path: Path) -> None:
    proof = tmp_path / "shards" / "train-00001-of-00002.json"
    proof.parent.mkdir()
    record = Record(
        *("mask-1", "mask", "pipeline mask", str(tmp_path), (str(tmp_path),)),
        *({"train": 20}, {}, 1, (0,), 3),
    )
    record.write()
    task = ShareTask(record.folder, 0, [["touch", str(proof)]])

    assert task.checkpoint() is None
    before = task.done_before
    task()
    task.done_before = before
    continued = task.checkpoint()

    assert continued is not None
    assert continued.function is task
    assert missing_units(record) == ["train/data-00000-of-00002.arrow (task 0)"]


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"name": 3},
            {"name": "../../x"},
            {"count": 0},
            {"count": "4"},
            {"planned": {"train": "x"}},
        ),
        *({"roots": [1]}, {"ranks": {"rank 0": {"clips": 1}}}, {"ranks": [1]}, {"shares": None}),
        *({"submitted_at": "now"}, {"surprise": 1}),
    ],
)
def test_a_record_of_somebody_else(change: dict, tmp_path: Path, command: Command) -> None:
    record = Record("mask-1", "mask", "", str(tmp_path), (), {"train": 20}, {}, 1, (0,), 3)
    path = path_of(tmp_path, "mask")
    path.parent.mkdir()
    path.write_text(json.dumps({**asdict(record), **change}))

    refused = command("status", tmp_path, workers=None)

    assert refused.status == 2
    assert refused.complaint == f"{path} is not a record of ours; remove it"


def test_what_failed_on_a_cluster_may_be_finished_here(workplace: Path, command: Command) -> None:
    mask = ("mask", "--input-dir", "speech", "--output-base", "out", "--profiles", "normal")
    few = ("--limit", 1, "--splits", "test")
    root = workplace / "out_normal"
    names = ("mask-1", "mask", "pipeline mask", str(root), (str(root),))
    record = Record(*names, {"test": 1}, {}, 1, (0,), 3, array="7", finisher="8")
    record.write()
    failure = {"at": time.time(), "event": "end", "error": "1 of 1 parts are missing"}
    record.finish_attempts.write_text(json.dumps(failure) + "\n")

    # No cluster is here that could be asked; what is on the disk is told all the same.
    before = command("status", root, "--json", workers=None)
    assert command(*mask, *few).status == 0
    after = command("status", root, "--json", workers=None)

    assert before.report[0]["state"] in ("unknown", "failed")
    assert (before.report[0]["shards"], before.report[0]["shards_done"]) == (1, 0)
    assert (after.status, after.report[0]["state"]) == (0, "complete")


def test_an_input_is_looked_at_by_who_begins_and_by_who_finishes(tmp_path: Path) -> None:
    def options(finish: str, share: int | None = None) -> RunOptions:
        shard = None if share is None else (share, 2)
        return RunOptions(num_workers=0, shard=shard, finish=finish)  # type: ignore[arg-type]

    run_stage(ToyStage(tmp_path), options("never", 0))
    changed = ToyStage(tmp_path, source_digest="another input")
    run_stage(changed, options("never", 1))

    with pytest.raises(InputError, match="the input has changed since"):
        run_stage(changed, options("only"))
    assert run_stage(ToyStage(tmp_path), options("only")).complete
