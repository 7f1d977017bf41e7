"""The database's schema, step by step. A step that was released is never changed; a new one is added below it.

Two versions of the service share a database during a rollout, so a step only adds what the version before can ignore.
A step's statements run in one transaction where the database knows such a thing for tables; MySQL does not, so its
statements may be run again after half of them.

A prediction's id sorts by time, so no index on a time is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Migration(NamedTuple):
    """One numbered step; its statements by kind of database."""

    number: int
    sentence: str
    statements: Mapping[str, tuple[str, ...]]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "Keep predictions, and how far the spool was read",
        {
            "sqlite": (
                """
                CREATE TABLE predictions (
                    id TEXT NOT NULL PRIMARY KEY,
                    request_id TEXT NOT NULL,
                    created_at TEXT NOT NULL,
                    model_name TEXT NOT NULL,
                    model_version TEXT NOT NULL,
                    model_digest TEXT NOT NULL,
                    signature_hash TEXT NOT NULL,
                    inputs TEXT NOT NULL,
                    outputs TEXT,
                    status INTEGER NOT NULL,
                    latency_ms REAL NOT NULL,
                    door TEXT NOT NULL,
                    host TEXT NOT NULL,
                    sequence INTEGER NOT NULL
                )
                """,
                """
                CREATE TABLE wherry_progress (
                    spool TEXT NOT NULL PRIMARY KEY,
                    segment TEXT NOT NULL,
                    position INTEGER NOT NULL,
                    sequence INTEGER NOT NULL,
                    poison INTEGER NOT NULL,
                    duplicates INTEGER NOT NULL
                )
                """,
            ),
            "mysql": (
                """
                CREATE TABLE IF NOT EXISTS predictions (
                    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
                    request_id TEXT NOT NULL,
                    created_at DATETIME(6) NOT NULL,
                    model_name TEXT NOT NULL,
                    model_version TEXT NOT NULL,
                    model_digest VARCHAR(64) NOT NULL,
                    signature_hash VARCHAR(64) NOT NULL,
                    inputs LONGTEXT NOT NULL,
                    outputs LONGTEXT,
                    status INTEGER NOT NULL,
                    latency_ms DOUBLE NOT NULL,
                    door TEXT NOT NULL,
                    host TEXT NOT NULL,
                    sequence BIGINT NOT NULL
                ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
                """,
                """
                CREATE TABLE IF NOT EXISTS wherry_progress (
                    spool VARCHAR(64) NOT NULL PRIMARY KEY,
                    segment VARCHAR(64) NOT NULL,
                    position BIGINT NOT NULL,
                    sequence BIGINT NOT NULL,
                    poison BIGINT NOT NULL,
                    duplicates BIGINT NOT NULL
                ) ENGINE = InnoDB CHARACTER SET ascii COLLATE ascii_bin
                """,
            ),
            "postgresql": (
                """
                CREATE TABLE predictions (
                    id text COLLATE "C" NOT NULL PRIMARY KEY,
                    request_id text NOT NULL,
                    created_at timestamptz NOT NULL,
                    model_name text NOT NULL,
                    model_version text NOT NULL,
                    model_digest text NOT NULL,
                    signature_hash text NOT NULL,
                    inputs json NOT NULL,
                    outputs json,
                    status integer NOT NULL,
                    latency_ms double precision NOT NULL,
                    door text NOT NULL,
                    host text NOT NULL,
                    sequence bigint NOT NULL
                )
                """,
                """
                CREATE TABLE wherry_progress (
                    spool text NOT NULL PRIMARY KEY,
                    segment text NOT NULL,
                    position bigint NOT NULL,
                    sequence bigint NOT NULL,
                    poison bigint NOT NULL,
                    duplicates bigint NOT NULL
                )
                """,
            ),
        },
    ),
    Migration(
        2,
        "Keep the truth about a prediction, when somebody tells it",
        {
            "sqlite": (
                """
                CREATE TABLE feedback (
                    id TEXT NOT NULL PRIMARY KEY,
                    prediction_id TEXT NOT NULL,
                    created_at TEXT NOT NULL,
                    truth TEXT NOT NULL
                )
                """,
                "CREATE INDEX feedback_prediction_id ON feedback (prediction_id, id)",
            ),
            "mysql": (
                """
                CREATE TABLE IF NOT EXISTS feedback (
                    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
                    prediction_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
                    created_at DATETIME(6) NOT NULL,
                    truth LONGTEXT NOT NULL,
                    INDEX feedback_prediction_id (prediction_id, id)
                ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
                """,
            ),
            "postgresql": (
                """
                CREATE TABLE feedback (
                    id text COLLATE "C" NOT NULL PRIMARY KEY,
                    prediction_id text COLLATE "C" NOT NULL,
                    created_at timestamptz NOT NULL,
                    truth json NOT NULL
                )
                """,
                "CREATE INDEX feedback_prediction_id ON feedback (prediction_id, id)",
            ),
        },
    ),
    Migration(
        3,
        "Find the predictions of a request",
        {
            "sqlite": ("CREATE INDEX predictions_request_id ON predictions (request_id)",),
            # A request's id has no bound that a key could have; its first letters will do.
            "mysql": ("CREATE INDEX predictions_request_id ON predictions (request_id(40))",),
            "postgresql": ("CREATE INDEX predictions_request_id ON predictions (request_id)",),
        },
    ),
)
LATEST = MIGRATIONS[-1].number
# Which steps a database has. It exists before the first step, so it is none itself.
LEDGER = (
    "CREATE TABLE IF NOT EXISTS wherry_schema (number INTEGER NOT NULL PRIMARY KEY, applied_at VARCHAR(40) NOT NULL)"
)
