"""Progress of a download: a bar on a terminal, a plain line now and then in a log file."""

import logging
import sys
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LOG_INTERVAL_SECONDS = 30.0

logger = logging.getLogger("pipeline.download")


class ByteProgress:
    """Counts bytes; shows them, their rate and the time left on standard error."""

    def __init__(self, name: str, total_bytes: int) -> None:
        self._name = name
        self._total = total_bytes
        self._done = self._logged_bytes = 0
        self._logged = monotonic()
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (console.is_terminal and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task(name, total=total_bytes)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()

    def advance(self, n_bytes: int) -> None:
        """Count ``n_bytes`` more as done."""
        self._done += n_bytes
        self._bar.advance(self._task, n_bytes)
        now = monotonic()
        seconds = now - self._logged
        if self._bar.disable and seconds > LOG_INTERVAL_SECONDS:
            rate = max(1.0, (self._done - self._logged_bytes) / seconds)
            self._logged, self._logged_bytes = now, self._done
            logger.info(
                "%s: %s of %s, %s/s, %.0f s left",
                *(self._name, decimal(self._done), decimal(self._total), decimal(int(rate))),
                (self._total - self._done) / rate,
            )
