"""Every view of the page in headless Chromium: what it shows, selects and hands out."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from hearing_analysis.dashboard import build_dashboard
from hearing_analysis.reports.statistics import ratio_estimate

if TYPE_CHECKING:
    from conftest import Browser, Built, Row

    Build = Callable[[list[Row]], Built]
    Rows = Callable[..., list[Row]]

VIEWS = ("overview", "map", "clusters", "metrics", "words", "samples", "insights")
REQUESTS = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
LINES = "[...document.querySelectorAll('#table tbody tr[data-row]')]"
ACTIVE_ROWS = f"return {LINES}.map((tr) => +tr.dataset.row)"
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script><!--",
    "\u202egnihtemos\u202c \u200b\u2066x\u2069 \u0000 \x1b[31m \ufeff",
    "<img src=x onerror=alert(3)>&amp;&#x41;",
    "word " * 2000,
    "x" * 10_000,
    "=HYPERLINK(1)",
)


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_opens_without_error_or_request(opened: "Browser", name: str) -> None:
    opened.view(name)
    section = "explore" if name in ("map", "samples") else name
    assert len(opened.text(f"#view-{section}")) > 100
    shown = opened.script(
        "return [...document.querySelectorAll('.view')].filter((v) => !v.hidden).map((v) => v.id)"
    )
    assert shown == [f"view-{section}"]
    assert f"view={name}" in opened.script("return location.hash") or name == "overview"
    assert opened.script("return document.getElementById('failure').hidden")
    requested = opened.script(REQUESTS)
    assert [url for url in requested if not url.startswith(("blob:", "data:"))] == []
    assert opened.log() == []


def test_a_lasso_filters_the_table_and_a_link_brings_it_back(
    opened: "Browser", built: "Built"
) -> None:
    opened.view("map")
    before = opened.text("#range")
    opened.click("[data-tool=lasso]")
    opened.drag(
        "#map-overlay", [(0.02, 0.02), (0.55, 0.02), (0.55, 0.6), (0.3, 0.98), (0.02, 0.98)]
    )
    opened.wait("!document.getElementById('chips').hidden")
    selected = opened.text("#selected")
    n_selected = int(selected.split()[0])
    assert 0 < n_selected < int(before.split()[0])
    address = opened.script("return location.hash.slice(1)")
    corners = dict(pair.split("=") for pair in address.split("&"))["lasso"]
    inside = rows_inside(built, corners)
    assert len(inside) == n_selected
    assert set(opened.script(ACTIVE_ROWS)) <= inside
    opened.open(built.report.output, address)
    assert opened.text("#selected") == selected
    opened.click("#clear")
    assert opened.text("#range") == before
    assert opened.log() == []


def rows_inside(built: "Built", address: str) -> set[int]:
    """Rows of the test split inside a polygon, by the winding of the angles around each point."""
    from urllib.parse import unquote

    corners = np.array(
        [pair.split(",") for pair in unquote(address).partition(":")[2].split(";")], dtype=float
    )
    found = set()
    for row, sample in enumerate(built.rows):
        if sample["split"] == "test":
            around = corners - (np.float32(sample["x"]), np.float32(sample["y"]))
            angles = np.arctan2(around[:, 1], around[:, 0])
            turns = np.diff(np.append(angles, angles[0]))
            winding = np.round(np.sum((turns + np.pi) % (2 * np.pi) - np.pi) / (2 * np.pi))
            if winding:
                found.add(row)
    return found


def test_a_box_selects_too_and_unselected_points_stay(opened: "Browser") -> None:
    opened.view("map")
    points = """
      const map = document.getElementById('map');
      const copy = new OffscreenCanvas(map.width, map.height);
      const context = copy.getContext('2d', {willReadFrequently: true});
      context.drawImage(map, 0, 0);
      const {data} = context.getImageData(0, 0, map.width, map.height);
      let drawn = 0;
      for (let i = 3; i < data.length; i += 4) drawn += data[i] > 0;
      return drawn;"""
    before = opened.script(points)
    opened.click("[data-tool=box]")
    opened.drag("#map-overlay", [(0.05, 0.05), (0.3, 0.3), (0.6, 0.6)])
    opened.wait("!document.getElementById('chips').hidden")
    assert opened.script("return location.hash").count("%3B") == 3  # four corners
    assert opened.script(points) > 0.7 * before
    assert opened.log() == []


def test_the_selection_is_handed_out_as_it_is(opened: "Browser", built: "Built") -> None:
    where = '[["text_word_count",4,6],["profile_name","hfloss"]]'
    opened.open(built.report.output, f"view=samples&split=all&where={where}&sort=ctc_loss")
    wanted = sorted(
        (r for r in built.rows if r["profile_name"] == "hfloss" and 4 <= r["text_word_count"] <= 6),
        key=lambda row: -row["ctc_loss"],
    )
    assert opened.text("#selected").startswith(f"{len(wanted)} sample")
    opened.click("#exports [data-export=csv]")
    with opened.downloaded("samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    opened.click("#exports [data-export=parquet]")
    table = pq.read_table(opened.downloaded("samples.parquet"))
    assert table.column_names == list(rows[0])
    assert set(built.rows[0]) - set(table.column_names) == {"latent", "audio"}
    for written in (rows, table.to_pylist()):
        assert [row["sample_id"] for row in written] == [row["sample_id"] for row in wanted]
    for row, stored in zip(table.to_pylist(), wanted, strict=True):
        assert row["hypothesis"] == stored["hypothesis"]
        assert row["clip_gender"] == stored["clip_gender"]  # missing stays missing
        assert row["ctc_loss"] == pytest.approx(stored["ctc_loss"], rel=1e-6)
        assert row["word_edits"] == stored["word_edits"]
    assert opened.log() == []


def test_cards_of_clusters_select_their_samples(opened: "Browser", built: "Built") -> None:
    opened.view("clusters")
    cards = built.content["clusterings"][0]["cards"]
    assert len(opened.driver.find_elements("css selector", ".cluster-cards .card")) == len(cards)
    in_cluster = [r for r in built.rows if r["split"] == "test" and r["cluster"] == 1]
    opened.click("[data-select='1']")
    assert opened.wait("!document.getElementById('chips').hidden")
    assert opened.text("#selected").startswith(f"{len(in_cluster)} sample")
    shown = opened.text(".card[data-cluster='1']")
    edits, lengths = (
        np.array([row[name] for row in in_cluster])
        for name in ("word_edits", "word_reference_length")
    )
    rate = ratio_estimate(edits, lengths)
    assert f"{100 * rate.value:.1f}\u202f% ({100 * rate.low:.1f} to {100 * rate.high:.1f})" in shown
    assert opened.log() == []


def test_a_metric_over_a_column_and_a_bin_that_selects(opened: "Browser", built: "Built") -> None:
    opened.open(built.report.output, "view=metrics&metric=cer&by=clip_speaker&split=all")
    title = opened.script(
        "return document.querySelector('.point[data-bin=\"2\"] title').textContent"
    )
    rows = [r for r in built.samples("all", "normal") if r["clip_speaker"] == "speaker 2"]
    edits, lengths = (
        np.array([row[name] for row in rows])
        for name in ("character_edits", "character_reference_length")
    )
    rate = ratio_estimate(edits, lengths)
    assert title.startswith(f"normal, speaker 2: {100 * rate.value:.1f}\u202f%")
    assert f"{len(rows)} samples" in title
    opened.script(
        "document.querySelector('.point[data-bin=\"2\"]').dispatchEvent(new MouseEvent('click'))"
    )
    n_selected = 3 * len(rows)
    assert opened.text("#selected") == f"{n_selected} samples selected"
    opened.script("location.hash += '&and=clip_gender'")
    opened.wait("document.querySelector('table.heat') !== null")
    assert opened.log() == []


def test_rank_correlations_equal_scipys(opened: "Browser", built: "Built") -> None:
    opened.open(built.report.output, "view=metrics&metric=ctc_loss&by=text_word_count&split=all")
    shown = opened.text("#relation .legend").split()
    for profile in ("normal", "lfloss", "hfloss"):
        rows = built.samples("all", profile)
        pairs = [(row["text_word_count"], row["ctc_loss"]) for row in rows]
        rho = spearmanr(pairs).statistic
        assert float(shown[shown.index(profile) + 2].replace("\u2212", "-")) == pytest.approx(
            rho, abs=0.0051
        )


def test_words_are_counted_by_profile(opened: "Browser", built: "Built") -> None:
    opened.open(built.report.output, "view=words&split=all&words=frequent")
    said: Counter[str] = Counter()
    for row in built.rows:
        said.update(row["reference"].split())
    word, n = said.most_common(1)[0]
    assert opened.text("#word-table tbody tr:first-child").split()[:2] == [word, str(n)]
    n_normal = sum(row["reference"].split().count(word) for row in built.samples("all", "normal"))
    cell = "#word-table tbody tr:first-child td:nth-child(3)"
    title = opened.script(f"return document.querySelector('{cell}').title")
    assert title.endswith(f"of {n_normal}")
    assert opened.text("#phones").count("\n") >= 7
    assert opened.log() == []


def test_added_columns_appear_by_themselves(
    browser: "Browser", build: "Build", analysis_rows: "Rows"
) -> None:
    rows = [
        row | {"stage_unit_error_rate": 0.25 * (i % 3)} for i, row in enumerate(analysis_rows(6))
    ]
    built = build(rows)
    browser.open(built.report.output, "view=words&split=all")
    assert "Stage unit error rate" in browser.text("#added")
    assert "0.2500" in browser.text("#added tbody tr")
    browser.open(built.report.output, "view=metrics&metric=stage_unit_error_rate&split=all")
    assert (
        browser.script("return document.getElementById('metric').value") == "stage_unit_error_rate"
    )
    assert browser.log() == []


def test_insights_lead_to_their_samples(
    browser: "Browser", build: "Build", analysis_rows: "Rows"
) -> None:
    rows = analysis_rows(60)
    for row in rows:
        if row["clip_gender"] == "male" and row["profile_name"] == "normal":
            n = row["word_reference_length"]
            row.update(
                hypothesis="", word_edits=n, word_deletions=n, word_hits=0, word_insertions=0
            )
    built = build(rows)
    groups = built.content["insights"]["weak_groups"]
    assert (groups[0]["profile"], groups[0]["condition"]["value"]) == ("normal", "male")
    browser.open(built.report.output, "view=insights")
    browser.click("#weak-groups tbody tr:first-child .link")
    wanted = [r for r in rows if r["clip_gender"] == "male" and r["profile_name"] == "normal"]
    assert browser.text("#selected") == f"{len(wanted)} samples selected"
    assert "view=samples" in browser.script("return location.hash")
    assert browser.log() == []


def test_neighbours_are_near(opened: "Browser", built: "Built") -> None:
    opened.open(built.report.output, "view=samples&split=all&sample=clip_0004%40normal")
    opened.click(".neighbours summary")
    opened.wait("document.querySelector('.neighbours [data-row]') !== null")
    shown = opened.script(
        "return [...document.querySelectorAll('.neighbours [data-row]')].map((b) => +b.dataset.row)"
    )
    latents = np.array([row["latent"] for row in built.rows])
    own = next(i for i, row in enumerate(built.rows) if row["sample_id"] == "clip_0004@normal")
    order = np.argsort(np.linalg.norm(latents - latents[own], axis=1))
    others = [i for i in order.tolist() if built.rows[i]["id"] != "clip_0004"]
    assert len(shown) == 8 and set(others[:5]) <= set(shown)


def test_the_table_holds_only_the_lines_in_sight(
    browser: "Browser", build: "Build", analysis_rows: "Rows"
) -> None:
    rows = [
        row | {"id": f"{row['id']}_{copy}", "sample_id": f"{copy}{row['sample_id']}"}
        for copy in range(12)
        for row in analysis_rows(30)
    ]
    for row in rows:
        row["audio"] = None
    built = build(rows)
    browser.open(built.report.output, "view=samples&split=all&sort=id&order=ascending")
    assert browser.text("#range") == "1\u202f080 samples"
    drawn = "return document.querySelectorAll('#table tbody tr[data-row]').length"
    assert browser.script(drawn) < 60
    browser.script("document.getElementById('rows').scrollTop = 1e7")
    browser.wait(
        "[...document.querySelectorAll('#table .pick')].some((b) => b.title === 'clip_0029_11')"
    )
    assert browser.script(drawn) < 60
    assert browser.log() == []


@pytest.mark.parametrize("view", ["samples", "words", "map", "insights"])
def test_hostile_transcripts_are_text(
    browser: "Browser", build: "Build", analysis_rows: "Rows", view: str
) -> None:
    rows = analysis_rows(len(HOSTILE))
    for row in rows:
        text = HOSTILE[int(row["id"][-4:])].replace("\0", "\u2400")
        row.update(
            sentence=text, reference=text, hypothesis=text, clip_speaker=text, model=text[:60]
        )
    for row in rows:
        row["model"] = "</title><b>model"
    built = build(rows)
    browser.open(built.report.output, f"view={view}&split=all&sample=clip_0001%40normal")
    shown = browser.script("return document.querySelector('.sentence').textContent")
    assert shown == HOSTILE[1]
    assert browser.script("return document.querySelectorAll('script:not([type])').length") == 1
    assert browser.script("return document.querySelectorAll('img[onerror], b').length") == 0
    assert browser.script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.log() == []


def test_hostile_transcripts_leave_the_page_as_text(
    browser: "Browser", build: "Build", analysis_rows: "Rows"
) -> None:
    rows = analysis_rows(len(HOSTILE))
    for row in rows:
        row["reference"] = HOSTILE[int(row["id"][-4:])].replace("\0", "\u2400")
    built = build(rows)
    browser.open(built.report.output, "view=samples&split=all&sort=id&order=ascending")
    browser.click("#exports [data-export=csv]")
    with browser.downloaded("samples.csv").open(newline="", encoding="utf-8") as file:
        written = {row["sample_id"]: row["reference"] for row in csv.DictReader(file)}
    assert written["clip_0001@normal"] == HOSTILE[1]
    assert written["clip_0005@normal"] == HOSTILE[5]
    assert written["clip_0006@normal"] == "'=HYPERLINK(1)"  # no formula for a spreadsheet
    assert browser.log() == []


def test_two_models_are_compared_clip_by_clip(
    browser: "Browser", two_models: tuple[Path, Path], tmp_path: Path
) -> None:
    page = build_dashboard(two_models, tmp_path / "both.html", max_audio=4).output
    browser.open(page, "split=all")
    assert len(browser.driver.find_elements("css selector", "#comparison-table tbody tr")) == 3
    assert "fewer errors" in browser.text("#differences")
    before = browser.script("return location.hash")
    place = browser.script("""
      const canvas = document.getElementById('cloud');
      const {data, width} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < data.length; i += 4) {
        const [r, g, b] = data.slice(i, i + 3);
        if (data[i + 3] > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 90) {
          const at = canvas.width / canvas.getBoundingClientRect().width;
          return [(i / 4) % width / at, Math.floor(i / 4 / width) / at];
        }
      }""")
    browser.script(
        """const canvas = document.getElementById('cloud');
        const box = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new MouseEvent('click', {bubbles: true,
          clientX: box.left + arguments[0][0], clientY: box.top + arguments[0][1]}));""",
        place,
    )
    assert browser.script("return location.hash") != before
    assert len(browser.driver.find_elements("css selector", ".card:first-child .heard-by")) == 2
    assert browser.log() == []


def test_audio_in_the_folder_beside_the_page_plays(
    browser: "Browser", built: "Built", tmp_path: Path
) -> None:
    page = build_dashboard(built.table, tmp_path / "d.html", max_audio=4, max_page_mb=0).output
    browser.open(page, "view=samples&audible=only")
    browser.wait(
        "[...document.querySelectorAll('#sample audio')].every((a) => a.readyState >= 2) "
        "&& document.querySelectorAll('#sample audio').length === 3"
    )
    browser.wait("document.querySelector('.frame img').naturalHeight === 80")
    browser.script("document.activeElement.blur()")
    browser.press(" ")
    browser.wait("[...document.querySelectorAll('audio')].some((a) => a.currentTime > 0)")
    requested = browser.script(REQUESTS)
    assert all(url.startswith(("file:", "blob:", "data:")) for url in requested)
    assert browser.log() == []


def test_confidences_stand_below_the_words(
    browser: "Browser", build: "Build", analysis_rows: "Rows"
) -> None:
    rows = analysis_rows(2)
    for row in rows:
        row["word_confidence"] = [0.75 for _ in row["hypothesis"].split()]
    built = build(rows)
    browser.open(built.report.output, "view=samples&split=all&sample=clip_0001%40normal")
    shown = browser.script(
        "return [...document.querySelectorAll('.card .confidence title')].map((t) => t.textContent)"
    )
    assert shown and set(shown) == {"75\u202f%"}
    assert browser.log() == []


def test_a_wrong_address_shows_the_page_all_the_same(opened: "Browser", built: "Built") -> None:
    wrong: dict[str, Any] = {
        "view": "nowhere", "where": "[[1]]", "lasso": "pca:1,2", "metric": "x", "clips": "a,b",
        "colour": "none", "by": "none", "projection": "none", "bins": "99",
    }  # fmt: skip
    opened.open(built.report.output, "&".join(f"{k}={v}" for k, v in wrong.items()))
    assert opened.script("return document.getElementById('failure').hidden")
    assert opened.text("#figures tbody tr").startswith("normal")
    assert opened.log() == []


def test_numbers_of_the_page_are_json_and_finite(built: "Built") -> None:
    text = json.dumps(built.content)
    assert not re.search(r"\bNaN\b|\bInfinity\b", text)
