"""Checkpoints from the hub, over a stand-in for it on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from models_command import run_models
from small_models import make_wav2vec2

from models.checkpoint import open_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """Serve ``someone/tiny`` and ``someone/pickled``, a pickle only; keep what is asked for."""
    root = tmp_path_factory.mktemp("hub")
    make_wav2vec2(root / "someone" / "tiny")
    (root / "someone" / "tiny" / "flax_model.msgpack").write_bytes(b"not for us")
    (root / "someone" / "pickled").mkdir()
    (root / "someone" / "pickled" / "pytorch_model.bin").write_bytes(b"not for us either")
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(self.path)
            path = self.path.split("?")[0].split("/")[1:]
            if path[:2] == ["api", "models"]:
                self._describe(root / path[2] / path[3], as_tree="tree" in path)
            elif path[2:3] == ["resolve"]:
                self._send(root / path[0] / path[1] / "/".join(path[4:]))
            else:
                self.send_error(404)

        def _describe(self, folder: Path, *, as_tree: bool) -> None:
            if not folder.is_dir():
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            names = sorted(path.name for path in folder.iterdir())
            content: object = {
                "id": "/".join(folder.parts[-2:]),
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in names],
            }
            if as_tree:
                file = {"type": "file", "oid": "0" * 40}
                sizes = {name: (folder / name).stat().st_size for name in names}
                content = [{**file, "path": name, "size": sizes[name]} for name in names]
            self._answer(json.dumps(content).encode(), "application/json")

        def _send(self, path: Path) -> None:
            self._answer(path.read_bytes(), "application/octet-stream")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hash(body) & 0xFFFFFFFF:x}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def models(hub_url: str, cache: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``models`` with some arguments."""
    return run_with_hub(hub_url, cache, "-m", "models.cli", *arguments)


def run_with_hub(hub_url: str, cache: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own: huggingface_hub reads its settings once."""
    environment = {"HF_ENDPOINT": hub_url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    proxies = {name: "" for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **environment, **proxies, "HF_HUB_OFFLINE": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_name_on_the_hub_is_fetched_without_what_is_not_needed(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, asked = hub
    code = "from models.hub import find_checkpoint; print(find_checkpoint('someone/tiny'))"

    done = run_with_hub(url, tmp_path / "cache", "-c", code)

    assert done.returncode == 0, done.stderr
    names = {path.name for path in Path(done.stdout.strip()).iterdir()}
    assert {"model.safetensors", "config.json", "vocab.json", "preprocessor_config.json"} <= names
    assert not any("msgpack" in path for path in asked)
    open_checkpoint(Path(done.stdout.strip()))


def test_a_pickle_on_the_hub_is_not_even_fetched(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, asked = hub

    done = models(url, tmp_path / "cache", "export", "someone/pickled", tmp_path / "out")

    assert done.returncode == 2
    assert "give --trust-pickle if you trust its source" in done.stderr
    assert not any("pytorch_model.bin" in path for path in asked)


def test_what_the_hub_does_not_have_is_told(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    done = models(hub[0], tmp_path / "cache", "export", "someone/nothing", tmp_path / "out")

    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "someone/nothing is no folder here, and the Hugging Face hub does not give it" in line


def test_a_name_on_the_hub_needs_an_output(capfd: pytest.CaptureFixture[str]) -> None:
    ended = run_models(capfd, "export", "someone/tiny")

    assert ended.status == 2
    message = "say where to write the export of someone/tiny: a folder, or a file"
    assert ended.complaint == message


def test_neither_a_folder_nor_a_name_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = run_models(capfd, "export", "/no/such/folder", tmp_path)

    assert ended.status == 2
    assert (
        "/no/such/folder is not a folder; name a Hugging Face checkpoint folder" in ended.complaint
    )
