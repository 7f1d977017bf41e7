"""An API server that restarts or has no time is waited for; what may have been heard is asked again only where safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wherry.deploy import patience, watching
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.patience import patiently
from wherry.deploy.probe import Probe
from wherry.deploy.refusals import is_busy
from wherry.deploy.resources import POD
from wherry.errors import NoCluster, ObjectChanged
from wherry.testing import FakeApiServer
from wherry.testing.api import Refused

REFUSED = NoCluster("connection refused", unheard=True)
CUT = NoCluster("connection reset")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ASK_AGAIN", 0.001)


def saying(*answers: Any) -> Callable[[], Any]:
    """Each in its turn, the last one again and again."""
    left = list(answers)

    def ask() -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


@pytest.mark.parametrize(
    ("answers", "safe", "outcome"),
    [
        ((REFUSED, REFUSED, "there"), False, "there"),
        ((CUT, "there"), True, "there"),
        ((CUT, "there"), False, CUT),  # it may have been heard, and is not done twice
        (("busy", "busy", "there"), False, "there"),
    ],
)
def test_what_is_asked_again(answers: tuple[Any, ...], safe: bool, outcome: Any) -> None:
    ask = saying(*answers)
    if isinstance(outcome, Exception):
        with pytest.raises(NoCluster):
            patiently(ask, 60, safe=safe)
    else:
        assert patiently(ask, 60, safe=safe, busy=lambda reply: reply == "busy") == outcome


def test_what_is_created_is_created_once_though_the_answer_was_lost() -> None:
    mine, theirs = {"metadata": {}, "spec": {"holder": "me"}}, {"metadata": {}, "spec": {"holder": "you"}}
    there = ObjectChanged("lease/ferry", "boats", "already exists")
    assert patience.once(saying(CUT, there), lambda: mine, mine, 60) is mine
    with pytest.raises(ObjectChanged):
        patience.once(saying(CUT, there), lambda: theirs, mine, 60)
    with pytest.raises(ObjectChanged):
        patience.once(saying(there), lambda: mine, mine, 60)  # nothing was lost: it was there before
    with pytest.raises(NoCluster):
        patience.once(saying(CUT), lambda: mine, mine, 0)


def test_patience_ends_and_none_is_none() -> None:
    with pytest.raises(NoCluster):
        patiently(saying(REFUSED), 0.02, safe=True)
    with pytest.raises(NoCluster):
        patiently(saying(REFUSED, "there"), 0, safe=True)
    assert patiently(saying("busy"), 0.02, safe=True, busy=lambda reply: True) == "busy"


@pytest.mark.parametrize(
    ("status", "said", "busy"),
    [
        (429, b'{"kind":"Status"}', True),
        (503, b'{"kind":"Status"}', True),
        (500, b'{"kind":"Status","message":"etcdserver: request timed out"}', True),
        (500, b'{"kind":"Status","message":"failed calling webhook"}', False),
        (503, b"the service is full", False),  # not the API server's words
        (200, b'{"kind":"Status"}', False),
    ],
)
def test_who_has_no_time(status: int, said: bytes, busy: bool) -> None:
    assert is_busy(status, said) is busy


def test_a_lock_is_held_with_patience_and_given_back_without(fake: Cluster, make_release: Any, probe: Probe) -> None:
    held: list[float] = []
    deploy(make_release("boats"), fake, probe, tell=lambda event: held.append(fake._patience))
    assert held[-1] == 0.0 or patience.AWAY_SECONDS in held
    assert patience.AWAY_SECONDS in held
    assert fake._patience == 0.0


def test_time_without_an_api_server_counts_against_no_pod(
    fake: Cluster, make_release: Any, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour goes by between two looks; a rollout's clock takes two seconds of it."""
    clock = [0.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: clock[0])
    real, seen = watching.look, []

    def look(cluster: Cluster, name: str) -> Any:
        clock[0] += 3600
        return real(cluster, name)

    class Waiting:
        """A rollout that only notes what it is shown."""

        name, verdict = "ferry", "going"

        def see(self, snapshot: Any) -> Any:
            seen.append(snapshot.at)
            self.verdict = "done" if len(seen) > 2 else "going"
            return self

    deploy(make_release("boats"), fake, probe)
    monkeypatch.setattr(watching, "look", look)
    monkeypatch.setattr(watching, "_show", lambda rollout, shown, tell: None)
    monkeypatch.setattr(watching, "_wait", lambda cluster, rollout: None)
    began = clock[0]
    watching.follow(fake, Waiting(), lambda event: None)
    assert [round(at - began) for at in seen] == [2, 4, 6]


def test_a_server_that_has_no_time_is_asked_again_and_a_service_that_has_none_is_not(
    fake: Cluster, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By anybody, patient or not: what was turned away was not read. A service's own 429 is its answer."""
    turned_away = [True, True]
    listed = server.api.list

    def busy(*asked: Any) -> Any:
        if turned_away:
            turned_away.pop()
            raise Refused(429, "too many requests")
        return listed(*asked)

    monkeypatch.setattr(server.api, "list", busy)
    assert fake.list(POD) == ()
    assert not turned_away
    server.api.put("services", {"metadata": {"name": "ferry"}}, "boats")
    server.api.answer = lambda name, body: (429, {}, b"full")
    before = len(server.api.requests)
    assert fake.ask_service("ferry", 80, "/predict", b"{}", {}).status == 429
    assert len(server.api.requests) == before + 1
