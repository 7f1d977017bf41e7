"""Docker Desktop: its Kubernetes is switched on in its own settings, by hand."""

from __future__ import annotations

from wherry.deploy.tools.plan import Command, Plan, Wanted, metrics_server

CONTEXT = "docker-desktop"


class DockerDesktop:
    """There is one cluster, whose context is docker-desktop."""

    program = ""
    takes: frozenset[str] = frozenset()

    def context(self, wanted: Wanted) -> str:
        return CONTEXT

    def create(self, wanted: Wanted) -> Plan:
        there = Command(("kubectl", "--context", CONTEXT, "get", "nodes"), "whether its Kubernetes is switched on")
        note = "to switch it on: Docker Desktop, Settings, Kubernetes, Enable Kubernetes"
        return Plan(CONTEXT, (there, *metrics_server(CONTEXT)), notes=(note,))

    def delete(self, wanted: Wanted) -> Plan:
        return Plan(CONTEXT, (), notes=("Docker Desktop, Settings, Kubernetes, Reset Kubernetes Cluster",))

    def listing(self, wanted: Wanted) -> Command:
        return Command(("kubectl", "config", "get-contexts", CONTEXT), "its context")

    def dashboard(self, wanted: Wanted) -> Command | None:
        return None
