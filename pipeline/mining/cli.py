"""``pipeline mine``: mine pairs as a preset says, and the commands around that."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.command import configure_logging, one_of, split_names
from pipeline.errors import InputError
from pipeline.options import (
    DryRun,
    Json,
    LogLevel,
    MaxFailures,
    Overwrite,
    Shard,
    Splits,
    Workers,
    launchable,
)

if TYPE_CHECKING:
    from pipeline.launch.request import Launch


class MineGroup(TyperGroup):
    """Commands, of which ``run`` need not be named: ``pipeline mine --config PRESET``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``run`` before arguments that name no command."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=MineGroup,
    help="Align speech and text by the margins of nearest neighbours. "
    "`pipeline mine --config PRESET` is `pipeline mine run --config PRESET`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="PRESET", help="YAML; see conf/mining.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Values in place of the preset's."),
]
EncoderName = Annotated[str, typer.Option("--encoder", help="Registered name of the encoder.")]
EncoderModel = Annotated[Path, typer.Option("--encoder-model", help="Its checkpoint folder.")]
DUAL_SPEECH = "pipeline.mining.DualSpeechEncoder"
MINI_DUAL = Path("models/mini-dual")


@app.command()
@launchable(shards=False)
def run(
    config: Config,
    overrides: Overrides = None,
    step: Annotated[
        str | None,
        typer.Option(help="Only this step: embed, train, populate, merge, distances or mine."),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Write the pairs, with their audio, as a corpus too.")
    ] = None,
    num_workers: Workers = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    max_failures: MaxFailures = None,
    shard: Shard = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
    *,
    launch: "Launch",
) -> None:
    """Embed both sides, find neighbours, score them by margin, write aligned pairs.

    Finished steps are skipped; those whose input or settings have changed are done again. The pairs
    are in OUTPUT_DIR/mine.VERSION/bitexts.tsv.gz.
    """
    configure_logging(log_level)
    from pipeline.mining.preset import read_preset
    from pipeline.mining.run import STEPS, Mining
    from pipeline.options import run_options

    options = run_options(num_workers, False, max_failures, shard, launch)
    steps = STEPS if step is None else (one_of("--step", step, STEPS),)
    plan = read_preset(config, overrides or ())
    mining = Mining(plan, options.num_workers, overwrite, options.shard)
    if dry_run:
        for work in mining.works:
            lines = sum(shard.n_lines for shard in work.shards)
            print(f"{work.side.name}: {lines:,} lines in {len(work.shards)} shards")
        print(f"nothing written\n  → {plan.output}")
        return
    if launch.is_remote:
        from pipeline.mining.launching import launch_mining

        if overwrite:
            raise InputError(
                "--launcher slurm goes on where files are; remove them, or drop --overwrite"
            )
        told = launch_mining(mining, steps[0] if step else None, launch, as_json=as_json)
        if told:
            _tell(told, as_json=as_json)
        return
    report = mining.run(steps)
    if pairs and "mine" in steps:
        report["corpus"] = mining.write_pairs(pairs, options)
    _tell(report, as_json=as_json)


@app.command()
def xsim(
    config: Config,
    overrides: Overrides = None,
    num_workers: Workers = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Print the share of lines whose best match is not the line of the same number.

    For sides that are aligned line by line. Forward, backward and their mean, by cosine and by the
    margins ratio and distance (LASER's xsim).
    """
    configure_logging(log_level)
    from pipeline.mining.preset import read_preset
    from pipeline.mining.run import Mining
    from pipeline.workers import default_num_workers

    workers = default_num_workers() if num_workers is None else num_workers
    report = Mining(read_preset(config, overrides or ()), workers).xsim()
    _tell(report, as_json=as_json)


@app.command()
def evaluate(
    alignment: Annotated[Path, typer.Argument(help="The .align.npz of `pipeline mine run`.")],
    gold: Annotated[
        Path, typer.Argument(help="Lines SOURCE<TAB>TARGET[<TAB>GROUP], line numbers from 0.")
    ],
    threshold: Annotated[
        float | None, typer.Option(help="Only pairs that score so much or more.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print precision, recall and F1 of mined pairs, and the threshold of the best F1."""
    configure_logging()
    from pipeline.mining.evaluate import best_threshold, describe, judge_groups, read_gold
    from pipeline.mining.pairs import read_alignment

    found, right = read_alignment(alignment), read_gold(gold)
    if threshold is not None:
        found = found[found.scores >= threshold]
    best, judged = best_threshold(found, right)
    report = describe(judge_groups(found, right))
    report["at the best threshold"] = {"threshold": round(best, 4), **judged.as_json()}
    _tell(report, as_json=as_json)


@app.command()
def profiles(
    base: Annotated[Path, typer.Argument(help="Variants are BASE_<profile>.")],
    profile_names: Annotated[
        list[str] | None,
        typer.Option("--profiles", help="What is compared, as --splits [default: lfloss,hfloss]."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results [default: BASE_mining].")
    ] = None,
    reference: Annotated[str, typer.Option(help="What it is compared with.")] = "normal",
    encoder: EncoderName = DUAL_SPEECH,
    encoder_model: EncoderModel = MINI_DUAL,
    layer: Annotated[
        int | None, typer.Option(min=1, help="Transformer block of a pooled encoder.")
    ] = None,
    k: Annotated[
        int, typer.Option("--knn", min=1, help="Neighbours that say what is usual around a clip.")
    ] = 16,
    splits: Splits = None,
    num_workers: Workers = None,
    overwrite: Overwrite = False,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Mine hearing-loss variants against normal hearing: which clips no longer find themselves.

    Writes profiles.csv, clips.parquet (a row per clip and profile), confusions.csv and
    profiles.png, and prints the table.
    """
    configure_logging(log_level)
    from pipeline.corpus import corpus_root
    from pipeline.mining.preset import EncoderChoice
    from pipeline.mining.profiles import ProfileWork, compare_profiles
    from pipeline.workers import default_num_workers

    names = tuple(name for name in split_names(profile_names) or ("lfloss", "hfloss"))
    names = tuple(name for name in names if name != reference)
    if not names:
        raise InputError(f"--profiles names nothing but the reference {reference!r}; name another")
    root = corpus_root(base)
    work = ProfileWork(
        root,
        reference,
        names,
        split_names(splits),
        EncoderChoice(encoder, str(encoder_model), settings={"layer": layer}),
        k,
        output or root.with_name(f"{root.name}_mining"),
    )
    workers = default_num_workers() if num_workers is None else num_workers
    report = compare_profiles(work, workers, overwrite)
    _tell(report, as_json=as_json)


@app.command()
def shards(
    corpus: Annotated[Path, typer.Argument(help="Corpus to read.")],
    output: Annotated[Path, typer.Argument(help="Folder of speech/, text/ and audio/.")],
    splits: Splits = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Write a corpus as shards of speech and text, for stopes or for trying a preset.

    speech/NAME.NNN.txt holds lines `audio_file start end batch_no`, text/text.txt the sentences,
    text/meta.txt the ids, gold.tsv which belong together, by sentence_domain.
    """
    configure_logging(log_level)
    from pipeline.mining.export import write_shards

    _tell(write_shards(corpus, output, split_names(splits)), as_json=as_json)


@app.command()
def train(
    corpus: Annotated[Path, typer.Argument(help="Corpus with the splits train and validation.")],
    output: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
    checkpoint: Annotated[
        Path, typer.Option(help="wav2vec2 with CTC that speech goes through first.")
    ] = Path("models/mini-wav2vec2"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the train split.")] = 30,
    batch_size: Annotated[int, typer.Option(min=2, help="Pairs that are told apart.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Learn from so many clips at most, the first.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    num_workers: Workers = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Train a small dual encoder: speech and text as points of one space.

    The recogniser stays as it is, and listens to every clip once: a minute on a core for 1,500.
    Learning takes seconds after that.
    """
    configure_logging(log_level)
    from pipeline.mining.train import DualRecipe, train_dual
    from pipeline.workers import default_num_workers

    recipe = DualRecipe(epochs, batch_size, learning_rate, limit=limit, seed=seed)
    workers = default_num_workers() if num_workers is None else num_workers
    figures = train_dual(corpus, checkpoint, output, recipe, workers)
    _tell({"checkpoint": str(output), **figures}, as_json=as_json)


def _tell(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2))
        return
    from pipeline.mining.printing import print_report

    print_report(report)
