"""Which database predictions go to, as the settings and the environment say; nothing is opened here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from wherry.contract.names import ENV_STORE_PASSWORD_FILE, ENV_STORE_URL_FILE
from wherry.contract.project import Store
from wherry.errors import FileMissing, StoreRefused

FILE = "predictions.db"
SUPPORTED = ("sqlite", "mysql", "mariadb", "postgresql", "postgres")
# The distribution that each kind of database needs beside SQLAlchemy, and the extra that brings it.
DRIVERS = {
    "mysql": ("pymysql", "mysql"),
    "mariadb": ("pymysql", "mysql"),
    "postgresql": ("psycopg", "postgres"),
    "postgres": ("psycopg", "postgres"),
}
DATABASE_URL = "DATABASE_URL"
SECRET = frozenset({"WHERRY_STORE_URL", DATABASE_URL, "MYSQL_PASSWORD"})
# Strict on purpose: of a url that is not written like this nothing is shown, as a part of a password might be.
SHOWABLE = re.compile(r"([a-z0-9+]+)://(?:[^@/?#\s]*@)?([\w.:\[\]-]*/[\w.$-]*)(?:\?[^@]*)?", re.ASCII)


class Destination(msgspec.Struct, frozen=True):
    """A database: its url, how people call it, and whether anybody asked for it."""

    url: str
    shown: str
    asked: bool
    warning: str = ""


def destination(store: Store, environ: Mapping[str, str], state: Path, *, desk: bool) -> Destination | None:
    """Where predictions are kept; None when they are not. Raises StoreRefused, FileMissing.

    A url without a password takes the one in the file that WHERRY_STORE_PASSWORD_FILE names.
    store.url (WHERRY_STORE_URL) over the file that WHERRY_STORE_URL_FILE names over DATABASE_URL over MYSQL_HOST with
    MYSQL_DB over `state`. DATABASE_URL may be meant for another program: one that this version cannot use is left
    aside with a warning.
    """
    if store.enabled is False:
        return None
    url, source = store.url, "store.url"
    if not url and environ.get(ENV_STORE_URL_FILE):
        url, source = read_secret(environ[ENV_STORE_URL_FILE], ENV_STORE_URL_FILE), ENV_STORE_URL_FILE
    if url:
        if scheme_of(url) not in SUPPORTED:
            raise StoreRefused(scheme_of(url), source, SUPPORTED)
        url = with_password(url, environ)
        return Destination(url, shown(url), asked=True)
    warning = ""
    url = environ.get(DATABASE_URL, "")
    if url and scheme_of(url) in SUPPORTED:
        return Destination(url, shown(url), asked=True)
    if url:
        warning = f"DATABASE_URL names a {scheme_of(url)} database, which this version cannot store predictions in"
    url = mysql_url(environ)
    if url:
        return Destination(url, shown(url), asked=True, warning=warning)
    if not desk and not store.enabled:
        return None
    file = (state / FILE).absolute()
    return Destination(f"sqlite:///{file}", str(state / FILE), asked=store.enabled is True, warning=warning)


def mysql_url(environ: Mapping[str, str]) -> str:
    """The url that MYSQL_HOST, MYSQL_USER, MYSQL_PASSWORD, MYSQL_DB and MYSQL_PORT make, or their _FILE forms.

    Empty unless host and database are named. MYSQL_DATABASE, as the official images call it, goes for MYSQL_DB.
    """
    host, database = of(environ, "MYSQL_HOST"), of(environ, "MYSQL_DB") or of(environ, "MYSQL_DATABASE")
    if not host or not database:
        return ""
    user, password, port = (of(environ, name) for name in ("MYSQL_USER", "MYSQL_PASSWORD", "MYSQL_PORT"))
    secret = f":{quote(password, safe='')}" if password else ""
    who = f"{quote(user, safe='')}{secret}@" if user else ""
    return f"mysql://{who}{host}{f':{port}' if port else ''}/{quote(database, safe='')}"


def with_password(url: str, environ: Mapping[str, str]) -> str:
    """`url` with the password that WHERRY_STORE_PASSWORD_FILE holds, where it names a user and no password."""
    file = environ.get(ENV_STORE_PASSWORD_FILE, "")
    scheme, _, rest = url.partition("://")
    user, at, place = rest.partition("@")
    if not file or not at or ":" in user:
        return url
    return f"{scheme}://{user}:{quote(read_secret(file, ENV_STORE_PASSWORD_FILE), safe='')}@{place}"


def of(environ: Mapping[str, str], name: str) -> str:
    """A variable, or the content of the file that NAME_FILE names."""
    path = environ.get(f"{name}_FILE", "")
    return environ.get(name, "") or (read_secret(path, f"{name}_FILE") if path else "")


def public(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what may hold a password: for processes that are told the url otherwise."""
    return {name: value for name, value in environ.items() if name not in SECRET}


def scheme_of(url: str) -> str:
    """The database a url is for: mysql for mysql+pymysql://..."""
    return url.partition(":")[0].partition("+")[0].lower() if ":" in url else ""


def shown(url: str) -> str:
    """A SQLite url's file, another's kind, host and database; nothing that could be secret."""
    if scheme_of(url) == "sqlite":
        return url.partition("://")[2].partition("?")[0].removeprefix("/") or "memory"
    found = SHOWABLE.fullmatch(url)
    return f"{scheme_of(url)}://{found[2]}" if found else scheme_of(url)


def read_secret(path: str, name: str) -> str:
    """The content of the file that the variable `name` names."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise FileMissing(path, "file with the store's url", f"{name} names it") from error
