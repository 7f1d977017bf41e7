"""What the page's tests share: a manifest with every kind of column, a service of a few lines, a browser.

python page_parts.py FOLDER [PICTURE]: writes pictures of both pages there, to look at; PICTURE is what is uploaded.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from wherry.contract.manifest import Conversion, Golden, Manifest, Measured, Metric, Origin, Requirements
from wherry.contract.names import NATIVE_MEDIA
from wherry.contract.pictures import POINT, Preparation
from wherry.contract.project import Project
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.server import page
from wherry.server.about import predict_path
from wherry.server.openapi import openapi
from wherry.server.problems import example

CHROMIUM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
EVIL = "</script><img src=x onerror=document.title='owned'>"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def manifest(signature: Signature, name: str = "breast-cancer") -> Manifest:
    """A manifest around a signature."""
    return Manifest(
        format=1,
        name=name,
        version="3",
        digest="",
        flavor="linear",
        model="model.npz",
        signature=signature,
        golden=Golden("golden.json", 0),
        baseline="baseline.json",
        requirements=Requirements("3.11", {}),
        files={},
        origin=Origin("Pipeline"),
        conversion=Conversion("linear"),
        measured=Measured(0.1, 1),
        metrics=(Metric("accuracy", 0.965, 0.627, 114, "the sample given to pack"),),
    ).sealed()


SIX = Signature(
    (
        Column("concavity_mean", "number", low=0.0, high=0.4268, example=0.3001),
        Column("concave_points_mean", "number", low=0.0, high=0.2012, example=0.1471),
        Column("perimeter_se", "number", low=0.757, high=21.98, example=8.589),
        Column("area_se", "number", low=6.802, high=542.2, example=153.4),
        Column("texture_worst", "number", low=12.02, high=49.54, example=17.33),
        Column("area_worst", "number", low=185.2, high=4254.0, example=2019.0),
    ),
    OutputSpec("class", "string", ("B", "M"), probabilities=True),
    target="diagnosis",
)
EVERY = Signature(
    (
        Column("area", "number", nullable=True, low=0.5, high=9.5, example=2.5),
        Column("rooms", "integer", low=1, high=12, example=3),
        Column("city", "string", categories=("Bern", "Genf", EVIL), unknown_ok=False, example="Genf"),
        Column("street", "string", categories=("Hof", "Weg"), nullable=True, example="Weg"),
        Column("note", "string", nullable=True, example="quiet"),
        Column("garden", "boolean", example=True),
        Column("lift", "boolean", nullable=True, example=None),
        Column(EVIL, "number", low=0, high=1, example=0.5),
        Column("year", "integer", default=1990, low=1800, high=2026),
    ),
    OutputSpec("class", "string", ("cheap", EVIL, "dear"), probabilities=True),
    target="price",
)

PICTURES = Signature(
    (Column("image", "image", example=POINT, prepare=Preparation(width=224, height=224, resize=256)),),
    OutputSpec("class", "string", ("Samoyed", "Arctic fox", "tabby", EVIL), probabilities=True, top=3),
)
WEATHER = Signature(
    (
        Column("wind", "number", low=0.0, high=60.0, example=12.5),
        Column("sky", "string", categories=("clear", "overcast"), example="clear"),
    ),
    OutputSpec("class", "string", ("stay", "sail"), probabilities=True),
)
LONG = "the-quite-long-name-of-a-model-that-somebody-thought-of-1234567"  # as long as one may be
SEEN = [("Samoyed", 0.8162), ("Arctic fox", 0.1262), (EVIL, 0.0004)]


class Service:
    """Answers like the service, as far as the page can see; remembers what it was asked."""

    def __init__(
        self,
        signature: Signature,
        name: str = "breast-cancer",
        *,
        token: str = "",
        odds: bool = True,
        others: tuple[Manifest, ...] = (),
    ) -> None:
        self.manifest, self.others = manifest(signature, name), others
        self.signature, self.token, self.odds = signature, token, odds
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []

    def get(self, path: str) -> tuple[int, str, bytes]:
        made = {
            "/": ("text/html; charset=utf-8", lambda: page.page(self.manifest, example(self.signature), self.others)),
            "/docs": ("text/html; charset=utf-8", lambda: page.docs_page(self.manifest, self.others)),
            "/openapi.json": ("application/json", lambda: json.dumps(openapi_of(self.manifest, self.others)).encode()),
        }
        self.paths.append(path)
        path = path.partition("?")[0]
        if path not in made:
            return 404, "text/plain", b"no such path"
        media, body = made[path]
        return 200, media, body()

    def post(self, path: str, body: bytes, headers: Any) -> tuple[int, str, bytes]:
        self.paths.append(path)
        if self.token and headers.get("X-Api-Key") != self.token:
            return problem({"title": "Token refused", "status": 401, "detail": "no token was sent"})
        if path.endswith("probabilities=true") and not self.odds:
            return problem({"title": "Switched off", "status": 403, "detail": "this service gives no probabilities"})
        if self.signature.picture and headers["Content-Type"].startswith("image/"):
            return self.see(body, path, headers)
        record = json.loads(body)
        self.asked.append({"record": record, "accept": headers["Accept"], "path": path, "raw": body.decode()})
        records = record if isinstance(record, list) else [record]
        asked = next((each for each in self.others if path.startswith(predict_path(each))), self.manifest)
        checked = asked.signature.check(records)
        if checked.problems:
            errors = [{"row": p.row, "field": p.field, "reason": p.reason, "hint": p.hint} for p in checked.problems]
            return problem({"title": "Fields refused", "status": 422, "detail": "see errors", "errors": errors})
        classes = asked.signature.output.classes
        parts = [0.0731, 0.9269] if len(classes) == 2 else [0.2, 0.7, 0.1]
        odds = {"probabilities": parts} if "probabilities=true" in path else {}
        if isinstance(record, list):
            many = {"probabilities": [parts] * len(records)} if odds else {}
            return 200, NATIVE_MEDIA, json.dumps({"predictions": [classes[1]] * len(records), **many}).encode()
        return 200, NATIVE_MEDIA, json.dumps({"prediction": classes[1], **odds}).encode()

    def see(self, body: bytes, path: str, headers: Any) -> tuple[int, str, bytes]:
        self.asked.append({"raw": body, "path": path, "media": headers["Content-Type"], "accept": headers["Accept"]})
        if not body.startswith((b"\xff\xd8", b"\x89PNG")):
            fault = {"row": 0, "field": "image", "reason": "begins like no jpeg or png file", "hint": "save it as jpeg"}
            return problem({"title": "Picture format not supported", "status": 415, "errors": [fault]})
        top = [{"label": label, "probability": share} for label, share in SEEN]
        return 200, NATIVE_MEDIA, json.dumps({"prediction": "Samoyed", "top": top}).encode()


def openapi_of(made: Manifest, others: tuple[Manifest, ...] = ()) -> Any:
    return openapi(made, Project(), others)


def problem(about: dict[str, Any]) -> tuple[int, str, bytes]:
    return about["status"], "application/problem+json", json.dumps(about).encode()


@contextlib.contextmanager
def serving(service: Service, prefix: str = "") -> Iterator[str]:
    """The service's address; below `prefix` where a proxy would put it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, status: int, media: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", page.CSP)
            self.send_header("X-Prediction-Id", "01a1fd2a-0d8f-7581-b660-87cd1792d248")
            self.send_header("X-Model-Version", "3")
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer(*service.get(self.path.removeprefix(prefix)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*service.post(self.path.removeprefix(prefix), body, self.headers))

        def log_message(self, *about: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def browser(profile: Path, *flags: str) -> Iterator[Any]:
    """A Chromium of its own, that phones nobody."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def width(driver: Any, pixels: int, *, dark: bool = False, height: int = 900) -> None:
    """Show the page as a screen of this width does."""
    metrics = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": pixels < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})


def picture(driver: Any, file: Path) -> None:
    """A picture of the whole page."""
    import base64

    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    file.write_bytes(base64.b64decode(shot["data"]))


def several() -> Service:
    """One that has four models."""
    weather = manifest(WEATHER, "weather")
    others = (weather, msgspec.structs.replace(weather, version="4"), manifest(EVERY, LONG))
    return Service(SIX, others=others)


def main(folder: Path) -> None:
    from selenium.webdriver.common.by import By

    folder.mkdir(exist_ok=True)
    with browser(folder / "profile") as driver:
        import base64

        for pixels, dark in ((1200, False), (360, False), (360, True)):
            with serving(several()) as url:
                width(driver, pixels, dark=dark)
                for path in ("", "docs"):
                    driver.get(f"{url}/{path}?model=weather/4")
                    driver.implicitly_wait(2)
                    driver.find_element(By.CSS_SELECTOR, ".operation" if path else "#send")
                    picture(driver, folder / f"several{path}-{pixels}{'-dark' if dark else ''}.png")
        drawing = folder / "dog.png"
        drawing.write_bytes(base64.b64decode(POINT))
        for pixels, dark in ((1200, False), (1200, True), (360, False), (360, True)):
            with serving(Service(PICTURES, name="image-classifier")) as url:
                width(driver, pixels, dark=dark)
                driver.get(f"{url}/")
                picture(driver, folder / f"image-empty-{pixels}{'-dark' if dark else ''}.png")
                own = Path(sys.argv[2]) if len(sys.argv) > 2 else drawing
                driver.find_element(By.ID, "f0").send_keys(str(own))
                driver.implicitly_wait(2)
                driver.find_element(By.CSS_SELECTOR, "#result .answer, #result .failure")
                picture(driver, folder / f"image-{pixels}{'-dark' if dark else ''}.png")
                driver.get(f"{url}/docs")
                driver.find_element(By.CSS_SELECTOR, ".operation")
                picture(driver, folder / f"image-docs-{pixels}{'-dark' if dark else ''}.png")
        for name, signature in (("six", SIX), ("every", EVERY)):
            with serving(Service(signature, name="breast-cancer")) as url:
                for pixels, dark in ((1200, False), (1200, True), (360, False), (360, True)):
                    width(driver, pixels, dark=dark)
                    driver.get(f"{url}/")
                    if name == "every":
                        driver.find_element(By.ID, "f1").send_keys("x")
                        driver.find_element(By.ID, "f0").send_keys("99")
                    driver.find_element(By.ID, "send").click()
                    driver.implicitly_wait(2)
                    driver.find_element(By.CSS_SELECTOR, "#result .answer, #result .failure")
                    picture(driver, folder / f"{name}-{pixels}{'-dark' if dark else ''}.png")
                    driver.get(f"{url}/docs")
                    driver.find_element(By.CSS_SELECTOR, ".operation")
                    picture(driver, folder / f"{name}-docs-{pixels}{'-dark' if dark else ''}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
