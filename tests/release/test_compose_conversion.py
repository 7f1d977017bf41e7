"""Compose files of others as Kubernetes objects: the third walkthrough's as printed, and files with mistakes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from wherry.contract.names import ENV_TEST_KUBECONFIG
from wherry.errors import ComposeUnreadable
from wherry.release.composing.conversion import Converted, convert
from wherry.release.composing.reading import read
from wherry.release.text import to_yaml

# As the walkthrough prints it: root and its password in clear, an image that is no name, the volume beside the data.
PRINTED = """\
version: '3.7'

services:
  app:
    image: USERNAME/drybeans-img
    ports:
    - 5000:5000
    working_dir: /app
    environment:
      MYSQL_HOST: mysql
      MYSQL_USER: root
      MYSQL_PASSWORD: secret
      MYSQL_DB: drybeans_db

  mysql:
    image: mysql:5.7
    ports:
    - 3306:3306
    volumes:
    - drybeans-vol:/var/lib/sql
    environment:
      MYSQL_ROOT_PASSWORD: secret
      MYSQL_DATABASE: drybeans_db

volumes:
  drybeans-vol:
"""
MORE = """\
services:
  web:
    image: registry.example/web:1
    command: serve --port "80 80"
    user: "1234"
    ports: ["127.0.0.1:8080:80/tcp", "22:22"]
    environment: [DATABASE_URL=postgres://u:hidden@db/x, DEBUG=1, FROM_DESK]
    tmpfs: /cache
    secrets: [key]
    volumes: ["./src:/app:ro", "shared:/data"]
    build: .
    healthcheck: {test: "curl -f localhost || exit 1"}
  worker:
    image: registry.example/web:1
    volumes: [{type: volume, source: shared, target: /data}]
  db:
    image: postgres:16-alpine
    environment: {POSTGRES_PASSWORD: other}
secrets: {key: {file: ./key.pem}}
volumes: {shared: {}}
"""


def converted(text: str, *exposed: str) -> Converted:
    return convert(read(text, "docker-compose.yml"), "docker-compose.yml", exposed=exposed)


def named(made: Converted, kind: str, name: str) -> dict[str, Any]:
    return next(one for one in made.objects if one["kind"] == kind and one["metadata"]["name"] == name)


@pytest.mark.parametrize(
    ("name", "text", "exposed"),
    [("walkthrough", PRINTED, ("app=drybeans-service:80:5000",)), ("more", MORE, ())],
)
def test_objects_are_the_golden_file(
    name: str, text: str, exposed: tuple[str, ...], golden: Callable[[str, str], None]
) -> None:
    made = converted(text, *exposed)
    said = "".join(f"# {one}\n" for one in [*(note.text for note in made.notes), *made.commands])
    golden(f"converted-{name}.yaml", said + to_yaml(made.objects))


@pytest.mark.cluster
@pytest.mark.parametrize(("text", "exposed"), [(PRINTED, ("app=drybeans-service:80:5000",)), (MORE, ())])
def test_cluster_takes_the_objects(text: str, exposed: tuple[str, ...]) -> None:
    if not os.environ.get(ENV_TEST_KUBECONFIG) or shutil.which("kubectl") is None:
        pytest.skip(f"needs kubectl, and {ENV_TEST_KUBECONFIG}")
    done = subprocess.run(
        ["kubectl", "apply", "--dry-run=server", "--validate=strict", "-f", "-"],
        input=to_yaml(converted(text, *exposed).objects),
        env={**os.environ, "KUBECONFIG": os.environ[ENV_TEST_KUBECONFIG]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_passwords_are_named_and_equal_ones_stay_equal() -> None:
    made = converted(PRINTED)
    text = to_yaml(made.objects) + "".join(made.commands)
    assert "secret\n" not in text.replace("kubectl create secret", "")
    assert made.commands == ('kubectl create secret generic passwords --from-literal=MYSQL_PASSWORD="$MYSQL_PASSWORD"',)
    keys = []
    for kind, name in (("Deployment", "app"), ("StatefulSet", "mysql")):
        environ = named(made, kind, name)["spec"]["template"]["spec"]["containers"][0]["env"]
        keys += [one["valueFrom"]["secretKeyRef"]["key"] for one in environ if "valueFrom" in one]
    assert keys == ["MYSQL_PASSWORD", "MYSQL_PASSWORD"]
    assert "hidden" not in to_yaml(converted(MORE).objects)


def test_volume_is_mounted_where_the_data_lies_and_below_its_top() -> None:
    made = converted(PRINTED)
    (mount,) = named(made, "StatefulSet", "mysql")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert mount == {"name": "drybeans-vol", "mountPath": "/var/lib/mysql", "subPath": "data"}
    assert any("/var/lib/sql" in note.text for note in made.notes)
    right = converted(PRINTED.replace("/var/lib/sql", "/var/lib/mysql"))
    assert not any("/var/lib" in note.text for note in right.notes)


def test_ports_are_no_numbers_to_the_base_of_sixty() -> None:
    ports = named(converted(MORE), "Service", "web")["spec"]["ports"]
    assert [(one["port"], one["targetPort"]) for one in ports] == [(22, 22), (80, 80), (8080, 80)]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (PRINTED.replace("  mysql:\n    image", "  mysql:\n   image"), 17),
        (PRINTED.replace("volumes:\n  drybeans-vol:", "volumes\n  drybeans-vol:"), 26),
        (PRINTED + "\t}{ garbage: [\n", 27),
    ],
)
def test_broken_yaml_is_read_as_far_as_it_goes(broken: str, line: int) -> None:
    made = converted(broken)
    assert named(made, "Deployment", "app")
    assert any("read up to there" in note.text and f"line {line}" in note.text for note in made.notes), made.notes


@pytest.mark.parametrize(
    "text", ["", "just words", "services: 3", "services: {a: {build: .}}", "{", "a: {ports: [x]}", "\x13", "[" * 9999]
)
def test_file_without_a_service_is_refused(text: str) -> None:
    with pytest.raises(ComposeUnreadable, match=r"docker-compose\.yml"):
        converted(text)


@pytest.mark.parametrize("text", ["app", "app=x", "app=x:80:y", "nosuch=x:80:5000"])
def test_exposure_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ComposeUnreadable, match=text):
        converted(PRINTED, text)


def test_what_is_left_out_is_said() -> None:
    said = " ".join(note.text for note in converted(MORE).notes)
    for word in ("./src", "build", "db: postgres had no volume"):
        assert word in said
