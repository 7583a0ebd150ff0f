"""Datasets of the Hugging Face library, with sounds in every shape, and hostile ones."""

import json
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pytest
from corpora import flac, pitch_hz, wav
from makers import noise, tone, write_corpus
from outputs import digests

from pipeline.corpus import AUDIO_TYPE, open_corpus


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def stored(root, rows, audio_type=None, name="speech"):
    """Save rows as the library does, the audio column as it is."""
    table = pa.Table.from_pylist(rows)
    if audio_type is not None:
        place = table.schema.get_field_index("audio")
        table = table.set_column(place, "audio", pa.array([r["audio"] for r in rows], audio_type))
    datasets.Dataset(table).save_to_disk(str(root / name))
    return root / name


def samples(frequency_hz, seconds=0.3, rate=16_000):
    return tone(frequency_hz, seconds, rate).astype(np.float64).tolist()


# --- shapes of sound ---


def test_arrays_as_the_pilot_wrote_them(command, tmp_path):
    rows = [
        {
            "audio": {"array": samples(300 + 100 * n, rate=rate), "sampling_rate": rate},
            "sentence": f"Number {n}.",
            "client_id": "someone",
        }
        for n, rate in enumerate((16_000, 48_000, 8_000))
    ]
    source = stored(tmp_path, rows)
    outcome = command("import", source, tmp_path / "out")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{source}: Hugging Face dataset (--layout huggingface)\n")
    train = open_corpus(tmp_path / "out")["train"]
    assert train.column("id").to_pylist() == [f"train-{n:09d}" for n in range(3)]
    assert train.row(1)["sentence"] == "Number 1."
    assert train.row(1)["client_id"] == "someone"
    for n in range(3):
        assert train.row(n)["duration_s"] == pytest.approx(0.3, abs=1e-3)
        assert pitch_hz(train.waveform(n)) == pytest.approx(300 + 100 * n, abs=2)
    np.testing.assert_allclose(train.waveform(0), tone(300, 0.3), atol=2**-23)


def test_a_list_with_the_rate_in_its_own_column(command, tmp_path):
    rows = [{"id": "x", "audio": samples(440, rate=8_000), "sampling_rate": 8_000, "text": "A"}]
    command("import", stored(tmp_path, rows), tmp_path / "out")
    train = open_corpus(tmp_path / "out")["train"]
    assert (train.row(0)["id"], train.row(0)["sentence"], train.row(0)["text"]) == ("x", "A", "A")
    assert pitch_hz(train.waveform(0)) == pytest.approx(440, abs=2)


def test_encoded_files_and_files_beside_the_dataset(command, quarantine, tmp_path):
    (tmp_path / "secret.wav").write_bytes(wav(440))
    rows = [
        {"audio": {"bytes": wav(300), "path": "a.wav"}, "sentence": "A"},
        {"audio": {"bytes": None, "path": "beside/b.wav"}, "sentence": "B"},
        {"audio": {"bytes": None, "path": "../secret.wav"}, "sentence": "C"},
        {"audio": {"bytes": None, "path": str(tmp_path / "secret.wav")}, "sentence": "D"},
        {"audio": {"bytes": None, "path": None}, "sentence": "E"},
        {"audio": None, "sentence": "F"},
        {"audio": {"bytes": b"no sound", "path": "g.wav"}, "sentence": "G"},
    ]
    source = stored(tmp_path, rows, AUDIO_TYPE)
    (source / "beside").mkdir()
    (source / "beside" / "b.wav").write_bytes(wav(500))
    assert command("import", source, tmp_path / "out", "--keep-original").status == 0
    train = open_corpus(tmp_path / "out")["train"]
    assert train.column("id").to_pylist() == ["a", "b"]
    assert [train.audio_bytes(row) for row in range(2)] == [wav(300), wav(500)]
    reasons = quarantine(tmp_path / "out")
    assert reasons.pop("g.wav").startswith("not decodable as audio")
    outside = f"lies outside {source}: "
    assert reasons == {
        "../secret.wav": f"{outside}'../secret.wav'",
        str(tmp_path / "secret.wav"): f"{outside}'{tmp_path}/secret.wav'",
        "train, row 4": "no audio",
        "train, row 5": "no audio",
    }


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        ({"array": [], "sampling_rate": 16_000}, "no samples"),
        ({"array": [0.0, float("nan")], "sampling_rate": 16_000}, "NaN or infinite samples"),
        ({"array": [0.0], "sampling_rate": 0}, "sampling rate 0 is not from 1000 to 768000 Hz"),
        ({"array": [0.0], "sampling_rate": -5}, "sampling rate -5 is not from 1000 to 768000 Hz"),
    ],
)
def test_arrays_that_are_no_sound_are_quarantined(command, quarantine, tmp_path, audio, reason):
    good = {"audio": {"array": samples(300), "sampling_rate": 16_000}}
    command("import", stored(tmp_path, [good, {"audio": audio}]), tmp_path / "out")
    assert quarantine(tmp_path / "out") == {"train, row 1": reason}


# --- columns and splits ---


def test_a_corpus_of_ours_comes_through_as_it_is(command, tmp_path):
    clips = (tone(300, 0.2), noise(0.3), None)
    write_corpus(tmp_path / "ours", {"train": clips, "test": clips[:1]})
    assert command("import", tmp_path / "ours", tmp_path / "out").status == 0
    ours, out = open_corpus(tmp_path / "ours"), open_corpus(tmp_path / "out")
    assert out.splits == ("train", "test")
    for row in range(2):
        assert out["train"].audio_bytes(row) == ours["train"].audio_bytes(row)
        assert out["train"].row(row) == {
            **ours["train"].row(row),
            "duration_s": len(clips[row]) / 16_000,
        }


def test_columns_of_every_type_come_through(command, tmp_path):
    rows = [
        {
            "audio": {"bytes": flac(300), "path": "a.flac"},
            "text": "A",
            "age": 30,
            "score": 0.5,
            "is_good": True,
            "words": ["a", "b"],
            "times": [0.1, 0.2],
            "nested": {"x": 1, "y": ["z"]},
            "nothing": None,
        }
    ]
    assert command("import", stored(tmp_path, rows), tmp_path / "out").status == 0
    row = open_corpus(tmp_path / "out")["train"].row(0)
    assert (row["age"], row["score"], row["is_good"]) == (30, 0.5, True)
    assert json.loads(row["words"]) == ["a", "b"]
    assert row["times"] == [0.1, 0.2]
    assert json.loads(row["nested"]) == {"x": 1, "y": ["z"]}
    assert row["nothing"] is None
    assert datasets.load_from_disk(str(tmp_path / "out" / "dataset"))["train"]["age"][:] == [30]


def test_splits_whose_columns_differ_are_joined(command, tmp_path):
    sound = {"bytes": flac(300), "path": "a.flac"}
    splits = {
        "dev": [{"audio": sound, "text": "A", "age": 30}],
        "test": [{"audio": sound, "text": "B", "age": "thirty", "more": 1.5}],
    }
    made = datasets.DatasetDict(
        {name: datasets.Dataset(pa.Table.from_pylist(rows)) for name, rows in splits.items()}
    )
    made.save_to_disk(str(tmp_path / "speech"))
    for arguments in ((), ("--splits", "validation")):
        out = tmp_path / f"out{len(arguments)}"
        assert command("import", tmp_path / "speech", out, *arguments).status == 0
        row = open_corpus(out)["validation"].row(0)
        assert (row["age"], row["more"], row["sentence"]) == ("30", None, "A")
    assert open_corpus(tmp_path / "out0")["test"].row(0)["age"] == "thirty"


# --- damage and malice ---


@pytest.fixture
def source(tmp_path):
    return write_corpus(tmp_path / "speech", {"train": [tone(300, 0.2)] * 3, "test": [noise(0.2)]})


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("dataset_dict.json", '{"splits": "train"}', "has no list of splits"),
        ("dataset_dict.json", '{"splits": ["../x"]}', "names a split '../x', which is no folder"),
        ("dataset_dict.json", '{"splits": [7]}', "names a split 7, which is no folder"),
        ("dataset_dict.json", "{", "is not valid JSON"),
        ("train/state.json", "{}", "has no shards: its state.json is missing or damaged"),
        ("train/state.json", '{"_data_files": 5}', "has no shards"),
        ("train/state.json", '{"_data_files": [{"filename": "../x"}]}', "cannot be read as an Arr"),
        ("train/data-00000-of-00001.arrow", "ARROW1", "cannot be read as an Arrow shard"),
    ],
)
def test_damaged_descriptions_are_one_sentence(command, source, tmp_path, file, content, told):
    (source / "dataset" / file).write_text(content)
    outcome = command("import", source, tmp_path / "out")
    assert outcome.status == 2
    assert told in outcome.complaint
    assert not (tmp_path / "out").exists()


def test_a_shard_of_other_columns_is_one_sentence(command, source, tmp_path):
    folder = source / "dataset" / "train"
    schema = pa.schema({"audio": pa.int64()})
    with pa.ipc.new_stream(str(folder / "other.arrow"), schema) as writer:
        writer.write_table(pa.table({"audio": [1]}))
    names = ["data-00000-of-00001.arrow", "other.arrow"]
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    outcome = command("import", source, tmp_path / "out")
    assert outcome.status == 2
    assert f"the shards of {folder} do not belong together" in outcome.complaint


def test_rows_that_arrow_finds_broken_are_quarantined(command, quarantine, source, tmp_path):
    shard = source / "dataset" / "train" / "data-00000-of-00001.arrow"
    content = shard.read_bytes()
    sentence = b"Why not?"
    assert content.count(sentence) == 1
    shard.write_bytes(content.replace(sentence, b"Why\xff\xfe t?"))
    assert command("import", source, tmp_path / "out").status == 0
    assert open_corpus(tmp_path / "out")["train"].column("id").to_pylist() == ["train-0", "train-2"]
    (reason,) = quarantine(tmp_path / "out").items()
    assert reason[0] == "train, row 1"
    assert "Invalid UTF8" in reason[1]


def test_a_dataset_without_sound_names_its_columns(command, tmp_path):
    source = stored(tmp_path, [{"text": "A", "label": 1}])
    outcome = command("import", source, tmp_path / "out")
    assert outcome.status == 2
    assert outcome.complaint.endswith("has no column of sounds: its columns are 'text, label'")


def test_ids_that_could_be_paths_are_quarantined(command, quarantine, tmp_path):
    sound = {"bytes": flac(300), "path": "a.flac"}
    rows = [{"id": name, "audio": sound, "text": ""} for name in ("../up", "fine")]
    command("import", stored(tmp_path, rows), tmp_path / "out")
    assert quarantine(tmp_path / "out") == {"a.flac": "not a plain file name: '../up'"}


def test_workers_make_the_same_bytes_and_a_change_is_noticed(command, source, tmp_path):
    for name, workers in (("a", 0), ("b", 2)):
        assert command("import", source, tmp_path / name, workers=workers).status == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    shutil.rmtree(source)
    write_corpus(source, {"train": [tone(301, 0.2)] * 3, "test": [noise(0.2)]})
    outcome = command("import", source, tmp_path / "a")
    assert "the input has changed since" in outcome.complaint
