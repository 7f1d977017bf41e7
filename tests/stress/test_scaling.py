"""What a recording says of scaling, in figures, words and pictures; from recordings made by hand."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as xml

import pytest

from wherry.contract.recording import Conditions, Happening, Recording, Second, decode
from wherry.stress import scaling as of
from wherry.stress import shape as shapes
from wherry.stress.page import page
from wherry.stress.plan import Plan, Target, asks_of
from wherry.stress.report import report_of
from wherry.stress.scaling import scaling_of
from wherry.stress.tally import tally_for
from wherry.stress.timeline import MOST_HAPPENINGS, alone, rows

ROOT = Path(__file__).resolve().parents[2]
TARGET = Target("127.0.0.1", 8080, "/predict", address="127.0.0.1")


def recording(maximum: int = 4, *, happenings: tuple[Happening, ...] | None = None) -> Recording:
    """A minute in which one pod becomes three, 20 s after the load began."""
    found = (
        Happening(at=20.5, kind="rescaled", who="m", value=3, text="from 1 to 3: CPU 200 % of the request"),
        Happening(at=20.6, kind="pod_created", who="m-b"),
        Happening(at=20.6, kind="pod_created", who="m-c"),
        Happening(at=21.0, kind="synced", who="m"),
        Happening(at=22.1, kind="pod_ready", who="m-b"),
        Happening(at=24.6, kind="pod_ready", who="m-c"),
    )
    return Recording(
        start=1e9,
        load="40/s",
        conditions=Conditions(name="m", cpu_request=100, min_replicas=1, max_replicas=maximum, cpu_target=60),
        seconds=tuple(
            Second(
                at=float(k),
                offered=40.0,
                sent=40,
                ok=40,
                desired=1 if k < 20 else 3,
                ready=1 if k < 22 else 2 if k < 25 else 3,
                hpa_current=None if k < 5 else 200.0 if k < 40 else 65.0,
                hpa_desired=1 if k < 20 else 3,
            )
            for k in range(60)
        ),
        happenings=found if happenings is None else happenings,
    )


def test_what_came_when() -> None:
    found = scaling_of(recording())
    assert (found.begun, found.most, found.ended, found.maximum) == (1, 3, 3, 4)
    assert found.first_created == 20.6
    assert (found.first_ready, found.worst_ready) == (1.5, 4.0)
    assert found.highest_cpu == 200.0
    assert not found.limited


def test_a_maximum_that_holds_it_back_is_seen() -> None:
    found = scaling_of(recording(3))
    assert found.held_back == 20  # from second 20, when there were three, to 40, when they were enough
    assert found.limited
    assert any("its maximum held it back for 20 s" in line for line in of.lines(found))


def test_pods_that_were_there_before_the_load_are_no_news() -> None:
    before = (
        Happening(at=-3.0, kind="pod_created", who="m-a"),
        Happening(at=1.0, kind="pod_ready", who="m-a"),
    )
    found = scaling_of(recording(happenings=before))
    assert found.first_created is None and found.worst_ready is None


def test_lines_for_a_terminal_say_it_in_order() -> None:
    lines = of.lines(scaling_of(recording()))
    assert lines[0] == "replicas    1 at the start, 3 at the peak, 3 at the end, at most 4"
    assert lines[1].endswith("the first further pod came 20.6 s after the load began, ready 1.5 s later")
    assert lines[2].startswith("timeline") and "from 1 to 3" in lines[2]
    assert not any("synced" in line for line in lines)


def test_the_page_shows_replicas_and_what_happened() -> None:
    plan = Plan(TARGET, asks_of(TARGET, [None], {}), shapes.constant(40, 60), 10**6)
    report = report_of(plan, tally_for(60, 1.0), ())
    shown = page(report, recording())
    for text in ("Replicas over time", "CPU as the autoscaler saw it", "at most 4", "target 60 %", "m-b", "22.1 s"):
        assert text in shown
    assert "Replicas over time" not in page(report)


def test_the_picture_that_stands_alone_is_whole_xml_and_needs_nothing() -> None:
    text = alone(recording())
    root = xml.fromstring(text)
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == 3
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_without_an_autoscaler_there_is_no_picture_of_its_cpu() -> None:
    bare = Recording(
        start=0.0,
        load="",
        conditions=Conditions(name="m", cpu_request=0, min_replicas=0, max_replicas=0, cpu_target=0),
        seconds=(Second(at=0.0, desired=1, ready=1), Second(at=1.0)),
    )
    assert len(xml.fromstring(alone(bare)).findall("{http://www.w3.org/2000/svg}svg")) == 2
    assert scaling_of(bare).maximum is None


@pytest.mark.parametrize("count", [1, MOST_HAPPENINGS, MOST_HAPPENINGS + 5])
def test_a_long_list_of_happenings_is_cut(count: int) -> None:
    many = tuple(Happening(at=float(k), kind="pod_created", who=f"<{k}>") for k in range(count))
    text = rows(recording(happenings=many))
    assert text.count("pod created") == min(count, MOST_HAPPENINGS)
    assert ("and 5 more" in text) == (count > MOST_HAPPENINGS)
    assert "<0>" not in text and "&lt;0&gt;" in text


def test_the_picture_in_the_docs_is_of_the_run_that_is_kept() -> None:
    """One pod to three and back, recorded on a real cluster; write it again with timeline.alone."""
    run = decode((ROOT / "tests" / "data" / "recordings" / "autoscaling.json").read_bytes())
    assert (ROOT / "docs" / "pictures" / "autoscaling.svg").read_text() == alone(run)
    found = scaling_of(run)
    assert (found.begun, found.most, found.ended) == (1, 3, 1)
