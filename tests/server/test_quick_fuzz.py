"""The compiled beginning of a connection, fuzzed under sanitizers for a short while: scripts/fuzz_quick.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "fuzz_quick.py"
SOURCE = ROOT / "src" / "wherry" / "server" / "_quick.c"
WRONG = {
    "": ("", "", ""),
    "answers a body that is too short": (
        "PyLong_AsSsize_t(PyTuple_GetItem(way, 1)) != size",
        "PyLong_AsSsize_t(PyTuple_GetItem(way, 1)) + size == -7",
        "broken, seed",
    ),
    "rounds away what a class is": ("? size * SLACK * (self->columns + 2) + TINY : NAN", "? 0.0 : NAN", "broken, seed"),
    "forgets to hold what it gives": ("    Py_INCREF(Py_False);\n", "", "references"),
    "reads behind its weights": (" || !holds(self->weights, columns * sums)", "", "ERROR: AddressSanitizer"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_sanitizers_and_the_law_find_nothing_in_it(wrong: str, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc: apt-get install gcc")
    right, other, found = WRONG[wrong]
    text = SOURCE.read_text()
    if wrong:
        assert text.count(right) == 1
    (tmp_path / "_quick.c").write_text(text.replace(right, other) if wrong else text)
    seconds = "30" if wrong else "3"  # a wrong one ends at the first finding
    done = subprocess.run(
        [sys.executable, SCRIPT, seconds, "--source", tmp_path / "_quick.c"], capture_output=True, text=True, timeout=90
    )
    if wrong:
        assert done.returncode != 0, done.stdout
        assert found in done.stdout + done.stderr, done.stdout + done.stderr[-3000:]
    else:
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
        assert int(done.stdout.split()[0].replace(",", "")) > 100
