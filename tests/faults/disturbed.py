"""A command run in a process of its own, in which something goes wrong."""

import importlib
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

# Loaded once, by the server that all commands are forked from: a command then starts in no time.
PRELOADED = [
    "pipeline.cli",
    "pipeline.imports.stage",
    "pipeline.masking.stage",
    "pipeline.logmel.stage",
    "pipeline.kmeans.features",
    "pipeline.kmeans.learning",
    "pipeline.kmeans.label",
    "pipeline.kmeans.encoders",
    "pipeline.sse.vad",
    "pipeline.sse.features",
    "pipeline.sse.train",
    "pipeline.sse.embed",
    "pipeline.mining.run",
    "pipeline.mining.dual",
    "pipeline.mining.profiles",
    "models.cli",
    "models.train",
    "models.export",
    "models.export.command",
    "hearing_analysis.cli",
    "hearing_analysis.evaluate",
    "hearing_analysis.dashboard.build",
    "onnxruntime",
]
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Disturbance:
    """What happens to a command.

    Attributes
    ----------
    kind : str
        ``none``, ``kill``, ``interrupt``, ``terminate`` or ``full disk``.
    after_seconds : float
        When a signal is sent.
    room_bytes : int
        Size at which the files of a full disk end.
    """

    kind: str = "none"
    after_seconds: float = 0.0
    room_bytes: int = 0


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes
    ----------
    status : int
        Negative: the signal it died of.
    err : str
        Standard error.
    seconds_after_signal : float
    seconds : float
    """

    status: int
    err: str
    seconds_after_signal: float
    seconds: float

    @property
    def complaint(self) -> str:
        """The last line; empty if nothing was said."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


def run_disturbed(argv: Sequence[str], disturbance: Disturbance) -> Ending:
    """Run a command and disturb it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # A pipe tells when the command itself begins, since forking takes a while of its own; what it
    # says comes through another, for a file would be as full as the disk.
    reader, writer = context.Pipe(duplex=False)
    heard, err = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(list(argv), err, disturbance.room_bytes, writer))
    process.start()
    writer.close()
    err.close()
    said: list[bytes] = []
    listener = threading.Thread(target=_listen, args=(heard.fileno(), said), daemon=True)
    listener.start()
    reader.recv()
    started = time.monotonic()
    sent = started
    number = {
        "kill": signal.SIGKILL,
        "interrupt": signal.SIGINT,
        "terminate": signal.SIGTERM,
    }.get(disturbance.kind)
    if number is not None:
        process.join(disturbance.after_seconds)
        sent = time.monotonic()
        if process.exitcode is None:
            os.kill(process.pid or 0, number)
    process.join(PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"{argv} hangs after {disturbance}")
    now = time.monotonic()
    listener.join(PATIENCE_SECONDS)
    return Ending(process.exitcode, b"".join(said).decode(), now - sent, now - started)


def _listen(pipe: int, said: list[bytes]) -> None:
    while some := os.read(pipe, 65_536):
        said.append(some)


def _run(argv: list[str], err: Connection, room_bytes: int, ready: Connection) -> None:
    # What pytest does to its own process would go on in this one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(err.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if room_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, resource.RLIM_INFINITY))
    program, *arguments = argv
    modules = {"analyze": "hearing_analysis.cli", "models": "models.cli"}
    main = importlib.import_module(modules.get(program, "pipeline.cli")).main
    sys.argv = [program, *arguments]
    ready.send(None)
    main()
