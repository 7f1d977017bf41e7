"""Life after a deploy: status, logs, scale, down. Nothing local is needed; all is found in the cluster by label."""

from __future__ import annotations

from wherry.deploy.logs import logs
from wherry.deploy.scale import Scaled, scale
from wherry.deploy.status import Autoscaler, Status, status
from wherry.deploy.teardown import Removal, down

__all__ = ["Autoscaler", "Removal", "Scaled", "Status", "down", "logs", "scale", "status"]
