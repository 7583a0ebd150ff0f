"""Frames of encoders: the layer that fairseq means, chunks, normalisation, bad checkpoints."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import noise, seeded, write_corpus

from pipeline.kmeans.encoders import WaveformEncoder, WhisperEncoder, cut, normalize

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def small(kind: str, **settings: object):
    """A tiny random model of the wav2vec2 family."""
    config = {
        **{"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 8},
        **{"intermediate_size": 32, "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8},
        **{"num_conv_pos_embedding_groups": 2, "do_stable_layer_norm": False},
    }
    torch.manual_seed(0)
    return getattr(transformers, f"{kind}Model")(
        getattr(transformers, f"{kind}Config")(**{**config, **settings})
    ).eval()


def hidden_states(model, waveform: np.ndarray, layer: int) -> np.ndarray:
    with torch.inference_mode():
        output = model(torch.from_numpy(waveform)[None], output_hidden_states=True)
    return output.hidden_states[layer][0].numpy()


@pytest.mark.parametrize("kind", ["Hubert", "Wav2Vec2", "WavLM"])
@pytest.mark.parametrize("layer", [1, 2])
def test_a_layer_is_the_hidden_state_of_that_number(tmp_path, kind, layer):
    model = small(kind)
    model.save_pretrained(tmp_path)
    waveform = noise(0.3)
    found = WaveformEncoder(tmp_path, layer).features(waveform)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, hidden_states(model, waveform, layer), atol=1e-5)


def test_the_last_layer_is_not_normalised(tmp_path):
    model = small("Hubert", do_stable_layer_norm=True, feat_extract_norm="layer")
    with torch.no_grad():
        model.encoder.layer_norm.weight.fill_(3.0)
    model.save_pretrained(tmp_path)
    waveform = noise(0.3)
    found = WaveformEncoder(tmp_path, 3).features(waveform)
    with torch.no_grad():
        normed = model.encoder.layer_norm(torch.from_numpy(found)).numpy()
        final = model(torch.from_numpy(normalize(waveform))[None]).last_hidden_state[0].numpy()
    np.testing.assert_allclose(normed, final, atol=1e-4)
    assert not np.allclose(found, final, atol=0.1)


@pytest.mark.parametrize(("says", "norm"), [(None, "layer"), (True, "group"), (False, "layer")])
def test_clips_are_normalised_if_the_checkpoint_says_so(tmp_path, says, norm):
    small("Hubert", feat_extract_norm=norm).save_pretrained(tmp_path)
    if says is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": says}))
    encoder = WaveformEncoder(tmp_path, 1)
    assert encoder.normalizes == (says is not False)
    loud, quiet = (encoder.features(gain * noise(0.2)) for gain in (0.8, 0.2))
    assert np.allclose(loud, quiet, atol=1e-2) == encoder.normalizes


def test_normalisation_is_that_of_torch():
    waveform = 1e-3 * noise(0.5) + np.float32(0.01)
    expected = torch.nn.functional.layer_norm(torch.from_numpy(waveform), waveform.shape)
    np.testing.assert_allclose(normalize(waveform), expected.numpy(), atol=1e-4)


def test_a_long_clip_goes_through_in_chunks(tmp_path):
    small("Hubert").save_pretrained(tmp_path)
    encoder = WaveformEncoder(tmp_path, 2, max_chunk=3200)
    clip = noise(0.5)  # 8,000 samples: two chunks and a half
    parts = [encoder.features(part) for part in (clip[:3200], clip[3200:6400], clip[6400:])]
    np.testing.assert_array_equal(encoder.features(clip), np.concatenate(parts))
    assert encoder.shortest == 400
    assert len(encoder.features(clip[:3201])) == 9  # a rest of one sample is no chunk of its own


@seeded
@given(st.integers(1, 5000), st.integers(400, 2000))
def test_chunks_are_the_whole_and_none_is_too_short(n_samples, longest):
    waveform = np.arange(n_samples)
    chunks = cut(waveform, longest, 400)
    np.testing.assert_array_equal(np.concatenate(chunks), waveform)
    assert all(len(chunk) >= min(400, n_samples) for chunk in chunks)
    assert all(len(chunk) < longest + 400 for chunk in chunks)


def test_whisper_gives_frames_of_sound_alone(tmp_path):
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        **{"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2},
        **{"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16},
        **{"max_source_positions": 50, "vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1},
        **{"eos_token_id": 2, "decoder_start_token_id": 3, "max_target_positions": 8},
    )
    model = transformers.WhisperModel(config).eval()
    model.save_pretrained(tmp_path)
    encoder = WhisperEncoder(tmp_path, 1)
    clip = noise(1.3)  # a window of one second, and 0.3 s more
    found = encoder.features(clip)
    assert found.shape == (65, 16)
    extractor = transformers.WhisperFeatureExtractor(80, chunk_length=1)
    mel = extractor(clip[:16_000], sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        states = model.encoder(mel, output_hidden_states=True).hidden_states
    np.testing.assert_allclose(found[:50], states[1][0], atol=1e-5)


def test_the_shipped_recogniser_makes_features(command, model_folder, tmp_path):
    clips = [noise(0.5), noise(0.02), noise(0.3, seed=1)]
    root = write_corpus(tmp_path / "corpus", {"train": clips})
    made = ("kmeans", "hubert", root, "train", model_folder, 2, 2, "all", tmp_path / "feat")
    outcome = command(*made, "--max_chunk", 4000, "--device", "cpu", "--json")
    assert [shard["quarantined"] for shard in outcome.report["shards"]] == [1, 0]
    encoder = WaveformEncoder(model_folder, 2, 4000)
    assert np.load(tmp_path / "feat/train_0_2.npy").shape == (24, encoder.n_dims)
    assert (tmp_path / "feat/train_0_2.len").read_text() == "24\n0\n"


def test_bad_checkpoints_are_one_sentence(command, model_folder, tmp_path):
    root = write_corpus(tmp_path / "corpus", {"train": [noise(0.2)]})
    broken = tmp_path / "broken"
    shutil.copytree(model_folder, broken)
    for weights in broken.glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:1000])

    def hubert(checkpoint: Path, layer: int = 1, *options: object):
        feat = tmp_path / "feat"
        given = ("kmeans", "hubert", root, "train", checkpoint, layer, 1, 0, feat, *options)
        outcome = command(*given)
        assert outcome.status == 2
        return outcome.complaint

    assert "is no Hugging Face checkpoint folder" in hubert(tmp_path / "void")
    assert "has no layer 99; it has 1 to" in hubert(model_folder, 99)
    assert "has no layer 0" in hubert(model_folder, 0)
    assert "broken cannot be loaded" in hubert(broken)
    assert "--max-chunk 7 is less than" in hubert(model_folder, 1, "--max-chunk", 7)
    assert "--device 'abacus' is not usable" in hubert(model_folder, 1, "--device", "abacus")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "whisper"}')
    assert "holds a model of type 'whisper'" in hubert(other)
