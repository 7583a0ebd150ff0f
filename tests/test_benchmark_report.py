"""The report of the benchmarks, which is made piece by piece."""

import json
import re
from pathlib import Path

import pytest

from hearing_analysis.config import ROOT


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import report

    return report


def result(report, name: str):
    lines = ["2.0 times as fast (1.5 to 2.5 over 5 repeats), 3.0 times less", "nothing"]
    ratios = report.ratios_in(lines)
    return report.Result(name, "Faster.", 0, lines, ratios, 1.0, 2.0, 3.0, "2026-01-02")


def test_what_was_written_is_read_again(report, tmp_path: Path):
    written = [result(report, name) for name in ("logmel", "masking")]
    report.write_report(tmp_path, written)

    assert list(report.read_results(tmp_path / "report.json", {"logmel", "masking"}).values()) == (
        written
    )
    assert list(report.read_results(tmp_path / "report.json", {"masking"})) == ["masking"]


def test_every_row_of_the_table_has_its_columns(report, tmp_path: Path):
    report.write_report(tmp_path, [result(report, "masking")])

    table = [line for line in (tmp_path / "report.md").read_text().splitlines() if line[:1] == "|"]
    assert len(table) == 3
    assert len({line.count("|") for line in table}) == 1
    assert "| 2.0× (1.5–2.5); 3.0× |" in table[-1]
    assert "2026-01-02" in table[-1]


def test_of_many_ratios_the_ends_are_told(report):
    lines = [f"{ratio} times as fast" for ratio in ("9.5", "1,200", "0.5", "80", "7", "3", "2")]
    assert report.describe(report.ratios_in(lines)) == "7 ratios from 0.5× to 1,200×"


def test_figures_of_another_machine_are_not_kept(report, tmp_path: Path, monkeypatch):
    report.write_report(tmp_path, [result(report, "masking")])
    monkeypatch.setattr(report.os, "cpu_count", lambda: 1234)

    assert report.read_results(tmp_path / "report.json", {"masking"}) == {}


def test_the_readme_says_what_the_report_says(report):
    section = (ROOT / "README.md").read_text().split("## How fast it is")[1].split("\n## ")[0]
    kept = json.loads((ROOT / "benchmarks" / "report.json").read_text())["benchmarks"]
    measured = {b["name"]: [report.describe([r]) for r in b["ratios"]] for b in kept}
    rows = re.findall(r"^\|.*\| (\d\S*×.*) \| `(\w+)` \|$", section, re.MULTILINE)
    assert len(rows) > 5
    for ratio, name in rows:
        assert ratio in measured[name]
