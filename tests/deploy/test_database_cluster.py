"""A database beside a service in a real cluster: rows outlive pods and `down`, and what a spool keeps of an outage.

T60: a pod deleted with 10,000 rows that no database has taken.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from database_image import database_image

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
PATIENCE = 240.0
DISTURB = os.environ.get("WHERRY_TEST_DISTURB", "")  # as in disturbances.py
REQUESTS, ROWS = 100, 100  # of T60
LEFT = REQUESTS * ROWS
ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture(scope="module")
def databases(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl on the PATH")
    return database_image(cluster.registry, tmp_path_factory.mktemp("databases"))


class Story:
    """A project in a folder, its namespace, and what is asked of both."""

    def __init__(
        self, folder: Path, namespace: str, kubeconfig: Path, kube: Any, image: str, name: str = "iris"
    ) -> None:
        self.folder, self.namespace, self.kube, self.image, self.name = folder, namespace, kube, image, name
        self.kubeconfig = kubeconfig
        own = {name: value for name, value in os.environ.items() if not name.startswith("WHERRY_")}
        self.environ = {**own, "KUBECONFIG": str(kubeconfig)}

    def wherry(self, *words: str) -> str:
        """What it said, on both streams."""
        reach = () if words[0] == "render" else ("--kubeconfig", str(self.kubeconfig))
        done = subprocess.run(
            [sys.executable, "-m", "wherry", *words, *reach, "-n", self.namespace],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def deploy(self, mode: str) -> str:
        text = (self.folder / "wherry.toml").read_text()
        (self.folder / "wherry.toml").write_text(text.replace('mode = "strict"', f'mode = "{mode}"'))
        said = self.wherry("deploy", "--image", self.image)
        self.until_ready("statefulset/iris-database")
        return said

    def kubectl(self, *words: str) -> str:
        done = subprocess.run(
            ["kubectl", "-n", self.namespace, *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def predict(self, rows: int = 1) -> None:
        body = {"columns": COLUMNS, "rows": [ROW] * rows}
        where = f"/api/v1/namespaces/{self.namespace}/services/{self.name}:http/proxy/predict"
        assert len(self.kube.call("POST", where, body)["predictions"]) == rows

    def stored(self) -> int:
        sql = "SELECT COUNT(*) FROM predictions"
        ask = f'MYSQL_PWD="$(cat /var/run/wherry/database/password)" mariadb -h127.0.0.1 -uwherry -Ne "{sql}" iris'
        try:
            return int(self.kubectl("exec", "iris-database-0", "--", "sh", "-c", ask))
        except AssertionError as error:
            if "doesn't exist" in str(error):
                return 0  # the tables are made by the service, once it reaches the database
            raise

    def until_stored(self, wanted: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while (found := self.stored()) != wanted:
            assert found < wanted, f"{found} rows, of {wanted}"
            assert time.monotonic() < deadline, f"{found} rows of {wanted} within {PATIENCE:.0f} s"
            time.sleep(0.3)

    def pods(self) -> list[str]:
        """The service's own pods."""
        found = self.kubectl("get", "pods", "-l", "app.kubernetes.io/name=iris", "-o", "name")
        return found.split()

    def until_ready(self, *kinds: str) -> None:
        for kind in kinds:
            self.kubectl("rollout", "status", kind, f"--timeout={PATIENCE:.0f}s")

    def outage(self, kind: str) -> str:
        """The database away, 10,000 rows, the pod deleted, both back, one more row; the last that the pod said."""
        self.kubectl("scale", "statefulset/iris-database", "--replicas=0")
        self.kubectl("wait", "--for=delete", "pod/iris-database-0", f"--timeout={PATIENCE:.0f}s")
        for _ in range(REQUESTS):
            self.predict(ROWS)
        (pod,) = self.pods()
        words = ["kubectl", "-n", self.namespace, "logs", "--follow", pod]
        with subprocess.Popen(words, env=self.environ, stdout=subprocess.PIPE, text=True) as log:
            self.kubectl("delete", pod)
            said = log.communicate(timeout=PATIENCE)[0]
        self.until_ready(kind)
        self.kubectl("scale", "statefulset/iris-database", "--replicas=1")
        self.until_ready("statefulset/iris-database")
        self.predict()
        return said

    def predictions_while_the_database_is_evicted(self) -> int:
        """How many, all answered, from before its pod is taken as a drain takes it until the next one is ready."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/iris-database-0"
        pod = {"name": "iris-database-0", "namespace": self.namespace}
        asked, away, before = 0, 0, self.ready_pod("iris-database-0")
        self.kube.call("POST", f"{path}/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": pod})
        deadline = time.monotonic() + PATIENCE
        while (found := self.ready_pod("iris-database-0")) in ("", before):
            assert time.monotonic() < deadline, "the database does not come back"
            self.predict()
            asked, away = asked + 1, away + (not found)
        print(f"\n{asked} predictions, {away} of them while the database was away")
        assert away > 0
        return asked

    def ready_pod(self, name: str) -> str:
        """The uid of a pod that is ready; empty where there is none."""
        for pod in self.kube.items(f"/api/v1/namespaces/{self.namespace}/pods"):
            ready = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}.get("Ready")
            if pod["metadata"]["name"] == name and ready == "True":
                return str(pod["metadata"]["uid"])
        return ""

    def names(self, plural: str) -> list[str]:
        found = self.kube.items(f"/api/v1/namespaces/{self.namespace}/{plural}")
        return [one["metadata"]["name"] for one in found]


COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


@pytest.fixture
def story(
    linear_bundle: Path, tmp_path: Path, cluster: Any, registry: str, namespace: str, kube: Any, databases: str
) -> Iterator[Story]:
    shutil.copytree(linear_bundle, tmp_path / "bundle")
    (tmp_path / "wherry.toml").write_text(
        f"""
[serve]
drain_seconds = 0
[store]
mode = "strict"
[store.database]
kind = "mariadb"
image = "{databases}"
[image]
base = "{registry}/library/python:3.11-slim"
[deploy]
replicas = 1
resources = {{ cpu = "50m" }}
"""
    )
    image = f"{registry}/wherry-test-{uuid.uuid4().hex[:8]}"
    yield Story(tmp_path, namespace, cluster.kubeconfig, kube, image)


def nowhere_shown(story: Story, said: str, secret: dict[str, str]) -> None:
    """T44: no value of the Secret in what wherry and kubectl show; the Secret's own data is the control."""
    image, kinds = ("--image", story.image), "pods,deployments,statefulsets,services,configmaps,events,networkpolicies"
    shown = {
        "deploy": said,
        "describe": story.kubectl("describe", f"{kinds},secrets,serviceaccounts,persistentvolumeclaims"),
        "live": story.kubectl("get", kinds, "-o", "yaml"),
        "render": story.wherry("render", *image),
        "status": story.wherry("status", "--json") + story.wherry("releases", "--json"),
        "logs": story.wherry("logs"),
        "database": story.kubectl("logs", "iris-database-0"),
        "processes": story.kubectl("exec", *story.pods(), "--", "sh", "-c", "cat /proc/*/environ /proc/*/cmdline"),
    }
    control = story.kubectl("get", "secret/iris-database", "-o", "yaml")
    for encoded in secret.values():
        value = base64.b64decode(encoded).decode()
        assert encoded in control
        assert [place for place, text in shown.items() if value in text or encoded in text] == []
    assert "iris-database" in shown["describe"]


def neighbour(story: Story) -> Story:
    """A second service of the namespace, for which that database is one that others run: it is told the Secret."""
    folder = story.folder / "neighbour"
    shutil.copytree(story.folder / "bundle", folder / "bundle")
    text = (story.folder / "wherry.toml").read_text()
    start, end = text.index("[store]"), text.index("[image]")
    store = """
[store]
url = "mysql://wherry@iris-database:3306/iris"
[store.secret]
name = "iris-database"
password = "password"
"""
    (folder / "wherry.toml").write_text(text[:start] + store + text[end:] + 'name = "neighbour"\n')
    image = f"{story.image}-neighbour"
    return Story(folder, story.namespace, story.kubeconfig, story.kube, image, "neighbour")


def test_rows_outlive_pods_and_down_and_go_when_told(story: Story) -> None:
    said = story.deploy("durable")
    assert "made the Secret iris-database with password and root-password" in said
    story.predict()
    story.until_stored(1)
    before = story.kube.get(f"/api/v1/namespaces/{story.namespace}/secrets/iris-database")["data"]
    nowhere_shown(story, said, before)

    story.kubectl("delete", "pod/iris-database-0", *story.pods())
    story.until_ready("statefulset/iris-database", "deployment/iris")
    assert story.stored() == 1, "the row did not outlive its pods"
    rows = 1 + story.predictions_while_the_database_is_evicted()
    story.until_stored(rows)

    other = neighbour(story)
    other.deploy("durable")
    other.predict()
    story.until_stored(rows + 1)
    other.wherry("down", "--yes", "--delete-data")
    assert "iris-database" in story.names("secrets"), "a Secret that is not its own went with a service"

    kept = story.wherry("down", "--yes")
    assert "persistentvolumeclaim/data-iris-database-0" in kept
    assert story.names("persistentvolumeclaims") == ["data-iris-database-0"]
    assert "iris-database" in story.names("secrets")
    assert not story.pods()
    assert "made the Secret" not in story.deploy("durable")
    assert story.stored() == rows + 1, "the rows did not outlive down"

    # T60 without a claim for the spool: what is lost is counted, and said at the end.
    said = story.outage("deployment/iris")
    assert f"{LEFT:,} predictions wait in" in said
    assert "are lost when this pod is gone" in said
    story.until_stored(rows + 2)

    story.wherry("down", "--yes", "--delete-data")
    deadline = time.monotonic() + PATIENCE
    while story.names("persistentvolumeclaims"):
        assert time.monotonic() < deadline, "the claim is still there"
        time.sleep(0.3)
    assert "iris-database" not in story.names("secrets")


def test_strict_store_loses_nothing_of_a_pod_that_is_deleted_while_the_database_is_away(story: Story) -> None:
    """T60 with claims; its control is the durable store in the test above, which loses them all."""
    story.deploy("strict")
    said = story.outage("statefulset/iris")
    assert f"{LEFT:,} predictions wait in" in said
    assert "are lost" not in said
    story.until_stored(LEFT + 1)


if DISTURB:

    def test_without_names_rows_wait_and_callers_notice_nothing(story: Story) -> None:
        """T68: the cluster's DNS away while the database comes up anew, so that its name must be looked up again."""

        def timed() -> list[float]:
            """Seconds of each prediction, for 20 s."""
            took, end = [], time.monotonic() + 20
            while time.monotonic() < end:
                began = time.monotonic()
                story.predict()
                took.append(time.monotonic() - began)
            return sorted(took)

        story.deploy("durable")
        before = timed()
        story.until_stored(len(before))
        subprocess.run([DISTURB, "stop", "coredns"], check=True, timeout=60)
        try:
            story.kubectl("delete", "pod/iris-database-0")
            story.until_ready("statefulset/iris-database")
            away = timed()
            assert story.stored() == len(before), "the control: without names nothing reaches it"
        finally:
            subprocess.run([DISTURB, "start", "coredns"], check=True, timeout=60)
        began = time.monotonic()
        story.until_stored(len(before) + len(away))
        for name, found in (("before", before), ("away", away)):
            p50, p99 = (1000 * found[len(found) * share // 100] for share in (50, 99))
            print(f"\n{name}: {len(found)} predictions, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        print(f"all stored {time.monotonic() - began:.1f} s after names were back")
