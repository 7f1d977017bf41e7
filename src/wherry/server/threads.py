"""How many threads the numerical libraries start: as many as this container may use cores, not as the host has.

Set before numpy is first imported; the libraries read it once.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CGROUP = Path("/sys/fs/cgroup")


def limit(processes: int = 1, environ: MutableMapping[str, str] = os.environ, root: Path = CGROUP) -> int:
    """Set what is not set yet; returns the number of cores that each of `processes` may use, at least 1."""
    cores = max(1, usable(root) // processes)
    for name in NAMES:
        environ.setdefault(name, str(cores))
    return cores


def usable(root: Path = CGROUP) -> int:
    """Cores by affinity and by the cgroup's quota, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = quota(root)
    return max(1, min(cores, math.ceil(share))) if share else cores


def quota(root: Path) -> float:
    """The cgroup's quota in cores; 0 where there is none. Version 2, then version 1."""
    try:
        allowed, period = (root / "cpu.max").read_text().split()
        return 0.0 if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError):
        pass  # not version 2
    try:
        spent = int((root / "cpu/cpu.cfs_quota_us").read_text())
        return spent / int((root / "cpu/cpu.cfs_period_us").read_text()) if spent > 0 else 0.0
    except (OSError, ValueError):
        return 0.0
