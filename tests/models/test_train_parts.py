"""Parts of a training: growing, frozen convolutions, CTC beside attention, an early end, logs."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_train import TINY
from test_train_whisper import MEL
from test_train_whisper import TINY as TINY_WHISPER
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from models.clips import Clips, Collator
from models.encoded_clips import encode
from models.growth import grow
from models.hybrid import CHARACTERS, HybridWhisper, character_ids, plain, take_any_length
from models.mel_clips import MelClips, MelCollator, mask, warp
from models.network import freeze_features, make_model
from models.recipe import TrainingRecipe
from models.train import train_ctc
from models.train_whisper import train_whisper
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.corpus import open_corpus
from pipeline.errors import InputError
from pipeline.logmel import open_features
from pipeline.logmel.stage import LogMelStage
from pipeline.stage import RunOptions, run_stage

SHIPPED = Path(__file__).parents[2] / "models" / "mini-wav2vec2"
WINDOW = 1.0
RECIPE = TrainingRecipe(epochs=4, batch_size=4, learning_rate=5e-3, window_seconds=WINDOW)


@pytest.fixture(scope="module")
def features(tone_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("mel") / "features"
    run_stage(LogMelStage(tone_corpus, output, MEL), RunOptions(num_workers=0))
    return output


@pytest.fixture
def whisper() -> HybridWhisper:
    torch.manual_seed(0)
    ids = {"pad_token_id": 9, "bos_token_id": 9, "eos_token_id": 9, "decoder_start_token_id": 8}
    config = WhisperConfig(
        vocab_size=10, num_mel_bins=80, max_source_positions=50, **ids, **TINY_WHISPER
    )
    return HybridWhisper(config).eval()


def write_yaml(path: Path, keys: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return path


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_grown_network_says_what_the_small_one_said(pre_norm: bool) -> None:
    shipped = Wav2Vec2ForCTC.from_pretrained(SHIPPED)
    keys = shipped.config.to_dict() | {"do_stable_layer_norm": pre_norm}
    small = Wav2Vec2ForCTC(Wav2Vec2Config(**keys)).eval()
    small.load_state_dict(shipped.state_dict())
    larger = keys | {
        "num_hidden_layers": keys["num_hidden_layers"] + 2,
        "intermediate_size": keys["intermediate_size"] + 64,
    }
    grown = Wav2Vec2ForCTC(Wav2Vec2Config(**larger)).eval()
    grow(grown, small)
    assert grown.num_parameters() > 1.2 * small.num_parameters()
    waveform = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 48_000))).float()
    with torch.no_grad():
        before, after = small(waveform).logits, grown(waveform).logits
    assert (after - before).abs().max() < 1e-4 * before.abs().max()


def test_only_depth_and_width_can_grow() -> None:
    small = Wav2Vec2ForCTC(Wav2Vec2Config(**TINY))
    with pytest.raises(InputError, match="only more layers and a larger intermediate_size"):
        grow(Wav2Vec2ForCTC(Wav2Vec2Config(**TINY | {"hidden_size": 32})), small)
    with pytest.raises(InputError, match="the architecture has no wav2vec2.encoder.layers.0"):
        grow(Wav2Vec2ForCTC(Wav2Vec2Config(**TINY | {"num_hidden_layers": 0})), small)


def test_encoded_clips_are_what_the_convolutions_hear(tone_corpus: Path, tmp_path: Path) -> None:
    preprocessor = Wav2Vec2Preprocessor.from_folder(SHIPPED)
    model = make_model(tmp_path, SHIPPED).eval()
    clips = Clips(open_corpus(tone_corpus)["train"].at_rate(16_000), preprocessor, WINDOW)
    n_samples, n_frames = 16_000, preprocessor.n_frames(16_000)
    freeze_features(model)
    encoder = model.wav2vec2.feature_extractor
    encoded = encode(clips, encoder, preprocessor, WINDOW, folder=tmp_path)
    assert len(encoded) == len(clips)
    kept = [encoded[row]["input_values"].base for row in range(len(encoded))]
    assert all(base is kept[0] for base in kept)  # one array in memory, not one a clip
    path = tmp_path / "encoded-0-of-1.npz"
    made = path.stat().st_mtime_ns
    encode(clips, encoder, preprocessor, WINDOW, folder=tmp_path)
    assert path.stat().st_mtime_ns == made  # used again, as after an interruption
    with torch.no_grad():
        weight = encoder.conv_layers[0].conv.weight
        weight += 1e-3
        encode(clips, encoder, preprocessor, WINDOW, folder=tmp_path)
        weight -= 1e-3
    assert path.stat().st_mtime_ns != made  # another network hears otherwise
    for row in (0, 7):
        padded = np.zeros((1, n_samples), np.float32)
        padded[0, : clips.lengths[row]] = clips[row]["input_values"]
        frames = encoded[row]["input_values"].astype(np.float32)
        assert frames.shape[1] < n_frames
        frames = np.pad(frames, ((0, 0), (0, n_frames - frames.shape[1])), mode="edge")
        with torch.no_grad():
            heard = model(torch.from_numpy(padded)).logits
            read = model(torch.from_numpy(frames[None])).logits
        torch.testing.assert_close(read, heard, rtol=0, atol=2e-2)  # of about 20
        assert encoded[row]["labels"].tolist() == clips[row]["labels"].tolist()
        assert int(encoded[row]["n_frames"]) == preprocessor.n_frames(clips.lengths[row])


def test_processes_share_the_encoding(tone_corpus: Path, tmp_path: Path) -> None:
    preprocessor = Wav2Vec2Preprocessor.from_folder(SHIPPED)
    encoder = make_model(tmp_path, SHIPPED).eval().wav2vec2.feature_extractor
    clips = Clips(open_corpus(tone_corpus)["train"].at_rate(16_000), preprocessor, WINDOW)
    alone = encode(clips, encoder, preprocessor, WINDOW, folder=tmp_path / "alone")
    for process in (1, 0):
        with pytest.raises(FileNotFoundError) if process else nullcontext():
            shared = encode(
                clips,
                encoder,
                preprocessor,
                WINDOW,
                folder=tmp_path / "shared",
                process=process,
                n_processes=2,
            )
    for row in range(len(clips)):
        expected, got = alone[row]["input_values"], shared[row]["input_values"]
        np.testing.assert_allclose(got.astype(float), expected.astype(float), atol=2e-2)


def test_frozen_convolutions_stay(tone_corpus: Path, tmp_path: Path) -> None:
    keys = {
        "architecture": write_yaml(tmp_path / "tiny.yaml", TINY),
        "recipe": TrainingRecipe(**{**vars(RECIPE), "freeze_features": True}),
        "num_threads": 1,
    }
    train_ctc(tone_corpus, tmp_path / "out", max_steps=4, **keys)
    after = Wav2Vec2ForCTC.from_pretrained(tmp_path / "out").state_dict()
    torch.manual_seed(RECIPE.seed)
    before = Wav2Vec2ForCTC(Wav2Vec2Config.from_pretrained(tmp_path / "out")).state_dict()
    for name, weights in before.items():
        if name == "wav2vec2.masked_spec_embed":  # of masking, which is off
            continue
        changed = float((after[name] - weights).abs().max()) > 0
        assert changed != name.startswith("wav2vec2.feature_extractor."), name


def test_what_is_drawn_follows_from_seed_pass_and_clips(tone_corpus: Path) -> None:
    preprocessor = Wav2Vec2Preprocessor.from_folder(SHIPPED)
    clips = Clips(open_corpus(tone_corpus)["train"].at_rate(16_000), preprocessor, WINDOW)
    recipe = TrainingRecipe(window_seconds=WINDOW, noise_share=1.0, extra_padding=1.0)

    def batch(epoch: int, seed: int = 0, skipped: int = 0) -> torch.Tensor:
        collate = Collator(TrainingRecipe(**{**vars(recipe), "seed": seed}), preprocessor)
        clips.set_epoch(epoch)
        for row in range(skipped):
            collate([clips[row]])
        return collate([clips[3], clips[5]])["input_values"]

    first = batch(0)
    assert torch.equal(first, batch(0, skipped=2))
    for other in (batch(1), batch(0, seed=1)):
        assert other.shape != first.shape or not torch.equal(other, first)


def test_a_whisper_hears_any_length(whisper: HybridWhisper) -> None:
    features = torch.randn(2, 80, 100)
    inputs = {"decoder_input_ids": torch.tensor([[8, 1, 2]] * 2)}
    with torch.no_grad():
        expected = whisper(input_features=features, **inputs)
        take_any_length(whisper.model.encoder)
        same = whisper(input_features=features, **inputs)
        cropped = whisper(input_features=features[..., :60], **inputs)
    torch.testing.assert_close(same.logits, expected.logits, rtol=0, atol=1e-6)
    assert expected.ctc_logits.shape == (2, 50, len(CHARACTERS))
    assert cropped.ctc_logits.shape == (2, 30, len(CHARACTERS))


def test_the_head_for_ctc_can_be_left_out(whisper: HybridWhisper, tmp_path: Path) -> None:
    plain(whisper).save_pretrained(tmp_path)
    saved, info = WhisperForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not info["unexpected_keys"]
    inputs = {
        "input_features": torch.randn(1, 80, 100),
        "decoder_input_ids": torch.tensor([[8, 1]]),
    }
    with torch.no_grad():
        torch.testing.assert_close(saved.eval()(**inputs).logits, whisper(**inputs).logits)


def test_characters_are_what_both_families_write() -> None:
    text = "".join(CHARACTERS[id_] for id_ in character_ids(" It's 5 o'clock - Zoë!"))
    assert text == " IT'S  O'CLOCK  ZO"


def test_cropping_leaves_out_silence_alone(features: Path) -> None:
    split = open_features(features)["train"]
    clips = MelClips(split, np.full(len(split), 100))
    crop = TrainingRecipe(crop=True, extra_padding=0.0)
    rows = [clips[row] for row in range(3)]
    cropped = MelCollator(crop, 100)(rows)["input_features"].numpy()
    assert 60 <= cropped.shape[2] < 100  # clips of 0.6 s
    for row in range(3):
        stored = split[row]["input_features"]
        n_frames = cropped.shape[2]
        np.testing.assert_allclose(cropped[row], stored[:, :n_frames], atol=1e-3)
        assert (stored[:, n_frames:] == stored[:, -1:]).all()


def test_levels_change_by_decibels(features: Path) -> None:
    clips = MelClips(open_features(features)["train"], np.full(24, 100))
    rows = [clips[row] for row in range(4)]
    plain_batch = MelCollator(TrainingRecipe(), 100)(rows)["input_features"]
    changed = MelCollator(TrainingRecipe(level_change_db=8.0), 100)(rows)["input_features"]
    shifts = (changed - plain_batch).flatten(1)
    torch.testing.assert_close(shifts, shifts[:, :1].expand_as(shifts), rtol=0, atol=1e-5)
    assert 0.01 < float(shifts.abs().max()) <= 8 / 40 + 1e-6
    assert float(shifts[:, 0].std()) > 0


def test_a_warp_moves_the_bands_of_a_spectrogram() -> None:
    ramp = np.repeat(np.arange(80, dtype=np.float32)[:, None], 3, axis=1)
    np.testing.assert_array_equal(warp(ramp, 1.0), ramp)
    np.testing.assert_allclose(warp(ramp, 1.25), ramp / 1.25, rtol=1e-5)
    np.testing.assert_allclose(warp(ramp, 0.5)[:, 0], np.minimum(2 * np.arange(80), 79), rtol=1e-5)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 3), st.integers(0, 99))
def test_masks_blank_out_no_more_than_they_say(
    n_mels: int, n_frames: int, count: int, seed: int
) -> None:
    features = np.random.default_rng(seed).standard_normal((n_mels, n_frames)).astype(np.float32)
    masked = features.copy()
    mask(masked, count, np.random.default_rng(seed))
    changed = masked != features
    assert changed.all(axis=1).sum() <= count * (n_mels // 10)
    assert changed.all(axis=0).sum() <= count * (n_frames // 10)
    np.testing.assert_array_equal(masked[changed], features.mean())
    if count == 3 and n_mels >= 20 and n_frames >= 20 and seed == 0:
        assert changed.any()


def test_a_hybrid_training_ends_in_a_whisper(features: Path, tmp_path: Path) -> None:
    architecture = write_yaml(tmp_path / "tiny.yaml", TINY_WHISPER)
    recipe = TrainingRecipe(**{**vars(RECIPE), "ctc_weight": 0.5, "crop": True})
    summary = train_whisper(
        features, tmp_path / "out", architecture=architecture, recipe=recipe, num_threads=1
    )
    model, info = WhisperForConditionalGeneration.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not info["unexpected_keys"] and not info["missing_keys"]
    assert model.num_parameters() == summary["parameters"]


def test_an_early_end_and_logs_for_tensorboard(tone_corpus: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe(**{**vars(RECIPE), "learning_rate": 0.0, "patience": 1})
    summary = train_ctc(
        tone_corpus,
        tmp_path / "out",
        architecture=write_yaml(tmp_path / "tiny.yaml", TINY),
        recipe=recipe,
        num_threads=1,
    )
    assert summary["steps"] == 12  # of 24: nothing got better in the second pass

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = EventAccumulator(str(tmp_path / "out" / "logs")).Reload()
    assert [point.step for point in logs.Scalars("eval/wer")][:2] == [6, 12]
    assert {"train/loss", "train/learning_rate", "eval/cer"} <= set(logs.Tags()["scalars"])
