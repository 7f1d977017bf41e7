"""`wherry forecast` as its user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from wherry.contract.recording import Conditions, Happening, PodCpu, Recording, Second, encode

DAY = "time,rate\n" + "".join(f"{60 * minute},{20 + 4 * abs(60 - minute % 120)}\n" for minute in range(240))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    (tmp_path / "day.csv").write_text(DAY)
    return tmp_path / "day.csv"


class Outside(HTMLParser):
    """What a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag for name, _ in attrs if name in ("src", "href")] + ([tag] if tag == "script" else [])


def test_a_trace(wherry: Callable[..., Any], trace: Path) -> None:
    done = wherry("forecast", "day.csv", "--knee", "100", "--price-cpu", "0.04", "--html", "day.html")
    assert done.returncode == 0, done.stderr
    assert "4 hours simulated in 40 ways" in done.stdout
    assert "the objective holds" in done.stdout
    assert "\ncost " in done.stdout
    assert "the report with its pictures is in day.html" in done.stderr
    page = (trace.parent / "day.html").read_text()
    outside = Outside()
    outside.feed(page)
    assert not outside.found
    assert page.count("<svg") >= 3
    assert "nan" not in page.lower()


def test_as_json(wherry: Callable[..., Any], trace: Path) -> None:
    done = wherry("forecast", "day.csv", "--knee", "100", "--max", "2", "--scale", "3", "--json")
    assert done.returncode == 4, done.stderr  # two replicas do not carry it
    found = json.loads(done.stdout)
    assert found["met"] is False
    assert found["settings"] == {"min": 2, "max": 2, "cpu": 60, "down_after": 300}
    assert found["refused"][1] > 0
    low, middle, high = found["pods_mean"]
    assert low <= middle <= high == 2
    series = found["series"]
    assert len(series["at"]) == len(series["offered"]) == len(series["ready"]) <= 720


def test_search_prints_settings_that_can_be_pasted(wherry: Callable[..., Any], trace: Path) -> None:
    done = wherry("forecast", "day.csv", "--knee", "100", "--search")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (trace.parent / "wherry.toml").write_text("\n".join(lines[lines.index("[deploy.autoscale]") :]) + "\n")
    again = wherry("forecast", "day.csv", "--knee", "100")
    assert again.returncode == 0, again.stdout
    assert "the objective holds" in again.stdout


def test_from_the_project_and_standard_input(wherry: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "wherry.toml").write_text("[capacity]\nknee = 100\ncost = 2.0\nslo = 'p95<80ms'\n")
    done = wherry("forecast", "-", stdin=DAY)
    assert done.returncode == 0, done.stderr
    assert "5 % allowed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["day.csv"], "nobody measured what one replica holds", "wherry advise"),
        (["dya.csv", "--knee", "9"], "no such trace: dya.csv", "did you mean day.csv?"),
        (["bad.csv", "--knee", "9"], "bad.csv: line 2: 'x' is no rate", "a trace has a line"),
        (["day.csv", "--knee", "9", "--slo", "errors<1%"], "sets no limit such as p99<100ms", "--slo"),
        (["day.csv", "--knee", "9", "--min", "5", "--max", "2"], "deploy.autoscale.min", "raise max"),
        (["day.csv", "--knee", "9", "--html", "no/f.html"], "no such folder: no", "mkdir -p no"),
        (["day.csv", "--knee", "0"], "0.0 is not in the range", "wherry forecast --help"),
    ],
)
def test_what_is_refused(wherry: Callable[..., Any], trace: Path, arguments: list[str], said: str, hint: str) -> None:
    (trace.parent / "bad.csv").write_text("0,1\n60,x\n")
    done = wherry("forecast", *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert hint in done.stderr
    assert not done.stdout
    as_json = wherry("forecast", *arguments, "--json")
    assert said in json.loads(as_json.stdout)["error"]["message"]


def test_a_recorded_run_is_compared(wherry: Callable[..., Any], tmp_path: Path) -> None:
    seconds = tuple(Second(at=float(at), offered=10.0, desired=1, ready=1, p99=5.0) for at in range(60))
    cpu = tuple(PodCpu(at=at + 1.5, scraped=float(at), pod="a", millicores=20.0) for at in (20, 35, 50))
    run = Recording(
        start=0.0,
        load="10/s",
        conditions=Conditions(name="calm", cpu_request=100, min_replicas=1, max_replicas=3, cpu_target=60),
        seconds=seconds,
        cpu=cpu,
        happenings=(Happening(at=7.0, kind="synced"),),
    )
    (tmp_path / "run.json").write_bytes(encode(run))
    done = wherry("forecast", "run.json", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["within_one"], found["in_band"]) == (1.0, 1.0)
    assert found["phases"]["sync"] == pytest.approx(7.0)
    assert found["phases"]["scraped"] == pytest.approx(5.0)
