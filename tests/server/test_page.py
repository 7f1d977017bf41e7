"""The pages work in a real browser: by keyboard, narrow and wide, and whatever the model's names are."""

from __future__ import annotations

import base64
import json
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from wherry.contract.names import NATIVE_MEDIA
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.server import page
from wherry.server.problems import example

parts = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("page_parts.py"))))
DATA = re.compile(rb'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


@pytest.fixture
def opened(driver: Any) -> Iterator[Callable[..., Any]]:
    """Opens a service's page; complains at the end about whatever the browser complained about."""
    contexts = []

    def open_page(service: Any, path: str = "/", prefix: str = "", pixels: int = 1200) -> Any:
        serving = parts.serving(service, prefix)
        url = serving.__enter__()
        contexts.append(serving)
        parts.width(driver, pixels)
        driver.get(url + path)
        driver.execute_script("sessionStorage.clear()")
        driver.get(url + path)
        return url

    driver.get_log("browser")
    yield open_page
    for context in contexts:
        context.__exit__(None, None, None)
    expected = ("status of 4", "favicon")
    complaints = [line["message"] for line in driver.get_log("browser")]
    assert [line for line in complaints if not any(word in line for word in expected)] == []


def find(driver: Any, css: str) -> Any:
    return driver.find_element("css selector", css)


def texts(driver: Any, css: str) -> list[str]:
    return [each.text for each in driver.find_elements("css selector", css)]


def wait_for(driver: Any, css: str) -> Any:
    """The element, once it is there and seen."""
    elements = driver.find_elements
    return wait_until(driver, lambda: next((e for e in elements("css selector", css) if e.is_displayed()), None))


def wait_until(driver: Any, done: Callable[[], Any]) -> Any:
    """What `done` gives once it does; an element that was drawn again while it was read is looked for again."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 30, 0.02, (StaleElementReferenceException,)).until(lambda _: done())


def test_the_form_predicts_its_example(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.SIX)
    opened(service)
    find(driver, "#send").click()
    assert wait_for(driver, "#result .answer").text == "M"
    assert texts(driver, ".bars .name") == ["M", "B"]
    assert texts(driver, ".bars .amount") == ["92.7 %", "7.3 %"]
    [asked] = service.asked
    assert asked["record"] == example(parts.SIX)
    assert asked["accept"] == NATIVE_MEDIA
    assert set(service.paths) <= {"/", "/predict?probabilities=true"}


def test_the_keyboard_alone_is_enough(driver: Any, opened: Callable[..., Any]) -> None:
    from selenium.webdriver import ActionChains, Keys

    service = parts.Service(parts.EVERY)
    opened(service)
    order = []
    for _ in range(40):
        ActionChains(driver).send_keys(Keys.TAB).perform()
        order.append(driver.execute_script("return document.activeElement.id || document.activeElement.name"))
        if order[-1] == "f1":
            ActionChains(driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys("7").perform()
        if order[-1] == "f5":
            ActionChains(driver).send_keys(Keys.ARROW_RIGHT).perform()
        if order[-1] == "send":
            break
    fields = [name for name in order if name.startswith("f") or name == "send"]
    assert fields == ["f0", "f1", "f2", "f3", "f4", "f4-missing", "f5", "f6", "f7", "f8", "send"]
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    wait_for(driver, "#result .answer")
    assert service.asked[0]["record"]["rooms"] == 7
    assert service.asked[0]["record"]["garden"] is False
    assert find(driver, "#result").get_attribute("aria-live") == "polite"


def test_each_kind_of_column_sends_its_own_type(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.EVERY)
    opened(service)
    find(driver, "#clear").click()
    for field, typed in (("f1", "9007199254740993"), ("f7", " 1e-3 ")):
        find(driver, f"#{field}").send_keys(typed)
    find(driver, "#f2").send_keys("Bern")
    find(driver, "#f3").send_keys("another")
    find(driver, ".other:not([hidden])").send_keys("Gasse")
    find(driver, "#f4-missing").click()
    find(driver, "input[name=f5][value=true]").click()
    find(driver, "input[name=f6][value=null]").click()
    find(driver, "#send").click()
    wait_for(driver, "#result .answer")
    assert service.asked[0]["record"] == {
        "area": None,
        "rooms": 9007199254740993,
        "city": "Bern",
        "street": "Gasse",
        "note": None,
        "garden": True,
        "lift": None,
        parts.EVIL: 0.001,
    }


def test_what_is_wrong_stands_beside_its_field(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.EVERY)
    opened(service)
    rooms = find(driver, "#f1")
    rooms.send_keys("x")
    find(driver, "#send").click()
    wait_for(driver, "#result .failure")
    assert find(driver, "#f1-error").text == "is a text, not a whole number; send a whole number"
    assert rooms.get_attribute("aria-invalid") == "true"
    assert "f1-error" in rooms.get_attribute("aria-describedby")
    assert driver.switch_to.active_element == rooms
    find(driver, "#reset").click()
    assert not find(driver, "#f1-error").is_displayed()
    find(driver, "#send").click()
    wait_for(driver, "#result .answer")


def test_values_outside_the_sample_are_said_and_sent(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.SIX)
    opened(service)
    assert not find(driver, ".outside").is_displayed()
    find(driver, "#f0").send_keys("9")
    find(driver, "#f0").clear()
    find(driver, "#f0").send_keys("77")
    assert find(driver, ".outside").is_displayed()
    find(driver, "#send").click()
    wait_for(driver, "#result .answer")
    assert service.asked[0]["record"]["concavity_mean"] == 77


def test_several_rows_are_answered_as_a_table(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.SIX)
    opened(service)
    find(driver, "#mode-json").click()
    text = find(driver, "#text")
    assert json.loads(text.get_attribute("value")) == [example(parts.SIX)]
    text.clear()
    text.send_keys(json.dumps([example(parts.SIX)] * 3))
    find(driver, "#send").click()
    wait_for(driver, "#result table")
    assert texts(driver, "#result .scroll tbody tr") == ["0 M 92.7 %", "1 M 92.7 %", "2 M 92.7 %"]


def test_a_service_that_asks_for_a_token_gets_one(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.SIX, token="open sesame")
    opened(service)
    assert not find(driver, "#token").is_displayed()
    find(driver, "#send").click()
    token = wait_for(driver, "#token")
    assert driver.switch_to.active_element == token
    token.send_keys("open sesame\n")
    assert wait_for(driver, "#result .answer").text == "M"
    curl, python = texts(driver, "#snippets pre")
    assert "open sesame" not in curl + python
    assert "$TOKEN" in curl and '"TOKEN"' in python


def test_a_service_without_probabilities_is_asked_again_without(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.SIX, odds=False)
    opened(service)
    find(driver, "#send").click()
    assert wait_for(driver, "#result .answer").text == "M"
    assert service.asked[0]["path"] == "/predict"


def test_both_pages_work_below_any_path(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.SIX)
    prefix = "/api/v1/namespaces/n/services/s:80/proxy"
    url = opened(service, prefix=prefix)
    find(driver, "#send").click()
    wait_for(driver, "#result .answer")
    assert f"{url}/predict" in find(driver, "#snippets pre").text
    opened(service, "/docs", prefix=prefix)
    wait_for(driver, ".operation")
    assert prefix in find(driver, "pre").text


def test_names_of_a_model_are_never_markup(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.EVERY, name=parts.EVIL)
    opened(service)
    find(driver, "#send").click()
    wait_for(driver, "#result .answer")
    assert find(driver, "#result .answer").text == parts.EVIL
    assert find(driver, "h1").text == parts.EVIL
    assert parts.EVIL in texts(driver, ".label")
    assert driver.title == parts.EVIL
    opened(service, "/docs")
    wait_for(driver, ".operation")
    assert driver.title == f"{parts.EVIL} · API"
    assert parts.EVIL in texts(driver, "#columns code")
    assert driver.find_elements("css selector", "img") == []


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("pixels", [360, 1200])
def test_nothing_sticks_out_sideways(path: str, pixels: int, driver: Any, opened: Callable[..., Any]) -> None:
    opened(parts.Service(parts.EVERY, name=parts.EVIL), path, pixels=pixels)
    if path == "/":
        find(driver, "#send").click()
        wait_for(driver, "#result .answer")
    else:
        wait_for(driver, ".operation")
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    assert driver.execute_script("return document.documentElement.scrollWidth") <= pixels, driver.execute_script(
        f"return {wide}.map(e => e.outerHTML.slice(0, 80))"
    )


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read(path: str, dark: bool, driver: Any, opened: Callable[..., Any]) -> None:
    opened(parts.Service(parts.EVERY), path)
    parts.width(driver, 1200, dark=dark)
    if path == "/":
        find(driver, "#f1").send_keys("x")
        find(driver, "#send").click()
        wait_for(driver, "#result .failure")
        find(driver, "#reset").click()
        find(driver, "#send").click()
        wait_for(driver, "#result .answer")
    else:
        wait_for(driver, ".operation")
    assert driver.execute_script(LOW_CONTRAST) == []
    unlabelled = (
        "return [...document.querySelectorAll('input,select,textarea,button')].filter(e => !e.labels?.length &&"
    )
    assert driver.execute_script(f"{unlabelled} !e.ariaLabel && !e.textContent).map(e => e.outerHTML)") == []


# Texts whose contrast against their ground is below 4.5 (WCAG AA), 3 for large ones.
LOW_CONTRAST = """
const part = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const rgb = text => text.match(/[0-9.]+/g).map(Number);
const found = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.checkVisibility() || e.closest('noscript, script, style, .skip')) continue;
  let ground = e;
  while (ground && (rgb(getComputedStyle(ground).backgroundColor)[3] === 0)) ground = ground.parentElement;
  const style = getComputedStyle(e);
  const pair = [light(rgb(style.color)), light(rgb(getComputedStyle(ground || document.body).backgroundColor))].sort((a, b) => b - a);
  const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
  if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) found.push(e.textContent.slice(0, 40) + ' ' + ratio.toFixed(2));
}
return found;
"""  # noqa: E501  # a program in another language


def test_the_docs_show_columns_paths_and_errors(driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.SIX)
    opened(service, "/docs")
    wait_for(driver, ".operation")
    assert texts(driver, "#columns td:first-child") == list(parts.SIX.names)
    assert "POST\n/predict" in "\n".join(texts(driver, ".operation summary"))
    assert "422" in texts(driver, "#errors td:first-child")
    assert service.paths.count("/openapi.json") >= 1
    assert set(service.paths) <= {"/docs", "/openapi.json"}


def test_a_document_carries_its_data_safely() -> None:
    made = page.page(parts.manifest(parts.EVERY, parts.EVIL), example(parts.EVERY))
    found = DATA.search(made)
    assert found is not None
    [data] = json.loads(found.group(1))["models"]
    assert data["name"] == parts.EVIL
    assert data["columns"] == json.loads(msgspec.json.encode(parts.EVERY.columns))
    assert made.count(b"</script>") == 3
    assert b"{{" not in made
    assert re.findall(rb'(?:src|href)="(?!\./|#|data:)', made) == []


def test_a_text_that_looks_like_a_mark_stays_a_text() -> None:
    signature = Signature((Column("{{script}}", "number", example=1.0),), OutputSpec("number", "number"))
    made = page.page(parts.manifest(signature, "{{data}}"), {"{{script}}": 1.0})
    assert b"<title>{{data}}</title>" in made
    assert made.count(b"</script>") == 3


def test_the_policy_allows_the_two_pages_and_nothing_else() -> None:
    assert page.CSP.startswith("default-src 'none'; ")
    assert "unsafe" not in page.CSP
    assert {"frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"} <= set(page.CSP.split("; "))
    assert page.CSP.count("'sha256-") == 4
    with pytest.raises(AttributeError):
        page.NOTHING  # noqa: B018  # the look-up itself is the test


def test_the_real_service_answers_its_page_and_docs(
    driver: Any, service: Callable[..., Any], linear_bundle: Path
) -> None:
    running = service(linear_bundle)
    driver.get_log("browser")
    parts.width(driver, 1200)
    driver.get(f"{running.url}/")
    find(driver, "#send").click()
    answer = wait_for(driver, "#result .answer, #result .failure")
    assert answer.get_attribute("class") == "answer", answer.text
    shown = running.ask("/predict", json.loads((linear_bundle / "example.json").read_bytes())).json["prediction"]
    assert answer.text == str(shown)
    find(driver, "#f0").clear()
    find(driver, "#f0").send_keys("much")
    find(driver, "#send").click()
    assert "not a number" in wait_for(driver, "#f0-error").text
    driver.get(f"{running.url}/docs")
    wait_for(driver, ".operation")
    assert [line for line in driver.get_log("browser") if "422" not in line["message"]] == []


def test_of_several_models_each_is_chosen_by_keyboard_and_asked_at_its_own_path(
    driver: Any, opened: Callable[..., Any]
) -> None:
    from selenium.webdriver import ActionChains, Keys

    service = parts.several()
    url = opened(service, pixels=360)
    assert find(driver, "#models [aria-current]").text == "breast-cancer 3"
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
    for _ in range(20):
        ActionChains(driver).send_keys(Keys.TAB).perform()
        if driver.execute_script("return document.activeElement.textContent") == "weather 4":
            break
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    wait_until(driver, lambda: find(driver, "#models [aria-current]").text == "weather 4")
    assert (find(driver, "#name").text, driver.title) == ("weather", "weather")
    assert texts(driver, "#fields .label") == ["wind", "sky"]
    find(driver, "#send").click()
    assert wait_for(driver, "#result .answer").text == "sail"
    [asked] = service.asked
    assert asked["path"] == "/models/weather/versions/4/predict?probabilities=true"
    assert asked["record"] == {"wind": 12.5, "sky": "clear"}
    assert f"curl '{url}/models/weather/versions/4/predict'" in texts(driver, "#snippets code")[0]
    links = [each.get_attribute("href") for each in driver.find_elements("css selector", "nav:not(.models) a")]
    assert links[1:3] == [f"{url}/docs?model=weather%2F4", f"{url}/models/weather/versions/4"]
    driver.get(f"{url}/?model=ships")
    assert wait_for(driver, ".notice").text == "There is no model ships here; this is breast-cancer 3."


def test_the_documents_of_several_models_show_the_chosen_one(driver: Any, opened: Callable[..., Any]) -> None:
    opened(parts.several(), path="/docs?model=weather")
    wait_for(driver, ".operation")
    assert texts(driver, "#columns td:first-child") == ["wind", "sky"]
    shown = texts(driver, "#paths .path")
    assert {"/models/weather/versions/3/predict", "/v2/models/weather/infer", "/info", "/models"} <= set(shown)
    assert not [path for path in shown if "versions/4" in path or "breast" in path or path == "/predict"]
    assert "/models/weather/versions/3/predict" in find(driver, ".operation[open] .path").text


# --- pictures -----------------------------------------------------------------------------------------------------


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    file = tmp_path / "dog.png"
    file.write_bytes(base64.b64decode(parts.POINT))
    return file


def bars(driver: Any) -> list[str]:
    return texts(driver, ".bars .name")


def test_a_picture_is_sent_as_soon_as_it_is_chosen(driver: Any, opened: Callable[..., Any], drawing: Path) -> None:
    service = parts.Service(parts.PICTURES, name="image-classifier")
    url = opened(service)
    assert not find(driver, "#mode-form").is_displayed()
    find(driver, "input[type=file]").send_keys(str(drawing))
    assert wait_for(driver, "#result .answer").text == "Samoyed"
    assert bars(driver) == [label for label, _ in parts.SEEN]
    assert texts(driver, ".bars .amount") == ["81.6 %", "12.6 %", "< 0.1 %"]
    assert driver.title != "owned"
    assert wait_for(driver, ".drop img").get_attribute("src").startswith("data:image/png")
    [asked] = service.asked
    assert (asked["raw"], asked["media"], asked["path"]) == (drawing.read_bytes(), "image/png", "/predict")
    assert asked["accept"] == NATIVE_MEDIA
    assert f"curl '{url}/predict' \\\n  -F image=@picture.jpg" in texts(driver, "#snippets code")[0]
    find(driver, "#send").click()
    wait_until(driver, lambda: len(service.asked) == 2)


# What a person's hand does: Chromium lets no script hold a file, so it is made here.
DROP = """
const [text, kind] = arguments, bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], "mine.png", { type: "image/png" }));
const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
  : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
document.body.dispatchEvent(event);
return kind === "paste" || event.defaultPrevented;
"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_may_be_dropped_anywhere_or_pasted(kind: str, driver: Any, opened: Callable[..., Any]) -> None:
    service = parts.Service(parts.PICTURES)
    opened(service)
    assert driver.execute_script(DROP, parts.POINT, kind), "the browser would leave the page for the picture"
    assert wait_for(driver, "#result .answer").text == "Samoyed"
    assert service.asked[0]["raw"] == base64.b64decode(parts.POINT)
    assert driver.execute_script("return document.querySelector('input[type=file]').files[0].name") == "mine.png"


def test_pictures_by_keyboard_alone(driver: Any, opened: Callable[..., Any], drawing: Path) -> None:
    """Tab comes to the field, which a browser opens at Enter; what is wrong is said there; Ctrl+Enter asks again."""
    from selenium.webdriver import ActionChains, Keys

    service = parts.Service(parts.PICTURES)
    opened(service)
    order = []
    for _ in range(12):
        ActionChains(driver).send_keys(Keys.TAB).perform()
        order.append(driver.execute_script("return document.activeElement.id"))
    assert order.index("f0") < order.index("send")
    ActionChains(driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    assert wait_for(driver, "#f0-error").text == "choose a picture first"
    assert driver.execute_script("return document.activeElement.id") == "f0"
    assert service.asked == []
    find(driver, "#f0").send_keys(str(drawing))
    wait_for(driver, "#result .answer")
    assert not find(driver, "#f0-error").is_displayed()
    ActionChains(driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    wait_until(driver, lambda: len(service.asked) == 2)


def test_a_file_that_is_no_picture_is_said_at_the_field(
    driver: Any, opened: Callable[..., Any], tmp_path: Path, drawing: Path
) -> None:
    notes = tmp_path / "notes.png"
    notes.write_text("hello")
    opened(parts.Service(parts.PICTURES))
    find(driver, "#f0").send_keys(str(notes))
    assert wait_for(driver, "#f0-error").text == "begins like no jpeg or png file; save it as jpeg"
    assert wait_for(driver, "#result .failure-title").text == "Picture format not supported"
    assert not find(driver, ".drop img").is_displayed()
    find(driver, "#f0").send_keys(str(drawing))
    wait_for(driver, "#result .answer")
    assert not find(driver, "#f0-error").is_displayed()


@pytest.mark.parametrize("pixels", [360, 1200])
def test_the_page_of_pictures_fits_every_width(
    pixels: int, driver: Any, opened: Callable[..., Any], pictures: Any, tmp_path: Path
) -> None:
    wide = tmp_path / "wide.png"
    wide.write_bytes(pictures.picture("blue", (3000, 200)))
    opened(parts.Service(parts.PICTURES), pixels=pixels)
    find(driver, "#f0").send_keys(str(wide))
    wait_for(driver, "#result .answer")
    wait_for(driver, ".drop img")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= pixels
    zone, shown = find(driver, ".drop").rect, find(driver, ".drop img").rect
    assert shown["x"] >= zone["x"]
    assert shown["x"] + shown["width"] <= zone["x"] + zone["width"]
    parts.picture(driver, tmp_path / "page.png")


def test_the_documents_show_an_upload(driver: Any, opened: Callable[..., Any]) -> None:
    url = opened(parts.Service(parts.PICTURES), path="/docs")
    wait_for(driver, ".operation")
    assert f"curl '{url}/predict' \\\n  -F image=@picture.jpg" in texts(driver, ".snippet code")
