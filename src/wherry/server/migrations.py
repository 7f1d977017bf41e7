"""The database's schema, step by step. A step that was released is never changed; a new one is added below it.

Two versions of the service share a database during a rollout, so a step only adds what the version before can ignore.
"""

from __future__ import annotations

from typing import NamedTuple


class Migration(NamedTuple):
    """One numbered step; its statements run in one transaction."""

    number: int
    sentence: str
    sqlite: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "Keep predictions, and how far the spool was read",
        (
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
            "CREATE INDEX predictions_created_at ON predictions (created_at)",
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
    ),
)
# Which steps a database has. It exists before the first step, so it is none itself.
LEDGER = "CREATE TABLE IF NOT EXISTS wherry_schema (number INTEGER NOT NULL PRIMARY KEY, applied_at TEXT NOT NULL)"
