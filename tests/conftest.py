"""What tests share: bundles packed once, services in processes of their own, the cluster that tests may use.

A test that lacks what it needs skips with its reason, and fails for the same reason where WHERRY_TEST_NO_SKIP is set:
there everything is installed, so a skip would hide a mistake.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import runpy
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
NO_SKIP = os.environ.get("WHERRY_TEST_NO_SKIP") == "1"
PATIENCE = 30.0  # seconds for a service to be ready, or to end


def pytest_configure() -> None:
    """Ctrl-C as a terminal has it: a shell starts background jobs deaf to it, and every child would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What passed only when it ran again, as .ci/run has it, is a finding all the same: how it failed is shown."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"failed, and ran again: {report.nodeid}")
        terminalreporter.line(str(report.longrepr))


# --- skips --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    return unskipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    return unskipped(report)


def unskipped(report: Any) -> Any:
    """The report; a skip is a failure where nothing may be skipped."""
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr}"
    return report


# --- processes ----------------------------------------------------------------------------------------------------


def plain_environ(**extra: str) -> dict[str, str]:
    """This process's environment without settings of wherry's own, so that a test means the same everywhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WHERRY_") and k not in ("PORT", "DATABASE_URL")}
    return kept | extra


@pytest.fixture(scope="session")
def forking() -> Iterator[Any]:
    """What starts Python programs without importing the libraries anew for each."""
    process = runpy.run_path(str(Path(__file__).with_name("forking.py")))["Forking"]()
    yield process
    process.end()


@pytest.fixture
def wherry(tmp_path: Path, forking: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command line in an empty folder (or `cwd`): wherry("pack", "model.joblib", ...).

    An environment that Python itself reads, as PYTHONHASHSEED, has an interpreter of its own begin.
    """

    def run(*args: str | Path, cwd: Path = tmp_path, timeout: float = 120, stdin: str = "", **environ: str) -> Any:
        return forking.run("wherry", [*map(str, args)], cwd, plain_environ(**environ), stdin, timeout)

    return run


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Loopback ports that nobody listens on: free_ports(2). Another process may still take one before you do."""

    def pick(count: int) -> list[int]:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        return ports

    return pick


@dataclasses.dataclass
class Answer:
    """One HTTP reply, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclasses.dataclass
class Running:
    """A service in a process of its own."""

    url: str
    admin_url: str
    process: Any  # forking.Forked, or subprocess.Popen
    log: Path

    def ask(
        self, path: str, body: Any = None, *, headers: dict[str, str] | None = None, method: str | None = None
    ) -> Answer:
        """GET `path`, or POST `body` (bytes as they stand, anything else as JSON)."""
        return ask(f"{self.url}{path}", body, headers=headers, method=method)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it, wait for its end, give the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the service did not end within {PATIENCE:.0f} s; it said:\n{self.log.read_text()}")


def ask(url: str, body: Any = None, *, headers: dict[str, str] | None = None, method: str | None = None) -> Answer:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = ({"Content-Type": "application/json"} if data is not None else {}) | (headers or {})
    request = urllib.request.Request(url, data, sent, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as reply:
            return Answer(reply.status, dict(reply.headers), reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


@pytest.fixture
def service(tmp_path: Path, free_ports: Callable[[int], list[int]], forking: Any) -> Iterator[Callable[..., Running]]:
    """Start `wherry serve BUNDLE` and wait until it is ready; the drain is short unless the test says otherwise.

    fresh: it loads its libraries itself, as where the test looks at which.
    """
    started: list[Running] = []

    def start(bundle: Path, *args: str, cwd: Path | None = None, fresh: bool = False, **environ: str) -> Running:
        port, admin = free_ports(2)
        folder = cwd or tmp_path
        log = folder / f"serve-{port}.log"
        ports = ["--port", str(port), "--admin-port", str(admin)]
        variables = plain_environ(**{"WHERRY_SERVE_DRAIN_SECONDS": "0.1", **environ})
        with log.open("wb") as sink, Path(os.devnull).open("rb") as nothing:
            words = ["serve", str(bundle), *ports, *args]
            process = forking.start("wherry", words, folder, variables, (nothing, sink, sink), fresh=fresh)
        running = Running(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}", process, log)
        started.append(running)
        wait_ready(running)
        return running

    yield start
    for running in started:
        running.stop()


def wait_ready(running: Running) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            pytest.fail(f"the service ended with {running.process.returncode}; it said:\n{running.log.read_text()}")
        try:
            if running.ask("/readyz").status == 200:
                return
        except OSError:
            time.sleep(0.02)  # nobody listens yet
    pytest.fail(f"the service was not ready within {PATIENCE:.0f} s; it said:\n{running.log.read_text()}")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests of a module."""
    pytest.importorskip("selenium", reason="selenium is not installed: pip install 'wherry[dev]'")
    pages = SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / "server" / "page_parts.py")))
    if not pages.CHROMIUM.exists() or not pages.DRIVER.exists():
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    with pages.browser(tmp_path_factory.mktemp("browser") / "profile") as made:
        yield made


# --- bundles ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def breast_cancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder after train.py: model/model_binary.dat.gz, train.csv, wherry.toml. Copy it to change it."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    folder = tmp_path_factory.mktemp("breast-cancer")
    source = ROOT / "examples" / "breast-cancer"
    # its replies; where it listens and how it is deployed is each test's own
    (folder / "wherry.toml").write_text((source / "wherry.toml").read_text().partition("[serve]")[0])
    before = Path.cwd()
    os.chdir(folder)
    try:
        runpy.run_path(str(source / "train.py"))
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="session")
def breast_cancer_bundle(breast_cancer: Path) -> Path:
    """The example packed: classes 0 and 1, six number columns. Read it, never write it."""
    from wherry.model.pack import pack_file

    pack_file(
        breast_cancer / "model" / "model_binary.dat.gz",
        data=breast_cancer / "train.csv",
        target="diagnosis",
        to=breast_cancer / "bundle",
        name="breast-cancer",
        version="1",
        trust=True,
        allow_pickle=False,
        float_columns=(),
    )
    return breast_cancer / "bundle"


@pytest.fixture(scope="session")
def linear_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of three classes over four number columns that folds to linear arrays."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import wherry

    X, y = load_iris(return_X_y=True, as_frame=True)
    folder = tmp_path_factory.mktemp("linear") / "bundle"
    wherry.pack(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X, y, to=folder, name="iris")
    return folder


@pytest.fixture(scope="session")
def onnx_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small forest over four number columns, stored as ONNX."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    import wherry

    X, y = load_iris(return_X_y=True, as_frame=True)
    folder = tmp_path_factory.mktemp("onnx") / "bundle"
    forest = RandomForestClassifier(n_estimators=10, random_state=0).fit(X, y)
    wherry.pack(forest, X, y, to=folder, name="iris-forest")
    return folder


@pytest.fixture(scope="session")
def pictures() -> Any:
    """The module picture_parts: a tiny graph, and pictures."""
    pytest.importorskip("PIL", reason="needs Pillow")
    pytest.importorskip("onnx", reason="needs onnx")
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("picture_parts.py"))))


@pytest.fixture(scope="session")
def picture_bundle(pictures: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says whether a picture is red, green or blue."""
    from wherry.contract.pictures import PictureModel
    from wherry.model.pack.pictures import pack_graph

    graph = pictures.written(tmp_path_factory.mktemp("pictures") / "model")
    folder = graph.parent.parent / "bundle"
    pack_graph(graph, PictureModel(labels=str(graph.with_name("labels.txt"))), to=folder, name="colours")
    return folder


# --- the cluster --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class TestCluster:
    """The cluster that tests may use, never a user's own."""

    __test__ = False  # no test class, whatever its name
    kubeconfig: Path
    registry: str

    @property
    def environ(self) -> dict[str, str]:
        """What a child process needs to reach it."""
        return {"KUBECONFIG": str(self.kubeconfig)}


@pytest.fixture(scope="session")
def cluster() -> TestCluster:
    kubeconfig = os.environ.get("WHERRY_TEST_KUBECONFIG", "")
    if not kubeconfig:
        pytest.skip("needs a cluster: WHERRY_TEST_KUBECONFIG names none")
    if not Path(kubeconfig).is_file():
        pytest.fail(f"WHERRY_TEST_KUBECONFIG is {kubeconfig}, which is no file")
    return TestCluster(Path(kubeconfig), os.environ.get("WHERRY_TEST_REGISTRY", ""))


@pytest.fixture
def registry(cluster: TestCluster) -> str:
    """HOST:PORT of the registry that the cluster pulls from."""
    if not cluster.registry:
        pytest.skip("needs a registry: WHERRY_TEST_REGISTRY names none")
    return cluster.registry


class Kube:
    """The Kubernetes API by plain HTTP, independent of wherry.deploy: what a test believes when the two disagree."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server = server["server"]
        self.tls = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        pair = folder / "client.pem"
        pair.write_bytes(b"\n".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
        pair.chmod(0o600)
        self.tls.load_cert_chain(pair)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The reply's JSON; AssertionError with the API server's words when it refuses."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.server}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.tls)]
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=30) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def items(self, path: str) -> list[Any]:
        return list(self.get(path)["items"])


@pytest.fixture(scope="session")
def kube(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    return Kube(cluster.kubeconfig, tmp_path_factory.mktemp("kube"))


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of the test's own, with the strictest Pod Security, gone afterwards with all that is in it."""
    name = f"wherry-test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    yield name
    kube.call("DELETE", f"/api/v1/namespaces/{name}", {"gracePeriodSeconds": 0})
