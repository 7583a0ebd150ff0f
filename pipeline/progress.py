"""Progress of a stage: a bar on a terminal, a plain line now and then in a log file."""

import logging
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

LOG_INTERVAL_SECONDS = 30.0

logger = logging.getLogger("pipeline")


class Progress:
    """Counts clips, and shows the count on standard error."""

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self._name = name
        self._total = total
        self._done = done
        self._started_with = done
        console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>12}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (console.is_terminal and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task(name, total=total, completed=done, rate="")
        self._started = self._logged = time.monotonic()

    def __enter__(self) -> "Progress":
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

    def advance(self, clips: int) -> None:
        """Count ``clips`` more as done."""
        self._done += clips
        now = time.monotonic()
        rate = (self._done - self._started_with) / max(now - self._started, 1e-9)
        self._bar.update(self._task, completed=self._done, rate=f"{rate:.1f} clips/s")
        if self._bar.disable and now - self._logged > LOG_INTERVAL_SECONDS:
            self._logged = now
            left = (self._total - self._done) / rate
            logger.info(
                "%s: %d of %d clips, %.1f/s, %.0f s left",
                *(self._name, self._done, self._total, rate, left),
            )
