"""Of what a caller sent, only as much is kept as the project says: in the database, in the spool, and on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import store_parts as parts

from wherry.contract.events import silent
from wherry.contract.project import Project, Store
from wherry.contract.settings import resolve
from wherry.errors import FileMissing, SettingsRefused
from wherry.server.inputs import KEY_FILE, hashed
from wherry.server.journal import Entry, open_journal

CANARY = "canary-7f3a"
MANIFEST = parts.MANIFEST  # columns: n, text


def entry(*texts: str | None) -> Entry:
    made: Entry = parts.entry(7, len(texts))
    return msgspec.structs.replace(made, rows=[(7 + k, text) for k, text in enumerate(texts)])


def kept(place: Any, folder: Path, store: dict[str, Any], *texts: str | None) -> list[Any]:
    """The inputs that the database has after these rows were answered; nothing of them is to be on the disk else."""
    settings = resolve({"store": {"url": place.url, **store}}, {}, {}).project
    journal = open_journal(settings, MANIFEST, folder, silent)
    journal.append(entry(*texts))
    journal.commit()
    spool = b"".join(path.read_bytes() for path in folder.rglob("*.seg"))
    assert (CANARY.encode() in spool) == (store.get("inputs", "whole") == "whole" or "text" in str(store))
    journal.start()
    parts.until(lambda: journal.counts().stored == len(texts), 30)
    journal.close()
    found = place.query("SELECT inputs FROM predictions ORDER BY id")
    return [msgspec.json.decode(value) if isinstance(value, str) else value for (value,) in found]


@pytest.mark.parametrize(
    ("store", "wanted"),
    [
        ({}, {"n": 7, "text": CANARY}),
        ({"inputs": "off"}, {}),
        ({"inputs": "named", "input_columns": ["n"]}, {"n": 7}),
        ({"inputs": "named", "input_columns": ["text"]}, {"text": CANARY}),
    ],
)
def test_what_is_kept_of_inputs(place: Any, tmp_path: Path, store: dict[str, Any], wanted: Any) -> None:
    assert kept(place, tmp_path / "state", store, CANARY) == [wanted]


def test_hashes_tell_equal_from_different_and_nothing_else(place: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef\n")
    store = {"inputs": "hashed", "hash_key_file": str(key)}
    first, second, third, missing = kept(place, tmp_path / "state", store, CANARY, CANARY, "other", None)
    assert first["text"] == second["text"] != third["text"]
    assert missing["text"] is None
    assert first["n"] != second["n"]
    assert {len(value) for value in (*first.values(), *third.values())} == {33}
    assert all(value.startswith("#") for value in first.values())


def test_a_hash_depends_on_key_and_column() -> None:
    assert hashed(b"k" * 16, b'"a":', 1) == hashed(b"k" * 16, b'"a":', 1)
    assert len({hashed(key, start, 1) for key in (b"k" * 16, b"l" * 16) for start in (b'"a":', b'"b":')}) == 4


def test_a_desk_makes_a_key_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Project(store=Store(inputs="hashed"))
    for _ in range(2):
        open_journal(settings, MANIFEST, tmp_path, silent).close()
        made = tmp_path / KEY_FILE
        assert made.stat().st_mode & 0o777 == 0o600
        text = made.read_text()
        assert len(text) > 32
        assert made.read_text() == text
    assert not list(tmp_path.glob("*.key.*"))


def refused(folder: Path, *, desk: bool = True, **store: Any) -> str:
    with pytest.raises(SettingsRefused) as caught:
        open_journal(Project(store=Store(**store)), MANIFEST, folder, silent, desk=desk).close()
    assert not (folder / "spool").exists()
    return str(caught.value)


def test_what_cannot_be_kept_so_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    said = refused(tmp_path, inputs="named", input_columns=("n", "txt"))
    assert "txt" in said and "did you mean text?" in said
    assert "hash_key_file" in refused(tmp_path, desk=False, enabled=True, inputs="hashed")
    short = tmp_path / "short"
    short.write_text("secret\n")
    assert "too short" in refused(tmp_path, inputs="hashed", hash_key_file=str(short))
    with pytest.raises(FileMissing, match="nowhere"):
        open_journal(Project(store=Store(inputs="hashed", hash_key_file="nowhere")), MANIFEST, tmp_path, silent)


@pytest.mark.parametrize(
    "store", [{"inputs": "named"}, {"input_columns": ["n"]}, {"hash_key_file": "x"}, {"inputs": "some"}]
)
def test_settings_that_contradict_each_other_are_refused(store: dict[str, Any]) -> None:
    with pytest.raises(SettingsRefused, match=r"store\."):
        resolve({"store": store}, {}, {})


def test_history_says_what_was_not_kept(tmp_path: Path, wherry: Callable[..., Any]) -> None:
    journal = open_journal(Project(store=Store(inputs="off")), MANIFEST, tmp_path / ".wherry", silent)
    journal.start()
    journal.append(entry(CANARY))
    journal.close()
    done = wherry("history")
    assert done.returncode == 0 and "not kept" in done.stdout
    assert msgspec.json.decode(wherry("history", "--json").stdout)["inputs"] == {}
    assert CANARY not in wherry("history", "--csv").stdout
