"""Shows what rooms tell: in place on a terminal, one line a fact elsewhere, nothing for -q; results go to stdout.

rich is imported here alone, and only when a terminal is there to be drawn on.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol, TextIO

import click

from wherry.cli import stress_view, table
from wherry.contract.events import Event, Note, Output, Progress, Ready, RolloutView, Step, StressView
from wherry.errors import NotConfirmed

STRESS_SECONDS = 5.0  # between two lines about a run of load where nothing is drawn


class View(Protocol):
    """One way of showing events."""

    def tell(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Console:
    """What a verb speaks through. A context: leaving it ends the live view."""

    def __init__(self, *, quiet: bool = False, verbose: int = 0, as_json: bool = False, live: bool = True) -> None:
        self.quiet, self.verbose, self.as_json, self.live = quiet, verbose, as_json, live
        self._view: View | None = None
        self._facts: set[str] = set()

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def width(self) -> int:
        """Where lines are cut: the terminal's width, or nowhere when a file or a program reads."""
        return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 0

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer a question."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not self.as_json

    def tell(self, event: Event) -> None:
        """Show `event` on standard error; that a service is ready, which the lines before it said, is for programs."""
        if isinstance(event, Ready):
            if self.as_json:
                self.document(event)
            return
        warning = isinstance(event, Note) and event.warn
        if self.quiet or (self.as_json and not warning):
            return
        if isinstance(event, Note):
            self._facts.add(event.text)
        elif isinstance(event, Step) and event.text in self._facts:
            return  # told as a fact already: the context and namespace, which come before all else
        if self._view is None:
            self._view = self._choose()
        self._view.tell(event)

    def _choose(self) -> View:
        if self.live and not self.as_json and coloured(sys.stderr):
            return LiveView(self.verbose)
        return PlainView(sys.stderr, self.verbose)

    def note(self, text: str, *, hint: str = "", warn: bool = False) -> None:
        """Something to know that is no result."""
        self.tell(Note(text, warn, hint))

    def say(self, text: str = "") -> None:
        """A line of the result."""
        self.close()
        sys.stdout.write(text + "\n")

    def say_all(self, lines: Iterable[str]) -> None:
        """Lines of the result."""
        for line in lines:
            self.say(line)

    def document(self, value: Any) -> None:
        """A JSON document on one line of stdout, at once: somebody may be following."""
        import msgspec

        self.close()
        sys.stdout.write(json.dumps(msgspec.to_builtins(value, enc_hook=str), ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def confirm(self, question: str, *, flag: str) -> None:
        """Return when the user says yes; NotConfirmed, naming `flag`, when they do not or nobody is there."""
        if not self.agreed(question, flag=flag):
            raise NotConfirmed(question, flag)

    def agreed(self, question: str, *, flag: str) -> bool:
        """What the user answers; NotConfirmed, naming `flag`, when nobody is there."""
        self.close()
        if not self.interactive:
            raise NotConfirmed(question, flag)
        return click.confirm(question, err=True)

    def close(self) -> None:
        """End the live view, leaving what is done above."""
        if self._view is not None:
            self._view.close()
            self._view = None


def coloured(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that may be drawn on."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class PlainView:
    """One line a fact, nothing drawn twice: for files, CI and NO_COLOR. What other programs print shows with -v."""

    def __init__(self, stream: TextIO, verbose: int = 0) -> None:
        self.stream = stream
        self.verbose = verbose
        self.last = ""
        self.open: Step | None = None  # begun, its line without an end
        self.next_stress = 0.0  # seconds of a run of load that are told next

    def tell(self, event: Event) -> None:
        if isinstance(event, Step) and self.open is not None and event.text == self.open.text and event.seconds:
            self.stream.write(f" {table.duration(event.seconds)}\n")
            self.open = None
        elif (text := self.line(event)) and text != self.last:
            self.end_line()
            self.stream.write(text)
            if isinstance(event, Step) and event.seconds is None:
                self.open = event
            else:
                self.stream.write("\n")
            self.last = text
        self.stream.flush()

    def end_line(self) -> None:
        if self.open is not None:
            self.stream.write("\n")
            self.open = None

    def line(self, event: Event) -> str:
        if isinstance(event, Step):
            return step_line(event)
        if isinstance(event, Note):
            return note_line(event)
        if isinstance(event, Output):
            return f"  {event.source}: {event.text}".rstrip() if self.verbose else ""
        if isinstance(event, RolloutView):
            return rollout_line(event)
        if isinstance(event, StressView) and event.elapsed >= self.next_stress:
            self.next_stress = event.elapsed + STRESS_SECONDS
            return stress_view.plain(event)
        return ""  # a progress bar has no place in a log

    def close(self) -> None:
        self.end_line()
        self.stream.flush()


def step_line(event: Step) -> str:
    return f"{event.text} ..." if event.seconds is None else f"{event.text}: {table.duration(event.seconds)}"


def note_line(event: Note) -> str:
    lead = "warning: " if event.warn else ""
    return f"{lead}{event.text}" + (f"\n  {event.hint}" if event.hint else "")


def rollout_line(event: RolloutView) -> str:
    reasons = sorted({f"{pod.name}: {pod.reason}" for pod in event.pods if pod.reason})
    old = sum(not pod.new for pod in event.pods)
    parts = [f"{event.name}: {event.ready} of {event.wanted} ready", f"{old} old" if old else "", *reasons]
    return ", ".join(part for part in parts if part)


class LiveView:
    """Draws in place with rich: what is done goes up, what is under way stays at the bottom."""

    def __init__(self, verbose: int) -> None:
        from rich.console import Console as Terminal

        self.verbose = verbose
        self.terminal = Terminal(stderr=True, highlight=False, emoji=False)
        self.step: Step | None = None
        self.progress: Progress | None = None
        self.rollout: RolloutView | None = None
        self.tail = ""
        self.live: Any = None  # rich's, begun when there is something to draw
        self.spinner: Any = None
        self.stress: stress_view.Screen | None = None

    def tell(self, event: Event) -> None:
        if isinstance(event, StressView):
            self.tell_stress(event)
            return
        if isinstance(event, Note):
            self.print_note(event)
            return
        if isinstance(event, Step):
            self.take_step(event)
        elif isinstance(event, Progress):
            self.progress = event
        elif isinstance(event, RolloutView):
            self.rollout = event
        elif isinstance(event, Output):
            self.tail = f"{event.source}: {event.text}"
            if self.verbose:
                self.terminal.print(f"  {self.tail}", style="dim", markup=False)
        self.draw()

    def tell_stress(self, event: StressView) -> None:
        """Drawn by itself: rich would take milliseconds from the generator."""
        if self.stress is None:
            self.close()
            self.stress = stress_view.Screen(sys.stderr, self.terminal.width)
        self.stress.tell(event)

    def draw(self) -> None:
        if self.live is None:
            from rich.live import Live

            self.live = Live(console=self.terminal, get_renderable=self.picture, transient=True, refresh_per_second=8)
            self.live.start()

    def take_step(self, event: Step) -> None:
        """A step that has ended is ticked off; one that begins takes the place of the one under way."""
        from rich.text import Text

        if event.seconds is not None:
            took = f"  {table.duration(event.seconds)}"
            self.terminal.print(Text.assemble(("✓ ", "green"), event.text, (took, "dim")))
        self.step = event if event.seconds is None else None
        self.progress, self.rollout, self.tail = None, None, ""

    def print_note(self, event: Note) -> None:
        from rich.text import Text

        lead = ("! ", "yellow") if event.warn else ("· ", "cyan")
        hint = (f"\n  {event.hint}", "dim") if event.hint else ""
        self.terminal.print(Text.assemble(lead, event.text, hint))

    def picture(self) -> Any:
        """What stands at the bottom of the terminal now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table as Grid
        from rich.text import Text

        parts: list[Any] = []
        if self.rollout is not None:
            parts.append(self.picture_rollout(self.rollout))
        if self.progress is not None:
            done, total = self.progress.done, self.progress.total
            grid = Grid.grid(padding=(0, 1))
            bar = ProgressBar(total=total or None, completed=done, pulse=not total, width=30)
            grid.add_row(Text(self.progress.text), bar, Text(amount(self.progress), "dim"))
            parts.append(grid)
        elif self.step is not None:
            self.spinner = self.spinner or Spinner("dots", style="cyan")
            self.spinner.text = Text(self.step.text)
            parts.append(self.spinner)
        if self.tail and not self.verbose:
            parts.append(Text(f"  {self.tail}", "dim", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)

    def picture_rollout(self, view: RolloutView) -> Any:
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid.grid(padding=(0, 2))
        title = f"{view.name}  {view.ready} of {view.wanted} ready  {table.duration(view.elapsed)}"
        for pod in view.pods:
            mark = Text("●", "green") if pod.ready else Text("○", "yellow")
            state = pod.reason or pod.phase
            grid.add_row(
                mark,
                Text(pod.name, "" if pod.new else "dim"),
                Text("new" if pod.new else "old", "cyan" if pod.new else "dim"),
                Text(state, "red" if pod.reason else ""),
                Text(table.count(pod.restarts, "restart") if pod.restarts else "", "yellow"),
            )
        from rich.console import Group

        return Group(Text(title, "bold"), grid)

    def close(self) -> None:
        if self.stress is not None:
            self.stress.close()
            self.stress = None
        if self.live is not None:
            self.live.stop()
            self.live = None


def amount(progress: Progress) -> str:
    """12 of 30 rows, 3.4 MB of 12 MB, 17 rows."""
    if progress.unit == "bytes":
        done, total = table.size(progress.done), table.size(progress.total)
    else:
        done, total = f"{progress.done:,}", f"{progress.total:,}"
    unit = f" {progress.unit}" if progress.unit not in ("", "bytes") else ""
    return f"{done} of {total}{unit}" if progress.total else f"{done}{unit}"
