"""How fast predictions are kept: commits to the spool, and rows from the spool into SQLite.

python bench/store.py [ROWS]: prints a table; ends with 1 when the writer is slower than 40,000 rows a second.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from wherry.server.ids import new_id
from wherry.server.journal import Entry
from wherry.server.mover import Mover
from wherry.server.segments import Origin
from wherry.server.sinks import Sink
from wherry.server.spool import Spool

COLUMNS = ("concavity_mean", "concave_points_mean", "perimeter_se", "area_se", "texture_worst", "area_worst")
ROW = (0.3001, 0.1471, 8.589, 153.4, 17.33, 2019.0)
ORIGIN = Origin("", "", "host", "breast", "1", "d" * 64, "s" * 64, COLUMNS)
FLOOR = 40_000


def entries(count: int) -> list[Entry]:
    now = time.time_ns()
    return [
        Entry(new_id(now), f"request-{k}", now, "native", 200, 0.001, [ROW], ["M"], [[0.03, 0.97]])
        for k in range(count)
    ]


def commits(folder: Path, each: int, mode: Literal["durable", "strict", "fast"], made: list[Entry]) -> float:
    """Rows a second into a spool, `each` a commit."""
    spool = Spool(folder, ORIGIN, mode=mode, limit=1 << 30)
    began = time.perf_counter()
    for number, entry in enumerate(made, 1):
        spool.append(entry)
        if number % each == 0:
            spool.commit()
    seconds = time.perf_counter() - began
    spool.close()
    return len(made) / seconds


def moves(folder: Path, database: Path) -> tuple[float, list[tuple[str]], list[tuple[object, ...]]]:
    """Rows a second out of a spool into SQLite, the statements that made its table, and those rows."""
    sink = Sink(f"sqlite:///{database}")
    sink.migrate()
    mover = Mover(folder, sink)
    began, worked = time.perf_counter(), time.process_time()
    while mover.step():
        pass
    seconds, busy = time.perf_counter() - began, time.process_time() - worked
    print(f"writer, of its own CPU time     {mover.progress.sequence / busy:12,.0f} rows/s")
    sink.close()
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT * FROM predictions").fetchall()
    schema = connection.execute("SELECT sql FROM sqlite_master WHERE name LIKE 'predictions%'").fetchall()
    connection.close()
    return len(rows) / seconds, [row for row in schema if row[0]], rows


def bulk(database: Path, schema: list[tuple[str]], rows: list[tuple[object, ...]]) -> float:
    """Rows a second that SQLite takes at best: the same table and index, one transaction, one executemany."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for (statement,) in schema:
        connection.execute(statement)
    began = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(f"INSERT INTO predictions VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return len(rows) / seconds


def main(count: int) -> int:
    made = entries(count)
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        cases: list[tuple[int, Literal["durable", "strict", "fast"]]] = [
            (1, "durable"),
            (64, "durable"),
            (1, "fast"),
            (64, "strict"),
        ]
        for each, mode in cases:
            some = made if mode != "strict" else made[: count // 10]
            rate = commits(folder / f"{mode}{each}", each, mode, some)
            print(f"commit, {mode:8} {each:3} a commit  {rate:12,.0f} rows/s  {1e6 / rate:8.1f} us a row")
        rate, schema, rows = moves(folder / "durable1", folder / "predictions.db")
        best = bulk(folder / "bulk.db", schema, rows)
        print(f"writer, spool to SQLite         {rate:12,.0f} rows/s  {rate / best:8.2f} of SQLite's own bulk load")
    return 0 if rate >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
