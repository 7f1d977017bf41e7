"""The alerts asked of a real Prometheus that reads a real service."""

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

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.release.objects import monitoring
from wherry.release.release import compose

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: pods
    static_configs: [{{targets: ["{target}"], labels: {{namespace: models, pod: breast-cancer-6d4-x}}}}]
"""
EVERY_ALERT = {
    "store": {"url": "postgresql://writer@192.0.2.7/predictions"},
    "deploy": {"metrics": {"scrape_from": "monitoring", "pod_monitor": True, "rules": True}},
}


@pytest.fixture
def groups(manifest: Manifest, declare: Callable[[dict[str, Any]], Project]) -> dict[str, Any]:
    """The PrometheusRule's content."""
    made = compose(declare(EVERY_ALERT), manifest, image="breast:1", namespace="models", local=True)
    rule = made.find("PrometheusRule")
    assert rule is not None
    spec: dict[str, Any] = rule["spec"]
    return spec


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
    until(lambda: "\nwherry_workers 2" in said(f"{running.admin_url}/metrics"))  # one killed earlier ends the start
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
