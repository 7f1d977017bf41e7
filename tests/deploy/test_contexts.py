"""Which cluster is meant: the kubeconfig's conventions, and the rule that a cluster elsewhere must be named."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.deploy.cluster import connect
from wherry.deploy.contexts import Context, is_local, own_address, parse
from wherry.errors import ContextMissing, ContextUnclear, NoCluster

FAR = "https://192.0.2.7:6443"  # a documentation address: nobody's own


def kubeconfig(path: Path, current: str, **servers: str) -> Path:
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": name, "cluster": {"server": server}} for name, server in servers.items()],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": "me", "namespace": f"{name}-boats"}} for name in servers
        ],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize(
    ("context", "server", "local"),
    [
        (Context("here", "here"), "https://127.0.0.1:6443", True),
        (Context("here", "here"), "https://[::1]:6443", True),
        (Context("here", "here"), "https://localhost:6443", True),
        (Context("there", "there"), FAR, False),
        (Context("there", "there"), "https://no-such-host.invalid:6443", False),
        (Context("there", "there"), "https://0.0.0.0:6443", False),
        (Context("kind-test", "kind-test"), FAR, True),
        (Context("k3d-test", "k3d-test"), FAR, True),
        (Context("minikube", "minikube"), FAR, True),
        (Context("docker-desktop", "docker-desktop"), FAR, True),
        (Context("rancher-desktop", "rancher-desktop"), FAR, True),
        (Context("orbstack", "orbstack"), FAR, True),
        (Context("colima", "colima"), FAR, True),
        (Context("renamed", "kind-test"), FAR, True),
        (Context("profile", "profile", providers=("minikube.sigs.k8s.io",)), FAR, True),
        (Context("my-kind-cluster", "prod"), FAR, False),
    ],
)
def test_what_counts_as_local(context: Context, server: str, local: bool) -> None:
    assert is_local(context, server) is local


def test_every_address_of_this_machine_is_its_own() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which address would be used
        own = probe.getsockname()[0]
    assert own_address(own)
    assert not own_address("192.0.2.1")


def test_a_context_of_minikube_says_so_itself() -> None:
    raw = {
        "name": "profile",
        "context": {
            "cluster": "profile",
            "extensions": [{"name": "context_info", "extension": {"provider": "minikube.sigs.k8s.io"}}],
        },
    }
    assert parse(raw) == Context("profile", "profile", "default", ("minikube.sigs.k8s.io",))


def test_the_current_context_and_its_namespace_are_the_default(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", "near", near="https://127.0.0.1:1", far=FAR)
    with connect(kubeconfig=str(config)) as cluster:
        assert (cluster.context, cluster.namespace, cluster.is_local) == ("near", "near-boats", True)
        assert cluster.server == "https://127.0.0.1:1"
    with connect(namespace="else", kubeconfig=str(config)) as cluster:
        assert cluster.namespace == "else"


def test_a_far_cluster_must_be_named(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", "far", near="https://127.0.0.1:1", far=FAR)
    with pytest.raises(ContextUnclear) as unclear:
        connect(kubeconfig=str(config))
    assert FAR in str(unclear.value)
    assert '[deploy] context = "far"' in unclear.value.hint
    with connect("far", kubeconfig=str(config)) as cluster:
        assert (cluster.context, cluster.is_local) == ("far", False)


def test_an_unknown_context_names_the_known(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", "near", near="https://127.0.0.1:1", far=FAR)
    with pytest.raises(ContextMissing, match=r"no context 'nera' in .*: it has near, far"):
        connect("nera", kubeconfig=str(config))


def test_kubeconfig_may_list_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = kubeconfig(tmp_path / "one", "near", near="https://127.0.0.1:1")
    two = kubeconfig(tmp_path / "two", "far", far=FAR)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{one}:{two}")
    with connect() as cluster:
        assert cluster.context == "near"
    with connect("far") as cluster:
        assert cluster.server == FAR


def test_no_kubeconfig_is_said_with_the_path_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        NoCluster, match=r"no cluster is known \(from .*/missing\): there is no such kubeconfig"
    ) as none:
        connect(kubeconfig=str(tmp_path / "missing"))
    assert "--kubeconfig" in none.value.hint and "KUBECONFIG" not in none.value.hint
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(NoCluster) as none:
        connect()
    assert none.value.hint.startswith("unset KUBECONFIG")


@pytest.mark.parametrize("text", ["", "not: [a kubeconfig", "apiVersion: v1\nkind: Config\n"])
def test_a_kubeconfig_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(NoCluster, match="config"):
        connect(kubeconfig=str(tmp_path / "config"))


def test_a_kubeconfig_without_a_current_context(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", "", near="https://127.0.0.1:1")
    with pytest.raises(NoCluster, match="no current context"):
        connect(kubeconfig=str(config))
    assert connect("near", kubeconfig=str(config)).context == "near"
