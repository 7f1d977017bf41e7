"""How a run of load looks while it goes on. Written by hand, without rich: drawing must not delay what is measured."""

from __future__ import annotations

from collections import deque
from typing import TextIO

from wherry.cli.drawing import Drawing, dots, sparks
from wherry.contract.events import ClusterView, StressView

HISTORY = 40
BAR = 36


def plain(view: StressView) -> str:
    """The view on one line."""
    beside = f"; {cluster_line(view.cluster)}" if view.cluster is not None else ""
    return (
        f"{view.elapsed:.0f} of {view.seconds:.0f} s: {view.offered:,.0f}/s offered, {view.rate:,.0f}/s answered, "
        f"p50 {span(view.p50)}, p99 {span(view.p99)}, {view.failed:,} of {view.sent:,} failed{beside}"
    )


def cluster_line(view: ClusterView) -> str:
    """2 of 3 pods ready (at most 10), CPU 180m, 72 % of the request, aiming at 60 %."""
    most = f" (at most {view.most})" if view.most is not None else ""
    parts = [f"{view.ready} of {view.wanted} pods ready{most}"]
    if view.cpu is not None:
        parts.append(f"CPU {view.cpu}m")
    if view.target is not None:
        seen = "unknown" if view.current is None else f"{view.current} %"
        parts.append(f"{seen} of the request, aiming at {view.target} %")
    return ", ".join(parts)


def span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


class Screen:
    """Draws a run in place: each view over the one before it. The report says it all again."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self.drawing, self.width = Drawing(stream), width
        self.rates: deque[float] = deque(maxlen=HISTORY)
        self.tails: deque[float] = deque(maxlen=HISTORY)

    def tell(self, view: StressView) -> None:
        self.rates.append(view.rate)
        self.tails.append(view.p99 or 0.0)
        self.drawing.draw(self.lines(view), self.width)

    def close(self) -> None:
        self.drawing.close()

    def lines(self, view: StressView) -> list[str]:
        done = round(BAR * min(1.0, view.elapsed / view.seconds))
        bar = f"\x1b[36m{'━' * done}\x1b[2m{'━' * (BAR - done)}\x1b[0m"
        colour = "31" if view.failed else "32"
        late = "31" if view.lag > 0.005 else "2"
        room = max(0, self.width - 60)
        rates, tails = sparks(self.rates)[-room:] if room else "", sparks(self.tails)[-room:] if room else ""
        speed = f"offered {view.offered:>9,.0f}/s   answered {view.rate:>9,.0f}/s"
        times = f"p50 {span(view.p50):<9} p90 {span(view.p90):<9} p99 {span(view.p99)}"
        under = view.cluster
        beside = [] if under is None else [f"{dots(under.ready, under.wanted)}  {cluster_line(under)}"]
        counts = f"\x1b[{colour}m{view.failed:,} of {view.sent:,} failed\x1b[0m   {view.in_flight:,} under way"
        return [
            f"{bar}  {view.elapsed:.1f} of {view.seconds:.0f} s",
            f"{speed:<55} \x1b[36m{rates}",
            f"{times:<55} \x1b[35m{tails}",
            f"{counts}   \x1b[{late}mgenerator {span(view.lag)} late at p99",
            *beside,
        ]
