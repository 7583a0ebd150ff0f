"""``pipeline kmeans``: the commands of fairseq's simple_kmeans, in their words."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.command import configure_logging, one_of, split_names
from pipeline.kmeans.feature_cli import (
    FeatDir,
    NShard,
    Rank,
    Split,
    hubert,
    mfcc,
    whisper,
)
from pipeline.options import (
    DryRun,
    Json,
    LogLevel,
    Splits,
    Workers,
    launchable,
)
from pipeline.printing import tell

if TYPE_CHECKING:
    from pipeline.launch.request import Launch

app = typer.Typer(
    help="Discrete units of speech: features, k-means and labels in fairseq's files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

KmPath = Annotated[Path, typer.Argument(help="The model: .npz, or a pickle of joblib.")]
LabDir = Annotated[Path, typer.Argument(help="Folder of the labels.")]


@app.command()
def manifest(
    source: Annotated[
        Path, typer.Argument(metavar="CORPUS", help="A corpus, or a folder of audio files.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="TSV_DIR", help="Where SPLIT.tsv is written.")
    ] = Path("."),
    splits: Splits = None,
    audio_dir: Annotated[
        Path | None,
        typer.Option(help="Write the clips of a corpus into this folder, for other programs."),
    ] = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """List clips: SPLIT.tsv, the root on its first line, then a path and a number of samples.

    A folder of audio files is one split, train unless --splits names another. Clips that cannot be
    read go to SPLIT.quarantine.jsonl.
    """
    configure_logging(log_level)
    from pipeline.kmeans.listing import list_clips

    counts = list_clips(source, output, split_names(splits), audio_dir)
    tell(counts, as_json=as_json)


app.command()(mfcc)
app.command()(hubert)
app.command()(whisper)


@app.command()
def learn(
    feat_dir: FeatDir,
    split: Split,
    n_shards: NShard,
    km_path: KmPath,
    n_clusters: Annotated[int, typer.Argument(min=1, metavar="N_CLUSTERS", help="How many.")],
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of all that is drawn.")] = 0,
    percent: Annotated[
        float, typer.Option(help="Part of the clips to learn from, such as 0.1; -1 for all.")
    ] = -1.0,
    engine: Annotated[
        str, typer.Option(help="lloyd (over all frames), or minibatch (fairseq's to the bit).")
    ] = "lloyd",
    init: Annotated[str, typer.Option(help="k-means++ or random.")] = "k-means++",
    max_iter: Annotated[
        int | None, typer.Option(min=1, help="Passes over all frames [default: 10; minibatch 100].")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames a step of minibatch.")] = 10_000,
    tol: Annotated[
        float | None,
        typer.Option(min=0, help="Gain below which passes end [default: 1e-4; minibatch 0]."),
    ] = None,
    max_no_improvement: Annotated[
        int, typer.Option(min=1, help="Steps of minibatch without a gain before it ends.")
    ] = 100,
    n_init: Annotated[
        int | None, typer.Option(min=1, help="Starts to choose from [default: 1; minibatch 20].")
    ] = None,
    reassignment_ratio: Annotated[
        float, typer.Option(min=0, help="When minibatch gives up a small cluster.")
    ] = 0.0,
    model_format: Annotated[
        str, typer.Option("--format", help="npz, or joblib for fairseq's scripts.")
    ] = "npz",
    num_workers: Workers = None,
    dry_run: DryRun = False,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Learn N_CLUSTERS centroids from features, write them to KM_PATH, print the inertia.

    The inertia is the mean squared distance of a frame to its centroid.
    """
    configure_logging(log_level)
    from pipeline.kmeans.learn import ENGINES, INITS, LearnSettings
    from pipeline.kmeans.learning import learn_model
    from pipeline.kmeans.model import FORMATS
    from pipeline.kmeans.shards import open_shards
    from pipeline.workers import default_num_workers

    settings = LearnSettings(
        n_clusters,
        one_of("--engine", engine, ENGINES),
        seed,
        percent,
        one_of("--init", init, INITS),
        max_iter,
        tol,
        n_init,
        batch_size,
        max_no_improvement,
        reassignment_ratio,
    )
    kind = one_of("--format", model_format, FORMATS)
    shards = open_shards(feat_dir, split, n_shards)
    if dry_run:
        frames = sum(len(shard.frames) for shard in shards)
        print(f"learn: {frames:,} frames in {n_shards} shards, nothing written\n  → {km_path}")
        return
    workers = default_num_workers() if num_workers is None else max(1, num_workers)
    report = learn_model(shards, settings, km_path, kind, workers)
    tell(report, as_json=as_json)


@app.command()
@launchable(shards=False)
def label(
    feat_dir: FeatDir,
    split: Split,
    km_path: KmPath,
    n_shards: NShard,
    rank: Rank,
    lab_dir: LabDir,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Open a model that can run code as it opens.")
    ] = False,
    num_workers: Workers = None,
    dry_run: DryRun = False,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
    *,
    launch: "Launch",
) -> None:
    """Write the number of the nearest centroid for every frame: SPLIT_RANK_NSHARD.km.

    A line holds the labels of a clip. dict.km.txt, for HuBERT's training, is written beside it.
    """
    configure_logging(log_level)
    from dataclasses import asdict

    from pipeline.kmeans.label import LabelWork, write_dictionary
    from pipeline.kmeans.model import load_model
    from pipeline.kmeans.ranks import do_ranks, parse_ranks
    from pipeline.kmeans.shards import open_shard, stem

    ranks = parse_ranks(rank, n_shards)
    centroids = load_model(km_path, trust_pickle=trust_pickle).centroids
    if dry_run:
        print(f"label: {len(ranks)} shards, nothing written\n  → {lab_dir}")
        return
    if launch.is_remote:
        from pipeline.launch.perform import launch_ranks
        from pipeline.launch.submit import Ranks

        clips = [len(open_shard(feat_dir, split, one, n_shards).lengths) for one in ranks]
        files = [lab_dir / f"{stem(split, one, n_shards)}.km" for one in ranks]
        labels = Ranks(f"labels-{split}", lab_dir, tuple(clips), tuple(files), fresh=True)
        launch_ranks(labels, launch, as_json=as_json)
        return
    work = LabelWork(feat_dir, split, n_shards, centroids, lab_dir)
    reports = do_ranks("label", work, ranks, num_workers)
    write_dictionary(lab_dir, len(centroids))
    tell({"shards": [asdict(report) for report in reports]}, as_json=as_json)


@app.command()
def merge(lab_dir: LabDir, split: Split, n_shards: NShard, as_json: Json = False) -> None:
    """Join the labels of all shards: SPLIT.km, a line per clip of the manifest."""
    configure_logging()
    from pipeline.kmeans.label import merge as merge_labels

    tell({"labels": str(merge_labels(lab_dir, split, n_shards))}, as_json=as_json)


@app.command()
def evaluate(
    lab_dir: LabDir,
    split: Split,
    tsv_dir: Annotated[
        Path | None, typer.Option(help="Manifest or corpus that names the clips.")
    ] = None,
    n_clusters: Annotated[
        int | None, typer.Option(min=1, help="Clusters of the model [default: highest label + 1].")
    ] = None,
    phones: Annotated[
        Path | None, typer.Option(help="Aligned phones: a line id<TAB>phone,phone,… per clip.")
    ] = None,
    upsample: Annotated[
        int, typer.Option(min=1, help="Frames of PHONES that one label stands for.")
    ] = 1,
    reruns: Annotated[
        list[Path] | None,
        typer.Option("--rerun", help="Labels of the same features by another model; repeatable."),
    ] = None,
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="NAME=LAB_DIR",
            help="Labels of the same clips under a hearing loss, by the same model; repeatable.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the unit error rate of every clip: .parquet or .csv."),
    ] = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
) -> None:
    """Judge units: usage, agreement with phones, stability, what hearing losses change.

    The unit error rate is the edit distance between the units of a clip and those of the same clip
    under a profile, runs of one unit taken as one, over their number.
    """
    configure_logging(log_level)
    from pipeline.kmeans.evaluate import (
        Question,
        check_table_name,
        parse_profiles,
        write_table,
    )
    from pipeline.kmeans.evaluate import evaluate as answer_question

    if output:
        check_table_name(output)
    answer = answer_question(
        Question(
            lab_dir,
            split,
            tsv_dir,
            phones,
            upsample,
            n_clusters,
            tuple(reruns or ()),
            parse_profiles(profiles),
        )
    )
    if output:
        write_table(output, answer.clips)
    tell(answer.report, as_json=as_json)
