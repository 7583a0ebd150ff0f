"""``analyze serve``: the dashboard with the audio of every clip, on this machine alone.

The server listens on the loopback address and answers three kinds of address, none of which names a
file: the page, the sound of a row of the table, and its spectrogram. Whatever else is asked for, it
has not got. Sounds are read when they are asked for, so the corpus may be larger than the memory.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from hearing_analysis.dashboard.build import assemble_page, page_version
from hearing_analysis.dashboard.content import page_content
from hearing_analysis.reports.table import AnalysisTable, read_table
from hearing_analysis.spectrogram import log_mel_dbfs, render_png
from pipeline.audio import SAMPLING_RATE, load_mono
from pipeline.corpus import Corpus, open_corpus
from pipeline.errors import ClipError, InputError, MissingPathError

HOST = "127.0.0.1"
_MEDIA = re.compile(r"/(audio|spectrogram)/([0-9]{1,12})\.(flac|png)")
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_TYPES = {"audio": "audio/flac", "spectrogram": "image/png"}
_SUFFIXES = {"audio": "flac", "spectrogram": "png"}


class Sounds:
    """Audio files of the rows of a table.

    Parameters
    ----------
    table : AnalysisTable
    data_root : Path, optional
        Variants are ``<data_root>_<profile>``; without it, the audio is that in the table.
    """

    def __init__(self, table: AnalysisTable, data_root: Path | None = None) -> None:
        self._table = table
        self._lock = Lock()
        self._known: dict[tuple[str, str], dict[str, int]] = {}
        self._variants: dict[str, Corpus] = {}
        if data_root is not None:
            for profile in table.profiles:
                folder = data_root.with_name(f"{data_root.name}_{profile}")
                self._variants[profile] = open_corpus(folder)

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return self._table.n_rows

    @cached_property
    def clips(self) -> tuple[int, ...]:
        """Clips that can be listened to."""
        if self._variants:
            return tuple(range(self._table.n_clips))
        return tuple(np.unique(self._table.clips[self._table.has_audio()]).tolist())

    def flac(self, row: int) -> bytes | None:
        """Audio file of a row; None where there is none."""
        with self._lock:  # neither a table nor a corpus is read by two threads at once
            if not self._variants:
                return self._table.audio_of([row]).get(row)
            return self._from_corpus(row)

    def png(self, row: int) -> bytes | None:
        """Spectrogram of a row; None where there is no sound."""
        flac = self.flac(row)
        if flac is None:
            return None
        return render_png(log_mel_dbfs(load_mono(flac), SAMPLING_RATE))

    def _from_corpus(self, row: int) -> bytes | None:
        profile, split, clip = (
            self._columns[name][row] for name in ("profile_name", "split", "id")
        )
        corpus = self._variants[profile]
        place = self._places(profile, split).get(clip)
        return None if place is None else corpus[split].audio_bytes(place)

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        return {name: self._table.texts(name) for name in ("profile_name", "split", "id")}

    def _places(self, profile: str, split: str) -> dict[str, int]:
        """Clip -> row of its variant."""
        key = (profile, split)
        if key not in self._known:
            corpus = self._variants[profile]
            ids = corpus[split].column("id").to_pylist() if split in corpus.splits else []
            self._known[key] = {clip: place for place, clip in enumerate(ids)}
        return self._known[key]


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers, body."""

    status: HTTPStatus
    headers: dict[str, str]
    body: bytes = b""


class DashboardServer(ThreadingHTTPServer):
    """Answers on the loopback address only.

    Parameters
    ----------
    page : bytes
    sounds : Sounds
    port : int
        0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, page: bytes, sounds: Sounds, port: int) -> None:
        self.page = page
        self.sounds = sounds
        super().__init__((HOST, port), _Handler)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def reply(self, path: str, host: str, byte_range: str | None) -> Reply:
        """Answer a request.

        Parameters
        ----------
        path : str
            As it was asked for.
        host : str
            What the browser takes the server's name to be. Another name than that of this machine
            means that a foreign page has had its own name lead here; it gets nothing.
        byte_range : str, optional
            Header ``Range``.
        """
        port = self.server_address[1]
        if host not in (f"{HOST}:{port}", f"localhost:{port}"):
            return Reply(HTTPStatus.FORBIDDEN, {}, b"this server answers to its own machine only")
        path = path.partition("?")[0]
        if path == "/":
            return Reply(HTTPStatus.OK, {"Content-Type": "text/html; charset=utf-8"}, self.page)
        if (match := _MEDIA.fullmatch(path)) and _SUFFIXES[match[1]] == match[3]:
            return self._media(match[1], int(match[2]), byte_range)
        return Reply(HTTPStatus.NOT_FOUND, {}, b"there is nothing here")

    def _media(self, kind: str, row: int, byte_range: str | None) -> Reply:
        read: Callable[[int], bytes | None] = getattr(self.sounds, _SUFFIXES[kind])
        try:
            content = read(row) if row < self.sounds.n_rows else None
        except ClipError as error:
            return Reply(HTTPStatus.NOT_FOUND, {}, str(error).encode())
        if content is None:
            return Reply(HTTPStatus.NOT_FOUND, {}, b"this sample has no audio")
        return ranged(content, _TYPES[kind], byte_range)


def ranged(content: bytes, content_type: str, byte_range: str | None) -> Reply:
    """Answer with all of a file, or with the part that was asked for (RFC 9110, section 14)."""
    headers = {"Content-Type": content_type, "Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    match = _RANGE.fullmatch(byte_range.strip()) if byte_range else None
    if match is None or not (match[1] or match[2]):
        return Reply(HTTPStatus.OK, headers, content)
    size = len(content)
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last or first >= size:
        headers |= {"Content-Range": f"bytes */{size}"}
        return Reply(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
    headers |= {"Content-Range": f"bytes {first}-{last}/{size}"}
    return Reply(HTTPStatus.PARTIAL_CONTENT, headers, content[first : last + 1])


def open_server(table: Path, *, data_root: Path | None = None, port: int = 0) -> DashboardServer:
    """Make the page and a server for it, which does not run yet.

    Raises
    ------
    MissingPathError, InputError
        If the table or a variant cannot be read, or the port is taken.
    """
    analysis = read_table(table)
    try:
        sounds = Sounds(analysis, data_root)
    except MissingPathError as error:
        raise MissingPathError(
            f"{error}; --data-root is what the variants are named after"
        ) from error
    content = page_content(analysis, sounds.clips, version=page_version(), audio_source="server")
    try:
        return DashboardServer(assemble_page(content, iter(())).encode(), sounds, port)
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used: {error.strerror}; choose another with --port"
        ) from error


def serve_dashboard(table: Path, *, data_root: Path | None = None, port: int = 8050) -> None:
    """Serve until interrupted."""
    with open_server(table, data_root=data_root, port=port) as server:
        print(f"{server.address} (Ctrl-C ends it)", flush=True)
        server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hearing-analysis"
    sys_version = ""
    server: DashboardServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a page asks for hundreds of files."""

    def _answer(self, *, with_body: bool) -> None:
        host, byte_range = self.headers.get("Host", ""), self.headers.get("Range")
        reply = self.server.reply(self.path, host, byte_range)
        self.send_response(reply.status)
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in (headers | reply.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if with_body:
            try:
                self.wfile.write(reply.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the browser has heard enough
