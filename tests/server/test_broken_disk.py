"""A disk that fails, the system's own calls answering with errors (strace): nothing acknowledged is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store_parts import Memory, drain

COMMITS, FROM, TO = 40, 5, 9  # which calls of the kind fail
SERVICE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import store_parts as parts
from wherry.errors import DiskFull, StoreFailed
from wherry.server.spool import Spool
folder, mode, believes = Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "believes"
spool = Spool(folder, parts.ORIGIN, mode=mode)
for number in range(int(sys.argv[5])):
    made = parts.entry(number)
    spool.append(made)
    try:
        spool.commit()
        print(made.id, flush=True)
    except (DiskFull, StoreFailed):
        if believes:
            print(made.id, flush=True)
    if mode == "durable":
        time.sleep(0.03)  # for one fsync after the other
spool.close()
"""


def broken(folder: Path, call: str, error: str, mode: str, believes: str = "") -> tuple[list[str], str]:
    """What a service acknowledges whose disk answers some calls with an error, and the calls that it made."""
    log, spool = folder / "calls", folder / "spool"
    # written to, only the spool may fail, not the standard output
    paths = [f"--trace-path={spool / f'{number:012d}.seg'}" for number in range(1, 20)] if call == "write" else []
    command = ["strace", "-f", "-qq", "-o", str(log), f"--trace={call},close", *paths]
    command += [f"--inject={call}:error={error}:when={FROM}..{TO}"]
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [*command, sys.executable, "-c", SERVICE, here, str(spool), mode, believes, str(COMMITS)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), log.read_text()


def found_in(folder: Path) -> set[str]:
    memory = Memory()
    drain(folder / "spool", memory)
    return set(memory.rows)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("mode", ["strict", "durable"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS"])
@pytest.mark.parametrize("call", ["fsync", "write"])
def test_nothing_acknowledged_is_missing_and_no_fsync_is_believed_twice(
    call: str, error: str, mode: str, tmp_path: Path
) -> None:
    """T28."""
    acknowledged, calls = broken(tmp_path, call, error, mode)
    assert calls.count("(INJECTED)") == TO - FROM + 1
    kept = found_in(tmp_path)
    assert set(acknowledged) <= kept
    assert len(acknowledged) < COMMITS or (mode, call) == ("durable", "fsync")
    assert len(acknowledged) >= COMMITS - (TO - FROM + 1)  # it goes on as soon as the disk does
    assert not believed(calls)


def believed(calls: str) -> list[str]:
    """Descriptors whose fsync failed, and succeeded later on the same open file: the kernel has forgotten the pages."""
    failed: set[str] = set()
    found = []
    for line in calls.splitlines():
        if match := re.search(r"(fsync|close)\((\d+)\)\s+= (-?\d+)", line):
            call, descriptor, outcome = match.groups()
            if call == "close":
                failed.discard(descriptor)
            elif outcome != "0":
                failed.add(descriptor)
            elif descriptor in failed:
                found.append(descriptor)
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_service_that_acknowledges_all_the_same_is_found_out(tmp_path: Path) -> None:
    acknowledged, _ = broken(tmp_path, "write", "EIO", "strict", "believes")
    assert len(acknowledged) == COMMITS
    assert len(set(acknowledged) - found_in(tmp_path)) == TO - FROM + 1
