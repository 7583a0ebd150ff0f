"""`analyze compare`, `tests`, `figures`, `dashboard` as they are used; phones, columns."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hearing_analysis.config import ROOT
from hearing_analysis.evaluate import analysis_schema
from hearing_analysis.insights import (
    domain_gaps,
    doubtful_transcripts,
    find_duplicates,
    weak_groups,
)
from hearing_analysis.reports.assertions import parse_condition
from hearing_analysis.reports.columns import describe, document
from hearing_analysis.reports.phones import count_phones, phones_of_word
from hearing_analysis.reports.statistics import ratio_estimate
from hearing_analysis.reports.table import read_table, read_tables

if TYPE_CHECKING:
    from conftest import Built, Outcome, Row

    Build = Callable[[list[Row]], Built]
    Rows = Callable[..., list[Row]]
    Analyze = Callable[..., Outcome]


# --- compare --------------------------------------------------------------------------------------


def test_two_runs_are_compared_on_the_same_clips(
    analyze: "Analyze", two_models: tuple[Path, Path], tmp_path: Path
) -> None:
    page = tmp_path / "both.html"
    ended = analyze("compare", *two_models, "--json", "-o", page, "--max-audio", 1)
    assert ended.status == 0
    found = {(c["split"], c["profile"]): c for c in json.loads(ended.out)}
    assert len(found) == 12  # three splits and all of them, three profiles
    table = read_tables(two_models)
    edits, lengths = table.numbers("word_edits"), table.numbers("word_reference_length")
    models, profiles = (np.array(table.texts(n)) for n in ("model", "profile_name"))
    mine = [np.flatnonzero((models == model) & (profiles == "hfloss")) for model in table.models]
    whole = found["all", "hfloss"]
    assert whole["n_clips"] == 20
    rates = [float(edits[rows].sum() / lengths[rows].sum()) for rows in mine]
    assert (whole["first_rate"], whole["second_rate"]) == pytest.approx(rates)
    assert whole["word"]["value"] == pytest.approx(rates[1] - rates[0])
    assert whole["word"]["high"] < 0 and whole["word"]["p_value"] < 0.01
    assert whole["n_better"] == int((edits[mine[1]] < edits[mine[0]]).sum())
    assert whole["n_better"] + whole["n_worse"] + whole["n_equal"] == 20
    assert page.stat().st_size > 100_000


def test_a_comparison_is_printed_and_a_wrong_split_is_told(
    analyze: "Analyze", two_models: tuple[Path, Path]
) -> None:
    ended = analyze("compare", *two_models, "--split", "test")
    assert ended.status == 0
    assert "hfloss" in ended.out and "validation" not in ended.out
    assert "there is no split 'dev'" in analyze("compare", *two_models, "--split", "dev").complaint


# --- tests ----------------------------------------------------------------------------------------


@pytest.fixture
def conditions(tmp_path: Path, built: "Built") -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "conditions.yaml"
        path.write_text(f"table: {built.table}\ntests:\n{text}\n", encoding="utf-8")
        return path

    return write


def test_conditions_that_hold_exit_with_0_others_with_1(
    analyze: "Analyze", conditions: Callable[[str], Path], built: "Built"
) -> None:
    samples = built.samples("test", "hfloss")
    rate = sum(r["word_edits"] for r in samples) / sum(r["word_reference_length"] for r in samples)
    holds = conditions(f"  - WER on hfloss, test <= {rate + 1e-9}\n  - CER on normal < 90 %")
    assert analyze("tests", holds).status == 0
    fails = conditions(f"  - WER on hfloss, test < {rate - 1e-9}\n  - CER on normal < 90 %")
    ended = analyze("tests", fails, "--json")
    assert ended.status == 1
    assert "1 of 2 conditions" in ended.complaint
    first, second = json.loads(ended.out)
    assert (first["passed"], second["passed"]) == (False, True)
    assert first["estimate"]["value"] == pytest.approx(rate)
    assert first["n_samples"] == len(samples)
    assert first["estimate"]["low"] < rate < first["estimate"]["high"]


def test_groups_of_a_condition(
    analyze: "Analyze", conditions: Callable[[str], Path], built: "Built"
) -> None:
    path = conditions(
        "  - {name: a, condition: 'audio_duration_s on normal, text_word_count <= 5 > 0'}\n"
        "  - {name: b, condition: 'WER on clip_gender = male, clip_speaker != speaker 1 >= 0'}"
    )
    first, second = json.loads(analyze("tests", path, "--json").out)
    short = [r for r in built.samples("all", "normal") if r["text_word_count"] <= 5]
    durations = np.array([row["audio_duration_s"] for row in short])
    mean = ratio_estimate(durations, np.ones(len(short)))
    assert first["estimate"] == pytest.approx(
        {"value": mean.value, "low": mean.low, "high": mean.high}
    )
    men = [r for r in built.rows if r["clip_gender"] == "male" and r["clip_speaker"] != "speaker 1"]
    assert second["n_samples"] == len(men)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("  - WER on hfloss", "is no condition; write one such as"),
        ("  - WER on nobody < 1", "'nobody' is no profile, split or model; there are: normal"),
        ("  - LOSS on normal < 1", "'LOSS' is neither WER nor CER nor a column of numbers"),
        ("  - WER on nosuch = 1 < 1", "there is no column 'nosuch'"),
        ("  - WER on ctc_loss = a < 1", "ctc_loss is a number, 'a' is none"),
        ("  - WER on sentence < b < 1", "sentence is text and cannot be < b"),
        ("  - WER on normal, hfloss < 1", "no sample of"),
        ("  - WER on normal < 1.2.3", "'1.2.3' is not a number"),
        ("  - [1]", "is no condition"),
        ("  - {condition: WER < 1, nam: x}", "a test has `name` and `condition`"),
        ("  - WER < 1\nmore: 1", "only `table` and `tests` are known"),
        ("  - !!python/name:os.system", "is not valid YAML"),
    ],
)
def test_what_cannot_be_tested_is_told_in_a_sentence(
    analyze: "Analyze", conditions: Callable[[str], Path], text: str, complaint: str
) -> None:
    ended = analyze("tests", conditions(text))
    assert ended.status == 2
    assert complaint in ended.complaint


def test_a_file_without_a_table_or_that_is_missing(analyze: "Analyze", tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    assert "does not exist" in analyze("tests", path).complaint
    path.write_text("tests: [WER < 1]")
    assert "names no table" in analyze("tests", path).complaint
    path.write_text("tests: []")
    assert "`tests` is empty" in analyze("tests", path).complaint


def test_the_last_comparison_is_the_bound() -> None:
    found = parse_condition("CER on normal, text_word_count <= 5 < 10%")
    assert (found.metric, found.comparison, found.bound) == ("CER", "<", 0.1)
    assert found.group == ("normal", "text_word_count <= 5")


# --- figures --------------------------------------------------------------------------------------


def test_figures_are_written_alike_each_time(
    analyze: "Analyze", built: "Built", tmp_path: Path
) -> None:
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        ended = analyze("figures", built.table, "-o", folder, "--formats", "svg,pdf")
        assert ended.status == 0
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    names = ("error_rates", "audiograms", "map", "metadata", "phones")
    assert set(contents[0]) == {f"{name}.{kind}" for name in names for kind in ("svg", "pdf")}
    svg = contents[0]["error_rates.svg"].decode()
    assert "Word error rate (%)" in svg and ">hfloss<" in svg  # text stays text
    inches = 89 / 25.4
    assert f'width="{inches * 72:.6f}'.rstrip("0")[:16] in svg


def test_a_wrong_format_or_split_is_told(analyze: "Analyze", built: "Built") -> None:
    assert "'gif' is not one of" in analyze("figures", built.table, "--formats", "gif").complaint
    assert "has no split 'dev'" in analyze("figures", built.table, "--split", "dev").complaint


# --- dashboard ------------------------------------------------------------------------------------


def test_the_command_tells_what_it_wrote(
    analyze: "Analyze", built: "Built", tmp_path: Path
) -> None:
    ended = analyze("dashboard", built.table.parent, "-o", tmp_path / "d.html", "--max-audio", 1)
    assert ended.status == 0
    assert "90 samples, 1 clips with audio" in ended.out
    assert (tmp_path / "d.html").as_uri() in ended.out
    assert "does not exist" in analyze("dashboard", tmp_path / "none").complaint


# --- insights -------------------------------------------------------------------------------------


def test_a_group_that_was_made_worse_is_found_and_nothing_else(
    build: "Build", analysis_rows: "Rows"
) -> None:
    rows = analysis_rows(80)
    assert weak_groups(read_table(build(rows).table)) == ()  # noise is no insight
    for row in rows:
        if row["clip_speaker"] == "speaker 2":
            n = row["word_reference_length"]
            row.update(word_edits=n, word_deletions=n, word_hits=0)
            row.update(word_insertions=0, word_substitutions=0)
    table = read_table(build(rows).table)
    found = weak_groups(table)
    assert {group.condition.value for group in found} == {"speaker 2"}
    whole = next(group for group in found if group.profile is None)
    assert whole.n_clips == 20 and whole.n_samples == 60
    assert whole.word_error_rate == 1
    assert whole.low < whole.excess < whole.high and whole.p_value < 0.001


def test_profiles_that_lie_far_apart_have_a_wide_gap(built: "Built") -> None:
    gaps = {(gap.first, gap.second): gap for gap in domain_gaps(read_table(built.table))}
    assert gaps["normal", "hfloss"].energy > gaps["normal", "lfloss"].energy > 0.1
    assert gaps["normal", "hfloss"].displacement > 1


def test_duplicates_across_splits_are_found(build: "Build", analysis_rows: "Rows") -> None:
    rows = analysis_rows(6)  # clips 0 to 2 are in test, the others are not
    for row in rows:
        clip = int(row["id"][-4:])
        row["reference"] = {
            0: "THE BOAT LEFT HARBOUR AT DAWN", 4: "THE BOAT LEFT HARBOUR AT DAWN",
            1: "GULLS TURNED ABOVE QUIET WATER", 5: "GULLS TURN ABOVE QUIET WATER",
        }.get(clip, f"SOMETHING ELSE ALTOGETHER {clip}")  # fmt: skip
        same = 2 if clip in (2, 3) else clip
        row |= {f"audio_descriptor_{i}": same + 0.1 * i for i in range(8)}
        row["audio_duration_s"] = 1.0
        row["audio_spectral_flatness_mean"] = 0.5
        row["clip_speaker"] = "same" if clip in (0, 4) else f"speaker {clip}"
    found = {pairs.kind: pairs for pairs in find_duplicates(read_table(build(rows).table))}
    (sentence,) = found["same sentence"].pairs
    assert (sentence.first, sentence.second, sentence.same_speaker) == (0, 4, True)
    (similar,) = [p for p in found["similar sentence"].pairs if p.first == 1]
    assert similar.second == 5 and 0.9 <= similar.similarity < 1
    (sound,) = found["same sound"].pairs
    assert (sound.first, sound.second) == (2, 3)


def test_transcripts_that_were_swapped_are_doubted(build: "Build", analysis_rows: "Rows") -> None:
    rows = analysis_rows(30)
    for row in rows:
        row["hypothesis"] = row["reference"]
        row.update(character_error_rate=0.02, ctc_loss=1.0 * row["character_reference_length"])
    texts = {3: "THE OLD NETS DRIED ON THE WALL", 9: "QUIET WATER TURNED ABOVE GULLS"}
    for row in rows:
        clip = int(row["id"][-4:])
        if clip in texts:
            other = texts[12 - clip]
            row.update(reference=texts[clip], hypothesis=other, character_error_rate=0.9)
    found = doubtful_transcripts(read_table(build(rows).table))
    assert {rows[item.row]["id"] for item in found} == {"clip_0003", "clip_0009"}
    assert {rows[item.row]["profile_name"] for item in found} == {"normal"}
    assert any("fits another clip" in reason for reason in found[0].reasons)


# --- phones and columns ---------------------------------------------------------------------------


def test_phones_are_those_of_the_dictionary_or_of_the_letters() -> None:
    assert phones_of_word("Cat") == ("K", "AE", "T")
    assert phones_of_word("shrxq") == ("SH", "R", "K", "S", "K")
    assert phones_of_word("ñ7") == ()


def test_phones_are_matched_in_their_order() -> None:
    counts = count_phones(["THE CAT SAT", "", "MAN"], ["THE BAT SAT", "A", "NAM"])
    said = dict(zip(("vowel", "glide", "nasal", "b", "p", "v", "f"), counts.said[0], strict=True))
    assert said == {"vowel": 3, "glide": 0, "nasal": 0, "b": 0, "p": 3, "v": 1, "f": 1}
    assert counts.recognised[0].tolist() == [3, 0, 0, 0, 2, 1, 1]
    assert counts.said[1].sum() == counts.recognised[1].sum() == 0
    assert counts.recognised[2].sum() == 1  # one of three stands in its place
    assert counts.in_dictionary == 1


def test_the_document_of_the_columns_is_that_of_the_docstrings() -> None:
    assert (ROOT / "docs" / "columns.md").read_text(encoding="utf-8") == document()


def test_every_column_is_described_and_others_are_named() -> None:
    assert [name for name in analysis_schema().names if not describe(name).kind] == []
    assert describe("audio_rms_std").label == "RMS, standard deviation"
    assert describe("profile_attenuation_db_250_hz").label == "Attenuation at 250 Hz"
    unknown = describe("stage_margin_db")
    assert (unknown.label, unknown.unit, unknown.kind) == ("Stage margin", "dB", "")
