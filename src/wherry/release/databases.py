"""The databases that can stand beside a service for trials: how each official image is told what to be.

A compose file and a cluster run the same containers: one declaration for both.
"""

from __future__ import annotations

import re

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project

USER = "wherry"
# The names of Secret keys, and of the files that hold their values.
PASSWORD = "password"
ROOT_PASSWORD = "root-password"
MI = 2**20


class Recipe(msgspec.Struct, frozen=True):
    """One kind of database. uid: as whom its official image works. mount: where its volume belongs.

    The data lies in a folder below the mount: a fresh volume may hold lost+found, beside which no database starts.
    writable: further folders that it writes to; its root is read-only.
    """

    scheme: str
    image: str
    port: int
    mount: str
    writable: tuple[str, ...]
    command: tuple[str, ...]
    variables: dict[str, str]  # {database}, {user}, {secrets}: what the paths of its secret files begin with
    ready: tuple[str, ...]  # {secrets} as above
    keys: tuple[str, ...]
    memory_mi: int
    uid: int = 999

    def environ(self, database: str, secrets: str) -> dict[str, str]:
        """What the container is told. secrets: what stands before a key in the path of its file."""
        values = {"database": database, "user": USER, "secrets": secrets}
        return {name: text.format_map(values) for name, text in self.variables.items()}

    def probe(self, secrets: str) -> list[str]:
        """The command that succeeds once the service's account can connect."""
        return [word.replace("{secrets}", secrets) for word in self.ready]

    def url(self, host: str, database: str) -> str:
        """Where its rows go, without the password."""
        return f"{self.scheme}://{USER}@{host}:{self.port}/{database}"


MYSQL_VARIABLES = {
    "MYSQL_DATABASE": "{database}",
    "MYSQL_USER": "{user}",
    "MYSQL_PASSWORD_FILE": f"{{secrets}}{PASSWORD}",
    "MYSQL_ROOT_PASSWORD_FILE": f"{{secrets}}{ROOT_PASSWORD}",
}
# With the password, or the server would write a line of warning each time; by the environment, which no list of
# processes shows.
PING = f'MYSQL_PWD="$(cat {{secrets}}{PASSWORD})" exec %s ping --protocol=tcp --host=127.0.0.1 --user={USER} --silent'
# By TCP: while an official image sets its database up, the server listens on its socket alone, and is not ready.
RECIPES = {
    "mysql": Recipe(
        scheme="mysql",
        image="mysql:8.4",
        port=3306,
        mount="/var/lib/mysql",
        writable=("/tmp", "/var/run/mysqld"),
        # The password proves itself over plain TCP only by this plugin, unless the client knows RSA.
        command=(
            *("--datadir=/var/lib/mysql/data", "--mysql-native-password=ON"),
            "--authentication-policy=mysql_native_password",
        ),
        variables=MYSQL_VARIABLES,
        ready=("sh", "-c", PING % "mysqladmin"),
        keys=(PASSWORD, ROOT_PASSWORD),
        memory_mi=1024,
    ),
    "mariadb": Recipe(
        scheme="mariadb",
        image="mariadb:11.4",
        port=3306,
        mount="/var/lib/mysql",
        writable=("/tmp", "/run/mysqld"),
        command=("--datadir=/var/lib/mysql/data",),
        variables=MYSQL_VARIABLES,
        ready=("sh", "-c", PING % "mariadb-admin"),
        keys=(PASSWORD, ROOT_PASSWORD),
        memory_mi=512,
    ),
    "postgres": Recipe(
        scheme="postgresql",
        image="postgres:17",
        port=5432,
        mount="/var/lib/postgresql/data",
        writable=("/tmp", "/var/run/postgresql"),
        command=(),
        variables={
            "POSTGRES_DB": "{database}",
            "POSTGRES_USER": "{user}",
            "POSTGRES_PASSWORD_FILE": f"{{secrets}}{PASSWORD}",
            "PGDATA": "/var/lib/postgresql/data/pgdata",
        },
        ready=("pg_isready", "--host=127.0.0.1", f"--username={USER}", "--quiet"),
        keys=(PASSWORD,),
        memory_mi=512,
    ),
}


def beside(project: Project) -> Recipe | None:
    """The database that the project wants beside its service; None when it wants none."""
    return RECIPES.get(project.store.database.kind)


def database_name(project: Project, manifest: Manifest) -> str:
    """What the database inside it is called: the service's name as SQL takes it without quotes."""
    return re.sub(r"[^a-z0-9]+", "_", (project.deploy.name or manifest.name).lower()).strip("_")[:60] or "predictions"
