"""The tables, as queries name them. How they are made stands in `wherry.server.migrations`, for each database."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, MetaData, Table, Text

metadata = MetaData()
predictions = Table(
    "predictions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text),
    Column("created_at", Text),
    Column("model_name", Text),
    Column("model_version", Text),
    Column("model_digest", Text),
    Column("signature_hash", Text),
    Column("inputs", Text),
    Column("outputs", Text),
    Column("status", Integer),
    Column("latency_ms", Float),
    Column("door", Text),
    Column("host", Text),
    Column("sequence", Integer),
)
feedback = Table(
    "feedback",
    metadata,
    Column("id", Text, primary_key=True),
    Column("prediction_id", Text),
    Column("created_at", Text),
    Column("truth", Text),
)
progress_table = Table(
    "wherry_progress",
    metadata,
    Column("spool", Text, primary_key=True),
    Column("segment", Text),
    Column("position", Integer),
    Column("sequence", Integer),
    Column("poison", Integer),
    Column("duplicates", Integer),
)
schema_table = Table("wherry_schema", metadata, Column("number", Integer, primary_key=True), Column("applied_at", Text))
