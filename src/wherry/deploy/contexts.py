"""Which cluster is meant, and whether it is one of this machine's own. Judged from the kubeconfig's own words."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from wherry.errors import ContextMissing, ContextUnclear, NoCluster

IN_CLUSTER = "in-cluster"
DEFAULT_KUBECONFIG = "~/.kube/config"
LOCAL_NAMES = frozenset({"minikube", "docker-desktop", "docker-for-desktop", "rancher-desktop", "orbstack", "colima"})
LOCAL_PREFIXES = ("kind-", "k3d-", "colima-")
LOCAL_PROVIDERS = frozenset({"minikube.sigs.k8s.io"})


class Context(msgspec.Struct, frozen=True):
    """A context of a kubeconfig. namespace: the context's own, `default` when it names none. server: its address."""

    name: str
    cluster: str
    namespace: str = "default"
    providers: tuple[str, ...] = ()
    server: str = ""


def source_of(kubeconfig: str = "") -> str:
    """Where contexts are read from: the file that was named, else KUBECONFIG's, else the user's own."""
    return kubeconfig or os.environ.get("KUBECONFIG", "") or DEFAULT_KUBECONFIG


def read(kubeconfig: str) -> tuple[tuple[Context, ...], str]:
    """The contexts of a kubeconfig, and the current one's name, empty when there is none.

    kubeconfig: one path, or several as KUBECONFIG lists them: the first file that names something wins. Raises
    NoCluster when there is no file, or none that can be read.
    """
    files = [Path(part).expanduser() for part in kubeconfig.split(os.pathsep) if part]
    found: dict[str, Context] = {}
    servers: dict[str, str] = {}
    current = ""
    for file in filter(Path.is_file, files):
        try:
            raw = yaml.safe_load(file.read_text()) or {}
            for entry in raw.get("contexts") or ():
                found.setdefault(str(entry["name"]), parse(entry))
            for entry in raw.get("clusters") or ():
                servers.setdefault(str(entry["name"]), str((entry.get("cluster") or {}).get("server", "")))
            current = current or str(raw.get("current-context") or "")
        except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise NoCluster("the file is no kubeconfig", kubeconfig=str(file)) from error
    if not any(file.is_file() for file in files):
        meant = kubeconfig == os.environ.get("KUBECONFIG")
        hint = "unset KUBECONFIG, or name a file that is there: --kubeconfig FILE" if meant else ""
        raise NoCluster("there is no such kubeconfig", kubeconfig=kubeconfig, hint=hint)
    named = (msgspec.structs.replace(each, server=servers.get(each.cluster, "")) for each in found.values())
    return tuple(named), current


def parse(raw: Mapping[str, Any]) -> Context:
    """The context in one entry of a kubeconfig's `contexts`."""
    inner = raw.get("context") or {}
    extensions = inner.get("extensions") or ()
    providers = tuple(str((entry.get("extension") or {}).get("provider", "")) for entry in extensions)
    return Context(
        name=str(raw["name"]),
        cluster=str(inner.get("cluster", "")),
        namespace=str(inner.get("namespace") or "default"),
        providers=tuple(filter(None, providers)),
    )


def choose(named: str, contexts: Iterable[Context], current: str, kubeconfig: str) -> Context:
    """The context that was named, else the current one. Raises ContextMissing, NoCluster."""
    known = {context.name: context for context in contexts}
    wanted = named or current
    if not wanted:
        raise NoCluster("the kubeconfig has no current context", kubeconfig=kubeconfig)
    if wanted not in known:
        raise ContextMissing(wanted, kubeconfig, tuple(known))
    return known[wanted]


def is_local(context: Context, server: str) -> bool:
    """Whether the cluster is this machine's own: by its address, or because it belongs to a known local tool."""
    for name in (context.name, context.cluster):
        if name in LOCAL_NAMES or name.startswith(LOCAL_PREFIXES):
            return True
    if LOCAL_PROVIDERS & set(context.providers):
        return True
    return own_address(urlsplit(server).hostname or "")


def require_named(named: str, context: Context, server: str, local: bool) -> None:
    """Off this machine the context must have been named by a flag or the project. Raises ContextUnclear."""
    if not local and not named:
        raise ContextUnclear(context.name, server)


def own_address(host: str) -> bool:
    """Whether every address of `host` is one of this machine's own."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_bindable(family, address) for family, _, _, _, address in found)


def _bindable(family: int, address: Any) -> bool:
    """Only an address of this machine can be bound; nothing is sent and no port is held."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address[0], 0, *address[2:]))
        except OSError as error:
            return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return address[0] not in ("0.0.0.0", "::")
