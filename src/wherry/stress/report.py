"""From a tally to a report: figures, verdicts, text, JSON and JUnit. Pure."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as xml

import msgspec
import numpy as np

from wherry.stress.objective import Judged, Limit
from wherry.stress.outcomes import FAILURES, MEANING, OWN
from wherry.stress.plan import Plan
from wherry.stress.tally import LAG_LIMIT, LAG_SUSPECT, Tally, percentile

CURVE = (0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99, 99.999)


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds; None where nothing was answered."""

    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None
    p95: float | None
    p999: float | None
    mean: float | None


class Series(msgspec.Struct, frozen=True):
    """By windows of time: where each begins (s), rates a second, right answers, milliseconds, failures by kind."""

    width: float
    at: tuple[float, ...]
    offered: tuple[float, ...]
    right: tuple[float, ...]
    ok: tuple[int, ...]
    p50: tuple[float | None, ...]
    p90: tuple[float | None, ...]
    p99: tuple[float | None, ...]
    max: tuple[float | None, ...]
    failed: dict[str, tuple[int, ...]]


class Report(msgspec.Struct, frozen=True):
    """What a run showed."""

    url: str
    shape: str
    begun: str  # date and time, as text
    seconds: float  # for which requests came due
    sent: int  # each of them right or failed
    ok: int
    failed: int
    unfinished: int
    interrupted: bool
    offered: float  # mean requests a second
    throughput: float  # right answers a second
    latency: Latency
    failures: dict[str, int]
    slo: tuple[Judged, ...]
    lag_p99: float | None  # milliseconds that the generator itself was late
    lag_max: float
    connections: int
    waited: int
    fresh: bool
    golden: bool
    remark: str
    series: Series
    curve: tuple[tuple[float, float], ...]  # percent, milliseconds

    @property
    def errors(self) -> float:
        """Percent of requests that failed."""
        return 100 * self.failed / self.sent if self.sent else 0.0

    @property
    def generator_limited(self) -> bool:
        """Whether the run says more about the generator than about the service."""
        return (self.lag_p99 or 0.0) > LAG_LIMIT * 1000 or OWN in self.failures

    @property
    def met(self) -> bool:
        return all(judged.met for judged in self.slo)


def ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 4)


def report_of(plan: Plan, tally: Tally, limits: tuple[Limit, ...], begun: str = "") -> Report:
    """The report of a run of `plan`."""
    counts, largest = tally.latency.sum(axis=0), float(tally.worst.max(initial=0.0))
    total = int(counts.sum())
    failures = {kind: int(tally.failed[kind].sum()) for kind in FAILURES if tally.failed[kind].any()}
    ok, failed = int(tally.ok.sum()), sum(failures.values())
    seconds = tally.elapsed or tally.width

    def at(share: float) -> float | None:
        return ms(percentile(counts, share, largest))

    mean = ms(tally.latency_sum / total) if total else None
    latency = Latency(at(50), at(90), at(99), ms(largest) if total else None, at(95), at(99.9), mean)
    errors = 100 * failed / (ok + failed) if ok + failed else None
    measured = {"max": latency.max, "mean": mean, "errors": errors, "rate": ok / seconds}

    def measure(limit: Limit) -> float | None:
        return at(float(limit.name[1:])) if limit.name.startswith("p") else measured[limit.name]

    reach = 100 * (1 - 1 / total) if total else 0.0
    points = [(float(share), at(share)) for share in CURVE if share <= max(reach, 50)]
    return Report(
        url=plan.target.url,
        shape=plan.shape.text,
        begun=begun,
        seconds=seconds,
        sent=ok + failed,
        ok=ok,
        failed=failed,
        unfinished=tally.unfinished,
        interrupted=tally.interrupted,
        offered=(ok + failed + tally.unfinished) / seconds,
        throughput=ok / seconds,
        latency=latency,
        failures=failures,
        slo=tuple(limit.judge(measure(limit)) for limit in limits),
        lag_p99=ms(percentile(tally.lag, 99, tally.lag_worst)),
        lag_max=tally.lag_worst * 1000,
        connections=tally.connections,
        waited=tally.waited,
        fresh=plan.fresh,
        golden=any(ask.expected is not msgspec.UNSET for ask in plan.asks),
        remark=tally.remark,
        series=series_of(plan, tally, failures, seconds),
        curve=tuple((share, value) for share, value in points if value is not None),
    )


def series_of(plan: Plan, tally: Tally, failures: dict[str, int], seconds: float) -> Series:
    """The windows that the run reached."""
    windows = min(tally.windows, max(1, int(np.ceil(seconds / tally.width - 1e-6))))
    edges = np.minimum(np.arange(windows + 1) * tally.width, max(plan.shape.seconds, tally.width))
    widths = np.diff(edges)
    if tally.elapsed:  # the last window of a run that ended early is only as wide as it got
        widths[-1] = max(1e-3, min(widths[-1], seconds - edges[-2]))

    def line(share: float) -> tuple[float | None, ...]:
        return tuple(ms(percentile(tally.latency[k], share, float(tally.worst[k]))) for k in range(windows))

    return Series(
        width=tally.width,
        at=tuple(edges[:-1].tolist()),
        offered=tuple(plan.shape.offered(edges).tolist()),
        right=tuple((tally.ok[:windows] / widths).tolist()),
        ok=tuple(tally.ok[:windows].tolist()),
        p50=line(50),
        p90=line(90),
        p99=line(99),
        max=line(100),
        failed={kind: tuple(tally.failed[kind][:windows].tolist()) for kind in failures},
    )


def document(report: Report) -> dict[str, Any]:
    """The report for --json; milliseconds, as the contract names them."""
    latency = report.latency
    return {
        "sent": report.sent,
        "ok": report.ok,
        "failed": report.failed,
        "latency": {
            "p50": latency.p50,
            "p90": latency.p90,
            "p99": latency.p99,
            "max": latency.max,
            "p95": latency.p95,
            "p99.9": latency.p999,
            "mean": latency.mean,
        },
        "slo": [msgspec.to_builtins(judged) for judged in report.slo],
        "failures": report.failures,
        "offered": round(report.offered, 3),
        "throughput": round(report.throughput, 3),
        "seconds": round(report.seconds, 3),
        "shape": report.shape,
        "url": report.url,
        "interrupted": report.interrupted,
        "unfinished": report.unfinished,
        "generator": {
            "lag_p99": report.lag_p99,
            "lag_max": round(report.lag_max, 4),
            "limited": report.generator_limited,
            "connections": report.connections,
            "waited": report.waited,
        },
    }


def number(value: float) -> str:
    """A figure as a person reads it: three significant places, thousands parted."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value >= 100 else f"{value:.3g}"


def span(milliseconds: float | None) -> str:
    """12.3 ms, 1.2 s."""
    if milliseconds is None:
        return "-"
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{number(milliseconds)} ms"


def measured_text(judged: Judged) -> str:
    """What was measured, with its unit."""
    if judged.measured is None:
        return "nothing measured"
    if judged.unit == "ms":
        return span(judged.measured)
    return f"{number(judged.measured)}{' %' if judged.unit == '%' else judged.unit}"


def headline(report: Report) -> str:
    """The run in one sentence."""
    failed = f"{report.failed:,} failed ({number(report.errors)} %)" if report.failed else "none failed"
    cut = f", {report.unfinished:,} cut off" if report.unfinished else ""
    early = ", interrupted" if report.interrupted else ""
    return (
        f"{report.sent:,} requests in {report.seconds:.1f} s ({number(report.offered)}/s){early}: "
        f"{report.ok:,} {'right' if report.golden else 'answered'}, {failed}{cut}"
    )


def lines(report: Report) -> list[str]:
    """The report for a terminal."""
    latency = report.latency
    parts = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("p99.9", latency.p999)]
    shown = "   ".join(f"{name} {span(value)}" for name, value in [*parts, ("max", latency.max)])
    facts = [
        ("latency", shown),
        ("throughput", f"{number(report.throughput)}/s {'right' if report.golden else 'answered'}"),
        ("generator", generator_line(report)),
    ]
    found = [headline(report), *(f"{name:<12}{text}" for name, text in facts)]
    for place, (kind, count) in enumerate(report.failures.items()):
        found.append(f"{'' if place else 'failures':<12}{kind} {count:,}: {MEANING[kind]}")
    if report.remark:
        found.append(f"{'':<12}the first: {' '.join(report.remark.split())[:200]}")
    for place, judged in enumerate(report.slo):
        verdict = "met" if judged.met else "MISSED"
        found.append(f"{'' if place else 'objective':<12}{judged.objective}  {verdict}  {measured_text(judged)}")
    return found


def generator_line(report: Report) -> str:
    """How exact the generator was, and what it used."""
    text = f"sent {span(report.lag_p99)} late at p99, {span(report.lag_max)} at most"
    text += f"; {report.connections:,} connection{'' if report.connections == 1 else 's'}"
    if report.waited:
        text += f", all busy for {report.waited:,} requests"
    return text


def warning(report: Report) -> str:
    """What may be wrong with the run itself, "" when nothing is."""
    if OWN in report.failures:
        return "this machine had no port or file left: the run was limited by the generator, not by the service"
    if report.generator_limited:
        return (
            f"the generator sent {span(report.lag_p99)} late at p99: the run was limited by the generator, not by the "
            "service; lower the rate or free a processor for it"
        )
    if (report.lag_p99 or 0.0) > LAG_SUSPECT * 1000:
        return f"the generator sent {span(report.lag_p99)} late at p99, which is part of every latency here"
    return ""


def junit(report: Report) -> str:
    """The objective as JUnit XML: a case a limit; without limits one case, that it ran."""
    suite = xml.Element("testsuite", name="wherry stress", time=f"{report.seconds:.3f}")
    for name, value in (("url", report.url), ("shape", report.shape)):
        properties = suite.find("properties")
        if properties is None:
            properties = xml.SubElement(suite, "properties")
        xml.SubElement(properties, "property", name=name, value=printable(value))
    for judged in report.slo:
        case = xml.SubElement(suite, "testcase", classname="wherry.stress", name=judged.objective, time="0")
        if not judged.met:
            failure = xml.SubElement(case, "failure", message=f"{judged.objective}: {measured_text(judged)}")
            failure.text = printable("\n".join(lines(report)))
    if not report.slo:
        xml.SubElement(suite, "testcase", classname="wherry.stress", name="ran", time=f"{report.seconds:.3f}")
    xml.SubElement(suite, "system-out").text = printable("\n".join(lines(report)))
    missed = sum(not judged.met for judged in report.slo)
    suite.attrib.update(tests=str(max(1, len(report.slo))), failures=str(missed), errors="0", skipped="0")
    root = xml.Element("testsuites")
    root.append(suite)
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def printable(text: str) -> str:
    """`text` without the control characters that XML cannot hold."""
    return "".join(
        letter if letter >= " " or letter in "\n\t" else "?" for letter in text if letter not in "\ufffe\uffff"
    )
