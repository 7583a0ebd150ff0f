"""Training: the loss falls, the folder loads, an interrupted run goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tones import tones
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from models.network import make_model
from models.train import VOCABULARY, TrainingRecipe, train_ctc
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.errors import InputError, MissingPathError

SHIPPED = Path(__file__).parents[2] / "models" / "mini-wav2vec2"
RECIPE = TrainingRecipe(epochs=4, batch_size=4, learning_rate=5e-3, window_seconds=1.0)
TINY = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "apply_spec_augment": False,
    "pad_token_id": 0,
    "ctc_loss_reduction": "mean",
    "ctc_zero_infinity": True,
}


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conf") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(
    tone_corpus: Path, architecture: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("models") / "tiny"
    train_ctc(tone_corpus, output, architecture=architecture, recipe=RECIPE, num_threads=1)
    return output


def test_the_loss_falls(trained: Path) -> None:
    torch.manual_seed(RECIPE.seed)
    untrained = Wav2Vec2ForCTC(Wav2Vec2Config.from_pretrained(trained))

    assert _loss(Wav2Vec2ForCTC.from_pretrained(trained)) < 0.75 * _loss(untrained)


def test_the_folder_is_a_checkpoint(trained: Path) -> None:
    preprocessor = Wav2Vec2Preprocessor.from_folder(trained)

    assert preprocessor.vocabulary == VOCABULARY
    assert Wav2Vec2ForCTC.from_pretrained(trained).config.vocab_size == len(VOCABULARY)


def test_the_recipe_is_kept(trained: Path) -> None:
    summary = json.loads((trained / "training.json").read_text(encoding="utf-8"))

    assert summary["recipe"]["learning_rate"] == RECIPE.learning_rate
    assert summary["steps"] == 24
    assert summary["clips"] == 24
    assert summary["validation_wer"] >= 0


def test_an_interrupted_run_goes_on(tone_corpus: Path, architecture: Path, tmp_path: Path) -> None:
    train_ctc(
        tone_corpus, tmp_path, architecture=architecture, recipe=RECIPE, max_steps=6, num_threads=1
    )

    summary = train_ctc(
        tone_corpus,
        tmp_path,
        architecture=architecture,
        recipe=RECIPE,
        max_steps=8,
        resume=True,
        num_threads=1,
    )

    assert summary["steps"] == 8


def test_a_checkpoint_can_be_tuned(tone_corpus: Path, trained: Path, tmp_path: Path) -> None:
    train_ctc(tone_corpus, tmp_path, checkpoint=trained, recipe=RECIPE, max_steps=1, num_threads=1)

    before = Wav2Vec2ForCTC.from_pretrained(trained).lm_head.weight
    after = Wav2Vec2ForCTC.from_pretrained(tmp_path).lm_head.weight
    # One step at the foot of the warm-up: the same network, hardly moved.
    assert 0 <= (after - before).abs().max() < 2 * RECIPE.learning_rate


def test_mixed_precision_hears_what_float32_hears(tmp_path: Path) -> None:
    """Grouped convolutions in bfloat16 come out wrong on some CPUs; see make_model."""
    model = make_model(tmp_path, SHIPPED).eval()
    waveform = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 16_000))).float()
    with torch.no_grad():
        exact = model(waveform).logits
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(waveform).logits.float()
    assert (mixed - exact).abs().mean() < 0.1 * exact.abs().mean()


def test_either_an_architecture_or_a_checkpoint(tone_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="either an architecture"):
        train_ctc(tone_corpus, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 3", "is no architecture; write keys"),
        ("hidden_size: [", "is not valid YAML"),
        ("hidden_siz: 96", "Wav2Vec2Config has no key 'hidden_siz'"),
        ("hidden_size: wide", "is no Wav2Vec2Config: .* expected int, got str"),
        (None, "does not exist; name an architecture"),
    ],
)
def test_an_architecture_that_is_none(
    text: str | None, message: str, tone_corpus: Path, tmp_path: Path
) -> None:
    path = tmp_path / "network.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises((InputError, MissingPathError), match=message):
        train_ctc(tone_corpus, tmp_path / "out", architecture=path)


def _loss(model: Wav2Vec2ForCTC) -> float:
    """CTC loss on one clip of the corpus' kind, padded to a second."""
    values = torch.zeros(1, 16_000)
    clip = torch.from_numpy(tones("TEA"))
    values[0, : len(clip)] = (clip - clip.mean()) / clip.std()
    labels = torch.tensor([[VOCABULARY.index(letter) for letter in "TEA"]])
    with torch.no_grad():
        return model.eval()(values, labels=labels).loss.item()
