"""Which dataset of the Mozilla Data Collective is meant by a version and a locale."""

import re

from pipeline.download.service import Collective
from pipeline.errors import InputError

# Common Voice Scripted Speech 26.0, English. Every release of every locale has an id of its own.
DEFAULT_DATASET = "cmqim2hn800ssnr07gvmpcnwu"
DEFAULT_VERSION, DEFAULT_LOCALE = "26.0", "en"
# 26, 26.0, v26.0, cv-corpus-26.0-2026-06-12, mozilla-foundation/common_voice_26_0
VERSION = re.compile(
    r"(?:v|cv-corpus-|(?:mozilla-foundation/)?common_voice_)?([0-9]{1,3})(?:[._]([0-9]{1,2}))?"
    r"(?:-[0-9]{4}-[0-9]{2}-[0-9]{2})?"
)


def named_dataset(dataset: str | None, version: str | None, locale: str | None) -> str | None:
    """Say which dataset is asked for, if no search is needed to know it.

    Raises
    ------
    InputError
        If a dataset is given, and a version or locale as well.
    """
    if dataset and (version or locale):
        raise InputError(
            "--dataset names one release of one locale; leave out --version and --locale"
        )
    if dataset:
        return dataset
    is_default = parse_version(version) == DEFAULT_VERSION and locale in (None, DEFAULT_LOCALE)
    return DEFAULT_DATASET if is_default else None


def find_dataset(service: Collective, version: str | None, locale: str | None) -> str:
    """Ask the service for the id of a Common Voice release."""
    return service.find_common_voice(parse_version(version), locale or DEFAULT_LOCALE)


def parse_version(version: str | None) -> str:
    """Read a version as any of Common Voice's own documents writes it.

    Raises
    ------
    InputError
        If it is not one.
    """
    if version is None:
        return DEFAULT_VERSION
    match = VERSION.fullmatch(version)
    if not match:
        raise InputError(
            f"--version {version!r} is not a version of Common Voice, such as {DEFAULT_VERSION}"
        )
    return f"{match[1]}.{match[2] or 0}"
