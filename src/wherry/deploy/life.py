"""Life after a deploy: status, logs, scale, releases, rollback, down. All is found in the cluster by label."""

from __future__ import annotations

from wherry.deploy.logs import logs
from wherry.deploy.rollback import Past, releases, rollback
from wherry.deploy.scale import Scaled, scale
from wherry.deploy.status import Autoscaler, Status, status
from wherry.deploy.teardown import Removal, down

__all__ = [
    "Autoscaler",
    "Past",
    "Removal",
    "Scaled",
    "Status",
    "down",
    "logs",
    "releases",
    "rollback",
    "scale",
    "status",
]
