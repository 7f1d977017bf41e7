"""What a cluster tool is asked for, and the commands that do it: printed before they run, so that nothing is hidden."""

from __future__ import annotations

import shlex
from typing import Protocol

import msgspec

METRICS_SERVER = "https://github.com/kubernetes-sigs/metrics-server/releases/latest/download/components.yaml"
TRUST_KUBELETS = '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--kubelet-insecure-tls"}]'


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster as the flags describe it; what is empty or None is left to the tool.

    place: region or zone (`zonal`) at a cloud. account: the service account of whoever builds images there.
    """

    name: str
    nodes: int | None = None
    memory: str = ""
    cpus: int | None = None
    driver: str = ""
    mount: str = ""  # FOLDER:PATH
    project: str = ""
    place: str = ""
    zonal: bool = False
    machine_type: str = ""
    autopilot: bool = False
    repository: str = ""
    account: str = ""


class Command(msgspec.Struct, frozen=True):
    """One program to run. why: what it is for. must: whether what follows makes no sense where it failed."""

    words: tuple[str, ...]
    why: str
    must: bool = True

    def __str__(self) -> str:
        return shlex.join(self.words)


class Plan(msgspec.Struct, frozen=True):
    """Commands in their order, files to write before, and what to know afterwards. context: the kubeconfig's name."""

    context: str
    commands: tuple[Command, ...]
    files: dict[str, str] = {}
    notes: tuple[str, ...] = ()


class Tool(Protocol):
    """A maker of clusters."""

    @property
    def program(self) -> str:
        """The program that has to be installed; empty when there is none."""

    @property
    def takes(self) -> frozenset[str]:
        """The fields of Wanted that mean something to it."""

    def context(self, wanted: Wanted) -> str: ...

    def create(self, wanted: Wanted) -> Plan: ...

    def delete(self, wanted: Wanted) -> Plan: ...

    def listing(self, wanted: Wanted) -> Command: ...

    def dashboard(self, wanted: Wanted) -> Command | None:
        """What shows the cluster's own page; None when it has none."""


def metrics_server(context: str) -> tuple[Command, ...]:
    """Puts a metrics-server where none comes with the cluster, for autoscalers and `status`.

    The kubelets of such clusters sign their certificates themselves.
    """
    kubectl, patch = ("kubectl", "--context", context), ("patch", "deployment", "metrics-server")
    return (
        Command((*kubectl, "apply", "-f", METRICS_SERVER), "metrics-server: autoscalers need it"),
        Command(
            (*kubectl, "-n", "kube-system", *patch, "--type", "json", "--patch", TRUST_KUBELETS),
            "the kubelets of this cluster sign their own certificates",
        ),
    )


def given(**flags: object) -> tuple[str, ...]:
    """Flags as words, --like-this VALUE; what is empty or None is left out, and True stands alone."""
    words: list[str] = []
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value not in ("", None, False):
            words += (flag, str(value))
    return tuple(words)
