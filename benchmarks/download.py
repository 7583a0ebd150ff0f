"""CPU of a download, checked, against a plain loop of requests that checks nothing.

The server is a process of its own on this machine, so what is measured is the client alone: its CPU
seconds. The second comparison gives the plain loop the SHA-256 of the finished file to do too.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import requests

from pipeline.download.connection import open_client
from pipeline.download.key import ApiKey
from pipeline.download.service import Collective
from pipeline.download.transfer import download_archive

BLOCK = bytes(1 << 20)
READ_BYTES = 1 << 16  # at once, in the plain loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="Size of the archive.")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there, arguments.mib), daemon=True)
    server.start()
    url = here.recv()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = (lambda: ours(url, folder), lambda: plain(url, folder, checked=False))
        ways = (*ways, lambda: plain(url, folder, checked=True))
        for way in ways:  # what is imported or set up once
            way()
        seconds = np.array([[cpu_seconds(way) for way in ways] for _ in range(arguments.repeats)])
    server.terminate()
    per_gb = seconds / (arguments.mib * 2**20 / 1e9)
    for number, peer in ((1, "unchecked"), (2, "checked afterwards")):
        low, median, high = np.quantile(per_gb[:, 0] / per_gb[:, number], [0, 0.5, 1])
        mine, theirs = np.median(per_gb[:, [0, number]], axis=0)
        print(
            f"download: {mine:.2f} s of CPU a GB, a plain loop, {peer}: {theirs:.2f} s; "
            f"{median:.1f} times as much ({low:.1f} to {high:.1f} over {arguments.repeats} repeats)"
        )


def ours(url: str, folder: Path) -> None:
    with open_client() as client:
        service = Collective(f"{url}/api", ApiKey("key"), client)
        download_archive(service, service.describe("x"), folder / "ours")
    shutil.rmtree(folder / "ours")


def plain(url: str, folder: Path, *, checked: bool) -> None:
    path = folder / "plain"
    with requests.get(url, stream=True, timeout=60) as response, path.open("wb") as file:
        for chunk in response.iter_content(READ_BYTES):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if checked:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256").hexdigest()
    path.unlink()


def cpu_seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def serve(told: Connection, n_blocks: int) -> None:
    digest = hashlib.sha256()
    for _ in range(n_blocks):
        digest.update(BLOCK)
    size = n_blocks * len(BLOCK)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/api"):
                self._answer({"sizeBytes": size})
                return
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            for _ in range(n_blocks):
                self.wfile.write(BLOCK)

        def do_POST(self) -> None:
            link = f"http://127.0.0.1:{self.server.server_address[1]}/archive"
            checksum = f"sha256:{digest.hexdigest()}"
            self._answer({"downloadUrl": link, "sizeBytes": size, "checksum": checksum})

        def _answer(self, value: object) -> None:
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    told.send(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


if __name__ == "__main__":
    main()
