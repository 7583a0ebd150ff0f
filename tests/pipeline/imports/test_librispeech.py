"""LibriSpeech trees: subsets become splits, speakers get their sex and name."""

import io

import pytest
import soundfile
from corpora import flac, pitch_hz, write_librispeech
from outputs import digests

from pipeline.corpus import open_corpus
from pipeline.imports.librispeech import LibriSpeech

SUBSETS = ("train-clean-100", "dev-clean", "train-other-500", "test-other")


@pytest.fixture
def root(tmp_path):
    return write_librispeech(tmp_path / "LibriSpeech", SUBSETS)


def test_subsets_become_splits(command, root, tmp_path):
    outcome = command("import", root, tmp_path / "out")
    assert outcome.status == 0
    assert outcome.out.startswith(f"{root}: LibriSpeech (--layout librispeech)\n")
    corpus = open_corpus(tmp_path / "out")
    assert {split: len(corpus[split]) for split in corpus.splits} == {
        "train": 8,
        "validation": 4,
        "test": 4,
    }
    assert corpus["train"].row(0) == {
        "id": "19-198-0000",
        "sentence": "HE SAID 0",
        "duration_s": 0.25,
        "path": "train-clean-100/19/198/19-198-0000.flac",
        "client_id": "19",
        "chapter_id": "198",
        "subset": "train-clean-100",
        "gender": "female_feminine",
        "speaker_name": "Kara Shallenberg",
        "locale": "en",
    }
    info = soundfile.info(io.BytesIO(corpus["train"].audio_bytes(1)))
    assert (info.format, info.subtype, info.samplerate) == ("FLAC", "PCM_24", 16_000)
    assert pitch_hz(corpus["train"].waveform(1)) == pytest.approx(300, abs=2)


def test_a_bar_in_a_name_and_a_speaker_that_is_not_listed(command, root, tmp_path):
    command("import", root, tmp_path / "out")
    corpus = open_corpus(tmp_path / "out")
    assert corpus["validation"].row(0)["speaker_name"] == "|CBW|Simon"
    assert corpus["validation"].row(0)["gender"] == "male_masculine"
    others = [row for row in range(8) if corpus["train"].row(row)["subset"] == "train-other-500"]
    assert {corpus["train"].row(row)["gender"] for row in others} == {""}


def test_the_folder_around_it_will_do(root):
    around = LibriSpeech(root.parent)
    assert around.splits == LibriSpeech(root).splits
    assert around.speakers["19"] == ("female_feminine", "Kara Shallenberg")


def test_one_subset_will_do(command, root, tmp_path):
    outcome = command("import", root / "train-clean-100", tmp_path / "out", "--json")
    assert outcome.report["splits"].keys() == {"train"}
    row = open_corpus(tmp_path / "out")["train"].row(0)
    assert (row["speaker_name"], row["subset"]) == ("Kara Shallenberg", "train-clean-100")


def test_rows_span_chapters_in_any_cut(root):
    layout = LibriSpeech(root)
    every = [clip.id for clip in layout.clips("train", 0, 8)]
    assert len(set(every)) == 8
    for start in range(8):
        for stop in range(start, 9):
            assert [clip.id for clip in layout.clips("train", start, stop)] == every[start:stop]


def test_what_is_wrong_is_quarantined(command, quarantine, root, tmp_path):
    folder = root / "dev-clean" / "60" / "198"
    (folder / "60-198-0000.flac").unlink()
    (folder / "60-198.trans.txt").write_bytes(
        b"60-198-0000 GONE\n../../../x UP\n60-198-0001 ONE\n60-198-0001 TWICE\n60-999-0001 NOT HERE"
        b"\n60-198-0002 \xff\n"
    )
    assert command("import", root, tmp_path / "out", "--splits", "validation").status == 0
    reasons = quarantine(tmp_path / "out")
    assert reasons == {
        "dev-clean/60/198/60-198-0000.flac": "file is missing",
        "60-198.trans.txt, line 2": "malformed row: not a plain file name: '../../../x'",
        "60-198.trans.txt, line 4": "malformed row: the same clip is in this file twice",
        "60-198.trans.txt, line 5": "malformed row: '60-999-0001' does not begin with '60-198-', "
        "as its folders do",
        "60-198.trans.txt, line 6": "malformed row: not UTF-8 at byte 12",
    }


def test_workers_and_originals(command, root, tmp_path):
    for name, workers in (("a", 0), ("b", 2)):
        arguments = ("import", root, tmp_path / name, "--keep-original")
        assert command(*arguments, workers=workers).status == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert open_corpus(tmp_path / "a")["test"].audio_bytes(0) == flac(200)


def test_a_changed_sound_is_noticed(command, root, tmp_path):
    command("import", root, tmp_path / "out")
    sound = root / "test-other" / "19" / "198" / "19-198-0000.flac"
    sound.write_bytes(sound.read_bytes() + b"x")
    outcome = command("import", root, tmp_path / "out")
    assert outcome.status == 2
    assert "the input has changed since" in outcome.complaint
