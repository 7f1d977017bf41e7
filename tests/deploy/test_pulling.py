"""An image that is said to be there is asked for before anything changes; only a registry's own no is a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.deploy import pulling, registry
from wherry.deploy.cluster import Cluster
from wherry.errors import ImageMissing, NoCluster, RegistryFailed, RegistryRefused
from wherry.release.reference import Reference
from wherry.testing import FakeApiServer

DIGEST = "sha256:" + "1" * 64
TAGGED = Reference.parse("registry.example/ferry:1")
PINNED = Reference.parse(f"registry.example/ferry@{DIGEST}")


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Any:
    """holds(answer): what the registry says, an error included."""

    def says(answer: Any) -> None:
        def digest(reference: Reference) -> str | None:
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(registry, "digest", digest)

    return says


@pytest.mark.parametrize("reference", [TAGGED, PINNED])
def test_what_the_registry_holds_is_pinned(reference: Reference, holds: Any, fake: Cluster, told: list[Any]) -> None:
    holds(DIGEST)
    assert pulling.found(reference, fake, told.append) == PINNED
    assert told == []


@pytest.mark.parametrize("reference", [TAGGED, PINNED])
def test_what_nobody_holds_is_refused(reference: Reference, holds: Any, fake: Cluster, told: list[Any]) -> None:
    holds(None)
    with pytest.raises(ImageMissing, match="no registry holds registry"):
        pulling.found(reference, fake, told.append)


@pytest.mark.parametrize(
    "error", [RegistryFailed("registry.example", "no answer"), RegistryRefused("registry.example", "401")]
)
def test_what_cannot_be_asked_is_said_and_left_to_the_nodes(
    error: Exception, holds: Any, fake: Cluster, told: list[Any]
) -> None:
    holds(error)
    assert pulling.found(TAGGED, fake, told.append) == TAGGED
    assert told[0].text.startswith("whether registry.example/ferry:1 is there cannot be told from here")


@pytest.mark.parametrize(
    ("names", "there"),
    [
        ([["registry.example/ferry:1"]], True),
        ([["registry.example/ferry@" + DIGEST, "<none>@<none>"]], False),
        ([[f"other.example/{number}:1"] for number in range(50)], True),  # a node names no more than fifty
    ],
)
def test_an_image_that_was_loaded_into_a_node_needs_no_registry(
    names: list[list[str]], there: bool, holds: Any, fake: Cluster, server: FakeApiServer, told: list[Any]
) -> None:
    server.api.put("nodes", {"metadata": {"name": "n"}, "status": {"images": [{"names": each} for each in names]}})
    holds(None)
    if there:
        assert pulling.found(TAGGED, fake, told.append) == TAGGED
    else:
        with pytest.raises(ImageMissing):
            pulling.found(TAGGED, fake, told.append)


def test_nodes_that_may_not_be_read_hold_nothing(holds: Any, fake: Cluster, server: FakeApiServer) -> None:
    holds(None)
    server.api.denied.add(("list", "nodes"))
    with pytest.raises(ImageMissing):
        pulling.found(TAGGED, fake, lambda event: None)


def test_a_cluster_that_is_away_is_said(holds: Any, fake: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(None)

    def away(*_: Any) -> Any:
        raise NoCluster("connection refused")

    monkeypatch.setattr(Cluster, "list", away)
    with pytest.raises(NoCluster):
        pulling.found(TAGGED, fake, lambda event: None)
