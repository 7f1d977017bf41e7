"""A deployment under load as pictures and a list: replicas, CPU against its target, what happened when. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from wherry.contract.recording import Happening, Recording, Second
from wherry.stress import pictures as draw

MOST_HAPPENINGS = 60
TOLD = {"pod_created": "pod created", "pod_ready": "pod ready", "pod_ended": "pod gone", "rescaled": "rescaled"}
# For a picture that stands alone, outside the report's page; fit for light and dark.
STYLE = (
    "svg{font:11px system-ui,sans-serif} text{fill:#6b7787} .grid{stroke:#8884} .axis{stroke:#8888}"
    " .line{fill:none;stroke-width:1.8} .a{stroke:#0f8b8d} .c{stroke:#8a3ffc}"
    " .offered{stroke:#c98a00;stroke-dasharray:5 4}"
    " .area{stroke:none;opacity:.2} .area.a{fill:#0f8b8d} .area.c{fill:#8a3ffc}"
    " .limit{stroke:#c22f3d;stroke-dasharray:3 4} .limit-name{fill:#c22f3d} .name{font-weight:600;font-size:13px}"
)


def replicas(run: Recording) -> str:
    """Pods that are wanted and pods that are ready, over time."""
    x, most = across(run), run.conditions.max_replicas
    ready, desired = stairs(run, "ready"), stairs(run, "desired")
    known = [value for _, value in (*ready, *desired) if value is not None]
    y = draw.counts(max([*known, most or 1]), "pods")
    solid = [(at, value) for at, value in ready if value is not None]
    inside = draw.area(x, y, solid, "a") + draw.line(x, y, ready, "a") + draw.line(x, y, desired, "offered")
    if most:
        inside += draw.level(y, most, f"at most {most}")
    return draw.frame(x, y, inside, "replicas over time")


def cpu(run: Recording) -> str:
    """What the autoscaler saw of the CPU, beside its target; empty where it saw nothing."""
    x, points = across(run), stairs(run, "hpa_current")
    known = [(at, value) for at, value in points if value is not None]
    if not known:
        return ""
    target = run.conditions.cpu_target
    y = draw.upward(max([*(value for _, value in known), target]), "% of the request")
    inside = draw.area(x, y, known, "c") + draw.line(x, y, points, "c") + draw.level(y, target, f"target {target} %")
    return draw.frame(x, y, inside, "CPU over time")


def offered(run: Recording) -> str:
    """Requests that came due and requests that were answered well, over time."""
    x = across(run)
    due = draw.stairs([one.at for one in run.seconds], 1.0, [one.offered for one in run.seconds])
    right = [(at, value or 0.0) for at, value in stairs(run, "ok")]
    y = draw.upward(max([*(value or 0.0 for _, value in due), *(value for _, value in right)]), "a second")
    inside = draw.area(x, y, right, "a") + draw.line(x, y, right, "a") + draw.line(x, y, due, "offered")
    return draw.frame(x, y, inside, "load over time")


def told(run: Recording) -> tuple[Happening, ...]:
    """What happened, without what only a simulation wants to know."""
    return tuple(one for one in run.happenings if one.kind in TOLD)


def rows(run: Recording) -> str:
    """What happened, as rows of a table."""
    found = told(run)
    shown = "".join(
        f'<tr><td class="n">{one.at:.1f} s</td><td>{TOLD[one.kind]}</td><td>{escape(one.text or one.who)}</td></tr>'
        for one in found[:MOST_HAPPENINGS]
    )
    more = len(found) - MOST_HAPPENINGS
    return shown + (f'<tr><td></td><td colspan="2">and {more} more</td></tr>' if more > 0 else "")


def alone(run: Recording) -> str:
    """Load, replicas and CPU below one another, as an SVG file that needs nothing else."""
    panels = [
        ("Requests: offered (dashed) and answered", offered(run)),
        ("Pods: wanted (dashed) and ready", replicas(run)),
        ("CPU as the autoscaler saw it", cpu(run)),
    ]
    panels = [(name, picture) for name, picture in panels if picture]
    high = draw.HEIGHT + 26
    parts = [
        f'<text class="name" x="{draw.LEFT}" y="{k * high + 18}">{escape(name)}</text>'
        f'<svg y="{k * high + 24}" width="{draw.WIDTH}" height="{draw.HEIGHT}">{picture}</svg>'
        for k, (name, picture) in enumerate(panels)
    ]
    size = f'viewBox="0 0 {draw.WIDTH} {len(panels) * high}" width="{draw.WIDTH}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{"".join(parts)}</svg>\n'


def across(run: Recording) -> draw.Axis:
    return draw.across(0, run.seconds[-1].at + 1, "seconds")


def stairs(run: Recording, field: str) -> list[draw.Point]:
    return draw.stairs([one.at for one in run.seconds], 1.0, list(values(run.seconds, field)))


def values(seconds: tuple[Second, ...], field: str) -> Iterator[float | None]:
    for one in seconds:
        value = getattr(one, field)
        yield None if value is None else float(value)
