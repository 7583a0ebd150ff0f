"""The engine: whatever happens to a run, run it again and it ends in the same bytes."""

import contextlib
import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import toy_stage
from hypothesis import given
from hypothesis import strategies as st
from outputs import digests, files, stamps, temporary_files
from toy_stage import ToyStage

from pipeline.corpus import open_corpus
from pipeline.counts import StageReport
from pipeline.errors import CheckFailed, InputError
from pipeline.folders import clear, lock
from pipeline.shards import record_path, shard_path
from pipeline.stage import RunOptions, plan, rows_per_shard, run_stage

HERE = RunOptions(num_workers=0)
N_SHARDS = 14  # of the toy: 150 and 50 rows in shards of 16
SMALL = (("train", 20), ("test", 5))  # three shards


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an undisturbed run leaves."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_stage(ToyStage(folder), HERE)
    return digests(folder)


# --- The plan -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "expected_rows"),
    [(0, 16), (1, 16), (2048, 16), (2049, 17), (128_000, 1000), (50_000_000, 1000)],
)
def test_shards_are_neither_tiny_nor_huge(n_rows: int, expected_rows: int) -> None:
    assert rows_per_shard(n_rows) == expected_rows


@given(st.dictionaries(st.sampled_from(["train", "validation", "test", "x"]), st.integers(0, 5000)))
def test_the_plan_holds_every_row_once_and_depends_on_sizes_alone(sizes: dict[str, int]) -> None:
    tasks = plan(sizes)

    for split, size in sizes.items():
        rows = [row for t in tasks if t.split == split for row in range(t.start, t.stop)]
        assert rows == list(range(size))
    assert tasks == plan(dict(reversed(sizes.items())))
    assert all(task.n_rows for task in tasks)


# --- The same bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_any_number_of_workers_ends_in_the_same_bytes(
    num_workers: int, tmp_path: Path, expected: dict[str, str]
) -> None:
    run_stage(ToyStage(tmp_path), RunOptions(num_workers))

    assert digests(tmp_path) == expected


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_last_task_of_an_array_finishes_it(
    order: tuple[int, ...], tmp_path: Path, expected: dict[str, str]
) -> None:
    *early, last = [share(ToyStage(tmp_path), index, 3) for index in order]

    assert [report.complete for report in early] == [False, False]
    assert last.complete
    assert digests(tmp_path) == expected


def test_tasks_of_an_array_may_run_at_the_same_time(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    n_tasks, n_rounds = 8, 5
    for attempt in range(n_rounds):
        stage = ToyStage(tmp_path / str(attempt))
        start = threading.Barrier(n_tasks)
        with ThreadPoolExecutor(n_tasks) as threads:
            reports = list(
                threads.map(
                    lambda i, s=stage, b=start: (b.wait(), share(s, i, n_tasks))[1], range(8)
                )
            )

        assert any(report.complete for report in reports)
        assert digests(stage.folder) == expected


def test_an_array_may_have_more_tasks_than_shards(tmp_path: Path) -> None:
    stage = ToyStage(tmp_path, sizes=SMALL)

    reports = [share(stage, index, 5) for index in range(5)]

    assert [report.complete for report in reports] == [False, False, True, True, True]


def test_a_task_of_an_array_may_not_start_again() -> None:
    with pytest.raises(InputError, match="--overwrite"):
        RunOptions(overwrite=True, shard=(0, 2))


def test_counts_add_up(tmp_path: Path) -> None:
    report = run_stage(ToyStage(tmp_path), HERE)

    assert (report.clips_in, report.clips_out, report.quarantined) == (200, 170, 30)
    for side in ("left", "right"):
        run = json.loads((tmp_path / side / "run.json").read_text())
        assert run["splits"] == {
            "train": {"clips_in": 150, "clips_out": 128, "quarantined": 22},
            "test": {"clips_in": 50, "clips_out": 42, "quarantined": 8},
        }
        lines = (tmp_path / side / "quarantine.jsonl").read_text().splitlines()
        assert len(lines) == 30
        first = {"id": "train-0", "path": "0.mp3", "reason": "a multiple", "split": "train"}
        assert json.loads(lines[0]) == first
        corpus = open_corpus(tmp_path / side)
        assert {split: len(corpus[split]) for split in corpus.splits} == {"train": 128, "test": 42}


def test_counts_that_do_not_add_up_fail(tmp_path: Path) -> None:
    stage = ToyStage(tmp_path)
    share(stage, 0, 2)
    record = record_path(tmp_path / "right", plan(stage.split_sizes())[0])
    facts = json.loads(record.read_text())
    record.write_text(json.dumps({**facts, "clips_out": facts["clips_out"] - 1}))

    with pytest.raises(CheckFailed, match="16 clips in, 12 out and 3 quarantined do not add up"):
        run_stage(stage, HERE)


def test_a_split_without_rows_does_not_appear(tmp_path: Path) -> None:
    run_stage(ToyStage(tmp_path, sizes=(("train", 3), ("test", 0))), HERE)

    assert open_corpus(tmp_path / "left").splits == ("train",)


# --- Killed -------------------------------------------------------------------------------------


def test_killed_at_random_moments(tmp_path: Path, expected: dict[str, str]) -> None:
    moments = random.Random(0)
    for n_records in (0, 2, 5, 9, 12):
        run = start_toy(tmp_path, "-j", "2", "--seconds-per-row", "0.01")
        wait_until(lambda n=n_records: count_records(tmp_path / "left") >= n)
        time.sleep(moments.uniform(0, 0.3))
        workers = children_of(run.pid)
        run.kill()
        assert run.wait() == -signal.SIGKILL
        wait_until(lambda orphans=workers: not any(map(is_alive, orphans)), seconds=5)

    finished = run_toy(tmp_path, "-j", "2")

    assert finished.returncode == 0, finished.stderr
    assert digests(tmp_path) == expected
    assert temporary_files(tmp_path) == []


def test_killed_at_every_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A rename is where something becomes true; between two of them nothing does.
    run_stage(ToyStage(tmp_path / "undisturbed", sizes=SMALL), HERE)
    undisturbed = digests(tmp_path / "undisturbed")
    n_renames = 0
    while True:
        n_renames += 1
        stage = ToyStage(tmp_path / str(n_renames), sizes=SMALL)
        if not killed_at_rename(n_renames, stage, monkeypatch):
            break
        run_stage(stage, HERE)
        assert digests(stage.folder) == undisturbed, f"killed at rename {n_renames}"
        assert temporary_files(stage.folder) == []
    assert n_renames > 25


def test_an_interrupt_is_one_sentence(tmp_path: Path, expected: dict[str, str]) -> None:
    run = start_toy(tmp_path, "-j", "2", "--seconds-per-row", "0.02")
    wait_until(lambda: count_records(tmp_path / "left") >= 2)
    os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does: parent and workers alike
    _, stderr = run.communicate(timeout=20)

    assert run.returncode == 130
    assert stderr == "error: interrupted; run the same command again to go on where it stopped\n"
    assert run_toy(tmp_path).returncode == 0
    assert digests(tmp_path) == expected


def test_a_worker_that_is_killed(tmp_path: Path, expected: dict[str, str]) -> None:
    command = ("-j", "2", "--dies-once", str(tmp_path.with_name("died")))

    first, second = run_toy(tmp_path, *command), run_toy(tmp_path, *command)

    assert first.returncode == 1
    assert first.stderr.startswith("error: a worker process was killed, perhaps for want of memory")
    assert first.stderr.count("\n") == 1
    assert second.returncode == 0, second.stderr
    assert digests(tmp_path) == expected


# --- What is done again, and what is not ---------------------------------------------------------


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("damage", ["truncated", "deleted", "unrecorded", "half recorded"])
def test_a_damaged_shard_is_made_again_and_no_other(
    damage: str, finished: bool, tmp_path: Path, expected: dict[str, str]
) -> None:
    stage = ToyStage(tmp_path)
    run_stage(stage, HERE if finished else RunOptions(0, shard=(0, 2)))
    task = plan(stage.split_sizes())[2]
    shard, record = shard_path(tmp_path / "right", task), record_path(tmp_path / "right", task)
    others = [path for path in tmp_path.rglob("*.arrow") if path.name != shard.name]
    before = stamps(others)
    if damage == "truncated":
        os.truncate(shard, shard.stat().st_size - 1)
    elif damage == "half recorded":
        os.truncate(record, 10)
    else:
        (shard if damage == "deleted" else record).unlink()

    run_stage(stage, HERE)

    assert digests(tmp_path) == expected
    assert stamps(others) == before


def test_a_finished_output_is_left_as_it_is(tmp_path: Path) -> None:
    stage = ToyStage(tmp_path)
    first = run_stage(stage, HERE)
    before = stamps(files(tmp_path))

    second = run_stage(stage, RunOptions(num_workers=3))

    assert stamps(files(tmp_path)) == before
    assert dataclasses.replace(second, seconds=0) == dataclasses.replace(first, seconds=0)


def test_an_output_without_its_last_file_is_finished(tmp_path: Path) -> None:
    stage = ToyStage(tmp_path)
    run_stage(stage, HERE)
    last = tmp_path / "right" / "dataset" / "dataset_dict.json"
    last.unlink()

    run_stage(stage, HERE)

    assert last.exists()


# --- One run at a time ---------------------------------------------------------------------------


def test_a_second_run_is_refused(tmp_path: Path, expected: dict[str, str]) -> None:
    first = start_toy(tmp_path, "--seconds-per-row", "0.05")
    wait_until(lambda: count_records(tmp_path / "left") >= 1)

    second = run_toy(tmp_path)
    again = run_toy(tmp_path, "--overwrite")
    first.kill()
    first.wait()

    for run in (second, again):
        assert run.returncode == 2
        assert f"another run is working on {tmp_path / 'left'}" in run.stderr
        assert run.stderr.count("\n") == 1
    run_stage(ToyStage(tmp_path), HERE)
    assert digests(tmp_path) == expected


def test_every_output_is_locked(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class RightOnly(ToyStage):
        outputs = property(lambda self: ToyStage(self.folder).outputs[1:])

    refused = pytest.raises(InputError, match=r"another run is working on .*right")
    with lock([tmp_path / "left", tmp_path / "right"], exclusive=True), refused:
        run_stage(RightOnly(tmp_path), HERE)


# --- Other settings ------------------------------------------------------------------------------


def test_an_output_of_other_settings_is_refused(tmp_path: Path) -> None:
    run_stage(ToyStage(tmp_path), HERE)
    before = digests(tmp_path)

    with pytest.raises(InputError, match=r'salt: "a" then, "b" now.*--overwrite'):
        run_stage(ToyStage(tmp_path, salt="b"), HERE)
    assert digests(tmp_path) == before


def test_an_unfinished_output_of_other_settings_is_refused(tmp_path: Path) -> None:
    share(ToyStage(tmp_path), 0, 2)

    with pytest.raises(InputError, match='salt: "a" then, "b" now'):
        run_stage(ToyStage(tmp_path, salt="b"), HERE)
    with pytest.raises(InputError, match='salt: "a" then, "b" now'):
        share(ToyStage(tmp_path, salt="b"), 1, 2)


def test_another_input_is_noticed(tmp_path: Path) -> None:
    run_stage(ToyStage(tmp_path), HERE)

    with pytest.raises(InputError, match="the input has changed since"):
        run_stage(ToyStage(tmp_path, source_digest="another"), HERE)


def test_an_output_of_another_stage_is_refused(tmp_path: Path) -> None:
    run_stage(ToyStage(tmp_path), HERE)

    with pytest.raises(InputError, match='stage: "toy" then, "other" now'):
        run_stage(ToyStage(tmp_path, name="other"), HERE)


def test_overwrite_starts_again_and_leaves_what_is_not_ours(tmp_path: Path) -> None:
    run_stage(ToyStage(tmp_path / "fresh", salt="b"), HERE)
    run_stage(ToyStage(tmp_path / "old", sizes=(("train", 500), ("other", 9))), HERE)
    notes = tmp_path / "old" / "left" / "notes.txt"
    notes.write_text("mine")

    run_stage(ToyStage(tmp_path / "old", salt="b"), RunOptions(0, overwrite=True))

    assert notes.read_text() == "mine"
    notes.unlink()
    assert digests(tmp_path / "old") == digests(tmp_path / "fresh")


# --- Foreign folders -----------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("run_json", [None, '{"mine": true}'])
def test_a_foreign_dataset_is_never_touched(
    run_json: str | None, side: str, overwrite: bool, tmp_path: Path
) -> None:
    foreign = tmp_path / side / "dataset" / "train" / "data-00000-of-00001.arrow"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    if run_json:
        (tmp_path / side / "run.json").write_text(run_json)
    before = digests(tmp_path)

    with pytest.raises(InputError, match=f"{side} holds a dataset that"):
        run_stage(ToyStage(tmp_path), RunOptions(0, overwrite))
    with pytest.raises(InputError, match=f"{side} holds a dataset that"):
        share(ToyStage(tmp_path), 0, 2)
    assert digests(tmp_path) == before


def test_overwrite_clears_nothing_where_no_stage_has_been(tmp_path: Path) -> None:
    theirs = [tmp_path / "left" / name for name in ("shards/notes.txt", "timing.json")]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")

    clear([tmp_path / "left", tmp_path / "right"])

    assert [path.read_text() for path in theirs] == ["mine", "mine"]


def test_a_refused_overwrite_clears_no_other_output(tmp_path: Path) -> None:
    run_stage(ToyStage(tmp_path), HERE)
    (tmp_path / "right" / "run.json").unlink()
    before = digests(tmp_path)

    with pytest.raises(InputError, match="right holds a dataset"):
        run_stage(ToyStage(tmp_path), RunOptions(0, overwrite=True))

    assert digests(tmp_path) == before


# --- A full disk ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Disk:
    """A disk with too little room, until some is made."""

    folder: Path
    before_exec: Callable[[], None] | None
    make_room: Callable[[], None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    """Give a disk of 1 MB with so many bytes left, or, where that is not permitted, skip."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    ballast = folder / "ballast"

    def leave(n_bytes: int) -> Disk:
        ballast.write_bytes(bytes(shutil.disk_usage(folder).free - n_bytes))
        return Disk(folder / "out", None, ballast.unlink)

    yield leave
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_files(tmp_path: Path) -> Disk:
    """A disk whose quota lets no file grow beyond 12,000 bytes: less than a shard."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    return Disk(tmp_path / "out", limit, lambda: None)


@pytest.mark.parametrize(("n_bytes", "num_workers"), [(0, "0"), (300_000, "2")])
def test_a_full_disk_is_one_sentence(
    n_bytes: int,
    num_workers: str,
    small_disk: Callable[[int], Disk],
    expected: dict[str, str],
) -> None:
    check_full_disk(small_disk(n_bytes), num_workers, expected)


def test_a_quota_is_one_sentence(small_files: Disk, expected: dict[str, str]) -> None:
    check_full_disk(small_files, "0", expected)


def check_full_disk(disk: Disk, num_workers: str, expected: dict[str, str]) -> None:
    full = run_toy(disk.folder, "-j", num_workers, before_exec=disk.before_exec)
    disk.make_room()
    again = run_toy(disk.folder, "-j", num_workers)

    assert full.returncode == 2
    assert full.stderr.startswith("error: no space left on the disk of ")
    assert full.stderr.count("\n") == 1
    assert again.returncode == 0, again.stderr
    assert digests(disk.folder) == expected
    assert temporary_files(disk.folder) == []


# --- Too many failures ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--quarantine-every", "1"), "error: all 200 clips are quarantined; see "),
        (("--max-failures", "29"), "error: 30 of 200 clips are quarantined, more than "),
    ],
)
def test_too_many_failures_exit_with_1_every_time(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    for _ in range(2):
        run = run_toy(tmp_path, *arguments)

        assert run.returncode == 1
        assert run.stderr.startswith(message)
        assert (tmp_path / "left" / "quarantine.jsonl").exists()


def test_as_many_failures_as_allowed_are_fine(tmp_path: Path) -> None:
    assert run_stage(ToyStage(tmp_path), RunOptions(0, max_failures=30)).quarantined == 30


# --- Helpers -------------------------------------------------------------------------------------


def share(stage: ToyStage, index: int, count: int) -> StageReport:
    return run_stage(stage, RunOptions(num_workers=0, shard=(index, count)))


def count_records(root: Path) -> int:
    return len(list((root / "shards").glob("*.json")))


def start_toy(
    folder: Path, *arguments: str, before_exec: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, toy_stage.__file__, str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=before_exec or heed_interrupts,
    )


def heed_interrupts() -> None:
    """Undo what a shell does to jobs in the background, should the tests be one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_toy(
    folder: Path, *arguments: str, before_exec: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    run = start_toy(folder, *arguments, before_exec=before_exec)
    stdout, stderr = run.communicate(timeout=120)
    return subprocess.CompletedProcess(run.args, run.returncode, stdout, stderr)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                children.append(int(status.parent.name))
    return children


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"  # one that ended and that nobody has asked after is no burden


def killed_at_rename(number: int, stage: ToyStage, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run a stage as if a SIGKILL came at its n-th rename; False if it has fewer."""

    class Killed(BaseException):
        pass

    rename, remove, n_renames = Path.replace, Path.unlink, 0

    def rename_or_die(path: Path, target: Path) -> Path:
        nonlocal n_renames
        n_renames += 1
        if n_renames == number:
            raise Killed
        return rename(path, target)

    def remove_if_alive(path: Path, missing_ok: bool = False) -> None:
        if n_renames < number:
            remove(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", rename_or_die)
        patch.setattr(Path, "unlink", remove_if_alive)
        try:
            run_stage(stage, HERE)
        except Killed:
            return True
    return False
