"""The bytes of an archive arrive, and are the right ones, whatever happens on the way."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import DATASET, FILENAME, KEY, Answer, Loopback, Play

from pipeline.commonvoice.archive import fingerprint
from pipeline.download.body import BREAKS, RENEWALS, body
from pipeline.download.connection import DownloadError
from pipeline.download.service import Collective, Listing
from pipeline.download.transfer import (
    check_space,
    download_archive,
    finished_archive,
    open_stream,
)
from pipeline.errors import CheckFailed, InputError
from pipeline.folders import lock

PART = f"{FILENAME}.part"
Fetch = Callable[[], Path]


@pytest.fixture
def fetch(service: Collective, listing: Listing, tmp_path: Path) -> Fetch:
    """Download into ``tmp/out`` and name the file."""
    return lambda: download_archive(service, listing, tmp_path / "out").path


@pytest.fixture
def part(tmp_path: Path, loopback: Loopback) -> Callable[..., Path]:
    """Leave what a killed run has left: the beginning of an archive, and whose it is."""

    def leave(content: bytes, **differing: object) -> Path:
        folder = tmp_path / "out"
        folder.mkdir()
        sha256 = hashlib.sha256(loopback.archive).hexdigest()
        record = {"dataset": DATASET, "filename": FILENAME, "size_bytes": len(loopback.archive)}
        record = {**record, "sha256": sha256, "status": "running", **differing}
        (folder / "download.json").write_text(json.dumps(record))
        (folder / PART).write_bytes(content)
        return folder / PART

    return leave


# --- what is left behind ---


def test_the_archive_and_what_it_is(fetch, archive, tmp_path):
    assert fetch().read_bytes() == archive
    assert json.loads((tmp_path / "out" / "download.json").read_text()) == {
        "dataset": DATASET,
        "filename": FILENAME,
        "size_bytes": len(archive),
        "sha256": hashlib.sha256(archive).hexdigest(),
        "status": "complete",
    }
    assert not (tmp_path / "out" / PART).exists()


def test_the_key_goes_to_the_service_and_nowhere_else(fetch, loopback, archive):
    # The storage redirects to the service's own address, and that back to the storage.
    there = f"{loopback.api_url}/elsewhere"
    loopback.plays = [Play(status=302, headers={"Location": there})]
    back = {"Location": loopback.new_link()}
    loopback.answers["GET /api/elsewhere"] = [Answer(307, back)]
    assert fetch().read_bytes() == archive
    asked, granted = loopback.asked("storage"), loopback.asked("api")
    assert [seen.method for seen in granted] == ["POST", "GET"]
    assert granted[0].headers["Authorization"] == f"Bearer {KEY}"
    assert len(asked) == 2
    assert not any("Authorization" in seen.headers for seen in (*asked, granted[1]))


def test_a_finished_archive_is_known_without_the_service(fetch, tmp_path):
    path = fetch()
    found = finished_archive(tmp_path / "out", DATASET)
    assert found is not None and found.path == path
    assert finished_archive(tmp_path / "out", "another") is None
    path.write_bytes(b"shorter")
    assert finished_archive(tmp_path / "out", DATASET) is None


def test_a_file_that_is_the_archive_is_taken_for_it(fetch, loopback, archive, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FILENAME).write_bytes(archive)
    assert fetch().read_bytes() == archive
    assert loopback.asked("storage") == []
    assert finished_archive(tmp_path / "out", DATASET)


def test_a_file_that_is_not_the_archive_is_left_alone(fetch, archive, tmp_path):
    (tmp_path / "out").mkdir()
    other = tmp_path / "out" / FILENAME
    other.write_bytes(b"x" + archive[1:])
    with pytest.raises(InputError, match="is not the archive that the service holds"):
        fetch()
    assert other.read_bytes() == b"x" + archive[1:]


# --- going on ---


@pytest.mark.parametrize("length", [1, 123_456, 299_999])
def test_a_killed_run_is_gone_on_with(fetch, loopback, archive, part, length):
    part(archive[:length])
    assert fetch().read_bytes() == archive
    assert loopback.ranges == [f"bytes={length}-"]


def test_a_run_killed_before_the_last_rename_asks_for_nothing(fetch, loopback, archive, part):
    part(archive)
    assert fetch().read_bytes() == archive
    assert loopback.ranges == []


@pytest.mark.parametrize(
    "differing",
    [{"sha256": "0" * 64}, {"size_bytes": 7}, {"filename": "cv-corpus-8.0-en.tar.gz"}],
)
def test_no_run_goes_on_with_the_beginning_of_another_archive(
    fetch, loopback, archive, part, differing
):
    left = part(b"beginning of another", **differing)
    assert fetch().read_bytes() == archive
    assert loopback.ranges == [None]
    assert not left.exists()


def test_without_a_checksum_no_run_goes_on_with_what_another_has_left(
    fetch, loopback, archive, part, caplog
):
    del loopback.grant["checksum"]
    part(archive[:1000], sha256=None)
    assert fetch().read_bytes() == archive
    assert loopback.ranges == [None]
    assert "only its size is checked" in caplog.text


def test_a_wrong_beginning_is_found_out_and_removed(fetch, archive, part):
    left = part(b"x" * 1000)
    with pytest.raises(CheckFailed, match=r"arrived with the SHA-256 [0-9a-f]{64}, .* run the"):
        fetch()
    assert not left.exists()
    assert fetch().read_bytes() == archive


def test_a_beginning_longer_than_the_archive_is_found_out_and_removed(fetch, archive, part):
    left = part(archive + b"more")
    with pytest.raises(CheckFailed, match="has 300,004 bytes, and the service states 300,000"):
        fetch()
    assert not left.exists()
    assert fetch().read_bytes() == archive


def test_two_runs_do_not_write_to_the_same_file(fetch, loopback, tmp_path):
    with (
        lock([tmp_path / "out"], exclusive=True),
        pytest.raises(InputError, match="another run is working on"),
    ):
        fetch()
    assert loopback.asked("storage") == []


# --- what breaks on the way ---


@pytest.mark.parametrize("reset", [False, True], ids=["ends", "is reset"])
def test_a_connection_that_is_cut_is_taken_up_again(fetch, loopback, archive, pauses, reset):
    loopback.plays = [Play(cut_after=100_000, reset=reset)] * 2
    assert fetch().read_bytes() == archive
    first, *later = loopback.ranges
    assert first is None
    assert len(later) == 2 and all(later)
    assert pauses == [1.0, 1.0]  # there was progress between them


def test_a_storage_that_ignores_ranges_adds_nothing_twice(fetch, loopback, archive, part):
    part(archive[:200_000])
    loopback.plays = [Play(ignores_range=True, cut_after=250_000), Play(ignores_range=True)]
    assert fetch().read_bytes() == archive
    assert loopback.ranges == ["bytes=200000-", "bytes=250000-"]


def test_a_storage_that_ignores_ranges_and_always_breaks_is_given_up(fetch, loopback, pauses):
    loopback.plays = [Play(ignores_range=True, cut_after=50_000)] * 50
    with pytest.raises(DownloadError, match=f"failed {BREAKS} times in a row .* command again"):
        fetch()
    assert pauses == [1, 2, 4, 8, 16, 32, 60]  # only the first brought anything


@pytest.mark.parametrize(
    "content_range", ["bytes 0-299999/300000", "bytes 5-9/*", "items 1-2/3", ""]
)
def test_bytes_from_another_place_are_not_taken(fetch, loopback, archive, part, content_range):
    part(archive[:1000])
    loopback.plays = [Play(headers={"Content-Range": content_range})]
    assert fetch().read_bytes() == archive
    assert loopback.ranges == ["bytes=1000-"] * 2


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_storage_is_asked_again(fetch, loopback, archive, pauses, status):
    loopback.plays = [Play(status=status), Play(status=status)]
    assert fetch().read_bytes() == archive
    assert pauses == [1.0, 2.0]


def test_a_storage_that_says_when_is_asked_then(fetch, loopback, archive, pauses):
    loopback.plays = [
        Play(status=429, headers={"Retry-After": "17"}),
        Play(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Play(status=503, headers={"Retry-After": "soon"}),
    ]
    assert fetch().read_bytes() == archive
    assert pauses == [17.0, 0.0, 4.0]


def test_who_asks_for_an_hour_is_left_alone(fetch, loopback, pauses):
    loopback.plays = [Play(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(DownloadError, match="asks to be left alone for 3600 s .* command again"):
        fetch()
    assert pauses == []


def test_a_storage_that_stays_down_is_given_up(fetch, loopback, part, archive):
    left = part(archive[:1000])
    loopback.plays = [Play(status=503)] * 50
    with pytest.raises(DownloadError, match=r"failed 8 times in a row \(status 503\); run the"):
        fetch()
    assert left.read_bytes() == archive[:1000]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_expired_link_is_renewed(fetch, loopback, archive, caplog, status):
    loopback.plays = [Play(cut_after=100_000), Play(status=status)]
    assert fetch().read_bytes() == archive
    assert [seen.path[-1] for seen in loopback.asked("storage")] == ["1", "1", "2"]
    assert f"the link to {FILENAME} failed (status {status})" in caplog.text


def test_links_that_expire_at_once_are_given_up(fetch, loopback):
    loopback.valid_links_from = 1000
    with pytest.raises(DownloadError, match=rf"the link to .* failed {RENEWALS} times in a row"):
        fetch()


def test_an_archive_that_is_replaced_on_the_way_is_not_mixed(fetch, loopback, archive):
    loopback.plays = [Play(cut_after=100_000), Play(status=403)]
    loopback.later_grants = {"checksum": hashlib.sha256(archive[::-1]).hexdigest()}
    with pytest.raises(DownloadError, match="was replaced by another archive while"):
        fetch()
    loopback.archive = archive[::-1]
    assert fetch().read_bytes() == archive[::-1]


# --- what is not what was promised ---


def test_a_wrong_checksum_leaves_no_archive(fetch, loopback, tmp_path):
    loopback.grant["checksum"] = "sha256:" + "0" * 64
    with pytest.raises(CheckFailed, match=f"{FILENAME} arrived with the SHA-256"):
        fetch()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "download.json"]


@pytest.mark.parametrize(("more", "sentence"), [(1, "with 300000 bytes"), (-1, "with 300000 b")])
def test_an_archive_of_another_size_is_refused_at_once(fetch, loopback, more, sentence):
    loopback.grant["sizeBytes"] = 300_000 + more
    with pytest.raises(CheckFailed, match=sentence):
        fetch()


def test_no_more_is_written_than_was_announced(fetch, loopback, archive, part):
    left = part(archive[:1000])
    loopback.plays = [Play(extra=b"x" * 100_000)]
    with pytest.raises(CheckFailed, match="sends more bytes of"):
        fetch()
    assert left.stat().st_size <= len(archive)


def test_there_must_be_room_before_anything_comes(fetch, loopback, tmp_path):
    loopback.grant["sizeBytes"] = 10**17
    with pytest.raises(InputError, match=r"free, and 100\.0 PB are needed; free some, or give"):
        fetch()
    assert loopback.asked("storage") == []
    assert not (tmp_path / "out" / PART).exists()


def test_something_else_in_the_place_of_the_part(fetch, tmp_path):
    (tmp_path / "out" / PART).mkdir(parents=True)
    with pytest.raises(InputError, match=r"\.part cannot be written \(Is a directory\); remove"):
        fetch()


def test_room_is_looked_for_where_the_folder_will_be(tmp_path):
    check_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(InputError):
        check_space(tmp_path / "not" / "yet", 10**18)


# --- as a stream ---


@pytest.fixture
def stream(service: Collective, listing: Listing, tmp_path: Path) -> Callable[[], Any]:
    """Open the archive as a stream, of which ``tmp/out`` keeps the record."""
    return lambda: open_stream(service, listing, service.grant(listing), tmp_path / "out")


def test_a_stream_holds_the_same_bytes(stream, loopback, archive, tmp_path):
    loopback.plays = [Play(cut_after=70_000), Play(status=403), Play(cut_after=1, reset=True)]
    with stream() as opened:
        assert opened.read(10) == archive[:10]
        assert opened.read() == archive[10:]
        assert opened.read(1) == b""
    assert len(loopback.ranges) == 4
    (tmp_path / "same").write_bytes(archive)
    found = finished_archive(tmp_path / "out", DATASET)
    assert found is not None and not found.path.exists()
    assert found.fingerprint == fingerprint(tmp_path / "same")


def test_the_end_of_a_wrong_stream_is_not_reached(stream, loopback, archive, tmp_path):
    loopback.grant["checksum"] = "0" * 64
    with stream() as opened:
        assert opened.read(len(archive)) == archive
        for _ in range(2):
            with pytest.raises(CheckFailed, match="arrived with the SHA-256"):
                opened.read(1)
    assert finished_archive(tmp_path / "out", DATASET) is None


def test_a_stream_may_be_left_early(stream, loopback, archive, tmp_path):
    loopback.plays = [Play(hold_after=100_000)]
    with stream() as opened:
        assert opened.read(5) == archive[:5]
    assert finished_archive(tmp_path / "out", DATASET) is None
    with stream() as opened:
        assert opened.read() == archive


# --- all at once ---

faults = st.one_of(
    st.builds(Play, cut_after=st.integers(0, 4_000), reset=st.booleans()),
    st.builds(Play, cut_after=st.integers(0, 4_000), ignores_range=st.just(True)),
    st.builds(Play, status=st.sampled_from([403, 429, 500, 503])),
    st.builds(Play, headers=st.just({"Content-Range": "bytes 7-8/9"}), ignores_range=st.booleans()),
    st.just(Play()),
)


@given(plays=st.lists(faults, max_size=6), start=st.integers(0, 4_000))
@settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_the_bytes_are_right_or_it_fails(service, listing, loopback, plays, start):
    loopback.archive = loopback.archive[:4_000]
    loopback.grant["sizeBytes"] = 4_000
    loopback.plays = list(plays)
    try:
        received = b"".join(body(service, listing, service.grant(listing), start))
    except DownloadError:
        assert len(plays) >= RENEWALS
    else:
        assert received == loopback.archive[start:]
