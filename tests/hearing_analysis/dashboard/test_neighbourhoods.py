"""Whose neighbours masked words become: what the page takes from `pipeline sse robustness`."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hearing_analysis.dashboard import build_dashboard
from hearing_analysis.dashboard.neighbourhoods import read_neighbourhoods
from pipeline.errors import InputError, MissingPathError

if TYPE_CHECKING:
    from conftest import Browser, Built

HOSTILE = "</script><img src=x onerror=alert(1)>"


def figures(profile: str, kept: float | None) -> dict[str, Any]:
    return {
        "profile": profile,
        "map_at_r": 0.5,
        "map_across_speakers": None,
        "map_at_r_of_reference_queries": 0.25,
        "displacement": 0.4,
        "words_kept": kept,
    }


RESULT = {
    "segments": 12,
    "words": 5,
    "reference": "normal",
    "profiles": [figures("normal", 1.0), figures("hfloss", 0.25)],
    "confusion": {
        "words": ["six", "gives", HOSTILE],
        "counts": {
            "normal": [[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0]],
            "hfloss": [[1, 3, 0, 0], [0, 4, 0, 0], [0, 0, 1, 3]],
        },
    },
}


def written(folder: Path, result: Any) -> Path:
    (folder / "robustness.json").write_text(json.dumps(result))
    return folder


def test_the_page_shows_where_words_went(
    browser: "Browser", built: "Built", tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    build_dashboard(built.table, page, max_audio=0, words=written(tmp_path, RESULT))
    browser.log()
    browser.open(page, "view=words")
    cells = "document.querySelectorAll('.word-matrix')[1].querySelectorAll('rect title')"
    told = browser.script(f"return [...{cells}].map((title) => title.textContent)")
    assert told == [
        "six lies nearest to six: 1 of 4",
        "six lies nearest to gives: 3 of 4",
        "gives lies nearest to gives: 4 of 4",
        f"{HOSTILE} lies nearest to {HOSTILE}: 1 of 4",
        f"{HOSTILE} lies nearest to other words: 3 of 4",
    ]
    assert "25\u202f%" in browser.text("#view-words .panel.below table")
    assert browser.log() == []
    browser.open(built.report.output, "view=words")
    assert browser.script("return document.querySelectorAll('.word-matrix').length") == 0


def test_the_folder_or_its_file_may_be_named(tmp_path: Path) -> None:
    folder = written(tmp_path, RESULT)
    found = read_neighbourhoods(folder)
    assert found == read_neighbourhoods(folder / "robustness.json")
    assert found.words == ("six", "gives", HOSTILE)
    assert found.profiles[1].counts[2] == (0, 0, 1, 3)
    assert found.profiles[1].words_kept == 0.25


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("confusion"),
        lambda found: found.update(profiles=[]),
        lambda found: found["profiles"][0].update(words_kept="much"),
        lambda found: found["profiles"][0].update(displacement=float("nan")),
        lambda found: found["profiles"][0].update(profile=["normal"]),
        lambda found: found["confusion"].update(words=["six"]),
        lambda found: found["confusion"].update(words="six"),
        lambda found: found["confusion"]["counts"].pop("hfloss"),
        lambda found: found["confusion"]["counts"].update(hfloss=[[1], [2], [3]]),
    ],
)
def test_what_is_not_its_result_is_refused(tmp_path: Path, change: Change) -> None:
    result = deepcopy(RESULT)
    change(result)
    with pytest.raises(InputError, match="is not what `pipeline sse robustness` writes; make it"):
        read_neighbourhoods(written(tmp_path, result))


def test_what_is_missing_or_no_json_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=r"robustness\.json does not exist; make it with"):
        read_neighbourhoods(tmp_path)
    (tmp_path / "robustness.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is not readable; make it with"):
        read_neighbourhoods(tmp_path)
    with pytest.raises(InputError, match="is not what"):
        read_neighbourhoods(written(tmp_path, [1]))
