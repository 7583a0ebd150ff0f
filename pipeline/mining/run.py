"""The whole way of a preset: embed both sides, search, score, write pairs; each step restartable.

Files in ``output_dir``::

    embed.<version>/<side>/        rows of the shards (pipeline.mining.embed)
    mine.<version>/                neighbours (pipeline.mining.distances), alignment and pairs
    run.json                       what was mined, and how
"""

import hashlib
import logging
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipeline.corpus import file_digest, write_json
from pipeline.errors import InputError
from pipeline.folders import lock
from pipeline.mining.distances import (
    SearchReport,
    SearchWork,
    UnitRows,
    digest_of_embeddings,
    find_neighbours,
    read_neighbours,
)
from pipeline.mining.embed import EmbedReport, EmbedWork, embed_side, embedded_shards
from pipeline.mining.encoders import make_encoder
from pipeline.mining.evaluate import xsim
from pipeline.mining.margin import MARGINS, Alignment, align
from pipeline.mining.pairs import PairsStage, write_alignment, write_bitexts
from pipeline.mining.preset import MiningPlan, Side
from pipeline.mining.shards import open_side
from pipeline.stage import RunOptions, run_stage

Step = Literal["embed", "search", "mine"]
STEPS: tuple[Step, ...] = ("embed", "search", "mine")
RUN_FILE = "mining.json"

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class Mining:
    """A preset at work: everything is checked when it is made, before anything is written.

    Attributes
    ----------
    plan : MiningPlan
    num_workers : int
    overwrite : bool
        Embed again.
    shard : tuple of (int, int), optional
        Do only every n-th shard of a step, as one task of an array does.
    """

    plan: MiningPlan
    num_workers: int = 0
    overwrite: bool = False
    shard: tuple[int, int] | None = None

    @cached_property
    def works(self) -> tuple[EmbedWork, EmbedWork]:
        """Both sides: their shards, their encoders, where their rows go."""
        source, target = (self._work(side) for side in (self.plan.source, self.plan.target))
        return source, target

    def _work(self, side: Side) -> EmbedWork:
        encoder, shards = make_encoder(side.encoder), open_side(side)
        folder = self.plan.output / f"embed.{side.data.data_version}" / side.name
        return EmbedWork(side, tuple(shards), encoder, folder, self.overwrite)

    @property
    def folder(self) -> Path:
        """Where neighbours and pairs go."""
        return self.plan.output / f"mine.{self.plan.source.data.data_version}"

    @property
    def alignment(self) -> Path:
        """The file of the alignment."""
        return self.folder / f"{self.plan.source.name}-{self.plan.target.name}.align.npz"

    def run(self, steps: tuple[Step, ...] = STEPS) -> dict[str, Any]:
        """Do some of the steps, and say what came of them.

        Raises
        ------
        InputError
            With what is wrong, or which step has to be done before.
        """
        if self.shard and (len(steps) != 1 or steps[0] == "mine"):
            raise InputError(
                "--shard shares out one step; give --step embed or --step search with it"
            )
        works = self.works
        with lock((self.plan.output,), exclusive=self.shard is None):
            report: dict[str, Any] = {}
            if "embed" in steps:
                report["embed"] = [self._embed(work) for work in works]
            if "search" in steps:
                searched = self._search()
                report["search"] = asdict(searched) if searched else "this share is done"
            if "mine" in steps:
                report["mine"] = self._mine()
        return report

    def _embed(self, work: EmbedWork) -> dict[str, Any]:
        index, count = self.shard or (0, 1)
        which = range(len(work.shards))[index::count]
        reports = embed_side(work, which, self.num_workers)
        return summary(work, reports)

    @cached_property
    def rows(self) -> tuple[UnitRows, UnitRows]:
        """Embedded rows of both sides."""
        source, target = (UnitRows(embedded_shards(work)) for work in self.works)
        if source.n_dims != target.n_dims:
            raise InputError(
                f"{self.plan.source.name} has {source.n_dims} dimensions and "
                f"{self.plan.target.name} {target.n_dims}; "
                "embed both sides with encoders of one space"
            )
        return source, target

    @cached_property
    def _embedded(self) -> str:
        """Digest of both sides' rows."""
        paths = [path for work in self.works for path in embedded_shards(work)]
        return digest_of_embeddings([path.with_name(path.name + ".json") for path in paths])

    def _search(self) -> SearchReport | None:
        which = None
        if self.shard:
            index, count = self.shard
            units = SearchWork(*self.rows, self.plan.knn, self.folder, "").units
            which = range(len(units))[index::count]
        return find_neighbours(
            self.plan, *self.rows, self._embedded, self.folder, self.num_workers, which
        )

    def _mine(self) -> dict[str, Any]:
        # Quick, and never out of date; it searches only if that was not done.
        searched = find_neighbours(
            self.plan, *self.rows, self._embedded, self.folder, self.num_workers
        )
        assert searched is not None
        found = align(read_neighbours(self.plan, self.folder), self.plan.rule)
        write_alignment(self.alignment, found)
        written = write_bitexts(
            self.folder,
            found,
            (self.works[0].shards, self.works[1].shards),
            deduplicate=self.plan.deduplicate,
            compress=self.plan.compress,
        )
        facts = {
            "sides": [self.plan.source.name, self.plan.target.name],
            "rows": [len(rows) for rows in self.rows],
            "search": asdict(searched),
            "rule": asdict(self.plan.rule),
            "pairs": len(found),
            "written": len(written),
            "scores": _quantiles(written),
        }
        write_json(self.plan.output / RUN_FILE, facts)
        if not len(found):
            logger.warning("no pair scores %g or more", self.plan.rule.threshold)
        return facts

    def xsim(self) -> dict[str, Any]:
        """Error of every margin, for sides that are aligned line by line.

        Raises
        ------
        InputError
            If the sides have not as many lines as each other.
        """
        counts = [sum(shard.n_lines for shard in work.shards) for work in self.works]
        if counts[0] != counts[1]:
            raise InputError(
                f"{self.plan.source.name} has {counts[0]} lines and {self.plan.target.name} "
                f"{counts[1]}; xsim is for sides that are aligned line by line"
            )
        self.run(("embed", "search"))
        found = read_neighbours(self.plan, self.folder)
        return {"lines": counts[0], **{margin: xsim(found, margin) for margin in MARGINS}}

    def write_pairs(self, output: Path, options: RunOptions) -> dict[str, Any]:
        """Write the pairs as a corpus with the audio of both."""
        kinds = tuple(work.encoder.kind for work in self.works)
        sides = tuple(work.shards for work in self.works)
        digest = hashlib.sha256(f"{file_digest(self.alignment)} {self._embedded}".encode())
        stage = PairsStage(self.alignment, output, kinds, sides, digest.hexdigest())  # type: ignore[arg-type]
        return run_stage(stage, options).as_json()


def summary(work: EmbedWork, reports: list[EmbedReport]) -> dict[str, Any]:
    """What came of embedding a side."""
    return {
        "side": work.side.name,
        "shards": len(reports),
        "lines": sum(report.lines for report in reports),
        "quarantined": sum(report.quarantined for report in reports),
        "n_dims": max((report.n_dims for report in reports), default=0),
    }


def _quantiles(found: Alignment) -> dict[str, float] | None:
    if not len(found):
        return None
    low, middle, high = (float(found.scores[int(q * (len(found) - 1))]) for q in (1, 0.5, 0))
    return {"lowest": round(low, 4), "median": round(middle, 4), "highest": round(high, 4)}
