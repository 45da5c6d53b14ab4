"""The studio as a person meets it: `limner studio` in a process of its own, and headless Chromium.

Needs chromium and chromedriver; `AXE` may name axe-core's axe.min.js for the check of accessibility, `SHOTS` a folder for
screenshots.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests import tiny as cascade  # noqa: E402
from tests.studio.conftest import png  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AXE, SHOTS = os.environ.get("AXE"), os.environ.get("SHOTS")
PATIENCE = float(os.environ.get("PATIENCE", "60"))  # seconds; the machine may be busy
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,960")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore"),  # selenium's sockets
]


class Page:
    """A browser on the studio."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self) -> None:
        self.driver.get(self.url)
        self.see("#lm-draw-go")

    def all(self, selector: str) -> list[Any]:
        return [each for each in self.driver.find_elements(By.CSS_SELECTOR, selector) if each.is_displayed()]

    def see(self, selector: str) -> Any:
        return self.until(lambda: next(iter(self.all(selector)), None), selector)

    def until(self, true: Callable[[], Any], what: str) -> Any:
        """Wait for something; what is replaced while one looks is looked at again."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                found = true()
            except WebDriverException:
                found = None
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(
            f"not seen within {PATIENCE} s: {what}\n{self.driver.find_element(By.TAG_NAME, 'body').text[:2000]}"
        )

    def click(self, selector: str) -> None:
        def clicked() -> bool:
            self.all(selector)[0].click()
            return True

        self.until(lambda: self.all(selector) and clicked(), f"{selector} to click on")

    def tab(self, name: str) -> None:
        tabs = "button[role=tab]"
        self.until(lambda: next((each for each in self.all(tabs) if each.text == name), None), name).click()

    def write(self, selector: str, text: str) -> None:
        field = self.see(selector)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def says(self, tab: str, words: str) -> None:
        self.until(lambda: words in self.see(f"#lm-{tab}-status").text, f"the status '{words}'")

    def script(self, code: str) -> Any:
        return self.driver.execute_script(code)

    def shot(self, name: str) -> None:
        if SHOTS:
            time.sleep(0.5)
            self.driver.save_screenshot(str(Path(SHOTS) / f"{name}.png"))


@contextlib.contextmanager
def studio(folder: Path, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A studio of the tiny cascade and of the bundled models: its address and its process."""
    model = folder / "tiny" if (folder / "tiny").exists() else cascade.save(folder / "tiny")
    command = [sys.executable, "-m", "limner", "studio", "--no-browser", "--port", str(port)]
    command += ["--data", str(folder / "data"), "--models", str(model), "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        try:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/studio/", said), said
            yield said, process
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with studio(tmp_path_factory.mktemp("studio")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield Page(driver, url)
    finally:
        driver.quit()


@pytest.fixture
def telephone(page: Page) -> Iterator[None]:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(autouse=True)
def _opened(page: Page) -> Iterator[None]:
    page.open()
    yield
    # Whatever was still being drawn is no part of the next test.
    page.script("localStorage.clear(); sessionStorage.clear()")


def choose(page: Page, tab: str, model: str) -> None:
    field = f"#lm-{tab}-model input"
    page.write(field, model)
    option = f'[role=option][aria-label="{model}"]'
    page.click(option)
    page.until(lambda: page.see(field).get_attribute("value") == model, f"the model {model}")


def draw(page: Page, prompt: str, model: str = "tiny", *, n: int = 1) -> None:
    choose(page, "draw", model)
    if n > 1:
        page.write("#lm-draw-n input[type=number]", str(n))
        page.see("#lm-draw-n input[type=number]").send_keys(Keys.TAB)
    page.write("#lm-draw-prompt textarea", prompt)
    page.see("#lm-draw-prompt textarea").send_keys(Keys.CONTROL, Keys.ENTER)


def faults(page: Page) -> list[str]:
    """Serious and critical faults that axe-core finds."""
    page.script(Path(str(AXE)).read_text(encoding="utf-8"))
    wanted = "{rules: {'target-size': {enabled: true}}}"  # WCAG 2.2
    found = page.driver.execute_async_script(f"const done = arguments[0]; axe.run(document, {wanted}).then(done)")
    assert len(found["passes"]) > 20
    return [
        f"{fault['id']}: {node['html'][:120]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def test_words_become_a_picture_with_previews_on_the_way(page: Page) -> None:
    draw(page, "a red fox", model="glide-shapes")
    page.see("#lm-draw-stage progress")
    page.see("#lm-draw-stage img.lm-preview")
    page.says("draw", "Done: 1 picture")
    picture = page.see("#lm-draw-stage figure img")
    assert picture.get_attribute("alt") == "a red fox"
    page.until(
        lambda: page.script("return document.querySelector('#lm-draw-stage img').naturalWidth") == 32, "the picture's pixels"
    )


def test_the_words_that_are_cut_are_marked(page: Page) -> None:
    choose(page, "draw", "tiny")
    page.write("#lm-draw-prompt textarea", "a red fox in a house " * 8)
    assert "house" in page.see(".lm-over mark").text


def test_typed_words_outlive_a_reload(page: Page) -> None:
    choose(page, "draw", "tiny")
    page.write("#lm-draw-prompt textarea", "a half-written fox")
    page.open()
    page.until(lambda: page.see("#lm-draw-prompt textarea").get_attribute("value") == "a half-written fox", "the words")


def test_a_job_can_be_cancelled_with_escape(page: Page) -> None:
    draw(page, "a slow fox", model="glide-emoji", n=8)
    page.see("#lm-draw-stage .lm-progress")
    page.until(lambda: page.see("#lm-draw-cancel").is_enabled(), "cancel")
    page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    page.says("draw", "Cancelled")


def test_a_setting_that_the_model_refuses_is_said_in_one_line(page: Page) -> None:
    choose(page, "draw", "glide-shapes")
    page.click(".lm-fields .label-wrap")
    page.write("#lm-draw-steps input[type=number]", "250")
    page.see("#lm-draw-steps input[type=number]").send_keys(Keys.TAB)
    page.click("#lm-draw-go")
    page.until(lambda: "take fewer steps" in page.see(".toast-body").text, "a toast")


def test_a_slider_that_was_emptied_draws_all_the_same(page: Page) -> None:
    page.write("#lm-draw-prompt textarea", "a fox")
    choose(page, "draw", "tiny")
    page.click(".lm-fields .label-wrap")
    field = page.see("#lm-draw-steps input[type=number]")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    field.send_keys(Keys.CONTROL, Keys.ENTER)
    page.says("draw", "Done: 1 picture")
    assert field.get_attribute("value")


def test_a_job_goes_on_when_the_page_is_loaded_again(page: Page) -> None:
    draw(page, "a patient fox", model="glide-emoji", n=4)
    page.see("#lm-draw-stage .lm-progress")
    page.open()
    page.until(lambda: "a patient fox" in page.see("#lm-draw-stage h2").text, "the same job")
    page.says("draw", "Done: 4 pictures")


def test_two_windows_show_and_cancel_what_each_of_them_ordered(page: Page) -> None:
    first = page.driver.current_window_handle
    draw(page, "a fox of the first", model="glide-emoji", n=8)
    page.see("#lm-draw-stage .lm-progress")
    page.driver.switch_to.new_window("tab")
    second = page.driver.current_window_handle
    page.open()
    page.see("#lm-draw-stage .lm-empty")
    draw(page, "a fox of the second")
    page.until(lambda: "of the second" in page.see("#lm-draw-stage h2").text, "the second's own job")
    page.until(lambda: page.see("#lm-draw-cancel").is_enabled(), "cancel")
    page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    page.says("draw", "Cancelled")
    page.driver.switch_to.window(first)
    page.open()
    page.until(lambda: "of the first" in page.see("#lm-draw-stage h2").text, "the first's own job")
    assert "Cancelled" not in page.see("#lm-draw-status").text
    page.until(lambda: page.see("#lm-draw-cancel").is_enabled(), "cancel")
    page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    page.says("draw", "Cancelled")
    page.driver.switch_to.window(second)
    page.driver.close()
    page.driver.switch_to.window(first)


def test_another_model_in_mid_job_is_for_the_next_one(page: Page) -> None:
    draw(page, "an old fox", model="glide-emoji")
    page.see("#lm-draw-stage .lm-progress")
    choose(page, "draw", "tiny")
    for name in ("History", "Draw"):
        page.tab(name)
    page.write("#lm-draw-prompt textarea", "a new fox")
    page.click("#lm-draw-go")
    page.until(lambda: "a new fox" in page.see("#lm-draw-stage h2").text, "the next job")
    page.says("draw", "Done: 1 picture")
    assert "tiny" in page.see("#lm-draw-stage .lm-head p").text


def test_an_upload_that_is_no_picture_is_refused_in_one_line(page: Page, tmp_path: Path) -> None:
    page.tab("Edit")
    whole = png(size=(300, 200))
    wrong = {
        "cut.png": (whole[: len(whole) // 2], "cut.png: broken, or no picture"),
        "text.png": (b"no picture", "text.png: broken, or no picture"),
        "nothing.png": (b"", "nothing.png: broken, or no picture"),
        "<i>large's 🦊.png": (whole + bytes(21 * 2**20), "<i>large's 🦊.png: has 22 MB; at most 20 are taken"),
    }
    field = page.until(lambda: page.driver.find_element(By.CSS_SELECTOR, "#lm-edit-canvas input[type=file]"), "the upload")
    for name, (data, line) in wrong.items():
        (tmp_path / name).write_bytes(data)
        field.send_keys(str(tmp_path / name))
        page.until(lambda line=line: line in page.see(".lm-canvas .lm-refused").text, line)
    (tmp_path / "good.png").write_bytes(whole)
    field.send_keys(str(tmp_path / "good.png"))
    page.until(lambda: not page.all("#lm-edit-canvas .empty"), "the picture on the canvas")
    assert not page.all(".lm-refused")


def test_a_server_that_was_killed_and_started_again_ends_the_job(page: Page, tmp_path: Path) -> None:
    with studio(tmp_path) as (address, process):
        page.driver.get(address)
        page.see("#lm-draw-go")
        draw(page, "a patient fox", model="glide-emoji", n=2)
        page.see("#lm-draw-stage .lm-progress")
        process.kill()
        page.until(lambda: "was lost" in page.see(".toast-body").text, "that the server went")
    with studio(tmp_path, int(address.split(":")[2].split("/")[0])):
        page.says("draw", "Done: 2 pictures")
        assert page.see("#lm-draw-stage h2").text == "a patient fox"
        page.driver.get(page.url)


def test_a_painted_mask_is_repainted_and_found_in_the_history(page: Page) -> None:
    draw(page, "a blue square")
    page.says("draw", "Done: 1 picture")
    page.click("#lm-draw-stage [data-act=edit]")
    canvas = page.see("#lm-edit-canvas canvas")
    page.until(lambda: page.script(_LOADED), "the picture on the canvas")
    stroke(page, canvas)
    choose(page, "edit", "tiny")
    page.write("#lm-edit-prompt textarea", "two yellow stars")
    page.click("#lm-edit-go")
    page.says("edit", "Done: 1 picture")
    page.shot("edit")
    page.tab("History")
    page.write("#lm-search input, #lm-search textarea", "yellow")
    page.until(lambda: len(page.all(".lm-thumb")) == 1, "one find")
    page.click(".lm-thumb")
    page.until(lambda: "edit" in page.see(".lm-facts").text, "what it was made from")
    before = len(page.all(".lm-thumb"))
    page.see("#lm-delete").send_keys(Keys.ENTER)
    page.until(lambda: not page.all(".lm-thumb"), "the picture to go")
    page.until(lambda: page.driver.switch_to.active_element.get_attribute("id") == "lm-undo", "the focus on what undoes it")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: len(page.all(".lm-thumb")) == before, "the picture to come back")
    page.until(lambda: page.driver.switch_to.active_element.get_attribute("id") == "lm-delete", "the focus on what was undone")


def test_nothing_is_fetched_from_elsewhere(page: Page) -> None:
    for name in ("Edit", "Sketch", "Compare", "History", "Draw"):
        page.tab(name)
    page.see("#lm-draw-go")
    urls = "performance.getEntriesByType('resource').map((e) => new URL(e.name))"
    asked = f"{urls}.filter((u) => u.protocol.startsWith('http'))"  # data: and blob: are fetched from nowhere
    hosts = page.script(f"return [...new Set({asked}.map((u) => u.host))]")
    assert hosts == [page.script("return location.host")]


def test_a_small_picture_is_enlarged(page: Page) -> None:
    draw(page, "a red circle", model="glide-shapes")
    page.says("draw", "Done: 1 picture")
    page.click("#lm-draw-stage [data-act=edit]")
    page.until(lambda: page.script(_LOADED), "the picture on the canvas")
    page.script("[...document.querySelectorAll('label')].find((each) => each.textContent.trim() === 'Enlarge').click()")
    page.until(lambda: page.see("#lm-edit-go").text == "Enlarge", "the button's word")
    choose(page, "edit", "glide-emoji")
    page.click("#lm-edit-go")
    page.says("edit", "Done: 1 picture")
    size = "return document.querySelector('#lm-edit-stage img').naturalWidth"
    page.until(lambda: page.script(size) == 256, "the enlarged picture's pixels")


def test_it_fits_a_telephone(page: Page, telephone: None) -> None:
    page.open()
    assert page.script("return document.documentElement.scrollWidth") <= 390
    page.until(lambda: len(page.all("button[role=tab]")) == 5, "every tab")
    page.shot("phone")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_colour_scheme(page: Page, scheme: str) -> None:
    coloured(page, scheme)
    light = page.script("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]")
    assert (int(light) > 128) is (scheme == "light")


@pytest.mark.skipif(not AXE, reason="AXE names no axe.min.js")
def test_what_a_telephone_shows_has_no_serious_fault_of_accessibility(page: Page, telephone: None) -> None:
    scanned(page, "dark", "telephone")


@pytest.mark.skipif(not AXE, reason="AXE names no axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_there_is_no_serious_fault_of_accessibility(page: Page, scheme: str) -> None:
    scanned(page, scheme, scheme)


def scanned(page: Page, scheme: str, name: str) -> None:
    """Look for faults in every tab, with results, and beside a toast."""
    coloured(page, scheme)
    draw(page, "a red fox")
    page.says("draw", "Done: 1 picture")
    found = faults(page)
    page.shot(f"draw-{name}")
    for tab in ("Edit", "Sketch", "Compare", "History"):
        page.tab(tab)
        if tab == "History":
            page.click(".lm-thumb")
            page.see(".lm-facts")
        if tab == "Edit":
            page.click("#lm-edit-go")  # without a picture
            page.see(".toast-body")
        time.sleep(1)
        found += faults(page)
        page.script("document.querySelector('.toast-close')?.click()")  # on a telephone it lies over the tabs
        page.until(lambda: not page.all(".toast-body"), "the toast to go")
    assert found == []


def coloured(page: Page, scheme: str) -> None:
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    page.open()


def stroke(page: Page, canvas: Any) -> None:
    """Brush once across the middle."""
    hand = webdriver.ActionChains(page.driver)
    hand.move_to_element(canvas).click_and_hold().move_by_offset(30, 5).move_by_offset(20, 20).release().perform()
    time.sleep(1)  # the canvas sends its strokes after a while


_LOADED = """
const shown = performance.getEntriesByType('resource').some((e) => e.name.includes('file='));
return shown && !document.querySelector('#lm-edit-canvas .empty');
"""
