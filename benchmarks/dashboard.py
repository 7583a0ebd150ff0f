"""Open the dashboard of a large table in headless Chromium, and ask the browser how long it took.

    python benchmarks/dashboard.py --samples 100000

The table is made up: every column of ``analysis.parquet``, random sentences and errors, no audio.
Times are those of the browser's own performance API: opening is from the start of navigation to the
end of the page's script, a change of view or filter from the call to the second frame after it,
when it has been painted.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hearing_analysis.dashboard import build_dashboard
from hearing_analysis.evaluate import analysis_schema
from hearing_analysis.metrics import batch_character_errors, batch_word_errors

PROFILES = {"normal": 0.1, "lfloss": 0.4, "hfloss": 0.6}
N_WORDS = 8000
N_DIMS = 96
ROWS_PER_GROUP = 3000
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--no-first-run", "--window-size=1440,900"),
)
OPENED = """
const [navigation] = performance.getEntriesByType('navigation');
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return {opened: navigation.domContentLoadedEventEnd, painted: paint ? paint.startTime : null};
"""
CHANGED = """
const done = arguments[arguments.length - 1];
const start = performance.now();
const hash = new URLSearchParams(location.hash.slice(1));
for (const [key, value] of Object.entries(arguments[0])) hash.set(key, value);
location.hash = hash.toString();
addEventListener('hashchange', () => requestAnimationFrame(() =>
  requestAnimationFrame(() => done(performance.now() - start))), {once: true});
"""
STEPS = (
    ("map", {"view": "map"}),
    ("map, another colour", {"view": "map", "colour": "text_word_count"}),
    ("lasso on the map", {"lasso": "table:-1,-1;1,-1;1,1;-1,1"}),
    ("no lasso", {"lasso": ""}),
    ("clusters", {"view": "clusters"}),
    ("metrics", {"view": "metrics"}),
    ("words", {"view": "words"}),
    ("insights", {"view": "insights"}),
    ("samples", {"view": "samples"}),
    ("sort by CTC loss", {"sort": "ctc_loss"}),
    ("search", {"search": "w12"}),
    ("overview of the search", {"view": "overview"}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000)
    n_samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as folder:
        table, page = Path(folder, "analysis.parquet"), Path(folder, "dashboard.html")
        write_table(table, n_samples // len(PROFILES))
        start = time.process_time()
        report = build_dashboard(table, page, max_audio=0)
        print(f"{report.n_samples:,} samples: built in {time.process_time() - start:.0f} CPU s")
        print(f"page: {report.megabytes:.1f} MB")
        measure(page, Path(folder))


def measure(page: Path, folder: Path) -> None:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        print("chromium and chromedriver are not installed; nothing to open the page with")
        return
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    driver.set_script_timeout(120)
    try:
        driver.get(page.as_uri())
        times = driver.execute_script(OPENED)
        print(f"{'open':>24} {times['opened'] / 1000:6.2f} s")
        for name, change in STEPS:
            print(f"{name:>24} {driver.execute_async_script(CHANGED, change) / 1000:6.2f} s")
    finally:
        driver.quit()


def write_table(path: Path, n_clips: int) -> None:
    """Write clip by clip, profile by profile, some rows at a time."""
    random = np.random.default_rng(0)
    schema = analysis_schema()
    clips_per_group = ROWS_PER_GROUP // len(PROFILES)
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, n_clips, clips_per_group):
            clips = range(first, min(first + clips_per_group, n_clips))
            writer.write_table(some_rows(schema, clips, random))


def some_rows(schema: pa.Schema, clips: range, random: np.random.Generator) -> pa.Table:
    profiles = list(PROFILES) * len(clips)
    n_rows = len(profiles)
    said = [random.zipf(1.3, random.integers(4, 14)) % N_WORDS for _ in clips]
    references = [" ".join(f"W{word}" for word in words) for words in said for _ in PROFILES]
    hypotheses = [
        " ".join(
            f"W{word}" if random.random() > PROFILES[profile] else f"W{random.integers(N_WORDS)}"
            for word in said[row // len(PROFILES)]
        )
        for row, profile in enumerate(profiles)
    ]
    words = batch_word_errors(references, hypotheses)
    characters = batch_character_errors(references, hypotheses)
    ids = [f"clip_{clip:07d}" for clip in clips for _ in PROFILES]
    clusters = random.integers(0, 5, n_rows)
    latents = random.normal(size=(n_rows, N_DIMS)) + clusters[:, None]
    values: dict[str, list] = {
        "id": ids,
        "sample_id": [f"{clip}@{profile}" for clip, profile in zip(ids, profiles, strict=True)],
        "profile_name": profiles,
        "split": [("test", "train")[int(clip[-7:]) % 2] for clip in ids],
        "model": ["model"] * n_rows,
        "sentence": references,
        "reference": references,
        "hypothesis": hypotheses,
        "latent": latents.astype(np.float32).tolist(),
        "cluster": clusters.tolist(),
        "audio": [{"bytes": None, "path": None}] * n_rows,
        "clip_speaker": [f"speaker {int(clip[-7:]) % 900}" for clip in ids],
    }
    for unit, counts in (("word", words), ("character", characters)):
        columns = [count.columns(unit) for count in counts]
        values |= {name: [column[name] for column in columns] for name in columns[0]}
    return pa.table([column(field, values, n_rows, random) for field in schema], schema=schema)


def column(field: pa.Field, values: dict[str, list], n_rows: int, random) -> pa.Array:
    if field.name in values:
        return pa.array(values[field.name], field.type)
    if pa.types.is_boolean(field.type):
        return pa.array([False] * n_rows, field.type)
    if pa.types.is_floating(field.type):
        return pa.array(random.normal(size=n_rows), field.type)
    if pa.types.is_integer(field.type):
        return pa.array(random.integers(0, 30, n_rows), field.type)
    if pa.types.is_string(field.type):
        return pa.array([f"value {number}" for number in random.integers(0, 9, n_rows)])
    return pa.nulls(n_rows, field.type)


if __name__ == "__main__":
    main()
