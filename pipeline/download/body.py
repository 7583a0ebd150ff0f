"""The bytes of an archive, in order and once each, whatever happens on the way.

:func:`body` brings them from any place on; connections that break, servers that are busy and links
that expire are its matter alone. :class:`Check` says whether they were the right ones.
"""

import hashlib
import logging
import re
from collections.abc import Generator
from contextlib import closing

import httpx2

from pipeline.download.connection import (
    FAILURES,
    DownloadError,
    PassingFailure,
    Patience,
    raise_if_passing,
)
from pipeline.download.service import Collective, Grant, Listing
from pipeline.errors import CheckFailed

BREAKS = 8  # failures in a row, without a byte between them
RENEWALS = 4
# How storage services say that a link has expired, or never was one.
EXPIRED = (400, 401, 403, 404, 410)

logger = logging.getLogger("pipeline.download")


class ExpiredLink(PassingFailure):
    """The storage no longer takes the link."""


def body(
    service: Collective, listing: Listing, grant: Grant, start: int = 0
) -> Generator[bytes, None, None]:
    """Bring the bytes of an archive from ``start`` to its end.

    Raises
    ------
    DownloadError
        If it fails too often in the same place, or the archive is replaced by another one.
    CheckFailed
        If the storage holds an archive of another size.
    """
    position = start
    breaks = Patience(f"the transfer of {grant.filename}", BREAKS)
    renewals = Patience(f"the link to {grant.filename}", RENEWALS)
    while position < grant.size_bytes:
        try:
            with closing(_request(service.client, grant, position)) as chunks:
                for chunk in chunks:
                    position += len(chunk)
                    breaks.restore()
                    renewals.restore()
                    yield chunk
            if position < grant.size_bytes:
                raise PassingFailure("the connection ended early")
        except ExpiredLink as failure:
            renewals.wait(failure)
            grant = _renew(service, listing, grant)
        except FAILURES as failure:
            breaks.wait(failure)


class Check:
    """Size and SHA-256 of what went by, against what was granted."""

    def __init__(self, grant: Grant) -> None:
        self._grant = grant
        self._digest = hashlib.sha256()
        self._n_bytes = 0
        if grant.sha256 is None:
            logger.warning(
                "the service states no SHA-256 for %s: only its size is checked", grant.filename
            )

    def update(self, chunk: bytes) -> None:
        """Take the next bytes into account."""
        self._digest.update(chunk)
        self._n_bytes += len(chunk)

    def conclude(self) -> None:
        """Raise :class:`CheckFailed` unless both are right."""
        name = self._grant.filename
        if self._n_bytes != self._grant.size_bytes:
            raise CheckFailed(
                f"{name} has {self._n_bytes:,} bytes, and the service states "
                f"{self._grant.size_bytes:,}; run the same command again to download it anew"
            )
        if self._grant.sha256 not in (None, self._digest.hexdigest()):
            raise CheckFailed(
                f"{name} arrived with the SHA-256 {self._digest.hexdigest()}, and the service "
                f"states {self._grant.sha256}; run the same command again to download it anew"
            )


def _request(client: httpx2.Client, grant: Grant, position: int) -> Generator[bytes, None, None]:
    """Ask once for the bytes from ``position`` on; they may end early, but are never other ones."""
    headers = {"Accept-Encoding": "identity"}
    if position:
        headers["Range"] = f"bytes={position}-"
    # No key goes along: the link alone opens the storage, and redirects lead anywhere.
    with client.stream("GET", grant.url, headers=headers, follow_redirects=True) as response:
        raise_if_passing(response)
        skipped = position - _first_byte(response, grant, position)
        left = grant.size_bytes - position
        for received in response.iter_raw():
            chunk = received[skipped:]
            skipped -= len(received) - len(chunk)
            if len(chunk) > left:
                raise CheckFailed(
                    f"the storage sends more bytes of {grant.filename} than the service states "
                    f"({grant.size_bytes:,}); run the same command again later"
                )
            left -= len(chunk)
            if chunk:
                yield chunk


def _first_byte(response: httpx2.Response, grant: Grant, position: int) -> int:
    """Find out where in the archive an answer begins."""
    status, size = response.status_code, grant.size_bytes
    if status in EXPIRED:
        raise ExpiredLink(f"status {status}")
    if status == 200:  # the whole archive, asked for or not
        stated = response.headers.get("Content-Length", str(size))
    elif status == 206:
        content_range = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range.strip())
        if not match or int(match[1]) != position:
            raise PassingFailure(f"asked for bytes from {position:,} on, got others")
        stated = match[2] if match[2] != "*" else str(size)
    else:
        raise PassingFailure(f"status {status}")
    if stated != str(size):
        raise CheckFailed(
            f"the storage holds {grant.filename} with {stated} bytes, and the service states "
            f"{size}; run the same command again later"
        )
    return 0 if status == 200 else position


def _renew(service: Collective, listing: Listing, grant: Grant) -> Grant:
    renewed = service.grant(listing)
    if renewed != grant:
        raise DownloadError(
            f"{grant.filename} was replaced by another archive while it was downloaded; run the "
            "same command again to download the new one"
        )
    return renewed
