"""`analyze serve`: loopback only, three kinds of address, parts of a sound, the page itself."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fixtures import make_corpora

from hearing_analysis.dashboard.serve import DashboardServer, open_server, ranged
from pipeline.corpus import open_corpus
from pipeline.errors import InputError, MissingPathError

if TYPE_CHECKING:
    from conftest import Browser, Built, Row

    Build = Callable[[list[Row]], Built]
    Rows = Callable[..., list[Row]]


@pytest.fixture(scope="module")
def server(built: "Built") -> Iterator[DashboardServer]:
    with open_server(built.table) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(
    server: DashboardServer, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    return response, response.read()


def test_it_listens_on_the_loopback_address_alone(server: DashboardServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    with socket.socket() as outside:
        outside.settimeout(2)
        assert outside.connect_ex(("127.0.0.2", server.server_address[1])) != 0


def test_sounds_and_pictures_are_those_of_the_table(
    server: DashboardServer, built: "Built"
) -> None:
    for row in (0, 47, 89):
        response, body = ask(server, f"/audio/{row}.flac")
        assert (response.status, response.headers["Content-Type"]) == (200, "audio/flac")
        assert body == built.rows[row]["audio"]["bytes"]
    response, body = ask(server, "/spectrogram/3.png")
    assert response.status == 200 and body.startswith(b"\x89PNG")


def test_parts_of_a_sound(server: DashboardServer, built: "Built") -> None:
    whole = built.rows[5]["audio"]["bytes"]
    response, body = ask(server, "/audio/5.flac", Range="bytes=10-19")
    assert (response.status, body) == (206, whole[10:20])
    assert response.headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    assert ask(server, "/audio/5.flac", Range="bytes=-7")[1] == whole[-7:]
    assert ask(server, "/audio/5.flac", Range="bytes=5-")[1] == whole[5:]
    beyond, body = ask(server, "/audio/5.flac", Range=f"bytes={len(whole)}-")
    assert (beyond.status, body) == (416, b"")
    head, body = ask(server, "/audio/5.flac", "HEAD")
    assert (head.headers["Content-Length"], body) == (str(len(whole)), b"")


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=-", "lines=1-2", "bytes=a-b", ""])
def test_what_is_no_single_range_gets_the_whole(asked: str) -> None:
    assert ranged(b"abcdef", "text/plain", asked).body == b"abcdef"


@pytest.mark.parametrize(
    "path",
    [
        "/../analysis.parquet",
        "/audio/../../analysis.parquet",
        "/audio/%2e%2e/analysis.parquet",
        "//etc/passwd",
        "/etc/passwd",
        "/analysis.parquet",
        "/audio/90.flac",
        "/audio/999999999999.flac",
        "/audio/-1.flac",
        "/audio/1.png",
        "/audio/1.flac/..",
        "/audio/%D9%A1.flac",
    ],
)
def test_nothing_else_can_be_reached(server: DashboardServer, path: str) -> None:
    response, body = ask(server, path)
    assert response.status == 404
    assert len(body) < 100


def test_a_foreign_name_for_this_machine_gets_nothing(server: DashboardServer) -> None:
    response, body = ask(server, "/", Host="attacker.example")
    assert response.status == 403 and b"<html" not in body
    response, _ = ask(server, "/", Host=f"localhost:{server.server_address[1]}")
    assert response.status == 200


def test_only_reading_is_allowed(server: DashboardServer) -> None:
    assert ask(server, "/", "POST")[0].status == 501
    response, body = ask(server, "/")
    assert b"Content-Security-Policy" in body
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "clip-0" not in body.decode()  # no sound travels with the page


def test_the_page_plays_any_clip_from_the_server(
    browser: "Browser", server: DashboardServer
) -> None:
    browser.log()
    browser.visit(server.address + "#view=samples&split=all&sample=clip_0029%40lfloss")
    browser.wait(
        "document.querySelectorAll('#sample audio').length === 3 "
        "&& [...document.querySelectorAll('#sample audio')].every((a) => a.readyState >= 2)"
    )
    browser.wait("document.querySelector('.frame img').naturalHeight === 80")
    requested = browser.script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert requested
    assert all(url.startswith((server.address, "blob:", "data:")) for url in requested)
    assert browser.log() == []


def test_sounds_come_from_the_variants_when_they_are_named(
    build: "Build", analysis_rows: "Rows", tmp_path: Path
) -> None:
    make_corpora(tmp_path / "corpus")
    rows = analysis_rows(2)
    for row in rows:
        clip = int(row["id"][-4:])
        row |= {"split": "test", "audio": None, "id": f"test-{clip}"}
    rows[5]["id"] = "test-9"  # a clip that the corpus does not have
    with open_server(build(rows).table, data_root=tmp_path / "corpus") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        quiet = ask(server, "/audio/4.flac")[1]
        stored = open_corpus(tmp_path / "corpus_lfloss")["test"].audio_bytes(1)
        assert (rows[4]["profile_name"], quiet) == ("lfloss", stored)
        assert ask(server, "/audio/5.flac")[0].status == 404
        server.shutdown()


def test_a_missing_variant_and_a_taken_port_are_told(
    server: DashboardServer, built: "Built", tmp_path: Path
) -> None:
    with pytest.raises(MissingPathError, match="demo_normal does not exist.*--data-root"):
        open_server(built.table, data_root=tmp_path / "demo")
    taken = server.server_address[1]
    with pytest.raises(InputError, match=f"port {taken} cannot be used.*--port"):
        open_server(built.table, port=taken)
