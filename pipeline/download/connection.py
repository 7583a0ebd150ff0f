"""HTTP as the download uses it: patient with what passes, silent about keys and signed links."""

import email.utils
import logging
from datetime import UTC, datetime
from time import sleep

import httpx2

from pipeline.errors import HearingAnalysisError

# A connection that brings nothing for so long is given up, and asked for again.
TIMEOUT = httpx2.Timeout(30.0, read=60.0)
LONGEST_PAUSE_SECONDS = 60.0
# Who asks for a longer pause than this is told to the user instead.
MOST_RETRY_AFTER_SECONDS = 600.0

logger = logging.getLogger("pipeline.download")


class DownloadError(HearingAnalysisError, RuntimeError):
    """The service or its storage would not give what was asked; exit status 2."""


class PassingFailure(Exception):
    """An answer that may be another one next time.

    Attributes
    ----------
    retry_after : str, optional
        What the header of that name said.
    """

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


# What is tried again. An address that cannot be read came from a redirect, so from the other side.
FAILURES = (PassingFailure, httpx2.HTTPError, httpx2.InvalidURL)


def open_client() -> httpx2.Client:
    """Open a client that follows no redirects by itself and logs no addresses.

    Proxies and certificates are those of the environment and the system.
    """
    # Below warnings these log addresses, and the address of an archive is its signature.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return httpx2.Client(timeout=TIMEOUT, headers={"User-Agent": "hearing-analysis"})


class Patience:
    """Waits between attempts, twice as long after each failure, and gives up in the end.

    Parameters
    ----------
    what : str
        Who fails: the beginning of the sentence.
    attempts : int
        Failures in a row that are too many.
    """

    def __init__(self, what: str, attempts: int) -> None:
        self._what = what
        self._attempts = attempts
        self._failures = 0

    def restore(self) -> None:
        """Forget the failures: there was progress since."""
        self._failures = 0

    def wait(self, failure: Exception) -> None:
        """Pause after a failure, for as long as the answer asks or as the failures so far demand.

        Raises
        ------
        DownloadError
            If there were too many of them, or the pause asked for is too long.
        """
        self._failures += 1
        reason = _reason(failure)
        if self._failures >= self._attempts:
            raise DownloadError(
                f"{self._what} failed {self._failures} times in a row ({reason}); run the same "
                "command again later, it goes on where it stopped"
            ) from failure
        seconds = min(2.0 ** (self._failures - 1), LONGEST_PAUSE_SECONDS)
        asked = _seconds(failure.retry_after) if isinstance(failure, PassingFailure) else None
        if asked is not None and asked > MOST_RETRY_AFTER_SECONDS:
            raise DownloadError(
                f"{self._what} asks to be left alone for {asked:.0f} s ({reason}); run the same "
                "command again after that, it goes on where it stopped"
            ) from failure
        seconds = seconds if asked is None else asked
        logger.warning("%s failed (%s), trying again in %.0f s", self._what, reason, seconds)
        sleep(seconds)


def raise_if_passing(response: httpx2.Response) -> None:
    """Raise :class:`PassingFailure` if the status says that another attempt may succeed."""
    status = response.status_code
    if status in (408, 425, 429) or status >= 500:
        raise PassingFailure(f"status {status}", response.headers.get("Retry-After"))


def _reason(failure: Exception) -> str:
    # Other exceptions than these may quote an address.
    is_plain = isinstance(failure, PassingFailure | httpx2.TransportError)
    text = " ".join(str(failure).split()) if is_plain else ""
    return text or type(failure).__name__


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds, or the date when they are over."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
