"""Makes serving.py importable by the tests beside it: nothing here is on sys.path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("serving", Path(__file__).with_name("serving.py"))
assert spec is not None
assert spec.loader is not None
serving = importlib.util.module_from_spec(spec)
sys.modules["serving"] = serving
spec.loader.exec_module(serving)
