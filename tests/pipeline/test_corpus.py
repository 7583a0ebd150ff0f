"""The corpus on disk: others can open it, and what is wrong with one is said."""

import json
import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest
from makers import encode, noise, tone, write_corpus

from pipeline.audio import encode_audio, load_mono
from pipeline.corpus import open_corpus, order_splits
from pipeline.errors import InputError, MissingPathError
from pipeline.stage import corpus_digest

CLIPS = (tone(300, 0.2), noise(0.3), tone(900, 0.1))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "speech", {"train": CLIPS, "test": CLIPS[:1]})


def state_of(root: Path) -> Path:
    return root / "dataset" / "train" / "state.json"


# --- what others see ---


def test_datasets_opens_it_with_an_audio_column(root):
    opened = datasets.load_from_disk(str(root / "dataset"))
    assert {split: len(rows) for split, rows in opened.items()} == {"train": 3, "test": 1}
    assert opened["train"].features["audio"] == datasets.Audio(sampling_rate=16_000)
    assert opened["train"].features["up_votes"] == datasets.Value("int64")
    undecoded = opened["train"].cast_column("audio", datasets.Audio(decode=False))
    assert undecoded[1]["audio"] == {"bytes": encode_audio(CLIPS[1]), "path": "train-1.flac"}
    assert undecoded["sentence"][:] == ["It's a small tree.", "Why not?", "Die Straße – «öde»!"]


def test_what_datasets_saves_opens_here(root, tmp_path):
    opened = datasets.load_from_disk(str(root / "dataset"))
    opened.save_to_disk(str(tmp_path / "theirs" / "dataset"), num_shards={"train": 2, "test": 1})
    train = open_corpus(tmp_path / "theirs")["train"]
    assert len(train.shards) == 2
    for index, clip in enumerate(CLIPS):
        assert train.row(index)["up_votes"] == index
        np.testing.assert_allclose(train.waveform(index), clip, atol=2**-24)


# --- what we see ---


@pytest.mark.parametrize("given", ["", "dataset"])
def test_it_opens_by_its_root_and_by_its_dataset_folder(root, given):
    corpus = open_corpus(root / given)
    assert (corpus.root, corpus.splits, corpus.sampling_rate) == (root, ("train", "test"), 16_000)
    assert open_corpus(str(root / given)) == corpus


def test_rows_hold_everything_but_the_audio(root):
    train = open_corpus(root)["train"]
    assert len(train) == 3
    assert train.columns == ("id", "path", "audio", "sentence", "up_votes")
    assert train.row(2) == {
        "id": "train-2",
        "path": "train-2.mp3",
        "sentence": "Die Straße – «öde»!",
        "up_votes": 2,
    }
    assert train.column("up_votes").to_pylist() == [0, 1, 2]
    assert train.audio_bytes(0) == encode_audio(CLIPS[0])


def test_the_sampling_rate_is_that_of_the_audio_column(tmp_path):
    clip = tone(300, 0.5, 8_000)
    corpus = open_corpus(write_corpus(tmp_path / "narrow", {"test": [clip]}, sampling_rate=8_000))
    assert corpus.sampling_rate == 8_000
    assert corpus["test"].waveform(0).shape == (4_000,)
    assert corpus["test"].at_rate(16_000).waveform(0).shape == (8_000,)


def test_audio_of_another_rate_than_stated_is_resampled(tmp_path):
    wav = encode(tone(300, 0.5, 44_100), 44_100)
    corpus = open_corpus(write_corpus(tmp_path / "mixed", {"test": [wav]}))
    np.testing.assert_array_equal(corpus["test"].waveform(0), load_mono(wav))


def test_absent_audio_is_no_bytes(tmp_path):
    corpus = open_corpus(write_corpus(tmp_path / "mute", {"test": [None]}))
    assert corpus["test"].audio_bytes(0) == b""


def test_familiar_splits_come_first_in_their_familiar_order():
    names = {"zulu", "validated", "test", "alpha", "train", "validation"}
    assert order_splits(names) == ("train", "validation", "test", "validated", "alpha", "zulu")


# --- what is refused ---


def test_an_unknown_split_lists_the_known_ones(root):
    with pytest.raises(InputError, match="has no split 'dev'; available splits: train, test$"):
        open_corpus(root)["dev"]


def test_an_unknown_column_lists_the_known_ones(root):
    with pytest.raises(InputError, match="no column 'text'; it has: id, path, audio, sentence, up"):
        open_corpus(root)["train"].column("text")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(MissingPathError, match=f"^{tmp_path}/absent does not exist"):
        open_corpus(tmp_path / "absent")


def test_an_unfinished_corpus_is_told_from_a_whole_one(root):
    (root / "dataset" / "dataset_dict.json").unlink()
    with pytest.raises(InputError, match=r"holds no finished dataset .* running it again$"):
        open_corpus(root)


def test_a_file_is_no_corpus(root):
    with pytest.raises(InputError, match="holds no finished dataset"):
        open_corpus(root / "dataset" / "dataset_dict.json")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9, 0.9999])
def test_a_truncated_shard_is_named_with_the_remedy(root, share):
    shard = root / "dataset" / "train" / "data-00000-of-00001.arrow"
    content = shard.read_bytes()
    shard.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as refusal:
        len(open_corpus(root)["train"])
    assert str(refusal.value).startswith(f"{shard} cannot be read as an Arrow shard (")
    assert str(refusal.value).endswith("delete it and run the stage that made it again")


def test_a_missing_shard_is_named(root):
    shard = root / "dataset" / "train" / "data-00000-of-00001.arrow"
    shard.unlink()
    assert corpus_digest(open_corpus(root))  # knows it by the lack of it
    with pytest.raises(InputError, match=f"^{shard} cannot be read"):
        len(open_corpus(root)["train"])


@pytest.mark.parametrize("outside", ["../test/data-00000-of-00001.arrow", "{root}/secret.arrow"])
def test_state_json_cannot_point_outside_its_folder(root, outside):
    secret = root / "dataset" / "test" / "data-00000-of-00001.arrow"
    (root / "secret.arrow").write_bytes(secret.read_bytes())
    name = outside.format(root=root)
    assert (state_of(root).parent / name).is_file()
    state_of(root).write_text(json.dumps({"_data_files": [{"filename": name}]}))
    split = open_corpus(root)["train"]
    assert [path.parent for path in split.shards] == [state_of(root).parent]


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "..", ".", "", "/dev/zero"])
def test_a_hostile_shard_name_ends_in_an_error_of_ours(root, name):
    state_of(root).write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(InputError, match="cannot be read as an Arrow shard"):
        len(open_corpus(root)["train"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"state\.json is not valid JSON"),
        (b"\xff\xfe", r"state\.json is not valid JSON"),
        ("[]", r"state\.json is not a JSON object"),
        ("{}", "has no shards: its state.json is missing or damaged"),
        ('{"_data_files": null}', "has no shards"),
        ('{"_data_files": []}', "has no shards"),
        ('{"_data_files": [{}]}', "has no shards"),
        ('{"_data_files": ["data-00000-of-00001.arrow"]}', "has no shards"),
        ('{"_data_files": [{"filename": 5}]}', "has no shards"),
        ('{"_data_files": 5}', "has no shards"),
        (None, "has no shards: its state.json is missing"),
    ],
)
def test_a_damaged_state_json_is_named(root, content, message):
    state_of(root).unlink()
    if content is not None:
        state_of(root).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        open_corpus(root)["train"]


@pytest.mark.parametrize("name", ["../train", "/etc", "", "..", "a/b", 5, None, [], "a\0b"])
def test_a_split_cannot_be_a_path(root, name):
    (root / "dataset" / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(InputError, match="names a split .* which is no folder name of its own$"):
        open_corpus(root)


@pytest.mark.parametrize("splits", ["train", 5, {"train": 1}, True])
def test_splits_that_are_no_list_are_damage(root, splits):
    description = root / "dataset" / "dataset_dict.json"
    description.write_text(json.dumps({"splits": splits}))
    with pytest.raises(InputError, match=f"^{description} is damaged: its splits are .* no list$"):
        open_corpus(root)


def test_a_split_is_named_once(root):
    (root / "dataset" / "dataset_dict.json").write_text('{"splits": ["train", "train"]}')
    with pytest.raises(InputError, match="names a split 'train', which is no folder name of its o"):
        open_corpus(root)


def test_a_split_whose_name_no_disk_takes_is_one_sentence(root):
    (root / "dataset" / "dataset_dict.json").write_text(json.dumps({"splits": ["x" * 300]}))
    with pytest.raises(InputError, match="dataset_info.json cannot be read: File name too long$"):
        open_corpus(root)


@pytest.mark.parametrize(
    "features",
    [
        *([], 0, {}, None, {"audio": None}, {"audio": {}}),
        *({"audio": {"sampling_rate": rate}} for rate in (None, 0, [])),
    ],
)
def test_an_audio_column_that_states_no_rate_has_the_usual_one(root, features):
    info = root / "dataset" / "train" / "dataset_info.json"
    info.write_text(json.dumps({"features": features}))
    assert open_corpus(root).sampling_rate == 16_000


@pytest.mark.parametrize(
    "features",
    [
        *(["audio"], "audio", 7, {"audio": [1]}, {"audio": "Audio"}, {"audio": 16_000.5}),
        *({"audio": {"sampling_rate": rate}} for rate in ("16000", -1, 0.5, 10**9, True, [5])),
    ],
)
def test_damaged_features_are_one_sentence(root, features):
    info = root / "dataset" / "train" / "dataset_info.json"
    info.write_text(json.dumps({"features": features}))
    with pytest.raises(InputError, match=f"^{info} is damaged: .* describes no audio column$"):
        open_corpus(root)


@pytest.mark.parametrize("name", ["dataset_dict.json", "train/dataset_info.json"])
@pytest.mark.parametrize("content", ["", "[]", "5", "null", '"x"', "[" * 100_000, '{"a":'])
def test_what_is_no_object_of_json_is_one_sentence(root, name, content):
    path = root / "dataset" / name
    path.write_text(content)
    with pytest.raises(InputError, match=f"^{path} is not (valid JSON|a JSON object)"):
        open_corpus(root)


def test_a_split_travels_to_workers_without_its_rows(root):
    split = open_corpus(root)["train"]
    bare = len(pickle.dumps(split))
    assert split.table.nbytes > 5000
    sent = pickle.dumps(split)
    assert len(sent) == bare
    assert pickle.loads(sent).column("id").equals(split.column("id"))
