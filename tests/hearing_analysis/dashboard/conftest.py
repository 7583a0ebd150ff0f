"""A small analysis table, the page built from it, and a browser to open it in."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_outcome import Outcome

from hearing_analysis.dashboard import DashboardReport, build_dashboard
from hearing_analysis.metrics import character_errors, word_errors
from pipeline.audio import SAMPLING_RATE, encode_audio

Row = dict[str, Any]

PROFILES = {  # dB HL at 125 Hz, 250 Hz ... 8 kHz; the share of words each loses
    "normal": ((10, 10, 10, 10, 10, 10, 10), 0.1),
    "lfloss": ((80, 75, 60, 40, 20, 10, 10), 0.3),
    "hfloss": ((10, 10, 20, 40, 65, 85, 100), 0.6),
}
OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
SENTENCE = "the boat left harbour at dawn while gulls turned above quiet water and old nets"
CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run", "--window-size=1280,800"),
)


@dataclass(frozen=True)
class Built:
    """A built page with the rows it was built from."""

    rows: list[Row]
    table: Path
    report: DashboardReport

    @cached_property
    def page(self) -> str:
        return self.report.output.read_bytes().decode()

    @cached_property
    def blocks(self) -> dict[str, str]:
        return data_blocks(self.page)

    @cached_property
    def content(self) -> dict[str, Any]:
        return json.loads(self.blocks["analysis"])

    def column(self, name: str) -> list[Any]:
        """Values of a column, decoded as the page does."""
        names = [column["name"] for column in self.content["columns"]]
        return decode_column(self.heavy(f"column-{names.index(name)}"))

    def heavy(self, name: str) -> Any:
        """What the page reads when it is first needed."""
        return json.loads(self.blocks[f"data-{name}"])

    def group(self, split: str, profile: str) -> dict[str, Any]:
        groups = self.content["overview"]
        return next(g for g in groups if (g["split"], g["profile"]) == (split, profile))

    def samples(self, split: str, profile: str) -> list[Row]:
        mine = [row for row in self.rows if row["profile_name"] == profile]
        return [row for row in mine if split in ("all", row["split"])]


class Browser:
    """A page in headless Chromium."""

    def __init__(self, profile: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.downloads = profile / "downloads"
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(self.downloads)}
        )
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
        self.driver.set_script_timeout(30)
        self.driver.set_window_size(1280, 900)

    def open(self, page: Path, state: str = "") -> None:
        self.driver.get("about:blank")  # else only the part behind "#" would change
        self.driver.get(page.resolve().as_uri() + (f"#{state}" if state else ""))

    def visit(self, address: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(address)

    def view(self, name: str) -> None:
        """Turn to a view by its tab."""
        self.click(f"#views [data-view={name}]")

    def drag(self, selector: str, places: list[tuple[float, float]]) -> None:
        """Press the mouse, draw through places (shares of the element's size), and let go."""
        from selenium.webdriver.common.action_chains import ActionChains

        element = self.driver.find_element("css selector", selector)
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)
        width, height = element.size["width"], element.size["height"]
        chain = ActionChains(self.driver, duration=10)
        for number, (x, y) in enumerate(places):
            chain.move_to_element_with_offset(
                element, round((x - 0.5) * width), round((y - 0.5) * height)
            )
            if number == 0:
                chain.click_and_hold()
        chain.release().perform()

    def downloaded(self, name: str) -> Path:
        """Wait for a file that the page hands out, and take it out of the folder."""
        from selenium.webdriver.support.ui import WebDriverWait

        path = self.downloads / name
        WebDriverWait(self.driver, 20).until(lambda _: path.is_file(), f"{name} never came")
        return path.rename(path.with_name(f"{len(list(self.downloads.iterdir()))}-{name}"))

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def wait(self, condition: str, seconds: float = 20) -> Any:
        """Wait until a JavaScript expression is true and return its value."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds).until(
            lambda _: self.script(f"return {condition}"), f"never true: {condition}"
        )

    def press(self, keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(keys).perform()

    def log(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def text(self, selector: str) -> str:
        return self.driver.find_element("css selector", selector).text


@pytest.fixture(scope="session")
def analysis_rows() -> Callable[..., list[Row]]:
    return make_rows


@pytest.fixture
def build(tmp_path: Path) -> Callable[[list[Row]], Built]:
    """Write rows as a table and build its page."""
    return lambda rows: build_page(rows, tmp_path)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """30 clips under 3 profiles, 8 of them with audio."""
    return build_page(make_rows(30), tmp_path_factory.mktemp("dashboard"), max_audio=8)


@pytest.fixture(scope="session")
def decode() -> Callable[[dict[str, Any]], list[Any]]:
    return decode_column


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("no chromium and chromedriver were found to open the page with")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def opened(browser: Browser, built: Built) -> Browser:
    browser.log()
    browser.open(built.report.output)
    return browser


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tables of two models on the same clips; the second one is better under a loss."""
    paths = []
    for name, seed, skill in (("before", 0, 1.0), ("after", 5, 0.4)):
        path = tmp_path_factory.mktemp(name) / "analysis.parquet"
        pq.write_table(pa.Table.from_pylist(make_rows(20, seed=seed, skill=skill)), path)
        paths.append(path)
    return paths[0], paths[1]


@pytest.fixture
def analyze(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run ``analyze`` with some arguments in this process."""
    from hearing_analysis.cli import app
    from pipeline.command import run_app

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(app, [str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(int(str(ended.value.code)), out, err)

    return run


def make_rows(
    n_clips: int, model: str = "mini-wav2vec2", seed: int = 0, skill: float = 1.0
) -> list[Row]:
    """Rows of an analysis table: every clip under every profile, with tones for speech.

    Sentences and sounds are the same for every seed; what is recognised is not.
    """
    said, random = np.random.default_rng(0), np.random.default_rng(seed)
    rows = []
    for clip in range(n_clips):
        split = ("test", "validation", "train")[0 if clip < n_clips // 2 else 1 + clip % 2]
        words = list(said.choice(SENTENCE.split(), size=said.integers(3, 9)))
        seconds = float(said.uniform(0.5, 1.5))
        for number, (profile, (thresholds, loss)) in enumerate(PROFILES.items()):
            heard = [str(word) for word in words if random.random() > skill * loss]
            heard += ["uh"] * int(random.random() < loss / 2)
            place = random.normal(size=2) + 2 * number
            noise = random.normal(size=8)
            rows.append(
                _sample_row(f"clip_{clip:04d}", profile, split, model, words, heard)
                | {
                    f"profile_attenuation_db_{hz}_hz": float(thresholds[i])
                    for i, hz in enumerate(OCTAVES_HZ)
                }
                | {
                    "audio_duration_s": seconds,
                    "audio_spectral_flatness_mean": float(random.uniform(1e-5, 1e-3)),
                    "text_word_count": len(words),
                    "clip_speaker": f"speaker {clip % 4}",
                    "clip_gender": None if clip % 5 == 0 else ("female", "male")[clip % 2],
                    "ctc_loss": float(random.gamma(3, 10 * (loss + 0.1))),
                    "truncated": clip == 3,
                    "latent": (noise + 3 * number).astype(np.float32).tolist(),
                    "x": float(place[0]),
                    "y": float(place[1]),
                    "cluster": int(random.integers(4)),
                    "audio": {"bytes": _tones(seconds, thresholds), "path": f"{clip}.flac"},
                }
            )
    return rows


def _sample_row(
    clip: str, profile: str, split: str, model: str, words: list[str], heard: list[str]
) -> dict[str, Any]:
    reference, hypothesis = " ".join(words).upper(), " ".join(heard).upper()
    return {
        "sample_id": f"{clip}@{profile}",
        "id": clip,
        "profile_name": profile,
        "split": split,
        "model": model,
        "sentence": " ".join(words).capitalize() + ".",
        "reference": reference,
        "hypothesis": hypothesis,
        **word_errors(reference, hypothesis).columns("word"),
        **character_errors(reference, hypothesis).columns("character"),
    }


def _tones(seconds: float, thresholds: tuple[int, ...]) -> bytes:
    """One tone per octave below 8 kHz, each as much weaker as the profile hears it."""
    t = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    chord = sum(
        0.08 * 10 ** (-level / 20) * np.sin(2 * np.pi * hz * t)
        for hz, level in zip(OCTAVES_HZ[:-1], thresholds[:-1], strict=True)
    )
    return encode_audio(np.asarray(chord, dtype=np.float32), SAMPLING_RATE)


def build_page(rows: list[Row], folder: Path, max_audio: int = 60) -> Built:
    table = folder / "analysis.parquet"
    pq.write_table(pa.Table.from_pylist(rows), table)
    return Built(
        rows, table, build_dashboard(table, folder / "out" / "dashboard.html", max_audio=max_audio)
    )


def decode_column(column: dict[str, Any]) -> list[Any]:
    kind, data = column["array"]["type"], base64.b64decode(column["array"]["data"])
    values = np.frombuffer(data, dtype=f"<{kind}").tolist()
    return values if column["dictionary"] is None else [column["dictionary"][v] for v in values]


def data_blocks(page: str) -> dict[str, str]:
    """Text of every JSON element by its id, as an HTML parser sees it."""

    class Parser(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.blocks: dict[str, str] = {}
            self.inside: str | None = None
            self.tags: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)
            attributes = dict(attrs)
            if tag == "script" and attributes.get("type") == "application/json":
                self.inside = str(attributes["id"])
                self.blocks[self.inside] = ""

        def handle_endtag(self, tag: str) -> None:
            self.inside = None

        def handle_data(self, data: str) -> None:
            if self.inside is not None:
                self.blocks[self.inside] += data

    parser = Parser()
    parser.feed(page)
    assert "img" not in parser.tags
    return parser.blocks
