"""How fast predictions are kept: commits to the spool, and rows from the spool into databases.

python bench/store.py [ROWS] [URL ...]: prints a table, for SQLite and for the empty databases at each url, beside what
the database's own bulk load makes of the same rows; ends with 1 when the writer is slower than it should be.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from sqlalchemy import select

from wherry.server.ids import new_id
from wherry.server.journal import Entry
from wherry.server.migrations import MIGRATIONS
from wherry.server.mover import Mover
from wherry.server.segments import Origin
from wherry.server.sinks import Sink
from wherry.server.sinks.postgresql import copy
from wherry.server.sinks.tables import predictions
from wherry.server.spool import Spool

COLUMNS = ("concavity_mean", "concave_points_mean", "perimeter_se", "area_se", "texture_worst", "area_worst")
ROW = (0.3001, 0.1471, 8.589, 153.4, 17.33, 2019.0)
ORIGIN = Origin("", "", "host", "breast", "1", "d" * 64, "s" * 64, COLUMNS)
TRIES = 3  # into SQLite, of which the best counts: one fsync of another program's costs a run a third
AIMS = {"sqlite": 40_000, "mysql": 20_000, "postgresql": 20_000}  # rows/s: they belong to a machine, and are told
FLOORS = {"sqlite": 0.2, "mysql": 0.08, "postgresql": 0.4}  # of the database's own bulk load in the same run: the check


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


def moves(folder: Path, url: str) -> tuple[float, float]:
    """Rows a second out of a spool into an empty database, by the clock and by our own processor time."""
    sink = Sink(url)
    sink.migrate()
    mover = Mover(folder, sink, batch_rows=sink.backend.batch_rows)
    began, worked = time.perf_counter(), time.process_time()
    while mover.step():
        pass
    seconds, busy = time.perf_counter() - began, time.process_time() - worked
    sink.close()
    return mover.progress.sequence / seconds, mover.progress.sequence / busy


def bulk(url: str) -> float:
    """Rows a second that the database takes at best: what was just stored, into the same table made anew."""
    sink = Sink(url)
    kind = sink.backend.name
    with sink.transaction() as connection:
        rows = [tuple(row) for row in connection.execute(select(predictions)).all()]
    with sink.transaction() as connection:
        connection.exec_driver_sql("DROP TABLE predictions")
        for step in (0, 2):  # the table and its index
            connection.exec_driver_sql(MIGRATIONS[step].statements[kind][0])
    if kind == "mysql":
        seconds = load_data(sink, rows)
    else:
        began = time.perf_counter()
        with sink.transaction() as connection:
            if kind == "sqlite":
                marks = ", ".join("?" * len(rows[0]))
                connection.exec_driver_sql(f"INSERT INTO predictions VALUES ({marks})", rows)
            else:
                copy(connection, predictions, [(*r[:7], *map(json.dumps, r[7:9]), *r[9:]) for r in rows])
        seconds = time.perf_counter() - began
    sink.close()
    return len(rows) / seconds


def load_data(sink: Sink, rows: list[tuple[object, ...]]) -> float:
    """Seconds of LOAD DATA LOCAL INFILE, which wherry itself does not use."""
    import pymysql

    url = sink._url
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines("\t".join(str(cell).replace("\\", "\\\\") for cell in row) + "\n" for row in rows)
        file.flush()
        connection = pymysql.connect(
            host=url.host, port=url.port or 3306, user=url.username, password=str(url.password or ""),
            database=url.database, local_infile=True,
        )  # fmt: skip
        began = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute(f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE predictions")
        connection.commit()
        seconds = time.perf_counter() - began
        connection.close()
    return seconds


def main(count: int, urls: list[str]) -> int:
    made = entries(count)
    best_of: dict[str, float] = {}
    ratio_of: dict[str, float] = {}
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
        own_files = [f"sqlite:///{folder / f'predictions{number}.db'}" for number in range(TRIES)]
        for number, url in enumerate([*own_files, *urls]):
            kind = url.partition(":")[0]
            commits(folder / f"spool{number}", 1, "fast", made)
            rate, own = moves(folder / f"spool{number}", url)
            best = bulk(url)
            print(
                f"writer into {kind:10}          {rate:12,.0f} rows/s  {rate / best:8.2f} of its own bulk load"
                f" ({best:,.0f} rows/s); {own:,.0f} rows a second of our own processor time"
            )
            best_of[kind] = max(rate, best_of.get(kind, 0.0))
            ratio_of[kind] = max(rate / best, ratio_of.get(kind, 0.0))
    for kind, rate in best_of.items():
        if rate < AIMS.get(kind, 0):
            print(f"{kind}: {rate:,.0f} rows/s, under the aim of {AIMS[kind]:,}")
    return int(any(ratio < FLOORS.get(kind, 0) for kind, ratio in ratio_of.items()))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000, sys.argv[2:]))
