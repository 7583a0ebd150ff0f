"""A Mozilla Data Collective of our own: an API and a storage on two ports of this machine.

It behaves as the service is documented to, and misbehaves as it is told.
"""

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "mdc-secret-key-0123456789abcdef"
DATASET = "cmqim2hn800ssnr07gvmpcnwu"
FILENAME = "cv-corpus-9.9-2026-06-12-en.tar.gz"


@dataclass(frozen=True)
class Answer:
    """What the API says instead of what it should."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b"{}"


@dataclass(frozen=True)
class Play:
    """How the storage serves one request.

    Attributes
    ----------
    status : int, optional
        Instead of the archive.
    headers : mapping
        More headers, or other values for them.
    cut_after : int, optional
        Bytes of the body after which the connection ends.
    reset : bool
        Whether it ends with a reset.
    ignores_range : bool
    hold_after : int, optional
        Bytes of the body after which nothing comes until ``Loopback.release`` is set.
    extra : bytes
        Sent behind the archive.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    reset: bool = False
    ignores_range: bool = False
    hold_after: int | None = None
    extra: bytes = b""


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    place: str
    method: str
    path: str
    headers: Mapping[str, str]


class Loopback:
    """Both servers, what they hold, what they do next and what they were asked."""

    def __init__(self, archive: bytes, filename: str = FILENAME) -> None:
        self.answers: dict[str, list[Answer]] = {}  # by method and path, used up one by one
        self.plays: list[Play] = []
        self.seen: list[Seen] = []
        self.valid_links_from = 0
        self.n_links = 0
        self.held, self.release = threading.Event(), threading.Event()
        self.listing: dict[str, Any] = {
            "id": DATASET,
            "slug": "common-voice-scripted-speech-9-9-english",
            "name": "Common Voice Scripted Speech 9.9 - English",
            "locale": "en",
            "datasetUrl": f"https://collective.example/datasets/{DATASET}",
        }
        self.grant: dict[str, Any] = {
            "filename": filename,
            "expiresAt": "2026-06-12T12:00:00Z",
            "contentType": "application/gzip",
            "downloadToken": "unused",
        }
        self.hold(archive)
        self.later_grants: dict[str, Any] = {}  # what differs from the second one on
        self.items = [self.listing]
        self._servers = [_serve(self, _Api), _serve(self, _Storage)]

    def hold(self, archive: bytes) -> None:
        """Put another archive into the storage."""
        self.archive = archive
        self.listing["sizeBytes"] = self.grant["sizeBytes"] = str(len(archive))
        self.grant["checksum"] = f"sha256:{hashlib.sha256(archive).hexdigest()}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._servers[0].server_port}/api"

    @property
    def storage_url(self) -> str:
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    def close(self) -> None:
        self.release.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def asked(self, place: str) -> list[Seen]:
        return [request for request in self.seen if request.place == place]

    @property
    def ranges(self) -> list[str | None]:
        """Range headers of the requests for the archive, in order."""
        return [request.headers.get("Range") for request in self.asked("storage")]

    def new_link(self) -> str:
        self.n_links += 1
        return f"{self.storage_url}/archive?signature=s1gned-{self.n_links}"


def _serve(loopback: Loopback, handler: type["_Handler"]) -> ThreadingHTTPServer:
    server = _Server(("127.0.0.1", 0), type(handler.__name__, (handler,), {"loopback": loopback}))
    # How long it takes to be told to stop.
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go: they are meant to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer takes 40 ms
    loopback: Loopback
    place: str

    def log_message(self, *_: object) -> None:
        pass

    def see(self) -> None:
        seen = Seen(self.place, self.command, self.path, dict(self.headers))
        self.loopback.seen.append(seen)

    def answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.content)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)


class _Api(_Handler):
    place = "api"

    def do_GET(self) -> None:
        self.see()
        address = urlsplit(self.path)
        if self._misbehave(address.path):
            return
        if address.path == "/api/datasets":
            query = parse_qs(address.query)
            items = [item for item in self.loopback.items if item["locale"] in query["locale"]]
            self._json({"items": items, "total": len(items)})
        elif self._allowed() and self._known(address.path.removeprefix("/api/datasets/")):
            self._json(self.loopback.listing)

    def do_POST(self) -> None:
        self.see()
        name = self.path.removeprefix("/api/datasets/").removesuffix("/download")
        if not self._misbehave(self.path) and self._allowed() and self._known(name):
            later = self.loopback.later_grants if self.loopback.n_links else {}
            link = self.loopback.new_link()
            self._json({"downloadUrl": link, **self.loopback.grant, **later})

    def _misbehave(self, path: str) -> bool:
        answers = self.loopback.answers.get(f"{self.command} {path}")
        if not answers:
            return False
        self.answer(answers.pop(0))
        return True

    def _allowed(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {KEY}":
            return True
        self.answer(Answer(401))
        return False

    def _known(self, name: str) -> bool:
        if name in (self.loopback.listing["id"], self.loopback.listing["slug"]):
            return True
        self.answer(Answer(404))
        return False

    def _json(self, value: object) -> None:
        self.answer(Answer(content=json.dumps(value).encode()))


class _Storage(_Handler):
    place = "storage"

    def do_GET(self) -> None:
        self.see()
        play = self.loopback.plays.pop(0) if self.loopback.plays else Play()
        if play.status is not None:
            self.answer(Answer(play.status, play.headers))
            return
        number = int(parse_qs(urlsplit(self.path).query)["signature"][0].rpartition("-")[2])
        if number < self.loopback.valid_links_from:
            self.answer(Answer(403, content=b"<Error><Code>AccessDenied</Code></Error>"))
            return
        self._send(play)

    def _send(self, play: Play) -> None:
        archive, start, headers = self.loopback.archive, 0, {}
        asked = self.headers["Range"]
        if asked and not play.ignores_range:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(archive) - 1}/{len(archive)}"
        body = archive[start:] + play.extra
        self.send_response(206 if headers else 200)
        for name, value in {"Content-Length": len(body), **headers, **play.headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self._write(body, play)

    def _write(self, body: bytes, play: Play) -> None:
        if play.hold_after is not None:
            self.wfile.write(body[: play.hold_after])
            self.loopback.held.set()
            self.loopback.release.wait()
            self.close_connection = True
            return
        if play.cut_after is None:
            self.wfile.write(body)
            return
        self.wfile.write(body[: play.cut_after])
        self.close_connection = True
        if play.reset:  # what a close does to the connection when it may not linger
            option = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            self.connection.close()
