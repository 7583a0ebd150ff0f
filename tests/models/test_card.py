"""The model card says what the training recorded."""

import json
from pathlib import Path

import pytest
import yaml

from models.card import write_model_card
from pipeline.errors import InputError

SUMMARY = {
    "clips": 12_719,
    "hours": 8.94,
    "recipe": {"epochs": 20, "learning_rate": 0.0015},
    "steps": 10_600,
    "train_loss": 0.1234,
    "validation_wer": 0.0523,
    "validation_cer": 0.0178,
    "parameters": 455_424,
    "versions": {"torch": "2.12.1"},
}
TEXTS = {
    "description": "A small recogniser.",
    "data": "Read speech.",
    "command": "models train CORPUS OUTPUT",
    "limits": "English only.",
}


def test_the_figures_are_those_of_the_training(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(json.dumps(SUMMARY), encoding="utf-8")

    text = write_model_card(tmp_path, **TEXTS).read_text(encoding="utf-8")

    _, front_matter, body = text.split("---\n", 2)
    assert yaml.safe_load(front_matter)["pipeline_tag"] == "automatic-speech-recognition"
    assert "| word error rate | 5.23% |" in body
    assert "| learning rate | 0.0015 |" in body
    assert "12,719 clips, 8.94 h" in body
    assert all(part in body for part in TEXTS.values())


def test_an_untrained_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks training\.json"):
        write_model_card(tmp_path, **TEXTS)
