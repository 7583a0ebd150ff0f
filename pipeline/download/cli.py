"""``pipeline download``: parse, import late, fetch the archive, import it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.command import configure_logging, split_names
from pipeline.errors import InputError
from pipeline.options import (
    DryRun,
    Json,
    Limit,
    LogLevel,
    MaxFailures,
    Overwrite,
    Splits,
    Workers,
    run_options,
)

if TYPE_CHECKING:
    from pipeline.counts import StageReport
    from pipeline.download.service import Listing
    from pipeline.download.transfer import Archive

# An archive is unpacked beside the corpus that is made of it, and MP3 does not pack.
UNPACKED_BYTES_PER_BYTE = 1.0


def _hide(token: str | None) -> str | None:
    from pipeline.download.key import FROM_STANDARD_INPUT, hide_argument

    if token and token != FROM_STANDARD_INPUT:
        hide_argument(token)
    return token


def download(
    token: Annotated[
        str | None,
        typer.Option(
            help="API key; - reads it from standard input [default: the variable MDC_API_KEY, "
            "which other users cannot see].",
            callback=_hide,
            show_default=False,
        ),
    ] = None,
    output_dir: Annotated[
        Path, typer.Option(help="Folder of the archive, and of the corpus made of it.")
    ] = Path("data/CommonVoiceEN"),
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="ID|SLUG",
            help="Dataset, as the address of its page ends [default: Common Voice 26.0, English].",
        ),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Search for this version of Common Voice, such as 26.0.")
    ] = None,
    locale: Annotated[
        str | None, typer.Option(help="Search for Common Voice in this language, such as de.")
    ] = None,
    streaming: Annotated[
        bool,
        typer.Option("--streaming", help="Import while the archive comes in, and do not keep it."),
    ] = False,
    no_import: Annotated[
        bool, typer.Option("--no-import", help="Keep the archive, and make no corpus of it.")
    ] = False,
    splits: Splits = None,
    limit: Limit = None,
    num_workers: Workers = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    max_failures: MaxFailures = None,
    api_url: Annotated[
        str, typer.Option(envvar="MDC_API_URL", help="Address of the service.")
    ] = "https://mozilladatacollective.com/api",
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Download a Common Voice release from the Mozilla Data Collective, and import it.

    Writes the archive into OUTPUT_DIR and OUTPUT_DIR/dataset beside it, as `pipeline import` makes
    it. English is 94 GB. Accept the terms on the dataset's page first. A download that was stopped
    is gone on with by the same command.
    """
    configure_logging(log_level)
    from pipeline.download.connection import open_client
    from pipeline.download.convert import Wanted, finish_import, import_archive, import_download
    from pipeline.download.key import ApiKey
    from pipeline.download.releases import find_dataset, named_dataset
    from pipeline.download.service import Collective
    from pipeline.download.transfer import download_archive, finished_archive

    if streaming and no_import:
        raise InputError("--streaming keeps no archive and --no-import no corpus; drop one of them")
    named = named_dataset(dataset, version, locale)
    options = run_options(num_workers, overwrite, max_failures, None)
    wanted = Wanted(output_dir, split_names(splits), limit, options)
    archive = finished_archive(output_dir, named) if named and not dry_run else None
    report = None
    if archive and not archive.path.is_file():
        report = finish_import(archive, wanted) if streaming else None
        archive = archive if report else None
    if archive is None:
        with open_client() as client:
            service = Collective(api_url, ApiKey.find(token), client)
            listing = service.describe(named or find_dataset(service, version, locale))
            if dry_run:
                _print_plan(listing, output_dir, as_json)
                return
            if streaming:
                archive, report = import_download(service, listing, wanted)
            else:
                spare = 0.0 if no_import else UNPACKED_BYTES_PER_BYTE
                archive = download_archive(service, listing, output_dir, spare_bytes_per_byte=spare)
    if not (report or no_import):
        report = import_archive(archive, wanted, streaming=streaming)
    _print_report(archive, report, as_json)


def _print_plan(listing: "Listing", output_dir: Path, as_json: bool) -> None:
    from rich.filesize import decimal

    from pipeline.download.transfer import free_bytes

    free = free_bytes(output_dir)
    if as_json:
        print(json.dumps({**asdict(listing), "output_dir": str(output_dir), "free_bytes": free}))
        return
    size = "unknown size" if listing.size_bytes is None else decimal(listing.size_bytes)
    print(f"download: {listing.name}, {size}, nothing written")
    print(f"  {listing.page}")
    print(f"  → {output_dir}, where {decimal(free)} are free")


def _print_report(archive: "Archive", report: "StageReport | None", as_json: bool) -> None:
    if as_json:
        described: dict[str, Any] = {**asdict(archive), "path": str(archive.path)}
        described["kept"] = archive.path.is_file()
        described["import"] = report.as_json() if report else None
        print(json.dumps(described, indent=2))
        return
    from rich.filesize import decimal

    from pipeline.report import print_report

    place = str(archive.path) if archive.path.is_file() else f"{archive.path.name}, not kept"
    print(f"download → {place} ({decimal(archive.size_bytes)})")
    if report:
        print_report(report)
