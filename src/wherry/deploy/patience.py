"""An API server that restarts, or has no time, is asked again: what was not heard always, the rest where it is safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from wherry.errors import NoCluster, ObjectChanged

Reply = TypeVar("Reply")
AWAY_SECONDS = 45.0  # an API server that restarts is back well within this
ASK_AGAIN = 0.5
THROTTLED = 6  # times that 429 is taken for "later": some twelve seconds, where the server does not say


def retries(*, throttled: bool) -> Any:
    """How one exchange is repeated: where no connection came about; `throttled`: where it was turned away unread."""
    import urllib3

    return urllib3.Retry(
        None,
        connect=2,
        read=False,
        redirect=0,
        status=THROTTLED if throttled else 0,
        other=0,
        backoff_factor=0.2,
        allowed_methods=None,
        status_forcelist=(429,) if throttled else (),
        raise_on_status=False,
    )


def patiently(
    ask: Callable[[], Reply], seconds: float, *, safe: bool, busy: Callable[[Reply], bool] = lambda reply: False
) -> Reply:
    """The first answer that is none of a busy server's; after `seconds` whatever there is then.

    safe: whether it may be asked again although it may have been heard.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            reply = ask()
        except NoCluster as error:
            if time.monotonic() >= until or not (safe or error.unheard):
                raise
        else:
            if time.monotonic() >= until or not busy(reply):
                return reply
        time.sleep(ASK_AGAIN)


def once(
    create: Callable[[], dict[str, Any]], get: Callable[[], dict[str, Any] | None], made: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """What `create` gives; where its answer was lost, the object that is there, if it is the one that was asked for."""
    until, lost = time.monotonic() + seconds, False
    while True:
        try:
            return create()
        except ObjectChanged:
            there = get() if lost else None
            if there is None or any(there.get(key) != made[key] for key in made if key in ("spec", "data")):
                raise
            return there
        except NoCluster:
            if time.monotonic() >= until:
                raise
            lost = True
        time.sleep(ASK_AGAIN)
