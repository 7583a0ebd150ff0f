"""Photograph every view of the dashboard in headless Chromium: the pictures of docs/dashboard.md.

    python scripts/dashboard_screenshots.py data/demo_analysis

The view that compares two models needs a second run. Without one, it is made of the first: every
transcript of every third clip is replaced by its reference, so that there is something to see.
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from hearing_analysis.dashboard import build_dashboard
from hearing_analysis.reports.commands import find_table

DOCS = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH, DENSITY = 1280, 1
SETTLED = "return document.fonts.status === 'loaded' && document.readyState === 'complete'"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--no-first-run", "--hide-scrollbars"),
    f"--force-device-scale-factor={DENSITY}",
)
# View -> state behind "#", and the height of the picture.
VIEWS = {
    "overview": ("", 960),
    "map": ("arrows=all&where=[[%22text_word_count%22,9,13]]", 800),
    "clusters": ("", 1080),
    "metrics": ("metric=wer&by=text_char_count", 900),
    "words": ("", 900),
    "samples": ("audible=only&sort=id&order=ascending", 960),
    "insights": ("", 960),
}
COMPARED = ("view=compare", 960)


def main() -> None:
    """Build the pages, photograph their views."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="analysis.parquet, or its folder")
    parser.add_argument("--second", type=Path, help="another run, for the comparison")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    table = find_table(arguments.table)
    with tempfile.TemporaryDirectory() as folder:
        second = arguments.second or made_up(table, Path(folder, "better"))
        one, two = Path(folder, "one.html"), Path(folder, "two.html")
        build_dashboard(table, one)
        build_dashboard([table, find_table(second)], two, max_audio=8)
        driver = start(Path(folder))
        try:
            for view, (state, height) in VIEWS.items():
                photograph(
                    driver,
                    one,
                    f"view={view}&{state}",
                    height,
                    arguments.output / f"dashboard-{view}.png",
                )
            photograph(driver, two, *COMPARED, arguments.output / "dashboard-compare.png")
        finally:
            driver.quit()


def made_up(table: Path, folder: Path) -> Path:
    """A second run that makes fewer errors."""
    rows = pq.read_table(table, columns=[n for n in pq.read_schema(table).names if n != "audio"])
    perfect = pa.array([i // 9 % 3 == 0 for i in range(len(rows))])
    changes: dict[str, Any] = {
        "hypothesis": rows["reference"],
        "model": pa.array(["after training"] * len(rows)),
    }
    zeros = [n for n in rows.column_names if n.startswith(("word_", "character_"))]
    hits = {"word_hits": "word_reference_length", "character_hits": "character_reference_length"}
    for name in zeros:
        if not name.endswith("_length"):
            zero = pa.array([0] * len(rows)).cast(rows.schema.field(name).type)
            changes[name] = rows[hits[name]] if name in hits else zero
    for name, values in changes.items():
        mixed = values if name == "model" else pc.if_else(perfect, values, rows[name])
        rows = rows.set_column(rows.column_names.index(name), name, mixed)
    folder.mkdir()
    pq.write_table(rows, folder / "analysis.parquet")
    return folder


def start(folder: Path) -> Any:
    """Start the browser."""
    from selenium import webdriver

    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        raise SystemExit("chromium and chromedriver are needed; install Debian's chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    return webdriver.Chrome(options, webdriver.ChromeService(chromedriver))


def photograph(driver: Any, page: Path, state: str, height: int, path: Path) -> None:
    """Open a page in some state, wait until it is painted, and write the picture."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.set_window_size(WIDTH, height + 140)  # what the window itself takes, and to spare
    driver.get("about:blank")
    driver.get(f"{page.as_uri()}#{state}&theme=light")
    WebDriverWait(driver, 60).until(lambda _: driver.execute_script(SETTLED))
    driver.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done));"
    )
    picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, height)))
    path.parent.mkdir(parents=True, exist_ok=True)
    # A third of the size, and no colour further off than the eye can tell.
    small = picture.quantize(256, kmeans=8, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
