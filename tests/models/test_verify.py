"""``models verify``: what is in an exported model, and whether it is what it should be."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from models_command import run_models
from small_models import make_wav2vec2, make_whisper
from tones import LETTERS, write_split

from models.checkpoint import open_checkpoint
from models.export import export_onnx
from models.export.onnx_format import reference_network
from models.verify import VerifySettings, verify_model
from pipeline.corpus import write_dataset_dict
from pipeline.errors import CheckFailed, InputError


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    make_wav2vec2(folder)
    export_onnx(folder, window_seconds=1.0)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips of a word each."""
    root = tmp_path_factory.mktemp("corpus")
    sentences = ["".join(np.random.default_rng(i).choice([*LETTERS], 3)) for i in range(5)]
    write_split(root / "dataset" / "test", sentences)
    write_dataset_dict(root / "dataset", ("test",))
    return root


@pytest.fixture
def torch_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the process that torch has for itself; there is no TensorFlow here."""

    def outputs(checkpoint, inputs, *, trust_pickle=False):
        return reference_network(open_checkpoint(checkpoint), trust_pickle=trust_pickle)(inputs)

    monkeypatch.setattr("models.verify.verify.torch_outputs", outputs)


def test_says_what_is_in_it(
    exported: Path, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = run_models(capfd, "verify", exported, "--corpus", corpus, "--json")

    assert ended.status == 0, ended.err
    report = ended.report
    assert report["path"] == str(exported / "model.onnx")
    assert (report["family"], report["opset"], report["ir_version"]) == ("wav2vec2", 17, 8)
    assert report["bytes"] == (exported / "model.onnx").stat().st_size
    assert report["inputs"] == [
        {"name": "input_values", "dtype": "float32", "shape": ["batch", 16_000]}
    ]
    assert [(t["name"], t["shape"]) for t in report["outputs"]] == [
        ("logits", ["batch", 49, 32]),
        ("hidden_states", ["batch", 49, 16]),
    ]
    graph = onnx.load(exported / "model.onnx").graph
    assert sum(report["operators"].values()) == len(graph.node)
    assert report["unconvertible"] == []
    assert report["parity"]["noise"] <= 1e-4 >= report["parity"]["speech"]
    assert report["parity"]["same_choices"] is True
    assert set(report["real_time_factor"]) == {"1", "16"}
    heard = report["transcription"]
    assert (heard["clips"], heard["words"]) == (5, 5)
    assert heard["wer"] == heard["errors"] / heard["words"] > 0


@pytest.mark.usefixtures("torch_here")
def test_a_whisper_is_verified_as_well(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_whisper(tmp_path / "whisper", max_target_positions=16)
    export_onnx(tmp_path / "whisper", tmp_path / "out", steps=False)

    ended = run_models(
        capfd,
        *("verify", tmp_path / "out", "--checkpoint", tmp_path / "whisper"),
        *("--corpus", corpus, "--limit", 2, "--num-threads", 1),
    )

    assert ended.status == 0, ended.err
    assert "input      decoder_input_ids int64 (batch, 16)" in ended.out
    assert "every most probable token the same" in ended.out
    assert f"on 2 clips of {corpus} test" in ended.out


@pytest.mark.usefixtures("torch_here")
def test_another_checkpoint_s_weights_are_noticed(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_wav2vec2(tmp_path / "other", initializer_range=0.05)

    ended = run_models(capfd, "verify", exported, "--checkpoint", tmp_path / "other", "--json")

    assert ended.status == 1
    assert "and torch differ by" in ended.complaint
    assert ended.report["parity"]["noise"] > 1e-4  # the report is there all the same


def test_what_the_converter_lacks_is_told(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").unlink()
    path = tmp_path / "copy" / "model.onnx"
    model = onnx.load(path)
    logits = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["scores" if name == logits else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("LogSoftmax", ["scores"], [logits]))
    model.opset_import[0].version = 18
    onnx.save(model, path)

    report = verify_model(tmp_path / "copy")

    assert report.unconvertible == ("it lacks LogSoftmax", "opset 18 is newer than 17")
    assert report.parity is None  # its weights are not there
    with pytest.raises(CheckFailed, match="does not suit the platform's converter: it lacks Log"):
        report.require()


def test_a_model_of_another_family_is_told(exported: Path, tmp_path: Path) -> None:
    make_whisper(tmp_path)

    with pytest.raises(InputError, match="takes input_values; a whisper takes input_features, dec"):
        verify_model(exported, VerifySettings(checkpoint=tmp_path))


def test_a_free_length_is_told(exported: Path, tmp_path: Path) -> None:
    export_onnx(exported, tmp_path / "free.onnx", window_seconds=1, dynamic_length=True)

    with pytest.raises(InputError, match="leaves the length of input_values free"):
        verify_model(tmp_path / "free.onnx", VerifySettings(checkpoint=exported))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere does not exist; make it with: models export"),
        (("{}/config.json",), "config.json is none of .onnx, .h5, .keras"),
        (("{}", "--corpus", "nowhere"), "nowhere"),
        (("{}", "--corpus", "{corpus}", "--split", "dev"), "has no split 'dev'; it has test"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    exported: Path,
    corpus: Path,
    arguments: tuple[str, ...],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = [argument.format(exported, corpus=corpus) for argument in arguments]

    ended = run_models(capfd, "verify", *given)

    assert ended.status == 2
    assert message in ended.complaint
