"""ONNX export: the same numbers as torch, in the form converters read."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from models import export
from models.export import export_onnx
from models.train import write_processor
from models.wav2vec2 import Wav2Vec2Preprocessor, open_session
from pipeline.errors import CheckFailed, InputError

WINDOW_SECONDS = 0.5
# What the Tensorleap converter (onnx2kerastl) does not know; see its table of layers.
UNCONVERTIBLE = {"Loop", "Scan", "LogSoftmax", "STFT", "CastLike", "Attention", "ReduceL1"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a network of the base architecture, small and untrained."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        conv_dim=(8, 8, 8, 8, 8, 8, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    write_processor(folder)
    return folder


@pytest.fixture(scope="module")
def fixed(checkpoint: Path) -> Path:
    return export_onnx(checkpoint, window_seconds=WINDOW_SECONDS).path


def test_goes_beside_the_checkpoint(checkpoint: Path, fixed: Path) -> None:
    assert fixed == checkpoint / "model.onnx"
    assert not list(checkpoint.glob("*.tmp"))


@pytest.mark.parametrize("batch", [1, 3])
def test_agrees_with_torch(checkpoint: Path, fixed: Path, batch: int) -> None:
    values = np.random.default_rng(batch).normal(size=(batch, 8_000)).astype(np.float32)
    model = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(values), output_hidden_states=True)

    logits, states = open_session(checkpoint, num_threads=1).run(
        ["logits", "hidden_states"], {"input_values": values}
    )

    np.testing.assert_allclose(logits, expected.logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(states, expected.hidden_states[-1].numpy(), atol=1e-4)
    assert logits.shape[1] == Wav2Vec2Preprocessor.from_folder(checkpoint).n_frames(8_000)


def test_has_the_form_that_converters_read(fixed: Path) -> None:
    graph = onnx.load(fixed)
    shape = graph.graph.input[0].type.tensor_type.shape.dim

    assert graph.ir_version <= 8
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 17)]
    assert (shape[0].dim_param, shape[1].dim_value) == ("batch", 8_000)
    assert not UNCONVERTIBLE & {node.op_type for node in graph.graph.node}


def test_keeps_its_window_in_the_metadata(fixed: Path) -> None:
    metadata = open_session(fixed, num_threads=1).get_modelmeta().custom_metadata_map

    assert metadata["n_samples"] == "8000"
    assert metadata["sampling_rate"] == "16000"


def test_a_free_time_axis_on_request(checkpoint: Path, tmp_path: Path) -> None:
    path = export_onnx(
        checkpoint, tmp_path / "free.onnx", window_seconds=WINDOW_SECONDS, dynamic_length=True
    ).path

    session = open_session(path, num_threads=1)

    values = np.zeros((1, 12_345), np.float32)
    assert session.run(["logits"], {"input_values": values})[0].shape == (1, 38, 32)


def test_nothing_is_written_when_the_check_fails(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)

    with pytest.raises(CheckFailed, match="nothing was written"):
        export_onnx(checkpoint, tmp_path / "bad.onnx", window_seconds=WINDOW_SECONDS)
    assert not list(tmp_path.iterdir())


def test_a_window_without_a_frame_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="too few for one frame"):
        export_onnx(checkpoint, window_seconds=0.01)


def test_a_folder_without_weights_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    for path in checkpoint.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())

    with pytest.raises(InputError, match="holds no weights"):
        export_onnx(tmp_path, window_seconds=WINDOW_SECONDS)
