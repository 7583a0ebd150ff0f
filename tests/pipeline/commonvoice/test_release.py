"""Releases as they come: folders of several depths, archives of several makes, some of them bad."""

import contextlib
import gzip
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import ReleaseDraft, noise, pack, seeded

from pipeline.commonvoice.release import (
    ORIGIN_FILE,
    extract_archive,
    find_release,
    fingerprint,
    is_archive,
)
from pipeline.errors import InputError, MissingPathError

BASE = "cv-corpus-9.9/en"


@pytest.fixture
def draft() -> ReleaseDraft:
    draft = ReleaseDraft()
    for table in ("train", "dev", "test", "validated"):
        for number in range(3):
            name = f"{table}{number}.mp3"
            draft.add(table, name, name.encode() * 100)
    return draft


def files_of(folder: Path) -> dict[str, bytes]:
    ours = (ORIGIN_FILE, ".out.lock")
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in ours]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def files_of_draft(draft: ReleaseDraft) -> dict[str, bytes]:
    clips = {f"clips/{name}": content for name, content in draft.clips.items()}
    return {f"{name}.tsv": content for name, content in draft.tables.items()} | clips


# --- folders ---


@pytest.mark.parametrize("given", ["", "cv-corpus-9.9", "cv-corpus-9.9/en"])
def test_a_release_is_found_from_its_locale_its_version_or_the_folder_around(
    draft, tmp_path, given
):
    draft.write(tmp_path)
    release = find_release(tmp_path / given)
    assert release.folder == tmp_path / BASE
    assert release.clips == tmp_path / BASE / "clips"


def test_splits_have_the_names_of_the_hub(draft, tmp_path):
    tables = find_release(draft.write(tmp_path)).tables()
    assert {split: path.name for split, path in tables.items()} == {
        "train": "train.tsv",
        "validation": "dev.tsv",
        "test": "test.tsv",
        "validated": "validated.tsv",
    }


def test_durations_of_old_releases_have_another_name(draft, tmp_path):
    folder = draft.write(tmp_path) / "en"
    assert find_release(folder).durations == folder / "clip_durations.tsv"
    (folder / "times.txt").touch()
    assert find_release(folder).durations == folder / "times.txt"


@pytest.mark.parametrize("beside", ["cv-corpus-9.9/de", "cv-corpus-8.0/en"])
def test_several_releases_are_named_and_none_is_guessed(draft, tmp_path, beside):
    draft.write(tmp_path)
    draft.write(tmp_path, *beside.split("/"))
    with pytest.raises(InputError, match="holds several releases .*name one of them$") as refusal:
        find_release(tmp_path)
    assert f"{tmp_path}/{beside}" in str(refusal.value)
    assert f"{tmp_path}/{BASE}" in str(refusal.value)
    assert find_release(tmp_path / beside).folder == tmp_path / beside


@pytest.mark.parametrize("lacking", ["clips", "tables", "everything"])
def test_a_folder_that_is_no_release_is_told_what_it_lacks(draft, tmp_path, lacking):
    folder = draft.write(tmp_path) / "en"
    if lacking in ("clips", "everything"):
        shutil.rmtree(folder / "clips")
    if lacking in ("tables", "everything"):
        for table in folder.glob("*.tsv"):
            table.unlink()
    with pytest.raises(InputError, match="a folder with clips/ and tables such as train.tsv is ne"):
        find_release(folder)


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(MissingPathError, match="absent does not exist; name a release folder or"):
        find_release(tmp_path / "absent")


# --- archives ---


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar"])
def test_an_archive_unpacks_to_what_the_folder_holds(draft, tmp_path, suffix):
    archive = draft.pack(tmp_path / f"cv{suffix}")
    assert is_archive(archive)
    release = extract_archive(archive, tmp_path / "out")
    assert release.folder == tmp_path / "out"
    assert files_of(tmp_path / "out") == files_of_draft(draft)


def test_clips_may_come_before_and_behind_the_tables(draft, tmp_path):
    clips = {f"{BASE}/clips/{name}": content for name, content in draft.clips.items()}
    tables = {f"{BASE}/{name}.tsv": content for name, content in draft.tables.items()}
    first, second = (tmp_path / "first.tar", tmp_path / "second.tar")
    extract_archive(pack(first, tables | clips), tmp_path / "a")
    extract_archive(pack(second, clips | tables), tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b") == files_of_draft(draft)


def test_what_is_unpacked_is_not_unpacked_again(draft, tmp_path):
    archive = draft.pack(tmp_path / "cv.tar.gz")
    extract_archive(archive, tmp_path / "out")
    (tmp_path / "out" / "clips" / "train0.mp3").write_bytes(b"changed since")
    extract_archive(archive, tmp_path / "out")
    assert (tmp_path / "out" / "clips" / "train0.mp3").read_bytes() == b"changed since"


def test_another_archive_is_never_taken_for_unpacked_already(draft, tmp_path):
    extract_archive(draft.pack(tmp_path / "cv.tar.gz"), tmp_path / "out")
    draft.add("train", "more.mp3", b"more")
    extract_archive(draft.pack(tmp_path / "cv.tar.gz"), tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of_draft(draft)


def test_a_folder_of_somebody_else_is_not_replaced(draft, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.tsv").write_bytes(b"mine")
    with pytest.raises(InputError, match="holds something else; name another output folder"):
        extract_archive(draft.pack(tmp_path / "cv.tar.gz"), tmp_path / "out")
    assert files_of(tmp_path / "out") == {"train.tsv": b"mine"}


def test_an_unpacking_that_was_interrupted_starts_again(draft, tmp_path):
    (tmp_path / "out.tmp" / "clips").mkdir(parents=True)
    (tmp_path / "out.tmp" / "clips" / "half.mp3").write_bytes(b"half")
    extract_archive(draft.pack(tmp_path / "cv.tar.gz"), tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of_draft(draft)
    assert not (tmp_path / "out.tmp").exists()


ESCAPES = [
    "../../escaped.tsv",
    "/escaped.tsv",
    f"{BASE}/../../../../escaped.tsv",
    "cv-corpus-9.9/en/../en/escaped.tsv",
    "..",
    "/",
    f"{BASE}/clips/..",
    f"{BASE}/clips/../../../../../escaped.mp3",
    "clips/../../clips/escaped.mp3",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_hostile_name_writes_nothing_outside(draft, tmp_path, name):
    inner = tmp_path / "deep" / "er"
    (inner / "clips").mkdir(parents=True)
    good = {f"{BASE}/clips/a.mp3": b"a", f"{BASE}/train.tsv": draft.tables["train"]}
    archive = pack(inner / "cv.tar.gz", {name: b"evil"} | good)
    before = files_of(tmp_path)
    try:
        extract_archive(archive, inner / "out")
    except InputError as error:
        assert "more than one locale" in str(error)
    written = files_of(tmp_path).keys() - before.keys()
    assert all(path.startswith(("deep/er/out/", "deep/er/out.tmp/")) for path in written), written
    assert not Path("/escaped.tsv").exists()


@seeded
@given(
    st.lists(st.sampled_from(["..", ".", "", "clips", "en", "a.mp3", "b.tsv", "c\\d"]), min_size=1)
)
def test_no_member_name_at_all_writes_outside(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("archive")
    tables = {"b.tsv": b"path\tsentence\n"}
    archive = pack(folder / "cv.tar", tables | {"/".join(parts) or ".": b"evil"})
    with contextlib.suppress(InputError):
        extract_archive(archive, folder / "out")
    assert {path.parts[0] for path in map(Path, files_of(folder))} <= {"cv.tar", "out", "out.tmp"}


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        pytest.param(tarfile.SYMTYPE, "/etc/passwd", id="symlink"),
        pytest.param(tarfile.LNKTYPE, "/etc/passwd", id="hardlink"),
        pytest.param(tarfile.CHRTYPE, "", id="character-device"),
        pytest.param(tarfile.BLKTYPE, "", id="block-device"),
        pytest.param(tarfile.FIFOTYPE, "", id="fifo"),
        pytest.param(tarfile.DIRTYPE, "", id="folder"),
    ],
)
@pytest.mark.parametrize("name", [f"{BASE}/clips/trap.mp3", f"{BASE}/dev.tsv", f"{BASE}/clips"])
def test_what_is_no_file_is_left_alone(draft, tmp_path, kind, target, name):
    trap = special(name, kind, target)
    good = {f"{BASE}/clips/a.mp3": b"a", f"{BASE}/train.tsv": draft.tables["train"]}
    extract_archive(pack(tmp_path / "cv.tar.gz", {"trap": trap, **good}), tmp_path / "out")
    assert files_of(tmp_path / "out") == {
        "clips/a.mp3": b"a",
        "train.tsv": draft.tables["train"],
    }
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_files_that_nobody_wants_are_left_alone(draft, tmp_path):
    others = {f"{BASE}/README.md": b"Hello", f"{BASE}/setup.py": b"import os", "x/clips": None}
    wanted = {f"{BASE}/clips/a.mp3": b"a", f"{BASE}/train.tsv": draft.tables["train"]}
    extract_archive(pack(tmp_path / "cv.tar.gz", others | wanted), tmp_path / "out")
    assert sorted(files_of(tmp_path / "out")) == ["clips/a.mp3", "train.tsv"]


def test_a_name_with_a_null_byte_is_left_alone(draft, tmp_path):
    trap = special("trap", tarfile.REGTYPE)
    trap.pax_headers = {"path": f"{BASE}/clips/a\0.mp3"}
    wanted = {f"{BASE}/train.tsv": draft.tables["train"]}
    extract_archive(pack(tmp_path / "cv.tar.gz", {"trap": trap} | wanted), tmp_path / "out")
    assert sorted(files_of(tmp_path / "out")) == ["train.tsv"]


def test_a_name_that_no_disk_takes_is_refused_in_one_sentence(draft, tmp_path):
    long = {f"{BASE}/clips/{'x' * 300}.mp3": b"a", f"{BASE}/train.tsv": draft.tables["train"]}
    with pytest.raises(InputError, match="cannot be unpacked .*File name too long"):
        extract_archive(pack(tmp_path / "cv.tar.gz", long), tmp_path / "out")


def test_an_archive_of_several_locales_is_refused(draft, tmp_path):
    members = {f"cv/{locale}/train.tsv": draft.tables["train"] for locale in ("en", "de")}
    archive = pack(tmp_path / "cv.tar.gz", members)
    with pytest.raises(InputError, match="holds more than one locale; unpack it and name one$"):
        extract_archive(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_of_something_else_is_refused(tmp_path):
    archive = pack(tmp_path / "cv.tar.gz", {"photos/1.jpg": b"x"})
    with pytest.raises(InputError, match=r"holds no tables such as train\.tsv: not a Common Voice"):
        extract_archive(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"<html>403</html>", gzip.compress(b"hello"), bytes(10)])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    archive = tmp_path / "cv.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be unpacked .*; check that the download is comp"):
        extract_archive(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_truncated_archive_is_never_taken_for_a_whole_one(tmp_path, suffix):
    # Every byte of one header and its surroundings: tarfile believes in an end there.
    members = {f"{BASE}/train.tsv": b"path\tsentence\n"}
    members |= {f"{BASE}/clips/{number}.mp3": noise(0.02).tobytes() for number in range(3)}
    archive = pack(tmp_path / f"cv{suffix}", members)
    whole = archive.read_bytes()
    last_member = whole.rfind(b"2.mp3") if suffix == ".tar" else len(whole) - 9
    for cut in (*range(0, len(whole) // 2, 211), *range(last_member - 150, last_member + 9, 3)):
        archive.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="cannot be unpacked|holds no tables"):
            extract_archive(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists(), cut


def test_an_archive_damaged_in_a_clip_is_refused(tmp_path):
    clip = noise(1).tobytes()
    archive = pack(tmp_path / "cv.tar.gz", {f"{BASE}/train.tsv": b"", f"{BASE}/clips/a": clip})
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0x10
    archive.write_bytes(content)
    with pytest.raises(InputError, match="cannot be unpacked .*; check that the download is"):
        extract_archive(archive, tmp_path / "out")


def test_the_fingerprint_sees_both_ends_and_the_size(tmp_path):
    path = tmp_path / "cv.tar.gz"
    content = bytearray(3 * 2**20)
    seen = set()
    for change in (None, 0, len(content) - 1):
        changed = bytearray(content)
        if change is not None:
            changed[change] = 1
        path.write_bytes(changed)
        seen.add(fingerprint(path))
    path.write_bytes(content + b"\0")
    seen.add(fingerprint(path))
    assert len(seen) == 4
