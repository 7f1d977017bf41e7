"""The report as one HTML file: no scripts, nothing fetched, fit for light, dark and paper."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from wherry.contract.recording import Recording
from wherry.stress import pictures as draw
from wherry.stress import sheet, timeline
from wherry.stress.outcomes import FAILURES, MEANING
from wherry.stress.report import Report, measured_text, number, span, warning

# Swatches are drawn by class, so that they follow light and dark.
COLOURS = {kind: f"f{place}" for place, kind in enumerate(FAILURES)}


def page(report: Report, run: Recording | None = None) -> str:
    """The whole document; `run` is what became of the deployment under the load."""
    swatches = "".join(f".f{k}{{fill:var(--f{k});background:var(--f{k})}}" for k in range(len(FAILURES)))
    caution = warning(report)
    body = (
        f'<header><div><p class="over">wherry stress</p><h1>{escape(report.url)}</h1></div>{verdict(report)}</header>'
        f'<p class="lead">{lead(report)}</p>'
        + (f'<p class="warn">{escape(caution)}</p>' if caution else "")
        + figures(report)
        + f'<section class="pictures">{latency(report)}{curve(report)}{throughput(report)}{failures(report)}'
        + f"{scaling(run)}</section>"
        + f'<section class="tables">{kinds(report)}{objective(report)}{conditions(report)}{happenings(run)}</section>'
        + "<footer>Latency runs from the moment a request was due, not from when it could be sent, so a service that "
        "stalls is charged for everybody who came meanwhile. It covers right answers and timeouts. Nothing was sent "
        "twice.</footer>"
    )
    return sheet.document(f"wherry stress {report.url}", body, swatches)


def verdict(report: Report) -> str:
    if not report.slo:
        return '<span class="verdict none">no objective given</span>'
    if report.met:
        return '<span class="verdict good">objective met</span>'
    return '<span class="verdict bad">objective missed</span>'


def lead(report: Report) -> str:
    parts = [report.begun, f"{report.shape} for {report.seconds:.1f} s", "interrupted" if report.interrupted else ""]
    return " · ".join(escape(part) for part in parts if part)


def figures(report: Report) -> str:
    """The six figures that are read first."""
    latency = report.latency
    cells = [
        (number(report.throughput), f"{'right' if report.golden else 'answered'} a second", False),
        (f"{number(report.errors)} %", f"failed: {report.failed:,} of {report.sent:,}", report.failed > 0),
        (span(latency.p50), "p50", False),
        (span(latency.p99), "p99", False),
        (span(latency.p999), "p99.9", False),
        (span(latency.max), "max", False),
    ]
    return sheet.figures(cells)


def card(title: str, note: str, inside: str, legend: Iterable[tuple[str, str, bool]] = ()) -> str:
    """A picture with its title. legend: CSS variable, name, whether dashed."""
    keys = "".join(
        f'<span><i{" class=dash" if dashed else ""} style="border-color:var(--{colour})"></i>{escape(name)}</span>'
        for colour, name, dashed in legend
    )
    keys = f'<div class="legend">{keys}</div>' if keys else ""
    return f'<div class="card"><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{keys}{inside}</div>'


def latency(report: Report) -> str:
    series = report.series
    known = [value for line in (series.p50, series.p99, series.max) for value in line if value is not None]
    if not known:
        return card("Latency over time", "", '<p class="empty">Nothing was answered.</p>')
    x = draw.across(0, series.at[-1] + series.width, "seconds")
    y = draw.latency_axis(known)
    middle = [at + series.width / 2 for at in series.at]
    lines = [("d", series.max), ("c", series.p99), ("b", series.p90), ("a", series.p50)]
    inside = "".join(draw.line(x, y, list(zip(middle, values, strict=True)), css) for css, values in lines)
    inside += "".join(draw.level(y, one.limit, one.objective) for one in report.slo if one.unit == "ms")
    legend = [("a", "p50", False), ("b", "p90", False), ("c", "p99", False), ("d", "max", False)]
    note = f"in windows of {series.width:g} s, by when requests were due"
    return card("Latency over time", note, draw.frame(x, y, inside, "latency over time"), legend)


def curve(report: Report) -> str:
    if not report.curve:
        return card("Percentiles", "", '<p class="empty">Nothing was answered.</p>')
    x = draw.percents(max(50.0, report.curve[-1][0]))
    y = draw.latency_axis([value for _, value in report.curve])
    inside = draw.area(x, y, report.curve, "c") + draw.line(x, y, report.curve, "c")
    inside += "".join(draw.level(y, one.limit, one.objective) for one in report.slo if one.unit == "ms")
    return card("Percentiles", "how long all but the slowest waited", draw.frame(x, y, inside, "percentile curve"))


def throughput(report: Report) -> str:
    series = report.series
    end = series.at[-1] + series.width
    x = draw.across(0, end, "seconds")
    y = draw.upward(max([*series.offered, *series.right]), "a second")
    right = [(at, value) for at, value in draw.stairs(series.at, series.width, series.right) if value is not None]
    offered = draw.stairs(series.at, series.width, series.offered)
    inside = draw.area(x, y, right, "a") + draw.line(x, y, right, "a") + draw.line(x, y, offered, "offered")
    legend = [("offered", "offered", True), ("a", "right" if report.golden else "answered", False)]
    note = "requests due in a window, and how many of those were answered well"
    return card("Throughput against offered load", note, draw.frame(x, y, inside, "throughput"), legend)


def failures(report: Report) -> str:
    series = report.series
    if not report.failures:
        return card("Failures", "", '<p class="empty">No request failed.</p>')
    tallest = max(sum(counts) for counts in zip(*series.failed.values(), strict=True))
    x = draw.across(0, series.at[-1] + series.width, "seconds")
    y = draw.upward(tallest, f"in {series.width:g} s")
    stacks = [(COLOURS[kind], counts) for kind, counts in series.failed.items()]
    inside = draw.frame(x, y, draw.bars(x, y, series.at, series.width, stacks), "failures over time")
    return card("Failures", "by when the requests were due; what each colour is stands below", inside)


def scaling(run: Recording | None) -> str:
    """What became of the deployment."""
    if run is None:
        return ""
    legend = [("offered", "wanted", True), ("a", "ready", False)]
    note = f"{run.conditions.name}, read from the cluster twice a second"
    pods = card("Replicas over time", note, timeline.replicas(run), legend)
    seen = timeline.cpu(run)
    return pods + (card("CPU as the autoscaler saw it", "percent of the request", seen) if seen else "")


def happenings(run: Recording | None) -> str:
    """What happened to the pods, and what the autoscaler did."""
    if run is None:
        return ""
    rows = timeline.rows(run) or '<tr><td class="empty">No pod came or went.</td></tr>'
    return f'<div class="card wide"><h2>What happened in the cluster</h2><table>{rows}</table></div>'


def kinds(report: Report) -> str:
    """What the failures were."""
    if not report.failures:
        return ""
    rows = "".join(
        f'<tr><td><i class="{COLOURS[kind]}"></i>{escape(kind)}</td><td>{escape(MEANING[kind])}</td>'
        f'<td class="n">{count:,}</td></tr>'
        for kind, count in report.failures.items()
    )
    first = f'<p class="note">The first: <code>{escape(report.remark[:300])}</code></p>' if report.remark else ""
    return f'<div class="card wide"><h2>What failed</h2><table>{rows}</table>{first}</div>'


def objective(report: Report) -> str:
    if not report.slo:
        hint = '<p class="empty">None was given. <code>--slo "p99&lt;50ms,errors&lt;0.1%"</code> sets one.</p>'
        return f'<div class="card"><h2>Objective</h2>{hint}</div>'
    rows = "".join(
        f"<tr><td><code>{escape(one.objective)}</code></td><td>{escape(measured_text(one))}</td>"
        f'<td class="n {"good" if one.met else "bad"}">{"met" if one.met else "missed"}</td></tr>'
        for one in report.slo
    )
    head = '<tr><th>limit</th><th>measured</th><th class="n"></th></tr>'
    return f'<div class="card"><h2>Objective</h2><table>{head}{rows}</table></div>'


def conditions(report: Report) -> str:
    """How the run was made, so that it can be judged."""
    per = "a new one for each request" if report.fresh else "kept open"
    busy = f"; all were busy for {report.waited:,} requests, whose wait counts" if report.waited else ""
    facts = [
        ("offered", f"{report.shape}: {number(report.offered)}/s on average"),
        ("sent", f"{report.sent:,}" + (f", {report.unfinished:,} more cut off" if report.unfinished else "")),
        ("connections", f"{report.connections:,}, {per}{busy}"),
        ("answers", "each compared with its golden row" if report.golden else "not compared with anything"),
        ("generator", f"{span(report.lag_p99)} late at p99, {span(report.lag_max)} at most"),
        ("percentiles", "at most 0.55 % too high, never too low"),
    ]
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts)
    return f'<div class="card"><h2>How it was measured</h2><table>{rows}</table></div>'
