"""The smallest stage there is, and a command line for it: numbered rows in two outputs."""

import hashlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from pipeline.command import configure_logging, run_app
from pipeline.corpus import AUDIO_TYPE
from pipeline.options import parse_shard
from pipeline.report import perform
from pipeline.stage import Kept, Output, Quarantined, RunOptions

app = typer.Typer(pretty_exceptions_enable=False)
COLUMNS = {"id": pa.string(), "audio": AUDIO_TYPE, "number": pa.int64()}
ROW_BYTES = 1_000


@dataclass(frozen=True)
class ToyStage:
    """Rows 0, 1, 2 … of two splits, each in two outputs.

    Attributes
    ----------
    folder : Path
        Gets the outputs ``left`` and ``right``.
    sizes : tuple of (str, int)
        Rows of each split.
    salt : str
        Goes into every row, and is the configuration.
    quarantine_every : int
        Leave out each row whose number is a multiple of this; 0 keeps all.
    seconds_per_row : float
        How long a row takes; as the next, no part of the configuration.
    dies_once : Path, optional
        A worker that comes to row 40 and does not find this file makes it and is killed.
    """

    folder: Path
    sizes: tuple[tuple[str, int], ...] = (("train", 150), ("test", 50))
    salt: str = "a"
    quarantine_every: int = 7
    seconds_per_row: float = 0.0
    dies_once: Path | None = None
    source_digest: str = "the same input"
    sources: tuple[Path, ...] = ()
    name: str = "toy"

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(Output(self.folder / name, COLUMNS) for name in ("left", "right"))

    @property
    def config(self) -> dict[str, Any]:
        return {"salt": self.salt, "quarantine_every": self.quarantine_every}

    def split_sizes(self) -> Mapping[str, int]:
        return dict(self.sizes)

    def prepare(self) -> None:
        pass

    def rows(self, split: str, start: int, stop: int) -> Iterator[Kept | Quarantined]:
        for number in range(start, stop):
            time.sleep(self.seconds_per_row)
            self._perhaps_die(number)
            if self.quarantine_every and number % self.quarantine_every == 0:
                yield Quarantined(f"{split}-{number}", f"{number}.mp3", "a multiple")
            else:
                yield Kept(tuple(self._row(split, number, side) for side in ("left", "right")))

    def _row(self, split: str, number: int, side: str) -> dict[str, Any]:
        seed = f"{self.salt} {split} {number} {side}".encode()
        audio = hashlib.shake_128(seed).digest(ROW_BYTES)
        return {"id": f"{split}-{number}", "audio": {"bytes": audio, "path": ""}, "number": number}

    def _perhaps_die(self, number: int) -> None:
        if number == 40 and self.dies_once and not self.dies_once.exists():
            self.dies_once.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@app.command()
def run(
    folder: Path,
    num_workers: Annotated[int, typer.Option("-j")] = 0,
    salt: str = "a",
    quarantine_every: int = 7,
    seconds_per_row: float = 0.0,
    dies_once: Path | None = None,
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
    max_failures: int | None = None,
    shard: str | None = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    configure_logging()
    stage = ToyStage(
        folder,
        salt=salt,
        quarantine_every=quarantine_every,
        seconds_per_row=seconds_per_row,
        dies_once=dies_once,
    )
    options = RunOptions(num_workers, overwrite, max_failures, parse_shard(shard))
    perform(stage, options, dry_run=False, as_json=as_json)


if __name__ == "__main__":
    run_app(app)
