"""Options that several commands share: how they are spelt, what they mean, what is refused."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.launch.request import Launch
    from pipeline.stage import RunOptions

KEYWORD = inspect.Parameter.KEYWORD_ONLY

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
Finish = Annotated[
    str,
    typer.Option(
        "--finish",
        help="Who finishes what an array makes: last (its last task), never (leave it to a job of "
        "its own), only (that job: make nothing, finish, or say which shards are missing).",
    ),
]
Launcher = Annotated[
    str, typer.Option("--launcher", help="local, or slurm: submit an array of jobs and return.")
]
ArraySize = Annotated[
    int | None, typer.Option("--array-size", min=1, help="Tasks of the array.", metavar="N")
]
CpusPerTask = Annotated[
    int | None, typer.Option("--cpus-per-task", min=1, help="Cores of a task.", metavar="N")
]
Memory = Annotated[
    str | None, typer.Option("--memory", "--mem", help="Memory of a task, such as 32G.")
]
Time = Annotated[
    str | None, typer.Option("--time", help="Time limit of a task, such as 8:00:00 or 1-12:00:00.")
]
Account = Annotated[str | None, typer.Option("--account", help="Account that is charged.")]
Partition = Annotated[str | None, typer.Option("--partition", help="Partition of the cluster.")]
Qos = Annotated[str | None, typer.Option("--qos", help="Quality of service.")]
Constraint = Annotated[str | None, typer.Option("--constraint", help="Features a node must have.")]
Retries = Annotated[
    int | None,
    typer.Option("--retries", min=0, metavar="N", help="How often a task that failed is requeued."),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="With --launcher slurm: follow the jobs until they end.")
]
# What `launchable` gives a command: its options, and what they are if nobody says.
OF_RESOURCES = {
    "array_size": ArraySize,
    "cpus_per_task": CpusPerTask,
    "memory": Memory,
    "time": Time,
    "account": Account,
    "partition": Partition,
    "qos": Qos,
    "constraint": Constraint,
    "retries": Retries,
}
OF_LAUNCHING = {"launcher": Launcher, **OF_RESOURCES, "wait": Wait}
LogLevel = Annotated[str, typer.Option("--log-level", help="DEBUG, INFO, WARNING or ERROR.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON on standard output.")]


def launchable(
    *, program: str = "pipeline", launcher: str = "local", shards: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of launching it on a cluster.

    The command takes a :class:`pipeline.launch.request.Launch` as ``launch``, in their stead.

    Parameters
    ----------
    program : str
        Whose command it is.
    launcher : {"local", "slurm"}
        Its default.
    shards : bool
        Whether a task may finish what others began; if so, it gets ``--finish`` too.
    """
    options = {**OF_LAUNCHING, **({"finish": Finish} if shards else {})}
    defaults = {"launcher": launcher, "finish": "last", "wait": False}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def launched(context: typer.Context, **values: Any) -> None:
            from pipeline.launch.request import read_launch

            given = {name: values.pop(name) for name in options}
            command(**values, launch=read_launch(program, context, given))

        own = [p for p in inspect.signature(command).parameters.values() if p.name != "launch"]
        added = [
            inspect.Parameter(name, KEYWORD, default=defaults.get(name), annotation=annotation)
            for name, annotation in options.items()
        ]
        context = inspect.Parameter("context", KEYWORD, annotation=typer.Context)
        parameters = [context, *(p.replace(kind=KEYWORD) for p in own), *added]
        # Typer reads both.
        launched.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        launched.__annotations__ = {p.name: p.annotation for p in parameters}
        launched.__name__, launched.__doc__ = command.__name__, command.__doc__
        return launched

    return decorate


def run_options(
    num_workers: int | None,
    overwrite: bool,
    max_failures: int | None,
    shard: str | None,
    launch: "Launch | None" = None,
) -> "RunOptions":
    """Say how a stage is run, from options as they were given."""
    from pipeline.stage import RunOptions
    from pipeline.workers import default_num_workers, slurm_shard

    workers = default_num_workers() if num_workers is None else num_workers
    finish = launch.finish if launch else "last"
    if launch and launch.is_remote:
        if shard:
            raise InputError("--launcher slurm cuts the work by itself; leave --shard out")
        return RunOptions(workers, overwrite, max_failures)
    part = None if finish == "only" and not shard else parse_shard(shard) or slurm_shard()
    return RunOptions(workers, overwrite, max_failures, part, finish)


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
