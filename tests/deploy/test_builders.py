"""Builds as they are decided (a builder that only notes what it is asked) and as they are done (Docker and buildah).

The second half needs a registry (WHERRY_TEST_REGISTRY) and the program itself, and skips without.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import platform
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from wherry.contract import settings
from wherry.contract.events import Event, Note, Tell, silent
from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import FORMAT, Conversion, Golden, Manifest, Measured, Origin
from wherry.contract.names import ENV_TEST_REGISTRY
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.deploy import bases, builders, dockerfiles, pins, registry
from wherry.deploy.build_failures import failed
from wherry.deploy.buildah import Buildah
from wherry.deploy.builders import Built, build, choose, prepare
from wherry.deploy.docker import Docker
from wherry.deploy.dockerfiles import ByDockerfile, lay_out
from wherry.deploy.engines import Engine
from wherry.deploy.order import Order
from wherry.deploy.programs import Ran, present, run
from wherry.errors import (
    BaseMissing,
    BuildFailed,
    DiskFull,
    FileMissing,
    ImageTaken,
    NoBuilder,
    RegistryFailed,
    RegistryRefused,
)
from wherry.model import bundle as bundles
from wherry.model import requirements
from wherry.model.flavors.linear import Form, Linear
from wherry.release.image import ImagePlan, plan
from wherry.release.reference import Reference

found = importlib.util.spec_from_file_location("image_files", Path(__file__).with_name("image_files.py"))
assert found is not None
assert found.loader is not None
sys.modules["image_files"] = image_files = importlib.util.module_from_spec(found)  # a NamedTuple looks its module up
found.loader.exec_module(image_files)

DIGEST = "sha256:" + "a" * 64
ID = "sha256:" + "b" * 64
PROJECT = settings.resolve({"reply": {"record": {"it's": "$prediction", "back\\slash": "$$5 #x"}}}, {}, {}).project


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that needs numpy alone: 1 where a is above b."""
    folder = tmp_path_factory.mktemp("packed") / "bundle"
    model = Linear(
        form=Form("sign", "sigmoid", (0, 1), (0, 1), ()),
        weights=np.array([[1.0], [-1.0]]),
        bias=np.zeros(1),
        center=np.zeros(2),
        low=np.full(2, -np.inf),
        high=np.full(2, np.inf),
        missing=np.full((2, 1), np.nan),
        table=np.zeros((0, 1)),
    )
    draft = Manifest(
        format=FORMAT,
        name="tiny",
        version="1",
        digest="",
        flavor="linear",
        model="model.npz",
        signature=Signature((Column("a", "number"), Column("b", "number")), OutputSpec("class", "integer", (0, 1))),
        golden=Golden("golden.json", 2),
        baseline="baseline.json",
        requirements=requirements.here("linear"),
        files={},
        origin=Origin("LogisticRegression"),
        conversion=Conversion("linear"),
        measured=Measured(0.1, 50_000_000),
    )
    golden = GoldenRows(("a", "b"), ((2.0, 1.0), (1.0, 2.0)), (1, 0))
    files = {"model.npz": model.dump(), "golden.json": msgspec.json.encode(golden), "baseline.json": b"{}"}
    bundles.write(folder, draft, {**files, "example.json": b'{"a": 2.0, "b": 1.0}'})
    (folder / "notes.txt").write_text("not of the bundle")
    return folder


class Noted:
    """A program that succeeds and remembers, or ends as it is told to."""

    name = "noted"

    def __init__(self, ends: Ran | None = None) -> None:
        self.ends = ends
        self.ends_saving: Ran | None = None
        self.asked: list[str] = []
        self.laid_out: list[str] = []

    def trouble(self) -> str:
        return ""

    def build(self, folder: Path, reference: Reference, platform: str, tell: Tell = silent) -> Ran:
        self.asked.append(f"build {reference} {platform}".strip())
        self.laid_out = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        if self.ends is None:
            (folder / ".iid").write_text(ID)
        return self.ends or Ran(0, ())

    def push(self, reference: Reference, tell: Tell = silent) -> tuple[Ran, str]:
        self.asked.append(f"push {reference}")
        return Ran(0, ()), DIGEST

    def load(self, reference: Reference, tell: Tell = silent) -> Ran:
        self.asked.append(f"load {reference}")
        return Ran(0, ())

    def save(self, reference: Reference, output: Path, tell: Tell = silent) -> Ran:
        self.asked.append(f"save {reference}")
        output.write_text("half" if self.ends_saving else "whole")
        return self.ends_saving or Ran(0, ())


class Held:
    """What a registry holds: tag to content."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tags: dict[str, str] = {}
        monkeypatch.setattr(registry, "digest", lambda ref: DIGEST if ref.tag in self.tags else None)
        monkeypatch.setattr(registry, "labels", lambda ref: {"wherry.dev/content": self.tags[ref.tag]})


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    made = Noted()
    monkeypatch.setattr(builders, "choose", lambda name, order: ByDockerfile(made))
    return made


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


@pytest.fixture
def planned(bundle: Path) -> ImagePlan:
    return plan(
        PROJECT, bundles.read_manifest(bundle), wheel=("wherry-0-py3-none-any.whl", b"wheel"), unpack=b"program"
    )


def test_tag_is_made_of_the_content_unless_typed(noted: Noted, held: Held, planned: ImagePlan, bundle: Path) -> None:
    made = build(planned, bundle, "localhost:5000/tiny")
    assert made.reference == f"localhost:5000/tiny:{planned.content_tag}"
    assert made.pinned == f"localhost:5000/tiny@{DIGEST}"
    assert noted.asked == [f"build {made.reference}", f"push {made.reference}"]
    assert build(planned, bundle, "localhost:5000/tiny:typed").reference == "localhost:5000/tiny:typed"


def test_only_the_bundles_own_files_are_sent(noted: Noted, held: Held, planned: ImagePlan, bundle: Path) -> None:
    build(planned, bundle, "tiny", push=False)
    assert noted.laid_out == [
        ".dockerignore",
        "Dockerfile",
        "bundle/baseline.json",
        "bundle/example.json",
        "bundle/golden.json",
        "bundle/manifest.json",
        "bundle/model.npz",
        "requirements.txt",
        "unpack.py",
        "wheels/wherry-0-py3-none-any.whl",
    ]


def test_context_is_readable_whatever_the_umask(planned: ImagePlan, bundle: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        lay_out(planned, bundle, tmp_path)
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    (bundle / "example.json").rename(bundle / "aside.json")
    try:
        with pytest.raises(FileMissing, match=r"example\.json"):
            lay_out(planned, bundle, tmp_path)
    finally:
        (bundle / "aside.json").rename(bundle / "example.json")


def test_a_full_disk_is_said(planned: ImagePlan, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(dockerfiles.shutil, "copyfile", full)
    with pytest.raises(DiskFull) as caught:
        lay_out(planned, bundle, tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_what_the_registry_holds_is_not_built_again(noted: Noted, held: Held, planned: ImagePlan, bundle: Path) -> None:
    held.tags[planned.content_tag] = planned.content_tag
    told: list[Event] = []
    made = build(planned, bundle, "localhost:5000/tiny", tell=told.append)
    assert (made.builder, made.digest, noted.asked) == ("", DIGEST, [])
    assert any(isinstance(event, Note) and "nothing to build" in event.text for event in told)
    assert build(planned, bundle, "localhost:5000/tiny", force=True).builder == "noted"


def test_a_typed_tag_is_never_moved_silently(noted: Noted, held: Held, planned: ImagePlan, bundle: Path) -> None:
    held.tags["1"] = "something-else"
    with pytest.raises(ImageTaken) as caught:
        build(planned, bundle, "localhost:5000/tiny:1")
    assert "--force" in caught.value.hint
    assert noted.asked == []
    assert build(planned, bundle, "localhost:5000/tiny:1", force=True).pushed


def test_a_local_build_asks_no_registry(
    noted: Noted, planned: ImagePlan, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "digest", lambda reference: pytest.fail("asked"))
    made = build(planned, bundle, "tiny:1", push=False, load=Engine("docker"))
    assert (made.digest, made.pinned, made.pushed) == (ID, "tiny:1", False)
    assert noted.asked == ["build tiny:1", "load tiny:1"]


def test_platform_is_passed_on_only_when_it_is_another(
    noted: Noted, held: Held, planned: ImagePlan, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "native_platform", lambda: "linux/amd64")
    build(planned, bundle, "tiny:1", push=False, platform="linux/amd64")
    build(planned, bundle, "tiny:1", push=False, platform="linux/arm64")
    assert noted.asked == ["build tiny:1", "build tiny:1 linux/arm64"]


def test_no_builder_names_all_and_why(
    planned: ImagePlan, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    order = Order(planned, bundle, Reference.parse("tiny:1"), "linux/amd64", push=False)
    with pytest.raises(NoBuilder) as caught:
        choose("auto", order)
    assert list(caught.value.reasons) == ["direct", "docker", "buildah"]
    assert "--output FILE" in caught.value.reasons["direct"]
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon at tcp://x'; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    with pytest.raises(NoBuilder, match="docker: Cannot connect"):
        choose("docker", order)
    (tmp_path / "buildah").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "buildah").chmod(0o755)
    assert choose("buildah", order).name == "buildah"


def test_first_builder_is_wherry_itself_where_the_base_can_be_had(
    planned: ImagePlan, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "buildah").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "buildah").chmod(0o755)
    order = Order(planned, bundle, Reference.parse("tiny:1"), "linux/amd64")
    monkeypatch.setattr(bases, "fetch", lambda reference, platform: None)
    assert choose("auto", order).name == "direct"

    def silent_registry(reference: Reference, platform: str) -> None:
        raise RegistryFailed("far.example", "Connection refused")

    monkeypatch.setattr(bases, "fetch", silent_registry)
    assert choose("auto", order).name == "buildah"
    with pytest.raises(RegistryFailed, match=r"far\.example cannot be used: Connection refused"):
        choose("direct", order)


def test_a_file_is_written_whole_or_not_at_all(noted: Noted, planned: ImagePlan, bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "tiny.tar"
    build(planned, bundle, "tiny:1", push=False, output=output)
    assert (noted.asked, output.read_text()) == (["build tiny:1", "save tiny:1"], "whole")
    output.unlink()
    noted.ends_saving = Ran(1, ("write /x: no space left on device",))
    with pytest.raises(DiskFull):
        build(planned, bundle, "tiny:1", push=False, output=output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("write /x: no space left on device", DiskFull, "no space left"),
        ("manifest for base:1 not found: manifest unknown", BaseMissing, "base:1"),
        ("pull access denied for base, repository does not exist or may require login: denied: x", BaseMissing, "base"),
        ("denied: requested access to the resource is denied", RegistryRefused, "far.example"),
        ("unauthorized: authentication required", RegistryRefused, "far.example"),
        ('Get "http://far.example/v2/": dial tcp: connect: connection refused', RegistryFailed, "far.example"),
        ("ERROR: No matching distribution found for numpy==2", BuildFailed, "locked packages"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", BuildFailed, "locked packages"),
        ("something nobody has seen", BuildFailed, "something nobody has seen"),
    ],
)
def test_a_failed_build_says_why(line: str, error: type[Exception], words: str) -> None:
    made = failed("docker", "base:1", "far.example", Ran(1, ("Step 1/9", line)))
    assert type(made) is error
    assert words in str(made)
    assert made.hint


def test_a_failed_build_is_raised_with_its_last_lines(
    planned: ImagePlan, bundle: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Noted(Ran(7, tuple(f"line {number}" for number in range(40))))
    monkeypatch.setattr(builders, "choose", lambda name, order: ByDockerfile(broken))
    with pytest.raises(BuildFailed) as caught:
        build(planned, bundle, "localhost:5000/tiny")
    assert caught.value.lines[-1] == "line 39"
    assert len(caught.value.lines) == 12
    assert broken.asked == [f"build localhost:5000/tiny:{planned.content_tag}"]


# What follows is real.

REGISTRY = os.environ.get(ENV_TEST_REGISTRY, "")


def trouble(name: str) -> str:
    if not REGISTRY:
        return f"{ENV_TEST_REGISTRY} names no registry"
    return "" if name == "direct" else {"docker": Docker, "buildah": Buildah}[name]().trouble()


@pytest.fixture(scope="module")
def ready(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> ImagePlan:
    """A plan with everything resolved, once for both builders."""
    if not REGISTRY:
        pytest.skip(f"{ENV_TEST_REGISTRY} names no registry")
    return prepare(PROJECT, bundles.read_manifest(bundle), tmp_path_factory.mktemp("locked") / "wherry.lock")


@pytest.fixture(scope="module")
def repository() -> Iterator[str]:
    """A repository of the registry that every builder pushes to under its own name."""
    name = f"{REGISTRY}/wherry-test-{secrets.token_hex(4)}"
    yield name
    for image in run(["docker", "images", "--quiet", name], source="docker", timeout=60).lines:
        run(["docker", "rmi", "--force", image], source="docker", timeout=60)
    if not trouble("buildah"):
        run(["buildah", "rmi", "--force", f"{name}:buildah"], source="buildah", timeout=60)


def docker(*arguments: str) -> str:
    ran = run(["docker", *arguments], source="docker", timeout=60)
    assert ran.status == 0, ran.text
    return ran.text


@pytest.fixture
def container(repository: str) -> Iterator[str]:
    name = repository.rpartition("/")[2]
    yield name
    run(["docker", "rm", "--force", name], source="docker", timeout=60)


@pytest.fixture(scope="module")
def images(ready: ImagePlan, bundle: Path, repository: str) -> Callable[[str], Built]:
    """The image of the bundle by a builder, built once."""

    @cache
    def built(name: str) -> Built:
        if trouble(name):
            pytest.skip(trouble(name))
        return build(ready, bundle, f"{repository}:{name}", builder=name)

    return built


BUILDERS = ("direct", "docker", "buildah")


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("name", BUILDERS)
def test_an_image_is_built_pushed_and_answers(
    name: str, images: Callable[[str], Built], ready: ImagePlan, bundle: Path, container: str
) -> None:
    """By each builder; then with a read-only root and a user that no image knows."""
    if trouble("docker"):
        pytest.skip(trouble("docker"))
    made = images(name)
    assert made.builder == name
    assert registry.digest(Reference.parse(made.reference)) == made.digest
    assert registry.labels(Reference.parse(made.reference))["wherry.dev/content"] == ready.content_tag
    assert build(ready, bundle, made.reference).builder == ""

    docker("run", "--detach", "--name", container, "--read-only", "--user", "54321:54321", "--cap-drop", "ALL",
           "--tmpfs", "/tmp:size=64m", "--publish", "127.0.0.1::8080", made.pinned)  # fmt: skip
    port = docker("port", container, "8080").rpartition(":")[2]
    assert ask(f"http://127.0.0.1:{port}/readyz", container)[0] == 200
    body = json.dumps({"a": 2.0, "b": 1.0}).encode()
    # The shape that [reply] declares has come through the Dockerfile's quoting unharmed.
    assert ask(f"http://127.0.0.1:{port}/predict", container, body) == (200, {"it's": 1, "back\\slash": "$5 #x"})
    inside = docker("exec", container, "sh", "-c", "find /opt/wherry -name '*.pyc' | head -1; id -u")
    assert inside.splitlines()[0].endswith(".pyc")
    assert inside.splitlines()[1] == "54321"
    assert docker("exec", container, "sh", "-c", "grep -c :54321: /etc/passwd || true") == "0"
    logs = subprocess.run(["docker", "logs", container], capture_output=True, text=True)
    assert "golden rows answered" in logs.stderr + logs.stdout
    docker("stop", "--time", "30", container)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("name", BUILDERS[1:])
def test_every_builder_makes_the_same_files(name: str, images: Callable[[str], Built], repository: str) -> None:
    """Path, type, mode, owner, target and content; and what the image says of how it runs."""
    if trouble("docker"):
        pytest.skip(trouble("docker"))
    images("direct"), images(name)
    path = repository.partition("/")[2]
    one, other = (image_files.file_system(REGISTRY, path, tag) for tag in ("direct", name))
    assert sorted(one) == sorted(other)
    assert len([file for file in one if file.startswith("opt/wherry/wherry/")]) > 50
    differing = [file for file in one if one[file] != other[file]]
    # The compiler of another patch release may lay the same source out otherwise: its output is not ours to equal.
    python = docker("run", "--rm", "--entrypoint", "python3", images("direct").pinned, "--version").split()[1]
    if python != platform.python_version():
        differing = [file for file in differing if not file.endswith(".pyc") or one[file].head != other[file].head]
    assert differing == []
    mine, theirs = (image_files.config(REGISTRY, path, tag)["config"] for tag in ("direct", name))
    assert {"io.buildah.version": "", **mine["Labels"]} == {**theirs["Labels"], "io.buildah.version": ""}
    for fact in ("Cmd", "Entrypoint", "Env", "ExposedPorts", "OnBuild", "StopSignal", "User", "Volumes", "WorkingDir"):
        assert (mine.get(fact) or None) == (theirs.get(fact) or None), fact


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("name", BUILDERS)
def test_our_layers_hold_nothing_that_an_attacker_would_want(
    name: str, images: Callable[[str], Built], ready: ImagePlan, repository: str
) -> None:
    """Setuid files, shells, pip, compilers, what anybody may write to, caches: none; and the user is not root."""
    images(name)
    path = repository.partition("/")[2]
    base = bases.fetch(Reference.parse(ready.base), pins.native_platform())
    every = image_files.layers_of(REGISTRY, path, name)
    below, ours = every[: len(base.layers)], every[len(base.layers) :]
    assert {why for layer in below for why in unwanted(layer).values()} >= {"setuid", "shell", "pip"}  # it sees them
    assert [unwanted(layer) for layer in ours] == [{}] * len(ours)
    assert sum(map(len, ours)) > 500
    user = image_files.config(REGISTRY, path, name)["config"]["User"]
    assert [int(part) > 0 for part in user.split(":")] == [True, True]


SHELLS = ("sh", "bash", "dash", "busybox", "zsh")
COMPILERS = ("as", "cc", "g++", "gcc", "ld", "make")
PIP = ("pip", "pip3")
CACHES = ("root/.cache", "var/cache/apt/archives/", "var/lib/apt/lists/", "build/", "tmp/")


def unwanted(layer: tuple[tuple[str, Any], ...]) -> dict[str, str]:
    """The paths of a layer that should not be in ours, and why."""
    found = {}
    for path, lies in layer:
        folder, _, file = path.rpartition("/")
        if lies.kind in (b"0", b"\0") and lies.mode & 0o6000:
            found[path] = "setuid"
        elif lies.kind != b"2" and lies.mode & 0o002 and not lies.mode & 0o1000:
            found[path] = "writable by anybody"
        elif folder.endswith("bin") and file in SHELLS:
            found[path] = "shell"
        elif folder.endswith("bin") and file in COMPILERS:
            found[path] = "compiler"
        elif "pip" in path.split("/") or file in PIP:
            found[path] = "pip"
        elif path.startswith(CACHES):
            found[path] = "cache"
    return found


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("name", BUILDERS)
def test_containerd_runs_it_as_a_strict_cluster_would(
    name: str, images: Callable[[str], Built], kube: Any, namespace: str
) -> None:
    """A read-only root, 64 MB of /tmp, a user that no image knows, nothing allowed: ready, right, and it logs."""
    answers(kube, namespace, images(name).pinned, pull="IfNotPresent")


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("name", ["direct", "buildah"])
def test_an_image_loaded_into_containerd_needs_no_registry(
    name: str,
    ready: ImagePlan,
    bundle: Path,
    kube: Any,
    cluster: Any,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under a name that no registry has."""
    socket = cluster.kubeconfig.parent / "run" / "containerd.sock"
    if trouble(name):
        pytest.skip(trouble(name))
    if not (socket.exists() and present("ctr")):
        pytest.skip("needs ctr and the cluster's containerd")
    monkeypatch.setenv("CONTAINERD_ADDRESS", str(socket))
    reference = f"wherry-test-{secrets.token_hex(4)}:1"
    # Another image than the one that the kubelet pulled before: of that it takes no other name without asking.
    config = msgspec.structs.replace(ready.config, labels={**ready.config.labels, "wherry.test": reference})
    fresh = msgspec.structs.replace(ready, config=config)
    try:
        assert not build(fresh, bundle, reference, builder=name, push=False, load=Engine("containerd")).pushed
        answers(kube, namespace, reference, pull="Never")
    finally:
        run(["ctr", "--namespace", "k8s.io", "images", "rm", f"docker.io/library/{reference}"], source="ctr")
        if name == "buildah":
            run(["buildah", "rmi", "--force", f"docker.io/library/{reference}"], source="buildah")


def answers(kube: Any, namespace: str, image: str, *, pull: str) -> None:
    """Run the image as a pod under the strictest rules and ask it what the bundle says it answers."""
    name = f"image-{secrets.token_hex(3)}"
    container = {
        "name": "service",
        "image": image,
        "imagePullPolicy": pull,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1_000_680_000 + secrets.randbelow(10_000),  # as OpenShift gives them
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    }
    volumes = [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}]
    spec = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    kube.call("POST", pods, {"metadata": {"name": name}, "spec": {**spec, "automountServiceAccountToken": False}})
    until = time.monotonic() + 90
    while True:
        status = kube.get(f"{pods}/{name}")["status"]
        if any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ())):
            break
        if time.monotonic() > until:
            pytest.fail(f"{image} is not ready: {status}")
        time.sleep(0.2)
    for row, right in ((2.0, 1.0), 1), ((1.0, 2.0), 0):
        told = kube.call("POST", f"{pods}/{name}:8080/proxy/predict", dict(zip("ab", row, strict=True)))
        assert told == {"it's": right, "back\\slash": "$5 #x"}
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=kube.tls))
    with opener.open(f"{kube.server}{pods}/{name}/log", timeout=10) as reply:
        assert "golden rows answered" in reply.read().decode()


def ask(url: str, container: str, body: bytes | None = None) -> tuple[int, Any]:
    """The status and the JSON of a reply, waiting up to 30 s for the service to stand."""
    until = time.monotonic() + 30
    while True:
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"} if body else {})
            with urllib.request.urlopen(request, timeout=5) as reply:
                return reply.status, json.loads(reply.read())
        except OSError:
            if time.monotonic() > until:
                pytest.fail(subprocess.run(["docker", "logs", container], capture_output=True, text=True).stderr)
            time.sleep(0.1)


@pytest.mark.cluster
@pytest.mark.parametrize("name", BUILDERS)
def test_a_base_that_is_not_there_is_said_by_its_name(
    name: str, ready: ImagePlan, bundle: Path, repository: str
) -> None:
    if trouble(name):
        pytest.skip(trouble(name))
    absent = f"{REGISTRY}/wherry-test-no-such-base@{DIGEST}"
    broken = msgspec.structs.replace(ready, base=absent, dockerfile=ready.dockerfile.replace(ready.base, absent))
    with pytest.raises(BaseMissing, match="no-such-base"):
        build(broken, bundle, f"{repository}:1", builder=name)


@pytest.mark.cluster
@pytest.mark.parametrize("name", BUILDERS)
def test_a_push_to_nowhere_names_the_registry(name: str, ready: ImagePlan, bundle: Path) -> None:
    if trouble(name):
        pytest.skip(trouble(name))
    with pytest.raises(RegistryFailed, match=r"127\.0\.0\.1:9"):
        build(ready, bundle, "127.0.0.1:9/tiny", builder=name)
