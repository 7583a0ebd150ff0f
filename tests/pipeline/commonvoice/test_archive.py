"""Archives of strangers: whatever is in them, they end in a release or in one sentence."""

import contextlib
import gzip
import io
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from makers import pack, seeded

from pipeline.commonvoice.archive import (
    ArchiveStream,
    Limits,
    explain_archive,
    fingerprint,
    read_members,
)
from pipeline.commonvoice.release import extract_archive
from pipeline.errors import InputError

BASE = "cv-corpus-9.9/en"
TABLE = {f"{BASE}/train.tsv": b"path\tsentence\n"}


def read(content: bytes, limits: Limits | None = None) -> dict[str, bytes]:
    stream = ArchiveStream(io.BytesIO(content))
    with explain_archive("cv.tar.gz"):
        members = read_members(stream, "cv.tar.gz", limits or Limits())
        return {member.name: member.content.read() for member in members}


def packed(tmp_path: Path, members: dict) -> bytes:
    return pack(tmp_path / "cv.tar.gz", members).read_bytes()


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (
            Limits(clip_bytes=99),
            "holds a clip of 100 bytes, more than the limit of 99 for one clip",
        ),
        (
            Limits(table_bytes=13),
            "holds a table of 14 bytes, more than the limit of 13 for one table",
        ),
        (Limits(total_bytes=3_000), "holds more bytes, unpacked, than the limit of 3,000"),
        (Limits(members=3), "holds more files than the limit of 3"),
        (Limits(ratio=2, free_bytes=0), "holds more bytes for each of its own than the limit of 2"),
    ],
)
def test_what_is_more_than_a_release_can_be_is_refused_by_the_name_of_the_limit(
    tmp_path, limits, told
):
    members = TABLE | {f"{BASE}/clips/{number}.mp3": b"x" * 100 for number in range(20)}
    archive = pack(tmp_path / "cv.tar.gz", members)
    with pytest.raises(InputError) as refusal:
        read(archive.read_bytes(), limits)
    assert str(refusal.value).startswith(f"cv.tar.gz {told}, which no release comes near;")
    assert str(refusal.value).endswith("if you trust it, unpack it yourself and name the folder")
    with pytest.raises(InputError, match="than the limit of"):
        extract_archive(archive, tmp_path / "out", limits)
    assert not (tmp_path / "out").exists()


def test_a_real_release_is_within_all_limits():
    clips, seconds, n_bytes = 2_574_404, 3_766 * 3600, 94_318_514_032  # English 25.0
    limits = Limits()
    assert limits.members > 3 * clips
    assert limits.total_bytes > 3 * n_bytes
    assert limits.clip_bytes > 100 * n_bytes / clips
    assert limits.ratio > 10
    assert seconds / clips < 10


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    """A gibibyte of zeros in a megabyte, said to be a README."""

    def zeros(n_bytes: int) -> bytes:
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9) as file:
            info = tarfile.TarInfo(f"{BASE}/README.md")
            info.size = n_bytes
            file.write(info.tobuf())
            for _ in range(n_bytes // 2**20):
                file.write(bytes(2**20))
        return buffer.getvalue()

    bomb = zeros(32 * 2**20)
    assert len(bomb) < 40_000
    with pytest.raises(InputError, match="more bytes, unpacked, than the limit of 1,000,000"):
        read(bomb, Limits(total_bytes=10**6))
    with pytest.raises(InputError, match="more bytes for each of its own than the limit of 100"):
        read(bomb, Limits(free_bytes=2**20))


def test_zeros_behind_the_end_count_as_well():
    plain = tarfile.TarInfo(f"{BASE}/train.tsv").tobuf() + bytes(2**24)
    with pytest.raises(InputError, match="more bytes for each of its own"):
        read(gzip.compress(plain), Limits(free_bytes=2**20))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_refused(kind):
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, 2**40
    with pytest.raises(InputError, match=r"cannot be unpacked \(a header of 1,099,511,627,776 byt"):
        read(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))


def test_sparse_files_are_refused():
    info = tarfile.TarInfo(f"{BASE}/clips/a.mp3")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(InputError, match=r"cannot be unpacked \(a sparse file\)"):
        read(info.tobuf() + bytes(10_000))


@pytest.mark.parametrize("version", ["0.1", "1.0"])
def test_sparse_files_of_newer_kinds_are_no_clips(tmp_path, version):
    info = tarfile.TarInfo(f"{BASE}/clips/a.mp3")
    major, minor = version.split(".")
    info.pax_headers = {
        "GNU.sparse.major": major,
        "GNU.sparse.minor": minor,
        "GNU.sparse.map": "0,1",
        "GNU.sparse.size": str(2**50),
        "GNU.sparse.realsize": str(2**50),
        "GNU.sparse.name": f"{BASE}/clips/b.mp3",
    }
    content = packed(tmp_path, TABLE | {"sparse": info})
    try:
        assert set(read(content)) == {"train.tsv"}
    except InputError as error:
        assert "cannot be unpacked" in str(error) or "than the limit of" in str(error)


def test_a_chain_of_headers_does_not_exhaust_the_stack():
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 0
    with pytest.raises(InputError, match="cannot be unpacked"):
        read(info.tobuf() * 5_000 + bytes(10_000))


# --- names ---


NAMES = {
    "latin-1": "Grüße.mp3".encode("latin-1"),
    "utf-8": "Grüße – 日本.mp3".encode(),
    "utf-16": "a.mp3".encode("utf-16-le").replace(b"\0", b"\x01"),
    "no encoding": b"\xff\xfe\x80.mp3",
    "control characters": b"\x1b[31m\r\n\t.mp3",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_any_encoding_are_taken_as_they_are(tmp_path, name):
    info = tarfile.TarInfo(f"{BASE}/clips/".replace("x", "x") + "x" * len(name))
    info.size = 3
    header = info.tobuf(tarfile.USTAR_FORMAT).replace(b"x" * len(name), name, 1)
    checksum = 256 + sum(header[:148]) + sum(header[156:512])
    header = header[:148] + b"%06o\0 " % checksum + header[156:]
    table = packed(tmp_path, TABLE)
    content = header + b"mp3".ljust(512, b"\0") + gzip.decompress(table)
    archive = tmp_path / "named.tar"
    archive.write_bytes(content)
    release = extract_archive(archive, tmp_path / "out")
    (clip,) = (path for path in release.clips.iterdir())
    assert bytes(clip)[-len(name) :] == name
    assert clip.read_bytes() == b"mp3"


def test_a_member_that_comes_twice_is_refused_when_unpacking_too(tmp_path):
    archive = tmp_path / "cv.tar"
    with tarfile.open(archive, "w") as tar:
        for content in (b"one", b"two!"):
            info = tarfile.TarInfo(f"{BASE}/clips/a.mp3")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(
        InputError, match=r"holds a\.mp3 twice; unpack it yourself and name the fol"
    ):
        extract_archive(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- damage ---


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    clips = {f"{BASE}/clips/{n}.mp3": random.Random(n).randbytes(700) for n in range(6)}
    return packed(tmp_path_factory.mktemp("whole"), TABLE | clips | {f"{BASE}/x": None})


@seeded
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255))))
@example(cut=1.0, flips=[])
def test_damage_ends_in_one_sentence_or_in_the_right_bytes(whole, cut, flips):
    """Of the archive as it is stored, where gzip's sum tells."""
    content = bytearray(whole[: int(cut * len(whole))])
    for place, change in flips:
        if content:
            content[min(int(place * len(content)), len(content) - 1)] ^= change
    try:
        found = read(bytes(content))
    except InputError as error:
        assert "cv.tar.gz cannot be unpacked (" in str(error) or "than the limit of" in str(error)
        assert "\n" not in str(error)
    else:
        assert found == read(whole)


@seeded
@given(flips=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 255)), min_size=1))
def test_damaged_headers_never_end_in_a_traceback(whole, flips):
    """Of the plain tar, where no sum tells."""
    content = bytearray(gzip.decompress(whole))
    for place, change in flips:
        content[place % len(content)] ^= change
    with contextlib.suppress(InputError):
        read(bytes(content))


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 3 * 2**20 + 5])
def test_a_stream_has_the_fingerprint_of_the_file(tmp_path, size):
    path = tmp_path / "cv.tar.gz"
    path.write_bytes(random.Random(size).randbytes(size))
    with path.open("rb") as file:
        stream = ArchiveStream(file)
        while stream.read(1000 + size // 7):
            pass
    assert stream.fingerprint() == fingerprint(path)
    assert stream.n_bytes == size
