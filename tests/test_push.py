"""Pushes to a server that is none: it stands in for Tensorleap's on the loopback interface."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hearing_analysis.config import ROOT
from hearing_analysis.tensorleap.bundle import bundle_files

TOKEN = "a-key"
PERSON = {"email": "a@b.c", "name": "A", "teamId": "team"}
STAMP = "2026-01-01T00:00:00Z"
PROJECT = {
    **dict.fromkeys(("cid", "teamId", "name", "createdBy", "description"), "project"),
    **dict.fromkeys(("createdAt", "updatedAt"), STAMP),
    **{"isHub": False, "tags": [], "categories": [], "hash": ""},
}
JOB = {
    **{"cid": "job", "teamId": "team", "projectId": "project", "status": "FINISHED"},
    **{"type": "PUSH", "createdAt": STAMP, "updatedAt": STAMP},
}
# What each call is answered with; the addresses of uploads are put in by the server.
ANSWERS: dict[str, dict[str, Any]] = {
    "/versions/initExperiment": {
        **dict.fromkeys(("projectId", "versionId", "experimentId"), "one"),
        "isCreatedProject": True,
    },
    "/versions/getUploadModelSignedUrl": {"fileName": "model.onnx"},
    "/versions/getImportModelUploadUrl": {"fileName": "model.onnx"},
    "/versions/getCodeSnapshotUploadUrl": {},
    "/auth/whoAmI": {
        **{"cid": "user", "recordSession": False, "role": "ADMIN", "local": PERSON},
        **{"teamName": "team", "activated": True},
    },
    "/projects/getProjects": {"projects": [PROJECT]},
    "/versions/getProjectSlimVersions": {"versions": []},
    "/versions/getGenericBaseImageTypes": {
        "imageTypes": [{"id": "py311", "displayName": "Python py311"}]
    },
    "/versions/push": {
        **{"jobId": "job", "versionId": "version"},
        "codeSnapshot": {
            **{"cid": "code", "teamId": "team", "projectId": "project", "createdAt": STAMP},
            **{"createdBy": "user", "blobName": "code.tar.gz", "codeEntryFile": "leap_binder.py"},
        },
    },
    "/jobs/getSlimJobs": {"jobs": [JOB]},
}


@dataclass
class Received:
    """What the server was sent: calls in order, and uploads by path."""

    address: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def body(self, name: str) -> Any:
        return next(body for called, body in self.calls if called == name)


@pytest.fixture
def server() -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = self.path.removeprefix("/api/v2")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            received.calls.append((name, json.loads(body or b"null")))
            answer = dict(ANSWERS.get(name, {}))
            if "Url" in name:
                answer["url"] = f"{received.address}/upload/{name.rsplit('/', 1)[1]}"
            self._answer(200 if authorized else 401, json.dumps(answer).encode())

        def do_PUT(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            received.uploads[self.path] = self.rfile.read(length)
            self._answer(200, b"")

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        received.address = f"http://127.0.0.1:{listening.server_port}"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield received
        listening.shutdown()


def test_code_loader_s_own_client_logs_error_rates_and_uploads_the_model(server, model_folder):
    from code_loader.experiment_api.client import Client
    from code_loader.experiment_api.experiment import init_experiment

    model = model_folder / "model.onnx"
    client = Client(f"{server.address}/api/v2", TOKEN)
    experiment = init_experiment("mini", project_name="hearing", client=client)
    rates = {"word_error_rate normal": 0.28, "word_error_rate hfloss": 1.1}
    experiment.log_epoch(0, metrics=dict(rates), model_path=str(model))
    assert server.names()[0] == "/versions/initExperiment"
    assert server.body("/versions/initExperiment")["projectName"] == "hearing"
    logged = server.body("/externalepochdata/logExternalEpochData")["metrics"]
    assert {name: metric["value"] for name, metric in logged.items()} == rates
    assert list(server.uploads.values()) == [model.read_bytes()]


def test_a_wrong_key_is_refused_by_name(server):
    from code_loader.experiment_api.client import Client
    from code_loader.experiment_api.experiment import init_experiment

    with pytest.raises(Exception, match="Error: 401"):
        init_experiment("mini", project_name="hearing", client=Client(server.address, "wrong"))


@pytest.mark.skipif(not shutil.which("leap"), reason="the client `leap` is not on the PATH")
def test_the_client_uploads_the_bundle_and_the_model(server, tmp_path, model_folder):
    root = tmp_path / "project"
    for file in bundle_files(ROOT):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    content = (ROOT / "leap.yaml").read_text().replace("projectId: ''", "projectId: project")
    (root / "leap.yaml").write_text(content)
    model = model_folder / "model.onnx"
    finished = subprocess.run(
        [
            *("leap", "push", "--name", "mini", "--model-path", str(model), "--yes"),
            *("--apiUrl", f"{server.address}/api/v2", "--apiKey", TOKEN),
        ],
        cwd=root,
        # The client reports to its vendor, and has no switch for that.
        env={**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "/versions/push" in server.names()
    uploaded = {Path(path).name: content for path, content in server.uploads.items()}
    assert uploaded["getImportModelUploadUrl"] == model.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(uploaded["getCodeSnapshotUploadUrl"])) as archive:
        assert {Path(name) for name in archive.getnames()} == set(bundle_files(root))
