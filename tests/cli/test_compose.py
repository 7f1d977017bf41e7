"""`wherry compose` as it is typed: files, modes, and what is never written over."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Wherry = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(linear_bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(linear_bundle, tmp_path / "bundle")
    return tmp_path


def test_passwords_are_random_yours_alone_and_never_written_over(wherry: Wherry, folder: Path) -> None:
    assert wherry("compose", "--database", "mariadb").returncode == 0
    secrets = folder / ".wherry" / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert set(before) == {"database-password", "database-root-password"}
    assert len(set(before.values())) == 2
    assert all(len(text) >= 32 for text in before.values())
    text = (folder / "compose.yaml").read_text()
    assert not any(password in text for password in before.values())
    again = wherry("compose", "--database", "mariadb")
    assert "kept as it was" in again.stderr
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert (folder / ".gitignore").read_text() == "/.wherry/secrets/\n"


def test_line_for_git_is_added_once_and_only_where_it_is_needed(wherry: Wherry, folder: Path) -> None:
    (folder / ".gitignore").write_text("*.pyc")
    wherry("compose", "--database", "postgres")
    wherry("compose", "--database", "postgres")
    assert (folder / ".gitignore").read_text() == "*.pyc\n/.wherry/secrets/\n"
    (folder / ".gitignore").write_text(".wherry/\n")
    wherry("compose", "--database", "postgres")
    assert (folder / ".gitignore").read_text() == ".wherry/\n"


def test_file_that_wherry_did_not_write_stays(wherry: Wherry, folder: Path) -> None:
    (folder / "compose.yaml").write_text("services: {}\n")
    done = wherry("compose", "--database", "sqlite")
    assert done.returncode == 2
    assert "--to" in done.stderr
    assert (folder / "compose.yaml").read_text() == "services: {}\n"
    assert not (folder / ".wherry").exists()
    assert wherry("compose", "--database", "sqlite", "--to", "deploy/own.yaml").stdout == "deploy/own.yaml\n"
    assert not (folder / "deploy" / ".wherry").exists(), "SQLite needs no password"


def test_next_line_builds_an_image_that_can_speak_to_the_database(wherry: Wherry, folder: Path) -> None:
    asked = wherry("compose", "--database", "mariadb").stderr
    assert "WHERRY_STORE_DATABASE_KIND=mariadb wherry build" in asked
    (folder / "wherry.toml").write_text('[store.database]\nkind = "mariadb"\n')
    assert "Next: wherry build" in wherry("compose").stderr


def test_bundle_is_mounted_by_its_way_from_the_file(wherry: Wherry, folder: Path) -> None:
    wherry("compose", "--database", "none", "--mount", "--to", "deploy/compose.yaml")
    assert "- ../bundle:/srv/bundle:ro" in (folder / "deploy" / "compose.yaml").read_text()
    wherry("compose", "--database", "none", "--mount")
    assert "- ./bundle:/srv/bundle:ro" in (folder / "compose.yaml").read_text()


def test_json_names_what_was_written(wherry: Wherry, folder: Path) -> None:
    done = wherry("compose", "--database", "postgres", "--json")
    assert json.loads(done.stdout) == {
        "file": "compose.yaml",
        "secrets": [".wherry/secrets/database-password"],
        "image": "iris:1",
    }


def test_password_of_a_database_elsewhere_is_asked_for_by_its_file(wherry: Wherry, folder: Path) -> None:
    (folder / "wherry.toml").write_text('[store]\nurl = "mysql://u@h/x"\nsecret = { name = "theirs" }\n')
    done = wherry("compose")
    assert done.returncode == 0
    assert ".wherry/secrets/database-password is not there" in done.stderr


def test_render_prints_the_same_file_and_touches_nothing(wherry: Wherry, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    printed = wherry("render", "--compose", WHERRY_STORE_DATABASE_KIND="mariadb").stdout
    assert sorted(folder.rglob("*")) == before
    wherry("compose", "--database", "mariadb")
    assert (folder / "compose.yaml").read_text() == printed


def test_compose_file_of_others_becomes_objects(wherry: Wherry, folder: Path) -> None:
    (folder / "docker-compose.yml").write_text("services: {web: {image: web, environment: {TOKEN: hidden}}}\n")
    done = wherry("compose", "--to-kubernetes", "docker-compose.yml", "--expose", "web=front:80:5000")
    assert done.returncode == 0
    assert "kind: Deployment" in done.stdout
    assert "type: LoadBalancer" in done.stdout
    assert 'kubectl create secret generic passwords --from-literal=TOKEN="$TOKEN"' in done.stderr
    assert "hidden" not in done.stdout + done.stderr
    assert wherry("compose", "--to-kubernetes", "nosuch.yml").returncode == 2
    assert wherry("compose", "--expose", "a=b:1:2").returncode == 2
