"""Where predictions go is decided from the settings, and said; what cannot be is refused before a port opens."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import store_parts as parts

from wherry.contract.events import Event, Note, silent
from wherry.contract.project import Project, Store
from wherry.errors import ExtraMissing, FileMissing, SpoolHeld, StoreRefused
from wherry.server.destination import destination, shown
from wherry.server.ids import new_id, row_id
from wherry.server.journal import Counts, NoJournal, open_journal
from wherry.server.stored import origin_of

MANIFEST = parts.MANIFEST


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("DATABASE_URL", "WHERRY_STORE_", "MYSQL_")):
            monkeypatch.delenv(name)


def kind(store: Store, state: Path, **options: Any) -> str:
    """Where a project's predictions would go."""
    journal = open_journal(Project(store=store), MANIFEST, state, silent, **options)
    try:
        return journal.where
    finally:
        journal.close()


def test_a_desk_keeps_and_an_image_does_not_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, url = str(tmp_path / "predictions.db"), f"sqlite:///{tmp_path}/other.db"
    assert kind(Store(), tmp_path) == file
    assert kind(Store(enabled=False), tmp_path) == ""
    assert kind(Store(enabled=False, url=url), tmp_path) == ""
    assert kind(Store(), tmp_path, desk=False) == ""
    assert kind(Store(enabled=True), tmp_path, desk=False) == file
    assert kind(Store(url=url), tmp_path, desk=False) == f"{tmp_path}/other.db"
    monkeypatch.setenv("DATABASE_URL", url)
    assert kind(Store(), tmp_path, desk=False).endswith("other.db")


def test_a_service_without_a_store_pays_nothing(tmp_path: Path) -> None:
    journal = open_journal(Project(store=Store(enabled=False)), MANIFEST, tmp_path, silent)
    assert isinstance(journal, NoJournal)
    journal.start()
    journal.append(parts.entry(1))
    journal.commit()
    assert journal.counts() == Counts()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_another_kind_is_refused_without_a_word_of_its_url(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match=r"store\.url names a oracle database") as caught:
        kind(Store(url="oracle+cx://user:hunter2@db/x"), tmp_path)
    assert "hunter2" not in str(caught.value) + caught.value.hint
    assert "sqlite" in caught.value.hint
    with pytest.raises(StoreRefused, match="nameless"):
        kind(Store(url="predictions.db"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_url_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "url"
    secret.write_text(f"sqlite:///{tmp_path}/from-file.db\n")
    monkeypatch.setenv("WHERRY_STORE_URL_FILE", str(secret))
    assert kind(Store(), tmp_path).endswith("from-file.db")
    secret.unlink()
    with pytest.raises(FileMissing, match="url"):
        kind(Store(), tmp_path)


def test_a_database_url_meant_for_another_program_is_left_aside_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mongodb://user:hunter2@db/x")
    told: list[Event] = []
    journal = open_journal(Project(), MANIFEST, tmp_path, told.append)
    journal.close()
    assert journal.where == str(tmp_path / "predictions.db")
    [note] = told
    assert isinstance(note, Note)
    assert note.warn and "mongodb" in note.text and "hunter2" not in note.text + note.hint


def test_mysql_may_be_named_as_its_images_name_it(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("p@ss/w?rd\n")
    environ = {"MYSQL_HOST": "db", "MYSQL_USER": "jo", "MYSQL_PASSWORD_FILE": str(secret), "MYSQL_DB": "drybeans_db"}
    target = destination(Store(), environ, tmp_path, desk=False)
    assert target is not None
    assert target.url == "mysql://jo:p%40ss%2Fw%3Frd@db/drybeans_db"
    assert (target.shown, target.asked) == ("mysql://db/drybeans_db", True)
    assert destination(Store(), {"MYSQL_HOST": "db"}, tmp_path, desk=False) is None
    assert destination(Store(url="sqlite:///x.db"), environ, tmp_path, desk=False).shown == "x.db"
    secret.unlink()
    with pytest.raises(FileMissing, match="password"):
        destination(Store(), environ, tmp_path, desk=False)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql+psycopg://u:hunter2@db.example:5432/x?sslmode=require", "postgresql://db.example:5432/x"),
        ("mysql://u@db/x", "mysql://db/x"),
        ("mysql://u:hun/ter2@db/x", "mysql"),
        ("mysql://u:hun@ter2@db/x", "mysql"),
        ("mysql://u:hun?ter2@db/x", "mysql"),
        ("postgresql://db/x?password=hunter2", "postgresql://db/x"),
        ("postgresql://db/x?password=hun@ter2", "postgresql"),
    ],
)
def test_what_is_shown_of_a_url_is_never_secret(url: str, text: str) -> None:
    assert shown(url) == text


def test_without_sqlalchemy_the_default_says_so_and_a_wish_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told: list[Event] = []
    assert isinstance(open_journal(Project(), MANIFEST, tmp_path, told.append), NoJournal)
    [note] = told
    assert isinstance(note, Note)
    assert "not kept" in note.text and "pip install 'wherry[serve]'" in note.hint
    with pytest.raises(ExtraMissing, match="SQLAlchemy"):
        kind(Store(enabled=True), tmp_path)
    with pytest.raises(ExtraMissing):
        kind(Store(url="sqlite:///x.db"), tmp_path)


def test_a_second_service_in_the_folder_is_told_who_the_first_is(tmp_path: Path) -> None:
    journal = open_journal(Project(), MANIFEST, tmp_path, silent)
    with pytest.raises(SpoolHeld, match=str(os.getpid())):
        open_journal(Project(), MANIFEST, tmp_path, silent)
    open_journal(Project(), MANIFEST, tmp_path, silent, lane=1).close()
    journal.close()


def test_what_is_kept_is_stored_and_counted(tmp_path: Path) -> None:
    journal = open_journal(Project(), MANIFEST, tmp_path, silent)
    journal.commit()
    journal.append(parts.entry(0, 3))
    assert journal.counts().accepted == 0
    journal.commit()
    assert journal.counts() == Counts(accepted=3, pending=3)
    journal.start()
    parts.until(lambda: journal.counts() == Counts(accepted=3, stored=3))
    journal.append(parts.entry(3))
    journal.close()
    assert journal.counts() == Counts(accepted=4, stored=4)
    assert parts.numbers(tmp_path) == [0, 1, 2, 3]


def test_the_service_itself_never_loads_sqlalchemy() -> None:
    code = "import sys, wherry.server.stored, wherry.server.page; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_signature_has_a_hash_of_its_own() -> None:
    origin = origin_of(MANIFEST, MANIFEST.signature.names)
    assert (origin.model_digest, origin.columns) == (MANIFEST.digest, ("n", "text"))
    assert len(origin.signature_hash) == 64


def test_ids_are_uuid7_and_sort_by_time() -> None:
    made = [new_id(time_ns) for time_ns in range(1_700_000_000_000_000_000, 1_700_000_001_000_000_000, 1_000_000)]
    assert made == sorted(made)
    assert len({new_id(0) for _ in range(1000)}) == 1000
    for text in made[:3]:
        assert (uuid.UUID(text).version, uuid.UUID(text).variant, str(uuid.UUID(text))) == (7, uuid.RFC_4122, text)
    assert (row_id("x", 0), row_id("x", 2)) == ("x", "x-2")
