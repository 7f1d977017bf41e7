"""Releases to deploy: composed as a user's would be, with a small stand-in in the place of wherry's own image."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wherry.contract import settings
from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import Conversion, Golden, Manifest, Measured, Origin, Requirements
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.deploy.cluster import Cluster, connect
from wherry.deploy.probe import Probe
from wherry.release.release import Release, compose
from wherry.testing import FakeApiServer

# importable by the tests beside them: nothing here is on sys.path
for helper in (
    "deploy_parts",
    "fake_parts",
    "faulty_parts",
    "image_files",
    "small_registry",
    "attesting_parts",
    "database_image",
    "scaling_parts",
):
    found = importlib.util.spec_from_file_location(helper, Path(__file__).with_name(f"{helper}.py"))
    assert found is not None
    assert found.loader is not None
    sys.modules[helper] = importlib.util.module_from_spec(found)
    found.loader.exec_module(sys.modules[helper])

GOLDEN = GoldenRows(columns=("a",), rows=((0.1,), (0.9,), (0.4,)), predictions=(0, 1, 0))
STAND_IN = (Path(__file__).parent / "stand_in.py").read_text()


def manifest_of(version: str = "1", name: str = "ferry") -> Manifest:
    return Manifest(
        format=1,
        name=name,
        version=version,
        digest="",
        flavor="linear",
        model="model.npz",
        signature=Signature(columns=(Column("a", "number"),), output=OutputSpec("class", "integer", classes=(0, 1))),
        golden=Golden("golden.json", len(GOLDEN.rows)),
        baseline="baseline.json",
        requirements=Requirements("3.11", {}),
        files={"model.npz": "0" * 64},
        origin=Origin("LogisticRegression"),
        conversion=Conversion("linear"),
        measured=Measured(load_seconds=0.2, peak_bytes=30 * 2**20),
    ).sealed()


MakeRelease = Callable[..., Release]


@pytest.fixture(scope="session")
def probe() -> Probe:
    return Probe.of(GOLDEN, manifest_of())


@pytest.fixture(scope="session")
def make_release() -> MakeRelease:
    """release(namespace, image=..., how=..., table=...): composed, its container running the stand-in."""

    def make(
        namespace: str,
        *,
        image: str = "localhost:5000/library/python:3.11-slim",
        how: str = "",
        version: str = "1",
        name: str = "ferry",
        drain: int = 1,
        create_namespace: bool = False,
        stand_in: bool = True,
        store: dict[str, Any] | None = None,
        **deploy: Any,
    ) -> Release:
        table = {"deploy": {"replicas": 1, "resources": {"cpu": "20m", "memory": "48Mi"}, **deploy}}
        table |= {"store": store or {}}
        if table["deploy"]["replicas"] is None:
            del table["deploy"]["replicas"]
        manifest = manifest_of(version, name)
        project = settings.resolve(table, {}, {}).project
        made = compose(
            project, manifest, image=image, namespace=namespace, local=True, create_namespace=create_namespace
        )
        if not stand_in:
            return made
        objects = copy.deepcopy(made.objects)
        for one in objects:
            if one["kind"] == "Deployment":
                spec = one["spec"]["template"]["spec"]
                container = spec["containers"][0]
                container["command"] = ["python", "-c", STAND_IN]
                container["env"] += [
                    {"name": "STAND_IN", "value": how},
                    {"name": "STAND_IN_DIGEST", "value": manifest.digest},
                ]
                container["lifecycle"]["preStop"]["sleep"]["seconds"] = drain
                one["spec"]["minReadySeconds"] = 1
                spec["terminationGracePeriodSeconds"] = 10
        return msgspec.structs.replace(made, objects=objects)

    return make


@pytest.fixture
def told() -> list[Any]:
    """Every event that was told."""
    return []


@pytest.fixture
def real(cluster: Any, namespace: str) -> Iterator[Cluster]:
    """The cluster that tests may use, at a namespace of this test's own."""
    with connect(namespace=namespace, kubeconfig=str(cluster.kubeconfig)) as made:
        yield made


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


# --- two versions in real images --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def images(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """deploy_parts.Versioned by version."""
    from deploy_parts import versions

    if not cluster.registry:
        pytest.skip("needs a registry: WHERRY_TEST_REGISTRY names none")
    return versions(tmp_path_factory.mktemp("images"), cluster.registry)


@pytest.fixture
def spaces(kube: Any) -> Iterator[Callable[[], Cluster]]:
    """spaces(): the cluster at one more namespace of the test's own, with the strictest Pod Security."""
    from deploy_parts import space

    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(space(kube))


# --- a fake API server ----------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    """The namespace boats, and a service in it that answers; modules that need another have their own."""
    from fake_parts import answers

    with FakeApiServer() as made:
        made.api.answer = answers
        made.api.put("namespaces", {"metadata": {"name": "boats"}})
        yield made


@pytest.fixture
def fake(server: FakeApiServer, tmp_path: Path) -> Iterator[Cluster]:
    """The module's `server`, reached as any cluster is."""
    with connect(kubeconfig=str(server.kubeconfig(tmp_path / "config", "boats"))) as made:
        yield made
