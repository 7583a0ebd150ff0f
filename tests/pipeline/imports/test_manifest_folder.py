"""Manifests of many hands: TSV, CSV and JSON Lines, and paths that must not be followed."""

import csv
import io
import json
import os

import numpy as np
import pytest
from corpora import json_lines, pitch_hz, wav, write_sounds
from hypothesis import given
from hypothesis import strategies as st
from makers import encode, seeded, tone
from outputs import digests

from pipeline.corpus import open_corpus
from pipeline.imports.manifest import ManifestFolder
from pipeline.imports.records import open_manifest

SOUNDS = ("wav/a.wav", "wav/b.wav", "wav/c.wav")


@pytest.fixture
def root(tmp_path):
    return write_sounds(tmp_path / "corpus", SOUNDS)


def ids(corpus, split="train"):
    return corpus[split].column("id").to_pylist()


# --- formats and headers ---


def as_tsv(rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def as_csv(rows):
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def as_semicolons(rows):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";", lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def as_json_lines(rows):
    header, *others = rows
    return json_lines([dict(zip(header, row, strict=True)) for row in others])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        *(("data.tsv", as_tsv), ("data.csv", as_csv), ("data.CSV", as_semicolons)),
        *(("data.jsonl", as_json_lines), ("data_manifest.json", as_json_lines)),
    ],
)
@pytest.mark.parametrize(
    ("path", "text", "speaker"),
    [
        *(("path", "sentence", "client_id"), ("audio_filepath", "text", "speaker")),
        *(("wav_filename", "transcript", "spk"), ("File", "Prompt", "Speaker_ID")),
    ],
)
def test_columns_are_found_by_their_names(
    command, root, tmp_path, name, write, path, text, speaker
):
    sentences = ['He said "hello', "Comma, semicolon; bar|", "Grüße – 日本"]
    rows = [[path, "mood", text, speaker]]
    rows += [[sound, "good", words, "X"] for sound, words in zip(SOUNDS, sentences, strict=True)]
    (root / name).write_text(write(rows), encoding="utf-8")
    outcome = command("import", root, tmp_path / "out")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{root}: manifest (--layout manifest)\n")
    train = open_corpus(tmp_path / "out")["train"]
    assert train.column("sentence").to_pylist() == sentences
    assert train.row(1) == {
        "id": "b",
        "path": "wav/b.wav",
        "sentence": sentences[1],
        "duration_s": pytest.approx(0.25, abs=1e-3),
        "mood": "good",
        "client_id": "X",
    }
    assert pitch_hz(train.waveform(1)) == pytest.approx(250, abs=2)


def test_a_file_is_named_itself(command, root, tmp_path):
    (root / "few.tsv").write_text("path\tsentence\nwav/a.wav\tA\n")
    (root / "many.tsv").write_text("path\tsentence\nwav/a.wav\tA\nwav/b.wav\tB\n")
    assert command("import", root / "few.tsv", tmp_path / "out").status == 0
    assert ids(open_corpus(tmp_path / "out")) == ["a"]


def test_csv_may_hold_line_ends_in_quotes(command, root, tmp_path):
    (root / "data.csv").write_text('path,text\nwav/a.wav,"one\ntwo ""2"""\nwav/b.wav,three\n')
    command("import", root, tmp_path / "out")
    sentences = open_corpus(tmp_path / "out")["train"].column("sentence").to_pylist()
    assert sentences == ['one\ntwo "2"', "three"]


@seeded
@given(
    rows=st.lists(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=2, max_size=2),
        max_size=6,
    )
)
def test_csv_is_read_as_the_csv_module_reads_it(tmp_path_factory, rows):
    rows = [["path", "text"], *([f"p{n}", *row[1:]] for n, row in enumerate(rows))]
    rows = [[cell.replace("\r", "").replace("\0", "") for cell in row] for row in rows]
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_text(as_csv(rows), encoding="utf-8", newline="")
    manifest = open_manifest(path)
    found = [list(manifest.parse(record.content).values()) for record in manifest.records()]
    assert found == rows[1:]


# --- splits ---


def test_files_are_splits(command, root, tmp_path):
    for name, sound in (("train.tsv", "a"), ("dev_manifest.json", "b"), ("test-x.csv", "c")):
        rows = [["path", "text"], [f"wav/{sound}.wav", sound.upper()]]
        write = {"tsv": as_tsv, "json": as_json_lines, "csv": as_csv}[name.rpartition(".")[2]]
        (root / name).write_text(write(rows))
    assert command("import", root, tmp_path / "out").status == 0
    corpus = open_corpus(tmp_path / "out")
    assert corpus.splits == ("train", "validation", "test")
    assert [ids(corpus, split) for split in corpus.splits] == [["a"], ["b"], ["c"]]


def test_a_column_is_a_split(command, root, tmp_path):
    rows = [["path", "text", "split"], ["wav/a.wav", "A", "dev"], ["wav/b.wav", "B", "train"]]
    rows += [["wav/c.wav", "C", "dev"]]
    (root / "all.csv").write_text(as_csv(rows))
    assert command("import", root, tmp_path / "out").status == 0
    corpus = open_corpus(tmp_path / "out")
    assert corpus.splits == ("train", "validation")
    assert ids(corpus, "validation") == ["a", "c"]
    assert corpus["validation"].row(0)["split"] == "dev"


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ".", "x" * 200, "-"])
def test_a_split_that_is_no_folder_name_is_refused(command, root, tmp_path, name):
    (root / "all.csv").write_text(f"path,text,split\nwav/a.wav,A,train\nwav/b.wav,B,{name}\n")
    outcome = command("import", root, tmp_path / "out")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{root}/all.csv, line 3: the split {name!r} cannot be the")


# --- NeMo ---


def test_nemo_rows_are_parts_of_longer_files(command, quarantine, tmp_path):
    root = write_sounds(tmp_path / "nemo", ("long.wav",), seconds=2.0)
    rows = [
        {"audio_filepath": "long.wav", "duration": 2.0, "text": "all", "pitch": 1},
        {"audio_filepath": "long.wav", "offset": 0.5, "duration": 0.25, "text": "part"},
        {"audio_filepath": "long.wav", "offset": 1.5, "duration": 5.0, "text": "too long"},
        {"audio_filepath": "long.wav", "offset": 9.0, "duration": 1.0, "text": "behind"},
        {"audio_filepath": "other.wav", "offset": "x", "duration": 1.0, "text": "what"},
        {"audio_filepath": "long.wav", "offset": 1e300, "duration": 1e300, "text": "far"},
    ]
    (root / "manifest.json").write_text(json_lines(rows))
    assert command("import", root, tmp_path / "out").status == 0
    train = open_corpus(tmp_path / "out")["train"]
    assert ids(open_corpus(tmp_path / "out")) == ["long", "long-0000500"]
    assert train.column("duration_s").to_pylist() == [2.0, 0.25]
    assert train.row(0)["pitch"] == 1
    assert train.row(1)["pitch"] is None
    assert train.row(1)["offset"] == "0.5"  # since another row has text there
    reasons = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").open()]
    assert [entry["reason"] for entry in reasons] == [
        "truncated: 0.50 s decoded of 5.00 s stated",
        "no samples from 9 s on: the file has 2.00 s",
        "malformed offset: 'x'",
        "no samples from 1e+300 s on: the file has 2.00 s",
    ]


def test_a_stated_duration_tells_what_lost_its_end(command, quarantine, root, tmp_path):
    rows = [{"audio_filepath": SOUNDS[0], "duration": 0.25, "text": ""}]
    rows += [{"audio_filepath": SOUNDS[1], "duration": 9.5, "text": ""}]
    (root / "m.jsonl").write_text(json_lines(rows))
    command("import", root, tmp_path / "out")
    assert quarantine(tmp_path / "out") == {
        "wav/b.wav": "truncated: 0.25 s decoded of 9.50 s stated"
    }
    assert open_corpus(tmp_path / "out")["train"].row(0)["duration"] == 0.25


def test_a_part_is_the_right_part(command, tmp_path):
    root = tmp_path / "two"
    root.mkdir()
    both = np.concatenate([tone(300, 1.0), tone(900, 1.0)])
    (root / "two.wav").write_bytes(encode(both, 16_000))
    rows = [{"path": "two.wav", "offset": n, "duration": 1, "text": ""} for n in (0, 1)]
    (root / "m.jsonl").write_text(json_lines(rows))
    command("import", root, tmp_path / "out", "--keep-original")
    train = open_corpus(tmp_path / "out")["train"]
    pitches = [pitch_hz(train.waveform(row)) for row in range(2)]
    assert pitches == [pytest.approx(300, abs=2), pytest.approx(900, abs=2)]


# --- ids ---


def test_equal_file_names_in_several_folders_are_told_apart(command, tmp_path):
    names = ("anna/wav/a1.wav", "ben/wav/a1.wav", "ben/wav/a2.wav")  # as VoxForge has them
    root = write_sounds(tmp_path / "voxforge", names)
    (root / "all.tsv").write_text(as_tsv([["path", "prompt"], *([name, "x"] for name in names)]))
    assert command("import", root, tmp_path / "out").status == 0
    assert ids(open_corpus(tmp_path / "out")) == ["anna-wav-a1", "ben-wav-a1", "ben-wav-a2"]


def test_a_column_of_ids_is_taken_and_must_be_unique(command, quarantine, root, tmp_path):
    rows = [["id", "path", "text"], *(["x", sound, "t"] for sound in SOUNDS[:2])]
    (root / "all.tsv").write_text(as_tsv([*rows, ["y", SOUNDS[2], "t"]]))
    assert command("import", root, tmp_path / "out").status == 0
    assert ids(open_corpus(tmp_path / "out")) == ["x", "y"]
    found = quarantine(tmp_path / "out")
    assert found == {"all.tsv, line 3": "malformed row: the same id is in this split twice"}


# --- what must not be followed ---


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret.wav").write_bytes(wav(440))
    return tmp_path / "secret.wav"


@pytest.mark.parametrize(
    "path", ["../secret.wav", "{secret}", "wav/../../secret.wav", "link.wav", "folder/secret.wav"]
)
def test_a_path_that_leads_out_is_quarantined(command, quarantine, root, secret, tmp_path, path):
    (root / "link.wav").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    path = path.format(secret=secret)
    (root / "all.tsv").write_text(as_tsv([["path", "text"], [path, "x"], ["wav/a.wav", "y"]]))
    assert command("import", root, tmp_path / "out").status == 0
    assert ids(open_corpus(tmp_path / "out")) == ["a"]
    assert quarantine(tmp_path / "out") == {path: f"lies outside {root}: {path!r}"}


def test_another_root_is_named(command, root, secret, tmp_path):
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    rows = [{"audio_filepath": f"{root}/wav/a.wav", "text": "absolute"}]
    rows += [{"audio_filepath": "wav/b.wav", "text": "relative"}]
    (manifests / "train.json").write_text(json_lines(rows))
    arguments = ("import", manifests / "train.json", tmp_path / "out", "--audio_root", root)
    assert command(*arguments).status == 0
    assert ids(open_corpus(tmp_path / "out")) == ["a", "b"]


def test_a_pipe_is_not_waited_for(command, quarantine, root, tmp_path):
    os.mkfifo(root / "pipe.wav")
    rows = [["path", "text"], ["pipe.wav", "x"], ["wav", "y"], ["wav/a.wav", "z"], ["gone", "z"]]
    (root / "all.tsv").write_text(as_tsv(rows))
    assert command("import", root, tmp_path / "out").status == 0
    assert quarantine(tmp_path / "out") == {
        "pipe.wav": "not a regular file",
        "wav": "not a regular file",
        "gone": "file is missing",
    }


def test_malformed_rows_are_quarantined_by_line(command, quarantine, root, tmp_path):
    lines = [
        b'{"path": "wav/a.wav", "text": "first"}',
        b"",
        b"{",
        b"[1]",
        b'{"path": 5, "text": "x"}',
        b'{"path": null}',
        b'{"path": "wav/b.wav", "text": "\\ud800"}',
        b'{"path": "wav/b.wav", "text": "\xff"}',
        b'{"path": "wav/b.wav", "text": ["a", 1]}',
        b'{"path": "wav/c.wav"}',
        b'{"path": "wav/\\u0000.wav", "text": ""}',
    ]
    (root / "all.jsonl").write_bytes(b"\n".join(lines))
    assert command("import", root, tmp_path / "out").status == 0
    found = quarantine(tmp_path / "out")
    assert [key.rpartition(" ")[2] for key in found][:6] == ["3", "4", "5", "6", "7", "8"]
    assert list(found.values())[1:] == [
        "malformed row: not a JSON object",
        "malformed row: no path",
        "malformed row: no path",
        "malformed row: half of a character, which no text can hold",
        "malformed row: not UTF-8 at byte 31",
        "not a file name: 'wav/\\x00.wav'",
    ]
    sentences = open_corpus(tmp_path / "out")["train"].column("sentence").to_pylist()
    assert sentences == ["first", '["a", 1]', None]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("sound,words\na,b\n", "no column is called path, audio_filepath,"),
        ("path,words\na,b\n", "no column is called sentence, text,"),
        ("", "no column is called path"),
        ("path,path,text\n", "has a column twice"),
    ],
)
def test_a_header_without_what_is_needed_is_told_what_is_looked_for(
    command, tmp_path, content, told
):
    (tmp_path / "x.csv").write_text(content)
    arguments = ("import", tmp_path / "x.csv", tmp_path / "out", "--layout", "manifest")
    outcome = command(*arguments)
    assert outcome.status == 2
    assert told in outcome.complaint


def test_a_line_without_an_end_is_no_manifest(command, tmp_path):
    (tmp_path / "x.tsv").write_bytes(b"path\ttext\n" + b"x" * 2**20)
    outcome = command("import", tmp_path / "x.tsv", tmp_path / "out")
    assert outcome.status == 2
    assert outcome.complaint.endswith(
        "x.tsv has a line of more than 1,048,576 bytes; it is no list of clips"
    )


# --- the engine ---


def test_workers_make_the_same_bytes(command, tmp_path):
    names = [f"wav/{number:03d}.wav" for number in range(40)]
    root = write_sounds(tmp_path / "corpus", names, seconds=0.05)
    rows = [["path", "text", "split"], *([name, name, "train"] for name in names)]
    (root / "all.csv").write_text(as_csv(rows))
    for name, workers in (("a", 0), ("b", 2)):
        assert command("import", root, tmp_path / name, workers=workers).status == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert [ManifestFolder(root).size("train"), len(open_corpus(tmp_path / "a")["train"])] == [
        40
    ] * 2


def test_a_changed_sound_is_noticed(command, root, tmp_path):
    (root / "all.tsv").write_text(as_tsv([["path", "text"], ["wav/a.wav", "x"]]))
    command("import", root, tmp_path / "out")
    (root / "wav" / "a.wav").write_bytes(wav(440, 0.5))
    outcome = command("import", root, tmp_path / "out")
    assert outcome.status == 2
    assert "the input has changed since" in outcome.complaint
