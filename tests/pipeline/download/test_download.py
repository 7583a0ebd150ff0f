"""``pipeline download`` from end to end: the key is hidden, the archive arrives and is imported."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import DATASET, FILENAME, KEY, Answer, Loopback, Play
from makers import ReleaseDraft, mp3, tone

from pipeline.corpus import open_corpus
from pipeline.download.key import hide_argument


@pytest.fixture
def release(tmp_path: Path) -> bytes:
    """A release archive: two clips for training, one for testing."""
    draft = ReleaseDraft()
    for number, table in enumerate(("train", "train", "test")):
        sentence = f'She said "{number}".'
        draft.add(table, f"clip{number}.mp3", mp3(tone(300 + number, 0.3)), sentence)
    packed = draft.pack(tmp_path / "packed.tar.gz")
    content = packed.read_bytes()
    packed.unlink()
    return content


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# --- the archive alone ---


def test_the_archive_arrives(download, out, archive):
    outcome = download("--no-import")
    assert outcome.status == 0
    assert (out / FILENAME).read_bytes() == archive
    assert outcome.out == f"download → {out / FILENAME} (300.0 kB)\n"


def test_options_of_the_pilot_are_taken_as_it_spelt_them(download, loopback, tmp_path, archive):
    loopback.listing["name"] = "Common Voice Scripted Speech 17.0"
    loopback.items = [loopback.listing]
    there = tmp_path / "elsewhere"
    version = "mozilla-foundation/common_voice_17_0"
    outcome = download(
        *("--output_dir", there, "--version", version, "--token", KEY, "--no_import"),
        *("--splits", "train", "validation"),
        key=None,
    )
    assert outcome.status == 0
    assert (there / FILENAME).read_bytes() == archive


def test_what_is_finished_needs_neither_network_nor_key(download, loopback, monkeypatch, out):
    assert download("--no-import").status == 0
    loopback.close()
    monkeypatch.delenv("MDC_API_KEY")
    outcome = download("--no-import", "--json", key=None)
    assert outcome.status == 0
    assert outcome.report["path"] == str(out / FILENAME)


def test_a_report_for_programs(download, out, archive):
    report = download("--no-import", "--json").report
    assert report["path"] == str(out / FILENAME)
    assert (report["dataset"], report["size_bytes"]) == (DATASET, len(archive))
    assert len(report["sha256"]) == 64
    assert report["import"] is None


def test_a_dry_run_asks_and_writes_nothing(download, loopback, out):
    outcome = download("--dry-run")
    assert outcome.status == 0
    name = "download: Common Voice Scripted Speech 9.9 - English, 300.0 kB, nothing written"
    assert outcome.out.startswith(f"{name}\n  {loopback.listing['datasetUrl']}\n  → {out}, where ")
    assert not out.exists()
    assert [seen.method for seen in loopback.seen] == ["GET"]


def test_a_dry_run_for_programs(download):
    plan = download("--dry-run", "--json").report
    assert (plan["dataset"], plan["size_bytes"]) == (DATASET, 300_000)
    assert plan["free_bytes"] > 0


def test_the_address_of_the_service_comes_from_the_environment(
    command, loopback, monkeypatch, out, archive
):
    monkeypatch.setenv("MDC_API_URL", loopback.api_url)
    monkeypatch.setenv("MDC_API_KEY", KEY)
    assert command("download", "--output-dir", out, "--no-import").status == 0
    assert (out / FILENAME).read_bytes() == archive


@pytest.mark.parametrize(
    ("play", "status", "sentence"),
    [
        (Play(status=429, headers={"Retry-After": "7200"}), 2, "asks to be left alone for 7200 s"),
        (Play(extra=b"more"), 1, "with 300004 bytes, and the service states 300000"),
        (Play(headers={"Content-Length": "9"}), 1, "with 9 bytes, and the service states 300000"),
    ],
)
def test_what_fails_fails_with_a_sentence(download, loopback, play, status, sentence):
    loopback.plays = [play]
    outcome = download("--no-import")
    assert outcome.status == status
    assert sentence in outcome.complaint


@pytest.mark.parametrize("status", [401, 402, 403, 404, 410])
def test_a_refusal_leaves_nothing_behind(download, loopback, out, status):
    loopback.answers[f"GET /api/datasets/{DATASET}"] = [Answer(status)]
    outcome = download("--no-import")
    assert outcome.status == 2
    assert f"(status {status})" in outcome.complaint
    assert not out.exists()


def test_options_that_contradict_each_other(download):
    assert "drop one of them" in download("--streaming", "--no-import").complaint
    assert "leave out --version" in download("--dataset", "x", "--version", "26.0").complaint


def test_a_file_where_the_folder_should_be(download, out):
    out.write_text("")
    outcome = download("--no-import")
    assert outcome.status == 2
    assert f"{out} cannot be written to" in outcome.complaint


# --- the key ---


def test_without_a_key_it_says_where_to_put_one(download, monkeypatch):
    for empty in (None, "", " \n"):
        if empty is not None:
            monkeypatch.setenv("MDC_API_KEY", empty)
        outcome = download(key=None)
        assert outcome.status == 2
        assert "put it into the environment variable MDC_API_KEY" in outcome.complaint


def test_a_key_from_standard_input(download, monkeypatch, caplog):
    monkeypatch.setattr("sys.stdin", io.StringIO(f" {KEY}\n"))
    assert download("--token", "-", "--no-import", key=None).status == 0
    assert "command line" not in caplog.text


def test_a_key_on_the_command_line_is_warned_of(download, caplog):
    assert download("--token", KEY, "--no-import", key=None).status == 0
    assert "may be seen by all users of this machine" in caplog.text


def test_nothing_is_told_even_when_everything_is_logged(loopback, out):
    loopback.plays = [Play(cut_after=1000), Play(status=403), Play(hold_after=0)]
    process = in_a_process(loopback, out, "--token", KEY, "--log-level", "DEBUG", key=None)
    with process:
        assert loopback.held.wait(60)
        process.send_signal(signal.SIGINT)
        told = process.communicate()[1].decode()
    assert "command line may be seen" in told
    assert told.count("trying again in") == 2
    assert KEY not in told and "s1gned" not in told


def test_the_key_is_in_no_list_of_processes(loopback, out):
    if not Path("/proc/self/mem").exists():
        pytest.skip("no /proc")
    loopback.plays = [Play(hold_after=1000)]
    with in_a_process(loopback, out, "--token", KEY, f"--token={KEY}", key=None) as process:
        assert loopback.held.wait(60)
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.kill()
    assert KEY.encode() not in shown
    assert shown.count(b"x" * len(KEY)) == 2
    assert shown.split(b"\0")[3:5] == [b"download", b"--api-url"]


def test_only_whole_arguments_are_hidden(monkeypatch):
    monkeypatch.setattr("sys.argv", ["pipeline", "--token=ab=c", "ab=c", "xab=c", "ab=cd"])
    assert not hide_argument("ab=c")  # this process was not started with it
    assert sys.argv == ["pipeline", "--token=xxxx", "xxxx", "xab=c", "ab=cd"]


# --- killed ---


def in_a_process(
    served: Loopback, out: Path, *arguments: str, key: str | None = KEY
) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "MDC_API_KEY"}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pipeline.cli", "download", "--api-url", served.api_url),
            *("--output-dir", str(out), "--num-workers", "0", *arguments),
        ],
        env={**environment, **({"MDC_API_KEY": key} if key else {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )


def heed_interrupts() -> None:
    """Undo what a process inherits that is started in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_it_goes_on(download, loopback, out, archive, sent):
    # The second connection is held, so all of the first has been written when that is asked for.
    loopback.plays = [Play(cut_after=150_000), Play(hold_after=0)]
    with in_a_process(loopback, out, "--no-import") as process:
        assert loopback.held.wait(60)
        process.send_signal(sent)
        _, told = process.communicate()
    assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    assert b"Traceback" not in told and KEY.encode() not in told
    assert not (out / FILENAME).exists()
    kept = (out / f"{FILENAME}.part").stat().st_size
    assert 0 < kept <= 150_000
    assert (out / f"{FILENAME}.part").read_bytes() == archive[:kept]

    loopback.seen.clear()
    assert download("--no-import").status == 0
    assert loopback.ranges == [f"bytes={kept}-"]
    assert (out / FILENAME).read_bytes() == archive


# --- and is imported ---


@pytest.fixture
def imported(command: Callable, release: bytes, tmp_path: Path) -> bytes:
    """Run file of the same release, imported from its archive by ``pipeline import``."""
    archive = tmp_path / "beside" / FILENAME
    archive.parent.mkdir()
    archive.write_bytes(release)
    assert command("import", archive, tmp_path / "imported").status == 0
    return (tmp_path / "imported" / "run.json").read_bytes()


@pytest.fixture
def loopback_of_release(loopback: Loopback, release: bytes) -> Loopback:
    """The service, with the release for an archive."""
    loopback.hold(release)
    return loopback


@pytest.mark.parametrize("options", [(), ("--streaming",)], ids=["unpacked", "streaming"])
def test_the_corpus_is_that_of_an_import(download, loopback_of_release, out, imported, options):
    loopback_of_release.plays = [Play(cut_after=700), Play(cut_after=900, reset=True)]
    outcome = download(*options)
    assert outcome.status == 0, outcome.err
    assert (out / "run.json").read_bytes() == imported
    corpus = open_corpus(out)
    assert [row["sentence"] for row in map(corpus["train"].row, range(2))] == [
        'She said "0".',
        'She said "1".',
    ]
    assert (out / FILENAME).exists() == (options == ())
    assert "not kept" in outcome.out or not options


@pytest.mark.parametrize("options", [(), ("--streaming",)], ids=["unpacked", "streaming"])
def test_done_is_done(download, loopback_of_release, out, options, monkeypatch):
    first = download("--json", *options)
    assert first.status == 0
    before = {path: path.stat().st_mtime_ns for path in (out / "dataset").rglob("*")}
    loopback_of_release.close()
    monkeypatch.delenv("MDC_API_KEY")
    again = download("--json", *options, key=None)
    assert again.status == 0, again.err
    assert again.report["import"]["splits"] == first.report["import"]["splits"]
    assert {path: path.stat().st_mtime_ns for path in (out / "dataset").rglob("*")} == before


def test_only_the_splits_that_are_asked_for(download, loopback_of_release, out):
    report = download("--splits", "test", "--limit", "1", "--json").report
    assert list(report["import"]["splits"]) == ["test"]
    assert open_corpus(out).splits == ("test",)


def test_an_archive_that_was_kept_may_be_imported_later(
    download, loopback_of_release, imported, out
):
    assert download("--no-import").status == 0
    loopback_of_release.close()
    assert download("--streaming").status == 0
    assert (out / "run.json").read_bytes() == imported


def test_a_stream_killed_in_the_middle_begins_again(download, loopback_of_release, out, imported):
    loopback_of_release.plays = [Play(cut_after=900), Play(hold_after=0)]
    with in_a_process(loopback_of_release, out, "--streaming") as process:
        assert loopback_of_release.held.wait(60)
        process.kill()
    assert not (out / "dataset").exists()
    assert download("--streaming").status == 0
    assert (out / "run.json").read_bytes() == imported


def test_a_stream_killed_at_its_end_needs_no_service(
    download, loopback_of_release, out, imported, monkeypatch
):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.commonvoice.streaming.run_stage", die)
        assert download("--streaming").status == 130
    loopback_of_release.close()
    outcome = download("--streaming")
    assert outcome.status == 0, outcome.err
    assert (out / "run.json").read_bytes() == imported


def test_a_stream_with_a_wrong_checksum_makes_no_corpus(download, loopback_of_release, out):
    loopback_of_release.grant["checksum"] = "0" * 64
    outcome = download("--streaming")
    assert outcome.status == 1
    assert "arrived with the SHA-256" in outcome.complaint
    assert not (out / "run.json").exists()


def test_what_is_no_release_says_so(download, out):
    outcome = download("--streaming")
    assert outcome.status == 2
    assert FILENAME in outcome.complaint
