"""Releases that are kept: numbered, proven or not, brought back by hand and by themselves."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from fake_parts import answers

from wherry.contract.golden import GoldenRows
from wherry.deploy import history, life
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.deploy.resources import CONFIG_MAP, DEPLOYMENT, annotations_of
from wherry.deploy.rollback import ways_back
from wherry.deploy.steady import Steady, worst_p99
from wherry.errors import NotPermitted, ProbeFailed, ReleaseMissing, RolloutFailed
from wherry.testing import READY, FakeApiServer

STUCK = {
    "phase": "Pending",
    "containerStatuses": [
        {"name": "server", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": "InvalidImageName"}}}
    ],
}


def model(cluster: Cluster) -> str:
    return annotations_of(cluster.get(DEPLOYMENT, "ferry") or {})["wherry.dev/model"]


def test_each_release_has_its_number_and_the_same_again_keeps_it(
    fake: Cluster, make_release: Any, probe: Probe
) -> None:
    first = deploy(make_release("boats"), fake, probe)
    assert (first.release, first.undo) == (1, "wherry down")
    second = deploy(make_release("boats", version="2"), fake, probe)
    assert (second.release, second.undo) == (2, "wherry rollback 1")
    assert deploy(make_release("boats", version="2"), fake, probe).release == 2
    third = deploy(make_release("boats"), fake, probe)
    assert (third.release, third.undo) == (3, "wherry rollback 2")
    kept = fake.get(CONFIG_MAP, "ferry-release-3")
    assert kept is not None
    assert kept["immutable"] is True


def test_what_is_kept_holds_no_token(fake: Cluster, make_release: Any, probe: Probe) -> None:
    deploy(make_release("boats"), fake, msgspec.structs.replace(probe, token="not-for-everybody"))
    assert "not-for-everybody" not in json.dumps(fake.list(CONFIG_MAP))


def test_a_rollback_goes_to_the_last_good_release(fake: Cluster, make_release: Any, probe: Probe) -> None:
    for version in ("1", "2"):
        deploy(make_release("boats", version=version), fake, probe)
    back = life.rollback(fake)
    assert (back.ok, back.release, back.undo, model(fake)) == (True, 3, "wherry rollback 2", "ferry:1")
    again = life.rollback(fake, 2)
    assert (again.release, model(fake)) == (4, "ferry:2")
    assert [(one.number, one.model, one.cause) for one in life.releases(fake)] == [
        (4, "ferry:2", "release 2 again"),
        (3, "ferry:1", "release 1 again"),
        (2, "ferry:2", ""),
        (1, "ferry:1", ""),
    ]


def test_a_rollback_to_nothing_says_what_there_is(fake: Cluster, make_release: Any, probe: Probe) -> None:
    deploy(make_release("boats"), fake, probe)
    with pytest.raises(ReleaseMissing, match="ferry has no good release before this one: kept are 1"):
        life.rollback(fake)
    with pytest.raises(ReleaseMissing, match="release 9 of ferry is not kept: kept are 1"):
        life.rollback(fake, 9)


class Killed(BaseException):
    """Ends a deploy as Ctrl-C would."""


@pytest.mark.parametrize("place", ["wherry.deploy.path.Path.made_true", "wherry.deploy.path.prove"])
@pytest.mark.parametrize("number", [3, None])
def test_after_an_interrupted_deploy_each_way_back_that_is_offered_leads_to_what_was_good(
    fake: Cluster, make_release: Any, probe: Probe, monkeypatch: pytest.MonkeyPatch, place: str, number: int | None
) -> None:
    """Cut off before anything was applied, or when all was and nothing proven; without a number as with it."""
    for version in ("1", "2", "3"):
        deploy(make_release("boats", version=version), fake, probe)

    def killed(*asked: Any, **how: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(place, killed)
        deploy(make_release("boats", version="4"), fake, probe)
    assert model(fake) == ("ferry:4" if place.endswith("prove") else "ferry:3")
    assert ways_back(fake, "ferry") == ("wherry rollback 3", "wherry down")
    assert life.rollback(fake, number).ok
    assert model(fake) == "ferry:3"
    life.rollback(fake, 2)
    assert (life.rollback(fake).ok, model(fake)) == (True, "ferry:3"), "without one it is the one before, as ever"


def test_an_interrupted_first_deploy_offers_no_release(
    fake: Cluster, make_release: Any, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*asked: Any, **how: Any) -> None:
        raise Killed

    assert ways_back(fake, "ferry") == ("wherry down",)
    with pytest.raises(Killed):
        monkeypatch.setattr("wherry.deploy.path.Path.made_true", killed)
        deploy(make_release("boats"), fake, probe)
    assert ways_back(fake, "ferry") == ("wherry down",)
    assert "configmap/ferry-release-1" in life.down(fake, "ferry", dry_run=True).objects


def test_ten_are_kept(fake: Cluster, make_release: Any, probe: Probe) -> None:
    for version in range(12):
        deploy(make_release("boats", version=str(version)), fake, probe)
    assert [one.number for one in life.releases(fake)] == list(range(12, 2, -1))
    assert life.rollback(fake, 3).ok


def test_a_failed_release_is_never_gone_back_to(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats", version="1"), fake, probe)
    server.api.fate = lambda made: STUCK if made["metadata"]["annotations"]["wherry.dev/model"] == "ferry:2" else READY
    with pytest.raises(RolloutFailed) as failed:
        deploy(make_release("boats", version="2"), fake, probe)
    assert (failed.value.outcome, failed.value.cause) == ("restored", "image_name")
    third = deploy(make_release("boats", version="3"), fake, probe)
    assert (third.release, third.undo) == (3, "wherry rollback 1")
    server.api.fate = lambda made: READY
    assert deploy(make_release("boats", version="2"), fake, probe).release == 4, "what failed may be tried again"


def test_wrong_answers_bring_the_old_version_back(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats"), fake, probe)

    def wrong(name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        status, headers, reply = answers(name, body)
        bad = model(fake) == "ferry:2"
        return status, headers, b'{"predictions": [7, 7, 7]}' if bad else reply

    server.api.answer = wrong
    with pytest.raises(ProbeFailed, match=r"golden rows are answered otherwise.*; release 1 is back and serves") as bad:
        deploy(make_release("boats", version="2"), fake, probe)
    assert bad.value.outcome == "restored"
    assert model(fake) == "ferry:1"


def test_what_cannot_be_brought_back_is_said(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats"), fake, probe)
    server.api.fate = lambda made: STUCK
    with pytest.raises(RolloutFailed, match="release 1 could not be brought back: ") as failed:
        deploy(make_release("boats", version="2"), fake, probe)
    assert failed.value.outcome != "restored"


def test_a_probe_too_large_is_cut_to_fewer_rows() -> None:
    rows = tuple((float(row),) * 40 for row in range(4000))
    golden = GoldenRows(tuple(f"a{place}" for place in range(40)), rows, tuple(range(4000)))
    large = Probe(json.dumps(golden.request()).encode(), golden.predictions)
    small = history.cut(large)
    assert len(small.body) <= history.LARGEST_PROBE
    assert len(json.loads(small.body)["rows"]) == len(small.predictions) > 100
    assert small.predictions == golden.predictions[: len(small.predictions)]
    assert history.cut(small) == small


def test_a_steady_load_counts_what_fails(server: FakeApiServer, fake: Cluster) -> None:
    replies = iter([200, 422, 500, 503] + [200] * 1000)
    enough: list[int] = []

    def ask() -> Any:
        from wherry.deploy.cluster import Answer

        enough.append(1)
        return Answer(next(replies), {}, b"{}")

    with Steady(ask) as steady:
        while len(enough) < 6:
            pass
    assert (steady.seen.requests, steady.seen.failed) == (len(enough), 2)


def test_a_load_that_is_not_permitted_says_nothing() -> None:
    def ask() -> Any:
        raise NotPermitted((), "boats")

    with Steady(ask) as steady:
        steady._thread.join(10)
    assert steady.seen.requests == 0
    with Steady(None) as nothing:
        pass
    assert nothing.seen.requests == 0


def test_the_worst_moments_count() -> None:
    assert worst_p99([]) == 0.0
    quick = [(moment / 10, 0.001) for moment in range(1000)]
    assert worst_p99([*quick, (12.0, 0.5)]) == 0.5
