"""Makes the modules beside the tests importable by them: nothing here is on sys.path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

for name in ("doctor_listings", "doctor_cases"):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
