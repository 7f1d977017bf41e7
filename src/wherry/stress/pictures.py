"""Pictures of a run as SVG text: axes, lines, bars. No scripts; colours are CSS classes of the page. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 40

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Axis:
    """From values to places. ticks: value and label."""

    place: Callable[[float], float]
    ticks: tuple[tuple[float, str], ...]
    title: str


def steps(low: float, high: float, count: int = 5) -> list[float]:
    """Round values from low to high, about `count` of them."""
    span = max(high - low, 1e-12)
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    size = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw - 1e-12)
    first = math.ceil(low / size - 1e-9)
    return [k * size for k in range(first, math.floor(high / size + 1e-9) + 1)]


def short(value: float) -> str:
    """A tick's label: 0.5, 20, 1.5k."""
    if value >= 1000:
        return f"{value / 1000:g}k" if value < 1e6 else f"{value / 1e6:g}M"
    return f"{value:g}"


def across(low: float, high: float, title: str) -> Axis:
    """A horizontal axis with even steps."""
    span = max(high - low, 1e-9)
    scale = (WIDTH - LEFT - RIGHT) / span
    return Axis(lambda v: LEFT + (v - low) * scale, tuple((v, short(v)) for v in steps(low, high, 8)), title)


def percents(highest: float) -> Axis:
    """A horizontal axis of percentiles, each nine as wide as the one before it."""
    known = [(0.0, "0"), (50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99"), (99.999, "99.999")]

    def nines(share: float) -> float:
        return math.log10(100 / (100 - share))

    scale = (WIDTH - LEFT - RIGHT) / max(nines(highest), 0.3)
    ticks = tuple((v, f"{label} %") for v, label in known if v <= highest + 1e-9)
    return Axis(lambda v: LEFT + nines(v) * scale, ticks, "percentile")


def upward(high: float, title: str) -> Axis:
    """A vertical axis from nothing with even steps."""
    top = max(high, 1e-9) * 1.06
    scale = (HEIGHT - TOP - BOTTOM) / top
    return Axis(lambda v: HEIGHT - BOTTOM - v * scale, tuple((v, short(v)) for v in steps(0, top)), title)


def counts(high: float, title: str) -> Axis:
    """A vertical axis of whole things, few or many."""
    axis = upward(high, title)
    return Axis(axis.place, tuple((v, short(v)) for v, _ in axis.ticks if v == int(v)), title)


def doublings(low: float, high: float, title: str) -> Axis:
    """A vertical axis on which each tenfold is as high as the next."""
    bottom, top = math.floor(math.log10(low)), math.log10(high * 1.15)
    scale = (HEIGHT - TOP - BOTTOM) / max(top - bottom, 1e-9)
    powers = [10.0**k for k in range(bottom, math.floor(top) + 1)]
    return Axis(
        lambda v: HEIGHT - BOTTOM - (math.log10(max(v, 10.0**bottom)) - bottom) * scale,
        tuple((v, short(v)) for v in powers),
        title,
    )


def latency_axis(values: Sequence[float], title: str = "ms") -> Axis:
    """An axis for these milliseconds: by powers of ten where they span more than a factor of 30."""
    high, low = max(values, default=1.0), min((v for v in values if v > 0), default=1.0)
    return doublings(low, high, title) if high > 30 * low else upward(high, title)


def frame(x: Axis, y: Axis, inside: str, label: str) -> str:
    """A whole picture: grid, axes, what is `inside`."""
    floor, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for value, text in y.ticks:
        at = y.place(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{end}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    for value, text in x.ticks:
        at = x.place(value)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{floor}" y2="{floor + 5}"/>')
        anchor = "end" if at > end - 12 else "middle"
        parts.append(f'<text class="tick" x="{at:.1f}" y="{floor + 19}" text-anchor="{anchor}">{text}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{end}" y1="{floor}" y2="{floor}"/>')
    parts.append(f'<text class="unit" x="{end}" y="{HEIGHT - 5}" text-anchor="end">{escape(x.title)}</text>')
    middle = (TOP + floor) / 2
    turn = f'transform="rotate(-90 13 {middle:.0f})"'
    parts.append(f'<text class="unit" x="13" y="{middle:.0f}" text-anchor="middle" {turn}>{escape(y.title)}</text>')
    return "".join([*parts, inside, "</svg>"])


def line(x: Axis, y: Axis, points: Sequence[Point], css: str) -> str:
    """A line through the points; where a value is missing it is broken."""
    path, pen = [], "M"
    for at, value in points:
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{x.place(at):.1f} {y.place(value):.1f}")
        pen = "L"
    return f'<path class="line {css}" d="{"".join(path)}"/>'


def stairs(at: Sequence[float], width: float, values: Sequence[float | None]) -> list[Point]:
    """Points of a line that holds each value for the width of its window."""
    return [(place, value) for k, value in zip(at, values, strict=True) for place in (k, k + width)]


def area(x: Axis, y: Axis, points: Sequence[tuple[float, float]], css: str) -> str:
    """What lies under the points."""
    if not points:
        return ""
    floor = HEIGHT - BOTTOM
    path = "L".join(f"{x.place(at):.1f} {y.place(value):.1f}" for at, value in points)
    first, last = x.place(points[0][0]), x.place(points[-1][0])
    return f'<path class="area {css}" d="M{first:.1f} {floor}L{path}L{last:.1f} {floor}Z"/>'


def level(y: Axis, value: float, label: str) -> str:
    """A limit: a dashed line with its name."""
    at = y.place(value)
    if not TOP <= at <= HEIGHT - BOTTOM:
        return ""
    return (
        f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text class="limit-name" x="{WIDTH - RIGHT - 4}" y="{at - 5:.1f}" text-anchor="end">{escape(label)}</text>'
    )


def bars(x: Axis, y: Axis, at: Sequence[float], width: float, stacks: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Counts a window, stacked; each stack with its CSS class."""
    parts = []
    below = [0.0] * len(at)
    for css, counts in stacks:
        for k, count in enumerate(counts):
            if not count:
                continue
            left, right = x.place(at[k]), x.place(at[k] + width)
            top, foot = y.place(below[k] + count), y.place(below[k])
            below[k] += count
            wide = max(1.2, (right - left) * 0.86)
            parts.append(
                f'<rect class="{css}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{foot - top:.1f}">'
                f"<title>{at[k]:g} s: {count:,}</title></rect>"
            )
    return "".join(parts)


def dots(x: Axis, y: Axis, points: Sequence[tuple[float, float]], css: str) -> str:
    return "".join(f'<circle class="{css}" cx="{x.place(a):.1f}" cy="{y.place(b):.1f}" r="3"/>' for a, b in points)
