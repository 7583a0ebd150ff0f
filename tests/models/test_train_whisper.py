"""Training a Whisper on log-mel features of either layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from models.clips import IGNORED_LABEL, stack_labels
from models.mel_clips import MelClips, MelCollator
from models.recipe import TrainingRecipe, quiet_libraries
from models.train_whisper import label_settings, train_whisper
from pipeline.errors import InputError
from pipeline.logmel import open_features
from pipeline.logmel.features import Kind, Layout, MelSettings
from pipeline.logmel.stage import LogMelStage
from pipeline.stage import RunOptions, run_stage

RECIPE = TrainingRecipe(epochs=10, batch_size=4, learning_rate=5e-3)
TINY = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_target_positions": 32,
}
MEL = MelSettings(80, 1)


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    quiet_libraries()


@pytest.fixture(scope="module")
def make_features(tone_corpus: Path, tmp_path_factory: pytest.TempPathFactory):
    def make(layout: Layout = "compact", kind: Kind = "whisper", mel: MelSettings = MEL) -> Path:
        output = tmp_path_factory.mktemp("features") / "out"
        stage = LogMelStage(tone_corpus, output, mel, layout=layout, kind=kind)
        run_stage(stage, RunOptions(num_workers=0))
        return output

    return make


@pytest.fixture(scope="module")
def features(make_features) -> Path:
    return make_features()


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conf") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(features: Path, architecture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("models") / "tiny"
    train_whisper(features, output, architecture=architecture, recipe=RECIPE, num_threads=1)
    return output


def loss_of(model: WhisperForConditionalGeneration, features: Path) -> float:
    split = open_features(features)["train"]
    rows = [split[row] for row in range(len(split))]
    features = np.stack([row["input_features"] for row in rows])
    labels = stack_labels([row["labels"][1:] for row in rows])
    with torch.no_grad():
        outputs = model.eval()(input_features=torch.from_numpy(features), labels=labels)
    return float(outputs.loss)


def test_the_loss_falls(trained: Path, features: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(trained)
    torch.manual_seed(RECIPE.seed)
    untrained = WhisperForConditionalGeneration(model.config)

    assert loss_of(model, features) < 0.6 * loss_of(untrained, features)


def test_the_folder_is_a_checkpoint_that_transcribes(trained: Path, features: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(trained)
    processor = WhisperProcessor.from_pretrained(trained)
    assert processor.feature_extractor.feature_size == 80
    assert processor.feature_extractor.chunk_length == 1

    row = open_features(features)["validation"][0]
    ids = model.generate(
        torch.from_numpy(row["input_features"])[None], language="en", task="transcribe"
    )
    assert processor.tokenizer.prefix_tokens == row["labels"][:4].tolist()
    assert set(processor.decode(ids[0], skip_special_tokens=True)) <= {*"ETAON "}


def test_the_summary_says_what_was_done(trained: Path) -> None:
    summary = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert (summary["clips"], summary["steps"]) == (24, 60)
    assert summary["validation_cer"] >= 0
    assert summary["recipe"]["learning_rate"] == RECIPE.learning_rate


def test_both_layouts_train_alike(
    make_features, features: Path, trained: Path, architecture: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tiny"
    padded = make_features(layout="padded")
    train_whisper(padded, output, architecture=architecture, recipe=RECIPE, num_threads=1)
    models = [
        WhisperForConditionalGeneration.from_pretrained(folder) for folder in (trained, output)
    ]
    for name, weights in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], weights, rtol=0, atol=0)


def test_a_batch_is_features_and_what_follows_the_start_token(features: Path) -> None:
    split = open_features(features)["train"]
    clips = MelClips(split, np.full(len(split), 100))
    rows = [clips[0], {**clips[1], "labels": clips[1]["labels"][:5]}]
    batch = MelCollator(RECIPE, 100)(rows)
    assert batch["input_features"].shape == (2, 80, 100)
    stored = np.stack([split[row]["input_features"] for row in (0, 1)])
    np.testing.assert_allclose(batch["input_features"], stored, atol=1e-3)
    assert batch["labels"][0].tolist() == rows[0]["labels"][1:].tolist()
    assert batch["labels"][1].tolist()[:4] == rows[1]["labels"][1:].tolist()
    assert set(batch["labels"][1].tolist()[4:]) == {IGNORED_LABEL}


def test_going_on_from_a_checkpoint(trained: Path, features: Path, tmp_path: Path) -> None:
    figures = train_whisper(
        features, tmp_path / "more", checkpoint=trained, recipe=RECIPE, max_steps=2, num_threads=1
    )
    assert figures["steps"] == 2
    before, after = (
        WhisperForConditionalGeneration.from_pretrained(folder).state_dict()
        for folder in (trained, tmp_path / "more")
    )
    changes = [float((after[name] - before[name]).abs().max()) for name in before]
    assert 0 < max(changes) < 0.1


def test_features_that_do_not_fit_are_refused(make_features, trained: Path, tmp_path: Path) -> None:
    wide = make_features(mel=MelSettings(128, 1))
    with pytest.raises(InputError, match=r"are 128 × 100, and the network takes 80 × 100"):
        train_whisper(wide, tmp_path / "out", checkpoint=trained)
    spectrograms = make_features(kind="auris")
    with pytest.raises(InputError, match="has no labels to train with"):
        train_whisper(spectrograms, tmp_path / "out", checkpoint=trained)


def test_a_tokenizer_of_another_size_is_refused(
    features: Path, architecture: Path, trained: Path, tmp_path: Path
) -> None:
    config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
    model = WhisperForConditionalGeneration.from_pretrained(trained)
    model.resize_token_embeddings(config["vocab_size"] - 8)
    model.save_pretrained(tmp_path / "small")
    with pytest.raises(InputError, match="tokens, and the network knows"):
        train_whisper(features, tmp_path / "out", checkpoint=tmp_path / "small")


def test_one_of_architecture_and_checkpoint_is_needed(features: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="either an architecture to start from scratch, or a"):
        train_whisper(features, tmp_path / "out")


def test_labels_are_read_as_they_were_made(features: Path) -> None:
    settings = label_settings(open_features(features))
    assert (settings.tokenizer, settings.language, settings.task) == (None, "en", "transcribe")
