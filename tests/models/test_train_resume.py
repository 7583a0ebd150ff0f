"""A training that is killed and resumed has the loss curve of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_train import TINY as TINY_WAV2VEC2
from test_train_whisper import TINY as TINY_WHISPER

from models.recipe import TrainingRecipe, last_checkpoint
from models.train import train_ctc
from models.train_whisper import train_whisper
from pipeline.logmel.features import MelSettings
from pipeline.logmel.stage import LogMelStage
from pipeline.stage import RunOptions, run_stage

# Everything that is drawn at random: dropout, padding, noise, speed, level, masks.
DROPOUT = {"wav2vec2": {"hidden_dropout": 0.2}, "whisper": {"dropout": 0.2}}
RECIPE = {"epochs": 4, "batch_size": 4, "learning_rate": 5e-3, "window_seconds": 1.0} | {
    "extra_padding": 0.5,
    "noise_share": 0.5,
    "speed_change": 0.1,
    "ctc_weight": 0.3,
    "level_change_db": 6.0,
    "warp": 0.2,
    "masks": 1,
    "crop": True,
}
TRAININGS = {"wav2vec2": train_ctc, "whisper": train_whisper}
# Dies without a word at the 15th of 24 steps: in the third pass, two checkpoints written.
DIE = """
import os, sys, json
from pathlib import Path
import models.callbacks
from models.recipe import TrainingRecipe
class Die(models.callbacks.LogBeforeSaving):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 15:
            os.kill(os.getpid(), 9)
import models.recipe
models.recipe.LogBeforeSaving = Die
from models.train import train_ctc
from models.train_whisper import train_whisper
source, output, architecture, recipe, family = sys.argv[1:]
train = {"wav2vec2": train_ctc, "whisper": train_whisper}[family]
train(Path(source), Path(output), architecture=Path(architecture),
      recipe=TrainingRecipe(**json.loads(recipe)), num_threads=1)
"""


@pytest.fixture(params=TRAININGS)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def source(family: str, tone_corpus: Path, tmp_path: Path) -> Path:
    if family == "wav2vec2":
        return tone_corpus
    run_stage(
        LogMelStage(tone_corpus, tmp_path / "mel", MelSettings(80, 1)), RunOptions(num_workers=0)
    )
    return tmp_path / "mel"


@pytest.fixture
def architecture(family: str, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    keys = {"wav2vec2": TINY_WAV2VEC2, "whisper": TINY_WHISPER}[family] | DROPOUT[family]
    path.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return path


def curve(output: Path) -> list[dict[str, Any]]:
    state = json.loads((last_checkpoint(output / "checkpoints") / "trainer_state.json").read_text())
    return [
        {key: value for key, value in entry.items() if key in {"step", "loss", "eval_wer"}}
        for entry in state["log_history"]
    ]


def test_killed_and_resumed(family: str, source: Path, architecture: Path, tmp_path: Path) -> None:
    train = TRAININGS[family]
    keys = {"architecture": architecture, "recipe": TrainingRecipe(**RECIPE), "num_threads": 1}
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    undisturbed = train(source, whole, **keys)

    arguments = [str(source), str(halved), str(architecture), json.dumps(RECIPE), family]
    killed = subprocess.run(
        [sys.executable, "-c", DIE, *arguments], check=False, capture_output=True, env=os.environ
    )
    assert killed.returncode == -9, killed.stderr.decode()
    assert last_checkpoint(halved / "checkpoints").name == "checkpoint-12"
    resumed = train(source, halved, resume=True, **keys)

    assert len(curve(whole)) == len(curve(halved)) == 8  # a loss and an error rate in every pass
    for entry, expected in zip(curve(halved), curve(whole), strict=True):
        assert entry == pytest.approx(expected, rel=1e-6)
    assert resumed["steps"] == undisturbed["steps"] == 24
    assert resumed["train_loss"] == pytest.approx(undisturbed["train_loss"], rel=1e-6)


def test_a_checkpoint_cut_short_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((6, "{}"), (12, '{"global_')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-18").mkdir()

    assert last_checkpoint(tmp_path).name == "checkpoint-6"
    assert last_checkpoint(tmp_path / "nowhere") is None
