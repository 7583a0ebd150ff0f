"""What was asked for: where a command is to run, and how it is spelt to be run elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.command import one_of
from pipeline.errors import InputError
from pipeline.launch.resources import Resources
from pipeline.options import OF_LAUNCHING, OF_RESOURCES
from pipeline.recipe import Step
from pipeline.stage import FINISHES, Finish

if TYPE_CHECKING:
    import typer

LAUNCHERS = ("local", "slurm")
# Parameters that a task is given anew, or that are none of its business.
NOT_PASSED_ON = {*OF_LAUNCHING, "context", "finish", "shard", "overwrite", "dry_run", "as_json"}


@dataclass(frozen=True)
class CommandLine:
    """A command as it was typed, without what says where it runs.

    Attributes
    ----------
    program : str
        Such as ``pipeline``.
    words : tuple of str
        Such as ``kmeans mfcc``.
    options : tuple of str
        Each with its value: ``--limit=5``.
    arguments : dict of str to str
        Positional ones by their names, in order.
    """

    program: str
    words: tuple[str, ...]
    options: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)

    def step(self, *options: str, **arguments: str) -> Step:
        """Spell it with further options, and with other arguments."""
        positional = {**self.arguments, **arguments}.values()
        return Step(self.program, (*self.words, *self.options, *options, "--", *positional))

    def launched_again(self, resources: Resources) -> list[str]:
        """Spell it so that it submits jobs that get the same, as far as that was said."""
        asked = {name: getattr(resources, name) for name in OF_RESOURCES}
        options = [
            f"--{name.replace('_', '-')}={value}"
            for name, value in asked.items()
            if value is not None
        ]
        return self.step("--launcher=slurm", *options).command

    def __str__(self) -> str:
        """Spell it as it would be typed."""
        return str(Step(self.program, (*self.words, *self.options, *self.arguments.values())))


@dataclass(frozen=True)
class Launch:
    """Where a command runs.

    Attributes
    ----------
    launcher : {"local", "slurm"}
    finish : {"last", "never", "only"}
        See :class:`pipeline.stage.RunOptions`.
    wait : bool
        Follow the jobs until they end.
    resources : Resources
        As far as they were given.
    command : CommandLine
        What to run.
    """

    launcher: str
    finish: Finish
    wait: bool
    resources: Resources
    command: CommandLine

    @property
    def is_remote(self) -> bool:
        """Whether jobs are submitted."""
        return self.launcher == "slurm"


def read_launch(program: str, context: "typer.Context", given: Mapping[str, Any]) -> Launch:
    """Make a launch of the options that were given to a command.

    Raises
    ------
    InputError
        If one of them cannot be, or says something of jobs where none are.
    """
    launcher = one_of("--launcher", given["launcher"], LAUNCHERS)
    finish = one_of("--finish", given.get("finish", "last"), FINISHES)
    asked = {name: given[name] for name in OF_RESOURCES if given[name] is not None}
    if launcher == "local" and (asked or given["wait"]):
        name = next(iter(asked), "wait").replace("_", "-")
        raise InputError(f"--{name} says how jobs are submitted; give --launcher slurm with it")
    if launcher == "slurm" and finish != "last":
        raise InputError("--launcher slurm finishes with a job of its own; leave --finish out")
    resources = Resources(**asked)
    return Launch(launcher, finish, given["wait"], resources, read_command(program, context))


def read_command(program: str, context: "typer.Context") -> CommandLine:
    """Spell a command line again, from what was parsed of it."""
    options: list[str] = []
    arguments: dict[str, str] = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        value = context.params.get(name)
        if name in NOT_PASSED_ON or value is None:
            continue
        if parameter.param_type_name == "argument":
            several = isinstance(value, list | tuple)
            values = (
                {f"{name}.{i}": one for i, one in enumerate(value)} if several else {name: value}
            )
            arguments |= {place: str(one) for place, one in values.items()}
        elif source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT"):
            options += _spell(parameter, value)
    return CommandLine(program, _words(context), tuple(options), arguments)


def _words(context: "typer.Context") -> tuple[str, ...]:
    """Subcommands, without the program, which may have been called in many ways."""
    if context.parent is None:
        return ()
    return (*_words(context.parent), str(context.info_name))  # type: ignore[arg-type]


def _spell(parameter: Any, value: Any) -> list[str]:
    name = max(parameter.opts, key=len)
    if isinstance(value, bool):
        return [name if value else max(parameter.secondary_opts, key=len)]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"{name}={one}" for one in values]
