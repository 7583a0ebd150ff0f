"""Whisper, forced and writing on its own: the platform's scores are those of `analyze run`.

Everything runs in processes of its own: code-loader keeps one registry per process, and torch,
which makes the small model, must not meet TensorFlow.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fixtures import GAINS, make_corpora, write_config

from hearing_analysis.config import CONFIG_VARIABLE, ROOT
from hearing_analysis.tensorleap.trial import MARK

TESTS = ROOT / "tests"
CLIPS = {"train": 1, "validation": 1, "test": 2}
MODES = ("seq2seq", "autoregressive")
MAKE_MODEL = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from small_models import make_whisper
from models.export import export_onnx
folder = Path(sys.argv[1])
make_whisper(folder)
export_onnx(folder)
"""
MAKE_GRAPHS = """
import sys
from pathlib import Path
import numpy as np
import onnxruntime
from models.platform_graph import DIGIT_BASE, platform_graph
folder = Path(sys.argv[1])
forced, step = (platform_graph(folder, mode) for mode in ("seq2seq", "autoregressive"))
written = forced.stat().st_mtime_ns
assert platform_graph(folder, "seq2seq").stat().st_mtime_ns == written, "made twice"
whole, forced, step = (
    onnxruntime.InferenceSession(str(path)) for path in (folder / "model.onnx", forced, step)
)
random = np.random.default_rng(0)
_, n_mels, n_frames = whole.get_inputs()[0].shape
_, positions = whole.get_inputs()[1].shape
features = random.normal(size=(2, n_mels, n_frames)).astype(np.float32)
ids = random.integers(0, 1100, (2, positions))
high, low = (digit.astype(np.float16).astype(np.float32) for digit in np.divmod(ids, DIGIT_BASE))
logits, states = whole.run(None, {"input_features": features, "decoder_input_ids": ids})
given = {"input_features": features, "token_ids_high": high, "token_ids_low": low}
found = forced.run(None, given)
np.testing.assert_allclose(found[0], logits, atol=1e-5)
np.testing.assert_allclose(found[1], states, atol=1e-5)
mask = np.zeros((2, positions), np.float32)
mask[0, 3] = mask[1, 7] = 1
(scores,) = step.run(None, {**given, "position_mask": mask})
np.testing.assert_allclose(scores, logits[[0, 1], [3, 7]], atol=1e-5)
"""


def run(*arguments: str, config: Path | None = None) -> subprocess.CompletedProcess:
    environment = {CONFIG_VARIABLE: str(config)} if config else {}
    finished = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-2000:]
    return finished


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whisper") / "small-whisper"
    run("-c", MAKE_MODEL, str(folder), str(TESTS / "models"))
    run("-c", MAKE_GRAPHS, str(folder))
    return folder


@pytest.fixture(scope="module")
def configs(tmp_path_factory, model) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("integration")
    make_corpora(folder / "tiny", clips=CLIPS)
    values = {"data_root": str(folder / "tiny"), "model": str(model), "window_seconds": None}
    return {
        mode: write_config(folder / f"{mode}.yaml", mode=mode, max_new_tokens=6, **values)
        for mode in MODES
    }


@pytest.fixture(scope="module")
def table(configs, tmp_path_factory) -> pd.DataFrame:
    output = tmp_path_factory.mktemp("analysis")
    arguments = ["--config", str(configs["autoregressive"]), "-j", "0", "--no-audio"]
    run("-m", "hearing_analysis.cli", "run", str(output), *arguments, "--map", "pca")
    return pd.read_parquet(output / "analysis.parquet").set_index("sample_id")


@pytest.fixture(scope="module")
def scores(configs, tmp_path_factory) -> dict[str, dict[str, dict[str, float]]]:
    folder = tmp_path_factory.mktemp("scores")
    for mode, path in configs.items():
        run(str(TESTS / "stand_in_platform.py"), str(folder / mode), config=path)
    return {mode: json.loads((folder / mode).read_text()) for mode in MODES}


@pytest.mark.parametrize("mode", MODES)
def test_everything_passes_that_poetry_run_test_tries(configs, mode):
    finished = run("-m", "hearing_analysis.tensorleap.trial", config=configs[mode])
    printed = next(line for line in finished.stdout.splitlines() if line.startswith(MARK))
    outcomes = {found["name"]: found for found in json.loads(printed.removeprefix(MARK))}
    assert all(found["passed"] for found in outcomes.values())
    assert outcomes["integration test"]["detail"] == f"{3 * len(GAINS)} samples"


@pytest.mark.parametrize("mode", MODES)
def test_the_entry_imports_without_network_and_frameworks(configs, mode):
    from leap_test import IMPORT_CODE

    run("-c", IMPORT_CODE, config=configs[mode])


def test_a_mode_is_switched_by_a_command(configs, model, tmp_path):
    path = tmp_path / "analysis.yaml"
    path.write_text("# mine\nmode: ctc  # how\nseed: 7\n")
    arguments = ("mode", "autoregressive", "--config", str(path), "--model", str(model))
    finished = run("-m", "hearing_analysis.cli", *arguments)
    assert f"to push: {model}/autoregressive.onnx" in finished.stdout
    lines = path.read_text().splitlines()
    assert lines[:3] == ["# mine", "mode: autoregressive  # how", "seed: 7"]


def test_the_table_has_a_row_for_every_sample(table):
    assert len(table) == sum(CLIPS.values()) * len(GAINS)
    assert table.ctc_loss.isna().all()
    assert table.cross_entropy.notna().all()
    assert table.confidence_blank_rate.isna().all()
    assert (table.confidence_n_tokens <= 6).all()


def test_writing_on_its_own_the_platform_gets_the_same_errors_sample_by_sample(table, scores):
    found = pd.DataFrame.from_dict(scores["autoregressive"], orient="index").loc[table.index]
    for column in ("word_error_rate", "word_edits", "word_hits", "word_insertions"):
        np.testing.assert_allclose(found[column], table[column], rtol=1e-6)
    for column in ("character_edits", "word_information_lost", "hallucination_repetition"):
        np.testing.assert_allclose(found[column], table[column], rtol=1e-6)
    for column in ("confidence_token_probability", "confidence_entropy"):
        np.testing.assert_allclose(found[column], table[column], rtol=0.02)
    np.testing.assert_array_equal(found.confidence_n_tokens, table.confidence_n_tokens)


def test_told_the_sentence_the_platform_gets_the_same_scores_sample_by_sample(table, scores):
    found = pd.DataFrame.from_dict(scores["seq2seq"], orient="index").loc[table.index]
    np.testing.assert_array_equal(found.forced_word_edits, table.forced_word_edits)
    np.testing.assert_allclose(found.cross_entropy, table.cross_entropy, rtol=1e-3)
    np.testing.assert_allclose(found.token_accuracy, table.token_accuracy, rtol=1e-6)
    np.testing.assert_array_equal(found["loss cross_entropy"], found.cross_entropy)


def test_where_forced_and_free_errors_differ_so_do_the_texts(table):
    differ = table.forced_word_edits != table.word_edits
    assert (table.forced_hypothesis != table.hypothesis)[differ].all()
