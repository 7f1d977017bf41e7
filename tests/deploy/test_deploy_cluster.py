"""Deploys on a real cluster, good and bad, with the seconds to each verdict printed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from wherry.contract.events import RolloutView
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.deploy.resources import DEPLOYMENT, POD

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_a_deploy_is_proven_through_the_service(
    real: Cluster, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    release = make_release(real.namespace)
    verdict = deploy(release, real, probe, tell=told.append)
    print(f"first deploy: {verdict.seconds} s, rollout {verdict.rollout_seconds} s, worst {verdict.worst_ms} ms")
    print(verdict)
    assert verdict.ok
