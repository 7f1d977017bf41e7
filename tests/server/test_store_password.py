"""A store's password from a file of its own, and what is said at the end of a spool that ends with its pod."""

from __future__ import annotations

from pathlib import Path

import pytest

from wherry.contract.project import Store
from wherry.errors import FileMissing
from wherry.server.destination import destination
from wherry.server.stored import leaving

URL = "postgresql://writer@db:5432/predictions"


def url_of(url: str, tmp_path: Path, **environ: str) -> str:
    target = destination(Store(url=url), environ, tmp_path, desk=False)
    assert target is not None
    assert "p@ss" not in target.shown
    return target.url


def test_password_file_completes_a_url_that_names_a_user_alone(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/word\n")
    file = str(tmp_path / "password")
    assert url_of(URL, tmp_path, WHERRY_STORE_PASSWORD_FILE=file) == (
        "postgresql://writer:p%40ss%2Fword@db:5432/predictions"
    )
    own = "mysql://writer:own@db/x"
    assert url_of(own, tmp_path, WHERRY_STORE_PASSWORD_FILE=file) == own
    assert url_of("sqlite:///x.db", tmp_path, WHERRY_STORE_PASSWORD_FILE=file) == "sqlite:///x.db"
    assert url_of(URL, tmp_path) == URL


def test_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="nosuch"):
        url_of(URL, tmp_path, WHERRY_STORE_PASSWORD_FILE=str(tmp_path / "nosuch"))


def test_rows_left_behind_are_counted_and_nobody_is_promised_what_a_pod_cannot_keep() -> None:
    assert leaving(10_000, Path("spool"), "") == "10,000 predictions wait in spool; the next start stores them"
    assert leaving(10_000, Path("spool"), "pod").endswith("lost when this pod is gone")
