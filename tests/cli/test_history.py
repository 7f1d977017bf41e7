"""`wherry history` shows what was kept, in the form asked for, and nothing secret when it cannot."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wherry.cli import records
from wherry.cli.console import Console
from wherry.cli.main import run
from wherry.server.history import Query, first_id, spellings
from wherry.server.ids import new_id, row_id
from wherry.server.migrations import LATEST
from wherry.server.sinks import Progress, Sink
from wherry.server.sinks.reading import opened

Run = Callable[..., subprocess.CompletedProcess[str]]
START = 1_767_225_600  # 2026-01-01, UTC
COUNT = 30


def row(number: int, label: str = "", request: str = "", model: str = "m", version: str = "1") -> tuple[Any, ...]:
    """A prediction an hour after the one before it."""
    at = START + 3600 * number
    inputs = {"n": number, "size": number / 2, "text": 'say "hi", "n":3}', "model": "x"}
    output = json.dumps({"prediction": label or "MB"[number % 2], "probabilities": [0.25, 0.75]}, separators=(",", ":"))
    return (
        new_id(at * 10**9), request or f"r{number}",
        time.strftime("%Y-%m-%d %H:%M:%S.000000", time.gmtime(at)), model, version,
        "d" * 64, "s" * 64, json.dumps(inputs, separators=(",", ":")), output, 200, 1.5, "native", "h", number,
    )  # fmt: skip


@pytest.fixture
def kept(tmp_path: Path) -> SimpleNamespace:
    """A folder whose store holds thirty predictions, one an hour, and a truth about the last."""
    sink = Sink(f"sqlite:///{tmp_path}/.wherry/predictions.db")
    sink.migrate()
    rows = [row(number) for number in range(COUNT)]
    sink.store(rows, "s", Progress(), [(new_id(1), rows[-1][0], rows[-1][2], '"M"')])
    yield SimpleNamespace(sink=sink, ids=[each[0] for each in rows])
    sink.close()


def numbers(done: subprocess.CompletedProcess[str]) -> list[int]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["inputs"]["n"] for line in done.stdout.splitlines()]


def test_a_table_then_counts_and_classes_over_time(wherry: Run, kept: SimpleNamespace) -> None:
    done = wherry("history")
    assert done.returncode == 0, done.stderr
    table, _, chart = done.stdout.partition("\n\n")
    assert [line.split()[2] for line in table.splitlines()[1:]] == [each[-8:] for each in kept.ids[-20:]]
    assert "1.5 ms" in table.splitlines()[-1][:76], "the latency has its place on a narrow terminal"
    assert " n=29 " in table.splitlines()[-1]
    assert chart.startswith("30 predictions match\n")
    shares = [line.split()[:4] for line in chart.splitlines()[2:]]
    assert sorted(shares) == [["B", "15", "50", "%"], ["M", "15", "50", "%"]]
    assert "█" in chart
    quiet = wherry("history", "-q", "--limit", "2")
    assert len(quiet.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ((), range(COUNT)),
        (("--limit", "3"), range(27, 30)),
        (("--since", "2026-01-02"), range(24, 30)),
        (("--since", "2026-01-01T05:30", "--until", "2026-01-01T08:00Z"), range(6, 8)),
        (("--since", "1h"), ()),
        (("--output", "M", "--until", "2026-01-01T05:00"), (0, 2, 4)),
        (("--output", "m"), ()),
        (("--request-id", "r7"), (7,)),
        (("--model", "m", "--limit", "1"), (29,)),
        (("--model", "d" * 64, "--limit", "1"), (29,)),
        (("--model", "other"), ()),
        (("--where", "n=3"), (3,)),
        (("--where", "size=3"), (6,)),
        (("--where", "size=3.0"), (6,)),
        (("--where", "size=3", "--where", "n=6"), (6,)),
        (("--where", "size=3", "--where", "n=7"), ()),
        (("--where", 'text=say "hi", "n":3}', "--limit", "1"), (29,)),
        (("--where", "text='; DROP TABLE predictions; --"), ()),
    ],
)
def test_filters(wherry: Run, kept: SimpleNamespace, flags: tuple[str, ...], found: Any) -> None:
    assert numbers(wherry("history", "--json", *flags)) == list(found)


def test_rows_of_one_request_come_in_their_order_whatever_the_limit_cuts(
    wherry: Run, kept: SimpleNamespace, tmp_path: Path
) -> None:
    """-9 is before -10, which is no order of texts."""
    one, after = row(COUNT), row(COUNT + 1)
    rows = [(row_id(one[0], place), *row(100 + place)[1:]) for place in range(25)]
    kept.sink.store([*rows, after], "s", Progress(), [])
    places = [*range(100, 125), COUNT + 1]
    for limit in (1, 3, 12, 26, 27):
        assert numbers(wherry("history", "--json", "--limit", str(limit))) == [*range(COUNT), *places][-limit:]
    assert numbers(wherry("history", "--json")) == [*range(COUNT), *places]
    with opened(f"sqlite:///{tmp_path}/.wherry/predictions.db") as reader:
        for limit in (1, 4, 40):
            back: list[str] = []
            while page := reader.read(Query(limit=limit, before=back[-1] if back else "")):
                back += [record.id for record in page]
            assert back[::-1] == [*kept.ids, *(each[0] for each in rows), after[0]]
            pages = reader.read(Query(limit=limit, after=rows[9][0], oldest_first=True))
            assert [record.id for record in pages] == [*(each[0] for each in rows[10:]), after[0]][:limit]


def test_each_model_has_classes_of_its_own(wherry: Run, kept: SimpleNamespace) -> None:
    boats = [row(40 + n, "M", model="boats", version=str(1 + n % 3 // 2)) for n in range(6)]
    kept.sink.store(boats, "s", Progress(), [])
    chart = wherry("history").stdout.partition("\n\n")[2].splitlines()
    assert chart[1].split()[:4] == ["MODEL", "CLASS", "COUNT", "SHARE"]
    shares = [line.split()[:6] for line in chart[2:]]
    assert sorted(shares[:2]) == [["m", "1", "B", "15", "50", "%"], ["m", "1", "M", "15", "50", "%"]]
    assert shares[2:] == [["boats", "1", "M", "4", "100", "%"], ["boats", "2", "M", "2", "100", "%"]]
    alone = wherry("history", "--model", "boats/2").stdout.partition("\n\n")[2].splitlines()
    assert alone[0] == "2 predictions match"
    assert alone[1].split()[0] == "CLASS"
    assert wherry("history", "--model", "boats").stdout.count("boats") > 6
    assert numbers(wherry("history", "--json", "--model", "m/2")) == []


def test_one_record_a_line_with_its_truth(wherry: Run, kept: SimpleNamespace) -> None:
    record = json.loads(wherry("history", "--json", "--limit", "1").stdout)
    assert (record["id"], record["prediction"], record["truth"]) == (kept.ids[-1], "B", "M")
    assert record["created_at"] == "2026-01-02T05:00:00.000000Z"
    assert "truth" not in json.loads(wherry("history", "--json", "--where", "n=3").stdout)
    assert "TRUTH" in wherry("history").stdout


def test_csv_has_a_column_an_input(wherry: Run, kept: SimpleNamespace) -> None:
    found = list(csv.DictReader(io.StringIO(wherry("history", "--csv").stdout)))
    assert [each["id"] for each in found] == kept.ids
    assert found[3]["text"] == 'say "hi", "n":3}'
    assert (found[3]["model"], found[3]["input.model"], found[3]["size"]) == ("m", "x", "1.5")
    assert json.loads(found[3]["probabilities"]) == [0.25, 0.75]


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd", "-2+3", "\t=1", "\r=1"])
def test_a_spreadsheet_calculates_nothing_of_what_callers_sent(text: str) -> None:
    """T50; plain texts and numbers, the control, stay as they are."""
    assert records.cell(text) == f"'{text}"
    for plain in ("", "a=1", "-5", "+1.5e-3", "-.5", -5, 1.5, None):
        assert records.cell(plain) == plain


def test_parquet(wherry: Run, kept: SimpleNamespace, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    assert wherry("history", "--parquet", "all.parquet").returncode == 0
    table = parquet.read_table(tmp_path / "all.parquet").to_pydict()
    assert table["n"] == list(range(COUNT))
    assert table["truth"] == [None] * (COUNT - 1) + ["M"]


def test_following_shows_what_comes_later_once(wherry: Run, kept: SimpleNamespace, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "wherry", "history", "--follow", "--limit", "1", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == kept.ids[-1]
        now = [(new_id(time.time_ns()), *row(number)[1:]) for number in (50, 51)]
        kept.sink.store(now, "s", Progress())
        assert [json.loads(process.stdout.readline())["id"] for _ in now] == sorted(each[0] for each in now)
        assert select.select([process.stdout], [], [], 1.2) == ([], [], [])  # two more looks at the database
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_pruning_keeps_the_newest_and_asks_first(wherry: Run, kept: SimpleNamespace) -> None:
    refused = wherry("history", "prune", "--keep-rows", "10")
    assert refused.returncode == 2
    assert "20 predictions" in refused.stderr and "--yes" in refused.stderr
    done = wherry("history", "prune", "--keep-rows", "10", "--yes", "--json")
    assert json.loads(done.stdout) == {"store": ".wherry/predictions.db", "removed": 20}
    assert numbers(wherry("history", "--json")) == list(range(20, 30))
    assert wherry("history", "prune", "--keep-rows", "10").returncode == 0
    assert "10 predictions removed" in wherry("history", "prune", "--older-than", "1h", "--yes").stdout
    assert numbers(wherry("history", "--json")) == []
    assert wherry("history").stdout == "\n0 predictions match\n"
    assert wherry("history", "prune").returncode == 2
    assert wherry("history", "prune", "--older-than", "old").returncode == 2
    assert wherry("history", "prune", "--keep-bytes", "big").returncode == 2


def test_pruning_by_the_settings_and_by_size(wherry: Run, kept: SimpleNamespace) -> None:
    assert "20 predictions removed" in wherry("history", "prune", "--yes", WHERRY_STORE_KEEP_ROWS="10").stdout
    assert numbers(wherry("history", "--json")) == list(range(20, 30))
    assert "0 predictions removed" in wherry("history", "prune", "--keep-bytes", "10G").stdout
    assert wherry("history", "prune", "--keep-bytes", "2k", "--yes").returncode == 0
    left = numbers(wherry("history", "--json"))
    assert left == list(range(30 - len(left), 30)) and 2 <= len(left) <= 5


@pytest.mark.parametrize(("answer", "code", "said", "left"), [("n", 1, "nothing was removed\n", 30), ("y", 0, "", 10)])
def test_a_no_is_taken_as_an_answer(
    kept: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    answer: str, code: int, said: str, left: int,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Console, "interactive", True)
    monkeypatch.setattr("wherry.cli.console.click.confirm", lambda question, **_: answer == "y")
    assert run(["history", "prune", "--keep-rows", "10"]) == code
    assert capsys.readouterr().err.endswith(said)
    with contextlib.closing(sqlite3.connect(tmp_path / ".wherry" / "predictions.db")) as database:
        assert database.execute("SELECT count(*) FROM predictions").fetchone() == (left,)


def test_nothing_kept_is_said(wherry: Run, tmp_path: Path) -> None:
    done = wherry("history")
    assert done.returncode == 2
    assert "predictions.db" in done.stderr and "wherry serve" in done.stderr and "--no-store" in done.stderr
    assert not (tmp_path / ".wherry").exists()
    assert f"step 0 to step {LATEST}" in wherry("history", "migrate").stdout
    assert f"already at step {LATEST}" in wherry("history", "migrate").stdout
    assert wherry("history").stdout == "\n0 predictions match\n"


@pytest.mark.parametrize("flags", [("--since", "soon"), ("--where", "n"), ("--csv", "--follow")])
def test_what_cannot_be_meant_is_refused(wherry: Run, kept: SimpleNamespace, flags: tuple[str, ...]) -> None:
    done = wherry("history", *flags)
    assert done.returncode == 2 and "hint" in done.stderr


def test_a_database_that_is_away_is_named_without_its_password(wherry: Run) -> None:
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs psycopg")
    done = wherry("history", WHERRY_STORE_URL="postgresql://jo:hunter2@127.0.0.1:1/x")
    assert done.returncode == 1
    assert "postgresql://127.0.0.1:1/x" in done.stderr and "hunter2" not in done.stderr + done.stdout


def test_spellings_of_a_value() -> None:
    assert set(spellings("1")) == {'"1"', "1", "1.0"}
    assert set(spellings("2.50")) == {'"2.50"', "2.5"}
    assert set(spellings("true")) == {'"true"', "true"}
    assert set(spellings("M")) == {'"M"'}


def test_ids_are_cut_by_time() -> None:
    now = time.time_ns()
    assert first_id(now) <= new_id(now) < first_id(now + 2 * 10**6)
    assert new_id(now - 2 * 10**6) < first_id(now)
    assert os.fspath(first_id(0)) < new_id(1)
