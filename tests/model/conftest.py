"""Makes the modules beside the tests importable by them: nothing here is on sys.path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

for path in ("model_parts.py", "reading/honest.py", "reading/malicious.py"):
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
