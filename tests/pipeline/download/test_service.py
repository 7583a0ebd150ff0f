"""What is asked of the service, and one sentence for everything it may say."""

import httpx2
import pytest
from loopback import DATASET, KEY, Answer, Loopback

from pipeline.download.body import body
from pipeline.download.connection import DownloadError, open_client
from pipeline.download.key import ApiKey
from pipeline.download.releases import DEFAULT_DATASET, named_dataset, parse_version
from pipeline.download.service import API_URL, Collective, Grant
from pipeline.errors import InputError

PAGE = f"https://collective.example/datasets/{DATASET}"
DESCRIBE, GRANT = f"GET /api/datasets/{DATASET}", f"POST /api/datasets/{DATASET}/download"
LINK = "https://storage.example/archive?signature=s1gned"
GRANTED = {"downloadUrl": LINK, "sizeBytes": 7, "filename": "a.tar.gz", "checksum": "f" * 64}


# --- what it says ---


@pytest.mark.parametrize("name", [DATASET, "common-voice-scripted-speech-9-9-english"])
def test_a_dataset_is_described_by_its_id_and_its_slug(service, loopback, name):
    listing = service.describe(name)
    assert listing.dataset == name
    assert listing.name == "Common Voice Scripted Speech 9.9 - English"
    assert listing.page == PAGE
    assert listing.size_bytes == len(loopback.archive)


def test_a_dataset_may_be_named_by_the_address_of_its_page(service):
    assert service.describe(f"https://collective.example/datasets/{DATASET}/").dataset == DATASET


@pytest.mark.parametrize("name", ["", "a/..", "a b", "a?b=c", "a\n", "-x", "ä"])
def test_what_cannot_be_a_dataset_is_not_asked_for(service, loopback, name):
    with pytest.raises(InputError, match="is not the id, the slug or the page of a dataset"):
        service.describe(name)
    assert loopback.seen == []


def test_a_page_that_is_no_address_is_not_passed_on(service, loopback):
    for told in ("javascript:alert(1)", "https://a b", "https://\x1b[31m", None, 3):
        loopback.listing["datasetUrl"] = told
        assert service.describe(DATASET).page == f"{loopback.api_url[:-4]}/datasets/{DATASET}"


def test_a_name_cannot_write_to_the_terminal(service, loopback):
    loopback.listing["name"] = "\x1b[31mred\nline" + "x" * 1000
    name = service.describe(DATASET).name
    assert name.startswith("[31mredline") and len(name) == 200


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ("sha256:" + "Ab" * 32, "ab" * 32),
        ("ab" * 32, "ab" * 32),
        ("md5:" + "ab" * 16, None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_checksums_are_read_in_both_spellings(stated, read):
    assert Grant.parse("x", {**GRANTED, "checksum": stated}).sha256 == read


@pytest.mark.parametrize(
    "changed",
    [
        *({"downloadUrl": url} for url in (None, "", "file:///etc/passwd", "ftp://a/b", 7)),
        *({"downloadUrl": url} for url in ("https://", "https://a:b/", "https://a/\n")),
        *({"sizeBytes": size} for size in (None, 0, -1, "many", 1.5, True, "9" * 30)),
    ],
)
def test_a_grant_without_link_or_size_is_none(changed):
    with pytest.raises(DownloadError, match="without a link or a size") as error:
        Grant.parse("x", {**GRANTED, **changed})
    assert "passwd" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("../a.tar.gz", "/etc/a.tar.gz", "a/b.tar.gz", "..", ".tar.gz", "run.json", "dataset"),
        *("a\0.tar.gz", "a\\b.tar.gz", "a.tar.gz\n", "-a.tar.gz", "a.tar.gz.part", "x" * 300, 7),
    ],
)
def test_an_archive_is_never_written_elsewhere(name):
    with pytest.raises(DownloadError, match="is not the plain name of an archive"):
        Grant.parse("x", {**GRANTED, "filename": name})


def test_an_archive_without_a_name_is_called_as_its_dataset():
    assert Grant.parse("x", {**GRANTED, "filename": None}).filename == "x.tar.gz"


def test_a_link_is_not_printed():
    assert "s1gned" not in repr(Grant.parse("x", GRANTED))


# --- what it refuses ---


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (400, r"refuses the request for \w+ \(status 400\); check --dataset"),
        (401, r"does not accept the API key \(status 401\); make a new one .* MDC_API_KEY"),
        (402, rf"has to be paid for \(status 402\); its page says how: {PAGE}"),
        (403, rf"not open to you yet \(status 403\): log in at {PAGE}, accept its terms there"),
        (404, r"has no dataset \w+ \(status 404\); look it up at .*/datasets and give its id"),
        (410, r"has been withdrawn \(status 410\); choose another release"),
        (422, r"refuses the request for \w+ \(status 422\); check --dataset"),
    ],
)
def test_a_refusal_says_what_to_do(service, loopback, status, sentence):
    listing = service.describe(DATASET)
    loopback.answers[GRANT] = [Answer(status, content=KEY.encode())]
    with pytest.raises(DownloadError, match=sentence) as error:
        service.grant(listing)
    assert KEY not in str(error.value)
    assert loopback.answers[GRANT] == []


def test_a_refused_description_names_the_page_of_the_site(service, loopback):
    loopback.answers[DESCRIBE] = [Answer(403)]
    with pytest.raises(
        DownloadError, match=f"log in at {loopback.api_url[:-4]}/datasets/{DATASET}"
    ):
        service.describe(DATASET)


def test_a_wrong_key_is_not_quoted(loopback, client):
    service = Collective(loopback.api_url, ApiKey("wrong-key"), client)
    with pytest.raises(DownloadError, match="does not accept the API key") as error:
        service.describe(DATASET)
    assert "wrong-key" not in str(error.value)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_service_is_asked_again(service, loopback, pauses, status):
    loopback.answers[DESCRIBE] = [Answer(status), Answer(status, {"Retry-After": "9"})]
    assert service.describe(DATASET).dataset == DATASET
    assert pauses == [1.0, 9.0]


def test_a_service_that_stays_busy_is_given_up(service, loopback, pauses):
    loopback.answers[DESCRIBE] = [Answer(503)] * 9
    with pytest.raises(DownloadError, match=r"failed 5 times in a row \(status 503\); run the"):
        service.describe(DATASET)
    assert len(pauses) == 4


def test_a_service_that_is_not_there_is_told_by_name(client, pauses):
    unused = Loopback(b"")
    unused.close()
    service = Collective(unused.api_url, ApiKey(KEY), client)
    with pytest.raises(DownloadError, match=f"the service at {unused.api_url} failed 5 times"):
        service.describe(DATASET)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"7", b"\xff", b'{"a":', b"[" * 10**5])
def test_another_page_is_not_taken_for_the_service(service, loopback, content):
    loopback.answers[DESCRIBE] = [Answer(content=content)]
    with pytest.raises(DownloadError, match="does not answer like the Mozilla Data Collective"):
        service.describe(DATASET)


def test_an_endless_answer_is_cut_off(service, loopback):
    loopback.answers[DESCRIBE] = [Answer(content=b" " * (9 << 20))]
    with pytest.raises(DownloadError, match="answers with more than 8,388,608 bytes"):
        service.describe(DATASET)


# --- where the key goes ---


def test_redirects_on_the_same_server_are_followed_with_the_key(service, loopback):
    there = f"/api/datasets/{loopback.listing['slug']}"
    loopback.answers[DESCRIBE] = [Answer(308, {"Location": there})]
    assert service.describe(DATASET).page == PAGE
    assert [seen.headers["Authorization"] for seen in loopback.seen] == [f"Bearer {KEY}"] * 2


def test_redirects_to_another_server_are_not_followed(service, loopback):
    there = f"{loopback.storage_url}/archive?signature=s1gned-1"
    loopback.answers[DESCRIBE] = [Answer(302, {"Location": there})]
    place = loopback.storage_url
    with pytest.raises(DownloadError, match=f"to {place}, and the key is not sent there") as error:
        service.describe(DATASET)
    assert "s1gned" not in str(error.value)
    assert loopback.asked("storage") == []


def test_redirects_in_circles_end(service, loopback):
    loopback.answers[DESCRIBE] = [Answer(307, {"Location": f"/api/datasets/{DATASET}"})] * 99
    with pytest.raises(DownloadError, match="redirects in circles"):
        service.describe(DATASET)
    assert len(loopback.seen) == 5


def test_the_key_does_not_travel_in_the_clear(client):
    with pytest.raises(InputError, match="would send the API key unencrypted; give an https"):
        Collective("http://collective.example/api", ApiKey(KEY), client)
    Collective(API_URL, ApiKey(KEY), client)


@pytest.mark.parametrize(
    "address", ["", "collective.example", "file:///x", "https://", "https://a:b", "https://u:p@a"]
)
def test_an_address_that_is_none_is_refused(client, address):
    with pytest.raises(InputError, match=f"is not an address such as {API_URL}"):
        Collective(address, ApiKey(KEY), client)


def test_a_library_that_logs_addresses_is_silenced(service, caplog):
    with caplog.at_level("DEBUG"):
        service.describe(DATASET)
    assert [record.name for record in caplog.records if record.name.startswith("http")] == []


def test_a_password_file_for_the_storage_is_not_used(loopback, monkeypatch, tmp_path, archive):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with open_client() as client:
        service = Collective(loopback.api_url, ApiKey(KEY), client)
        listing = service.describe(DATASET)
        assert b"".join(body(service, listing, service.grant(listing))) == archive
    assert [seen.headers.get("Authorization") for seen in loopback.asked("storage")] == [None]


# --- releases ---


def items(*names: str, locale: str | None = "de") -> list[dict[str, object]]:
    return [{"id": f"id{i}", "name": name, "locale": locale} for i, name in enumerate(names)]


def test_a_release_is_found_by_version_and_locale(service, loopback):
    loopback.items = [
        *items("Common Voice Scripted Speech 26.0 - English", locale="en"),
        *items("Other", "Common Voice Scripted Speech 26.0 – German", "Common Voice Scripted 26.0"),
        *items("Common Voice Scripted Speech 26.01"),
    ]
    assert service.find_common_voice("26.0", "de") == "id1"
    assert loopback.seen[-1].path.startswith("/api/datasets?")


def test_a_release_that_is_not_there(service, loopback):
    with pytest.raises(InputError, match=r"has no Common Voice 26\.0 for the locale 'de'; look"):
        service.find_common_voice("26.0", "de")


def test_several_releases_are_listed(service, loopback):
    loopback.items = items(*["Common Voice Scripted Speech 26.0 - German"] * 2)
    with pytest.raises(InputError, match=r"give one as --dataset: id0 \(.*\), id1 \("):
        service.find_common_voice("26.0", "de")


@pytest.mark.parametrize("answer", [b"{}", b'{"items": 7}', b'{"items": [1, null, {}]}'])
def test_a_search_that_brings_nonsense_finds_nothing(service, loopback, answer):
    loopback.answers["GET /api/datasets"] = [Answer(content=answer)]
    with pytest.raises(InputError, match="has no Common Voice"):
        service.find_common_voice("26.0", "de")


@pytest.mark.parametrize(
    ("given", "version"),
    [
        (None, "26.0"),
        ("17", "17.0"),
        ("16.1", "16.1"),
        ("v27.0", "27.0"),
        ("cv-corpus-26.0-2026-06-12", "26.0"),
        ("mozilla-foundation/common_voice_17_0", "17.0"),
        ("common_voice_16_1", "16.1"),
    ],
)
def test_versions_are_read_as_they_are_written(given, version):
    assert parse_version(given) == version


@pytest.mark.parametrize("given", ["", "latest", "17.0.1", "26.0 ", "٢٦", "mozilla-foundation/x"])
def test_other_versions_are_none(given):
    with pytest.raises(InputError, match="is not a version of Common Voice, such as 26.0"):
        parse_version(given)


def test_the_default_needs_no_search():
    assert named_dataset(None, None, None) == DEFAULT_DATASET
    assert named_dataset(None, "cv-corpus-26.0-2026-06-12", "en") == DEFAULT_DATASET
    assert named_dataset(None, None, "de") is None
    assert named_dataset(None, "25.0", None) is None
    assert named_dataset("abc", None, None) == "abc"
    with pytest.raises(InputError, match="leave out --version and --locale"):
        named_dataset("abc", None, "en")


# --- keys ---


@pytest.mark.parametrize("key", ["a b", "a\nb", "ä", "a\x00", "a\tb"])
def test_what_cannot_be_a_key_is_not_quoted(key):
    with pytest.raises(InputError, match="holds characters that no key has") as error:
        ApiKey(key)
    assert key not in str(error.value)


def test_a_key_does_not_show_itself():
    key = ApiKey(KEY)
    assert KEY not in f"{key} {key!r}"
    assert KEY not in repr(httpx2.Headers(key.header))
