"""Compose files by Debian's docker-compose: it comes up, and survives `down` and `up` with its rows.

WHERRY_TEST_LONG=1 does so with PostgreSQL and SQLite too, and shows that it is the volumes that keep the rows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from database_image import database_image, docker, docker_environ, output

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
PATIENCE = 180.0
LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
ROWS = 7
COUNT = "SELECT COUNT(*) FROM predictions"
SQLITE = (
    "import sqlite3, pathlib; file = next(pathlib.Path('/var/spool/wherry').rglob('predictions.db'));"
    f"print(sqlite3.connect(file).execute('{COUNT}').fetchone()[0])"
)
QUERIES = {
    "mariadb": (
        *("database", "sh", "-c"),
        f'MYSQL_PWD="$(cat /run/secrets/database-password)" mariadb -h127.0.0.1 -uwherry -N -e "{COUNT}" iris',
    ),
    "postgres": (
        *("database", "sh", "-c"),
        f'PGPASSWORD="$(cat /run/secrets/database-password)" psql -h 127.0.0.1 -U wherry -Atc "{COUNT}" iris',
    ),
    "sqlite": (
        *("server", "sh", "-c"),
        f'python3 -c "{SQLITE}"',
    ),
}


@pytest.fixture(scope="module")
def databases(cluster: object, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of MariaDB and PostgreSQL, in Docker and in the registry."""
    return database_image(getattr(cluster, "registry", "") or "localhost:5000", tmp_path_factory.mktemp("databases"))


class Project:
    """A folder with a bundle, and what `docker-compose` says in it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.environ = docker_environ()

    def compose(self, *words: str) -> str:
        return output(("docker-compose", "--no-ansi", *words), self.environ, PATIENCE, cwd=self.folder)

    def predict(self) -> None:
        body = (self.folder / "bundle" / "example.json").read_bytes()
        request = urllib.request.Request(f"{self.url}/predict", body, {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as reply:
            assert reply.status == 200

    def rows(self, kind: str) -> int:
        try:
            return int(self.compose("exec", "-T", *QUERIES[kind]).strip())
        except AssertionError as error:
            if any(words in str(error) for words in ("exist", "no such table", "StopIteration")):
                return 0  # the tables are made by the service, once it reaches the database
            raise

    def until_healthy(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            container = self.compose("ps", "-q", "server").strip()
            state = json.loads(docker("inspect", container, environ=self.environ))[0]["State"]
            if state["Health"]["Status"] == "healthy":
                return
            assert not state["Restarting"], self.compose("logs", "server")
            time.sleep(0.5)
        pytest.fail(f"not healthy within {PATIENCE:.0f} s:\n{self.compose('logs')}")

    def until_rows(self, kind: str, wanted: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while (found := self.rows(kind)) != wanted:
            assert found < wanted, f"{found} rows, of {wanted}"
            assert time.monotonic() < deadline, f"{found} rows of {wanted} within {PATIENCE:.0f} s"
            time.sleep(0.2)


@pytest.fixture
def started(
    linear_bundle: Path, tmp_path: Path, free_ports: Callable[[int], list[int]], databases: str, registry: str
) -> Iterator[Callable[[str], Project]]:
    """wherry compose, build --load and up for a kind of database."""
    folder = tmp_path / f"wherry-{uuid.uuid4().hex[:6]}"
    image = f"{folder.name}:1"
    made: list[Project] = []

    def start(kind: str) -> Project:
        shutil.copytree(linear_bundle, folder / "bundle")
        (port,) = free_ports(1)
        store = "[store]\nenabled = true\n" if kind == "sqlite" else ""
        beside = f'[store.database]\nkind = "{kind}"\nimage = "{databases}"\n' if kind != "sqlite" else ""
        base = f'[image]\nbase = "{registry}/library/python:3.11-slim"\n'
        (folder / "wherry.toml").write_text(f"[serve]\nport = {port}\ndrain_seconds = 0\n{store}{beside}{base}")
        project = Project(folder, f"http://127.0.0.1:{port}")
        made.append(project)
        for words in (("compose", "--image", image), ("build", "--image", image, "--load")):
            run = subprocess.run(
                [sys.executable, "-m", "wherry", *words],
                cwd=folder,
                env=project.environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert run.returncode == 0, run.stderr
        project.compose("up", "-d")
        project.until_healthy()
        return project

    yield start
    for project in made:
        project.compose("down", "--volumes", "--timeout", "5")
        subprocess.run(["docker", "rmi", "--force", image], env=project.environ, capture_output=True, check=False)


@pytest.mark.parametrize("kind", ["mariadb", "postgres", "sqlite"] if LONG else ["mariadb"])
def test_rows_survive_down_and_up(kind: str, started: Callable[[str], Project]) -> None:
    project = started(kind)
    for _ in range(ROWS):
        project.predict()
    project.until_rows(kind, ROWS)
    project.compose("down", "--timeout", "20")
    project.compose("up", "-d")
    project.until_healthy()
    assert project.rows(kind) == ROWS, "rows did not survive down and up"
    project.predict()
    project.until_rows(kind, ROWS + 1)
    if kind == "sqlite":  # the control: without its volumes it forgets, so it was they that kept the rows
        project.compose("down", "--volumes", "--timeout", "20")
        project.compose("up", "-d")
        project.until_healthy()
        project.predict()
        project.until_rows(kind, 1)
