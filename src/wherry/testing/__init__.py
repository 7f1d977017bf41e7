"""A Kubernetes API in this process, for tests that must not wait for a cluster: real HTTP, objects kept in memory.

It applies (field managers, conflicts, strict fields, dry runs), lists, watches, deletes, reviews access, and plays the
Deployment controller: pods come up at once, or suffer the `fate` that the test chose. What it promises is held against
a real cluster by tests/laws/test_cluster_laws.py.
"""

from __future__ import annotations

from wherry.testing.api import READY, FakeApi
from wherry.testing.server import FakeApiServer

__all__ = ["READY", "FakeApi", "FakeApiServer"]
