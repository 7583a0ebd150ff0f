"""``analyze run``: every sample through the model, and all there is to say of it in one table.

The work is a stage of `pipeline.stage`: sharded, parallel, restartable, with quarantine. Its parts
(one per profile, rows aligned) are then joined with the latent map into ``analysis.parquet``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hearing_analysis.clip_tables import ClipTables, open_clip_tables
from hearing_analysis.config import AnalysisConfig
from hearing_analysis.latent_space import Method, draw_map
from hearing_analysis.metadata import column_types, sample_metadata
from hearing_analysis.metrics import (
    COLUMNS,
    INFORMATION_COLUMNS,
    character_errors,
    word_errors,
)
from hearing_analysis.recognition.listeners import COLUMNS as LISTENER_COLUMNS
from hearing_analysis.recognition.listeners import Heard, Listener, open_listener
from hearing_analysis.samples import SampleSet, open_samples
from pipeline.audio import SAMPLING_RATE
from pipeline.corpus import AUDIO_TYPE, file_digest, files_digest, open_corpus, write_path
from pipeline.errors import ClipError
from pipeline.stage import (
    Kept,
    Output,
    Quarantined,
    RunOptions,
    StageReport,
    corpus_digest,
    judge,
    run_stage,
)

TABLE_FILE = "analysis.parquet"
PARTS_FOLDER = "parts"
CLIPS_PER_BATCH = 8  # each under every profile: what the model hears at once
CLIPS_PER_GROUP = 64  # in memory, under every profile, while the table is written
ARROW_TYPES = {
    **{float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()},
    list: pa.list_(pa.float32()),
}


@dataclass
class EvaluateStage:
    """Evaluation of one model on all variants.

    Parameters
    ----------
    analysis : AnalysisConfig
        What to analyse, and with which model.
    output : Path
        Folder that gets the table.
    splits : tuple of str, optional
        Only these splits of the corpus.
    limit : int, optional
        Only the first clips of every split.
    """

    analysis: AnalysisConfig
    output: Path
    splits: tuple[str, ...] | None = None
    limit: int | None = None
    name: str = field(default="analyze", init=False)
    _listener: Listener | None = field(default=None, init=False, repr=False)
    _opened: SampleSet | None = field(default=None, init=False, repr=False)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The variants."""
        return tuple(self.analysis.variant_folder(name) for name in self.analysis.profiles)

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the input that decides the output."""
        # Names, not paths: the same analysis in another folder is the same analysis.
        names = {
            "data_root": self.data_root.name,
            "model": self.analysis.model_folder.name,
            "clip_tables": [path.name for path in self.analysis.table_paths],
        }
        limits = {"only_splits": list(self.splits) if self.splits else None, "limit": self.limit}
        return {**asdict(self.analysis), **names, **limits}

    @property
    def data_root(self) -> Path:
        """What the variants' folders are named after."""
        return Path(self.analysis.data_root)

    @cached_property
    def source_digest(self) -> str:
        """Digest of the variants, of the model and of the tables of other stages."""
        corpora = [self.analysis.variant_folder(profile) for profile in self.analysis.profiles]
        digests = [corpus_digest(open_corpus(folder)) for folder in corpora]
        tables = [file_digest(table.path) for table in self.tables.tables]
        model = files_digest(self.analysis.model_folder, self.listener.model_files)
        return "-".join([model, *digests, *tables])

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One part per profile."""
        columns = analysis_schema(self.tables.names)
        parts = {field.name: field.type for field in columns if field.name not in MAP_COLUMNS}
        root = self.output / PARTS_FOLDER
        return tuple(Output(root / profile, parts) for profile in self.analysis.profiles)

    @property
    def tables(self) -> ClipTables:
        """What other stages found out about the clips."""
        return open_clip_tables(self.analysis.table_paths)

    @property
    def listener(self) -> Listener:
        """The recogniser."""
        if self._listener is None:
            self._listener = open_listener(self.analysis)
        return self._listener

    def __getstate__(self) -> dict[str, Any]:
        """Go to a worker without model and samples, which it opens for itself."""
        return {**self.__dict__, "_listener": None, "_opened": None}

    def split_sizes(self) -> Mapping[str, int]:
        """Count the clips of every split."""
        wanted = self.splits or self.analysis.splits.labelled()
        sizes = {split: len(self.samples(split)) // len(self.analysis.profiles) for split in wanted}
        return {s: n if self.limit is None else min(n, self.limit) for s, n in sizes.items()}

    def prepare(self) -> None:
        """Nothing is needed but the samples and the model, which were looked at already."""

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        """Evaluate some clips under every profile."""
        samples = self.samples(split)
        profiles = self.analysis.profiles
        for first in range(start, stop, CLIPS_PER_BATCH):
            clips = range(first, min(first + CLIPS_PER_BATCH, stop))
            ids = [
                tuple(samples.ids[clip * len(profiles) + place] for place in range(len(profiles)))
                for clip in clips
            ]
            yield from self._evaluate(samples, ids)

    def samples(self, split: str) -> SampleSet:
        """Open the samples of one split."""
        # The set of one split is asked for shard after shard.
        if self._opened is None or self._opened.split != split:
            self._opened = open_samples(self.analysis, split)
        return self._opened

    def _evaluate(
        self, samples: SampleSet, clips: list[tuple[str, ...]]
    ) -> Iterator[Kept | Quarantined]:
        heard: dict[str, np.ndarray] = {}
        failed: dict[str, str] = {}
        for ids in clips:
            try:
                heard.update({sample_id: samples.waveform(sample_id) for sample_id in ids})
            except ClipError as error:
                failed[ids[0]] = str(error)
                for sample_id in ids:
                    heard.pop(sample_id, None)
        results = self._hear(samples, heard)
        for ids in clips:
            if ids[0] in failed:
                clip = samples.sample(ids[0]).clip_id
                yield Quarantined(clip, clip, failed[ids[0]])
            else:
                yield Kept(tuple(self._row(samples, i, heard[i], results[i]) for i in ids))

    def _hear(self, samples: SampleSet, waveforms: Mapping[str, np.ndarray]) -> dict[str, Heard]:
        if not waveforms:
            return {}
        sentences = [samples.sentence(sample_id) for sample_id in waveforms]
        heard = self.listener.hear(list(waveforms.values()), sentences)
        return dict(zip(waveforms, heard, strict=True))

    def _row(
        self, samples: SampleSet, sample_id: str, waveform: np.ndarray, heard: Heard
    ) -> dict[str, Any]:
        sample = samples.sample(sample_id)
        columns = samples.columns(sample_id)
        metadata = sample_metadata(
            profile=samples.profile(sample_id),
            waveform=waveform,
            sampling_rate=SAMPLING_RATE,
            columns=columns,
            masked=samples.is_masked(sample_id),
            stage_figures=samples.figures(sample_id),
        )
        words = word_errors(heard.reference, heard.hypothesis)
        characters = character_errors(heard.reference, heard.hypothesis)
        return {
            **metadata,
            "sample_id": sample_id,
            "id": sample.clip_id,
            "split": sample.split,
            "model": self.analysis.model_folder.name,
            "sentence": columns.get("sentence") or "",
            "reference": heard.reference,
            "hypothesis": heard.hypothesis,
            **words.columns("word"),
            **characters.columns("character"),
            **words.information_columns(),
            **heard.columns,
            "truncated": len(waveform) > self.analysis.n_samples,
            "latent": heard.latent,
        }


MAP_COLUMNS = ("x", "y", "cluster", "audio")


def analysis_schema(stage_figures: tuple[str, ...] = ()) -> pa.Schema:
    """Columns of ``analysis.parquet``, in order; with figures of other stages, if there are any."""
    first = ("sample_id", "id", "profile_name", "split", "model")
    texts = ("sentence", "reference", "hypothesis")
    columns: dict[str, pa.DataType] = dict.fromkeys((*first, *texts), pa.string())
    for name, kind in column_types(stage_figures).items():
        columns.setdefault(name, ARROW_TYPES[kind])
    for name in COLUMNS:
        columns[name] = pa.float64() if name.endswith("error_rate") else pa.int64()
    columns.update(dict.fromkeys(INFORMATION_COLUMNS, pa.float64()))
    columns.update({name: ARROW_TYPES[kind] for name, kind in LISTENER_COLUMNS.items()})
    columns.update(truncated=pa.bool_(), latent=pa.list_(pa.float32()))
    columns.update(x=pa.float32(), y=pa.float32(), cluster=pa.int32(), audio=AUDIO_TYPE)
    return pa.schema(list(columns.items()))


def evaluate(
    stage: EvaluateStage,
    options: RunOptions,
    *,
    method: Method = "auto",
    embed_audio: bool = True,
) -> StageReport:
    """Evaluate, then write the table.

    Parameters
    ----------
    stage : EvaluateStage
    options : RunOptions
    method : {"auto", "pca", "tsne"}
        How the latent map is drawn.
    embed_audio : bool
        Put each sample's FLAC file into the table.

    Returns
    -------
    StageReport
        ``analysis.parquet`` is in ``stage.output``.
    """
    report = run_stage(stage, replace(options, max_failures=None))
    if report.complete:
        write_table(stage, method, embed_audio=embed_audio)
    return judge(report, options.max_failures)


def write_table(stage: EvaluateStage, method: Method, *, embed_audio: bool) -> Path:
    """Join the parts: clip by clip, within a clip profile by profile, with map and audio.

    Returns
    -------
    Path
        The table. One that was made from the same parts in the same way is left as it is.
    """
    path = stage.output / TABLE_FILE
    corpora = [open_corpus(output.root) for output in stage.outputs]
    made_from = "-".join([*(corpus_digest(corpus) for corpus in corpora), method, str(embed_audio)])
    if path.is_file() and _made_from(path) == made_from:
        return path
    parts = [pa.concat_tables(c[split].table for split in c.splits) for c in corpora]
    latents = np.stack([_matrix(part.column("latent")) for part in parts], axis=1)
    latents = latents.reshape(len(parts) * len(parts[0]), -1)
    latent_map = draw_map(latents, method, stage.analysis.seed)
    schema = analysis_schema(stage.tables.names).with_metadata({"made_from": made_from})
    with write_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for first in range(0, len(parts[0]), CLIPS_PER_GROUP):
            joined = _interleave([part.slice(first, CLIPS_PER_GROUP) for part in parts])
            rows = slice(first * len(parts), first * len(parts) + len(joined))
            joined = joined.append_column("x", pa.array(latent_map.coordinates[rows, 0]))
            joined = joined.append_column("y", pa.array(latent_map.coordinates[rows, 1]))
            joined = joined.append_column("cluster", pa.array(latent_map.clusters[rows]))
            joined = joined.append_column("audio", _audio(stage, joined, embed=embed_audio))
            writer.write_table(joined.select(schema.names).cast(schema))
    return path


def _made_from(path: Path) -> str:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return ""
    return metadata.get(b"made_from", b"").decode()


def _interleave(parts: list[pa.Table]) -> pa.Table:
    """Put the rows of a clip side by side."""
    order = np.arange(len(parts) * len(parts[0])).reshape(len(parts), -1).T.ravel()
    return pa.concat_tables(parts).take(pa.array(order))


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    flat = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(len(column), -1) if len(column) else np.zeros((0, 0), np.float32)


def _audio(stage: EvaluateStage, rows: pa.Table, *, embed: bool) -> pa.Array:
    values = []
    for sample_id, split, clip in zip(
        *(rows.column(name).to_pylist() for name in ("sample_id", "split", "id")), strict=True
    ):
        content = stage.samples(split).audio_bytes(sample_id) if embed else None
        values.append({"bytes": content, "path": f"{clip}.flac"})
    return pa.array(values, AUDIO_TYPE)
