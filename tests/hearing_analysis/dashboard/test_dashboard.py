"""The dashboard: its figures, its safety, its determinism."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hearing_analysis.dashboard
from hearing_analysis.dashboard import build_dashboard
from hearing_analysis.dashboard.alignment import word_operations
from hearing_analysis.dashboard.build import SCRIPTS, inert_json, page_script
from hearing_analysis.dashboard.clips import choose_clips
from hearing_analysis.dashboard.encoding import encode_column
from hearing_analysis.metrics import bootstrap_interval
from hearing_analysis.reports.columns import describe
from hearing_analysis.reports.table import read_table, read_tables
from hearing_analysis.spectrogram import log_mel_dbfs, render_png
from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError, MissingPathError

if TYPE_CHECKING:
    from conftest import Built, Row

    Build = Callable[[list[Row]], Built]
    Rows = Callable[..., list[Row]]

PROFILES = ("normal", "lfloss", "hfloss")
HOSTILE = "</script><img src=x onerror=alert(1)>\u2028<!-- & <b>\u2029end"


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["test", "validation", "train", "all"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("unit", ["word", "character"])
def test_error_rates_are_ratios_of_sums(
    built: "Built", split: str, profile: str, unit: str
) -> None:
    samples, figures = built.samples(split, profile), built.group(split, profile)[unit]
    edits = [row[f"{unit}_edits"] for row in samples]
    lengths = [row[f"{unit}_reference_length"] for row in samples]
    assert figures["rate"]["value"] == pytest.approx(sum(edits) / sum(lengths), abs=1e-12)
    interval = bootstrap_interval(edits, lengths)
    assert (figures["rate"]["low"], figures["rate"]["high"]) == (interval.low, interval.high)
    for name in ("hits", "substitutions", "deletions", "insertions", "reference_length"):
        assert figures[name] == sum(row[f"{unit}_{name}"] for row in samples)


@pytest.mark.parametrize("profile", PROFILES)
def test_clips_minutes_and_loss(built: "Built", profile: str) -> None:
    samples, group = built.samples("test", profile), built.group("test", profile)
    assert group["n_clips"] == 15
    assert group["n_truncated"] == 1
    assert group["seconds"] == pytest.approx(sum(row["audio_duration_s"] for row in samples))
    assert group["ctc_loss"] == pytest.approx(np.mean([row["ctc_loss"] for row in samples]))


def test_a_model_without_ctc_has_its_own_loss(build: "Build", analysis_rows: "Rows") -> None:
    rows = [row | {"ctc_loss": float("nan"), "cross_entropy": 0.5} for row in analysis_rows(2)]
    groups = build(rows).content["overview"]
    assert {(g["ctc_loss"], g["cross_entropy"]) for g in groups} == {(None, 0.5)}


def test_difference_to_normal_hearing(built: "Built") -> None:
    normal, lossy = built.group("test", "normal"), built.group("test", "hfloss")
    difference = lossy["word"]["rate"]["value"] - normal["word"]["rate"]["value"]
    assert lossy["word_delta"]["value"] == pytest.approx(difference, abs=1e-12)
    assert 0 < lossy["word_delta"]["low"] < difference < lossy["word_delta"]["high"]
    assert lossy["word_delta"]["p_value"] < 0.01
    assert set(normal["word_delta"].values()) == {None}


def test_a_group_without_reference_words_has_no_rate(build: "Build", analysis_rows: "Rows") -> None:
    rows = [row | {"reference": ""} for row in analysis_rows(2)]
    for row in rows:
        row.update({key: 0 for key in row if key.endswith("_reference_length")})
    groups = build(rows).content["overview"]
    assert {group["word"]["rate"]["value"] for group in groups} == {None}


def test_audiograms_come_from_the_profile_columns(built: "Built") -> None:
    audiograms = built.content["audiograms"]
    assert [audiogram["profile"] for audiogram in audiograms] == list(PROFILES)
    assert audiograms[2]["frequencies_hz"] == [125, 250, 500, 1000, 2000, 4000, 8000]
    assert audiograms[2]["thresholds_db_hl"] == [10, 10, 20, 40, 65, 85, 100]


# --- columns --------------------------------------------------------------------------------------


def test_every_light_column_is_in_the_page_and_no_heavy_one(built: "Built") -> None:
    names = [column["name"] for column in built.content["columns"]]
    assert names == [name for name in built.rows[0] if name not in ("latent", "audio")]


def test_columns_survive_the_way_into_the_page(built: "Built") -> None:
    for column in built.content["columns"]:
        stored = [row[column["name"]] for row in built.rows]
        shown = built.column(column["name"])
        if column["name"] == "truncated":
            stored = ["yes" if value else "no" for value in stored]
        if column["name"] == "cluster":
            stored = [str(value) for value in stored]
        assert shown == stored, column["name"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None, 3], pa.int64()),
        ([0.1, None, float("inf"), 2.5], pa.float64()),
        ([True, None, False], pa.bool_()),
        (["a", None, "", "a"], pa.string()),
        (list(range(1000)), pa.int64()),
        ([2**40 + i for i in range(1000)], pa.int64()),
        ([None, *range(1000)], pa.int32()),
    ],
)
def test_values_are_exact_and_missing_stays_missing(
    decode: Callable[[Any], list[Any]], values: list[Any], kind: pa.DataType
) -> None:
    decoded = decode(asdict(encode_column(pa.chunked_array([pa.array(values, kind)]))))
    if kind == pa.bool_():
        values = [{True: "yes", False: "no", None: None}[value] for value in values]
    plain = [None if isinstance(v, float) and np.isnan(v) else v for v in decoded]
    assert plain == (pytest.approx(values) if kind == pa.float64() else values)


def test_alignments_add_up_to_the_counts(
    built: "Built", decode: Callable[[Any], list[Any]]
) -> None:
    operations = decode(built.heavy("operations"))
    for row, operation in zip(built.rows, operations, strict=True):
        assert operation.count("=") == row["word_hits"]
        assert operation.count("s") == row["word_substitutions"]
        assert operation.count("d") == row["word_deletions"]
        assert operation.count("i") == row["word_insertions"]


def test_word_operations() -> None:
    references = ["A B C", "A", "", "", "A B"]
    hypotheses = ["A X C D", "", "B", "", "B"]
    assert word_operations(references, hypotheses) == ["=s=i", "d", "i", "", "d="]


def test_phones_travel_with_their_classes(built: "Built") -> None:
    phones = built.heavy("phones")
    said, recognised = (
        np.frombuffer(base64.b64decode(phones[name]["data"]), np.uint8).reshape(90, -1)
        for name in ("said", "recognised")
    )
    assert len(phones["classes"]) == said.shape[1] == 7
    assert (recognised <= said).all()
    perfect = [i for i, row in enumerate(built.rows) if row["word_edits"] == 0]
    assert len(perfect) > 5
    assert (recognised[perfect] == said[perfect]).all()
    assert phones["in_dictionary"] == 1


def test_latent_vectors_keep_their_neighbours(built: "Built") -> None:
    latent = built.heavy("latent")
    assert [p["label"] for p in latent["projections"]] == ["map of the table", "PCA"]
    encoded = latent["latents"]
    values = np.frombuffer(base64.b64decode(encoded["values"]["data"]), np.uint8)
    near = np.array([row["latent"] for row in built.rows])
    kept = values.reshape(90, encoded["n_components"]).astype(float)
    assert encoded["share"] == pytest.approx(1.0)  # eight dimensions, all of them
    for row in range(0, 90, 7):
        true = np.argsort(np.linalg.norm(near - near[row], axis=1))[1:4]
        shown = np.argsort(np.linalg.norm(kept - kept[row], axis=1))[1:6]
        assert set(true) <= set(shown)


def test_confidences_are_a_letter_per_word(
    build: "Build", analysis_rows: "Rows", decode: Callable[[Any], list[Any]]
) -> None:
    rows = analysis_rows(2)
    for row in rows:
        row["word_confidence"] = [0.0, 0.5, 1.0]
    letters = decode(build(rows).heavy("confidences"))[0]
    assert [(ord(letter) - 33) / 92 for letter in letters] == [0, 0.5, 1]


def test_several_tables_are_one_page(two_models: tuple[Path, Path], tmp_path: Path) -> None:
    report = build_dashboard(two_models, tmp_path / "both.html", max_audio=2)
    assert (report.n_samples, report.n_clips) == (120, 20)
    folders = [path.parent.name for path in two_models]
    table = read_tables(two_models)
    assert table.models == tuple(f"mini-wav2vec2 ({folder})" for folder in folders)
    with pytest.raises(InputError, match="is named twice"):
        build_dashboard([two_models[0], two_models[0]], tmp_path / "twice.html")


def test_audio_too_large_for_the_page_lies_beside_it(built: "Built", tmp_path: Path) -> None:
    page = tmp_path / "d.html"
    report = build_dashboard(built.table, page, max_audio=4, max_page_mb=0.001)
    assert report.audio_folder == tmp_path / "audio"
    stored = {row["audio"]["bytes"] for row in built.rows}
    sounds = [path.read_bytes() for path in report.audio_folder.glob("*.flac")]
    assert len(sounds) == 12 and set(sounds) <= stored
    assert report.n_bytes < built.report.n_bytes
    again = tmp_path / "again"
    build_dashboard(built.table, again / "d.html", max_audio=4, max_page_mb=0.001)
    assert (again / "d.html").read_bytes() == page.read_bytes()


def test_every_column_has_a_name_for_people_and_a_definition(built: "Built") -> None:
    for column in built.content["columns"]:
        assert column["description"]["label"]
        assert column["description"]["text"]
    assert describe("audio_level_dbfs").unit == "dBFS"
    assert describe("profile_attenuation_db_250_hz").label == "Attenuation at 250 Hz"
    assert describe("word_error_rate").unit == "%"


# --- audio ----------------------------------------------------------------------------------------


def test_embedded_audio_is_the_stored_file(built: "Built") -> None:
    chosen = built.content["clips_with_audio"]
    assert len(chosen) == built.report.n_clips_with_audio == 8
    stored = {row["sample_id"]: row["audio"]["bytes"] for row in built.rows}
    for clip in chosen:
        embedded = json.loads(built.blocks[f"clip-{clip}"])["profiles"]
        assert [audio["profile"] for audio in embedded] == list(PROFILES)
        for audio in embedded:
            # Clips are counted in order of appearance, and so are the fixture's ids.
            assert base64.b64decode(audio["flac"]) == stored[f"clip_{clip:04d}@{audio['profile']}"]
            assert base64.b64decode(audio["spectrogram"]).startswith(b"\x89PNG")


def test_clips_with_the_largest_spread_between_profiles_are_chosen(built: "Built") -> None:
    table = read_table(built.table)
    spread = {}
    for clip in range(30):
        rates = [r["word_error_rate"] for r in built.rows if r["id"] == f"clip_{clip:04d}"]
        spread[clip] = max(rates) - min(rates)
    chosen = choose_clips(table, 8)
    assert set(chosen) < set(range(15))  # the test split
    left_out = sorted((spread[clip] for clip in range(15)), reverse=True)[:4]
    assert sorted((spread[clip] for clip in chosen), reverse=True)[:4] == left_out
    assert len(choose_clips(table, 20)) == 20  # five more, from validation
    assert choose_clips(table, 0) == ()


def test_clips_without_audio_are_passed_over(build: "Build", analysis_rows: "Rows") -> None:
    rows = analysis_rows(6)
    for row in rows[:6]:
        row["audio"] = {"bytes": None, "path": None}
    rows[6]["audio"] = None
    rows[7]["sentence"] = None
    built = build(rows)
    assert built.content["clips_with_audio"] == [2, 3, 4, 5]
    embedded = json.loads(built.blocks["clip-2"])["profiles"]
    assert [audio["profile"] for audio in embedded] == ["lfloss", "hfloss"]


def test_spectrogram_is_calibrated() -> None:
    t = np.arange(SAMPLING_RATE) / SAMPLING_RATE
    loud = np.sin(2 * np.pi * 1000 * t).astype(np.float32)
    level = log_mel_dbfs(loud, SAMPLING_RATE)
    assert level.shape[0] == 80
    middle = 10 ** (level[:, 20:80] / 10)
    assert 10 * np.log10(middle.sum(axis=0)) == pytest.approx(0.0, abs=0.2)  # full scale: 0 dBFS
    quieter = log_mel_dbfs(loud * np.float32(0.01), SAMPLING_RATE)
    assert quieter.max() == pytest.approx(level.max() - 40, abs=0.01)
    assert render_png(level) != render_png(quieter)


# --- the page as a file ---------------------------------------------------------------------------


def test_same_table_same_bytes(built: "Built", tmp_path: Path) -> None:
    again = build_dashboard(built.table, tmp_path / "again.html", max_audio=8)
    assert again.output.read_bytes() == built.report.output.read_bytes()
    assert again.n_bytes == again.output.stat().st_size == built.report.n_bytes
    assert list(tmp_path.iterdir()) == [again.output]


def test_report_counts(built: "Built") -> None:
    report = built.report
    assert (report.n_samples, report.n_clips, report.n_clips_with_audio) == (90, 30, 8)
    assert report.megabytes == pytest.approx(report.n_bytes / 1e6)


def test_page_asks_nothing_of_the_network(built: "Built") -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', built.page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1] and "http" not in policy[1]
    outside_data = re.sub(r'<script type="application/json".*?</script>', "", built.page)
    urls = set(re.findall(r"https?://[^\s'\"]+", outside_data))
    assert urls == {"http://www.w3.org/2000/svg"}  # a namespace, never fetched


def test_hostile_text_stays_text(build: "Build", analysis_rows: "Rows") -> None:
    hostile = dict.fromkeys(("sentence", "id", "model", "clip_speaker"), HOSTILE)
    built = build([row | hostile for row in analysis_rows(2)])
    assert not re.search("<img|[\u2028\u2029]", built.page)
    assert built.column("sentence") == [HOSTILE] * 6


def test_inert_json_holds_nothing_that_html_reads() -> None:
    text = inert_json({HOSTILE: [HOSTILE, "&amp;", "<!--"]})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {HOSTILE: [HOSTILE, "&amp;", "<!--"]}


def test_scripts_are_all_used_and_never_write_markup() -> None:
    folder = Path(hearing_analysis.dashboard.__file__).parent / "scripts"
    assert {path.name for path in folder.glob("*.js")} == set(SCRIPTS)
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert not re.search(forbidden, page_script())
    assert "</script" not in page_script()


# --- bad input ------------------------------------------------------------------------------------


def test_a_missing_table_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=r"nothing\.parquet does not exist.*analyze run"):
        build_dashboard(tmp_path / "nothing.parquet", tmp_path / "d.html")


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["a"], "split": ["test"]}), table)
    with pytest.raises(InputError, match="lacks the columns profile_name, model, "):
        build_dashboard(table, tmp_path / "d.html")


def test_an_empty_table_is_refused(tmp_path: Path, analysis_rows: "Rows") -> None:
    table = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(analysis_rows(1)).slice(0, 0), table)
    with pytest.raises(InputError, match="has no rows"):
        build_dashboard(table, tmp_path / "d.html")


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("id,split\n")
    with pytest.raises(InputError, match="is not a Parquet file"):
        build_dashboard(tmp_path / "t.parquet", tmp_path / "d.html")


def test_negative_max_audio_is_refused(built: "Built", tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_audio is -1"):
        build_dashboard(built.table, tmp_path / "d.html", max_audio=-1)


def test_scripts_parse() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    checked = subprocess.run([node, "--check", "-"], input=page_script(), text=True, check=False)
    assert checked.returncode == 0
