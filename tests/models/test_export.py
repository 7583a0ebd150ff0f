"""ONNX export: the same numbers as torch, in the form converters read, or one sentence."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from models_command import run_models
from small_models import BASE_SHAPE, LARGE_SHAPE, make_hubert, make_wav2vec2, make_whisper
from transformers import HubertForCTC, Wav2Vec2ForCTC, WhisperForConditionalGeneration

from models import parity, speech
from models.checkpoint import open_session
from models.export import export_onnx, graph
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.errors import CheckFailed, InputError

WINDOW_SECONDS = 0.5
# What the Tensorleap converter (onnx2kerastl) does not know; see its table of layers.
UNCONVERTIBLE = {"Loop", "Scan", "LogSoftmax", "STFT", "CastLike", "Attention", "ReduceL1"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a network of the base architecture, small and untrained."""
    folder = tmp_path_factory.mktemp("tiny")
    make_wav2vec2(folder)
    return folder


@pytest.fixture(scope="module")
def fixed(checkpoint: Path) -> Path:
    return export_onnx(checkpoint, window_seconds=WINDOW_SECONDS).path


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-whisper")
    make_whisper(folder)
    export_onnx(folder)
    return folder


@pytest.fixture
def damaged(checkpoint: Path, tmp_path: Path) -> Path:
    """Copy the checkpoint, to be damaged."""
    folder = tmp_path / "damaged"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("*.onnx"))
    return folder


def test_goes_beside_the_checkpoint(checkpoint: Path, fixed: Path) -> None:
    assert fixed == checkpoint / "model.onnx"
    assert not list(checkpoint.glob(".export-*"))


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


def test_silence_and_noise_side_by_side_lose_no_precision(checkpoint: Path, tmp_path: Path) -> None:
    # Summed one after the other, the variance of a channel was off by a hundred times this.
    path = export_onnx(checkpoint, tmp_path / "long.onnx", window_seconds=6).path
    values = np.random.default_rng(0).normal(size=(1, 96_000)).astype(np.float32)
    values[:, 20_000:] *= 1e-3
    model = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval().double()
    with torch.no_grad():
        expected = model(torch.from_numpy(values).double()).logits.numpy()

    found = open_session(path, num_threads=1).run(["logits"], {"input_values": values})[0]

    assert np.abs(found - expected).max() < 1e-5


def test_a_hubert_agrees_with_torch(tmp_path: Path) -> None:
    make_hubert(tmp_path, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
    values = np.random.default_rng(0).normal(size=(2, 8_000)).astype(np.float32)
    with torch.no_grad():
        expected = HubertForCTC.from_pretrained(tmp_path).eval()(torch.from_numpy(values)).logits

    path = export_onnx(tmp_path, window_seconds=WINDOW_SECONDS).path

    found = open_session(path, num_threads=1).run(["logits"], {"input_values": values})[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("shape", [BASE_SHAPE, LARGE_SHAPE], ids=["base", "large"])
def test_networks_of_full_width_agree_with_torch(shape: dict, tmp_path: Path) -> None:
    make_wav2vec2(tmp_path, **shape)
    values = np.random.default_rng(0).normal(size=(1, 8_000)).astype(np.float32)
    with torch.no_grad():
        expected = Wav2Vec2ForCTC.from_pretrained(tmp_path).eval()(torch.from_numpy(values)).logits

    path = export_onnx(tmp_path, window_seconds=WINDOW_SECONDS).path

    found = open_session(path, num_threads=1).run(["logits"], {"input_values": values})[0]
    assert np.abs(found - expected.numpy()).max() <= 1e-4


@pytest.mark.parametrize("batch", [1, 3])
def test_a_whisper_agrees_with_torch(whisper: Path, batch: int) -> None:
    rng = np.random.default_rng(batch)
    features = rng.normal(size=(batch, 80, 600)).astype(np.float32)
    ids = rng.integers(0, 1000, size=(batch, 32))
    model = WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    with torch.no_grad():
        expected = model(
            input_features=torch.from_numpy(features), decoder_input_ids=torch.from_numpy(ids)
        )

    logits, states = open_session(whisper, num_threads=1).run(
        ["logits", "encoder_hidden_states"], {"input_features": features, "decoder_input_ids": ids}
    )

    np.testing.assert_allclose(logits, expected.logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(states, expected.encoder_last_hidden_state.numpy(), atol=1e-4)


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_has_the_form_that_converters_read(fixed: Path, whisper: Path, family: str) -> None:
    model = onnx.load(fixed if family == "wav2vec2" else whisper / "model.onnx")
    shapes = [value.type.tensor_type.shape.dim for value in model.graph.input]

    assert model.ir_version <= 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert not UNCONVERTIBLE & {node.op_type for node in model.graph.node}
    for shape in shapes:
        assert shape[0].dim_param == "batch"
        assert all(size.dim_value > 0 for size in shape[1:])


def test_keeps_its_window_in_the_metadata(fixed: Path, whisper: Path) -> None:
    metadata = open_session(fixed, num_threads=1).get_modelmeta().custom_metadata_map
    assert metadata["n_samples"] == "8000"
    assert metadata["sampling_rate"] == "16000"

    metadata = open_session(whisper, num_threads=1).get_modelmeta().custom_metadata_map
    assert metadata["positions"] == "32"
    assert json.loads(metadata["prompt_ids"]) == [1000, 1001, 1102, 1106]


def test_a_free_time_axis_on_request(checkpoint: Path, tmp_path: Path) -> None:
    path = export_onnx(
        checkpoint, tmp_path / "free.onnx", window_seconds=WINDOW_SECONDS, dynamic_length=True
    ).path

    session = open_session(path, num_threads=1)

    values = np.zeros((1, 12_345), np.float32)
    assert session.run(["logits"], {"input_values": values})[0].shape == (1, 38, 32)


def test_what_is_too_large_for_one_file_keeps_its_weights_beside_it(
    checkpoint: Path, fixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LARGEST_FILE", 20_000)

    report = export_onnx(checkpoint, tmp_path / "large.onnx", window_seconds=WINDOW_SECONDS)

    assert [path.name for path in report.files] == ["large.onnx", "large.onnx.data"]
    assert report.path.stat().st_size < fixed.stat().st_size < report.n_bytes
    values = np.random.default_rng(0).normal(size=(1, 8_000)).astype(np.float32)
    for expected, found in zip(
        *(
            open_session(p, num_threads=1).run(None, {"input_values": values})
            for p in (fixed, report.path)
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)

    monkeypatch.undo()
    export_onnx(checkpoint, tmp_path / "large.onnx", window_seconds=WINDOW_SECONDS)
    assert [path.name for path in tmp_path.iterdir()] == ["large.onnx"]


def test_a_folder_gets_what_a_preprocessor_reads(
    whisper: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = run_models(
        capfd, "export", whisper, tmp_path / "out", "--positions", 8, "--no-steps", "--json"
    )

    assert ended.status == 0, ended.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.onnx",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert ended.report["opset"] == 17
    assert ended.report["bytes"] == (tmp_path / "out" / "model.onnx").stat().st_size
    assert ended.report["parity"]["same_choices"] is True
    assert ended.report["parity"]["n_clips"] == 4
    assert max(ended.report["parity"][on] for on in ("noise", "speech")) <= 1e-4
    session = open_session(tmp_path / "out", num_threads=1)
    assert session.get_inputs()[1].shape == ["batch", 8]


def test_without_examples_noise_has_to_do(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "RELEASE", tmp_path)

    report = export_onnx(checkpoint, tmp_path / "a.onnx", window_seconds=WINDOW_SECONDS)

    assert report.parity.speech is None
    assert report.parity.difference == report.parity.noise


@pytest.mark.parametrize("what", ["tolerance", "choices"])
def test_nothing_is_written_when_the_check_fails(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "tolerance":
        monkeypatch.setattr("models.export.onnx_format.ONNX_TOLERANCE", -1.0)
    else:
        monkeypatch.setattr("models.export.onnx_format.same_choices", lambda *_: False)

    with pytest.raises(CheckFailed, match="nothing was written"):
        export_onnx(checkpoint, tmp_path / "bad.onnx", window_seconds=WINDOW_SECONDS)
    assert not list(tmp_path.iterdir())


def test_a_nan_is_no_agreement() -> None:
    with pytest.raises(CheckFailed, match="nan"):
        parity.require(
            parity.Parity(parity.largest_difference([np.array([np.nan, 0])], [np.zeros(2)])),
            1,
            "it",
        )


def test_a_window_without_a_frame_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="too few for one frame"):
        export_onnx(checkpoint, window_seconds=0.01)


@pytest.mark.parametrize("positions", [4, 33])
def test_positions_that_do_not_suit_are_refused(whisper: Path, positions: int) -> None:
    with pytest.raises(InputError, match=f"{positions} positions are outside 5 to 32"):
        export_onnx(whisper, positions=positions)


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _cut_short(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1_000])


def _garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0this is no JSON at all")


def _pickled(folder: Path) -> None:
    model = Wav2Vec2ForCTC.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _of_another_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))


def _of_another_task(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["Wav2Vec2ForPreTraining"]
    (folder / "config.json").write_text(json.dumps(config))


def _without_tokenizer(folder: Path) -> None:
    (folder / "vocab.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_weights, "holds no weights: it lacks model.safetensors"),
        (_cut_short, "model.safetensors is cut short: 1,000 of"),
        (_garbage, "the header of .*model.safetensors is damaged"),
        (_pickled, "a pickle that can run code when it is read; give --trust-pickle"),
        (_of_another_family, "of type 'bert'; supported: 'wav2vec2', 'hubert', 'whisper'"),
        (_of_another_task, "holds a Wav2Vec2ForPreTraining, which does not write text"),
        (_without_tokenizer, "lacks vocab.json; take it from the model's repository"),
    ],
)
def test_a_damaged_checkpoint_is_told_in_one_sentence(
    damaged: Path, damage: Callable[[Path], None], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(damaged)

    ended = run_models(capfd, "export", damaged)

    assert ended.status == 2
    assert re.search(message, ended.complaint), ended.complaint
    assert not list(damaged.glob("*.onnx"))


def test_a_pickle_is_read_where_it_is_trusted(
    damaged: Path, fixed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _pickled(damaged)

    ended = run_models(
        capfd, "export", damaged, "--trust-pickle", "--window-seconds", WINDOW_SECONDS
    )

    assert ended.status == 0, ended.err
    values = {"input_values": np.ones((1, 8_000), np.float32)}
    np.testing.assert_array_equal(
        *(open_session(path, num_threads=1).run(None, values)[0] for path in (damaged, fixed))
    )


def test_a_whisper_without_tokenizer_is_told(whisper: Path, tmp_path: Path) -> None:
    shutil.copytree(whisper, tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").unlink()

    with pytest.raises(InputError, match=r"has no tokenizer \(tokenizer.json or vocab.json\)"):
        export_onnx(tmp_path / "copy")


def test_weights_of_another_shape_are_told(damaged: Path) -> None:
    config = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))

    with pytest.raises(InputError, match=r"lack 16 tensors of a Wav2Vec2ForCTC"):
        export_onnx(damaged, window_seconds=WINDOW_SECONDS)


def test_a_format_that_the_name_denies_is_told(
    checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = run_models(capfd, "export", checkpoint, "a.onnx", "--format", "h5")

    assert ended.status == 2
    assert ended.complaint == "a.onnx ends as a file of --format onnx, and not of h5"
