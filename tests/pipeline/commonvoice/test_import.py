"""`pipeline import` on a release with everything that goes wrong with clips."""

import io
import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
from makers import ReleaseDraft, mp3, noise, tone
from outputs import digests, stamps

from pipeline.audio import decode
from pipeline.commonvoice.layout import CommonVoice
from pipeline.corpus import Corpus, open_corpus
from pipeline.imports.stage import ImportStage
from pipeline.stage import RunOptions, run_stage

HERE = RunOptions(num_workers=0)
SPEECH = mp3(tone(300, 1.0))
STEREO = mp3(np.stack([tone(300, 1.0, 48_000), noise(1.0, 48_000)], axis=1), 48_000)


def stage_of(release: Path, output: Path) -> ImportStage:
    return ImportStage(CommonVoice(release, output / "source"), output)


def counts(splits: dict[str, dict[str, int]]) -> dict[str, tuple[int, int, int]]:
    """Clips in, out and quarantined."""
    names = ("clips_in", "clips_out", "quarantined")
    return {split: tuple(numbers[name] for name in names) for split, numbers in splits.items()}


# clip, its content, its sentence, and why it is quarantined
CLIPS: tuple[tuple[str, bytes | None, str, str | None], ...] = (
    ("good.mp3", SPEECH, "Steven wants three red beds.", None),
    ("corrupt.mp3", b"\x00\x01corrupt" * 300, "Noise.", "not decodable as audio: "),
    ("empty.mp3", b"", "Nothing.", "empty file (0 bytes)"),
    ("missing.mp3", None, "Gone.", "file is missing"),
    ("quote.mp3", SPEECH, 'He said "hello', None),
    ("stereo.mp3", STEREO, "Left and right.", None),
    ("silent.mp3", mp3(np.zeros(16_000, np.float32)), "Silence.", None),
    ("wordless.mp3", SPEECH, "", None),
    ("half.mp3", SPEECH[: len(SPEECH) // 2], "Cut in the mid", "truncated: "),
    ("../../etc/passwd", None, "Root.", "not a plain file name: '../../etc/passwd'"),
    ("/etc/passwd", None, "Root.", "not a plain file name: '/etc/passwd'"),
    ("..", None, "Up.", "not a plain file name: '..'"),
    ("", None, "Nowhere.", "not a plain file name: ''"),
    ("a\\b.mp3", None, "Windows.", "not a plain file name: 'a\\\\b.mp3'"),
    ("unsuffixed", None, "Old releases name no suffix.", None),
    ("loud.mp3", mp3(2 * tone(300, 0.5)), "Clipped.", None),
)
KEPT = [Path(clip).stem for clip, _, _, reason in CLIPS if reason is None]
REASONS = {clip: reason for clip, _, _, reason in CLIPS if reason is not None}


@pytest.fixture(scope="module")
def draft() -> ReleaseDraft:
    draft = ReleaseDraft()
    for clip, content, sentence, _ in CLIPS:
        draft.add("test", clip, content, sentence)
    draft.clips["unsuffixed.mp3"] = SPEECH
    draft.add("train", "train.mp3", SPEECH)
    draft.tables["dev"] = draft.tables["train"].split(b"\n")[0] + b"\n"
    stated = [f"{name}\t1000" for name in ("good.mp3", "half.mp3", "stereo.mp3")]
    draft.tables["clip_durations"] = "\n".join(["clip\tduration[ms]", *stated, ""]).encode()
    return draft


@pytest.fixture(scope="module")
def release(draft: ReleaseDraft, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draft.write(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def imported(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("imported") / "out"
    run_stage(stage_of(release, root), HERE)
    return open_corpus(root)


# --- what becomes of each clip ---


def test_bad_clips_are_quarantined_with_their_reasons_and_the_import_succeeds(
    command, quarantine, release, tmp_path
):
    outcome = command("import", release, tmp_path / "out", "--json")
    assert outcome.status == 0
    expected = {"train": (1, 1, 0), "test": (len(CLIPS), len(KEPT), len(REASONS))}
    assert counts(outcome.report["splits"]) == expected
    found = quarantine(tmp_path / "out")
    assert found.keys() == REASONS.keys()
    assert [path for path in found if not found[path].startswith(REASONS[path])] == []
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["status"], counts(run["splits"])) == ("complete", expected)


def test_good_clips_are_kept_in_order(imported):
    assert imported.splits == ("train", "test")
    assert imported["test"].column("id").to_pylist() == KEPT


@pytest.fixture
def row(imported):
    def find(clip: str) -> dict:
        return imported["test"].row(KEPT.index(clip))

    return find


@pytest.fixture
def waveform(imported):
    def find(clip: str) -> np.ndarray:
        return imported["test"].waveform(KEPT.index(clip))

    return find


def test_a_row_keeps_every_column_of_its_table(row):
    assert row("good") == {
        "id": "good",
        "sentence": "Steven wants three red beds.",
        "duration_s": pytest.approx(1.0, abs=0.12),
        "client_id": "speaker",
        "path": "good.mp3",
        "up_votes": 2,
        "accents": "",
        "locale": "en",
    }


def test_audio_is_24_bit_flac_at_16_khz(imported):
    info = soundfile.info(io.BytesIO(imported["test"].audio_bytes(0)))
    assert (info.format, info.subtype) == ("FLAC", "PCM_24")
    assert (info.samplerate, info.channels) == (16_000, 1)


def test_audio_is_what_the_mp3_holds(waveform):
    np.testing.assert_allclose(waveform("good"), decode(SPEECH).samples[0], atol=2**-23)


def test_a_stereo_clip_at_48_khz_becomes_mono_at_16(row, waveform):
    assert len(waveform("stereo")) == pytest.approx(16_000, abs=1_200)
    assert row("stereo")["duration_s"] == len(waveform("stereo")) / 16_000


def test_a_quote_is_a_letter(row):
    assert row("quote")["sentence"] == 'He said "hello'
    assert row("stereo")["sentence"] == "Left and right."


def test_a_silent_clip_and_one_without_words_are_kept(row, waveform):
    assert not waveform("silent").any()
    assert row("wordless")["sentence"] == ""


def test_a_clip_that_is_too_loud_is_clipped_and_not_wrapped(waveform):
    assert waveform("loud").max() == pytest.approx(1, abs=1e-6)
    steepest = np.abs(np.diff(waveform("loud"))).max()
    assert steepest < 0.5


def test_a_clip_named_without_its_suffix_is_found(row):
    assert row("unsuffixed")["path"] == "unsuffixed"


@pytest.mark.parametrize(
    ("votes", "number"),
    [("0", 0), ("12", 12), ("", None), ("-1", None), ("x", None), ("٣", None), ("9" * 5_000, None)],
)
def test_votes_are_numbers_or_nothing(tmp_path, votes, number):
    draft = ReleaseDraft({"test": f"path\tsentence\tup_votes\na.mp3\tHi\t{votes}\n".encode()})
    draft.clips["a.mp3"] = SPEECH
    run_stage(stage_of(draft.write(tmp_path), tmp_path / "out"), HERE)
    assert open_corpus(tmp_path / "out")["test"].row(0)["up_votes"] == number


@pytest.mark.parametrize(
    ("stated_ms", "kept"), [(1_000, True), (1_200, True), (1_500, False), (0, True)]
)
def test_a_clip_much_shorter_than_stated_lost_its_end(tmp_path, stated_ms, kept):
    draft = ReleaseDraft()
    draft.add("test", "a.mp3", SPEECH)
    draft.add("test", "b.mp3", SPEECH)
    draft.tables["clip_durations"] = f"clip\tduration[ms]\na.mp3\t{stated_ms}\n".encode()
    report = run_stage(stage_of(draft.write(tmp_path), tmp_path / "out"), HERE)
    assert report.quarantined == (0 if kept else 1)


def test_malformed_rows_and_repeated_clips_are_quarantined_by_line(command, quarantine, tmp_path):
    table = b"path\tsentence\na.mp3\tHi\nshort\na.mp3\tHi again\nb.mp3\t\xff\n\nb.mp3\tHo\n"
    draft = ReleaseDraft({"test": table}, {"a.mp3": SPEECH, "b.mp3": SPEECH})
    assert command("import", draft.write(tmp_path), tmp_path / "out").status == 0
    assert quarantine(tmp_path / "out") == {
        "test.tsv, line 3": "malformed row: 1 fields where the header has 2",
        "test.tsv, line 4": "malformed row: the same clip is in this table twice",
        "test.tsv, line 5": "malformed row: not UTF-8 at byte 6 of the line",
        "test.tsv, line 6": "malformed row: 1 fields where the header has 2",
        "test.tsv, line 7": "malformed row: the same clip is in this table twice",
    }
    assert open_corpus(tmp_path / "out")["test"].column("id").to_pylist() == ["a"]


def test_a_link_to_nothing_is_a_missing_clip(quarantine, tmp_path):
    draft = ReleaseDraft()
    draft.add("test", "a.mp3", SPEECH)
    draft.add("test", "b.mp3", None)
    release = draft.write(tmp_path)
    (release / "en" / "clips" / "b.mp3").symlink_to(tmp_path / "absent.mp3")
    run_stage(stage_of(release, tmp_path / "out"), HERE)
    assert quarantine(tmp_path / "out") == {"b.mp3": "file is missing"}


# --- how the command ends ---


def test_max_failures_is_a_limit_on_every_run(command, release, tmp_path):
    arguments = ("import", release, tmp_path / "out", "--max-failures")
    for allowed, status in ((0, 1), (len(REASONS) - 1, 1), (len(REASONS), 0), (0, 1)):
        assert command(*arguments, allowed).status == status
    assert open_corpus(tmp_path / "out").splits == ("train", "test")


def test_an_import_that_keeps_nothing_fails(command, tmp_path):
    draft = ReleaseDraft()
    draft.add("test", "a.mp3", b"")
    outcome = command("import", draft.write(tmp_path), tmp_path / "out")
    assert outcome.status == 1
    assert outcome.complaint.startswith("all 1 clips are quarantined; see ")


def test_an_unknown_split_lists_the_known_ones(command, release, tmp_path):
    outcome = command("import", release, tmp_path / "out", "--splits", "dev")
    assert outcome.status == 2
    expected = f"{release} has no split 'dev'; available splits: train, validation, test"
    assert outcome.complaint == expected
    assert not (tmp_path / "out").exists()


def test_tables_of_a_header_alone_make_an_empty_corpus(command, tmp_path):
    header = b"client_id\tpath\tsentence\n"
    release = ReleaseDraft({"train": header, "test": header}).write(tmp_path)
    outcome = command("import", release, tmp_path / "out", "--json")
    assert (outcome.status, outcome.report["splits"]) == (0, {})
    assert open_corpus(tmp_path / "out").splits == ()
    assert len(datasets.load_from_disk(str(tmp_path / "out" / "dataset"))) == 0


def test_splits_and_limits_take_what_they_say(command, release, tmp_path):
    arguments = ("--splits", "test", "--limit", 6)
    outcome = command("import", release, tmp_path / "out", *arguments, "--json")
    assert outcome.status == 0
    assert counts(outcome.report["splits"]) == {"test": (6, 3, 3)}
    expected = ["good", "quote", "stereo"]
    assert open_corpus(tmp_path / "out")["test"].column("id").to_pylist() == expected


def test_validated_is_imported_only_when_asked_for(command, tmp_path):
    draft = ReleaseDraft()
    for table in ("train", "validated"):
        draft.add(table, "a.mp3", SPEECH)
    release = draft.write(tmp_path)
    command("import", release, tmp_path / "default")
    assert open_corpus(tmp_path / "default").splits == ("train",)
    command("import", release, tmp_path / "asked", "--splits", "validated")
    assert open_corpus(tmp_path / "asked").splits == ("validated",)


def test_another_sampling_rate_is_that_of_the_audio_and_of_the_column(command, release, tmp_path):
    assert command("import", release, tmp_path / "out", "--sample_rate", 8_000).status == 0
    corpus = open_corpus(tmp_path / "out")
    assert corpus.sampling_rate == 8_000
    assert len(corpus["train"].waveform(0)) == pytest.approx(8_000, abs=600)
    assert decode(corpus["train"].audio_bytes(0)).sampling_rate == 8_000


def test_a_dry_run_writes_nothing(command, release, tmp_path):
    outcome = command("import", release, tmp_path / "out", "--dry-run")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        f"{release}: Common Voice release (--layout commonvoice)",
        f"import: {len(CLIPS) + 1} clips in 2 shards, nothing written",
        "  train: 1 clips",
        f"  test: {len(CLIPS)} clips",
        f"  → {tmp_path}/out",
    ]
    assert not (tmp_path / "out").exists()


# --- archives, re-runs, other settings ---


def test_an_archive_gives_the_same_corpus_as_its_folder(
    command, quarantine, draft, imported, tmp_path
):
    # The names that no archive would hold have no files; all others are packed.
    outcome = command("import", draft.pack(tmp_path / "cv.tar.gz"), tmp_path / "out")
    assert outcome.status == 0
    assert digests(tmp_path / "out" / "dataset") == digests(imported.dataset)
    assert quarantine(tmp_path / "out") == quarantine(imported.root)


def test_an_archive_of_other_content_is_noticed_and_imported_on_request(command, draft, tmp_path):
    archive = draft.pack(tmp_path / "cv.tar.gz")
    arguments = ("import", archive, tmp_path / "out", "--splits", "train")
    assert command(*arguments).status == 0
    other = ReleaseDraft()
    other.add("train", "other.mp3", SPEECH)
    other.pack(archive)
    outcome = command(*arguments)
    assert outcome.status == 2
    assert "the input has changed since" in outcome.complaint
    assert command(*arguments, "--overwrite").status == 0
    assert open_corpus(tmp_path / "out")["train"].column("id").to_pylist() == ["other"]


def test_running_again_does_nothing(command, release, tmp_path):
    first = command("import", release, tmp_path / "out", "--json")
    written = [path for path in (tmp_path / "out").rglob("*") if path.name != ".lock"]
    before = stamps(written)
    again = command("import", release, tmp_path / "out", "--json")
    assert again.status == 0
    assert again.report["splits"] == first.report["splits"]
    assert stamps(written) == before


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (("--splits", "test"), 'splits: ["train"] then, ["test"] now'),
        (("--sample-rate", 8_000), "sampling_rate: 16000 then, 8000 now"),
        (("--limit", 5), "limit: null then, 5 now"),
    ],
)
def test_other_settings_are_refused_with_the_difference_named(
    command, release, tmp_path, changed, difference
):
    arguments = ["import", release, tmp_path / "out"]
    assert command(*arguments, "--splits", "train").status == 0
    before = digests(tmp_path / "out")
    chosen = changed if "--splits" in changed else ("--splits", "train", *changed)
    outcome = command(*arguments, *chosen)
    assert outcome.status == 2
    assert outcome.complaint == (
        f"{tmp_path}/out was made with other settings ({difference}); "
        "give --overwrite to make it again, or name another output folder"
    )
    assert digests(tmp_path / "out") == before
    assert command(*arguments, *chosen, "--overwrite").status == 0


def test_a_changed_table_or_clip_is_noticed(command, release, tmp_path):
    copy = tmp_path / "copy" / "en"
    shutil.copytree(release / "en", copy)
    assert command("import", copy, tmp_path / "out").status == 0
    with (copy / "clips" / "good.mp3").open("ab") as file:
        file.write(b"more")
    outcome = command("import", copy, tmp_path / "out")
    assert outcome.status == 2
    assert "(the input has changed since)" in outcome.complaint


def test_a_worker_makes_the_same_bytes_as_none(command, release, imported, tmp_path):
    assert command("import", release, tmp_path / "out", workers=1).status == 0
    assert digests(tmp_path / "out") == digests(imported.root)


def test_datasets_opens_the_import_as_audio(imported):
    opened = datasets.load_from_disk(str(imported.dataset))
    assert opened["test"].features["audio"] == datasets.Audio(sampling_rate=16_000)
    assert opened["test"]["id"][:] == KEPT
