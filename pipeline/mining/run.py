"""The whole way of a preset: embed both sides, search, score, write pairs; each step restartable.

Files in ``output_dir``::

    embed.<version>/<side>/        rows of the shards (pipeline.mining.embed)
    index.<version>/               indexes, where search is not exact (pipeline.mining.indexing)
    mine.<version>/                neighbours (pipeline.mining.distances), alignment and pairs
    mining.json                    what was mined, and how
"""

import hashlib
import logging
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.corpus import file_digest, write_atomically, write_json
from pipeline.errors import InputError
from pipeline.folders import LAUNCH_FOLDER, lock
from pipeline.mining.distances import (
    SEARCH_STEPS,
    Search,
    Units,
    digest_of_embeddings,
    read_neighbours,
)
from pipeline.mining.embed import EmbedReport, EmbedUnits, EmbedWork, embed_side, embedded_shards
from pipeline.mining.encoders import make_encoder
from pipeline.mining.evaluate import xsim
from pipeline.mining.margin import MARGINS, Alignment, align
from pipeline.mining.pairs import PairsStage, table_suffix, write_alignment, write_bitexts
from pipeline.mining.preset import MiningPlan, Side
from pipeline.mining.rows import UnitRows
from pipeline.mining.shards import open_side
from pipeline.stage import RunOptions, run_stage

Step = Literal["embed", "train", "populate", "merge", "distances", "mine"]
STEPS: tuple[Step, ...] = get_args(Step)
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
    def bitexts(self) -> Path:
        """The file of the pairs, the last that is written."""
        return self.folder / f"bitexts{table_suffix(self.plan.compress)}"

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
        if self.shard and (len(steps) != 1 or (steps[0] == "mine" and self.shard[1] > 1)):
            raise InputError(
                f"--shard shares out one step; give --step {', '.join(STEPS[:-2])} or {STEPS[-2]} "
                "with it"
            )
        _ = self.works  # checked before anything is written
        with lock((self.plan.output,), exclusive=self.shard is None):
            report: dict[str, Any] = {}
            if "embed" in steps:
                report["embed"] = self._embed()
            for step in SEARCH_STEPS:
                if step in steps:
                    share = self._share(self.units(step))
                    self.search.do(step, share, self.num_workers, partial(self._tell, step))
            if "distances" in steps and not self.shard:
                report["search"] = asdict(self.search.finish(self.num_workers))
            if "mine" in steps:
                report["mine"] = self._mine()
        return report or {steps[0]: "this share is done" if self.shard else "done"}

    def units(self, step: Step) -> Units | None:
        """What a step has to do; None if nothing that could be shared out.

        Raises
        ------
        InputError
            If both sides are not embedded yet, and the step is another one.
        """
        if step == "mine":
            return None
        return EmbedUnits(self.works) if step == "embed" else self.search.units(step)

    def proofs(self, step: Step) -> list[Path]:
        """Files that say of every unit of a step that it was done, and stay when it is over."""
        units = self.units(step)
        numbers = range(len(units.sizes)) if units else range(0)
        if step == "embed" and units:
            return [units.proof(unit) for unit in numbers]
        return [self._proof(step, unit) for unit in numbers]

    def _proof(self, step: Step, unit: int) -> Path:
        name = f"{self.search.digest[:16]}.{unit:04d}"
        return self.plan.output / LAUNCH_FOLDER / f"units-{step}" / name

    def _tell(self, step: Step, unit: int) -> None:
        """Note what a task of a launch has done; what was made may be gone when it is asked for."""
        if self.shard and (self.plan.output / LAUNCH_FOLDER).is_dir():
            write_atomically(self._proof(step, unit), b"")

    def _share(self, units: Units | None) -> range | None:
        if units is None or self.shard is None:
            return None
        index, count = self.shard
        return range(len(units.sizes))[index::count]

    def _embed(self) -> list[dict[str, Any]]:
        reports = []
        share, first = self._share(self.units("embed")), 0
        for work in self.works:
            own = range(first, first + len(work.shards))
            which = [unit - first for unit in own if share is None or unit in share]
            reports.append(summary(work, embed_side(work, which, self.num_workers)))
            first = own.stop
        return reports

    @cached_property
    def search(self) -> Search:
        """The search in the embedded rows of both sides."""
        source, target = (UnitRows(embedded_shards(work)) for work in self.works)
        if source.n_dims != target.n_dims:
            raise InputError(
                f"{self.plan.source.name} has {source.n_dims} dimensions and "
                f"{self.plan.target.name} {target.n_dims}; "
                "embed both sides with encoders of one space"
            )
        digests = [digest_of_embeddings(embedded_shards(work)) for work in self.works]
        return Search(self.plan, source, target, (digests[0], digests[1]), self.plan.output)

    def _mine(self) -> dict[str, Any]:
        # Quick, and never out of date; it searches only if that was not done.
        searched = self.search.finish(self.num_workers)
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
            "rows": [len(self.search.source), len(self.search.target)],
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
        self.run(STEPS[:-1])
        found = read_neighbours(self.plan, self.folder)
        return {"lines": counts[0], **{margin: xsim(found, margin) for margin in MARGINS}}

    def write_pairs(self, output: Path, options: RunOptions) -> dict[str, Any]:
        """Write the pairs as a corpus with the audio of both."""
        kinds = tuple(work.encoder.kind for work in self.works)
        sides = tuple(work.shards for work in self.works)
        digest = hashlib.sha256(
            f"{file_digest(self.alignment)} {' '.join(self.search.embedded)}".encode()
        )
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
