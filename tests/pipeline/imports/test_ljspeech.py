"""LJ Speech: bars, no quotes, both transcriptions."""

import pytest
from corpora import write_ljspeech

from pipeline.corpus import open_corpus

LINES = (
    'LJ001-0001|He said "1455|He said "fourteen fifty-five',
    "LJ001-0002|in being comparatively modern.|in being comparatively modern.",
    "LJ001-0003|Only one.|",
    "LJ001-0004|Two fields",
)


@pytest.fixture
def root(tmp_path):
    return write_ljspeech(tmp_path / "LJSpeech-1.1", LINES)


def test_both_transcriptions_are_kept_and_the_spoken_one_is_the_sentence(command, root, tmp_path):
    outcome = command("import", root, tmp_path / "out")
    assert outcome.status == 0
    assert outcome.out.startswith(f"{root}: LJ Speech (--layout ljspeech)\n")
    train = open_corpus(tmp_path / "out")["train"]
    assert train.row(0) == {
        "id": "LJ001-0001",
        "sentence": 'He said "fourteen fifty-five',
        "duration_s": pytest.approx(0.25, abs=1e-3),
        "path": "wavs/LJ001-0001.wav",
        "transcription": 'He said "1455',
        "normalized_transcription": 'He said "fourteen fifty-five',
    }
    assert train.column("sentence").to_pylist()[2:] == ["Only one.", "Two fields"]
    assert len(train.waveform(0)) == pytest.approx(4_000, abs=2)


def test_what_is_wrong_is_quarantined(command, quarantine, root, tmp_path):
    with (root / "metadata.csv").open("ab") as file:
        file.write(b"LJ001-0002|again|again\n../up|x|x\nnone\na|b|c|d\nLJ9|\xff|\nLJ8|gone|gone\n")
    assert command("import", root, tmp_path / "out").status == 0
    assert quarantine(tmp_path / "out") == {
        "metadata.csv, line 5": "malformed row: the same clip is in this file twice",
        "metadata.csv, line 6": "not a plain file name: '../up'",
        "metadata.csv, line 7": "malformed row: 1 fields, not 2 or 3",
        "metadata.csv, line 8": "malformed row: 4 fields, not 2 or 3",
        "metadata.csv, line 9": "malformed row: not UTF-8 at byte 4",
        "wavs/LJ8.wav": "file is missing",
    }
    assert len(open_corpus(tmp_path / "out")["train"]) == 4


def test_originals_are_the_bytes_of_the_source(command, root, tmp_path):
    assert command("import", root, tmp_path / "out", "--keep-original", "--limit", 1).status == 0
    train = open_corpus(tmp_path / "out")["train"]
    assert train.audio_bytes(0) == (root / "wavs" / "LJ001-0001.wav").read_bytes()
    assert train.row(0)["duration_s"] == pytest.approx(0.25, abs=1e-4)
    assert train.column("audio")[0]["path"].as_py() == "LJ001-0001.wav"
    assert len(train.waveform(0)) == pytest.approx(4_000, abs=2)
