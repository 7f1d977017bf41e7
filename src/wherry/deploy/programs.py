"""Other programs, run so that each line they print can be shown, and the last ones kept for an error."""

from __future__ import annotations

import collections
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

import msgspec

from wherry.contract.events import Output, Tell, silent

KEPT_LINES = 200
TOLD_LINES = 12


class Ran(msgspec.Struct, frozen=True):
    """How a program ended, and the last lines that it printed."""

    status: int
    lines: tuple[str, ...]

    @property
    def last(self) -> tuple[str, ...]:
        """What belongs in an error: the last lines that say something."""
        return tuple(line for line in self.lines if line.strip())[-TOLD_LINES:]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def run(
    arguments: Sequence[str],
    *,
    source: str,
    tell: Tell = silent,
    environ: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Ran:
    """Run a program to its end, telling each line as it comes. A program that cannot be started ends with 127."""
    lines: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return Ran(127, (str(error),))
    with process:
        if timeout is not None:
            return short(process, timeout)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if line.strip():
                    tell(Output(source, line.rstrip()))
        except BaseException:  # an interrupted build must not go on unseen
            process.terminate()
            raise
    return Ran(process.returncode, tuple(lines))


def short(process: subprocess.Popen[str], timeout: float) -> Ran:
    """A program that answers a question: killed when it does not answer in time."""
    try:
        shown, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Ran(124, (f"no answer in {timeout:g} s",))
    return Ran(process.returncode, tuple(shown.splitlines()[-KEPT_LINES:]))


def present(program: str) -> bool:
    """Whether a program of this name is on the PATH."""
    return shutil.which(program) is not None
