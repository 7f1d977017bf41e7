"""`wherry stress` from the command line: what it sends, what it writes, and how it exits."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--rate", "50", "--duration", "1s")


@pytest.fixture
def target(stand_in: Any, good: Any) -> Any:
    return stand_in(good)


def test_without_an_objective_it_is_done(wherry: Wherry, target: Any) -> None:
    done = wherry("stress", target.url, *SHORT)
    assert done.returncode == 0, done.stderr
    assert "50 requests in 1.0 s (50/s): 50 answered, none failed" in done.stdout
    assert target.heads[0].startswith(b"GET / HTTP/1.1\r\n")


def test_json_is_one_document_with_the_keys_of_the_contract(wherry: Wherry, target: Any) -> None:
    done = wherry("stress", target.url, *SHORT, "--slo", "errors<1%", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert (found["sent"], found["ok"], found["failed"]) == (50, 50, 0)
    assert {"p50", "p90", "p99", "max"} <= found["latency"].keys()
    assert found["slo"] == [{"objective": "errors<1%", "met": True, "measured": 0.0, "limit": 1.0, "unit": "%"}]


def test_a_missed_objective_is_4_and_the_reports_say_so(wherry: Wherry, target: Any, tmp_path: Path) -> None:
    flags = ("--slo", "p99<0.0001ms,errors<1%", "--html", "r.html", "--junit", "j.xml")
    done = wherry("stress", target.url, *SHORT, *flags)
    assert done.returncode == 4, done.stderr
    assert "p99<0.0001ms  MISSED" in done.stdout and "errors<1%  met" in done.stdout
    assert "objective missed" in (tmp_path / "r.html").read_text()
    assert 'failures="1"' in (tmp_path / "j.xml").read_text()


def test_nobody_there_is_1(wherry: Wherry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = wherry("stress", f"http://127.0.0.1:{port}", *SHORT)
    assert done.returncode == 1
    assert "nothing listens there" in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--slo", "p99<50m"), "at character 7"),
        (("--slo", ""), "it is empty"),
        (("--shape", "saw:1-2"), "is no shape"),
        (("--shape", "ramp:1-2", "--rate", "5"), "leave one out"),
        (("--shape", "trace:none.csv"), "no such trace"),
        (("--duration", "2h"), "3,600"),
        (("--rate", "1000000"), "200,000"),
        (("--data", "none.csv"), "no such data file"),
        (("--html", "none/r.html"), "no such folder"),
    ],
)
def test_what_cannot_be_done_is_2_before_anything_is_sent(
    wherry: Wherry, target: Any, flags: tuple[str, ...], words: str
) -> None:
    done = wherry("stress", target.url, *flags)
    assert done.returncode == 2
    assert words in done.stderr
    assert target.requests == 0


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_an_address_elsewhere_is_not_loaded_without_its_own_flag(wherry: Wherry, flags: tuple[str, ...]) -> None:
    done = wherry("stress", "http://192.0.2.1", *SHORT, *flags)
    assert done.returncode == 2
    assert "--allow-remote" in done.stdout + done.stderr
    assert "no such option '--yes'" in wherry("stress", "http://192.0.2.1", "--yes").stderr


def test_rows_of_a_file_are_sent_in_rotation(wherry: Wherry, target: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('[{"a": 1}, {"a": 22}, {"a": 333}]')
    done = wherry("stress", target.url, *SHORT, "--data", "rows.json")
    assert done.returncode == 0, done.stderr
    assert target.heads[0].startswith(b"POST /predict HTTP/1.1\r\n")
    lengths = {head.split(b"Content-Length: ")[1].split(b"\r\n")[0] for head in target.heads}
    assert lengths == {b"7", b"8", b"9"}


def test_a_trace_is_replayed(wherry: Wherry, target: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("seconds,rate\n0,40\n1,0\n1.5,20\n2,0\n")
    done = wherry("stress", target.url, "--shape", "trace:t.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent"] == 50


def test_rows_that_do_not_fit_are_refused_before_the_load(
    service: Callable[..., Any], linear_bundle: Path, wherry: Wherry, tmp_path: Path
) -> None:
    running = service(linear_bundle, cwd=tmp_path)
    (tmp_path / "rows.csv").write_text("petal length (cm),width\n1.4,0.2\n")
    done = wherry("stress", running.url, *SHORT, "--data", "rows.csv")
    assert done.returncode == 1
    assert "width is not a column of this model" in done.stderr
    assert "requests in" not in done.stdout


def test_a_service_that_fails_for_now_is_loaded_all_the_same(stand_in: Any, wherry: Wherry, tmp_path: Path) -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    (tmp_path / "rows.json").write_text('{"a": 1}')
    done = wherry("stress", stand_in(behave).url, *SHORT, "--data", "rows.json", "--json")
    assert json.loads(done.stdout)["failures"] == {"5xx": 50}


def test_an_interrupt_is_130_after_the_whole_report(target: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wherry", "stress", target.url, "--rate", "50", "--duration", "60s", "--json"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")}
    process = subprocess.Popen(
        [*command, "--html", "r.html"], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while target.requests < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    found = json.loads(out)
    assert found["interrupted"] and 20 <= found["sent"] < 3000 and found["ok"] + found["failed"] == found["sent"]
    assert "interrupted" in (tmp_path / "r.html").read_text()


def test_golden_rows_are_asked_and_their_answers_compared(
    service: Callable[..., Any], linear_bundle: Path, wherry: Wherry
) -> None:
    running = service(linear_bundle)
    done = wherry("stress", running.url, *SHORT, "--slo", "errors<0.1%", "--bundle", linear_bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "50 right, none failed" in done.stdout


def test_wrong_answers_to_golden_rows_are_found(stand_in: Any, linear_bundle: Path, wherry: Wherry) -> None:
    digest = json.loads((linear_bundle / "manifest.json").read_text())["digest"]

    def answer(digest: str) -> Any:
        async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
            body = b'{"prediction":77}'
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nX-Model-Digest: {digest}\r\n\r\n"
            writer.write(head.encode() + body)

        return behave

    flags = (*SHORT, "--slo", "errors<0.1%", "--bundle", linear_bundle, "--json")
    done = wherry("stress", stand_in(answer(digest)).url, *flags)
    assert done.returncode == 4
    assert json.loads(done.stdout)["failures"] == {"wrong answer": 50}
    done = wherry("stress", stand_in(answer("0" * 64)).url, *flags)
    assert done.returncode == 4
    assert json.loads(done.stdout)["failures"] == {"wrong version": 50}
    assert "serves another model" in done.stderr
