"""The databases that predictions end up in: only this package imports SQLAlchemy and drivers, never the service."""

from wherry.server.sinks.failing import RowsRefused, SinkAway, SinkDenied, SinkUnclear
from wherry.server.sinks.sink import Progress, Sink

__all__ = ["Progress", "RowsRefused", "Sink", "SinkAway", "SinkDenied", "SinkUnclear"]
