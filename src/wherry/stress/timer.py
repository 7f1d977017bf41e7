"""Wakes an event loop at a moment to within some ten microseconds; loops' own timers know milliseconds only."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
from collections.abc import Callable

CLOCK_MONOTONIC = 1
NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
SOONEST = 1e-6  # zero would disarm it


class Timespec(ctypes.Structure):
    """The kernel's struct itimerspec, both halves: interval and value."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("s", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


class Timer:
    """Calls `wake` once, some time after each `arm`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self.loop, self.wake = loop, wake
        self.later: asyncio.TimerHandle | None = None
        self.file = -1
        if sys.platform == "linux":
            # os.timerfd_create came with Python 3.13
            with contextlib.suppress(OSError, AttributeError):
                libc = ctypes.CDLL(None, use_errno=True)
                self.file = libc.timerfd_create(CLOCK_MONOTONIC, NONBLOCK_CLOEXEC)
                self.settime = libc.timerfd_settime
        if self.file >= 0:
            self.spec = Timespec(0, 0, 0, 0)
            self.pointer = ctypes.byref(self.spec)
            loop.add_reader(self.file, self.fired)

    def arm(self, seconds: float) -> None:
        """Wake after `seconds`; an earlier arming is forgotten."""
        seconds = max(seconds, SOONEST)
        if self.file < 0:
            if self.later is not None:
                self.later.cancel()
            self.later = self.loop.call_later(seconds, self.wake)
            return
        whole = int(seconds)
        self.spec.s, self.spec.ns = whole, int((seconds - whole) * 1e9)
        self.settime(self.file, 0, self.pointer, None)  # which also takes back that it has fired

    def fired(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.file, 8)
        self.wake()

    def close(self) -> None:
        if self.later is not None:
            self.later.cancel()
        if self.file >= 0:
            self.loop.remove_reader(self.file)
            os.close(self.file)
            self.file = -1
