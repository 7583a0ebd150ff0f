"""Options that several commands share: how they are spelt, what they mean, what is refused."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.command import LOG_LEVELS
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.stage import RunOptions

Workers = Annotated[
    int | None,
    typer.Option(
        "--num-workers",
        "-j",
        "--num-cpus",
        min=0,
        help="Worker processes [default: one per core, or SLURM_CPUS_PER_TASK].",
        show_default=False,
    ),
]


def _flac_rate(rate: int) -> int:
    """Refuse what the header of a FLAC file cannot say: above 65,535 Hz it counts in tens."""
    if rate > 65_535 and rate % 10:
        raise InputError(f"--sample-rate {rate} cannot be stored as FLAC; give a multiple of 10")
    return rate


# FLAC holds no more than the second.
SampleRate = Annotated[
    int, typer.Option(min=1_000, max=655_350, help="In Hz.", callback=_flac_rate)
]
Splits = Annotated[
    list[str] | None,
    typer.Option("--splits", help="Only this split; repeat the option, or separate with commas."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", "--max-samples", min=0, help="Only the first rows of every split.", metavar="N"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, write nothing.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start again instead of going on where a run stopped.")
]
MaxFailures = Annotated[
    int | None,
    typer.Option(
        "--max-failures",
        min=0,
        metavar="N",
        help="Exit with status 1 if more clips than this are quarantined.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        envvar="PIPELINE_SHARD",
        help="Do only every N-th shard, from I = 0; the last task to end finishes the output "
        "[default in a SLURM array: this task's share].",
    ),
]
LogLevel = Annotated[str, typer.Option("--log-level", help=" | ".join(LOG_LEVELS))]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON on standard output.")]


def run_options(
    num_workers: int | None, overwrite: bool, max_failures: int | None, shard: str | None
) -> "RunOptions":
    """Say how a stage is run, from options as they were given."""
    from pipeline.stage import RunOptions
    from pipeline.workers import default_num_workers, slurm_shard

    workers = default_num_workers() if num_workers is None else num_workers
    return RunOptions(workers, overwrite, max_failures, parse_shard(shard) or slurm_shard())


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Read ``I/N``.

    Raises
    ------
    InputError
        If it is not two numbers with 0 <= I < N.
    """
    if not text:
        return None
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise InputError(f"--shard {text!r} is not I/N with 0 <= I < N, such as 0/8")
    return int(index), int(count)
