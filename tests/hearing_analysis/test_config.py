from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from hearing_analysis.config import (
    BUNDLED_CONFIG,
    CONFIG_VARIABLE,
    ROOT,
    AnalysisConfig,
    SplitNames,
    load_config,
)
from pipeline.errors import InputError, MissingPathError


def write(folder: Path, text: str) -> Path:
    path = folder / "analysis.yaml"
    path.write_text(text)
    return path


def test_the_bundled_file_is_read_and_names_every_key(monkeypatch):
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    assert load_config() == load_config(BUNDLED_CONFIG)
    keys = yaml.safe_load(BUNDLED_CONFIG.read_text())
    assert list(keys) == [entry.name for entry in fields(AnalysisConfig)]


def test_an_empty_mapping_gives_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "{}")) == AnalysisConfig()


def test_the_environment_names_another_file(tmp_path, monkeypatch):
    monkeypatch.setenv(CONFIG_VARIABLE, str(write(tmp_path, "seed: 7")))
    assert load_config().seed == 7


def test_relative_paths_start_at_the_repository():
    config = AnalysisConfig(data_root="data/demo", model="models/mini-wav2vec2")
    assert config.variant_folder("hfloss") == ROOT / "data" / "demo_hfloss"
    assert config.model_folder == ROOT / "models" / "mini-wav2vec2"


def test_absolute_paths_stay(tmp_path):
    config = AnalysisConfig(data_root=f"{tmp_path}/x", model=f"{tmp_path}/m")
    assert config.variant_folder("normal") == tmp_path / "x_normal"
    assert config.model_folder == tmp_path / "m"


def test_the_window_is_counted_in_samples_of_16_khz():
    assert AnalysisConfig(window_seconds=8).n_samples == 128_000


def test_a_corpus_may_have_no_test_split(tmp_path):
    path = write(tmp_path, "splits: {training: train, validation: dev, test: null}")
    assert load_config(path).splits.by_state() == {"training": "train", "validation": "dev"}


def test_states_come_in_the_order_of_the_platform():
    assert list(SplitNames().by_state()) == ["training", "validation", "test"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile: [normal]", "unknown key 'profile'.*profiles"),
        ("splits: {train: train}", "unknown key 'train'.*training, validation, test"),
        ("splits: {training: null}", "the platform asks for both"),
        ("splits: [train]", "splits must map"),
        ("mode: seq2sq", "unknown mode 'seq2sq'; the known ones are: ctc, seq2seq, auto"),
        ("splits: {test: train}", "must name every split once, got train, validation, train"),
        ("window_seconds: null", "window_seconds may be null for a Whisper only"),
        ("positions: 1", "at least 2 and at most 448, got 1"),
        ("max_new_tokens: 0", "at least 1 and at most 448, got 0"),
        ("clip_tables: units.csv", "clip_tables must be of type list, got 'units.csv'"),
        ("clip_tables: [3]", "clip_tables must be of type str, got 3"),
        ("profiles: []", "named once each"),
        ("profiles: [normal, normal]", "named once each"),
        ("profiles: normal", "profiles must be of type list, got 'normal'"),
        ("profiles: [1]", "profiles must be of type str, got 1"),
        ("window_seconds: 0", "window_seconds must be above 0, got 0"),
        ("window_seconds: long", "window_seconds must be of type float or int"),
        ("window_seconds: true", "window_seconds must be of type float or int, got True"),
        ("max_label_length: 4096", "at least 1 and at most 2048, got 4096"),
        ("samples_per_split: 0", "at least 1, got 0"),
        ("seed: -1", "at least 0, got -1"),
        ("data_root: 3", "data_root must be of type str, got 3"),
        ("- mode", "the file must map"),
        ("{", "not valid YAML"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as refusal:
        load_config(path)
    assert str(path) in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingPathError, match=r"nowhere\.yaml does not exist"):
        load_config(tmp_path / "nowhere.yaml")


def test_null_profiles_are_all_variants_there_are(tmp_path):
    for name in ("zz", "normal", "N3", "hfloss_logmel"):
        dataset = tmp_path / f"tiny_{name}" / "dataset"
        dataset.mkdir(parents=True)
        (dataset / "dataset_dict.json").write_text("{}")
    (tmp_path / "tiny_unfinished").mkdir()
    path = write(tmp_path, f"data_root: {tmp_path}/tiny\nprofiles: null")
    assert load_config(path).profiles == ("normal", "N3", "zz")


def test_a_data_root_without_variants_is_named(tmp_path):
    path = write(tmp_path, f"data_root: {tmp_path}/nowhere\nprofiles: null")
    with pytest.raises(MissingPathError, match=r"nowhere_<profile> does not exist.*pipeline mask"):
        load_config(path)


def test_a_whisper_s_window_may_be_left_to_the_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "preprocessor_config.json").write_text('{"chunk_length": 7}')
    text = f"mode: seq2seq\nmodel: {tmp_path}/model\nwindow_seconds: null"
    assert load_config(write(tmp_path, text)).window_seconds == 7.0
