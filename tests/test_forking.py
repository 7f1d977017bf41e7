"""What tests start by forking is a process as any: its own folder, environment, streams, signals and exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SAID = """import json, os, sys
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ["SAID"], sys.stdin.read(), os.getsid(0) == os.getpid(),
                  "sklearn" in sys.modules]))
"""
ENDS = {"": 0, "sys.exit(4)": 4, "sys.exit('no')": 1, "1 / 0": 1, "os.kill(os.getpid(), 15)": -signal.SIGTERM}


@pytest.mark.parametrize("early", [{}, {"PYTHONHASHSEED": "1"}], ids=["forked", "by itself"])
def test_it_begins_as_it_is_told(forking: Any, tmp_path: Path, early: dict[str, str]) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    (tmp_path / "says.py").write_text(SAID)
    environ = {**forking.environ, "SAID": "this", **early}  # what other tests left in this one counts as read early
    done = forking.run("says", ["a", "b"], tmp_path, environ, "in", 60)
    assert (done.returncode, done.stderr) == (0, "")
    forked = not early and os.environ.get("WHERRY_TEST_FORK") != "0"
    assert json.loads(done.stdout) == [["a", "b"], str(tmp_path), "this", "in", True, forked]


@pytest.mark.parametrize(("how", "code"), ENDS.items())
def test_it_ends_with_its_own_code(forking: Any, tmp_path: Path, how: str, code: int) -> None:
    (tmp_path / "ends.py").write_text(f"import atexit, os, sys\natexit.register(print, 'the end')\n{how}\n")
    done = forking.run("ends", [], tmp_path, dict(os.environ), "", 60)
    assert done.returncode == code, done.stderr
    assert ("the end" in done.stdout) == (code >= 0)
    assert ("ZeroDivisionError" in done.stderr) == ("1 / 0" in how)


def test_it_takes_signals(forking: Any, tmp_path: Path) -> None:
    # a shell that began all this in the background has it ignored
    text = "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    (tmp_path / "waits.py").write_text(f"{text}open('begun', 'w').close()\ntime.sleep(300)\n")
    with Path(os.devnull).open("r+b") as nothing:
        process = forking.start("waits", [], tmp_path, dict(os.environ), (nothing, nothing, nothing))
    try:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None, "it ended before it was told to"
            time.sleep(0.01)
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.poll() in (1, -signal.SIGINT), f"as {sys.executable} ends"
        assert process.poll() == process.returncode
    finally:
        process.kill()
        process.wait(60)


@pytest.mark.parametrize(("passed", "early"), [(True, {}), (False, {}), (True, {"PYTHONHASHSEED": "1"})])
def test_what_is_typed_in_a_shell_is_itself(forking: Any, tmp_path: Path, passed: bool, early: dict[str, str]) -> None:
    """Forked, or by an interpreter of its own where the shell passes nothing on, or Python is told something."""
    forked = forking.shell(tmp_path) or {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    line = "echo no | wherry inspect gone 2>/dev/null; echo $?; wherry config --json | head -c 1; exec wherry nothing"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=tmp_path,
        env={**forking.environ, **forked, **early},
        pass_fds=[forking.ours.fileno()] if passed else [],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "2\n[")
    assert "no such verb: nothing" in done.stderr
