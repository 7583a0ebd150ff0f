"""The calls of the Mozilla Data Collective, and one sentence for each of its refusals.

Its documents are at https://mozilladatacollective.com/api-reference. Three calls are used, all
with the key: ``GET /datasets`` (search), ``GET /datasets/{id}`` and
``POST /datasets/{id}/download``, which answers with a signed link to the archive.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx2

from pipeline.download.connection import FAILURES, DownloadError, Patience, raise_if_passing
from pipeline.download.key import KEY_VARIABLE, ApiKey
from pipeline.errors import InputError

API_URL = "https://mozilladatacollective.com/api"
API_URL_VARIABLE = "MDC_API_URL"
ATTEMPTS = 5
MOST_REDIRECTS = 5
LONGEST_ANSWER_BYTES = 8 << 20
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# An archive becomes a file of this name, so it is one that leads nowhere else.
ARCHIVE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}\.(tar|tar\.[a-z0-9]{1,4}|tgz|zip)")
SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """A dataset as the service describes it.

    Attributes
    ----------
    dataset : str
        Id or slug it was asked for by.
    name : str
    page : str
        Where its terms are accepted.
    size_bytes : int, optional
    """

    dataset: str
    name: str
    page: str
    size_bytes: int | None

    @classmethod
    def parse(cls, dataset: str, answer: Mapping[str, Any], page: str) -> Self:
        """Take what is needed from an answer; ``page`` is where it is unless the answer says."""
        told = answer.get("datasetUrl")
        is_link = isinstance(told, str) and re.fullmatch(r"https?://[!-~]+", told)
        name = _printable(answer.get("name")) or dataset
        return cls(dataset, name, str(told) if is_link else page, _size(answer.get("sizeBytes")))


@dataclass(frozen=True)
class Grant:
    """Leave to fetch an archive, for as long as its link lasts.

    Attributes
    ----------
    filename : str
        A plain file name.
    size_bytes : int
    sha256 : str, optional
        64 hexadecimal digits; None if the service states none.
    url : str
        Signed, so it is not shown.
    """

    filename: str
    size_bytes: int
    sha256: str | None
    url: str = field(repr=False, compare=False)

    @classmethod
    def parse(cls, dataset: str, answer: Mapping[str, Any]) -> Self:
        """Check an answer.

        Raises
        ------
        DownloadError
            If it lacks what a download needs, or its file name would lead elsewhere.
        """
        url, size = answer.get("downloadUrl"), _size(answer.get("sizeBytes"))
        if not (isinstance(url, str) and _is_web_address(url) and size):
            raise DownloadError(
                f"the service grants {dataset} without a link or a size (downloadUrl, sizeBytes); "
                "its interface may have changed, so look for a newer version of this program"
            )
        name = answer.get("filename") or f"{dataset}.tar.gz"
        if not (isinstance(name, str) and ARCHIVE_NAME.fullmatch(name)):
            raise DownloadError(
                f"the service names the archive of {dataset} {_printable(name)!r}, which is not "
                "the plain name of an archive; report this to the Mozilla Data Collective"
            )
        stated = answer.get("checksum")
        sha256 = SHA256.fullmatch(stated) if isinstance(stated, str) else None
        return cls(name, size, sha256[1].lower() if sha256 else None, url)


class Collective:
    """The service, as somebody with a key sees it.

    Parameters
    ----------
    api_url : str
        Base of all addresses.
    key : ApiKey
        Sent to this address and to no other.
    client : httpx2.Client

    Raises
    ------
    InputError
        If the key would travel unencrypted.
    """

    def __init__(self, api_url: str, key: ApiKey, client: httpx2.Client) -> None:
        self.client = client
        self._api_url = api_url.rstrip("/")
        self._key = key
        if not _is_web_address(api_url) or "?" in api_url or "@" in api_url:
            raise InputError(f"--api-url {api_url!r} is not an address such as {API_URL}")
        address = urlsplit(api_url)
        if address.scheme != "https" and address.hostname not in LOOPBACK:
            raise InputError(
                f"--api-url {api_url} would send the API key unencrypted; give an https address"
            )

    def describe(self, dataset: str) -> Listing:
        """Ask what a dataset is, by id, slug, or the address of its page."""
        dataset = _identifier(dataset)
        answer = self._ask("GET", f"/datasets/{quote(dataset)}", dataset, self._page(dataset))
        return Listing.parse(dataset, answer, self._page(dataset))

    def grant(self, listing: Listing) -> Grant:
        """Ask for a link to the archive."""
        path = f"/datasets/{quote(listing.dataset)}/download"
        answer = self._ask("POST", path, listing.dataset, listing.page)
        return Grant.parse(listing.dataset, answer)

    def find_common_voice(self, version: str, locale: str) -> str:
        """Find the id of a Common Voice release.

        Parameters
        ----------
        version : str
            Such as 26.0.
        locale : str
            Such as en or zh-CN.

        Raises
        ------
        InputError
            If there is none, or more than one.
        """
        title = f"common voice scripted speech {version}"
        answer = self._ask(
            *("GET", "/datasets", f"a search for {title}", f"{self._site}/datasets"),
            parameters={"q": title, "locale": locale, "limit": "100"},
        )
        items = answer.get("items")
        found = {
            str(item.get("id")): _printable(item.get("name"))
            for item in (items if isinstance(items, list) else ())
            if isinstance(item, dict)
            and item.get("locale") in (locale, None)
            and f"{_words(item.get('name'))} ".startswith(f"{_words(title)} ")
        }
        if len(found) == 1:
            return next(iter(found))
        if found:
            several = ", ".join(f"{identifier} ({name})" for identifier, name in found.items())
            raise InputError(f"several datasets may be meant; give one as --dataset: {several}")
        raise InputError(
            f"the service has no Common Voice {version} for the locale {locale!r}; look the "
            f"dataset up at {self._site}/datasets and give its id as --dataset"
        )

    @property
    def _site(self) -> str:
        return self._api_url.removesuffix("/api")

    def _page(self, dataset: str) -> str:
        return f"{self._site}/datasets/{quote(dataset)}"

    def _ask(
        self,
        method: str,
        path: str,
        subject: str,
        page: str,
        parameters: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send a request until it is answered or refused; every refusal is a sentence."""
        patience = Patience(f"the service at {self._api_url}", ATTEMPTS)
        while True:
            try:
                request = self.client.build_request(
                    method, self._api_url + path, params=parameters, headers=self._key.header
                )
                status, content = self._send(request)
                break
            except FAILURES as failure:
                patience.wait(failure)
        if status >= 300:
            self._refuse(status, subject, page)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise DownloadError(
                f"{self._api_url} does not answer like the Mozilla Data Collective (no JSON "
                f"object); check --api-url and {API_URL_VARIABLE}"
            )
        return answer

    def _send(self, request: httpx2.Request) -> tuple[int, bytes]:
        """Follow redirects on this server only: no other one gets the key."""
        for _ in range(MOST_REDIRECTS):
            response = self.client.send(request, stream=True)
            try:
                raise_if_passing(response)
                following = response.next_request
                if following is None:
                    return response.status_code, _limited(response)
            finally:
                response.close()
            if following.url.origin != request.url.origin:
                place = f"{following.url.scheme}://{following.url.netloc.decode('ascii')}"
                raise DownloadError(
                    f"the service at {self._api_url} sends its callers to {place}, and the key is "
                    "not sent there unasked; if that is right, give its address as --api-url"
                )
            request = following
        raise DownloadError(f"the service at {self._api_url} redirects in circles; check --api-url")

    def _refuse(self, status: int, subject: str, page: str) -> None:
        sentences = {
            401: f"the service at {self._api_url} does not accept the API key (status 401); make a "
            f"new one in your account there and put it into {KEY_VARIABLE}",
            402: f"{subject} has to be paid for (status 402); its page says how: {page}",
            403: f"{subject} is not open to you yet (status 403): log in at {page}, accept its "
            "terms there, then run the same command again",
            404: f"the service at {self._api_url} has no dataset {subject} (status 404); look it "
            f"up at {self._site}/datasets and give its id as --dataset",
            410: f"{subject} has been withdrawn (status 410); choose another release at "
            f"{self._site}/datasets and give its id as --dataset",
        }
        unknown = (
            f"the service at {self._api_url} refuses the request for {subject} (status {status}); "
            "check --dataset, --version and --locale"
        )
        raise DownloadError(sentences.get(status, unknown))


def _identifier(dataset: str) -> str:
    name = dataset.rstrip("/").rpartition("/")[2]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(
            f"--dataset {dataset!r} is not the id, the slug or the page of a dataset, "
            "such as cmqim2hn800ssnr07gvmpcnwu"
        )
    return name


def _limited(response: httpx2.Response) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes(1 << 16):
        content += chunk
        if len(content) > LONGEST_ANSWER_BYTES:
            raise DownloadError(
                f"{response.url.host} answers with more than {LONGEST_ANSWER_BYTES:,} bytes where "
                "a description was expected; check --api-url"
            )
    return bytes(content)


def _is_web_address(text: str) -> bool:
    try:
        address = urlsplit(text)
        _ = address.port
    except ValueError:
        return False
    return address.scheme in ("http", "https") and bool(address.hostname) and text.isprintable()


def _size(value: object) -> int | None:
    """Read a number of bytes, which may be given as text."""
    text = str(value)
    is_size = isinstance(value, int | str) and re.fullmatch(r"[0-9]{1,18}", text)
    return int(text) if is_size else None


def _printable(value: object) -> str:
    """Text of the service, as far as a terminal and a line of text can take it."""
    text = value if isinstance(value, str) else ""
    return "".join(letter for letter in text if letter.isprintable())[:200]


def _words(value: object) -> str:
    return " ".join(re.findall(r"[\w.]+", _printable(value).lower()))
