"""`pipeline logmel`: a corpus becomes what a Whisper is trained on, and reads back as it was."""

import json
import pickle
import shutil
from pathlib import Path

import datasets
import librosa
import numpy as np
import pytest
from makers import encode, mp3, noise, tone, write_corpus
from outputs import stamps
from transformers import WhisperTokenizer

from pipeline.corpus import open_corpus
from pipeline.errors import ClipError, InputError
from pipeline.logmel import open_features
from pipeline.logmel.auris import decibel_mel
from pipeline.logmel.features import MelSettings, log_mel, pad
from pipeline.logmel.stage import LogMelStage

TOKENIZER = Path(__file__).parents[3] / "models" / "mini-whisper"
SENTENCES = ("It's a small tree.", "Why not?", "Die Straße – «öde»!", "", None)
TRAIN = tuple(noise(0.1 + 0.07 * index, seed=index) for index in range(9))
TEST = (tone(300, 0.4), noise(0.999), noise(1.0), noise(1.001), b"no sound", noise(2.5))
SMALL = ("--model-size", "tiny", "--chunk-length", 1)
MEL = MelSettings(80, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    return write_corpus(folder / "speech", {"train": TRAIN, "test": TEST}, sentences=SENTENCES)


@pytest.fixture
def logmel(command, root, tmp_path):
    def run(*arguments: object, name: str = "out"):
        return command("logmel", "-i", root, "-o", tmp_path / name, *SMALL, *arguments)

    return run


@pytest.fixture
def features(logmel, tmp_path):
    outcome = logmel()
    assert outcome.status == 0, outcome.err
    return open_features(tmp_path / "out")


def rows_of(features, split: str) -> list[int]:
    """Which row of the input each row is."""
    return [int(name.split("-")[1]) for name in features.corpus[split].column("id").to_pylist()]


# --- the features ---


def test_features_are_those_of_the_pure_functions(features, root):
    assert features.mel == MEL
    for split in ("train", "test"):
        source = open_corpus(root)[split]
        for place, index in enumerate(rows_of(features, split)):
            read = features.input_features(split, place)
            expected = pad(log_mel(source.waveform(index), MEL), MEL.n_frames)
            assert read.dtype == np.float32
            assert read.tobytes() == expected.tobytes()


def test_both_layouts_read_back_to_the_same_bits(logmel, tmp_path):
    for dtype in ("float32", "float16"):
        read = {}
        for layout in ("compact", "padded"):
            name = f"{layout}-{dtype}"
            outcome = logmel("--layout", layout, "--dtype", dtype, name=name)
            assert outcome.status == 0, outcome.err
            features = open_features(tmp_path / name)
            read[layout] = [features.input_features("train", i).tobytes() for i in range(9)]
        assert read["compact"] == read["padded"]


def test_the_compact_layout_stores_no_padding_and_the_padded_one_all(logmel, tmp_path):
    logmel("--layout", "compact", name="compact")
    logmel("--layout", "padded", name="padded")
    compact, padded = (open_corpus(tmp_path / name)["train"] for name in ("compact", "padded"))
    for place in range(9):
        samples = len(TRAIN[int(compact.row(place)["id"].split("-")[1])])
        n_seen = min(100, -(-(samples + 200) // 160))
        assert compact.row(place)["n_frames"] == n_seen
        assert {len(row) for row in compact.row(place)["input_features"]} == {n_seen}
        assert padded.row(place)["n_frames"] == 100
        assert {len(row) for row in padded.row(place)["input_features"]} == {100}


def test_half_precision_stays_within_its_rounding(logmel, features, tmp_path):
    assert logmel("--dtype", "float16", name="half").status == 0
    half = open_features(tmp_path / "half")
    stored = open_corpus(tmp_path / "half")["train"].column("input_features").type
    assert str(stored.value_type.value_type) == "halffloat"
    for place in range(9):
        read = half.input_features("train", place)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, features.input_features("train", place), atol=1e-3)


@pytest.mark.parametrize(("model_size", "n_mels"), [("base", 80), ("large-v3", 128)])
def test_the_model_decides_the_mel_bins(logmel, tmp_path, model_size, n_mels):
    assert logmel("--model-size", model_size, "--splits", "test", "--limit", 1).status == 0
    assert open_features(tmp_path / "out").input_features("test", 0).shape == (n_mels, 100)


def test_a_clip_longer_than_the_chunk_is_cut_and_flagged(features, root):
    flags = features.corpus["test"].column("truncated").to_pylist()
    assert dict(zip(rows_of(features, "test"), flags, strict=True)) == {
        0: False,
        1: False,
        2: False,
        3: True,
        5: True,
    }
    beginning = log_mel(open_corpus(root)["test"].waveform(5)[:16_000], MEL)
    np.testing.assert_array_equal(features.input_features("test", 4), beginning)


def remarks(root: Path) -> dict[str, str]:
    entries = map(json.loads, (root / "remarks.jsonl").read_text().splitlines())
    return {entry["path"]: entry["reason"] for entry in entries}


def test_what_was_cut_is_reported(logmel, tmp_path):
    outcome = logmel()
    assert remarks(tmp_path / "out") == {
        "test-3.mp3": "cut: 1.00 s long, more than 1 s",
        "test-5.mp3": "cut: 2.50 s long, more than 1 s",
    }
    assert "2 clips were kept, but not as they came" in outcome.out


def test_a_long_clip_may_be_split_and_nothing_is_lost(logmel, root, tmp_path):
    outcome = logmel("--long", "split", "--json")
    counts = outcome.report["splits"]["test"]
    assert (counts["clips_in"], counts["clips_out"], counts["quarantined"]) == (6, 5, 1)
    assert (counts["further_rows"], counts["remarks"]) == (3, 2)
    features = open_features(tmp_path / "out")
    rows = features.corpus["test"]
    places = [rows.column(name).to_pylist() for name in ("part", "n_parts", "truncated")]
    assert rows_of(features, "test") == [0, 1, 2, 3, 3, 5, 5, 5]
    assert places[0] == [0, 0, 0, 0, 1, 0, 1, 2]
    assert places[1] == [1, 1, 1, 2, 2, 3, 3, 3]
    assert not any(places[2])
    waveform = open_corpus(root)["test"].waveform(5)
    for row, start in ((5, 0), (6, 16_000), (7, 32_000)):
        part = log_mel(waveform[start : start + 16_000], MEL)
        np.testing.assert_array_equal(features.input_features("test", row), pad(part, MEL.n_frames))
    assert remarks(tmp_path / "out")["test-5.mp3"] == (
        "split into 3 parts: 2.50 s long, more than 1 s"
    )


def test_parts_are_the_same_whatever_the_number_of_workers_and_validate(command, root, tmp_path):
    written = []
    for name, workers in (("here", 0), ("there", 2)):
        arguments = ("-i", root, "-o", tmp_path / name, *SMALL, "--long", "split")
        assert command("logmel", *arguments, workers=workers).status == 0
        shards = sorted((tmp_path / name / "dataset").rglob("*.arrow"))
        written.append([path.read_bytes() for path in shards])
        assert command("validate", tmp_path / name, workers=None).status == 0
    assert written[0] == written[1]


def test_whisper_hears_every_corpus_at_16_khz(command, tmp_path):
    clips = [encode(tone(440, 0.5, 8_000), 8_000), mp3(noise(0.5, 48_000), 48_000)]
    root = write_corpus(tmp_path / "narrow", {"test": clips}, sampling_rate=8_000)
    assert command("logmel", "-i", root, "-o", tmp_path / "out", *SMALL).status == 0
    features = open_features(tmp_path / "out").input_features("test", 0)
    loudest = log_mel(tone(440, 0.5), MEL)[:, 25].argmax()
    assert features[:, 25].argmax() == loudest


# --- order and labels ---


@pytest.mark.parametrize("seed", [42, 7])
def test_train_is_shuffled_as_datasets_does_and_test_is_not(logmel, tmp_path, seed):
    assert logmel("--shuffle-seed", seed).status == 0
    theirs = datasets.Dataset.from_dict({"row": range(9)}).shuffle(seed=seed)["row"][:]
    features = open_features(tmp_path / "out")
    assert rows_of(features, "train") == theirs != list(range(9))
    assert rows_of(features, "test") == [0, 1, 2, 3, 5]


def test_a_limit_takes_the_first_of_the_shuffled(logmel, tmp_path):
    assert logmel("--limit", 4, "--splits", "train").status == 0
    theirs = datasets.Dataset.from_dict({"row": range(9)}).shuffle(seed=42)["row"][:4]
    assert rows_of(open_features(tmp_path / "out"), "train") == theirs


@pytest.mark.parametrize(
    ("language", "task"), [("en", "transcribe"), ("de", "transcribe"), ("fr", "translate")]
)
def test_labels_are_those_of_the_tokenizer(logmel, tmp_path, language, task):
    assert logmel("--language", language, "--task", task).status == 0
    tokenizer = WhisperTokenizer.from_pretrained(TOKENIZER, language=language, task=task)
    features = open_features(tmp_path / "out")
    for split in ("train", "test"):
        for place, index in enumerate(rows_of(features, split)):
            sentence = SENTENCES[index % len(SENTENCES)] or ""
            labels = features.labels(split, place)
            assert labels.dtype == np.int64
            assert labels.tolist() == tokenizer(sentence).input_ids
            assert tokenizer.decode(labels, skip_special_tokens=True) == sentence


def test_another_tokenizer_may_be_given(logmel, tmp_path):
    shutil.copytree(TOKENIZER, tmp_path / "mine")
    assert logmel(name="shipped").status == 0
    assert logmel("--tokenizer", tmp_path / "mine", name="given").status == 0
    shipped, given = (open_features(tmp_path / name) for name in ("shipped", "given"))
    for place in range(9):
        np.testing.assert_array_equal(shipped.labels("train", place), given.labels("train", place))


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"notes.txt": "hello"},
        {"tokenizer.json": ""},
        {"tokenizer.json": "{}"},
        {"tokenizer.json": '{"added_tokens": []}'},
    ],
)
def test_a_bad_tokenizer_is_named_with_the_remedy(logmel, tmp_path, content):
    folder = tmp_path / "bad"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    outcome = logmel("--tokenizer", folder)
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"no Whisper tokenizer at '{folder}' (")
    assert outcome.complaint.endswith(
        "give --tokenizer a folder that holds one, or a hub name such as openai/whisper-large-v3 "
        "while online"
    )
    assert not (tmp_path / "out" / "dataset" / "dataset_dict.json").exists()


def test_an_unknown_language_lists_the_known_ones(logmel):
    outcome = logmel("--language", "klingon")
    assert outcome.status == 2
    assert outcome.complaint.startswith(
        "--language 'klingon' is none that Whisper knows; its codes are: en, zh, de, es, "
    )


@pytest.mark.parametrize("wrong", [("--language", "klingon"), ("--tokenizer", "nowhere/at/all")])
def test_after_a_wrong_option_the_right_command_runs(logmel, wrong):
    assert logmel(*wrong).status == 2
    assert logmel().status == 0


# --- what lies on disk, and how it ends ---


def test_rows_hold_what_a_trainer_needs_and_nothing_else(features):
    assert features.corpus["train"].columns == (
        *("id", "input_features", "labels", "n_frames", "truncated"),
    )
    opened = datasets.load_from_disk(str(features.corpus.dataset))
    assert opened["train"].features["labels"] == datasets.List(datasets.Value("int64"))
    row = opened["train"].with_format("numpy")[0]
    assert row["input_features"].shape == (80, row["n_frames"])
    assert row["input_features"].dtype == np.float32


def test_the_padded_layout_is_a_plain_array_for_other_peoples_trainers(logmel, tmp_path):
    assert logmel("--layout", "padded").status == 0
    opened = datasets.load_from_disk(str(tmp_path / "out" / "dataset")).with_format("numpy")
    assert opened["train"][0:3]["input_features"].shape == (3, 80, 100)


@pytest.mark.parametrize("layout", ["compact", "padded"])
def test_a_datasets_transform_gives_padded_features(logmel, tmp_path, layout):
    assert logmel("--layout", layout).status == 0
    features = open_features(tmp_path / "out")
    opened = datasets.load_from_disk(str(tmp_path / "out" / "dataset"))
    batch = opened["train"].with_transform(features.transform)[0:3]
    for index, padded in enumerate(batch["input_features"]):
        assert padded.dtype == np.float32
        np.testing.assert_array_equal(padded, features.input_features("train", index))
    assert batch["labels"][1] == features.labels("train", 1).tolist()


def test_a_split_is_a_map_style_dataset_that_travels(features):
    split = pickle.loads(pickle.dumps(features["train"]))
    assert len(split) == 9
    np.testing.assert_array_equal(split[4]["labels"], features.labels("train", 4))
    np.testing.assert_array_equal(split[4]["input_features"], features.input_features("train", 4))


# --- for discriminative lexicon models ---


@pytest.mark.parametrize("layout", ["compact", "padded"])
def test_auris_spectrograms_are_librosas_in_decibels(logmel, root, tmp_path, layout):
    assert logmel("--format", "auris", "--layout", layout, "--model-size", "large-v3").status == 0
    features = open_features(tmp_path / "out")
    for row, index in enumerate(rows_of(features, "test")):
        waveform = open_corpus(root)["test"].waveform(index)
        mel = librosa.feature.melspectrogram(
            y=waveform, sr=16_000, n_fft=400, hop_length=160, n_mels=128
        )
        decibels = librosa.power_to_db(mel, ref=np.max)
        expected = np.full((128, 391), decibels.min(), dtype=np.float32)
        expected[:, : decibels.shape[1]] = decibels
        np.testing.assert_allclose(features.input_features("test", row), expected, atol=1e-3)
    assert features.corpus["test"].row(0)["sentence"] == SENTENCES[0]
    assert "labels" not in features.corpus["test"].table.schema.names


def test_a_word_longer_than_an_auris_spectrogram_is_cut_as_the_pilot_cut_it():
    waveform = noise(5.0) * np.linspace(0.1, 1, 80_000, dtype=np.float32)
    decibels = librosa.power_to_db(
        librosa.feature.melspectrogram(y=waveform, sr=16_000, n_fft=400, hop_length=160),
        ref=np.max,
    )
    np.testing.assert_allclose(decibel_mel(waveform), decibels[:, :391], atol=1e-3)


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros((2, 10))])
def test_an_auris_spectrogram_needs_a_clip(waveform):
    with pytest.raises(ClipError, match="a mono waveform is needed"):
        decibel_mel(waveform)


# --- the stage ---


def test_a_bad_clip_is_quarantined_with_its_reason(features, quarantine):
    reasons = quarantine(features.corpus.root)
    assert list(reasons) == ["test-4.mp3"]
    assert reasons["test-4.mp3"].startswith("not decodable as audio: ")
    run = json.loads((features.corpus.root / "run.json").read_text())
    counts = run["splits"]["test"]
    assert (counts["clips_in"], counts["clips_out"], counts["quarantined"]) == (6, 5, 1)


def test_running_again_does_nothing_and_other_settings_are_refused(logmel, tmp_path):
    assert logmel().status == 0
    written = [path for path in (tmp_path / "out").rglob("*") if path.name != ".lock"]
    before = stamps(written)
    assert logmel().status == 0
    outcome = logmel("--dtype", "float16")
    assert outcome.status == 2
    assert '(dtype: "float32" then, "float16" now)' in outcome.complaint
    assert stamps(written) == before


def test_a_stage_that_is_sent_to_a_worker_makes_the_same_rows(root, tmp_path):
    stage = LogMelStage(root, tmp_path / "out", MEL)
    assert stage.split_sizes() == {"train": 9, "test": 6}
    here = list(stage.rows("train", 2, 5))
    there = pickle.loads(pickle.dumps(stage))
    for ours, theirs in zip(here, there.rows("train", 2, 5), strict=True):
        np.testing.assert_equal(theirs.rows, ours.rows)


def test_an_unknown_split_is_2_and_lists_the_known_ones(logmel, root, tmp_path):
    outcome = logmel("--splits", "dev")
    assert outcome.status == 2
    assert outcome.complaint == f"{root} has no split 'dev'; available splits: train, test"
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_corpus_is_no_set_of_features(root):
    with pytest.raises(InputError, match="was not made by pipeline logmel: its run.json says noth"):
        open_features(root)
