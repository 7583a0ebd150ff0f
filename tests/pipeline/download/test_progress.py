"""What is told of a download while it comes in."""

import io

import pytest

from pipeline.download import progress
from pipeline.download.progress import ByteProgress


def test_a_log_file_gets_bytes_rate_and_time_left_now_and_then(monkeypatch, caplog):
    now = iter([0.0, 10.0, 40.0, 50.0, 80.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    with caplog.at_level("INFO"), ByteProgress("a.tar.gz", 1_000_000_000) as shown:
        for _ in range(4):
            shown.advance(100_000_000)
    assert [record.getMessage() for record in caplog.records] == [
        "a.tar.gz: 200.0 MB of 1.0 GB, 5.0 MB/s, 160 s left",
        "a.tar.gz: 400.0 MB of 1.0 GB, 5.0 MB/s, 120 s left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, caplog):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with ByteProgress("a.tar.gz", 1000) as shown:
        shown.advance(400)
        shown.advance(600)
    assert "a.tar.gz" in terminal.getvalue()
    assert "1.0/1.0 kB" in terminal.getvalue()
    assert caplog.text == ""
