"""Every rule: found in its bad project, not in its twin; found in the walkthroughs; silent on our own examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_cases import CASES
from doctor_listings import NUMBERS, unpack, write

from wherry.doctor.examine import examine
from wherry.doctor.rules import ALL

ROOT = Path(__file__).resolve().parent.parent.parent
IDS = [rule.id for rule in ALL]

# What each walkthrough's own listings show: rule and place.
FOUND: dict[int, set[str]] = {
    0: {
        "unchecked-load app.py:7",
        "features-in-url app.py:18",
        "silent-default app.py:18",
        "ports-differ app.py:30",
        "container-registry-gone README.md:10",
        "port-of-airplay README.md:15",
        "broken-yaml k8s/hpa.yaml:7",
        "open-load-balancer k8s/service.yaml:12",
        "whole-cpu-requested k8s/deployment.yaml:27",
        "no-probes k8s/deployment.yaml:18",
        "no-graceful-stop k8s/deployment.yaml:18",
        "placeholder-consumed README.md:26",
        "column-of-a-table README.md:43",
        "nodes-for-each-zone README.md:30",
        "cluster-removed-first README.md:52",
        "no-random-state train.py:5",
    },
    1: {
        "duplicate-openmp py-flask-ml-score-api/api.py:11",
        "loaded-for-each-request py-flask-ml-score-api/api.py:24",
        "download-at-request py-flask-ml-score-api/api.py:24",
        "debug-server py-flask-ml-score-api/api.py:78",
        "unlimited-upload py-flask-ml-score-api/api.py:58",
        "upload-not-checked py-flask-ml-score-api/api.py:58",
        "failure-as-success py-flask-ml-score-api/api.py:53",
        "everything-copied py-flask-ml-score-api/Dockerfile:3",
        "end-of-life py-flask-ml-score-api/Dockerfile:1",
        "development-server py-flask-ml-score-api/Dockerfile:7",
        "pipenv-relocks py-flask-ml-score-api/Dockerfile:5",
        "slim-called-alpine README.md:91",
        "latest-tag README.md:55",
        "port-of-airplay README.md:16",
        "open-load-balancer README.md:75",
        "brew-cask README.md:92",
        "load-balancer-on-minikube README.md:75",
    },
    2: {
        "unchecked-load app/ml-app.py:12",
        "debug-server app/ml-app.py:31",
        "error-as-success app/ml-app.py:26",
        "body-read-unguarded app/ml-app.py:20",
        "everything-copied Dockerfile:8",
        "end-of-life Dockerfile:2",
        "debian-gone Dockerfile:2",
        "pip-upgraded Dockerfile:4",
        "workers-with-copies Dockerfile:12",
        "everywhere-called-localhost README.md:30",
        "project-wide-role README.md:7",
        "old-build-account README.md:7",
        "no-teardown README.md:20",
    },
    3: {
        "unchecked-load app/app.py:28",
        "loaded-for-each-request app/app.py:28",
        "body-read-unguarded app/app.py:20",
        "payload-not-checked app/app.py:21",
        "client-decides-recording app/app.py:24",
        "json-in-json app/app.py:21",
        "json-in-json app/app.py:38",
        "tables-at-import app/mysql_con.py:22",
        "database-root docker-compose.yml:11",
        "password-in-clear docker-compose.yml:12",
        "database-port-published docker-compose.yml:18",
        "driver-not-required README.md:13",
        "volume-misses-data docker-compose.yml:20",
        "everything-copied app/Dockerfile:10",
        "end-of-life docker-compose.yml:16",
        "debian-gone app/Dockerfile:3",
        "development-server app/Dockerfile:11",
        "compose-version docker-compose.yml:1",
        "port-of-airplay docker-compose.yml:7",
        "docker-compose-v1 README.md:43",
        "unchecked-download README.md:86",
        "no-teardown README.md:78",
        "accuracy-without-baseline train.py:19",
    },
    4: {
        "model-in-tmp README.md:47",
        "model-in-tmp README.md:77",
        "end-of-life README.md:22",
        "image-never-pushed README.md:39",
        "environment-not-read yaml/configmap.yaml:6",
        "environment-not-read yaml/configmap.yaml:7",
        "autoscaler-target-low yaml/autoscale.yaml:9",
        "autoscaler-without-requests yaml/deployment.yaml:14",
        "no-probes yaml/deployment.yaml:14",
        "vm-driver README.md:77",
        "docker-compose-v1 README.md:51",
        "everywhere-called-localhost README.md:69",
    },
}
# What only the walkthroughs' repositories show, or no walkthrough: their texts print no file that could.
NOT_PRINTED = {
    "old-pickle",
    "rounded-share",
    "range-refuses-own-data",
    "request-above-limit",
    "lost-and-found",
    "password-in-url",
    "shell-form",
    "budget-of-one",
}


def found_in(folder: Path) -> set[str]:
    return {finding.rule for finding in examine(folder).findings}


def test_every_rule_has_an_id_of_its_own_and_says_everything() -> None:
    assert len(set(IDS)) == len(IDS) > 60
    for rule in ALL:
        assert rule.title and rule.consequence and rule.fix and rule.source.startswith("https://"), rule.id
    assert set(CASES) == set(IDS)


@pytest.mark.parametrize("rule", IDS)
def test_a_rule_is_found_in_its_bad_project_and_not_in_its_twin(rule: str, tmp_path: Path) -> None:
    bad, good = CASES[rule]
    found = examine(write(tmp_path / "bad", bad)).findings
    places = [finding for finding in found if finding.rule == rule]
    assert places, f"not found; but {[finding.rule for finding in found]}"
    for place in places:
        assert 1 <= place.line <= max(1, len(bad[place.file].splitlines()))
    assert rule not in found_in(write(tmp_path / "good", good))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_mistakes_of_the_walkthroughs_are_found_where_they_stand(number: int, tmp_path: Path) -> None:
    found = {f"{each.rule} {each.file}:{each.line}" for each in examine(unpack(number, tmp_path)).findings}
    assert FOUND[number] - found == set()


def test_what_a_walkthrough_prints_is_asked_of_every_rule() -> None:
    held = {place.partition(" ")[0] for places in FOUND.values() for place in places}
    assert set(IDS) - held == NOT_PRINTED


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir()))
def test_our_own_examples_give_no_alarm(name: str) -> None:
    found = examine(ROOT / "examples" / name)
    assert [f"{each.file}:{each.line} {each.rule}" for each in found.findings] == []
    assert found.notes == ()


def test_what_wherry_renders_gives_no_alarm(tmp_path: Path) -> None:
    for golden in (ROOT / "tests" / "golden").glob("release-*.yaml"):
        (tmp_path / golden.name).write_bytes(golden.read_bytes())
    assert [f"{each.file}:{each.line} {each.rule}" for each in examine(tmp_path).findings] == []
