"""The database beside a service: its accounts, its driver, its disk."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from wherry.doctor.documents import Document, dig, items, line_of
from wherry.doctor.project import Project
from wherry.doctor.rule import Edit, Place, rule
from wherry.doctor.rules.containers import Container, containers, environment
from wherry.doctor.source import Source, constant

USER = re.compile(r"(?i)(MYSQL|MARIADB|DB|DATABASE|POSTGRES|PG)_?USER(NAME)?$")
ADMINISTRATORS = ("root", "postgres", "sa")
SECRET = re.compile(r"(?i)(^|_)(password|passwd|secret|token|api_?key|access_?key)$")
DATABASE_PORTS = {"3306": "MySQL", "5432": "PostgreSQL", "27017": "MongoDB", "6379": "Redis", "1433": "SQL Server"}
DATA = {
    "mysql": "/var/lib/mysql",
    "mariadb": "/var/lib/mysql",
    "postgres": "/var/lib/postgresql/data",
    "mongo": "/data/db",
}
DRIVERS = {
    "mysql": ("mysqlclient", "pymysql", "mysql-connector-python"),
    "postgresql": ("psycopg2", "psycopg2-binary", "psycopg", "asyncpg", "pg8000"),
    "postgres": ("psycopg2", "psycopg2-binary", "psycopg"),
}
URL = re.compile(r"^(mysql|postgres|postgresql)(\+\w+)?://")


@rule(
    "dangerous",
    consequence="the serving account needs the right to make tables, and every worker and every test tries to",
    fix="make tables by a migration that is run once, with an account of its own",
    source="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
)
def tables_at_import(project: Project) -> Iterator[Place]:
    """tables are made when the module is imported"""
    for source in project.sources:
        for call, name in source.calls():
            if source.in_function(call) or under_main(source, call):
                continue
            texts = [constant(node) for argument in call.args for node in ast.walk(argument)]
            creates = any(isinstance(text, str) and re.search(r"(?i)\bcreate\s+table\b", text) for text in texts)
            if name.endswith(".create_all") or (name.endswith("execute") and creates):
                yield Place(source.path, source.at(call), source.text_of(call))


def under_main(source: Source, node: ast.AST) -> bool:
    return any(isinstance(each, ast.If) and "__name__" in ast.dump(each.test) for each in source.holders(node))


@rule(
    "dangerous",
    consequence="whoever gets into the service owns every database beside it",
    fix="make an account with the rights that the service needs: INSERT and SELECT on its own tables",
    source="https://dev.mysql.com/doc/refman/8.4/en/security-guidelines.html",
)
def database_root(project: Project) -> Iterator[Place]:
    """the service logs in as the database's administrator"""
    for document in project.documents:
        for container in containers(document):
            for key, value, line in environment(container):
                if USER.search(key) and value in ADMINISTRATORS and not is_database(container):
                    yield Place(document.path, line, f"{key}: {value}")


def is_database(container: Container) -> str:
    """Which database an image is; empty for another image."""
    name = container.image.rpartition("/")[2].partition(":")[0].partition("@")[0]
    return name if name in DATA else ""


@rule(
    "dangerous",
    consequence="it is in every copy of the repository, in every image and in its history",
    fix="take it from a Secret (Kubernetes), from an env_file that git ignores or from ${VARIABLE} (compose)",
    source="https://kubernetes.io/docs/concepts/configuration/secret/",
)
def password_in_clear(project: Project) -> Iterator[Place]:
    """a password stands in a file"""
    for document in project.documents:
        for container in containers(document):
            for key, value, line in environment(container):
                if SECRET.search(key) and value and "$" not in value:
                    yield Place(document.path, line, key)
        if document.kind == "ConfigMap":
            for key, value in (dig(document.root, "data") or {}).items():
                if SECRET.search(key) and value:
                    yield Place(document.path, line_of(value), key)
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("ENV", "ARG"):
            key, _, value = one.rest.replace(" ", "=", 1).partition("=")
            if SECRET.search(key) and value.strip("\"' ") and "$" not in value:
                yield Place(dockerfile.path, one.line, key)


@rule(
    "dangerous",
    consequence="everyone who reaches the machine can try passwords",
    fix="leave the port out: services of one compose file reach each other without; or bind it to 127.0.0.1",
    source="https://docs.docker.com/reference/compose-file/services/#ports",
)
def database_port_published(project: Project) -> Iterator[Place]:
    """a database's port is published on every address"""
    for document in project.documents:
        for container in containers(document):
            for port in items(container.node.get("ports")) if document.is_compose else []:
                parts = str(port).split("/")[0].split(":")
                if len(parts) == 2 and parts[1] in DATABASE_PORTS:
                    yield Place(document.path, line_of(port, container.line), f"{DATABASE_PORTS[parts[1]]}: {port}")


@rule(
    "broken",
    consequence="the service fails at its first connection: pipreqs sees imports, and a driver is named in a URL alone",
    fix="add the driver to requirements.txt by hand",
    source="https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls",
)
def driver_not_required(project: Project) -> Iterator[Place]:
    """a database's driver is in no requirements"""
    wanted = {
        match[1]: (source, node)
        for source in project.sources
        for node in source.nodes
        if isinstance(text := constant(node), str) and (match := URL.match(text))
    }
    held = "\n".join(text.text for text in project.requirements).lower()
    for database, (source, node) in wanted.items():
        if any(driver in held for driver in DRIVERS[database]):
            continue
        if project.requirements:
            yield Place(source.path, source.at(node), f"a {database} URL, and none of {', '.join(DRIVERS[database])}")
        for command in project.commands:
            if re.match(r"pipreqs\b", command.text):
                yield Place(command.file, command.line, f"it will not see the driver of {source.path}")


def mounts(document: Document, container: Container) -> Iterator[tuple[str, int, Any]]:
    """Where a container mounts something, the line, and the mount itself."""
    if document.is_compose:
        for volume in items(container.node.get("volumes")):
            if isinstance(volume, str):
                yield [*volume.split(":"), ""][1], line_of(volume), volume
    else:
        for mount in items(container.node.get("volumeMounts")):
            yield str(dig(mount, "mountPath")), line_of(dig(mount, "mountPath")), mount


@rule(
    "broken",
    consequence="nothing persists: the data go with the container",
    fix="mount the volume where the database keeps its data",
    source="https://hub.docker.com/_/mysql",
)
def volume_misses_data(project: Project) -> Iterator[Place]:
    """a database's volume is mounted where no data are"""
    for document in project.documents:
        for container in containers(document):
            data = DATA.get(is_database(container))
            found = list(mounts(document, container))
            if (
                data
                and found
                and not any(data == path or data.startswith(f"{path}/") or path.startswith(data) for path, *_ in found)
            ):
                for path, line, _ in found:
                    if path.startswith(("/var/lib/", "/data")):
                        yield Place(
                            document.path,
                            line,
                            f"{path}, and the data are in {data}",
                            mounted(project, document, line, path, data),
                        )


def mounted(project: Project, document: Document, line: int, path: str, data: str) -> Edit | None:
    """The same line with the right folder."""
    text = next(text for text in project.texts if text.path == document.path).lines[line - 1]
    if text.count(path) != 1:
        return None
    return Edit(document.path, line, line, (text.replace(path, data),))


@rule(
    "broken",
    consequence="a fresh ext4 volume holds lost+found, and a database refuses to start in a folder that is not empty",
    fix="mount a folder of the volume: subPath: data",
    source="https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath",
)
def lost_and_found(project: Project) -> Iterator[Place]:
    """a whole volume is a database's data folder"""
    for document in project.documents:
        for container in containers(document):
            database = is_database(container)
            data = DATA.get(database)
            if database not in ("mysql", "postgres") or document.is_compose:  # MariaDB passes over lost+found
                continue
            for path, line, mount in mounts(document, container):
                nested = any(key == "PGDATA" for key, *_ in environment(container))
                if path == data and not dig(mount, "subPath") and not nested:
                    yield Place(document.path, line, path)


def urls_with_passwords(source: Source) -> Iterator[ast.AST]:
    for node in source.nodes:
        text = constant(node)
        if isinstance(text, str) and re.match(r"^[a-z0-9+]+://[^\s/:@{]+:[^\s/@{]+@", text):
            yield node


@rule(
    "dangerous",
    consequence="it is in every copy of the repository, and changing it takes a release",
    fix="read the URL from the environment",
    source="https://12factor.net/config",
)
def password_in_url(project: Project) -> Iterator[Place]:
    """a password stands in a URL of the source"""
    for source in project.sources:
        for node in urls_with_passwords(source) if not source.is_test else ():
            yield Place(source.path, source.at(node))
