"""Real MariaDB and PostgreSQL servers in folders of their own, on free ports, that tests may stop, start and slow down.

Debian's packages bring the programs; nothing of theirs is used but that. As root, the servers run as the users that
those packages made, because they refuse to run as root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 30.0
OWNER, SECRET = "owner", "s3cret-of-the-owner"


def as_user(name: str, end: str = "KILL") -> list[str]:
    """The words before a command that has it run as `name` where we are root, and get the signal `end` when we end.

    However that comes about: a test run that is killed leaves no server behind.
    """
    account = [f"--reuid={name}", f"--regid={name}", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", f"--pdeathsig={end}", *account, "--"] if shutil.which("setpriv") else []


def found(program: str, *folders: Path) -> str:
    """The program's path; the test is skipped when it is not installed."""
    for folder in folders:
        if (folder / program).exists():
            return str(folder / program)
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}: apt-get install mariadb-server postgresql")
    return path


def run(*words: str | Path) -> None:
    done = subprocess.run(list(words), capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


class Server:
    """One server. `stop` and `kill` end it, `start` brings it back with what it had, `freeze` has it say nothing."""

    kind = ""
    user = ""
    end = "KILL"  # the signal that ends all of it at once

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            account = pwd.getpwnam(self.user)
            os.chown(folder, account.pw_uid, account.pw_gid)

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*as_user(self.user, self.end), *self.command()],
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                os.killpg(self.process.pid, how)
            self.process.wait(PATIENCE)
            self.process = None

    def url(self, database: str, user: str = OWNER, password: str = SECRET, port: int = 0) -> str:
        return f"{self.kind}://{user}:{password}@127.0.0.1:{port or self.port}/{database}"

    def connect(self, database: str, user: str = OWNER, password: str = SECRET) -> Any:
        """A driver's connection, independent of wherry, that commits by itself."""
        raise NotImplementedError

    def query(self, database: str, text: str) -> list[tuple[Any, ...]]:
        """Run one statement as the owner; its rows, if it has any."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            connection.close()

    def create(self, name: str = "") -> str:
        """A database of its own for a test; its name."""
        name = name or f"t{uuid.uuid4().hex[:12]}"
        self.query(self.kind, f"CREATE DATABASE {name}")
        return name


class MariaDB(Server):
    kind, user = "mysql", "mysql"

    def prepare(self) -> None:
        installer = found("mariadb-install-db")
        self.program = found("mariadbd", Path("/usr/sbin"))
        self.data = self.folder / "data"
        words = [installer, "--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal"]
        run(*as_user(self.user), *words, "--skip-test-db", "--skip-name-resolve")
        init = self.folder / "init.sql"
        init.write_text(f"CREATE USER IF NOT EXISTS {OWNER}@'127.0.0.1' IDENTIFIED BY '{SECRET}';\n"
                        f"GRANT ALL ON *.* TO {OWNER}@'127.0.0.1' WITH GRANT OPTION;\n")  # fmt: skip
        init.chmod(0o644)

    def command(self) -> list[str]:
        return [
            self.program, "--no-defaults", f"--datadir={self.data}", f"--socket={self.folder}/s", f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--init-file={self.folder}/init.sql", "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M", "--skip-log-bin",
        ]  # fmt: skip

    def connect(self, database: str, user: str = OWNER, password: str = SECRET) -> Any:
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, database=database, autocommit=True
        )

    def answers(self) -> bool:
        import pymysql

        try:
            self.connect("mysql").close()
        except pymysql.Error:
            return False
        return True


class PostgreSQL(Server):
    kind, user, end = "postgresql", "postgres", "QUIT"

    def prepare(self) -> None:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        installer, self.program = found("initdb", *versions[-1:]), found("postgres", *versions[-1:])
        secret = self.folder / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o644)
        self.data = self.folder / "data"
        words = [installer, "-D", str(self.data), "-U", OWNER, f"--pwfile={secret}", "-A", "scram-sha-256"]
        run(*as_user(self.user), *words, "--encoding=UTF8", "--locale=C", "--no-sync")

    def command(self) -> list[str]:
        return [self.program, "-D", str(self.data), "-p", str(self.port), "-k", str(self.folder), "-h", "127.0.0.1"]

    def connect(self, database: str, user: str = OWNER, password: str = SECRET) -> Any:
        import psycopg

        name = "postgres" if database == self.kind else database
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, dbname=name, autocommit=True
        )

    def answers(self) -> bool:
        import psycopg

        try:
            self.connect(self.kind).close()
        except psycopg.Error:
            return False
        return True


class Database:
    """One database of a server."""

    def __init__(self, server: Server, name: str = "") -> None:
        self.server, self.kind = server, server.kind
        self.name = server.create(name)
        self.url = server.url(self.name)

    def query(self, text: str) -> list[tuple[Any, ...]]:
        return self.server.query(self.name, text)

    def account(self, *grants: str) -> str:
        """A url of a new account that may do so much: account("SELECT, INSERT ON predictions")."""
        name = f"u{uuid.uuid4().hex[:10]}"
        if self.kind == "mysql":
            self.query(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{SECRET}'")
            who = f"{name}@'127.0.0.1'"
            self.query(f"CREATE TABLE {name} (n INT)")  # a right of any kind, without which it may not even connect
            self.query(f"GRANT SELECT ON {name} TO {who}")
        else:
            self.query(f"CREATE USER {name} PASSWORD '{SECRET}'")
            who = name
        for grant in grants:
            self.query(f"GRANT {grant} TO {who}")
        return self.server.url(self.name, name)


class File:
    """A SQLite file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as connection:
            return connection.execute(text).fetchall()


class Proxy:
    """A TCP relay in front of a server, through which tests make a network misbehave.

    delay: seconds that each reply is held back. hole: swallow everything, silently. cut_replies: so many times, end a
    connection when the server has answered what `marks` (bytes that the client sent) asked, before the answer is out.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.delay = 0.0
        self.hole = threading.Event()
        self.marks: tuple[bytes, ...] = ()
        self.cut_replies = 0
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self.open += [client, server]
            state = {"marked": False}
            threading.Thread(target=self.upstream, args=(client, server, state), daemon=True).start()
            threading.Thread(target=self.downstream, args=(server, client, state), daemon=True).start()

    def upstream(self, client: socket.socket, server: socket.socket, state: dict[str, bool]) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.hole.is_set():
                    continue
                if self.cut_replies > 0 and any(mark in data for mark in self.marks):
                    state["marked"] = True
                server.sendall(data)
        shut(client, server)

    def downstream(self, server: socket.socket, client: socket.socket, state: dict[str, bool]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.hole.is_set():
                    continue
                if state["marked"]:
                    self.cut_replies -= 1
                    self.cuts += 1
                    break
                if self.delay:
                    time.sleep(self.delay)
                client.sendall(data)
        shut(client, server)

    def close(self) -> None:
        self.listener.close()
        shut(*self.open)


def shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def running(kind: Callable[[Path], Any], base: Path) -> Iterator[Any]:
    """A server that has started; it is gone afterwards. Its folder must be reachable for its own user."""
    account = kind.user
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(account)
        except KeyError:
            pytest.skip(f"needs the user {account}: apt-get install mariadb-server postgresql")
    server = kind(base / account)
    server.prepare()
    server.start()
    try:
        yield server
    finally:
        server.stop()
