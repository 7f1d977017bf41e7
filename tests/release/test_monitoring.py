"""The alerts and the dashboard asked of a real Prometheus that reads a real service."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.contract import names
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.release.objects import dashboard, monitoring
from wherry.release.release import compose

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: pods
    static_configs: [{{targets: ["{target}"], labels: {{namespace: models, pod: breast-cancer-6d4-x}}}}]
"""
EVERYTHING = {
    "store": {"url": "postgresql://writer@192.0.2.7/predictions"},
    "deploy": {"metrics": {"scrape_from": "monitoring", "pod_monitor": True, "rules": True, "dashboard": True}},
}


@pytest.fixture
def groups(manifest: Manifest, declare: Callable[[dict[str, Any]], Project]) -> dict[str, Any]:
    """The PrometheusRule's content."""
    made = compose(declare(EVERYTHING), manifest, image="breast:1", namespace="models", local=True)
    rule = made.find("PrometheusRule")
    assert rule is not None
    spec: dict[str, Any] = rule["spec"]
    return spec


def drawn(project: Project, manifest: Manifest) -> dict[str, Any]:
    """The dashboard in the release's ConfigMap."""
    made = compose(project, manifest, image="breast:1", namespace="models", local=True)
    (found,) = [each for each in made.objects if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    ((name, text),) = found["data"].items()
    assert name.endswith(".json")
    return dict(json.loads(text))


@pytest.fixture
def shown(manifest: Manifest, declare: Callable[[dict[str, Any]], Project]) -> dict[str, Any]:
    """The dashboard with every panel."""
    return drawn(declare(EVERYTHING), manifest)


def queries(shown: dict[str, Any]) -> dict[str, str]:
    """What each panel asks, with the variables as Grafana fills them in."""
    (pods,) = [each["allValue"] for each in shown["templating"]["list"] if each["name"] == "pod"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$pod", pods).replace("$__rate_interval", "10s")
        for panel in shown["panels"]
        for target in panel["targets"]
    }


@pytest.fixture
def prometheus(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Callable[[str], Callable[..., Any]]]:
    """A Prometheus that reads the target it is given: start(target) gives what asks it a query."""
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus: apt-get install prometheus")
    started: list[subprocess.Popen[bytes]] = []

    def start(target: str) -> Callable[..., Any]:
        (port,) = free_ports(1)
        (tmp_path / "prometheus.yml").write_text(PROMETHEUS.format(target=target))
        words = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
        with (tmp_path / "prometheus.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    ["prometheus", *words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
                )
            )

        def ask(query: str) -> list[Any]:
            address = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            with urllib.request.urlopen(address, timeout=10) as reply:
                found: list[Any] = json.load(reply)["data"]["result"]
            return found

        return ask

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


def until(condition: Callable[[], Any], seconds: float = 60, what: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass  # Prometheus does not listen yet
        assert time.monotonic() < deadline, f"waited in vain {what()}"
        time.sleep(0.2)


def said(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as reply:
        text: str = reply.read().decode()
    return text


def workers_of(pid: int) -> list[int]:
    """The processes that a service forked: they are called as it is, the store's writer is not."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    called = Path(f"/proc/{pid}/cmdline").read_bytes()
    return [int(child) for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == called]


def measured(query: str) -> str:
    """What an alert measures, without the bound; asked of what went well where it asks of what did not."""
    query = re.sub(r" (?:>|==) [0-9.]+(?: or .*)?$", "", query)
    return re.sub(r'status(?:=~"5\.\."|="503")', 'status="200"', query)


@pytest.mark.slow
def test_every_alert_measures_something_that_a_service_says(
    groups: dict[str, Any],
    linear_bundle: Path,
    service: Callable[..., Any],
    prometheus: Callable[[str], Callable[..., Any]],
) -> None:
    running = service(linear_bundle, "--workers", "2")
    example = json.loads((linear_bundle / "example.json").read_text())
    assert running.ask("/predict", example).status == 200
    until(lambda: "\nwherry_workers 2" in said(f"{running.admin_url}/metrics"))
    os.kill(workers_of(running.process.pid)[0], signal.SIGKILL)
    ask = prometheus(running.admin_url.removeprefix("http://"))
    rules = {rule["alert"]: rule["expr"] for group in groups["groups"] for rule in group["rules"]}
    assert len(rules) == len(monitoring.ALERTS)

    silent: list[str] = list(rules)

    def answered() -> bool:
        assert running.ask("/predict", example).status == 200
        silent[:] = [name for name, query in rules.items() if not ask(measured(query))]
        return not silent

    until(answered, what=lambda: f"no answer about {silent}")
    assert ask(measured(rules["WherrySlow"]).replace("_bucket", "_buckets")) == [], "a misspelt metric would be seen"
    assert ask(rules["WherryNotReady"]) == []
    running.stop()
    until(lambda: ask(rules["WherryNotReady"]))


def test_prometheus_takes_the_rules(groups: dict[str, Any], tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool: apt-get install prometheus")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(monitoring.ALERTS)} rules found" in done.stdout


def test_no_alert_about_a_store_that_is_not_there(
    manifest: Manifest, declare: Callable[[dict[str, Any]], Project]
) -> None:
    project = declare({"deploy": {"metrics": {"scrape_from": "monitoring", "rules": True}}})
    made = compose(project, manifest, image="breast:1", namespace="models", local=True)
    rule = made.find("PrometheusRule")
    assert rule is not None
    names = [each["alert"] for each in rule["spec"]["groups"][0]["rules"]]
    assert "WherryRowsLost" not in names
    assert "WherryNotReady" in names


# The dashboard


@pytest.mark.slow
def test_every_panel_shows_something_that_a_service_says(
    shown: dict[str, Any],
    linear_bundle: Path,
    service: Callable[..., Any],
    prometheus: Callable[[str], Callable[..., Any]],
) -> None:
    running = service(linear_bundle, "--workers", "2")
    example = json.loads((linear_bundle / "example.json").read_text())
    ask = prometheus(running.admin_url.removeprefix("http://"))
    asked = {panel: query for panel, query in queries(shown).items() if "_step_" not in query}  # there is no chain
    silent: list[str] = list(asked)

    def numbers(query: str) -> list[str]:
        return [found["value"][1] for found in ask(query) if found["value"][1] != "NaN"]

    def answered() -> bool:
        assert running.ask("/predict", example).status == 200
        assert running.ask("/nowhere").status == 404
        silent[:] = [panel for panel, query in asked.items() if not numbers(query)]
        return not silent

    until(answered, what=lambda: f"nothing to draw for {silent}")
    misspelt = {panel: query.replace("wherry_", "wherrry_") for panel, query in asked.items()}
    assert [panel for panel, query in misspelt.items() if numbers(query)] == [], "a misspelt metric would be seen"
    other = {panel: query.replace("breast-cancer-", "iris-") for panel, query in asked.items()}
    assert [panel for panel, query in other.items() if numbers(query)] == [], "another service's pods are not shown"


def test_every_metric_is_drawn(shown: dict[str, Any]) -> None:
    asked = " ".join(queries(shown).values())
    metrics = {value for name, value in vars(names).items() if name.startswith("METRIC_")}
    metrics = {name for name in metrics if "_shadow_" not in name}  # of a trial, which is not the service
    found = {re.sub("_(?:bucket|sum|count)$", "", name) for name in re.findall(r"wherry_\w+", asked)}
    assert found == metrics


def test_panels_lie_beside_one_another(shown: dict[str, Any]) -> None:
    taken = set()
    for panel in shown["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= dashboard.WIDTH
        taken |= cells
    assert len({panel["id"] for panel in shown["panels"]}) == len(dashboard.PANELS)


def test_a_dashboard_is_its_services_alone(
    manifest: Manifest, declare: Callable[[dict[str, Any]], Project], shown: dict[str, Any]
) -> None:
    made = {"deploy": {"name": "other", "metrics": {"dashboard": True, "labels": {"folder": "models"}}}}
    other = drawn(declare(made), manifest)
    assert other["uid"] != shown["uid"]
    titles = [panel["title"] for panel in other["panels"]]
    assert "Requests" in titles
    assert not [title for title in titles if "stored" in title], "nothing is stored there"
    assert 'pod=~"other-.+"' in json.dumps(other["templating"]).replace("\\", "")
