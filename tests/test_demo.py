"""The whole way, typed as a user types it: run undisturbed, and killed again and again."""

import contextlib
import io
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import yaml
from outputs import digests, files, stamps, temporary_files

from hearing_analysis.config import ROOT
from hearing_analysis.metadata import column_types
from hearing_analysis.metrics import COLUMNS as METRICS
from hearing_analysis.metrics import INFORMATION_COLUMNS
from hearing_analysis.recognition.listeners import COLUMNS as LISTENER_COLUMNS

SHIPPED_RECIPE = ROOT / "conf" / "demo.yaml"
SHIPPED_CORPUS = "examples/mini-corpus/cv-corpus-1.0-2026-11-21"
TABLES = ("train", "dev", "test")
CLIPS_PER_TABLE = 18  # two shards
N_CLIPS = len(TABLES) * CLIPS_PER_TABLE - 1  # one cannot be decoded
PROFILES = ("normal", "lfloss", "hfloss")
CLIPS_WITH_AUDIO = 40  # of those on the page, unless it is told otherwise
N_KILLS = 5
PATIENCE_SECONDS = 900  # half a minute is enough, where nothing else is running

pytestmark = pytest.mark.timeout(3 * PATIENCE_SECONDS)


@dataclass(frozen=True)
class Demo:
    """A folder in which the recipe was run.

    Attributes
    ----------
    folder : Path
    seconds : tuple of float
        What each step took.
    """

    folder: Path
    seconds: tuple[float, ...]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def table(self) -> Path:
        return self.data / "demo_analysis" / "analysis.parquet"


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """The shipped recipe on a few of the shipped clips."""
    folder = tmp_path_factory.mktemp("recipe")
    corpus = folder / Path(SHIPPED_CORPUS).name
    reduce_corpus(ROOT / SHIPPED_CORPUS / "en", corpus / "en")
    text = SHIPPED_RECIPE.read_text(encoding="utf-8").replace(SHIPPED_CORPUS, str(corpus))
    options = f"--data-root data/demo --model {model_folder}"
    path = folder / "demo.yaml"
    path.write_text(re.sub(r"(analyze run \S+)", rf"\1 {options}", text), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Demo:
    """The recipe, run undisturbed."""
    folder = tmp_path_factory.mktemp("demo")
    run = start(recipe, folder)
    assert run.wait(timeout=PATIENCE_SECONDS) == 0, log(folder)
    steps = yaml.safe_load(recipe.read_text(encoding="utf-8"))["steps"]
    seconds = tuple(float(text) for text in re.findall(r"^ +([\d.]+) s$", log(folder), re.M))
    assert len(seconds) == len(steps), log(folder)
    return Demo(folder, seconds)


@pytest.fixture(scope="session")
def table(demo: Demo) -> pd.DataFrame:
    return pd.read_parquet(demo.table)


def test_killed_at_random_moments_it_ends_in_the_same_bytes(
    demo: Demo, recipe: Path, tmp_path: Path
) -> None:
    n_steps = len(demo.seconds)
    moments, n_kills = random.Random(0), 0
    for step in sorted(moments.sample(range(n_steps), N_KILLS)):
        run = start(recipe, tmp_path)
        wait_for_step(run, tmp_path, f"{step + 1}/{n_steps} ")
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(moments.uniform(0, 0.8) * demo.seconds[step])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        n_kills += run.wait() == -signal.SIGKILL
    assert n_kills >= N_KILLS - 1  # the last may come too late

    assert start(recipe, tmp_path).wait(timeout=PATIENCE_SECONDS) == 0, log(tmp_path)

    assert digests(tmp_path / "data") == digests(demo.data)
    assert temporary_files(tmp_path) == []


def test_a_second_run_changes_nothing(demo: Demo, recipe: Path) -> None:
    before = digests(demo.data)
    kept = [path for path in files(demo.data) if path.name != "dashboard.html"]
    untouched = stamps(kept)

    assert start(recipe, demo.folder).wait(timeout=PATIENCE_SECONDS) == 0, log(demo.folder)

    assert digests(demo.data) == before
    assert stamps(kept) == untouched


def test_every_clip_is_accounted_for(demo: Demo) -> None:
    roots = sorted(path.parent for path in demo.data.rglob("run.json"))
    assert len(roots) == 1 + 3 * len(PROFILES)  # corpus, variants, features, parts of the table
    for root in roots:
        run = json.loads((root / "run.json").read_text(encoding="utf-8"))
        assert run["status"] == "complete"
        for counts in run["splits"].values():
            assert counts["clips_in"] == counts["clips_out"] + counts["quarantined"]
        assert sum(counts["clips_out"] for counts in run["splits"].values()) == N_CLIPS


def test_the_clip_that_cannot_be_decoded_is_named(demo: Demo) -> None:
    lines = (demo.data / "demo" / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()

    assert [json.loads(line)["split"] for line in lines] == ["train"]


def test_the_table_has_a_row_per_clip_and_profile(table: pd.DataFrame) -> None:
    assert len(table) == N_CLIPS * len(PROFILES)
    assert table["sample_id"].is_unique
    assert tuple(table["profile_name"][: len(PROFILES)]) == PROFILES
    assert set(table.groupby("id")["profile_name"].agg(tuple)) == {PROFILES}
    assert set(table["split"]) == {"train", "validation", "test"}


def test_its_columns_are_named_as_on_the_platform(table: pd.DataFrame) -> None:
    head = ["sample_id", "id", "profile_name", "split", "model", "sentence", "reference"]
    metadata = [name for name in column_types() if name != "profile_name"]
    scores = [*METRICS, *INFORMATION_COLUMNS, *LISTENER_COLUMNS]
    tail = ["truncated", "latent", "x", "y", "cluster", "audio"]

    assert list(table.columns) == [*head, "hypothesis", *metadata, *scores, *tail]


def test_its_figures_are_figures(table: pd.DataFrame) -> None:
    for name in ("x", "y", "ctc_loss", "word_error_rate", "character_error_rate"):
        assert table[name].map(math.isfinite).all(), name
    assert table[["x", "y"]].drop_duplicates().shape[0] > len(table) / 2
    assert table["latent"].map(len).nunique() == 1
    words = table["word_hits"] + table["word_substitutions"] + table["word_deletions"]
    assert (words == table["word_reference_length"]).all()
    assert (words == table["reference"].str.split().map(len)).all()


def test_its_audio_plays(table: pd.DataFrame) -> None:
    for audio, seconds in zip(table["audio"], table["audio_duration_s"], strict=True):
        samples, rate = sf.read(io.BytesIO(audio["bytes"]))
        assert rate == 16_000
        assert len(samples) / rate == pytest.approx(seconds)


def test_it_opens_with_datasets(demo: Demo, tmp_path: Path) -> None:
    # In a process of its own, which may look for the libraries this one must not import.
    code = (
        "import sys, datasets\n"
        "rows = datasets.Dataset.from_parquet(sys.argv[1], cache_dir=sys.argv[2])\n"
        "print(len(rows), *rows.column_names)"
    )
    opened = subprocess.run(
        [sys.executable, "-c", code, str(demo.table), str(tmp_path)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    names = pq.read_schema(demo.table).names
    assert opened.stdout.split() == [str(N_CLIPS * len(PROFILES)), *names]


def test_the_page_holds_every_sample(demo: Demo) -> None:
    page = (demo.data / "demo_analysis" / "dashboard.html").read_text(encoding="utf-8")

    assert "Content-Security-Policy" in page
    assert f"{N_CLIPS * len(PROFILES)} samples, {CLIPS_WITH_AUDIO} clips with audio" in log(
        demo.folder
    )
    assert page.count('id="clip-') == CLIPS_WITH_AUDIO


def reduce_corpus(source: Path, target: Path) -> None:
    """Copy the first clips of every table; end one of them in the middle of its first frame."""
    (target / "clips").mkdir(parents=True)
    for path in source.glob("*.tsv"):
        n_rows = CLIPS_PER_TABLE if path.stem in TABLES else 0
        if path.stem == "clip_durations":
            n_rows = sys.maxsize
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (target / path.name).write_text("".join(lines[: n_rows + 1]), encoding="utf-8")
        if path.stem in TABLES:
            for line in lines[1 : n_rows + 1]:
                name = line.split("\t")[1]
                shutil.copyfile(source / "clips" / name, target / "clips" / name)
    first = (target / "train.tsv").read_text(encoding="utf-8").splitlines()[1].split("\t")[1]
    os.truncate(target / "clips" / first, 30)


def start(recipe: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Run the recipe in a folder, in a process group of its own."""
    with (folder / "log.txt").open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "run", str(recipe)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for_step(run: subprocess.Popen[bytes], folder: Path, banner: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while banner not in log(folder):
        assert run.poll() is None, log(folder)
        assert time.monotonic() < deadline, log(folder)
        time.sleep(0.02)


def log(folder: Path) -> str:
    return (folder / "log.txt").read_text(encoding="utf-8")
