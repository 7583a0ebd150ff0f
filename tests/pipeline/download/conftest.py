"""The service of the tests, and the promise that no key and no signed link is seen anywhere."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from loopback import KEY, Loopback

from pipeline.download.connection import open_client
from pipeline.download.key import ApiKey
from pipeline.download.service import Collective, Listing

SIGNATURE = "s1gned"
Download = Callable[..., object]


@pytest.fixture
def archive() -> bytes:
    """300,000 bytes, no two stretches of which are alike."""
    return np.random.default_rng(5).bytes(300_000)


@pytest.fixture
def loopback(archive: bytes) -> Iterator[Loopback]:
    server = Loopback(archive)
    yield server
    server.close()


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client() as client:
        yield client


@pytest.fixture
def service(loopback: Loopback, client: httpx2.Client) -> Collective:
    return Collective(loopback.api_url, ApiKey(KEY), client)


@pytest.fixture
def listing(service: Collective, loopback: Loopback) -> Listing:
    listing = service.describe(str(loopback.listing["id"]))
    loopback.seen.clear()
    return listing


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited; nobody waits."""
    waited: list[float] = []
    monkeypatch.setattr("pipeline.download.connection.sleep", waited.append)
    return waited


@pytest.fixture(autouse=True)
def nothing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Neither logs nor files hold the key or a link, whatever a test does."""
    for name in ("MDC_API_KEY", "MDC_API_URL"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.DEBUG)
    yield
    for secret in (KEY, SIGNATURE):
        assert secret not in caplog.text
        for path in tmp_path.rglob("*"):
            assert secret not in path.name
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


@pytest.fixture
def download(
    command: Callable, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Download:
    """Run ``pipeline download`` against the service, with everything logged, into ``tmp/out``."""

    def run(*arguments: object, key: str | None = KEY, level: str = "ERROR") -> object:
        if key:
            monkeypatch.setenv("MDC_API_KEY", key)
        outcome = command(
            *("download", "--api-url", loopback.api_url, "--output-dir", tmp_path / "out"),
            *("--log-level", level, *arguments),
        )
        for secret in (KEY, SIGNATURE):
            assert secret not in outcome.out + outcome.err
        return outcome

    return run
