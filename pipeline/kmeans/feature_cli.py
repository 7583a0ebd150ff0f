"""``pipeline kmeans mfcc``, ``hubert`` and ``whisper``: the commands that make features."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.command import configure_logging
from pipeline.errors import InputError
from pipeline.options import (
    DryRun,
    Json,
    LogLevel,
    MaxFailures,
    Overwrite,
    Workers,
    launchable,
)
from pipeline.printing import tell

if TYPE_CHECKING:
    from pipeline.kmeans.features import FeatureReader
    from pipeline.launch.request import Launch

TsvDir = Annotated[
    Path, typer.Argument(help="Folder of SPLIT.tsv, or a corpus, whose rows are the clips then.")
]
Split = Annotated[str, typer.Argument(help="Such as train.")]
NShard = Annotated[int, typer.Argument(metavar="NSHARD", help="How many shards there are.")]
Rank = Annotated[str, typer.Argument(metavar="RANK", help="Which one, from 0; or all.")]
FeatDir = Annotated[Path, typer.Argument(help="Folder of SPLIT_RANK_NSHARD.npy and .len.")]
Checkpoint = Annotated[Path, typer.Argument(metavar="CKPT", help="Hugging Face folder.")]
Layer = Annotated[int, typer.Argument(help="Transformer block, from 1.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]


@launchable(shards=False)
def mfcc(
    tsv_dir: TsvDir,
    split: Split,
    n_shards: NShard,
    rank: Rank,
    feat_dir: FeatDir,
    sample_rate: Annotated[int, typer.Option(min=1_000, help="In Hz.")] = 16_000,
    num_workers: Workers = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    max_failures: MaxFailures = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
    *,
    launch: "Launch",
) -> None:
    """Write 13 cepstral coefficients, their deltas and second deltas, 100 times a second."""
    configure_logging(log_level)
    from pipeline.kmeans.mfcc import MfccReader

    options = (num_workers, dry_run, overwrite, max_failures, as_json, launch)
    _make_features(MfccReader(sample_rate), tsv_dir, split, n_shards, rank, feat_dir, *options)


@launchable(shards=False)
def hubert(
    tsv_dir: TsvDir,
    split: Split,
    checkpoint: Checkpoint,
    layer: Layer,
    n_shards: NShard,
    rank: Rank,
    feat_dir: FeatDir,
    max_chunk: Annotated[
        int, typer.Option(min=1, help="Samples that go through the model at once.")
    ] = 1_600_000,
    device: Device = "auto",
    num_workers: Workers = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    max_failures: MaxFailures = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
    *,
    launch: "Launch",
) -> None:
    """Write what a block of HuBERT, wav2vec2 or WavLM gives out, 50 times a second."""
    configure_logging(log_level)
    from pipeline.kmeans.encoders import WaveformEncoder, choose_device

    reader = WaveformEncoder(checkpoint, layer, max_chunk, choose_device(device))
    options = (num_workers, dry_run, overwrite, max_failures, as_json, launch)
    _make_features(reader, tsv_dir, split, n_shards, rank, feat_dir, *options)


@launchable(shards=False)
def whisper(
    tsv_dir: TsvDir,
    split: Split,
    checkpoint: Checkpoint,
    layer: Layer,
    n_shards: NShard,
    rank: Rank,
    feat_dir: FeatDir,
    device: Device = "auto",
    num_workers: Workers = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    max_failures: MaxFailures = None,
    log_level: LogLevel = "INFO",
    as_json: Json = False,
    *,
    launch: "Launch",
) -> None:
    """Write what a block of Whisper's encoder gives out, 50 times a second."""
    configure_logging(log_level)
    from pipeline.kmeans.encoders import WhisperEncoder, choose_device

    reader = WhisperEncoder(checkpoint, layer, choose_device(device))
    options = (num_workers, dry_run, overwrite, max_failures, as_json, launch)
    _make_features(reader, tsv_dir, split, n_shards, rank, feat_dir, *options)


def _make_features(
    reader: "FeatureReader",
    tsv_dir: Path,
    split: str,
    n_shards: int,
    rank: str,
    feat_dir: Path,
    num_workers: int | None,
    dry_run: bool,
    overwrite: bool,
    max_failures: int | None,
    as_json: bool,
    launch: "Launch",
) -> None:
    from dataclasses import asdict

    from pipeline.kmeans.features import FeatureWork, judge
    from pipeline.kmeans.manifest import open_manifest, shard_range
    from pipeline.kmeans.ranks import do_ranks, parse_ranks
    from pipeline.kmeans.shards import stem

    listed, ranks = open_manifest(tsv_dir, split), parse_ranks(rank, n_shards)
    clips = sum(len(shard_range(listed.n_clips, n_shards, one)) for one in ranks)
    if dry_run:
        print(f"{split}: {clips:,} clips in {len(ranks)} shards, nothing written\n  → {feat_dir}")
        return
    if launch.is_remote:
        from pipeline.launch.perform import launch_ranks
        from pipeline.launch.submit import Ranks

        if overwrite:
            raise InputError(
                "--launcher slurm goes on where files are; remove them, or drop --overwrite"
            )
        sizes = tuple(len(shard_range(listed.n_clips, n_shards, one)) for one in ranks)
        files = tuple(feat_dir / f"{stem(split, one, n_shards)}.json" for one in ranks)
        launch_ranks(Ranks(f"features-{split}", feat_dir, sizes, files), launch, as_json=as_json)
        return
    work = FeatureWork(listed, reader, n_shards, feat_dir, overwrite)
    reports = do_ranks(split, work, ranks, num_workers)
    tell({"shards": [asdict(report) for report in reports]}, as_json=as_json)
    judge(reports, feat_dir, max_failures)
