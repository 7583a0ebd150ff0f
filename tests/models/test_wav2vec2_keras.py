"""wav2vec2 in Keras against torch: two processes, the same numbers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import BASE_SHAPE, LARGE_SHAPE, make_hubert, make_wav2vec2, make_whisper
from transformers import HubertForCTC, Wav2Vec2ForCTC

from models.tensors import StoredTensors
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.errors import InputError
from pipeline.logmel.features import SAMPLING_RATE

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "models" / "mini-wav2vec2"
TOLERANCE = 1e-3
PLAIN = {"feat_extract_norm": "group", "do_stable_layer_norm": False}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WAV2VEC2 = {
    "group": PLAIN,
    "layer": STABLE,
    "odd_position": {**STABLE, "num_conv_pos_embeddings": 7, "hidden_act": "relu"},
    "base": BASE_SHAPE,
    "large": LARGE_SHAPE,
}
SAVED = {"group", "layer", "copy"}  # and loaded again


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build all models in Keras, in a process of its own."""
    root = tmp_path_factory.mktemp("keras")
    for name, changes in WAV2VEC2.items():
        make_wav2vec2(root / name, **changes)
    make_hubert(root / "hubert", feat_proj_layer_norm=False)
    make_hubert(root / "batch_norm", conv_pos_batch_norm=True)
    make_whisper(root / "whisper")
    make_wav2vec2(root / "pickle")
    (root / "pickle" / "model.safetensors").rename(root / "pickle" / "pytorch_model.bin")
    make_wav2vec2(root / "older")
    _name_as_older_torch_did(root / "older" / "model.safetensors")
    _writable_copy(SHIPPED, root / "copy")
    for name in (*WAV2VEC2, "hubert", "older", "copy"):
        np.savez(root / name / "inputs.npz", **_inputs(root / name))
        formats = ["h5", "keras"] if name in SAVED else []
        (root / name / "formats.json").write_text(json.dumps(formats))
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("keras_process.py")), str(root)],
        check=True,
        env=_environment(),
        cwd=root,
    )
    return root


@pytest.mark.parametrize("name", [*WAV2VEC2, "hubert", "older", "copy"])
def test_keras_computes_what_torch_computes(root: Path, name: str) -> None:
    values = _inputs(root / name)["values"]
    kind = HubertForCTC if name == "hubert" else Wav2Vec2ForCTC
    model = kind.from_pretrained(root / name).eval()
    with torch.no_grad():
        states = model.base_model(torch.from_numpy(values)).last_hidden_state
        expected = model.lm_head(states).numpy()

    found = _outputs(root / name)

    for form in ("built", *(["h5", "keras"] if name in SAVED else [])):
        logits = found[f"{form}_logits"]
        assert np.abs(logits - expected).max() <= TOLERANCE
        assert np.abs(found[f"{form}_states"] - states.numpy()).max() <= TOLERANCE
        if name == "copy":  # it was trained, and hears speech
            np.testing.assert_array_equal(logits.argmax(2), expected.argmax(2))


@pytest.mark.parametrize("name", ["group", "layer", "copy"])
def test_the_ctc_loss_is_that_of_torch(root: Path, name: str) -> None:
    inputs, found = _inputs(root / name), _outputs(root / name)

    expected = torch.nn.functional.ctc_loss(
        torch.from_numpy(found["built_logits"]).log_softmax(2).transpose(0, 1),
        torch.from_numpy(inputs["labels"]).clamp(min=0),
        torch.from_numpy(inputs["n_frames"]),
        torch.from_numpy(inputs["n_labels"]),
        reduction="none",
    )

    np.testing.assert_allclose(found["loss"], expected.numpy(), rtol=1e-4)


def test_the_command_exports_h5_and_verifies_it(root: Path) -> None:
    said = json.loads((root / "commands.json").read_text())

    assert said["export"]["status"] == 0, said["export"]["err"]
    report = json.loads(said["export"]["out"])
    assert report["path"] == str(root / "out" / "model.h5")
    assert max(report["parity"]["noise"], report["parity"]["speech"]) <= TOLERANCE
    assert said["verify"]["status"] == 0, said["verify"]["err"]
    report = json.loads(said["verify"]["out"])
    assert report["inputs"] == [
        {"name": "input_values", "dtype": "float32", "shape": ["batch", 16_000]}
    ]
    assert [tensor["name"] for tensor in report["outputs"]] == ["logits", "hidden_states"]
    assert report["parity"] is None  # the weights stayed where they were
    assert report["tolerance"] == TOLERANCE
    assert report["operators"]["MultiHeadAttention"] == 2
    assert report["transcription"] is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("whisper", "holds a Whisper, which is not built in Keras; export it with --format onnx"),
        ("batch_norm", "has conv_pos_batch_norm True, which is not built in Keras"),
        ("pickle", "a pickle that can run code when it is read"),
    ],
)
def test_what_is_not_built_is_told(root: Path, name: str, message: str) -> None:
    said = json.loads((root / "commands.json").read_text())[name]

    assert said["status"] == 2
    assert message in said["err"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_other_types_are_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"a": values, "b": values.T.contiguous()}, str(tmp_path / "model.safetensors"))

    tensors = StoredTensors(tmp_path)

    assert tensors["b"].dtype == np.float32
    np.testing.assert_array_equal(tensors["b"], values.T.float().numpy())
    with pytest.raises(InputError, match="lack c; take the checkpoint"):
        tensors["c"]


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    for index, name in enumerate("ab"):
        save_file(
            {name: torch.full((2,), float(index))}, str(tmp_path / f"model-{name}.safetensors")
        )
    weight_map = {name: f"model-{name}.safetensors" for name in "ab"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))

    assert StoredTensors(tmp_path)["b"].tolist() == [1.0, 1.0]

    index.write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))
    with pytest.raises(InputError, match="names no files of this folder"):
        StoredTensors(tmp_path)


def test_integers_are_no_weights(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, dtype=torch.int32)}, str(tmp_path / "model.safetensors"))

    with pytest.raises(InputError, match="holds a as I32 of shape"):
        StoredTensors(tmp_path)["a"]


def _inputs(folder: Path) -> dict[str, np.ndarray]:
    """Two clips, half a second of noise each; for the trained model speech, two seconds of it."""
    preprocessor = Wav2Vec2Preprocessor.from_folder(folder)
    random = np.random.default_rng(0)
    values = random.normal(size=(2, SAMPLING_RATE // 2)).astype(np.float32)
    if folder.name == "copy":
        from models.speech import spoken_clips

        clips = spoken_clips(SAMPLING_RATE, 2)
        values = np.stack(
            [preprocessor.input_values(clip.waveform, 2 * SAMPLING_RATE) for clip in clips]
        )
    n_frames = preprocessor.n_frames(values.shape[1])
    labels = random.integers(4, 32, size=(2, 6)).astype(np.int32)
    labels[1, 3:] = -1
    return {
        "values": values,
        "labels": labels,
        "n_labels": np.array([6, 3], np.int32),
        "n_frames": np.array([n_frames, n_frames - 5], np.int32),
    }


def _outputs(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs)


def _name_as_older_torch_did(path: Path) -> None:
    tensors = load_file(str(path))
    base = "wav2vec2.encoder.pos_conv_embed.conv"
    for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
        tensors[f"{base}.{old}"] = tensors.pop(f"{base}.parametrizations.weight.{new}")
    save_file(tensors, str(path), metadata={"format": "pt"})


def _writable_copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        if path.suffix in (".json", ".safetensors"):
            (target / path.name).write_bytes(path.read_bytes())
    return target


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
