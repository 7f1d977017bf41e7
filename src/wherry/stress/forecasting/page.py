"""A forecast as one HTML file, in the style of the stress report. Pure but for its style."""

from __future__ import annotations

from html import escape
from itertools import pairwise

import numpy as np

from wherry.stress import pictures as draw
from wherry.stress import sheet
from wherry.stress.forecasting.forecast import Forecast
from wherry.stress.forecasting.replica import Floats
from wherry.stress.forecasting.report import headline, length, lines, scaler_text, unit_of
from wherry.stress.page import card
from wherry.stress.report import number

COLUMNS = 540  # points of a line: about one a pixel


def page(forecast: Forecast, name: str, priced: bool) -> str:
    """The whole document. `name`: of the trace."""
    parts = [forecast.trace.begun, length(forecast.trace.seconds), scaler_text(forecast)]
    verdict = "good" if forecast.met else "bad"
    body = (
        f'<header><div><p class="over">wherry forecast</p><h1>{escape(name)}</h1></div>'
        f'<span class="verdict {verdict}">objective {"holds" if forecast.met else "missed"}</span></header>'
        f'<p class="lead">{escape(" · ".join(part for part in parts if part))}</p>'
        + figures(forecast, priced)
        + f'<section class="pictures">{replicas(forecast)}{traffic(forecast)}{latency(forecast)}{misses(forecast)}'
        f'</section><section class="tables">{table(forecast, priced)}</section>'
        "<footer>Simulated: the autoscaler's own rules in steps of "
        f"{forecast.step:g} s, each replica a queue that shares the load evenly. A band is the middle 90 % of the "
        "ways in which its turns and the scrapes may fall.</footer>"
    )
    return sheet.document(f"wherry forecast {name}", body)


def figures(forecast: Forecast, priced: bool) -> str:
    requests = max(forecast.outcomes[0].requests, 1e-9)
    _, slow, _ = forecast.figure("slow")
    _, refused, _ = forecast.figure("refused")
    _, mean, _ = forecast.figure("pods_mean")
    _, most, _ = forecast.figure("pods_most")
    _, missed, _ = forecast.figure("missed_seconds")
    _, cost, _ = forecast.figure("cost" if priced else "pod_hours")
    cells = [
        (number(requests), "requests", False),
        (f"{number(100 * slow / requests)} %", "too slow", slow > forecast.setup.objective.slow * requests),
        (f"{number(100 * refused / requests)} %", "refused", refused > forecast.setup.objective.failed * requests),
        (length(missed) if missed else "never", "objective not held", False),
        (f"{mean:.3g} / {most:g}", "replicas, mean and most", False),
        (number(cost), "cost" if priced else "pod hours", False),
    ]
    return sheet.figures(cells)


def replicas(forecast: Forecast) -> str:
    x, at = across(forecast)
    scaler = forecast.setup.autoscaler
    low, middle, high = (columns(row, np.median) for row in forecast.ready)
    y = draw.counts(float(max(high.max(), columns(forecast.desired[1], np.max).max())), "pods")
    inside = band(x, y, at, low, high) + draw.line(x, y, points(at, middle), "a")
    inside += draw.line(x, y, points(at, columns(forecast.desired[1], np.max)), "offered")
    inside += draw.level(y, scaler.max, f"at most {scaler.max}")
    legend = [("offered", "asked for", True), ("a", "ready", False)]
    note = "ready pods with the band of 90 % of the runs" if forecast.runs > 1 else "in one run"
    return card("Replicas", note, draw.frame(x, y, inside, "replicas over time"), legend)


def traffic(forecast: Forecast) -> str:
    x, at = across(forecast)
    rate = columns(forecast.rate, np.max)
    room = columns(forecast.ready[1], np.min) * forecast.setup.replica.knee
    most = float(max(rate.max(), min(room.max(), 3 * rate.max())))  # beyond three times the traffic room is room
    y = draw.upward(most, "a second")
    inside = draw.area(x, y, [(a, b) for a, b in zip(at, rate.tolist(), strict=True)], "a")
    inside += draw.line(x, y, points(at, rate), "a") + draw.line(x, y, points(at, np.minimum(room, most)), "c")
    legend = [("a", "requests", False), ("c", "what the ready pods hold at the objective", False)]
    return card("Traffic and room", "the highest of each moment", draw.frame(x, y, inside, "traffic over time"), legend)


def latency(forecast: Forecast) -> str:
    x, at = across(forecast)
    replica = forecast.setup.replica
    low, middle, high = (1000 * columns(row, np.max) for row in forecast.tail)
    y = draw.latency_axis([*middle.tolist(), *high.tolist(), 1000 * replica.limit])
    inside = band(x, y, at, low, high) + draw.line(x, y, points(at, middle), "c")
    inside += draw.level(y, 1000 * replica.limit, f"{1000 * replica.limit:g} ms")
    share = 100 * (1 - replica.share)
    return card(
        "Latency",
        f"what {share:g} of 100 requests do not exceed, the worst of each moment",
        draw.frame(x, y, inside, "latency over time"),
        [("c", f"p{share:g}", False)],
    )


def misses(forecast: Forecast) -> str:
    shares = 100 * columns(forecast.missed[1], np.max)
    if shares.max() < 0.005:
        return card("Requests missed", "", '<p class="empty">None was too slow or refused.</p>')
    x, at = across(forecast)
    y = draw.upward(float(shares.max()), "%")
    inside = draw.area(x, y, [(a, b) for a, b in zip(at, shares.tolist(), strict=True)], "c")
    inside += draw.line(x, y, points(at, shares), "c")
    note = "share of the requests of a moment that were too slow or refused, the worst of each"
    return card("Requests missed", note, draw.frame(x, y, inside, "requests missed over time"))


def table(forecast: Forecast, priced: bool) -> str:
    rows = "".join(
        f"<tr><td>{escape(line[:12].strip())}</td><td>{escape(line[12:])}</td></tr>"
        for line in lines(forecast, priced)[1:]
    )
    return f'<div class="card wide"><h2>{escape(headline(forecast))}</h2><table>{rows}</table></div>'


def across(forecast: Forecast) -> tuple[draw.Axis, list[float]]:
    """The axis of time in the unit that fits, and the middle of each column on it."""
    size, name = unit_of(forecast.trace.seconds)
    end = forecast.trace.seconds / size
    count = len(columns(forecast.rate, np.max))
    return draw.across(0, end, name), [(place + 0.5) * end / count for place in range(count)]


def columns(values: Floats, kind: object) -> Floats:
    """`values` in at most COLUMNS parts of equal length, each by its maximum, minimum or median."""
    if len(values) <= COLUMNS:
        return values
    edges = np.linspace(0, len(values), COLUMNS + 1).astype(int)
    if kind is np.median:
        return np.array([np.median(values[a:b]) for a, b in pairwise(edges)])
    reduce = np.maximum if kind is np.max else np.minimum
    return np.asarray(reduce.reduceat(values, edges[:-1]), dtype=np.float64)


def points(at: list[float], values: Floats) -> list[draw.Point]:
    return list(zip(at, values.tolist(), strict=True))


def band(x: draw.Axis, y: draw.Axis, at: list[float], low: Floats, high: Floats) -> str:
    """What lies between two lines."""
    there = [f"{x.place(a):.1f} {y.place(b):.1f}" for a, b in zip(at, high.tolist(), strict=True)]
    back = [f"{x.place(a):.1f} {y.place(b):.1f}" for a, b in zip(at, low.tolist(), strict=True)]
    return f'<path class="area a" d="M{"L".join([*there, *reversed(back)])}Z"/>'
