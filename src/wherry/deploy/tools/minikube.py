"""minikube: a cluster of this machine, of one node or several, with a metrics-server to switch on."""

from __future__ import annotations

from wherry.deploy.tools.plan import Command, Plan, Wanted, given


class Minikube:
    """Profiles are clusters, and contexts are called as they are."""

    program = "minikube"
    takes = frozenset({"nodes", "memory", "cpus", "driver", "mount"})

    def context(self, wanted: Wanted) -> str:
        return wanted.name

    def create(self, wanted: Wanted) -> Plan:
        start = given(
            profile=wanted.name,
            nodes=wanted.nodes,
            memory=wanted.memory,
            cpus=wanted.cpus,
            driver=wanted.driver,
            mount=bool(wanted.mount),
            mount_string=wanted.mount,
        )
        enable = ("addons", "enable", "metrics-server", "--profile", wanted.name)
        return Plan(
            self.context(wanted),
            (
                Command(("minikube", "start", *start), "the cluster"),
                Command(("minikube", *enable), "metrics-server: autoscalers need it"),
            ),
            notes=("a Service of type LoadBalancer gets its address from `minikube tunnel`, left running",),
        )

    def delete(self, wanted: Wanted) -> Plan:
        command = Command(("minikube", "delete", "--profile", wanted.name), "the cluster and all that it holds")
        return Plan(self.context(wanted), (command,))

    def listing(self, wanted: Wanted) -> Command:
        return Command(("minikube", "profile", "list"), "the clusters of minikube")

    def dashboard(self, wanted: Wanted) -> Command | None:
        return Command(
            ("minikube", "dashboard", "--url", "--profile", wanted.name), "Kubernetes' own page, until Ctrl-C"
        )
