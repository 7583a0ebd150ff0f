"""Build ``dashboard.html``: one page, no network, opens by double click.

The page is assembled from the templates beside this module. Every sentence travels as JSON inside
``<script type="application/json">`` with ``<`` escaped, so that no text of the corpus can end the
element or become markup; a content security policy admits our one script and one style by hash.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from hearing_analysis.dashboard.clips import (
    choose_clips,
    embed_clips,
    embedded_bytes,
    move_to_folder,
)
from hearing_analysis.dashboard.content import PageContent, page_content
from hearing_analysis.dashboard.mining import read_mining
from hearing_analysis.dashboard.neighbourhoods import read_neighbourhoods
from hearing_analysis.reports.table import AnalysisTable, read_tables
from pipeline.corpus import write_atomically
from pipeline.errors import InputError

# In the order they run; each file begins with a sentence that says what it holds.
SCRIPTS = (
    *("dom.js", "format.js", "data.js", "state.js", "colour.js", "shapes.js", "tooltip.js"),
    *("statistics.js", "metrics.js", "figure.js", "alignment.js"),
    *("views.js", "toolbar.js", "filter.js", "chips.js", "parquet.js", "export.js"),
    *("overview.js", "chart.js", "multiples.js", "audiogram.js"),
    *("map.js", "mapview.js", "lasso.js", "neighbours.js", "clusters.js"),
    *("relation.js", "heatmap.js", "findings.js", "words.js", "phones.js"),
    *("neighbourhoods.js", "insights.js", "mining.js"),
    *("compare.js", "samples.js", "player.js", "sample.js", "main.js"),
)
AUDIO_FOLDER = "audio"


@dataclass(frozen=True)
class DashboardReport:
    """What was built.

    Attributes
    ----------
    output : Path
        The page.
    n_samples, n_clips : int
        Rows of the table, and clips among them.
    n_clips_with_audio : int
        Clips that can be listened to in the page.
    n_bytes : int
        Size of the page.
    audio_folder : Path, optional
        Where the sounds are when they are too large for the page.
    """

    output: Path
    n_samples: int
    n_clips: int
    n_clips_with_audio: int
    n_bytes: int
    audio_folder: Path | None

    @property
    def megabytes(self) -> float:
        """Size of the page in MB (10^6 bytes)."""
        return self.n_bytes / 1e6


def build_dashboard(
    tables: Path | Sequence[Path],
    output: Path,
    *,
    max_audio: int = 40,
    max_page_mb: float = 50.0,
    words: Path | None = None,
    mining: Path | None = None,
) -> DashboardReport:
    """Write the dashboard of an analysis table, or of several; the same tables, the same bytes.

    Parameters
    ----------
    tables : Path, or sequence of Path
        ``analysis.parquet``, a row per clip, profile and model.
    output : Path
        The page to write; its folder is made when missing.
    max_audio : int
        Clips that can be listened to, each under every profile.
    max_page_mb : float
        Audio beyond this size, in MB, goes into a folder ``audio`` beside the page.
    words : Path, optional
        What ``pipeline sse robustness`` has made: whose neighbours masked words become.
    mining : Path, optional
        What ``pipeline mine profiles`` has made: which clips no longer find themselves.

    Raises
    ------
    MissingPathError
        If a table does not exist.
    InputError
        If one is not an analysis table, or ``max_audio`` is negative.
    """
    if max_audio < 0:
        raise InputError(f"max_audio is {max_audio}; give 0 (no audio) or more")
    if output.is_dir():
        raise InputError(f"{output} is a folder; name the page to write, {output / 'page.html'}")
    analysis = read_tables([tables] if isinstance(tables, Path) else tables)
    chosen = choose_clips(analysis, max_audio)
    folder = None
    if embedded_bytes(analysis, chosen) > max_page_mb * 1e6:
        folder = output.parent / AUDIO_FOLDER
    source = "page" if folder is None else "folder"
    found = None if words is None else read_neighbourhoods(words)
    content = page_content(
        analysis,
        chosen,
        version=page_version(),
        audio_source=source,
        neighbourhoods=found,
        mining=None if mining is None else read_mining(mining, analysis),
    )
    page = assemble_page(content, _clip_blocks(analysis, chosen, folder)).encode()
    write_atomically(output, page)
    return DashboardReport(
        output, analysis.n_rows, analysis.n_clips, len(chosen), len(page), folder
    )


def _clip_blocks(
    table: AnalysisTable, chosen: Sequence[int], folder: Path | None
) -> Iterator[tuple[str, Any]]:
    for clip in embed_clips(table, chosen):
        moved = clip if folder is None else move_to_folder(clip, folder)
        yield f"clip-{clip.clip}", asdict(moved)


def assemble_page(content: PageContent, clips: Iterator[tuple[str, Any]]) -> str:
    """Put style, scripts and data into ``page.html``."""
    style, script = _template("page.css"), page_script()
    heavy = content.heavy_as_json()
    blocks = [_data_element("analysis", content.as_json())]
    blocks += [_data_element(f"data-{name}", value) for name, value in heavy.items()]
    blocks += [_data_element(name, value) for name, value in clips]
    page = _template("page.html")
    # Data come last: they hold no "<", so nothing in them can look like a placeholder.
    for placeholder, text in (
        ("<!-- policy -->", _policy(style, script, content.audio_source)),
        ("<!-- style -->", f"<style>{style}</style>"),
        ("<!-- script -->", f"<script>{script}</script>"),
        ("<!-- data -->", "\n".join(blocks)),
    ):
        page = page.replace(placeholder, text, 1)
    return page


@cache
def page_script() -> str:
    """Return the page's one script: all files of ``scripts/`` inside one function scope."""
    parts = "\n".join(_template(f"scripts/{name}") for name in SCRIPTS)
    return f"(() => {{\n'use strict';\n{parts}}})();\n"


def inert_json(value: object) -> str:
    """JSON that is safe inside an HTML ``<script>`` element.

    ``<``, ``>`` and ``&`` could end the element or start a comment in it; U+2028 and U+2029 end a
    line in old JavaScript parsers. As JSON escapes they are plain characters of a string.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data_element(name: str, value: object) -> str:
    return f'<script type="application/json" id="{name}">{inert_json(value)}</script>'


# Where pictures and sounds may come from.
_MEDIA = {
    "page": ("data:", "blob:"),
    "folder": ("data: file:", "blob: file:"),
    "server": ("data: 'self'", "blob: 'self'"),
}


def _policy(style: str, script: str, audio_source: str) -> str:
    """Allow our script and style and our media; forbid everything else, network included."""
    pictures, sounds = _MEDIA[audio_source]
    rules = (
        "default-src 'none'",
        f"script-src {_digest(script)}",
        f"style-src {_digest(style)}",
        f"img-src {pictures}",
        f"media-src {sounds}",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">'


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _template(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def page_version() -> str:
    """Version that the page names."""
    try:
        return metadata.version("hearing-analysis")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "development version"
