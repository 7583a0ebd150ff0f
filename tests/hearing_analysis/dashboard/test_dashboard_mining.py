"""The view of mined profiles: error rates, margins, words and clips that became others."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from conftest import Browser, Built, Outcome

LOST = 3  # of every so many clips, one no longer finds itself


@pytest.fixture(scope="session")
def mined(built: "Built", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mining leaves of all but the first clip of the table."""
    folder = tmp_path_factory.mktemp("mined")
    ids = sorted({row["id"] for row in built.rows})[1:]
    rows = [
        {
            "id": clip,
            "profile_name": profile,
            "mining_rank": 7 if place % LOST == 0 else 1,
            "mining_margin": 0.9 + 0.01 * place + 0.2 * (profile == "lfloss"),
            "mining_found_by_margin": place % LOST != 0,
            "mining_nearest_sentence": "<b>Another</b> sentence.",
        }
        for profile in ("lfloss", "hfloss")
        for place, clip in enumerate(ids)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "clips.parquet")
    confusions = [{"profile": "hfloss", "said": "boat", "became": "<i>goat</i>", "clips": 4}]
    summary = {"reference": "normal", "encoder": "pipeline.mining.SseEncoder", "k": 16}
    content = {**summary, "clips": len(ids), "confusions": confusions}
    (folder / "profiles.json").write_text(json.dumps(content))
    return folder


def test_the_view_shows_what_was_mined_of_the_clips_in_view(
    browser: "Browser", built: "Built", mined: Path, analyze: "Callable[..., Outcome]"
) -> None:
    page = mined / "page.html"
    outcome = analyze("dashboard", built.table, "--mining", mined, "-o", page, "--max-audio", 2)
    assert outcome.status == 0, outcome.err
    browser.log()
    browser.open(page, "split=all")
    browser.view("mining")

    lines = browser.script(
        "return [...document.querySelectorAll('#mining-table tbody tr')]"
        ".map((tr) => [...tr.cells].map((cell) => cell.firstChild.textContent))"
    )
    n = len({row["id"] for row in built.rows}) - 1
    lost = len(range(0, n, LOST))
    margins = 0.9 + 0.01 * np.arange(n)
    assert [line[1] for line in lines] == [str(n)] * 2
    assert {line[2].replace("\u202f", " ") for line in lines} == {f"{100 * lost / n:.1f} %"}
    assert [line[5] for line in lines] == [f"{np.median(margins) + d:.3f}" for d in (0.2, 0)]
    assert browser.script("return document.querySelectorAll('.margin-line').length") == 2
    assert "<i>goat</i>" in browser.text("#confusions")
    assert browser.script("return document.querySelectorAll('#lost tbody tr').length") == 2 * lost
    assert "<b>Another</b> sentence." in browser.text("#lost")

    # A selection holds here too, and what is shown is handed out.
    browser.click("#profiles button:nth-of-type(2)")
    browser.wait(f"document.querySelectorAll('#lost tbody tr').length === {lost}")
    browser.script("document.querySelectorAll('#view-mining button.quiet')[1].click()")
    with browser.downloaded("lost-clips.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == lost
    assert {row["rank"] for row in listed} == {"7"}
    browser.click("#lost button")
    assert browser.script("return document.querySelectorAll('#sample .card').length") == 3
    assert browser.log() == []


def test_without_mining_there_is_no_such_view(opened: "Browser") -> None:
    assert opened.script("return document.querySelector('#views [data-view=mining]')") is None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("profiles.json", None, "profiles.json does not exist; make it with `pipeline mine prof"),
        ("profiles.json", b"{", "profiles.json is not readable"),
        ("profiles.json", b"{}", "is not what `pipeline mine profiles` writes"),
        ("clips.parquet", None, "clips.parquet does not exist"),
        ("clips.parquet", b"PAR1 no", "clips.parquet is not what `pipeline mine profiles` writes"),
        ("clips.parquet", "strangers", "knows no clip of"),
    ],
)
def test_what_is_no_result_of_mining_is_refused_in_one_sentence(
    name: str, content: bytes | str | None, says: str, built: "Built", mined: Path, tmp_path: Path,
    analyze: "Callable[..., Outcome]",
) -> None:  # fmt: skip
    for file in ("profiles.json", "clips.parquet"):
        (tmp_path / file).write_bytes((mined / file).read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        table = pq.read_table(tmp_path / name)
        ids = pa.array([content] * len(table))
        pq.write_table(table.set_column(0, "id", ids), tmp_path / name)
    outcome = analyze("dashboard", built.table, "--mining", tmp_path, "-o", tmp_path / "page.html")

    assert outcome.status == 2
    assert says in outcome.complaint
    assert not (tmp_path / "page.html").exists()
