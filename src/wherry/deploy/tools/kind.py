"""kind: a cluster of this machine, each node a container."""

from __future__ import annotations

from pathlib import Path

import yaml

from wherry.deploy.tools.plan import Command, Plan, Wanted, metrics_server


class Kind:
    """Contexts are called kind-NAME. More than one node, or a folder of this machine in them, takes a file."""

    program = "kind"
    takes = frozenset({"nodes", "mount"})

    def context(self, wanted: Wanted) -> str:
        return f"kind-{wanted.name}"

    def create(self, wanted: Wanted) -> Plan:
        words: tuple[str, ...] = ("kind", "create", "cluster", "--name", wanted.name, "--wait", "120s")
        files = {}
        if wanted.mount or (wanted.nodes or 1) > 1:
            file = f".wherry/kind-{wanted.name}.yaml"
            files[file] = yaml.safe_dump(config(wanted), sort_keys=False)
            words = (*words, "--config", file)
        made = Command(words, "the cluster")
        return Plan(
            self.context(wanted),
            (made, *metrics_server(self.context(wanted))),
            files,
            ("images come into it by `wherry build --load=kind:" + wanted.name + "`, or from a registry",),
        )

    def delete(self, wanted: Wanted) -> Plan:
        command = Command(("kind", "delete", "cluster", "--name", wanted.name), "the cluster and all that it holds")
        return Plan(self.context(wanted), (command,))

    def listing(self, wanted: Wanted) -> Command:
        return Command(("kind", "get", "clusters"), "the clusters of kind")

    def dashboard(self, wanted: Wanted) -> Command | None:
        return None


def config(wanted: Wanted) -> dict[str, object]:
    """kind's own file: one control plane, the other nodes workers, the folder mounted into each."""
    roles = ["control-plane", *["worker"] * ((wanted.nodes or 1) - 1)]
    nodes: list[dict[str, object]] = [{"role": role} for role in roles]
    if wanted.mount:
        folder, _, path = wanted.mount.partition(":")
        for node in nodes:
            node["extraMounts"] = [{"hostPath": str(Path(folder)), "containerPath": path or folder}]
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}
