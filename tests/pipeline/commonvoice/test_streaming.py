"""`pipeline import --streaming`: the same bytes, in one pass, on no more disk than promised."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import datasets
import pytest
from makers import ReleaseDraft, mp3, noise, pack, tone
from outputs import digests, stamps

from pipeline.commonvoice import spool, streaming
from pipeline.commonvoice.archive import Limits
from pipeline.commonvoice.streaming import stream_release
from pipeline.corpus import open_corpus
from pipeline.errors import InputError
from pipeline.stage import RunOptions

BASE = "cv-corpus-9.9/en"
N_CLIPS = 40
TABLES = ("train", "dev", "test", "other", "invalidated")
HERE = RunOptions(num_workers=0)


@pytest.fixture(scope="module")
def draft() -> ReleaseDraft:
    """Forty clips in five tables, of which some are bad; two more that no table names."""
    sounds = [mp3(tone(200 + 20 * n, 0.2)) for n in range(N_CLIPS)]
    draft = ReleaseDraft()
    for number, sound in enumerate(sounds):
        bad = {3: b"", 4: b"no audio" * 40, 5: None}
        table = TABLES[number % 2] if number < 36 else TABLES[2 + number % 3]
        draft.add(table, f"c{number}.mp3", bad.get(number, sound), f'A "quoted {number}')
    draft.add("validated", "c0.mp3", sounds[0])
    draft.add("test", "c6.mp3", None)  # in two tables
    draft.add("test", "../c7.mp3", None)
    draft.clips |= {"unnamed.mp3": sounds[0], "nor-this": b"x" * 5_000}
    draft.tables["clip_durations"] = b"clip\tduration[ms]\nc8.mp3\t9000\nc9.mp3\t200\n"
    return draft


def members_of(draft: ReleaseDraft, order: str) -> dict[str, bytes]:
    clips = {f"{BASE}/clips/{name}": content for name, content in draft.clips.items()}
    tables = {f"{BASE}/{name}.tsv": content for name, content in draft.tables.items()}
    if order == "tables last":
        return clips | tables
    if order == "tables first":
        return tables | dict(reversed(clips.items()))
    names = sorted(clips | tables, key=lambda name: hash_of(name))  # in any order
    return {name: (clips | tables)[name] for name in names}


def hash_of(name: str) -> bytes:
    return name.encode()[::-1]


ORDERS = ("tables first", "tables last", "mixed")


@pytest.fixture(scope="module", params=ORDERS)
def archive(request, draft, tmp_path_factory) -> Path:
    return pack(tmp_path_factory.mktemp("archive") / "cv.tar.gz", members_of(draft, request.param))


# --- what comes out ---


@pytest.mark.parametrize("options", [(), ("--keep-original",), ("--splits", "train,validated")])
def test_the_bytes_are_those_of_an_import_that_unpacks(command, archive, tmp_path, options):
    unpacked = command("import", archive, tmp_path / "unpacked", "--json", *options)
    streamed = command("import", archive, tmp_path / "streamed", "--json", "--streaming", *options)
    assert (streamed.status, streamed.err) == (0, "")
    expected = {
        name: digest
        for name, digest in digests(tmp_path / "unpacked").items()
        if not name.startswith("source/")
    }
    assert digests(tmp_path / "streamed") == expected
    assert streamed.report["splits"] == unpacked.report["splits"]


def test_any_number_of_threads_and_a_limit_give_the_same_bytes(command, archive, tmp_path):
    arguments = ("--streaming", "--limit", 7)
    for workers in (0, 2):
        outcome = command("import", archive, tmp_path / str(workers), *arguments, workers=workers)
        assert outcome.status == 0
    assert digests(tmp_path / "0") == digests(tmp_path / "2")
    assert len(open_corpus(tmp_path / "2")["test"]) < len(open_corpus(tmp_path / "2")["train"]) == 5


def test_sentences_splits_and_quarantine_are_exact(command, quarantine, archive, tmp_path):
    assert command("import", archive, tmp_path / "out", "--streaming").status == 0
    corpus = open_corpus(tmp_path / "out")
    assert corpus.splits == ("train", "validation", "test", "other", "invalidated")
    train = [number for number in range(0, 36, 2) if number not in (4, 8)]
    assert corpus["train"].column("id").to_pylist() == [f"c{number}" for number in train]
    assert corpus["train"].column("sentence").to_pylist() == [f'A "quoted {n}' for n in train]
    assert "c6" in corpus["test"].column("id").to_pylist()
    reasons = quarantine(tmp_path / "out")
    assert reasons["c3.mp3"] == "empty file (0 bytes)"
    assert reasons["c4.mp3"].startswith("not decodable as audio")
    assert reasons["c5.mp3"] == "file is missing"
    assert reasons["../c7.mp3"] == "not a plain file name: '../c7.mp3'"
    assert reasons["c8.mp3"].startswith("truncated: ")
    assert len(reasons) == 5
    opened = datasets.load_from_disk(str(corpus.dataset))
    assert opened["train"].features["audio"] == datasets.Audio(sampling_rate=16_000)


def test_nothing_is_left_but_the_corpus(command, archive, tmp_path):
    command("import", archive, tmp_path / "out", "--streaming")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert not left & {"spool", "source"}


# --- the stream ---


class OneWay(io.RawIOBase):
    """Bytes that come once, a few at a time, as from a network; it knows what was asked of it."""

    def __init__(self, content: bytes) -> None:
        self.content, self.position = content, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        piece = self.content[self.position : self.position + min(len(buffer), 997)]
        buffer[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)


def test_a_stream_that_cannot_seek_is_enough(command, archive, tmp_path):
    command("import", archive, tmp_path / "file", "--streaming")
    stream = OneWay(archive.read_bytes())
    report = stream_release(stream, tmp_path / "stream", name=archive.name, options=HERE)
    assert report.complete
    assert stream.position == len(stream.content)
    assert digests(tmp_path / "stream") == digests(tmp_path / "file")


def test_a_plain_tar_is_a_release_too(draft, tmp_path):
    for name in ("cv.tar", "cv.tar.gz"):
        archive = pack(tmp_path / name, members_of(draft, "mixed"))
        with archive.open("rb") as stream:
            stream_release(stream, tmp_path / f"{name} out", name=name, options=HERE)
    compare = [digests(tmp_path / f"{name} out" / "dataset") for name in ("cv.tar", "cv.tar.gz")]
    assert compare[0] == compare[1]


def test_members_are_forgotten_while_they_are_read(draft, tmp_path, monkeypatch):
    kept = []
    place = spool.Spool.place

    def watch(self, *arguments):
        kept.append(len(archives[-1].members))
        place(self, *arguments)

    archives = []
    begin = tarfile.TarFile.__init__

    def remember(self, *arguments, **options):
        archives.append(self)
        begin(self, *arguments, **options)

    monkeypatch.setattr(spool.Spool, "place", watch)
    monkeypatch.setattr(tarfile.TarFile, "__init__", remember)
    archive = pack(tmp_path / "cv.tar.gz", members_of(draft, "tables first"))
    with archive.open("rb") as stream:
        stream_release(stream, tmp_path / "out", name="cv.tar.gz", options=HERE)
    assert max(kept) <= 1


# --- disk ---


def test_waiting_clips_leave_as_they_are_converted_and_shards_as_they_are_made(
    draft, tmp_path, monkeypatch
):
    monkeypatch.setattr(spool, "WAITING_BYTES", 4_000)
    sizes = []
    place = spool.Spool.place

    def watch(self, *arguments):
        place(self, *arguments)
        sizes.append(size_of(self.folder / "waiting"))

    monkeypatch.setattr(spool.Spool, "place", watch)
    seen = []
    sounds = streaming.StreamedRelease._sounds

    def look(self, split, start):
        found = sounds(self, split, start)
        seen.append(len(list((self.unpack_to / "shards").iterdir())))
        return found

    monkeypatch.setattr(streaming.StreamedRelease, "_sounds", look)
    archive = pack(tmp_path / "cv.tar.gz", members_of(draft, "tables last"))
    with archive.open("rb") as stream:
        stream_release(stream, tmp_path / "out", name="cv.tar.gz", options=HERE)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) > 3
    assert sizes[-1] < 12_000 < sizes[0]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 1


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_no_table_names_never_reaches_the_disk(draft, tmp_path, monkeypatch):
    placed = []
    monkeypatch.setattr(
        spool.Spool, "wait", lambda *_: pytest.fail("the tables came before all clips")
    )
    place = spool.Spool.place
    monkeypatch.setattr(
        spool.Spool, "place", lambda self, *a: (placed.append(a[1]), place(self, *a))
    )
    archive = pack(tmp_path / "cv.tar.gz", members_of(draft, "tables first"))
    with archive.open("rb") as stream:
        stream_release(stream, tmp_path / "out", name="cv.tar.gz", options=HERE)
    assert not {"unnamed.mp3", "nor-this"} & set(placed)
    assert len(placed) == N_CLIPS  # c6 twice, c5 never


# --- stopping and going on ---

KILLER = """
import os, signal, sys
from pathlib import Path
from pipeline.commonvoice import spool, streaming
from pipeline.commonvoice.streaming import stream_release
from pipeline.stage import RunOptions
import pipeline.stage

owner, name, count = sys.argv[3], sys.argv[4], int(sys.argv[5])
target = {"spool": spool.Spool, "shards": pipeline.stage}[owner]
real = getattr(target, name)
def counted(*arguments, **options):
    global count
    count -= 1
    if count < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(target, name, counted)
archive = Path(sys.argv[1])
with archive.open("rb") as stream:
    stream_release(stream, Path(sys.argv[2]), name=archive.name, options=RunOptions(0))
"""


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        *(("spool", "wait", 9), ("spool", "place", 11), ("spool", "complete", 0)),
        *(("shards", "write_shard", 0), ("shards", "write_shard", 3), ("spool", "remove", 0)),
    ],
)
def test_killed_anywhere_and_run_again_it_ends_in_the_same_bytes(
    command, draft, tmp_path, owner, name, count
):
    archive = pack(tmp_path / "cv.tar.gz", members_of(draft, "tables last"))
    out = tmp_path / "out"
    arguments = [str(archive), str(out), owner, name, str(count)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLER, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    outcome = command("import", archive, out, "--streaming")
    assert (outcome.status, outcome.err) == (0, "")
    command("import", archive, tmp_path / "whole", "--streaming")
    assert digests(out) == digests(tmp_path / "whole")


def test_an_archive_that_was_read_to_its_end_is_not_read_again(
    command, archive, tmp_path, monkeypatch
):
    run = streaming.run_stage

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(streaming, "run_stage", interrupted)
    assert command("import", archive, tmp_path / "out", "--streaming").status == 130
    monkeypatch.setattr(streaming, "run_stage", run)
    monkeypatch.setattr(streaming, "read_members", lambda *_: pytest.fail("it is read again"))
    assert command("import", archive, tmp_path / "out", "--streaming").status == 0
    monkeypatch.undo()
    assert open_corpus(tmp_path / "out").splits[0] == "train"


def test_a_spool_of_other_settings_is_not_used(command, archive, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(streaming, "run_stage", interrupted)
        arguments = ("--streaming", "--keep-original", "--limit", 3)
        assert command("import", archive, tmp_path / "out", *arguments).status == 130
    assert command("import", archive, tmp_path / "out", "--streaming").status == 0
    command("import", archive, tmp_path / "whole", "--streaming")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_complete_import_leaves_what_is_not_its_own(command, archive, tmp_path):
    command("import", archive, tmp_path / "out", "--streaming")
    (tmp_path / "out" / "spool").mkdir()
    (tmp_path / "out" / "spool" / "mine").touch()
    assert command("import", archive, tmp_path / "out", "--streaming").status == 0
    assert (tmp_path / "out" / "spool" / "mine").exists()


def test_a_complete_import_is_not_made_again(command, archive, tmp_path):
    first = command("import", archive, tmp_path / "out", "--streaming", "--json")
    written = [path for path in (tmp_path / "out").rglob("*") if path.name != ".lock"]
    before = stamps(written)
    again = command("import", archive, tmp_path / "out", "--streaming", "--json")
    assert again.report["splits"] == first.report["splits"]
    assert stamps(written) == before
    assert (
        command("import", archive, tmp_path / "out", "--streaming", "--max-failures", 0).status == 1
    )


def test_a_lost_shard_is_made_again(command, archive, tmp_path):
    command("import", archive, tmp_path / "out", "--streaming")
    before = digests(tmp_path / "out")
    next((tmp_path / "out" / "dataset" / "train").glob("*.arrow")).unlink()
    assert command("import", archive, tmp_path / "out", "--streaming").status == 0
    assert digests(tmp_path / "out") == before


def test_other_settings_are_refused_before_the_archive_is_read(
    command, archive, tmp_path, monkeypatch
):
    command("import", archive, tmp_path / "out", "--streaming")
    with monkeypatch.context() as patched:
        patched.setattr(streaming, "read_members", lambda *_: pytest.fail("it is read"))
        outcome = command("import", archive, tmp_path / "out", "--streaming", "--limit", 3)
    assert outcome.status == 2
    assert "(limit: null then, 3 now)" in outcome.complaint
    arguments = ("--streaming", "--limit", 3, "--overwrite")
    assert command("import", archive, tmp_path / "out", *arguments).status == 0
    assert len(open_corpus(tmp_path / "out")["train"]) == 2


# --- what is refused ---


def test_a_folder_of_somebody_else_is_left_alone(command, archive, tmp_path):
    (tmp_path / "out" / "spool" / "tables").mkdir(parents=True)
    (tmp_path / "out" / "spool" / "tables" / "mine.tsv").write_bytes(b"mine")
    outcome = command("import", archive, tmp_path / "out", "--streaming")
    assert outcome.status == 2
    assert "holds something else; name another output folder" in outcome.complaint
    assert (tmp_path / "out" / "spool" / "tables" / "mine.tsv").read_bytes() == b"mine"


def test_a_task_of_an_array_does_not_stream(command, archive, tmp_path):
    outcome = command("import", archive, tmp_path / "out", "--streaming", "--shard", "0/2")
    assert outcome.status == 2
    assert outcome.complaint.startswith("--streaming and --shard exclude each other")


def test_a_folder_is_no_stream(command, draft, tmp_path):
    outcome = command("import", draft.write(tmp_path), tmp_path / "out", "--streaming")
    assert outcome.status == 2
    assert "--streaming reads an archive" in outcome.complaint


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95, 0.999])
def test_a_cut_archive_is_one_sentence_and_leaves_nothing(command, archive, tmp_path, share):
    content = archive.read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(content[: int(share * len(content))])
    outcome = command("import", cut, tmp_path / "out", "--streaming")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{cut} cannot be unpacked (")
    assert outcome.complaint.endswith(
        "check that the download is complete and that the disk has room"
    )
    assert not (tmp_path / "out" / "dataset").exists()
    assert not (tmp_path / "out" / "spool").exists()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("twice", [f"{BASE}/clips/c1.mp3", f"{BASE}/train.tsv"])
def test_a_member_that_comes_twice_is_refused(draft, tmp_path, order, twice):
    members = members_of(draft, order)
    archive = tmp_path / "cv.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in [*members.items(), (twice, members[twice])]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    name = Path(twice).name
    with archive.open("rb") as stream, pytest.raises(InputError, match=f"holds '?{name}'? twice"):
        stream_release(stream, tmp_path / "out", name="cv.tar", options=HERE)


def test_an_archive_of_something_else_is_refused(tmp_path):
    archive = pack(tmp_path / "cv.tar.gz", {"photos/clips/1.jpg": b"x"})
    with archive.open("rb") as stream, pytest.raises(InputError, match="holds no tables such as"):
        stream_release(stream, tmp_path / "out", name="cv.tar.gz", options=HERE)
    assert not (tmp_path / "out").exists()


def test_limits_hold_for_a_stream_too(archive, tmp_path):
    with archive.open("rb") as stream, pytest.raises(InputError, match="than the limit of 100 for"):
        limits = Limits(clip_bytes=100)
        stream_release(stream, tmp_path / "out", name="cv", options=HERE, limits=limits)


def test_an_unknown_split_lists_the_known_ones(command, archive, tmp_path):
    outcome = command("import", archive, tmp_path / "out", "--streaming", "--splits", "dev")
    assert outcome.status == 2
    assert outcome.complaint.startswith(
        f"{archive} has no split 'dev'; available splits: train, va"
    )


# --- dry runs ---


def test_a_dry_run_unpacks_nothing(command, archive, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for streamed in ((), ("--streaming",)):
        outcome = command("import", archive, tmp_path / "out", "--dry-run", *streamed)
        assert (outcome.status, outcome.err) == (0, "")
        assert outcome.out.splitlines()[1:4] == [
            "import: 42 clips in 7 shards, nothing written",
            "  train: 18 clips",
            "  validation: 18 clips",
        ]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_reads_no_further_than_the_tables(command, draft, tmp_path):
    members = members_of(draft, "tables first") | {f"{BASE}/clips/big": noise(20).tobytes()}
    whole = pack(tmp_path / "whole.tar.gz", members).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[:-300_000])
    assert command("import", tmp_path / "cut.tar.gz", tmp_path / "out", "--dry-run").status == 0


def test_the_header_of_gzip_and_not_the_name_says_what_a_stream_is(draft, tmp_path):
    archive = pack(tmp_path / "cv.tar.gz", members_of(draft, "mixed"))
    plain = gzip.decompress(archive.read_bytes())
    report = stream_release(io.BytesIO(plain), tmp_path / "out", name="cv.tar.gz", options=HERE)
    assert (
        json.loads((tmp_path / "out" / "run.json").read_text())["config"]["source"] == "cv.tar.gz"
    )
    assert report.clips_out == 37
