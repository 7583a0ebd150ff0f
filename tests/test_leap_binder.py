"""The integration, seen through code-loader itself."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from fixtures import GAINS, HIDDEN_SIZE, make_corpora, make_model, write_config

from hearing_analysis import metrics
from hearing_analysis.config import CONFIG_VARIABLE, ROOT, load_config
from hearing_analysis.evaluate import EvaluateStage, evaluate
from hearing_analysis.metadata import column_types
from hearing_analysis.recognition import scores
from hearing_analysis.tensorleap import checks
from hearing_analysis.tensorleap.offline import Batch, Platform
from pipeline.errors import CheckFailed
from pipeline.stage import RunOptions


@pytest.fixture(scope="session")
def config_path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("integration")
    make_corpora(folder / "tiny")
    make_model(folder / "model")
    return write_config(
        folder / "analysis.yaml", data_root=str(folder / "tiny"), model=str(folder / "model")
    )


@pytest.fixture(scope="session")
def platform(config_path) -> Platform:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONFIG_VARIABLE, str(config_path))
        platform = Platform(load_config())
        platform.loader.exec_script()
    return platform


@pytest.fixture(scope="session")
def training(platform) -> Batch:
    state, samples = next(iter(platform.samples.items()))
    return platform.batch(state, samples.ids[:9])


def run(*arguments: str, config: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, CONFIG_VARIABLE: str(config), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_code_loader_finds_the_dataset_valid(platform):
    result = platform.loader.check_dataset()
    assert result.general_error is None
    assert [payload.name for payload in result.payloads if not payload.is_passed] == []
    assert result.is_valid


def test_a_second_loader_in_the_same_process_works_too(platform):
    assert Platform(platform.config).loader.check_dataset().is_valid


def test_the_integration_test_passes_for_every_split_and_profile(config_path):
    finished = run("-W", "error", "leap_binder.py", config=config_path)
    assert finished.returncode == 0, finished.stderr
    walked = re.findall(r"^(\w+) (\S+): Successful!$", finished.stdout, flags=re.MULTILINE)
    assert {(state, i.partition("@")[2]) for state, i in walked} == {
        (state, profile) for state in ("training", "validation", "test") for profile in GAINS
    }
    assert "⚠" not in finished.stdout


def test_metadata_columns_are_those_of_the_table(platform):
    setup = platform.loader.check_dataset().setup
    assert [metadata.name for metadata in setup.metadata] == list(column_types())
    kinds = {metadata.name: metadata.type.value for metadata in setup.metadata}
    expected = {float: "float", int: "float", str: "string"}
    assert kinds == {name: expected[kind] for name, kind in column_types().items()}


def test_metric_columns_are_those_of_the_table(platform, training):
    columns = [name for name in platform.run_metrics(training) if not name.startswith("loss")]
    confidences = [f"confidence_{key}" for key in scores.CTC_CONFIDENCE]
    words, characters = metrics.COLUMNS[:7], metrics.COLUMNS[7:]
    assert columns == [
        *(*words, *metrics.INFORMATION_COLUMNS, *characters, *confidences, "ctc_loss")
    ]


def test_the_domain_gap_is_looked_for_between_profiles(platform):
    contract = platform.loader.check_dataset().engine_file_contract
    assert contract.leap_analysis_configuration.domain_gap_metadata == ["profile_name"]


def test_every_item_of_a_batch_has_its_own_scores(platform, training):
    from hearing_analysis import encoders
    from hearing_analysis.tensorleap.ctc import PREPROCESSOR

    columns = platform.run_metrics(training)
    references = encoders.reference_texts(training.tensors["reference_bytes"])
    hypotheses = encoders.hypotheses(
        training.tensors["logits"], training.tensors["lengths"][:, 0], PREPROCESSOR
    )
    for unit, count in (("word", metrics.word_errors), ("character", metrics.character_errors)):
        for row, pair in enumerate(zip(references, hypotheses, strict=True)):
            for name, value in count(*pair).columns(unit).items():
                assert columns[name][row] == np.float32(value)
            if unit == "word":
                for name, value in count(*pair).information_columns().items():
                    assert columns[name][row] == np.float32(value)
    assert len(set(hypotheses)) > 2  # or it would not matter whose scores they are


def test_every_sample_has_the_errors_that_analyze_run_finds(platform, tmp_path):
    stage = EvaluateStage(platform.config, tmp_path)
    evaluate(stage, RunOptions(num_workers=0), method="pca", embed_audio=False)
    rows = pq.read_table(tmp_path / "analysis.parquet").to_pylist()
    table = {row["sample_id"]: row for row in rows}
    n_samples = 0
    for state in platform.samples:
        for batch in platform.walk(state, 5):
            for name, values in platform.run_metrics(batch.as_stored()).items():
                if name.startswith("loss "):
                    continue
                found = [table[sample_id][name] for sample_id in batch.ids]
                tolerance = 0 if name.startswith(("word", "character")) else 0.02
                np.testing.assert_allclose(values, np.float32(found), rtol=max(tolerance, 1e-6))
            n_samples += len(batch.ids)
    assert n_samples == len(table)


def test_a_simulated_sample_brings_its_profile_and_can_be_seen_and_heard(platform):
    loss = {"family": "notch", "degree_db": 55.0, "slope_db_per_octave": 20.0, "side": "high"}
    batch = platform.simulate(loss, ("synth_1", "synth_2"), 3)
    sample = platform.loader.get_sample(batch.state, "synth_1")
    assert sample.metadata["profile_name"] == "simulated-notch-high"
    assert sample.metadata["profile_attenuation_db_4000_hz"] == 55.0
    assert batch.tensors["thresholds_db_hl"].max() == 55.0
    for name in platform.visualizer_names:
        assert platform.run_visualizer(name, batch, 1) is not None
    assert np.isfinite(platform.run_metrics(batch)["ctc_loss"]).all()


def test_a_heatmap_covers_the_clip_and_not_its_padding(platform, training):
    picture = platform.run_visualizer("log_mel", training, 0)
    assert platform.run_heatmap("log_mel", training, 0).shape == picture.data.shape[:2]


def test_the_loss_is_finite_and_the_metric_of_its_name_agrees(platform, training):
    columns = platform.run_metrics(training)
    assert np.isfinite(columns["ctc_loss"]).all()
    np.testing.assert_array_equal(columns["ctc_loss"], columns["loss ctc_loss"])


def test_what_is_better_when_there_is_more_of_it(platform):
    for name in ("word", "character"):
        directions = platform.loader.metric_by_name()[name].direction
        upward = [key for key, direction in directions.items() if direction.value == "Upward"]
        assert upward == ["hits", *(["information_preserved"] if name == "word" else [])]


def test_insights_come_from_rates_and_kinds_of_errors(platform):
    insights = platform.loader.metric_by_name()["word"].compute_insights
    assert [key for key, wanted in insights.items() if wanted] == [
        *("error_rate", "substitutions", "deletions", "insertions")
    ]


def test_what_reads_predictions_needs_tensors_alone(training, platform):
    # Samples that the platform simulates have nothing else.
    setup = platform.setup
    names = [h.metric_handler_data for h in setup.metrics if h.metric_handler_data.name == "word"]
    names += [h.visualizer_handler_data for h in setup.visualizers]
    ours = [data for data in names if data.name in (*platform.visualizer_names, "word")]
    assert {argument for data in ours for argument in data.arg_names} <= set(training.tensors)


def test_a_clip_is_played_as_loud_as_its_profile_left_it(platform, training):
    def audio(profile: str) -> np.ndarray:
        row = training.ids.index(f"train-1@{profile}")
        return platform.run_visualizer("audio", training.part(slice(row, row + 1)), 0).audio

    levels_db = [20 * np.log10(audio(profile).std()) for profile in GAINS]
    np.testing.assert_allclose(np.diff(levels_db), -20, atol=0.2)
    assert audio("normal").dtype == np.float32
    assert len(audio("normal")) == pytest.approx(0.5 * 16_000, abs=64)


def test_audio_and_log_mel_show_the_same_picture(platform, training):
    audio, picture = (platform.run_visualizer(name, training, 0) for name in ("audio", "log_mel"))
    np.testing.assert_array_equal(audio.visual.data, picture.data)
    assert not picture.compress


def test_the_latent_space_does_not_see_padding(platform, training):
    n_frames = int(training.tensors["lengths"][0, 0])
    states = training.tensors["hidden_states"].copy()
    states[0, n_frames:] = 1000.0
    spoilt = replace(training, tensors={**training.tensors, "hidden_states": states})
    space = platform.run_latent_space("mean_hidden_state", spoilt)
    assert space.shape == (len(training.ids), HIDDEN_SIZE)
    np.testing.assert_array_equal(
        space[0], platform.run_latent_space("mean_hidden_state", training)[0]
    )


@pytest.mark.parametrize("check", [name for name in dir(checks) if name.startswith("check_")])
def test_the_own_checks_pass(platform, check):
    assert getattr(checks, check)(platform)


def test_a_metric_that_scores_only_the_first_of_a_batch_is_found(platform, monkeypatch):
    whole = platform.run_metrics
    monkeypatch.setattr(
        platform, "run_metrics", lambda batch: {k: v[:1] for k, v in whole(batch).items()}
    )
    with pytest.raises(CheckFailed, match=r"has shape \(1,\) for 3 samples"):
        checks.check_metrics(platform)


def test_a_metric_that_depends_on_the_batch_is_found(platform, monkeypatch):
    whole = platform.run_metrics
    monkeypatch.setattr(
        platform, "run_metrics", lambda batch: {k: v + len(v) for k, v in whole(batch).items()}
    )
    with pytest.raises(CheckFailed, match="depends on what else is in the batch"):
        checks.check_metrics(platform)


def test_a_metric_without_a_direction_is_found(platform, monkeypatch):
    monkeypatch.setattr(platform, "directions", lambda name: {})
    with pytest.raises(CheckFailed, match="metric word gives no direction for error_rate"):
        checks.check_directions(platform)


def test_a_tensor_of_several_shapes_is_found(platform, monkeypatch):
    short = platform.batches[1]
    tensors = {**short.tensors, "labels": short.tensors["labels"][:, :-1]}
    batches = (platform.batches[0], replace(short, tensors=tensors))
    monkeypatch.setitem(platform.__dict__, "batches", batches)
    with pytest.raises(CheckFailed, match=r"labels has more than one shape: \[\(39,\), \(40,\)\]"):
        checks.check_tensors(platform)


def test_an_id_that_float16_cannot_hold_is_found(platform, training, monkeypatch):
    tensors = {**training.tensors, "labels": training.tensors["labels"] + 2050}
    monkeypatch.setitem(platform.__dict__, "batches", (replace(training, tensors=tensors),))
    with pytest.raises(CheckFailed, match="labels holds numbers that float16 cannot hold"):
        checks.check_tensors(platform)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values | {"more": 1.0}, "has other keys of profile"),
        (lambda values: values | {"name": 1.0}, r"profile_name of .* is 1\.0.*not a string"),
        (lambda values: values | {"severity": np.float64(1)}, "not a string"),
    ],
)
def test_metadata_that_differ_between_states_are_found(platform, monkeypatch, change, message):
    handler = platform.setup.metadata[0]
    whole, first = handler.function, platform.batches[0].state

    def spoilt(sample_id, response):
        values = whole(sample_id, response)
        return values if response is platform.responses[first] else change(values)

    monkeypatch.setattr(handler, "function", spoilt)
    with pytest.raises(CheckFailed, match=message):
        checks.check_metadata(platform)


def test_a_sample_in_two_states_is_found(platform):
    ids = next(iter(platform.samples.values()))
    twice = SimpleNamespace(samples={"training": ids, "test": ids})
    with pytest.raises(CheckFailed, match="in more than one state"):
        checks.check_sample_ids(twice)


@pytest.mark.skipif(
    not (ROOT / "models" / "mini-wav2vec2" / "vocab.json").exists(), reason="no model to bundle"
)
def test_poetry_run_test_passes(config_path):
    finished = run("leap_test.py", config=config_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"(\d+) of \1 checks passed", finished.stdout)


def test_poetry_run_test_fails_when_a_variant_is_missing(config_path, tmp_path):
    content = yaml.safe_load(config_path.read_text()) | {"profiles": ["normal", "N3"]}
    path = tmp_path / "analysis.yaml"
    path.write_text(yaml.safe_dump(content))
    finished = run("leap_test.py", config=path)
    assert finished.returncode == 1
    assert re.search(r"tiny_N3 holds no finished dataset.*`pipeline mask`", finished.stdout)


def test_leap_yaml_says_only_what_the_command_line_of_tensorleap_keeps():
    text = (ROOT / "leap.yaml").read_text()
    content = yaml.safe_load(text)
    assert "#" not in text  # leap push rewrites the file, and drops comments
    assert set(content) == {
        *("projectId", "secretId", "entryFile", "pythonVersion", "include", "exclude")
    }
    assert (ROOT / content["entryFile"]).is_file()
    assert "requirements.txt" in content["include"]
    assert not {"pyproject.toml", "poetry.lock"} & set(content["include"])


def test_platform_requirements_are_those_of_the_lock():
    finished = subprocess.run(
        [sys.executable, "scripts/platform_requirements.py", "--check"], cwd=ROOT, check=False
    )
    assert finished.returncode == 0
