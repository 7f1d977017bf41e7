"""A forecast in words and as JSON. Pure."""

from __future__ import annotations

from typing import Any

from wherry.stress.forecasting.forecast import Forecast
from wherry.stress.report import number

MOST_POINTS = 720  # of a series in the JSON
UNITS = ((2 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (240.0, 60.0, "min"), (0.0, 1.0, "s"))


def unit_of(seconds: float) -> tuple[float, str]:
    """The unit in which a length of time is best read: its seconds and its name."""
    return next((size, name) for least, size, name in UNITS if seconds >= least)


def length(seconds: float) -> str:
    """45 s, 12 min, 7.5 hours, 365 days."""
    size, name = unit_of(seconds)
    return f"{number(seconds / size)} {name}"


def ranged(low: float, middle: float, high: float, digits: int = 3) -> str:
    """The figure, with its 5 to 95 % band where it has one."""
    shown = tuple(number(float(f"{value:.{digits}g}")) for value in (low, middle, high))
    return shown[1] if shown[0] == shown[2] else f"{shown[1]} ({shown[0]} to {shown[2]})"


def lines(forecast: Forecast, priced: bool) -> list[str]:
    """What a person reads on the terminal."""
    setup, trace = forecast.setup, forecast.trace
    scaler, replica = setup.autoscaler, setup.replica
    requests = forecast.outcomes[0].requests
    least, _, _ = forecast.figure("pods_least")
    _, middle, most = forecast.figure("pods_most")
    rows = [
        ("traffic", f"{number(requests)} requests, {number(trace.rates.max())}/s at most"),
        ("replica", f"{number(replica.knee)}/s at the objective, ready {number(replica.start)} s after it is made"),
        ("autoscaler", scaler_text(forecast)),
        ("replicas", f"{least:g} to {middle:g}, {ranged(*forecast.figure('pods_mean'))} on average"),
        ("slow", missed_text(forecast, "slow", setup.objective.slow)),
        ("refused", missed_text(forecast, "refused", setup.objective.failed)),
    ]
    _, seconds, _ = forecast.figure("missed_seconds")
    typical = forecast.typical
    if seconds:
        at = f", worst {length(typical.worst)} into the trace" if typical.worst is not None else ""
        rows.append(("missed", f"the objective does not hold for {length(seconds)} of {length(trace.seconds)}{at}"))
    rows.append(("pod hours", ranged(*forecast.figure("pod_hours"))))
    if priced:
        rows.append(("cost", ranged(*forecast.figure("cost"))))
    if most >= scaler.max:
        rows.append(("maximum", f"all {scaler.max} replicas are used; a higher maximum may hold more"))
    return [headline(forecast), *(f"{name:<12}{text}" for name, text in rows)]


def headline(forecast: Forecast) -> str:
    verdict = "the objective holds" if forecast.met else "the objective is MISSED"
    ways = f"in {forecast.runs} ways that its turns may fall" if forecast.runs > 1 else "in one run"
    return f"{length(forecast.trace.seconds)} simulated {ways}: {verdict}"


def scaler_text(forecast: Forecast) -> str:
    scaler = forecast.setup.autoscaler
    return f"{scaler.min} to {scaler.max} replicas at {scaler.target} % CPU, down after {scaler.behavior.down.window} s"


def missed_text(forecast: Forecast, name: str, allowed: float) -> str:
    requests = max(forecast.outcomes[0].requests, 1e-9)
    low, middle, high = (round(100 * value / requests, 4) for value in forecast.figure(name))
    held = "met" if high <= 100 * allowed + 1e-9 else "MISSED" if low > 100 * allowed else "not always met"
    return f"{ranged(low, middle, high, 2)} % of requests, {number(100 * allowed)} % allowed: {held}"


def document(forecast: Forecast, tried: int | None = None) -> dict[str, Any]:
    """The forecast for --json. Bands are [5 %, 50 %, 95 %]; latency in milliseconds."""
    setup = forecast.setup
    scaler = setup.autoscaler
    places = range(0, len(forecast.rate), max(1, -(-len(forecast.rate) // MOST_POINTS)))
    found: dict[str, Any] = {
        "met": forecast.met,
        "seconds": forecast.trace.seconds,
        "begun": forecast.trace.begun or None,
        "runs": forecast.runs,
        "requests": round(forecast.outcomes[0].requests, 3),
        "settings": {
            "min": scaler.min,
            "max": scaler.max,
            "cpu": scaler.target,
            "down_after": scaler.behavior.down.window,
        },
        **{
            name: [round(value, 6) for value in forecast.figure(name)]
            for name in (
                "slow",
                "refused",
                "missed_seconds",
                "pods_least",
                "pods_most",
                "pods_mean",
                "pod_hours",
                "cost",
            )
        },
        "series": {
            "at": [round(place * forecast.step, 3) for place in places],
            "offered": [round(float(forecast.rate[place]), 3) for place in places],
            "desired": [[int(value) for value in forecast.desired[:, place]] for place in places],
            "ready": [[int(value) for value in forecast.ready[:, place]] for place in places],
            "tail": [[round(1000 * float(value), 2) for value in forecast.tail[:, place]] for place in places],
        },
    }
    if tried is not None:
        found["tried"] = tried
    return found


def settings_lines(forecast: Forecast) -> list[str]:
    """The lines of wherry.toml that set what was found."""
    scaler = forecast.setup.autoscaler
    return [
        "[deploy.autoscale]",
        f"min = {scaler.min}",
        f"max = {scaler.max}",
        f"cpu = {scaler.target}",
        f"down_after = {scaler.behavior.down.window}",
    ]
