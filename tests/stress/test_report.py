"""Figures, verdicts and documents from recordings that are made by hand."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as xml

import numpy as np
import pytest

from wherry.stress import shape as shapes
from wherry.stress.grammar import read_objective
from wherry.stress.outcomes import FAILURES, OWN, SERVER_ERROR, TIMEOUT
from wherry.stress.page import page
from wherry.stress.plan import Plan, Target, asks_of
from wherry.stress.report import Report, document, junit, lines, report_of, warning
from wherry.stress.tally import BINS, Tally, bins_of, percentile, tally_for

TARGET = Target("127.0.0.1", 8080, "/predict?a=<b>", address="127.0.0.1")
PLAN = Plan(TARGET, asks_of(TARGET, [b"{}"], {}), shapes.constant(100, 10), 10**6)


def recorded(latencies: float | list[float] = 0.01, lag: float = 0.0001) -> Tally:
    """A run of 1,000 right answers, evenly over ten seconds."""
    found = tally_for(10)
    due = np.arange(1000) / 100
    found.add_latencies(due, np.resize(np.array(latencies, dtype=float), 1000))
    found.add_right(due)
    found.add_lags(np.full(1000, lag))
    found.elapsed = 10.0
    return found


def report(tally: Tally, slo: str = "p99<50ms,errors<0.1%") -> Report:
    return report_of(PLAN, tally, read_objective(slo), "2026-01-02 03:04")


@pytest.mark.parametrize("share", [50, 90, 99, 99.9])
def test_percentiles_are_never_too_low_and_hardly_too_high(share: float) -> None:
    seconds = np.random.default_rng(7).lognormal(-6, 1.5, 20_000)
    counts = np.bincount(bins_of(seconds), minlength=BINS)
    exact = float(np.sort(seconds)[int(np.ceil(len(seconds) * share / 100)) - 1])
    found = percentile(counts, share, float(seconds.max()))
    assert found is not None
    assert exact <= found * (1 + 1e-12)
    assert found <= exact * 1.0056


def test_nothing_answered_has_no_percentile() -> None:
    assert percentile(np.zeros(BINS, np.int64), 99, 1.0) is None


def test_the_document_has_the_keys_that_scripts_rely_on() -> None:
    found = document(report(recorded()))
    assert {"sent", "ok", "failed", "latency", "slo"} <= found.keys()
    assert {"p50", "p90", "p99", "max"} <= found["latency"].keys()
    assert (found["sent"], found["ok"], found["failed"]) == (1000, 1000, 0)
    assert found["latency"]["p50"] == pytest.approx(10, rel=0.006)
    assert found["latency"]["max"] == 10
    assert [one["met"] for one in found["slo"]] == [True, True]


def test_a_fast_failure_does_not_flatter_and_a_timeout_does_not_vanish() -> None:
    tally = recorded(0.06)
    for k in range(5000):
        tally.add_failure(SERVER_ERROR, k / 500)
    missed = report(tally)
    assert missed.latency.p50 == pytest.approx(60, rel=0.006)
    assert missed.failed == 5000 and not missed.met
    tally = recorded(0.001)
    tally.add_latencies(np.linspace(0, 9, 50), np.full(50, 10.0))
    for k in range(50):
        tally.add_failure(TIMEOUT, k / 10)
    assert report(tally).latency.p99 == 10_000


def test_the_objective_is_missed_by_either_limit() -> None:
    assert report(recorded(0.01)).met
    assert not report(recorded(0.06)).met
    failing = recorded(0.01)
    for k in range(2):
        failing.add_failure(SERVER_ERROR, float(k))
    assert [judged.met for judged in report(failing).slo] == [True, False]
    assert report(failing, "rate>99").met and not report(failing, "rate>101").met


def test_a_run_without_an_answer_meets_no_limit_on_latency() -> None:
    empty = tally_for(10)
    empty.add_failure(SERVER_ERROR, 1.0)
    found = report(empty, "p99<50ms")
    assert not found.met and found.latency.p99 is None
    assert "nothing measured" in "\n".join(lines(found))
    assert "<svg" in page(found)


@pytest.mark.parametrize(("lag", "limited"), [(0.0001, False), (0.004, False), (0.0051, True)])
def test_a_late_generator_marks_the_run(lag: float, limited: bool) -> None:
    found = report(recorded(lag=lag))
    assert found.generator_limited is limited
    assert ("limited by the generator" in warning(found)) is limited
    assert document(found)["generator"]["limited"] is limited
    assert bool(warning(found)) is (lag > 0.002)


def test_a_machine_without_ports_marks_the_run() -> None:
    tally = recorded()
    tally.add_failure(OWN, 1.0)
    assert report(tally).generator_limited


def test_junit_has_a_case_for_each_limit() -> None:
    root = xml.fromstring(junit(report(recorded(0.06))).encode())
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    cases = {case.get("name"): case.find("failure") for case in suite.iter("testcase")}
    assert cases["p99<50ms"] is not None and cases["errors<0.1%"] is None
    bare = xml.fromstring(junit(report_of(PLAN, recorded(), ())).encode())
    assert [case.get("name") for case in bare.iter("testcase")] == ["ran"]


def test_what_xml_cannot_hold_does_not_break_junit() -> None:
    tally = recorded()
    tally.add_failure(SERVER_ERROR, 1.0)
    tally.remark = "500 \x00\x1b[31m\x07 oh"
    xml.fromstring(junit(report(tally)).encode())


class Tags(HTMLParser):
    """Every tag with its attributes, and whether all that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elsewhere(text: str) -> list[str]:
    """What in a page would make a browser ask somebody."""
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    asked = [
        f"{tag} {name}={value}" for tag, name, value in tags.attributes if name in ("src", "href", "srcset", "data")
    ]
    asked += [tag for tag, _, _ in tags.attributes if tag in ("script", "link", "iframe", "img")]
    return asked + re.findall(r"url\([^)]*\)|@import[^;]*", text)


def everything_failed() -> Tally:
    tally = recorded([0.001, 0.5])
    for place, kind in enumerate(FAILURES):
        tally.add_failure(kind, float(place))
    tally.remark = '500 <script src="http://elsewhere.invalid/x.js"></script>'
    return tally


@pytest.mark.parametrize("tally", [recorded(), recorded([0.0001, 2.0]), everything_failed(), tally_for(10)])
def test_the_page_asks_nobody_for_anything(tally: Tally) -> None:
    text = page(report(tally))
    assert elsewhere(text) == []
    assert text.count("<svg") >= (3 if tally.ok.any() else 1)
    assert "a=&lt;b&gt;" in text


def test_a_page_that_asks_somebody_is_seen() -> None:
    assert elsewhere('<p><img src="http://elsewhere.invalid/a.png"></img></p>') != []
    assert elsewhere("<style>@import 'x.css';</style>") != []
    assert elsewhere("<style>p{background:url(x.png)}</style>") != []


def test_the_page_says_the_verdict_and_names_every_failure() -> None:
    text = page(report(everything_failed()))
    assert "objective missed" in text and "limited by the generator" in text
    for kind in FAILURES:
        assert f"</i>{kind}</td>" in text
    assert "objective met" in page(report(recorded()))
