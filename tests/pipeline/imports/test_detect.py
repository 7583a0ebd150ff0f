"""Which layout a folder has, and what is said when it has none."""

import pytest
from corpora import write_librispeech, write_ljspeech, write_sounds
from makers import ReleaseDraft, mp3, tone, write_corpus

from pipeline.audio import DecodedAudio
from pipeline.errors import ClipError
from pipeline.imports.clips import Converter, Part, cut, readable
from pipeline.imports.detect import KINDS, detect, open_layout


def release(root):
    draft = ReleaseDraft()
    draft.add("test", "a.mp3", mp3(tone(300, 0.5)))
    return draft.write(root)


def manifest(root):
    write_sounds(root / "corpus", ["a.wav"])
    (root / "corpus" / "all.csv").write_text("path,text\na.wav,A\n")
    return root / "corpus"


MAKERS = {
    "commonvoice": release,
    "huggingface": lambda root: write_corpus(root / "speech", {"test": [tone(300, 0.5)]}),
    "ljspeech": lambda root: write_ljspeech(root / "LJ", ["a|A|A"]),
    "librispeech": lambda root: write_librispeech(root / "LS", ["dev-clean"]),
    "manifest": manifest,
}


def test_every_layout_has_its_case():
    assert MAKERS.keys() == KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_a_layout_is_known_by_its_files(command, tmp_path, name):
    source = MAKERS[name](tmp_path)
    assert detect(source) == name
    assert command("import", source, tmp_path / "found").status == 0
    assert command("import", source, tmp_path / "forced", "--layout", name).status == 0


def test_what_has_no_layout_is_told_what_the_known_ones_are(command, tmp_path):
    (tmp_path / "photos").mkdir()
    outcome = command("import", tmp_path / "photos", tmp_path / "out")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{tmp_path}/photos has no layout that is known; the known")
    assert all(f"{name}: " in outcome.complaint for name in KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_forced_layout_that_is_not_there_is_one_sentence(command, tmp_path, name):
    (tmp_path / "photos").mkdir()
    outcome = command("import", tmp_path / "photos", tmp_path / "out", "--layout", name)
    assert outcome.status == 2
    assert str(tmp_path / "photos") in outcome.complaint


def test_what_does_not_exist_is_named(command, tmp_path):
    for arguments in ((), ("--layout", "manifest")):
        outcome = command("import", tmp_path / "absent", tmp_path / "out", *arguments)
        assert outcome.status == 2
        assert outcome.complaint.startswith(f"{tmp_path}/absent does not exist")


def test_an_unknown_layout_lists_the_known_ones(command, tmp_path):
    outcome = command("import", tmp_path, tmp_path / "out", "--layout", "timit")
    assert outcome.complaint == f"--layout 'timit' is not one of: auto, {', '.join(KINDS)}"


def test_another_root_is_for_manifests(command, tmp_path):
    outcome = command("import", release(tmp_path), tmp_path / "out", "--audio-root", tmp_path)
    assert outcome.status == 2
    assert outcome.complaint.startswith("--audio-root says where a manifest's paths start")


def test_json_is_all_that_is_printed_when_it_is_asked_for(command, tmp_path):
    outcome = command("import", release(tmp_path), tmp_path / "out", "--json")
    assert outcome.report["stage"] == "import"


def test_an_output_made_of_another_layout_is_refused(command, tmp_path):
    source = release(tmp_path)
    assert command("import", source, tmp_path / "out").status == 0
    (source / "en" / "clips" / "x").touch()
    arguments = ("import", source / "en", tmp_path / "out", "--layout", "manifest")
    outcome = command(*arguments)
    assert outcome.status == 2
    assert 'layout: "commonvoice" then, "manifest" now' in outcome.complaint


# --- one clip ---


def test_a_file_that_unfolds_to_more_than_memory_holds_is_refused(monkeypatch):
    monkeypatch.setattr("pipeline.imports.clips.UNSUSPICIOUS_BYTES", 100)
    monkeypatch.setattr("pipeline.imports.clips.MOST_SAMPLES", 1_000)
    with pytest.raises(ClipError, match="samples are more than a clip may have"):
        Converter(16_000).convert(mp3(tone(300, 0.5)), None, "a.mp3")


def test_a_file_of_too_many_bytes_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "a.mp3").write_bytes(mp3(tone(300, 0.5)))
    monkeypatch.setattr("pipeline.imports.clips.MOST_BYTES", 100)
    with pytest.raises(ClipError, match="bytes are more than a clip may have"):
        Converter(16_000).convert(tmp_path / "a.mp3", None, "a.mp3")


def test_originals_are_decoded_to_know_that_they_can_be(tmp_path):
    with pytest.raises(ClipError, match="not decodable as audio"):
        Converter(16_000, keep_original=True).convert(b"no sound at all", None, "a.mp3")


def test_the_file_of_many_parts_is_decoded_once(tmp_path, monkeypatch):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(tone(300, 1.0)))
    converter = Converter(16_000)
    first = converter.convert(path, Part(0.25, 0.25), "a.mp3")
    path.unlink()
    again = converter.convert(path, Part(0.25, 0.25), "a.mp3")
    assert first == again
    assert first.duration_s == 0.25


def test_a_part_without_an_end_goes_to_the_end():
    audio = DecodedAudio(tone(300, 1.0)[None], 16_000)
    assert cut(audio, Part(0.75)).samples.shape == (1, 4_000)


def test_a_name_of_no_encoding_can_be_stored():
    assert readable("Gr\udcfc\udcdfe") == "Gr\\xfc\\xdfe"
    assert readable("Grüße") == "Grüße"


def test_layouts_open_by_their_names(tmp_path):
    opened = {name: open_layout(tmp_path, tmp_path / "out", name).name for name in KINDS}
    assert opened == {name: name for name in KINDS}
