"""Asks a service its golden rows from inside the cluster: the program of the Job that `proof_job` makes.

Its text is handed to the python3 of whatever image is deployed, so it takes the standard library alone. It judges
nothing: each reply is printed as a line of JSON, and whoever made the Job compares.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AGAIN_SECONDS = 0.25
TIMEOUT_SECONDS = 10.0
TOLD_BYTES = 300  # of a reply that is no prediction


def main(words: str) -> int:
    """0 once all was asked. words: a JSON object of url, headers, requests, settle (seconds that the first reply may
    take), digest (a header's name), token_file (a path, or empty).
    """
    wish = json.loads(words)
    golden = json.loads(Path(os.environ.get("MODEL_PATH") or os.environ["WHERRY_BUNDLE"], "golden.json").read_text())
    body = json.dumps({"columns": golden["columns"], "rows": golden["rows"]}).encode()
    headers = dict(wish["headers"])
    if wish["token_file"]:
        headers["X-Api-Key"] = Path(wish["token_file"]).read_text().split("\n", 1)[0].strip()
    until = time.monotonic() + wish["settle"]
    replies: list[dict[str, Any]] = []
    while len(replies) < wish["requests"]:
        reply = asked(wish["url"], body, headers, wish["digest"])
        if "error" in reply and not replies:
            if time.monotonic() < until:
                time.sleep(AGAIN_SECONDS)
                continue
            tell(reply)
            return 1
        replies.append(reply)
        tell(reply)
    return 0


def tell(reply: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def asked(url: str, body: bytes, headers: Mapping[str, str], digest: str) -> dict[str, Any]:
    """One request over a connection of its own, past every proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.perf_counter()
    try:
        with opener.open(urllib.request.Request(url, body, dict(headers)), timeout=TIMEOUT_SECONDS) as found:
            status, fields, text = found.status, found.headers, found.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            status, fields, text = error.code, error.headers, error.read(TOLD_BYTES).decode("utf-8", "replace")
    except OSError as error:
        return {"error": str(getattr(error, "reason", error))}
    took = time.perf_counter() - began
    return {"status": status, "digest": fields.get(digest), "body": text, "ms": round(took * 1000, 1)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
