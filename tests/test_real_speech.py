"""Human speech through the whole pipeline, where a copy lies beside the repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from hearing_analysis.config import ROOT
from pipeline.corpus import open_corpus

SPEECH = ROOT.parent / "shared" / "speech"
PROFILES = ("normal", "lfloss", "hfloss")

pytestmark = pytest.mark.skipif(not SPEECH.is_dir(), reason="no ../shared/speech to try it on")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """Where the commands left their outputs."""
    folder = tmp_path_factory.mktemp("real-speech")
    archive = next(SPEECH.glob("cv-corpus-*.tar.gz"))
    for command in (
        f"pipeline.cli import {archive} cv",
        "pipeline.cli mask --input-dir cv",
        "pipeline.cli logmel -i cv_hfloss -o cv_hfloss_logmel --model-size tiny",
        f"hearing_analysis.cli run analysis --data-root cv --model {model_folder} --no-audio",
    ):
        run = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{command}: {run.stderr}"
    return folder


def test_every_row_of_the_release_is_there(folder: Path) -> None:
    run = json.loads((folder / "cv" / "run.json").read_text(encoding="utf-8"))
    counted = {split: counts["clips_in"] for split, counts in run["splits"].items()}
    names = {"train": "train", "dev": "validation", "test": "test"}
    names |= {name: name for name in ("other", "invalidated")}
    tables = {split: folder / "cv" / "source" / f"{name}.tsv" for name, split in names.items()}
    rows = {split: len(path.read_bytes().splitlines()) - 1 for split, path in tables.items()}

    assert counted == {split: n_rows for split, n_rows in rows.items() if n_rows}
    assert all(counts["quarantined"] == 0 for counts in run["splits"].values())


@pytest.mark.parametrize("output", [*(f"cv_{profile}" for profile in PROFILES), "cv_hfloss_logmel"])
def test_rows_in_are_rows_out(folder: Path, output: str) -> None:
    source, made = open_corpus(folder / "cv"), open_corpus(folder / output)

    assert made.splits == source.splits
    for split in source.splits:
        ids = made[split].column("id").to_pylist()
        assert sorted(ids) == sorted(source[split].column("id").to_pylist())


def test_every_clip_is_analysed_under_every_profile(folder: Path) -> None:
    source = open_corpus(folder / "cv")
    n_clips = sum(len(source[split]) for split in ("train", "validation", "test"))

    table = pd.read_parquet(folder / "analysis" / "analysis.parquet")

    assert len(table) == n_clips * len(PROFILES)
    assert table["audio_duration_s"].between(0.1, 60).all()
    assert (table["reference"].str.len() > 0).all()
