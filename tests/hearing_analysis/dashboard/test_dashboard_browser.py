"""The dashboard in headless Chromium, opened as a file."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from selenium.webdriver.common.keys import Keys

from hearing_analysis.metrics import align_words

if TYPE_CHECKING:
    from conftest import Browser, Built, Row

    Build = Callable[[list[Row]], Built]
    Rows = Callable[..., list[Row]]

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028<!-- & <b>\u2029end"
AUDIO_LOADED = """(() => {
  const players = [...document.querySelectorAll('#sample audio')];
  return players.length === 3 && players.every((p) => p.readyState >= 2 && p.duration > 0.4);
})()"""
POINTS_DRAWN = """(() => {
  const canvas = document.getElementById('map');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let drawn = 0;
  for (let i = 3; i < data.length; i += 4) drawn += data[i] > 0;
  return drawn;
})()"""


LINES = "document.querySelectorAll('#table tbody tr[data-row]')"


def test_a_click_selects_a_sample_that_can_be_heard(opened: "Browser") -> None:
    opened.view("samples")
    opened.click("#audible")
    opened.wait("document.getElementById('range').textContent.startsWith('24 samples')")
    row = opened.script(f"return {LINES}[4].dataset.row")
    opened.click(f"#table tr[data-row='{row}'] .pick")
    assert opened.wait(f"document.querySelector('.card.selected').dataset.row === '{row}'")
    assert opened.wait(AUDIO_LOADED)
    assert opened.wait("document.querySelector('.frame img').naturalHeight === 80")
    assert opened.log() == []


def test_a_click_plays_and_the_playhead_follows(opened: "Browser") -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    opened.view("samples")
    opened.wait(AUDIO_LOADED)
    player = opened.driver.find_element("css selector", "audio[data-profile=lfloss]")
    opened.script("arguments[0].scrollIntoView({block: 'center'})", player)
    to_button = 20 - player.size["width"] // 2  # the button is at the left end of the controls
    ActionChains(opened.driver).move_to_element_with_offset(player, to_button, 0).click().perform()
    opened.wait("document.querySelector('audio[data-profile=lfloss]').currentTime > 0.1")
    head = "document.querySelector('.card[data-profile=lfloss] .playhead')"
    opened.wait(f"!{head}.hidden && parseFloat({head}.style.left) > 0")
    assert opened.log() == []


def test_the_aligned_text_is_that_of_jiwer(browser: "Browser", built: "Built") -> None:
    row = max(built.samples("all", "hfloss"), key=lambda row: row["word_edits"])
    browser.open(
        built.report.output, f"view=samples&split=all&sample={row['id']}%40{row['profile_name']}"
    )
    shown = browser.script("""
      return [...document.querySelectorAll('.card[data-profile=hfloss] .pair')].map((pair) => [
        pair.className.split(' ')[1], pair.querySelector('.said').textContent,
        pair.querySelector('.heard').textContent])""")
    names = {"equal": "hit", "substitute": "substitution", "delete": "deletion"}
    assert shown == [
        [names.get(edit.kind, "insertion"), edit.reference or "·", edit.hypothesis or "·"]
        for edit in align_words(row["reference"], row["hypothesis"])
    ]
    assert browser.log() == []


def test_the_map_is_drawn_and_selects(opened: "Browser") -> None:
    opened.view("map")
    assert opened.wait(POINTS_DRAWN) > 1000
    before = opened.script("return location.hash")
    found = opened.script("""
      const overlay = document.getElementById('map-overlay');
      const box = overlay.getBoundingClientRect();
      for (let y = 4; y < box.height; y += 6) {
        for (let x = 4; x < box.width; x += 6) {
          const at = {clientX: box.left + x, clientY: box.top + y, bubbles: true};
          overlay.dispatchEvent(new PointerEvent('pointermove', at));
          const tip = document.getElementById('map-tip').textContent;
          const clip = tip.match(/clip_\\d+/)?.[0];
          if (!clip || decodeURIComponent(location.hash).includes(clip)) continue;
          overlay.dispatchEvent(new PointerEvent('pointerdown', at));
          overlay.dispatchEvent(new PointerEvent('pointerup', at));
          return clip;
        }
      }""")
    assert found in opened.text("#sample .facts")
    assert opened.script("return location.hash") != before
    assert opened.log() == []


def test_the_figures_on_screen_are_those_of_the_table(opened: "Browser", built: "Built") -> None:
    for split in ("test", "all"):
        opened.script(
            """const select = document.getElementById('split'); select.value = arguments[0];
            select.dispatchEvent(new Event('change'));""",
            split,
        )
        shown = opened.text("#figures tbody tr:nth-child(3)")
        samples = built.samples(split, "hfloss")
        rate = sum(r["word_edits"] for r in samples) / sum(
            r["word_reference_length"] for r in samples
        )
        assert f"{100 * rate:.1f}\u202f%" in shown
        assert f"hfloss\n{len(samples)}" in shown or f"hfloss {len(samples)}" in shown
    assert len(opened.driver.find_elements("css selector", "#chart path.halo")) == 3
    assert len(opened.driver.find_elements("css selector", "#audiogram .curve")) == 3


def test_what_is_chosen_is_in_the_address_and_comes_back(
    browser: "Browser", built: "Built"
) -> None:
    state = "view=map&split=all&sort=ctc_loss&order=ascending&colour=clip_gender&theme=dark"
    browser.open(built.report.output, state + "&sample=clip_0002%40lfloss&search=clip_000")
    assert browser.text("#sample .facts").startswith("clip_0002 · test")
    assert browser.script("return document.getElementById('colour').value") == "clip_gender"
    assert browser.script("return document.documentElement.dataset.theme") == "dark"
    losses = [row["ctc_loss"] for row in built.rows if row["id"].startswith("clip_000")]
    assert browser.text("#range") == "30 samples of 90"
    first = browser.script(f"return {LINES}[0].dataset.row")
    assert built.rows[int(first)]["ctc_loss"] == min(losses)
    assert "missing" in browser.text("#map-legend")
    browser.click("#theme")
    assert "theme=light" in browser.script("return location.hash")
    assert browser.log() == []


def test_the_keyboard_walks_and_plays(opened: "Browser") -> None:
    opened.view("samples")
    opened.click("#audible")
    opened.wait("document.getElementById('range').textContent.startsWith('24 samples')")
    opened.script("document.activeElement.blur()")
    first = opened.text("#sample .facts")
    opened.press(Keys.ARROW_RIGHT)
    second = opened.text("#sample .facts")
    opened.press(Keys.ARROW_LEFT)
    assert opened.text("#sample .facts") == first != second
    opened.press("2")
    assert (
        opened.script("return document.querySelector('.card.selected').dataset.profile") == "lfloss"
    )
    opened.wait(AUDIO_LOADED)
    scrolled = opened.script("return scrollY")
    opened.press(" ")
    opened.wait("document.querySelector('audio[data-profile=lfloss]').currentTime > 0")
    assert opened.script("return scrollY") == scrolled
    assert opened.log() == []


def test_levels_can_be_matched_while_listening(opened: "Browser") -> None:
    opened.view("samples")
    opened.wait(AUDIO_LOADED)
    opened.click(".sample-tools input")
    opened.script("document.activeElement.blur()")
    opened.press("3")
    opened.press(" ")
    opened.wait("document.querySelector('audio[data-profile=hfloss]').currentTime > 0")
    assert opened.log() == []


def test_errors_only_and_hidden_profiles_narrow_the_table(
    opened: "Browser", built: "Built"
) -> None:
    opened.view("samples")
    opened.click("#errors")
    wrong = [r for r in built.rows if r["split"] == "test" and r["word_edits"]]
    assert opened.wait(f"document.getElementById('range').textContent.includes('{len(wrong)} sa')")
    opened.click("#profiles [data-profile=hfloss]")
    left = [row for row in wrong if row["profile_name"] != "hfloss"]
    assert opened.wait(f"document.getElementById('range').textContent.includes('{len(left)} sa')")


def test_a_clip_without_audio_says_so(browser: "Browser", built: "Built") -> None:
    silent = next(c for c in range(30) if c not in built.content["clips_with_audio"])
    browser.open(built.report.output, f"view=samples&sample=clip_{silent:04d}%40normal")
    assert "No audio of this clip" in browser.text("#sample .card")
    assert browser.log() == []


def test_hostile_text_is_shown_as_it_is(
    browser: "Browser", build: "Build", analysis_rows: "Rows"
) -> None:
    hostile = dict.fromkeys(("sentence", "clip_speaker", "reference", "hypothesis"), HOSTILE)
    built = build([row | hostile for row in analysis_rows(2)])
    browser.open(built.report.output, "view=map&colour=clip_speaker")
    assert browser.script("return document.querySelector('.sentence').textContent") == HOSTILE
    images = browser.script("return [...document.images].map((image) => image.src.slice(0, 14))")
    assert set(images) == {"data:image/png"}
    assert browser.log() == []


def test_two_models_are_compared_row_by_row(
    browser: "Browser", build: "Build", analysis_rows: "Rows"
) -> None:
    built = build(analysis_rows(4) + analysis_rows(4, model="mini-whisper", seed=5))
    assert (built.report.n_clips, built.report.n_samples) == (4, 24)
    browser.open(built.report.output, "view=overview&split=all&model=mini-whisper")
    assert len(browser.driver.find_elements("css selector", "#figures tbody tr")) == 6
    browser.view("samples")
    assert browser.text("#range") == "12 samples"
    assert len(browser.driver.find_elements("css selector", ".card:first-child .heard-by")) == 2
    assert browser.log() == []
