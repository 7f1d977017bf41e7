"""The dashboard's page in a real browser: what it shows, by keyboard, narrow, light and dark, and whom it asks.

python tests/deploy/test_dashboard_page.py FOLDER writes pictures of it there, to look at.
"""

from __future__ import annotations

import math
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from wherry.deploy.address import Address
from wherry.deploy.dashboard.seen import Change, Look, PodSeen, Point, Seen, Traffic
from wherry.deploy.dashboard.site import Site, serving
from wherry.deploy.status import Autoscaler, Status

parts = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "server" / "page_parts.py")))
EVIL = "<img src=x onerror=document.title='owned'>"
AT = 1_769_846_410.0


def status(name: str, **other: Any) -> Status:
    made: dict[str, Any] = {
        "name": name,
        "namespace": "models",
        "wanted": 3,
        "ready": 3,
        "updated": 3,
        "paused": False,
        "image": f"localhost:5000/{name}@sha256:{'a1' * 32}",
        "model": f"{name}:7",
        "version": "7",
        "digest": "0123456789abcdef",
        "address": Address("http://10.96.0.9", "here"),
        "autoscaler": Autoscaler(1, 10, 3, 3, 60, 72),
        "unmeasured": (),
        "age_seconds": 60.0,
        "restarts": 0,
        "problems": (),
    }
    return Status(**(made | other))


def pod(name: str, **other: Any) -> PodSeen:
    made = PodSeen(name, "Running", True, True, 0, "", 180.0, 80_000_000, 137.0, 0.0, 8.0)
    return msgspec.structs.replace(made, **other)


def course(points: int = 120) -> list[Point]:
    made = []
    for k in range(points):
        rate = 200 + 180 * math.sin(k / 19) + 20 * math.sin(k)
        made.append(
            Point(
                AT - 2.0 * (points - k),
                None if k < 3 else rate,
                max(0.0, 6 * math.sin(k / 9) - 4),
                1 + rate / 400,
                2 + rate / 200,
                4 + rate / 60,
                rate * 0.9,
                int(2.4e8 + 1e5 * k),
                1 + (k > 60) + (k > 90),
                1 + (k > 55) + (k > 85),
            )
        )
    return made


TRAFFIC = Traffic(10.0, 412.34, 1.5, 0.4, 1.25, 3.0, 12.5, 4, {"B": 10.0}, {"B": 7500.0, "M": 2500.0, EVIL: 12.0})
WELL = Seen(
    status("breast"),
    tuple(pod(f"breast-6d5f{k}") for k in "abc"),
    540.0,
    750.0,
    None,
    240_000_000,
    768_000_000,
    TRAFFIC,
)
UNWELL = Seen(
    status("ferry", ready=1, wanted=2, autoscaler=None, problems=("1 of 2 pods are ready", EVIL)),
    (
        pod("ferry-1"),
        pod("ferry-2", ready=False, reason="its image cannot be pulled: localhost:5000/ferry:8", cpu=None),
    ),
    *(None, None, None, None, None, None),
    ("CPU and memory are not known: the cluster has no metrics-server",),
)
NEWS = (Change(AT - 60, "breast", "scaled from 2 to 3: CPU 95 % of the request, aiming at 60 %"),)
LOOK = Look(AT, "minikube", "models", (WELL, UNWELL), NEWS)
COURSES = {"breast": course(), "ferry": course(2)}


@pytest.fixture
def site(driver: Any) -> Iterator[Site]:
    """The page, opened; complains at the end about whatever the browser complained about."""
    with serving() as made:
        made.show(LOOK, COURSES)
        driver.get_log("browser")
        parts.width(driver, 1200)
        driver.get(made.url)
        wait(driver, lambda: find(driver, ".service") is not None)
        yield made
    assert [line["message"] for line in driver.get_log("browser") if "ERR_CONNECTION" not in line["message"]] == []


def wait(driver: Any, met: Any) -> Any:
    """What `met` gives once it does; an element that was drawn again while it was read is looked for again."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 30, 0.05, (StaleElementReferenceException,)).until(lambda _: met())


def find(driver: Any, css: str) -> Any:
    return next(iter(driver.find_elements("css selector", css)), None)


def texts(driver: Any, css: str) -> list[str]:
    return [each.text for each in driver.find_elements("css selector", css)]


def test_everything_of_a_look_is_shown_as_text(driver: Any, site: Site) -> None:
    assert find(driver, "h1").text == "models in minikube"
    assert texts(driver, ".service h2") == ["breast", "ferry"]
    assert texts(driver, ".pill") == ["well", "not well"]
    assert driver.title == "! breast, ferry: wherry"
    figures = dict(zip(texts(driver, ".figures span"), texts(driver, ".figures b"), strict=True))
    assert figures["requests"] == "412/s"
    assert figures["p99"] == "12.5 ms"
    assert figures["failed (5xx)"] == "1.5/s"
    assert figures["CPU of 750m requested"] == "540m"
    assert texts(driver, ".bars span:first-child, .bars span.quiet")[1] == "74.9 %, 7,500"
    assert EVIL in texts(driver, ".problem")
    assert EVIL in find(driver, ".bars").text
    assert "CPU 72 % of the request, aiming at 60 %" in find(driver, ".facts").text
    assert texts(driver, ".charts figure b")[:5] == ["Requests", "Latency", "CPU", "Memory", "Pods"]
    assert find(driver, "svg[role=img]").get_attribute("aria-label").startswith("Requests: all ")
    assert len(driver.find_elements("css selector", "tbody tr")) == 5
    assert "scaled from 2 to 3" in find(driver, "#changes").text


def test_it_draws_again_and_says_what_has_changed(driver: Any, site: Site) -> None:
    site.show(
        msgspec.structs.replace(
            LOOK, services=(msgspec.structs.replace(WELL, status=status("breast", problems=("x",))),)
        ),
        COURSES,
    )
    wait(driver, lambda: texts(driver, ".service h2") == ["breast"])
    assert find(driver, "#said").get_attribute("textContent") == "breast is not well"


def test_the_keyboard_is_enough_and_keeps_its_place(driver: Any, site: Site) -> None:
    from selenium.webdriver import ActionChains, Keys

    order = []
    for _ in range(4):
        ActionChains(driver).send_keys(Keys.TAB).perform()
        order.append(driver.execute_script("const e = document.activeElement; return e.id || e.className"))
    assert order == ["skip", "pause", "scroll", "scroll"]
    label = driver.execute_script("return document.activeElement.getAttribute('aria-label')")
    assert label == "Pods of ferry"
    first = driver.find_element("css selector", ".service")
    wait(driver, lambda: find(driver, ".service") != first)  # drawn anew
    assert driver.execute_script("return document.activeElement.getAttribute('aria-label')") == label
    ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.TAB, Keys.TAB).key_up(Keys.SHIFT).perform()
    ActionChains(driver).send_keys(Keys.SPACE).perform()
    pause = find(driver, "#pause")
    assert (pause.text, pause.get_attribute("aria-pressed")) == ("Go on", "true")
    site.show(msgspec.structs.replace(LOOK, namespace="elsewhere"), COURSES)
    pause.send_keys(Keys.ENTER)
    wait(driver, lambda: find(driver, "h1").text == "elsewhere in minikube")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_narrow_screen_light_and_dark(driver: Any, site: Site, dark: bool) -> None:
    parts.width(driver, 360, dark=dark)
    wide = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide == [360, 360]
    ground, ink = driver.execute_script(
        "const s = getComputedStyle(document.body);"
        "return [s.backgroundColor, s.color].map(c => c.match(/\\d+/g).map(Number))"
    )
    assert (sum(ground) < sum(ink)) is dark
    small = driver.execute_script(
        "return [...document.querySelectorAll('button')].filter(e => e.getBoundingClientRect().height < 40).length"
    )
    assert small == 0


def test_nobody_else_is_asked(driver: Any, site: Site) -> None:
    asked = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked
    assert {url.split("?")[0] for url in asked} == {f"{site.url}data"}


def test_an_end_of_the_command_is_said(driver: Any) -> None:
    with serving() as made:
        made.show(LOOK, COURSES)
        driver.get(made.url)
        wait(driver, lambda: find(driver, ".service") is not None)
    wait(driver, lambda: "no longer answers" in find(driver, "#trouble").text)
    driver.get("about:blank")
    driver.get_log("browser")


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with parts.browser(folder / "profile") as driver, serving() as site:
        site.show(LOOK, COURSES)
        for pixels, dark in ((1200, False), (1200, True), (360, False), (360, True)):
            parts.width(driver, pixels, dark=dark)
            driver.get(site.url)
            wait(driver, lambda: find(driver, ".service") is not None)
            parts.picture(driver, folder / f"dashboard-{pixels}{'-dark' if dark else ''}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
