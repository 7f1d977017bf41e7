"""Traces as people have them, and what is said of those that are none."""

from __future__ import annotations

import numpy as np
import pytest

from wherry.errors import DataUnreadable
from wherry.stress.forecasting.trace import read


@pytest.mark.parametrize(
    "text",
    [
        "0,10\n60,20\n120,30\n",
        "time,rate\n0,10\n60,20\n120,30\n",
        "# a comment\nseconds;rps\n100;10\n160;20\n220;30\n",
        "time\trate\n2026-01-31T08:00:00\t10\n2026-01-31T08:01:00\t20\n2026-01-31 08:02:00\t30\n",
        "when_it_was,timestamp,rate\na,2026-01-31T08:00:00Z,10\nb,2026-01-31T08:01:00Z,20\nc,2026-01-31T08:02:00Z,30\n",
        "time,count\n0,600\n60,1200\n120,1800\n",
        "[[0, 10], [60, 20], [120, 30]]",
        '[{"time": 0, "rate": 10}, {"time": 60, "rate": 20}, {"time": 120, "rate": 30}]',
        '{"time": 0, "rate": 10}\n{"time": 60, "rate": 20}\n{"time": 120, "rate": 30}\n',
        '{"times": [0, 60, 120], "rates": [10, 20, 30]}',
    ],
)
def test_the_same_trace_in_every_form(text: str) -> None:
    trace = read(text, "t")
    assert trace.times.tolist() == [0, 60, 120]
    assert trace.rates.tolist() == [10, 20, 30]
    assert trace.seconds == 180
    assert trace.requests == 3600


def test_the_history_as_it_is_exported() -> None:
    """One request a line, in any order, counted by the second."""
    stamps = [f"2026-01-31T08:00:0{second}.{k}00000Z" for second in range(5) for k in range(second + 1)]
    text = "id,created_at,request_id,status\n" + "".join(f"x,{stamp},r,200\n" for stamp in reversed(stamps))
    trace = read(text, "history.csv")
    assert trace.rates.tolist() == [1, 2, 3, 4, 5]
    assert trace.begun == "2026-01-31 08:00 UTC"


def test_steps_keep_every_request() -> None:
    trace = read("0,10\n7,100\n9,0\n20,5\n", "t")
    for step in (1.0, 5.0, 15.0, 100.0):
        assert trace.steps(step).sum() * step == pytest.approx(trace.requests)
    assert trace.scaled(3).requests == pytest.approx(3 * trace.requests)
    assert np.allclose(trace.steps(1.0)[5:10], [10, 10, 100, 100, 0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("   \n", "it is empty"),
        ("time,rate\n", "no line under it"),
        ("a,b,c\n1,2,3\n", "no column is named"),
        ("0,10\n60,many\n", "line 2: 'many' is no rate"),
        ("time,rate\n0,10\n60,-1\n", "line 3: a rate is 0 or more"),
        ("0,10\n60,nan\n", "line 2: a rate is 0 or more"),
        ("0,10\nlater,20\n", "line 2: 'later' is no time"),
        ("0,10\n60,20\n60,30\n", "line 3: 60 is not later than 60"),
        ("0,10\n60\n", "line 2 has 1 values"),
        ("time,rate,note\n0,10,a\n60,20\n", "line 3 has 2 values where there are 3 columns"),
        ("[1, 2", "it is no JSON"),
        ("[1, 2]", "neither a list of [time, rate]"),
        ('{"times": [1], "rates": []}', "1 times and 0 rates"),
        ("# nothing\n", "comments only"),
    ],
)
def test_what_is_no_trace(text: str, said: str) -> None:
    with pytest.raises(DataUnreadable) as error:
        read(text, "t.csv")
    assert said in str(error.value)
    assert error.value.hint.startswith("a trace has a line")
