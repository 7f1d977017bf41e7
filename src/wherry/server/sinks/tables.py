"""The tables, as queries name them. How they are made stands in `wherry.server.migrations`, for each database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Float, Integer, MetaData, Table, Text

metadata = MetaData()


def table(name: str, *columns: str, **others: Any) -> Table:
    """A table of these columns in this order, the first its key; text, but for `others`."""
    kinds = {column: others.get(column, Text) for column in columns}
    made = [Column(column, kind, primary_key=column == columns[0]) for column, kind in kinds.items()]
    return Table(name, metadata, *made)


predictions = table(
    "predictions",
    *("id", "request_id", "created_at", "model_name", "model_version", "model_digest", "signature_hash"),
    *("inputs", "outputs", "status", "latency_ms", "door", "host", "sequence"),
    status=Integer,
    latency_ms=Float,
    sequence=Integer,
)
feedback = table("feedback", "id", "prediction_id", "created_at", "truth")
progress_table = table(
    "wherry_progress",
    *("spool", "segment", "position", "sequence", "poison", "duplicates"),
    **dict.fromkeys(("position", "sequence", "poison", "duplicates"), Integer),
)
schema_table = table("wherry_schema", "number", "applied_at", number=Integer)
