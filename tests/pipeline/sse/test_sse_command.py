"""`pipeline sse` as it is used: the walk-through of its document, hearing losses, bad input."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sse_speech import write_language

from pipeline.audio import decode, encode_audio, to_mono

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[3]
CLIPS = ROOT / "examples" / "mini-corpus" / "cv-corpus-1.0-2026-11-21" / "en"
N_CLIPS = 10
WITH_WORKERS = ("vad", "features", "map", "dump", "robustness")


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    return write_language(tmp_path_factory.mktemp("language"), n_speakers=3, clips_each=3)


@pytest.fixture
def sse(command):
    """Run a command of the group; it must succeed, and gives its report."""

    def run(*arguments):
        outcome = command("sse", *arguments, workers=0 if arguments[0] in WITH_WORKERS else None)
        assert outcome.status == 0, outcome.err
        return outcome

    return run


@pytest.fixture
def refused(command):
    """Run a command of the group; it must refuse, and gives the sentence."""

    def run(*arguments, status=2):
        outcome = command("sse", *arguments, workers=0 if arguments[0] in WITH_WORKERS else None)
        assert outcome.status == status, outcome.err
        return outcome.complaint

    return run


def walk_through():
    """Command lines of the first two blocks of the document, without `pipeline sse`."""
    text = (ROOT / "docs" / "sse.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|console)\n(.*?)^```$", text, flags=re.M | re.S)[:2]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[2:] for line in lines if line.startswith("pipeline sse")]


def test_the_walk_through_of_the_document_runs(sse, tmp_path, monkeypatch):
    rows = (CLIPS / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    matrix = [row.split("\t")[1] for row in rows if "language_fundamentals" in row][:N_CLIPS]
    for number, name in enumerate(matrix):
        folder = tmp_path / "data" / "demo" / f"speaker{number}"
        folder.mkdir(parents=True)
        shutil.copy(CLIPS / "clips" / name, folder)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "data" / "sse").mkdir()
    monkeypatch.chdir(tmp_path)
    commands = [line for line in walk_through() if line[0] != "robustness"]
    assert {line[0] for line in commands} == {
        *("vad", "segments", "features", "train", "neighbours", "transcribe", "iterate", "map"),
        "dump",
    }
    for line in commands:
        sse(*line)
    vectors = np.load("data/sse/out.npy")
    assert vectors.shape == (len(Path("data/sse/out.segments").read_text().splitlines()), 32)
    assert vectors.dtype == np.float32
    iterated = json.loads(Path("data/sse/iterated/iterations.json").read_text())
    assert len(iterated["rounds"]) == 2
    # The shipped model knows the words of these clips, unlike chance (0.1 at most).
    found = json.loads(
        sse("map", "--path-wavs", "data/demo", "--path-segments", "data/sse/words", "--json").out
    )
    assert found["all"]["map_at_r"] > 0.5


def test_figures_of_a_hearing_loss(sse, language, tmp_path):
    sse("segments", language.vads, tmp_path / "words", "--alignment", language.words, "--repeated")
    for path in language.root.rglob("*.flac"):
        waveform = to_mono(decode(path))
        spectrum = np.fft.rfft(waveform)
        spectrum[np.fft.rfftfreq(len(waveform), 1 / 16_000) > 1000] *= 1e-3
        target = tmp_path / "deaf" / path.relative_to(language.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode_audio(np.fft.irfft(spectrum, len(waveform)).astype(np.float32)))
    out = tmp_path / "out"
    report = json.loads(
        sse(
            "robustness",
            "--path-segments",
            tmp_path / "words",
            "--output-dir",
            out,
            "--path-sse",
            ROOT / "models" / "mini-sse",
            "--json",
            "--profile",
            f"normal={language.root}",
            "--profile",
            f"deaf={tmp_path / 'deaf'}",
        ).out
    )
    normal, deaf = report["profiles"]
    assert normal["displacement"] == pytest.approx(0, abs=1e-6)
    assert deaf["displacement"] > 0.1
    assert normal["map_at_r"] == normal["map_at_r_of_reference_queries"]
    assert deaf["map_at_r_of_reference_queries"] < normal["map_at_r"]
    clips = pq.read_table(out / "clips.parquet").to_pylist()
    assert len(clips) == 2 * 9
    words = report["segments"]
    kept = sum(c["sse_words_kept"] * c["sse_words"] for c in clips if c["profile_name"] == "deaf")
    assert kept / words == pytest.approx(deaf["words_kept"], abs=0.02)
    moved = sum(
        c["sse_displacement"] * c["sse_words"] for c in clips if c["profile_name"] == "deaf"
    )
    assert moved / words == pytest.approx(deaf["displacement"])
    confused = sum(
        int(line.split(",")[-1])
        for line in (out / "confusions.csv").read_text().splitlines()[1:]
        if line.startswith('"deaf"')
    )
    assert confused == round(words * (1 - kept / words))
    for picture in ("robustness.png", "confusions.png"):
        assert (out / picture).read_bytes()[:4] == b"\x89PNG"
    moved_words = pyarrow.csv.read_csv(out / "words.csv").to_pylist()
    assert {row["profile"] for row in moved_words} == {"normal", "deaf"}
    deaf_words = [row for row in moved_words if row["profile"] == "deaf"]
    assert sum(row["count"] for row in deaf_words) == words
    farthest = [row["displacement"] for row in deaf_words]
    assert farthest == sorted(farthest, reverse=True)
    assert sum(r["displacement"] * r["count"] for r in deaf_words) / words == pytest.approx(
        deaf["displacement"]
    )
    unmoved = [row for row in moved_words if row["profile"] == "normal"]
    assert all(row["heard_as"] == row["word"] for row in unmoved if row["words_kept"] > 0.5)


@pytest.fixture
def words(sse, language, tmp_path):
    sse("segments", language.vads, tmp_path / "words", "--alignment", language.words)
    return tmp_path / "words"


def test_bad_input_is_told_in_one_sentence(refused, sse, language, words, tmp_path):
    mini = ("--path-sse", ROOT / "models" / "mini-sse")
    clips = ("--path-wavs", language.root)
    assert "holds no finished model" in refused(
        "map", *clips, "--path-segments", words, "--path-sse", tmp_path
    )
    assert "give the clips by --path-wavs, or features" in refused(
        "map", *mini, "--path-segments", words
    )
    assert "--task 'draw' is not one of: map, dump" in refused(
        "map", *clips, *mini, "--path-segments", words, "--task", "draw"
    )
    sse("segments", language.vads, tmp_path / "grid")
    assert "no transcription of the list comes twice" in refused(
        "map", *clips, *mini, "--path-segments", tmp_path / "grid"
    )
    line = words.read_text().splitlines()[0].split()
    (tmp_path / "beyond").write_text(" ".join([*line[:4], "89", "89.5", "x"]) + "\n")
    assert "outside its section" in refused(
        "map", *clips, *mini, "--path-segments", tmp_path / "beyond"
    )
    (tmp_path / "late").write_text(" ".join([*line[:2], "88", "90", "89", "89.5", "x"]) + "\n")
    complaint = refused("map", *clips, *mini, "--path-segments", tmp_path / "late")
    assert "1 of 1 sections of the segments cannot be used" in complaint
    assert "90 s reaches beyond the clip" in complaint
    assert "give --profile NAME=CLIPS twice" in refused(
        "robustness",
        *mini,
        "--path-segments",
        words,
        "--output-dir",
        tmp_path / "o",
        "--profile",
        f"a={language.root}",
    )
    assert "--views needs --augment" in refused(
        "features",
        *clips,
        "--path-vads",
        language.vads,
        "--output-dir",
        tmp_path / "f",
        "--views",
        "2",
    )
    assert "--encoder and --layer are for --frames encoder" in refused(
        "features",
        *clips,
        "--path-vads",
        language.vads,
        "--output-dir",
        tmp_path / "f",
        "--layer",
        "2",
    )
    assert "leave no length between them" in refused(
        "segments", language.vads, tmp_path / "s", "--min-seconds", "2"
    )


def test_bad_trainings_are_told_in_one_sentence(refused, sse, language, tmp_path):
    features = tmp_path / "f"
    sse(
        "features",
        "--path-wavs",
        language.root,
        "--path-vads",
        language.vads,
        "--output-dir",
        features,
    )
    train = ("train", "--path-features", features, "--output-dir", tmp_path / "m")
    loss = ("--valid-on", "loss")
    assert "--valid-on map needs --valid-features" in refused(*train)
    assert "has one view of each section" in refused(*train, *loss)
    assert "--mode knn needs --path-pairs" in refused(*train, *loss, "--mode", "knn")
    assert "--mode gold needs --path-segments" in refused(*train, *loss, "--mode", "gold")
    assert "must be even and a multiple of 4 heads" in refused(*train, *loss, "--width", "33")
    frames = features / "frames_00000.npy"
    array = np.load(frames)
    array[7] = np.inf
    np.save(frames, array)
    assert "holds NaN or infinite features" in refused(*train, *loss)
    os.remove(features / "features.json")
    assert "holds no features" in refused(*train, *loss)


def test_one_speaker_alone_is_measured_without_others(sse, language, tmp_path):
    mine = [line for line in language.vads.read_text().splitlines() if " s0 " in line]
    (tmp_path / "vads").write_text("\n".join(mine) + "\n")
    sse("segments", tmp_path / "vads", tmp_path / "words", "--alignment", language.words)
    report = json.loads(
        sse(
            "map",
            "--path-wavs",
            language.root,
            "--path-segments",
            tmp_path / "words",
            "--path-sse",
            ROOT / "models" / "mini-sse",
            "--json",
        ).out
    )
    assert report["speakers"] == 1
    assert report["across_speakers"] == {
        "map_at_r": None,
        "mean_average_precision": None,
        "precision_at_1": None,
        "queries": 0,
    }
    assert report["all"]["queries"] > 0
    assert report["note"] == (
        f"all {report['segments']} segments are spoken by 's0', so nothing can be found across "
        "speakers and those figures are left empty; add clips of somebody else"
    )


def test_one_speaker_alone_can_be_trained_on_and_masked(sse, language, tmp_path, caplog):
    mine = [line for line in language.vads.read_text().splitlines() if " s0 " in line]
    (tmp_path / "vads").write_text("\n".join(mine) + "\n")
    sse("segments", tmp_path / "vads", tmp_path / "words", "--alignment", language.words)
    sse(
        *("features", "--path-wavs", language.root, "--path-vads", tmp_path / "vads"),
        *("--output-dir", tmp_path / "f", "--views", "1", "--augment", "noise"),
    )
    sse(
        *("train", "--path-features", tmp_path / "f", "--output-dir", tmp_path / "m"),
        *("--valid-on", "loss", "--width", "16", "--feed-forward", "16", "--batch-size", "4"),
        *("--steps-per-epoch", "1", "--epochs", "1"),
    )
    assert "is spoken by 's0', so the vectors will not learn to overlook voices" in caplog.text
    out = tmp_path / "out"
    same = (f"a={language.root}", f"b={language.root}")
    sse(
        *("robustness", "--path-segments", tmp_path / "words", "--output-dir", out),
        *("--path-sse", tmp_path / "m", "--profile", same[0], "--profile", same[1]),
    )
    report = json.loads((out / "robustness.json").read_text())
    assert "spoken by 's0'" in report["note"]
    assert [figures["map_across_speakers"] for figures in report["profiles"]] == [None, None]


def test_neighbours_found_by_other_frames_are_trained_on_beside_views(
    sse, refused, language, tmp_path
):
    sections = ("--path-wavs", language.root, "--path-vads", language.vads)
    sse("features", *sections, "--output-dir", tmp_path / "bands", "--normalize", "bands")
    views = ("--views", "1", "--augment", "tempo")
    sse("features", *sections, "--output-dir", tmp_path / "frames", *views)
    sse("segments", language.vads, tmp_path / "grid", "--min-seconds", "0.32")
    sse("transcribe", tmp_path / "grid", language.phones, tmp_path / "told")
    search = (
        *("neighbours", "--path-features", tmp_path / "bands", "--path-segments"),
        *(tmp_path / "told", "--output-file", tmp_path / "pairs", "--json"),
    )
    alone = json.loads(sse(*search, "--keep", "1").out)
    found = json.loads(sse(*search, "--keep", "1", "--support", "2", "--other-speakers").out)
    assert 0 < found["pairs"] < alone["pairs"]
    assert found["phone_error_rate"] < alone["phone_error_rate"]
    lines = [line.split() for line in (tmp_path / "pairs").read_text().splitlines()]
    assert all(line[1] != line[5] for line in lines)
    train = (
        *("train", "--mode", "knn", "--path-pairs", tmp_path / "pairs", "--path-features"),
        *(tmp_path / "frames", "--valid-on", "loss", "--width", "16", "--feed-forward", "16"),
        *("--batch-size", "8", "--steps-per-epoch", "2", "--epochs", "1"),
    )
    half = ("--view-share", "0.5")
    assert sse(*train, "--output-dir", tmp_path / "mixed", *half).status == 0
    sources = json.loads((tmp_path / "mixed" / "training.json").read_text())["sources"]
    assert sources["view_share"] == "0.5"
    assert "view_share differ" in refused(*train, "--output-dir", tmp_path / "mixed")
    whole = ("--output-dir", tmp_path / "other", "--view-share", "1")
    assert "--view-share 1 is not from 0 to below 1" in refused(*train, *whole)


def test_silence_and_broken_clips_have_no_sections(sse, tmp_path):
    root = tmp_path / "wavs"
    (root / "ann").mkdir(parents=True)
    name = next((CLIPS / "clips").glob("*.mp3")).name
    shutil.copy(CLIPS / "clips" / name, root / "ann")
    (root / "ann" / "silence.flac").write_bytes(encode_audio(np.zeros(16_000, np.float32)))
    (root / "ann" / "broken.wav").write_bytes(b"RIFF")
    report = json.loads(sse("vad", root, tmp_path / "vads", "--json").out)
    assert (report["clips"], report["quarantined"], report["speakers"]) == (3, 2, 1)
    path, speaker, start, end = (tmp_path / "vads").read_text().splitlines()[0].split()
    assert (path, speaker) == (f"ann/{name}", "ann")
    assert 0 <= float(start) < float(end)
    reasons = (tmp_path / "vads.quarantine.jsonl").read_text()
    assert "no speech in it" in reasons
    assert "not decodable" in reasons


def test_the_alignment_of_the_shipped_clips_is_that_of_their_sound():
    """Words are loud where they are said to be, to within the 10 ms of a window."""
    from pipeline.sse.transcribe import read_alignment

    folder = CLIPS.parents[1] / "alignments"
    by_clip: dict[str, list[tuple[float, float]]] = {}
    for line in (folder / "words.txt").read_text(encoding="utf-8").splitlines():
        clip, start, end, _ = line.split()
        by_clip.setdefault(clip, []).append((float(start), float(end)))
    assert len(by_clip) == 420
    assert read_alignment(folder / "phones.txt")
    for clip in list(by_clip)[::60]:
        waveform = to_mono(decode(CLIPS / "clips" / f"{clip}.mp3"))
        level = np.sqrt(np.mean(waveform[: len(waveform) // 160 * 160].reshape(-1, 160) ** 2, 1))
        loud = np.flatnonzero(level > 0.05 * level.max()) / 100
        assert loud[0] == pytest.approx(by_clip[clip][0][0], abs=0.08)
        assert loud[-1] < by_clip[clip][-1][1] + 0.08
