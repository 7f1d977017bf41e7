"""How long one replica takes for many rows at once: a request of more and more of them, each asked of it alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.cli.ask import Service
from wherry.contract.names import HEADER_NO_STORE
from wherry.errors import CallRefused, ServiceUnreachable

if TYPE_CHECKING:
    from wherry.cli.stress_asks import Asking

SIZES = tuple(4**power for power in range(6))  # 1 to 1,024 rows, the most that one call of the model has by default
TRIES = 3


def batches(asking: Asking, token_file: Path | None, most: float) -> tuple[tuple[int, float], ...]:
    """Rows and the median time in ms that a request of so many took, up to the first that took `most` ms.

    Empty where what is asked is no rows in wherry's own form, or the service takes only one.
    """
    rows = rows_of(asking.asks[0].wire)
    found: list[tuple[int, float]] = []
    if not rows:
        return ()
    with Service(asking.target.url, token_file) as service:
        for size in SIZES:
            body = msgspec.json.encode((rows * (size // len(rows) + 1))[:size])
            try:
                found.append((size, took(service, body, most)))
            except (CallRefused, ServiceUnreachable):
                break
            if found[-1][1] >= most:
                break
    return tuple(found)


def took(service: Service, body: bytes, most: float) -> float:
    """Milliseconds, the median of a few tries; the first counts only where it took twice `most`."""
    times = []
    for _ in range(TRIES + 1):
        begun = time.perf_counter()
        service.post(service.path, body, headers={HEADER_NO_STORE: "1"})
        times.append(1000 * (time.perf_counter() - begun))
        if times[0] >= 2 * most:
            return times[0]
    return sorted(times[1:])[TRIES // 2]


def rows_of(wire: bytes) -> list[dict[str, Any]]:
    """The rows in a request as records; none where it has another form."""
    try:
        value = msgspec.json.decode(wire.partition(b"\r\n\r\n")[2])
    except msgspec.DecodeError:
        return []
    if isinstance(value, dict) and isinstance(value.get("rows"), list) and isinstance(value.get("columns"), list):
        return [dict(zip(value["columns"], row, strict=False)) for row in value["rows"]]
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) and all(isinstance(one, dict) for one in value) else []
