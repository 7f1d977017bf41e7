"""How a request can end. `OK` and the timed ones count into the latency; everything but `OK` is a failure."""

from __future__ import annotations

from typing import Final

OK: Final = "ok"
REFUSED: Final = "refused"
RESET: Final = "reset before response"
RESET_BODY: Final = "reset in body"
TIMEOUT: Final = "timeout"
SERVER_ERROR: Final = "5xx"
CLIENT_ERROR: Final = "4xx"
WRONG_ANSWER: Final = "wrong answer"
WRONG_VERSION: Final = "wrong version"
NO_HTTP: Final = "not http"
OWN: Final = "generator"  # this machine had no port or no file descriptor left

FAILURES: Final = (
    REFUSED,
    RESET,
    RESET_BODY,
    TIMEOUT,
    SERVER_ERROR,
    CLIENT_ERROR,
    WRONG_ANSWER,
    WRONG_VERSION,
    NO_HTTP,
    OWN,
)

MEANING: Final = {
    REFUSED: "nobody accepted the connection",
    RESET: "the connection ended before any of the reply had come",
    RESET_BODY: "the connection ended in the middle of the reply",
    TIMEOUT: "no whole reply within the timeout, counted from when the request was due",
    SERVER_ERROR: "the service said that it failed",
    CLIENT_ERROR: "the service refused the request",
    WRONG_ANSWER: "the reply is not what the golden row says",
    WRONG_VERSION: "the reply comes from another model than the bundle's",
    NO_HTTP: "the reply cannot be read as HTTP",
    OWN: "this machine, not the service, had no port or file left",
}
