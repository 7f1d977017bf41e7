"""A Grafana dashboard of one service: what is asked of Prometheus, and how it is drawn.

Written by hand it would drift from the metrics; here every name comes from `contract.names`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from wherry.contract import names
from wherry.contract.project import Project
from wherry.release.objects.identity import Identity
from wherry.release.objects.storage import keeping

SCHEMA = 39  # the dashboard's format: Grafana 11, which newer ones bring up to date themselves
LABEL = {"grafana_dashboard": "1"}  # by which the sidecar of Grafana's chart finds ConfigMaps with dashboards
WIDTH, HEIGHT = 24, 8  # of the grid, and of a panel in it
SOURCE = {"type": "prometheus", "uid": "${source}"}
WINDOW = "$__rate_interval"


class Panel(msgspec.Struct, frozen=True):
    """One picture: each query with its legend. `$s` is the service's selector, `$w` the window of a rate."""

    title: str
    about: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    stacked: bool = False
    width: int = 8
    store: bool = False  # only where predictions are kept


def rate(metric: str, by: str = "", labels: str = "") -> str:
    """A counter's rate, added up over the pods, for each value of `by`."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({metric}{{$s{labels}}}[$w]))"


def now(metric: str, by: str = "", labels: str = "") -> str:
    """A gauge at this moment, added up over the pods."""
    return f"sum{f' by ({by})' if by else ''} ({metric}{{$s{labels}}})"


def percentiles(metric: str) -> tuple[tuple[str, str], ...]:
    """A histogram's p50, p90 and p99 over all pods."""
    buckets = rate(f"{metric}_bucket", "le")
    return tuple((f"histogram_quantile({share}, {buckets})", f"p{100 * share:.0f}") for share in (0.5, 0.9, 0.99))


PANELS = (
    Panel("Ready pods", "Pods that answer predictions.", ((now(names.METRIC_READY), ""),), kind="stat", width=4),
    Panel(
        "Model",
        "What is served; two lines during a rollout.",
        ((f"count by (name, version, digest) ({names.METRIC_MODEL_INFO}{{$s}})", "{{name}} {{version}}"),),
        kind="stat",
        width=8,
    ),
    Panel(
        "Time to load",
        "Seconds to load the model and prove its golden rows, of the slowest pod.",
        ((f"max ({names.METRIC_LOAD_SECONDS}{{$s}})", ""),),
        "s",
        kind="stat",
        width=4,
    ),
    Panel(
        "Workers",
        "Worker processes that answer, by pod, and those replaced because they died or hung.",
        (
            (now(names.METRIC_WORKERS, "pod"), "{{pod}}"),
            (f"sum by (cause) (increase({names.METRIC_REPLACED}{{$s}}[$w]))", "replaced: {{cause}}"),
        ),
    ),
    Panel(
        "Requests",
        "Requests answered a second, by door and status.",
        ((rate(names.METRIC_REQUESTS, "door, status"), "{{door}} {{status}}"),),
        "reqps",
        stacked=True,
    ),
    Panel("Latency", "From the complete header to the reply.", percentiles(names.METRIC_LATENCY), "s"),
    Panel(
        "Refused and failed",
        "What was not answered well, a second: 4xx are the callers', 503 is overload, other 5xx are failures.",
        ((rate(names.METRIC_REQUESTS, "status", ',status=~"[45].."'), "{{status}}"),),
        "reqps",
        stacked=True,
    ),
    Panel(
        "In flight",
        "Requests read and not yet answered, and open connections.",
        ((now(names.METRIC_IN_FLIGHT), "requests"), (now(names.METRIC_CONNECTIONS), "connections")),
    ),
    Panel("Queue", "Rows that wait for the model, by pod.", ((now(names.METRIC_QUEUE_ROWS, "pod"), "{{pod}}"),)),
    Panel("Rows a call of the model", "How well waiting requests are batched.", percentiles(names.METRIC_BATCH_ROWS)),
    Panel("Rows", "Rows scored a second.", ((rate(names.METRIC_ROWS), "rows"),), "rowsps"),
    Panel(
        "Model time",
        "Share of the time that each pod spends in the model; a worker process can spend 100 %.",
        ((rate(names.METRIC_MODEL_SECONDS, "pod"), "{{pod}}"),),
        "percentunit",
    ),
    Panel(
        "Model time a row",
        "Seconds in the model for each row that it scored; of a chain, in each call of a step.",
        (
            (f"{rate(names.METRIC_MODEL_SECONDS)} / {rate(names.METRIC_ROWS)}", "a row"),
            (
                " / ".join(rate(f"{names.METRIC_STEP_SECONDS}_{part}", "step") for part in ("sum", "count")),
                "a call of {{step}}",
            ),
        ),
        "s",
    ),
    Panel(
        "Classes predicted",
        "Rows answered with each class a second, of a classifier.",
        ((rate(names.METRIC_CLASSES, "class"), "{{class}}"),),
        "rowsps",
        stacked=True,
    ),
    Panel(
        "Values out of range",
        "For each row: values outside what the model was trained on, and fields that were sent and left aside.",
        (
            (f"{rate(names.METRIC_OUTSIDE)} / {rate(names.METRIC_ROWS)}", "out of range"),
            (f"{rate(names.METRIC_IGNORED)} / {rate(names.METRIC_ROWS)}", "left aside"),
        ),
    ),
    Panel(
        "Failures of the model",
        "Requests on which the model raised, or answered what cannot be sent, a second.",
        ((rate(names.METRIC_MODEL_FAILURES), "failures"),),
        "reqps",
    ),
    Panel(
        "Rows not stored yet, or never",
        "Pending rows wait for the database; dropped ones had no room, poison ones were refused by it.",
        ((now(names.METRIC_STORE_ROWS, "state", ',state=~"pending|dropped|poison"'), "{{state}}"),),
        width=12,
        store=True,
    ),
    Panel(
        "Rows stored",
        "Rows a second that were accepted, that reached the database, and that were not to be kept.",
        (
            (rate(names.METRIC_STORE_ROWS, "state", ',state=~"accepted|stored"'), "{{state}}"),
            (rate(names.METRIC_SKIPPED), "skipped"),
        ),
        "rowsps",
        width=12,
        store=True,
    ),
)


def dashboard(who: Identity, project: Project) -> dict[str, Any]:
    """The dashboard as Grafana imports it; `pod` chooses among the service's pods, all of them by default."""
    kept = keeping(project).kind != "nothing"
    shown = [panel for panel in PANELS if kept or not panel.store]
    own = f'namespace="{who.namespace}",pod=~"$pod"'
    digest = hashlib.sha256(f"{who.namespace}/{who.name}".encode()).hexdigest()
    return {
        "uid": f"wherry-{digest[:16]}",
        "title": f"{who.namespace} / {who.name}",
        "description": "Written by wherry.",
        "tags": ["wherry"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(variables(who))},
        "panels": [drawn(panel, number, own, place) for number, (panel, place) in enumerate(laid_out(shown), 1)],
    }


def variables(who: Identity) -> Iterator[dict[str, Any]]:
    """What is chosen above the panels: the Prometheus that is asked, and the pods."""
    yield {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    yield {
        "name": "pod",
        "type": "query",
        "datasource": SOURCE,
        "query": f'label_values({names.METRIC_READY}{{namespace="{who.namespace}",pod=~"{who.name}-.+"}}, pod)',
        "refresh": 2,  # with the time range: pods come and go
        "multi": True,
        "includeAll": True,
        "allValue": f"{who.name}-.+",
        "current": {"selected": True, "text": "All", "value": "$__all"},
    }


def laid_out(panels: Iterable[Panel]) -> Iterator[tuple[Panel, dict[str, int]]]:
    """Each panel with its place: from left to right, as many to a row as have room."""
    x = y = 0
    for panel in panels:
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        yield panel, {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
        x += panel.width


def drawn(panel: Panel, number: int, own: str, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.stacked:
        defaults["custom"] = {"fillOpacity": 30, "stacking": {"mode": "normal"}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        **({"options": {"textMode": "value_and_name"}} if panel.kind == "stat" and panel.queries[0][1] else {}),
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query.replace("$s", own).replace("$w", WINDOW),
                "legendFormat": legend or "__auto",
            }
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def config_map(who: Identity, project: Project) -> dict[str, Any]:
    """The dashboard where Grafana's sidecar looks for it."""
    metadata = who.metadata("-dashboard")
    metadata["labels"] |= LABEL | project.deploy.metrics.labels
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {f"{who.namespace}-{who.name}.json": as_json(who, project)},
    }


def as_json(who: Identity, project: Project) -> str:
    return json.dumps(dashboard(who, project), indent=1) + "\n"
