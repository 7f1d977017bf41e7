"""Images as they are built without a daemon, in a real registry and a real Docker: figures, lean libraries, files.

Needs a registry (WHERRY_TEST_REGISTRY), the package index, and for some tests Docker; skips without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import socket
import socketserver
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from wherry.contract import settings
from wherry.contract.names import ENV_TEST_REGISTRY
from wherry.deploy import builders, caches, direct, pins, unpack, wheels
from wherry.deploy.builders import build, prepare
from wherry.deploy.docker import Docker
from wherry.deploy.engines import Engine
from wherry.deploy.order import Order
from wherry.deploy.programs import present, run
from wherry.model import bundle as bundles
from wherry.release.image import REQUIREMENTS_FILE, ImagePlan
from wherry.release.reference import Reference

REGISTRY = os.environ.get(ENV_TEST_REGISTRY, "")
PROJECT = settings.resolve({}, {}, {}).project
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(not REGISTRY, reason=f"{ENV_TEST_REGISTRY} names no registry")]
MB = 1_000_000
AARCH64 = 0xB7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def repository() -> Iterator[str]:
    name = f"{REGISTRY}/wherry-test-{secrets.token_hex(4)}"
    yield name
    if not Docker().trouble():
        for image in run(["docker", "images", "--quiet", name], source="docker", timeout=60).lines:
            run(["docker", "rmi", "--force", image], source="docker", timeout=60)


def planned(bundle: Path, folder: Path) -> ImagePlan:
    manifest = bundles.read_manifest(bundle)
    return prepare(PROJECT, manifest, folder / f"{manifest.flavor}.lock")


def another(bundle: Path, folder: Path) -> Path:
    """The same bundle, packed as another version."""
    made = folder / f"bundle-{secrets.token_hex(4)}"
    made.mkdir()
    manifest = msgspec.structs.replace(bundles.read_manifest(bundle), version=made.name).sealed()
    for path in manifest.files:
        (made / path).write_bytes((bundle / path).read_bytes())
    (made / "manifest.json").write_bytes(manifest.pretty())
    return made


def packed(folder: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> Path:
    """Model M1 kept in this form: scaling and logistic regression over the 30 columns of the breast-cancer data."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import wherry
    from wherry.model.proving import convert

    monkeypatch.setattr(convert, "FORMS", {form: convert.FORMS[form]})
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(X, y)
    wherry.pack(model, X, y, to=folder / form, name=f"m1-{form}")
    return folder / form


class Counted(NamedTuple):
    """A way to the registry that counts what is sent to it: every byte, headers too."""

    address: str
    sent: list[int]


@pytest.fixture
def counted() -> Iterator[Counted]:
    host, _, port = REGISTRY.partition(":")
    sent: list[int] = []

    def carry(source: socket.socket, target: socket.socket, *, count: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if count:
                    sent.append(len(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    class Way(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port))) as there:
                back = threading.Thread(target=carry, args=(there, self.request), kwargs={"count": False})
                back.start()
                carry(self.request, there, count=True)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Way) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Counted(f"127.0.0.1:{server.server_address[1]}", sent)
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(("form", "unpacked", "compressed"), [("linear", 80, 24), ("onnx", 140, 47)])
def test_m1_is_lean_and_a_new_model_is_all_that_is_sent(
    form: str, unpacked: int, compressed: int, folder: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the base, byte code included. Times are printed, not judged: this machine may be busy."""
    bundle = packed(folder, monkeypatch, form)
    repository = f"{counted.address}/wherry-test-{secrets.token_hex(4)}"
    order = Order(planned(bundle, folder), bundle, Reference.parse(repository), pins.native_platform())
    image = direct.compute(order)
    plain, tight = (sum(getattr(layer, name) for layer in image.layers) / MB for name in ("unpacked", "size"))
    assert order.plan.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    with direct.layers.tarfile.open(image.layers[0].path) as archive:
        assert any(name.endswith(".pyc") for name in archive.getnames())
    took: dict[str, list[float]] = {"warm": [], "new model": []}
    most = 0
    for number in range(3):
        started = time.perf_counter()
        build(planned(bundle, folder), bundle, f"{repository}-{number}", builder="direct")
        took["warm"].append(time.perf_counter() - started)
        changed = another(bundle, folder)
        counted.sent.clear()
        started = time.perf_counter()
        build(planned(changed, folder), changed, f"{repository}-{number}", builder="direct")
        took["new model"].append(time.perf_counter() - started)
        size = sum(path.stat().st_size for path in changed.iterdir())
        assert 0 < sum(counted.sent) <= size + 64 * 1024
        most = max(most, sum(counted.sent))
    print(
        f"\nM1 as {form}: {plain:.1f} MB above its base, {tight:.1f} MB compressed; best of 3: "
        f"warm {min(took['warm']):.2f} s, new model {min(took['new model']):.2f} s; "
        f"{most:,} bytes sent for a bundle of {size:,}"
    )
    assert plain <= unpacked
    assert tight <= compressed


STORING = """
import sys, sqlalchemy
from sqlalchemy.dialects import mysql, postgresql
print(sqlalchemy.__file__)
import wherry.server.sinks, wherry.server.sinks.mysql, wherry.server.sinks.postgresql, wherry.server.sinks.sqlite
from wherry.server.sinks.tables import predictions
driver = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg"}[sys.argv[1]]
engine = sqlalchemy.create_engine(driver + "://writer@127.0.0.1:9/x")  # loads the driver, asks nobody
str(sqlalchemy.select(predictions).compile(engine))
with sqlalchemy.create_engine("sqlite://").begin() as one:
    table = sqlalchemy.Table("t", sqlalchemy.MetaData(), sqlalchemy.Column("a", sqlalchemy.Integer))
    table.create(one)
    one.execute(table.insert(), [{"a": 1}])
    print(len(one.execute(sqlalchemy.select(table)).all()), "row")
"""


@pytest.mark.slow
@pytest.mark.parametrize("url", ["postgresql://writer@db:5432/x", "mysql://writer@db:3306/x"])
def test_the_store_is_a_layer_of_its_own_and_lean(url: str, linear_bundle: Path, folder: Path, tmp_path: Path) -> None:
    """What was left out of its libraries is not missed; the layer of the others is the same as without it."""
    manifest = bundles.read_manifest(linear_bundle)
    storing = settings.resolve({"store": {"url": url}}, {}, {}).project
    plan = prepare(storing, manifest, folder / f"{url.partition(':')[0]}.lock")
    order = Order(plan, linear_bundle, Reference.parse("x:1"), pins.native_platform())
    held = {layer.name: layer for layer in direct.compute(order).layers}
    assert list(held) == ["libraries", "store", "wherry", "model"]
    print(f"\n{url}: {held['store'].unpacked / MB:.1f} MB, {held['store'].size / MB:.1f} MB compressed")
    assert held["store"].unpacked <= 30 * MB
    assert held["store"].size <= 8 * MB
    with tarfile.open(held["store"].path) as archive:
        safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # since Python 3.11.4
        archive.extractall(tmp_path, **safely)
    ran = subprocess.run(
        [sys.executable, "-c", STORING, url.partition(":")[0]],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "opt" / "store")},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.splitlines() == [str(tmp_path / "opt/store/sqlalchemy/__init__.py"), "1 row"], ran.stderr
    without = direct.compute(msgspec.structs.replace(order, plan=planned(linear_bundle, folder)))
    assert without.layers[0].digest == held["libraries"].digest


@pytest.mark.slow
def test_two_builds_an_hour_apart_are_one_image(
    linear_bundle: Path, folder: Path, repository: str, tmp_path: Path
) -> None:
    """Another folder, another umask, an empty cache, an hour later; only the wheels are kept, not to ask twice."""
    if not present("faketime"):
        pytest.skip("needs faketime")
    planned(linear_bundle, folder)
    lock = (folder / f"{bundles.read_manifest(linear_bundle).flavor}.lock").read_bytes()
    found = []
    for name, clock, umask, epoch in (
        ("one", "+0h", 0o022, ""),
        ("two", "+1h", 0o077, ""),
        ("three", "+1h", 0o022, "7"),
    ):
        here = tmp_path / name / "somewhere"
        here.mkdir(parents=True)
        (here / "wherry.lock").write_bytes(lock)
        (here / "bundle").mkdir()
        for path in sorted(linear_bundle.iterdir(), reverse=name == "two"):
            (here / "bundle" / path.name).write_bytes(path.read_bytes())
        cache = tmp_path / ("cache-two" if name == "two" else "cache") / "wherry"
        if not cache.exists():
            cache.mkdir(parents=True)
            (cache / "wheels").symlink_to(caches.root() / "wheels")
        program = [
            sys.executable,
            "-m",
            "wherry",
            "build",
            "-q",
            "-t",
            f"{repository}-{name}:1",
            "--push",
            "--no-attest",
        ]
        environ = {**os.environ, "XDG_CACHE_HOME": str(cache.parent), "SOURCE_DATE_EPOCH": epoch}
        ran = subprocess.run(
            ["faketime", "-f", clock, *program, "--builder", "direct"],
            cwd=here,
            env=environ,
            umask=umask,
            capture_output=True,
            text=True,
            check=True,
        )
        told = subprocess.run(["faketime", "-f", clock, "date", "+%s"], capture_output=True, text=True, check=True)
        found.append((ran.stdout.strip().partition("@")[2], int(told.stdout)))
    (one, first), (two, second), (three, _) = found
    assert one == two
    assert one.startswith("sha256:")
    assert second - first > 3000
    assert three != one  # what decides, decides


EVERY = """
import importlib
for name in '''flatbuffers google.protobuf httptools msgspec numpy numpy.fft numpy.lib numpy.linalg numpy.ma
               numpy.polynomial numpy.random numpy.testing numpy.typing onnxruntime packaging uvloop'''.split():
    importlib.import_module(name)
exec('from numpy import *')  # as scipy does
import onnxruntime, json
onnxruntime.InferenceSession('/srv/bundle/model.onnx', providers=['CPUExecutionProvider'])
print('all there')
"""


@pytest.mark.slow
def test_trimmed_libraries_import_and_answer(onnx_bundle: Path, folder: Path, repository: str) -> None:
    """In a container with a read-only root, straight from the local Docker: what was left out is not missed."""
    if Docker().trouble():
        pytest.skip(Docker().trouble())
    plan, local = planned(onnx_bundle, folder), Engine("docker")
    made = build(plan, onnx_bundle, f"{repository}:1", builder="direct", push=False, load=local)
    asked = run(["docker", "image", "inspect", "--format", "{{.Id}}", made.reference], source="docker", timeout=60)
    assert asked.lines == (made.digest,)
    name = repository.rpartition("/")[2]
    ran = run(
        [*("docker", "run", "--rm", "--read-only", "--entrypoint", "python3", made.reference), "-c", EVERY],
        source="docker",
        timeout=60,
    )
    assert ran.lines[-1] == "all there", ran.text
    started = run(
        [
            *("docker", "run", "--detach", "--rm", "--name", name, "--read-only", "--user", "54321", "--tmpfs", "/tmp"),
            *("--publish", "127.0.0.1::8080", made.reference),
        ],
        source="docker",
        timeout=60,
    )
    try:
        assert started.status == 0, started.text
        port = run(["docker", "port", name, "8080"], source="docker", timeout=60).lines[0].rpartition(":")[2]
        golden = bundles.golden(onnx_bundle, bundles.read_manifest(onnx_bundle))
        row = dict(zip(golden.columns, golden.rows[0], strict=True))
        assert answer(f"http://127.0.0.1:{port}/predict", row) == {"prediction": golden.predictions[0]}
    finally:
        run(["docker", "rm", "--force", name], source="docker", timeout=60)


def answer(url: str, row: dict[str, Any]) -> Any:
    """The reply to one record, waiting up to 30 s for the service to stand."""
    until = time.monotonic() + 30
    while True:
        try:
            asked = urllib.request.Request(url, json.dumps(row).encode(), {"Content-Type": "application/json"})
            with urllib.request.urlopen(asked, timeout=5) as reply:
                return json.loads(reply.read())
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def test_a_written_file_is_read_by_other_programs(
    linear_bundle: Path, folder: Path, repository: str, tmp_path: Path
) -> None:
    output = tmp_path / "image.tar"
    made = build(
        planned(linear_bundle, folder), linear_bundle, f"{repository}:1", builder="direct", push=False, output=output
    )
    read = 0
    for form in ("oci-archive", "docker-archive"):
        if present("skopeo"):
            ran = run(["skopeo", "inspect", "--raw", "--config", f"{form}:{output}"], source="skopeo", timeout=60)
            assert ran.status == 0, ran.text
            assert f"sha256:{hashlib.sha256(ran.text.encode()).hexdigest()}" == made.digest
            read += 1
    if not Docker().trouble():
        loaded = run(["docker", "load", "--quiet", "--input", str(output)], source="docker", timeout=60)
        assert loaded.lines == (f"Loaded image: {repository}:1",)
        read += 1
    if not read:
        pytest.skip("neither skopeo nor Docker is here")


@pytest.mark.slow
def test_wheels_are_chosen_for_the_platform(linear_bundle: Path, folder: Path) -> None:
    """arm64 on another machine: every file of the layer is the wheel's own, and its machine code is for arm64."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    locked = "".join(f"{line}\n" for line in pins.pin_requirements(("httptools", "msgspec"), python, "linux/arm64"))
    plan = planned(linear_bundle, folder)
    plan = msgspec.structs.replace(plan, context={**plan.context, REQUIREMENTS_FILE: locked.encode()})
    base = direct.bases.fetch(Reference.parse(plan.base), "linux/amd64")
    order = Order(plan, linear_bundle, Reference.parse("x:1"), "linux/arm64")
    layer = direct.compute_layers(order, base, print)[0]
    held = {}
    with direct.layers.tarfile.open(layer.path) as archive:
        for info in archive:
            if info.isreg():
                stream = archive.extractfile(info)
                assert stream is not None
                held[info.name.removeprefix("opt/libraries/")] = stream.read()
    machine_code = 0
    for _, file in wheels.fetch(locked, python, "linux/arm64"):
        with zipfile.ZipFile(file) as wheel:
            for name in wheel.namelist():
                if not unpack.left_out(name) and not name.endswith(("/", "RECORD")):
                    assert held[name] == wheel.read(name)
                    if name.endswith(".so"):
                        assert int.from_bytes(held[name][18:20], "little") == AARCH64
                        machine_code += 1
    assert machine_code >= 2


def test_the_rendered_dockerfile_makes_the_same_files(
    linear_bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `render --dockerfile --to` writes is, byte for byte, what the builders are given."""
    from wherry.cli import imaging
    from wherry.deploy.dockerfiles import lay_out

    monkeypatch.chdir(tmp_path)
    manifest = bundles.read_manifest(linear_bundle)
    plan = planned(linear_bundle, folder)
    (tmp_path / "wherry.lock").write_bytes((folder / f"{manifest.flavor}.lock").read_bytes())
    assert imaging.context(PROJECT, manifest) == plan
    lay_out(plan, linear_bundle, tmp_path / "context")
    assert (tmp_path / "context" / "Dockerfile").read_text() == plan.dockerfile
    assert builders.program() == (tmp_path / "context" / "unpack.py").read_bytes()
