"""Clips and sentences at the edges: right values on the platform and in the table, or one sentence.

The platform's checks run in a process of its own, because code-loader keeps one registry each.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fixtures import GAINS, make_corpora, make_model, make_waveform, write_config, write_split

from hearing_analysis.config import CONFIG_VARIABLE, ROOT, load_config
from hearing_analysis.evaluate import EvaluateStage, evaluate
from pipeline.audio import SAMPLING_RATE, encode_audio
from pipeline.corpus import write_dataset_dict
from pipeline.stage import RunOptions

# Clip -> seconds, sentence; all but one sound.
EDGES = {
    "empty-sentence": (0.5, ""),
    "missing-sentence": (0.5, None),
    "one-word": (0.5, "Yes."),
    "silence": (0.5, "Nothing is heard here"),
    "half-a-minute": (30.0, "A very long clip"),
    "a-tenth-of-a-second": (0.1, "Oh"),
    "unicode": (0.5, "Żółć naïve – 東京 “Æther” 👂 it’s"),
    "digits": (0.5, "1984"),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("edges")
    make_corpora(folder / "tiny", clips={"train": 1, "validation": 1})
    for profile, gain in GAINS.items():
        dataset = folder / f"tiny_{profile}" / "dataset"
        write_split(dataset / "test", [row(name, profile, gain) for name in EDGES])
        write_dataset_dict(dataset, ("train", "validation", "test"))
    make_model(folder / "model")
    values = {"data_root": str(folder / "tiny"), "model": str(folder / "model")}
    return write_config(folder / "analysis.yaml", **values)


def row(name: str, profile: str, gain: float) -> dict:
    seconds, sentence = EDGES[name]
    sound = make_waveform(1, seconds) * (0.0 if name == "silence" else gain)
    audio = {"bytes": encode_audio(sound), "path": f"{name}.flac"}
    duration = len(sound) / SAMPLING_RATE
    return {
        **{"id": name, "sentence": sentence, "audio": audio, "duration_s": duration},
        **{"profile": profile, "output_gain_db": 0.0},
    }


@pytest.fixture(scope="module")
def table(config, tmp_path_factory) -> pd.DataFrame:
    output = tmp_path_factory.mktemp("analysis")
    stage = EvaluateStage(load_config(config), output)
    evaluate(stage, RunOptions(num_workers=0), method="pca", embed_audio=False)
    return pd.read_parquet(output / "analysis.parquet").set_index("sample_id")


def run(*arguments: str, config: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, CONFIG_VARIABLE: str(config), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_platform_takes_them_all(config, tmp_path):
    arguments = ("--python", sys.executable, "--json")  # bundled, unpacked, and tried from there
    finished = run("-m", "hearing_analysis.cli", "check", *arguments, config=config)
    outcomes = json.loads(finished.stdout)
    assert [found for found in outcomes if not found["passed"]] == []
    assert finished.returncode == 0
    assert {"bundle", "integration test", "check_dataset", "metrics", "simulation"} <= {
        found["name"] for found in outcomes
    }
    finished = run("tests/stand_in_platform.py", str(tmp_path / "scores.json"), config=config)
    assert finished.returncode == 0, finished.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    edge = {i: found for i, found in scores.items() if i.rpartition("@")[0] in EDGES}
    assert len(edge) == len(EDGES) * len(GAINS)
    assert all(np.isfinite(found["ctc_loss"]) for found in edge.values())
    assert all(np.isfinite(found["word_error_rate"]) for found in edge.values())


def test_without_a_reference_the_rate_is_the_number_of_insertions(table):
    for name in ("empty-sentence", "missing-sentence", "digits"):
        sample = table.loc[f"{name}@normal"]
        assert sample.reference == ""
        assert sample.word_reference_length == 0
        assert sample.word_error_rate == sample.word_insertions


def test_without_a_sentence_readability_is_missing_and_counts_are_zero(table):
    sample = table.loc["empty-sentence@normal"]
    assert sample.text_word_count == 0
    assert np.isnan(sample.text_flesch_reading_ease)
    assert np.isnan(sample.clip_speaking_rate_words_per_s)


def test_every_word_of_a_hypothesis_has_its_confidence_or_none_has(table):
    given = table[table.word_confidence.notna()]
    assert len(given)
    for _, sample in given.iterrows():
        assert len(sample.word_confidence) == len(sample.hypothesis.split())
        assert all(0 <= value <= 1 for value in sample.word_confidence)


def test_one_word_is_one_word(table):
    sample = table.loc["one-word@normal"]
    assert (sample.reference, sample.word_reference_length, sample.text_word_count) == ("YES", 1, 1)


def test_silence_has_no_level_and_is_one_pause(table):
    for profile in GAINS:
        sample = table.loc[f"silence@{profile}"]
        assert np.isnan(sample.audio_level_dbfs)
        assert np.isnan(sample.audio_audibility)
        assert sample.audio_pause_ratio == 1.0


def test_a_long_clip_is_cut_and_says_so(table):
    sample = table.loc["half-a-minute@normal"]
    assert sample.truncated
    assert sample.audio_duration_s == pytest.approx(30)
    assert table[table.split == "test"].truncated.sum() == len(GAINS)


def test_a_short_clip_has_its_columns(table):
    sample = table.loc["a-tenth-of-a-second@normal"]
    assert sample.audio_duration_s == pytest.approx(0.1)
    assert np.isfinite(sample.audio_rms_mean)
    assert np.isfinite(sample.ctc_loss)


def test_letters_keep_their_base_and_the_sentence_its_spelling(table):
    sample = table.loc["unicode@normal"]
    assert sample.reference == "ZOLC NAIVE AETHER IT'S"
    assert sample.sentence == EDGES["unicode"][1]


def test_what_is_missing_is_one_clear_sentence(tmp_path):
    path = write_config(tmp_path / "analysis.yaml", data_root=str(tmp_path / "nowhere"))
    finished = run("-m", "hearing_analysis.cli", "run", str(tmp_path / "out"), config=path)
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "nowhere_normal does not exist" in finished.stderr
    typo = write_config(tmp_path / "typo.yaml", data_rooot="x")
    finished = run("-m", "hearing_analysis.cli", "check", "--python", sys.executable, config=typo)
    assert finished.returncode == 2
    assert "unknown key 'data_rooot'" in finished.stderr
    assert finished.stderr.count("\n") == 1
