"""Sample tables in files: told by their content, never by their name; what is wrong is named by its place."""

from wherry.model.tables.table import Table, read

__all__ = ["Table", "read"]
