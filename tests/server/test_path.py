"""What a request costs in instructions and in memory, measured on the path itself: no sockets, no clock."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import EXAMPLE, linear_bundle

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def path() -> Any:
    """bench/path.py."""
    sys.path.insert(0, str(BENCH))
    import path as found

    sys.path.remove(str(BENCH))
    return found


def small(folder: Path) -> Path:
    """What the bench asks about, made without training anything."""
    linear_bundle(folder / "linear")
    (folder / "rows.jsonl").write_text("".join(json.dumps({**EXAMPLE, "area_se": 100.0 + k}) + "\n" for k in range(20)))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.timeout(900)
def test_an_eighth_more_work_is_seen(path: Any, tmp_path: Path) -> None:
    folder = small(tmp_path)
    first = path.instructions(folder, "wherry", 0.0)
    slower = path.instructions(folder, "wherry", 0.125)  # 8 of 64 connections ask twice
    assert path.MORE < slower / first < 1.16
    print(f"instructions a request of 6 columns: {first:,.0f}, with an eighth more {slower:,.0f}")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_after_many_requests_is_that_after_few(path: Any, tmp_path: Path) -> None:
    """T36, P9: within 2 %. The short form asks 200,000 times; WHERRY_TEST_REQUESTS=1000000 the long one."""
    folder, many = small(tmp_path), int(os.environ.get("WHERRY_TEST_REQUESTS", "200000"))
    growth = path.growth(folder, many, leaves=0)
    print(f"T36: {growth:+.2%} between 10,000 and {many:,} requests")
    assert growth < 0.02

    leaking = path.growth(folder, many, leaves=200)
    print(f"T36: {leaking:+.2%} where each request leaves 200 bytes")
    assert leaking > 0.02
