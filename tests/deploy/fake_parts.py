"""What a service behind the fake API server answers."""

from __future__ import annotations

import json


def answers(name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """The golden rows of conftest, answered right."""
    rows = json.loads(body)["rows"]
    return 200, {}, json.dumps({"predictions": [int(row[0] > 0.5) for row in rows]}).encode()
