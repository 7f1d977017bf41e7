"""What the store's tests share. As a program: a service that answers and keeps, until it is killed or told to end.

python store_parts.py FOLDER MODE FIRST [URL]: rows are numbered from FIRST; after each commit it prints the number
after the last one acknowledged; it ends when its input does. MODE `early` acknowledges before it writes.
"""

from __future__ import annotations

import os
import random
import select
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from wherry.contract.events import Event, silent
from wherry.contract.manifest import Conversion, Golden, Manifest, Measured, Origin, Requirements
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.server import segments
from wherry.server.ids import new_id
from wherry.server.journal import Counts, Entry
from wherry.server.keeper import Keeper, Task
from wherry.server.mover import Mover
from wherry.server.sinks import Progress
from wherry.server.spool import Spool
from wherry.server.stored import StoredJournal

ORIGIN = segments.Origin("", "", "host", "m", "1", "d" * 64, "s" * 64, ("n", "text"))

MANIFEST = Manifest(
    format=1,
    name="m",
    version="1",
    digest="",
    flavor="linear",
    model="model.npz",
    signature=Signature((Column("n", "integer"), Column("text", "string")), OutputSpec("class", "string", ("M", "B"))),
    golden=Golden("golden.json", 0),
    baseline="baseline.json",
    requirements=Requirements("3.11", {}),
    files={},
    origin=Origin("LogisticRegression"),
    conversion=Conversion("linear"),
    measured=Measured(0.1, 1),
).sealed()


def entry(number: int, rows: int = 1) -> Entry:
    """An answered request of `rows` rows whose first column counts from `number`."""
    now = time.time_ns()
    cells = [(number + k, "grün") for k in range(rows)]
    return Entry(new_id(now), f"r{number}", now, "native", 200, 0.0015, cells, ["M"] * rows, [[0.25, 0.75]] * rows)


class Memory:
    """A database that forgets everything when the test ends."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[object, ...]] = {}
        self.noted: dict[str, Progress] = {}

    def progress(self, spool: str) -> Progress | None:
        return self.noted.get(spool)

    def store(self, rows: list[tuple[object, ...]], spool: str, progress: Progress, truths: object = ()) -> Progress:
        before = len(self.rows)
        for row in rows:
            self.rows.setdefault(str(row[0]), row)
        noted = progress._replace(duplicates=progress.duplicates + len(rows) - (len(self.rows) - before))
        self.noted[spool] = noted
        return noted

    @property
    def sequences(self) -> list[int]:
        return sorted(row[-1] for row in self.rows.values())


def drain(folder: Path, memory: Memory) -> Mover:
    mover = Mover(folder, memory)
    while mover.step():
        pass
    return mover


def open_store(folder: Path, tell: Callable[[Event], None] = silent, url: str = "", **options: Any) -> StoredJournal:
    """A journal in `folder`, as the service makes it; its database is `url`, else a file beside."""
    spool = Spool(folder / "spool" / "0", ORIGIN, **options)
    url = url or f"sqlite:///{folder / 'predictions.db'}"
    keeper = Keeper(Task(str(spool.folder), url), tell, backoff=(0.01, 0.02))
    return StoredJournal(spool, keeper, "predictions.db", tell)


def numbers(folder: Path) -> list[int]:
    """The first column of every stored row, in the order of insertion."""
    with sqlite3.connect(folder / "predictions.db", timeout=10) as database:
        found = database.execute("SELECT inputs FROM predictions ORDER BY rowid").fetchall()
    database.close()
    return [msgspec.json.decode(text)["n"] for (text,) in found]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for `condition`; fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def metrics(running: Any) -> str:
    """What a service's admin port tells."""
    with urllib.request.urlopen(f"{running.admin_url}/metrics", timeout=10) as reply:
        return str(reply.read().decode())


def store_rows(running: Any) -> dict[str, int]:
    """The store's counts, as its metrics tell them."""
    lines = [line.split() for line in metrics(running).splitlines() if line.startswith("wherry_store_rows{")]
    return {name.split('"')[1]: int(float(value)) for name, value in lines}


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def family(pid: int) -> list[int]:
    """The process and its descendants, of which there is at least the writer."""
    children = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.exists() and int(path.read_text().rpartition(")")[2].split()[1]) == pid
    ]
    return [pid, *(each for child in children for each in family(child))]


def process_text(pid: int) -> str:
    """What anybody with the rights may read of a process: its environment and its command line."""
    return "".join(Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace") for name in ("environ", "cmdline"))


def adds_up(counts: Counts) -> bool:
    return counts.accepted == counts.stored + counts.pending + counts.dropped + counts.poison


def run_and_kill(folder: Path, mode: str, first: int, after: float, awaited: Path | None = None, url: str = "") -> int:
    """Let a producer run for a moment, kill it; the number after the last row that it acknowledged.

    awaited: a file that has to be there before the moment begins.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, folder, mode, str(first), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    heard = process.stdout.readline()
    if awaited is not None:
        until(awaited.exists, 30)
    time.sleep(after)
    process.kill()
    heard += process.stdout.read()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    lines = heard.split(b"\n")[:-1]  # a line that was not ended was not acknowledged
    return int(lines[-1]) if lines else first


def kill_producers(place: Any, folder: Path, mode: str, kills: int) -> tuple[int, int, int]:
    """Acknowledged, lost and repeated rows over so many killed services on one folder."""
    chance = random.Random(8)
    acknowledged: list[range] = []
    first = 0
    for _ in range(kills):
        end = run_and_kill(folder, mode, first, chance.uniform(0.0, 0.6), url=place.url)
        acknowledged.append(range(first, end))
        first = end + 1000  # rows that were written and not acknowledged get numbers of their own
    journal = open_store(folder, url=place.url)
    journal.start()
    until(lambda: journal.counts().pending == 0, 60)
    assert adds_up(journal.counts())
    assert journal.counts().poison == 0
    journal.close()
    found = [loaded(text)["n"] for (text,) in place.query("SELECT inputs FROM predictions")]
    wanted = {number for run in acknowledged for number in run}
    return len(wanted), len(wanted - set(found)), len(found) - len(set(found))


def loaded(value: Any) -> Any:
    """A JSON column's value: PostgreSQL's driver reads it already."""
    return msgspec.json.decode(value) if isinstance(value, str) else value


def main() -> None:
    folder, mode, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    early = mode == "early"
    url = sys.argv[4] if len(sys.argv) > 4 else ""
    journal = open_store(folder, url=url, mode="durable" if early else mode, segment_bytes=64 * 1024)
    journal.start()
    number, turn = first, 0
    while not select.select([0], [], [], 0)[0]:
        turn += 1
        size = 1 + turn % 5
        journal.append(entry(number, size))
        number += size
        if not early or turn % 16 == 0:
            journal.commit()
        os.write(1, f"{number}\n".encode())
        time.sleep(0.0005)
    journal.close()


if __name__ == "__main__":
    main()
