"""Makes model_parts.py importable by the tests beside it: nothing here is on sys.path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("model_parts", Path(__file__).with_name("model_parts.py"))
assert spec is not None
assert spec.loader is not None
model_parts = importlib.util.module_from_spec(spec)
sys.modules["model_parts"] = model_parts
spec.loader.exec_module(model_parts)
