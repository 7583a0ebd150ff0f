from pathlib import Path

import pytest
import yaml
from fixtures import make_model

from hearing_analysis.config import BUNDLED_CONFIG, MODES, parse_config
from hearing_analysis.tensorleap.modes import mode_values, set_values, switch_mode
from pipeline.errors import InputError, MissingPathError

TEXT = """\
# What is analysed.
mode: ctc            # how
data_root: data/mine # where: "here"
model: models/a
seed: 3
"""


def test_only_the_values_change():
    changed = set_values(TEXT, {"mode": "seq2seq", "model": "models/b", "positions": None})
    assert changed == TEXT.replace("mode: ctc            #", "mode: seq2seq        #").replace(
        "models/a", "models/b"
    ) + ("positions: null\n")


def test_there_and_back_is_the_same_file():
    text = BUNDLED_CONFIG.read_text()
    there = set_values(text, {"mode": "autoregressive", "model": "m", "window_seconds": None})
    assert set_values(there, mode_values("ctc")) == text
    values = yaml.safe_load(there)
    assert (values["mode"], values["model"], values["window_seconds"]) == (
        *("autoregressive", "m"),
        None,
    )


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_its_file_and_sets_itself(mode):
    assert mode_values(mode)["mode"] == mode
    values = mode_values(mode) | {"window_seconds": 6.0}
    assert parse_config(yaml.safe_dump(values), Path("x")).mode == mode


def test_switching_needs_the_exported_model(tmp_path):
    path = tmp_path / "analysis.yaml"
    path.write_text(TEXT)
    make_model(tmp_path / "model")
    assert switch_mode("ctc", path, str(tmp_path / "model")).config.seed == 3
    before = path.read_text()
    (tmp_path / "model" / "model.onnx").unlink()
    with pytest.raises(MissingPathError, match=r"model\.onnx does not exist.*models export"):
        switch_mode("ctc", path, str(tmp_path / "model"))
    assert path.read_text() == before


def test_a_model_of_another_family_is_refused_and_nothing_changes(tmp_path):
    path = tmp_path / "analysis.yaml"
    path.write_text(TEXT)
    make_model(tmp_path / "model")
    with pytest.raises(InputError, match="holds a wav2vec2 model, which mode 'seq2seq' cannot"):
        switch_mode("seq2seq", path, str(tmp_path / "model"))
    assert path.read_text() == TEXT


def test_an_unknown_mode_is_named_with_those_there_are():
    with pytest.raises(InputError, match="unknown mode 'rnn'; .* ctc, seq2seq, autoregressive"):
        mode_values("rnn")
