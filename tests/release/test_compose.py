"""Compose files by equality and by promise: held against docker-compose's own schema where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.errors import SettingsRefused
from wherry.release.composing.file import Choice, ComposeFile, compose_file
from wherry.release.databases import RECIPES

Declare = Callable[[dict[str, Any]], Project]
CHOICES: tuple[Choice, ...] = ("mysql", "mariadb", "postgres", "sqlite", "none")
EVERYTHING = {
    "serve": {"token_file": "tokens.txt", "port": 9000},
    "reply": {"record": {"output": "$predictions"}},
    "deploy": {"resources": {"cpu_limit": "1500m", "memory": "1Gi"}},
}


def written(project: Project, manifest: Manifest, choice: Choice | None = None, mounted: str = "") -> ComposeFile:
    return compose_file(project, manifest, image="breast:1", choice=choice, mounted=mounted)


@pytest.mark.parametrize("choice", CHOICES)
def test_text_is_the_golden_file(
    choice: Choice, manifest: Manifest, declare: Declare, golden: Callable[[str, str], None]
) -> None:
    project = declare(EVERYTHING if choice == "postgres" else {})
    made = written(project, manifest, choice, "./bundle" if choice == "sqlite" else "")
    assert made.text == written(project, manifest, choice, "./bundle" if choice == "sqlite" else "").text
    golden(f"compose-{choice}.yaml", made.text)


@pytest.mark.parametrize("choice", CHOICES)
def test_docker_compose_takes_it_as_it_is_meant(
    choice: Choice, manifest: Manifest, declare: Declare, tmp_path: Path
) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("needs docker-compose: apt-get install docker-compose")
    made = written(declare(EVERYTHING), manifest, choice)
    (tmp_path / "compose.yaml").write_text(made.text)
    done = subprocess.run(
        ["docker-compose", "config"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr, "a $ of ours was taken for a variable of compose"
    environ = yaml.safe_load(done.stdout)["services"]["server"]["environment"]
    assert environ["WHERRY_REPLY_RECORD"].replace("$$", "$") == '{"output":"$predictions"}'


@pytest.mark.parametrize("choice", CHOICES)
def test_containers_have_no_root_no_rights_and_nothing_to_write_to(
    choice: Choice, manifest: Manifest, declare: Declare
) -> None:
    services = yaml.safe_load(written(declare({}), manifest, choice).text)["services"]
    assert set(services) == ({"server", "database"} if choice in RECIPES else {"server"})
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["user"].split(":")[0] not in ("0", "root")
        assert service["restart"] == "unless-stopped"
        assert service["mem_limit"] and service["pids_limit"]
        assert service["healthcheck"]["test"][0] == "CMD"
    assert services["server"]["ports"] == ["127.0.0.1:8080:8080"]
    if choice in RECIPES:
        assert "ports" not in services["database"]
        assert services["server"]["depends_on"] == {"database": {"condition": "service_healthy"}}


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_no_password_is_in_the_file(kind: Choice, manifest: Manifest, declare: Declare) -> None:
    made = written(declare({}), manifest, kind)
    parsed = yaml.safe_load(made.text)
    assert [one.name for one in made.secrets] == [f"database-{key}" for key in RECIPES[kind].keys]
    assert set(parsed["secrets"]) == {one.name for one in made.secrets}
    assert parsed["services"]["server"]["secrets"] == ["database-password"], "root's password is not the service's"
    for service in parsed["services"].values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or value.startswith("/run/secrets/")


def test_database_that_the_project_names_elsewhere_stays_where_it_is(manifest: Manifest, declare: Declare) -> None:
    made = written(declare({"store": {"url": "mysql://writer:not-shown@db.example/x"}}), manifest)
    parsed = yaml.safe_load(made.text)
    assert set(parsed["services"]) == {"server"}
    assert parsed["services"]["server"]["environment"]["WHERRY_STORE_URL_FILE"] == "/run/secrets/store-url"
    assert "not-shown" not in made.text
    beside = yaml.safe_load(written(declare({"store": {"url": "mysql://u:not-shown@h/x"}}), manifest, "mariadb").text)
    assert set(beside["services"]) == {"server", "database"}, "what was asked for counts"


def test_project_says_which_database_when_nobody_asks_for_one(manifest: Manifest, declare: Declare) -> None:
    assert written(declare({}), manifest).choice == "sqlite", "as on a desk"
    assert written(declare({"store": {"enabled": False}}), manifest).choice == "none"
    made = written(declare({"store": {"database": {"kind": "postgres", "image": "mirror/pg:16"}}}), manifest)
    assert made.choice == "postgres"
    assert yaml.safe_load(made.text)["services"]["database"]["image"] == "mirror/pg:16"
    other = written(declare({"store": {"database": {"kind": "postgres", "image": "mirror/pg:16"}}}), manifest, "mysql")
    assert yaml.safe_load(other.text)["services"]["database"]["image"] == RECIPES["mysql"].image


def test_two_databases_at_once_are_refused(manifest: Manifest, declare: Declare) -> None:
    with pytest.raises(SettingsRefused, match=r"store\.database\.kind"):
        written(declare({"store": {"url": "mysql://u@h/x", "database": {"kind": "mysql"}}}), manifest)
