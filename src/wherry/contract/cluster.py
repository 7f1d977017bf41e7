"""What there is in the cluster: the tables of [deploy.service], ingress, resources, metrics and schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Quantity = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]


class Service(Struct, frozen=True, kw_only=True):
    """How the cluster reaches the pods."""

    type: Annotated[Literal["ClusterIP", "NodePort", "LoadBalancer"], Meta(description="kind of Service")] = "ClusterIP"
    port: Annotated[int, Meta(ge=1, le=65535, description="port of the Service")] = 80
    node_port: Annotated[
        int | None, Meta(description="port on every node, 30000 to 32767; unset: chosen by the cluster")
    ] = None
    allow_from: Annotated[tuple[str, ...], Meta(description="CIDRs that may call the service from outside")] = ()


class Ingress(Struct, frozen=True, kw_only=True):
    """A host name for callers from outside, by an Ingress or by a Gateway's HTTPRoute."""

    host: Annotated[str, Meta(description="name by which it is called from outside; empty: not at all")] = ""
    path: Annotated[str, Meta(pattern=r"^/[^\s?#]*$", description="path below which it answers there")] = "/"
    class_name: Annotated[str, Meta(description="IngressClass; empty: the cluster's default")] = ""
    tls_secret: Annotated[str, Meta(description="Secret with the certificate of the host; empty: no TLS here")] = ""
    gateway: Annotated[
        str, Meta(description="Gateway, as NAME or NAMESPACE/NAME, to attach an HTTPRoute to in place of an Ingress")
    ] = ""
    controller: Annotated[
        str, Meta(description="namespace of the pods that pass requests on; empty: of any namespace")
    ] = ""


class Resources(Struct, frozen=True, kw_only=True):
    """What each pod asks for."""

    cpu: Annotated[Quantity, Meta(description="CPU request")] = "250m"
    cpu_limit: Annotated[Quantity | Literal[""], Meta(description="CPU limit; empty: none")] = ""
    memory: Annotated[
        Quantity | Literal[""], Meta(description="memory request and limit; empty: 1.5 times the peak seen at pack")
    ] = ""


class Scrape(Struct, frozen=True, kw_only=True):
    """Who reads the metrics."""

    scrape_from: Annotated[str, Meta(description="namespace whose pods may read the admin port; empty: nobody's")] = ""
    pod_monitor: Annotated[bool, Meta(description="a PodMonitor for the Prometheus operator")] = False
    rules: Annotated[bool, Meta(description="a PrometheusRule with alerts for the Prometheus operator")] = False
    dashboard: Annotated[bool, Meta(description="a ConfigMap with a dashboard, for the sidecar of Grafana's chart")] = (
        False
    )
    labels: Annotated[
        dict[str, str], Meta(description="labels by which the Prometheus operator, or Grafana, chooses them")
    ] = {}


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work at set times beside the service, as a CronJob; each has its name: [deploy.schedule.NAME]."""

    cron: Annotated[str, Meta(description='when, as "30 3 * * *" or "@daily"')] = ""
    command: Annotated[tuple[str, ...], Meta(description="what is run, in an image like the service's")] = ()
    time_zone: Annotated[str, Meta(description="zone that cron is meant in, like Europe/Oslo")] = "Etc/UTC"
    overlap: Annotated[
        Literal["forbid", "allow", "replace"], Meta(description="what becomes of a run that is due while one goes on")
    ] = "forbid"
    start_within: Annotated[
        int, Meta(ge=10, le=86400, description="seconds that a run may begin late, before it is left out")
    ] = 600
    run_seconds: Annotated[int, Meta(ge=1, le=604800, description="seconds that a run may take")] = 3600
    retries: Annotated[int, Meta(ge=0, le=10, description="how often a run that fails is tried again")] = 1
    keep_succeeded: Annotated[int, Meta(ge=0, le=100, description="runs that went well, to keep")] = 1
    keep_failed: Annotated[int, Meta(ge=0, le=100, description="runs that failed, to keep")] = 3
    suspended: Annotated[bool, Meta(description="let no run begin")] = False
    image: Annotated[str, Meta(description="another image; empty: the service's own")] = ""
    env: Annotated[dict[str, str], Meta(description="further environment variables")] = {}
    secret: Annotated[str, Meta(description="Secret whose keys become environment variables; empty: none")] = ""
    cpu: Annotated[Quantity, Meta(description="CPU request")] = "100m"
    memory: Annotated[Quantity | Literal[""], Meta(description="memory; empty: what a pod of the service has")] = ""
