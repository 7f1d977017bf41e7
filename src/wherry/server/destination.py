"""Which database predictions go to, as the settings and the environment say; nothing is opened here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from wherry.contract.names import ENV_STORE_URL_FILE
from wherry.contract.project import Store
from wherry.errors import FileMissing, StoreRefused

FILE = "predictions.db"
SUPPORTED = ("sqlite",)
DATABASE_URL = "DATABASE_URL"


class Destination(msgspec.Struct, frozen=True):
    """A database: its url, how people call it, and whether anybody asked for it."""

    url: str
    shown: str
    asked: bool
    warning: str = ""


def destination(store: Store, environ: Mapping[str, str], state: Path, *, desk: bool) -> Destination | None:
    """Where predictions are kept; None when they are not. Raises StoreRefused, FileMissing.

    store.url (WHERRY_STORE_URL) over the file that WHERRY_STORE_URL_FILE names over DATABASE_URL over `state`.
    DATABASE_URL may be meant for another program: one that this version cannot use is left aside with a warning.
    """
    if store.enabled is False:
        return None
    url, source = store.url, "store.url"
    if not url and environ.get(ENV_STORE_URL_FILE):
        url, source = read_url(environ[ENV_STORE_URL_FILE]), ENV_STORE_URL_FILE
    if url:
        if scheme_of(url) not in SUPPORTED:
            raise StoreRefused(scheme_of(url), source, SUPPORTED)
        return Destination(url, shown(url), asked=True)
    warning = ""
    url = environ.get(DATABASE_URL, "")
    if url and scheme_of(url) in SUPPORTED:
        return Destination(url, shown(url), asked=True)
    if url:
        warning = f"DATABASE_URL names a {scheme_of(url)} database, which this version cannot store predictions in"
    if not desk and not store.enabled:
        return None
    file = (state / FILE).absolute()
    return Destination(f"sqlite:///{file}", str(state / FILE), asked=store.enabled is True, warning=warning)


def scheme_of(url: str) -> str:
    """The database a url is for: mysql for mysql+pymysql://..."""
    return url.partition(":")[0].partition("+")[0].lower() if ":" in url else ""


def shown(url: str) -> str:
    """A SQLite url's file; nothing of a url that could be secret."""
    return url.partition("://")[2].partition("?")[0].removeprefix("/") or "memory"


def read_url(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise FileMissing(path, "file with the store's url", f"{ENV_STORE_URL_FILE} names it") from error
