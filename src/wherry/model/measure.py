"""What loading a bundle costs, measured in a process of its own, which also proves that it loads at all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from wherry.contract.manifest import Measured
from wherry.errors import ModelUnsafe

TIMEOUT = 600.0


def measure(folder: Path, *, timeout: float = TIMEOUT) -> Measured:
    """The seconds and the peak memory that it takes another process to load the bundle and answer its golden rows.

    Raises ModelUnsafe, with what that process said, when it cannot.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environ = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-P", "-m", "wherry.model.measure", str(folder)]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelUnsafe(
            "the packed model", f"does not load within {timeout:.0f} s in a process of its own"
        ) from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        reason = said[-1][:500] if said else f"exit status {done.returncode}"
        hint = "classes that the model needs must be in a module that can be imported, not in a notebook or script"
        raise ModelUnsafe("the packed model", f"does not load again in a process of its own: {reason}", hint)
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    return Measured(round(figures["load_seconds"], 3), figures["peak_bytes"])


def main(folder: str) -> None:
    """Load, answer, print one line of JSON; the other end of `measure`."""
    started = time.perf_counter()
    from wherry.contract.names import EXAMPLE_FILE
    from wherry.model import loaded

    model = loaded.load(Path(folder))
    model.replay()
    if not model.golden.rows:
        model.predict(json.loads((Path(folder) / EXAMPLE_FILE).read_bytes()))
    seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps({"load_seconds": seconds, "peak_bytes": peak_bytes()}) + "\n")


def peak_bytes() -> int:
    """The most memory that this program has held. On Linux not by getrusage, which counts who started it, too."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(sys.argv[1])
