"""What the Prometheus operator is told: which pods to read, and when to wake somebody; and Grafana, what to draw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from wherry.contract import names
from wherry.contract.project import Project
from wherry.contract.wire import METRICS
from wherry.errors import SettingProblem
from wherry.release.objects import dashboard
from wherry.release.objects.identity import Identity
from wherry.release.objects.network import ADMIN
from wherry.release.objects.storage import keeping

INTERVAL = "15s"
VERSION = "monitoring.coreos.com/v1"


class Alert(msgspec.Struct, frozen=True):
    """One alert: what is asked, for how long it must hold, and what is said then. `$s` is the service's selector."""

    name: str
    query: str
    minutes: int
    severity: str
    summary: str
    store: bool = False  # only where predictions are kept


ALERTS = (
    Alert(
        "NotReady",
        f"sum({names.METRIC_READY}{{$s}}) == 0 or absent({names.METRIC_READY}{{$s}})",
        2,
        "critical",
        "no pod of {name} is ready",
    ),
    Alert(
        "Failing",
        f'sum(rate({names.METRIC_REQUESTS}{{$s,status=~"5.."}}[5m]))'
        f" / sum(rate({names.METRIC_REQUESTS}{{$s}}[5m])) > 0.01",
        5,
        "critical",
        "over 1 % of the requests to {name} fail",
    ),
    Alert(
        "Overloaded",
        f'sum(rate({names.METRIC_REQUESTS}{{$s,status="503"}}[5m])) > 0',
        5,
        "warning",
        "{name} turns requests away: it needs more replicas or a lower rate",
    ),
    Alert(
        "Slow",
        f"histogram_quantile(0.99, sum by (le) (rate({names.METRIC_LATENCY}_bucket{{$s}}[5m]))) > 1",
        10,
        "warning",
        "1 % of the requests to {name} take over a second",
    ),
    Alert(
        "ModelFailing",
        f"sum(increase({names.METRIC_MODEL_FAILURES}{{$s}}[15m])) > 0",
        0,
        "warning",
        "the model of {name} raised, or answered what cannot be sent",
    ),
    Alert(
        "WorkersReplaced",
        f"sum(increase({names.METRIC_REPLACED}{{$s}}[15m])) > 2",
        0,
        "warning",
        "workers of {name} die or hang",
    ),
    Alert(
        "OutOfRange",
        f"sum(rate({names.METRIC_OUTSIDE}{{$s}}[1h])) / sum(rate({names.METRIC_ROWS}{{$s}}[1h])) > 0.1",
        60,
        "info",
        "{name} is asked about values that its model was not trained on",
    ),
    Alert(
        "RowsWaiting",
        f'sum({names.METRIC_STORE_ROWS}{{$s,state="pending"}}) > 10000',
        10,
        "warning",
        "predictions of {name} wait for the database",
        store=True,
    ),
    Alert(
        "RowsLost",
        f'sum(increase({names.METRIC_STORE_ROWS}{{$s,state=~"dropped|poison"}}[15m])) > 0',
        0,
        "critical",
        "predictions of {name} are not stored",
        store=True,
    ),
)


def monitors(who: Identity, project: Project) -> Iterator[dict[str, Any]]:
    """The PodMonitor, the PrometheusRule and the dashboard, where the project wants them."""
    if project.deploy.metrics.pod_monitor:
        yield pod_monitor(who, project)
    if project.deploy.metrics.rules:
        yield prometheus_rule(who, project)
    if project.deploy.metrics.dashboard:
        yield dashboard.config_map(who, project)


def pod_monitor(who: Identity, project: Project) -> dict[str, Any]:
    """Reads each pod's admin port. Not a ServiceMonitor: that port is in no Service."""
    return {
        "apiVersion": VERSION,
        "kind": "PodMonitor",
        "metadata": labelled(who, project),
        "spec": {
            "selector": {"matchLabels": who.selector},
            "podMetricsEndpoints": [{"port": ADMIN, "path": METRICS, "interval": INTERVAL}],
        },
    }


def prometheus_rule(who: Identity, project: Project) -> dict[str, Any]:
    return {
        "apiVersion": VERSION,
        "kind": "PrometheusRule",
        "metadata": labelled(who, project),
        "spec": {"groups": [{"name": who.name, "rules": list(rules(who, project))}]},
    }


def rules(who: Identity, project: Project) -> Iterator[dict[str, Any]]:
    """Each alert about this service alone: by the namespace and the pods' names that the operator's labels carry."""
    own = f'namespace="{who.namespace}",pod=~"{who.name}-.+"'
    kept = keeping(project).kind != "nothing"
    for alert in ALERTS:
        if alert.store and not kept:
            continue
        rule: dict[str, Any] = {"alert": f"Wherry{alert.name}", "expr": alert.query.replace("$s", own)}
        if alert.minutes:
            rule["for"] = f"{alert.minutes}m"
        rule["labels"] = {"severity": alert.severity, "service": who.name}
        rule["annotations"] = {"summary": alert.summary.format(name=who.name)}
        yield rule


def labelled(who: Identity, project: Project) -> dict[str, Any]:
    made = who.metadata()
    made["labels"] |= project.deploy.metrics.labels
    return made


def problems(project: Project) -> Iterator[SettingProblem]:
    """A reader whom the network policy would turn away."""
    wanted = project.deploy.metrics
    if wanted.pod_monitor and not wanted.scrape_from:
        yield SettingProblem(
            "deploy.metrics.pod_monitor",
            "is on, and the network policy lets nobody read the admin port",
            '[deploy.metrics] scrape_from = "monitoring", the namespace of Prometheus',
        )
