"""The words behind `wherry predict`: what each is, and how values are read."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from wherry.cli import payload
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.errors import BodyUnreadable, BundleMissing, FileMissing

SIGNATURE = Signature(
    columns=(
        Column("age", "integer"),
        Column("area", "number"),
        Column("smoker", "boolean"),
        Column("town", "string", nullable=True),
    ),
    output=OutputSpec("class", "integer", (0, 1)),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    (tmp_path / "rows.csv").write_text("a\n1\n")
    return tmp_path


def test_words_are_told_apart() -> None:
    found = payload.sort(["http://127.0.0.1:8080/predict?a=1", "bundle", "rows.csv"])
    assert found == payload.Words("http://127.0.0.1:8080/predict?a=1", Path("bundle"), Path("rows.csv"), {})
    assert payload.sort(["age=3", "town=a=b"]).pairs == {"age": "3", "town": "a=b"}
    assert payload.sort(["-"]).file == Path("-")


def test_what_is_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(FileMissing):
        payload.sort(["missing.json"])
    (folder / "empty").mkdir()
    with pytest.raises(BundleMissing, match="it has no manifest"):
        payload.sort(["empty"])
    with pytest.raises(click.UsageError):
        payload.sort(["rows.csv", "a=1"])
    with pytest.raises(click.UsageError):
        payload.sort(["http://a", "http://b"])


@pytest.mark.parametrize(
    ("pair", "cell"),
    [
        ("age=3", 3),
        ("area=3", 3.0),
        ("smoker=true", True),
        ("smoker=maybe", "maybe"),
        ("town=3", "3"),
        ("town=", None),
        ("age=three", "three"),
        ("unknown=2.5", 2.5),
        ("unknown=text", "text"),
    ],
)
def test_values_are_read_by_their_columns(pair: str, cell: object) -> None:
    key, _, text = pair.partition("=")
    found = payload.from_pairs({key: text}, SIGNATURE)[key]
    assert found == cell and type(found) is type(cell)


def test_json_is_known_by_its_content() -> None:
    assert payload.as_json(b' {"a": 1}', "x") == {"a": 1}
    assert payload.as_json(b"a,b\n1,2\n", "x") is None
    assert payload.as_json(b'{"a": 1}\n{"a": 2}\n', "x") is None
    assert payload.as_json(b"PAR1...", "x") is None
    with pytest.raises(BodyUnreadable) as broken:
        payload.as_json(b'{"a": ', "rows.json")
    assert "rows.json" in str(broken.value)


def test_one_record_or_many() -> None:
    assert payload.is_single({"a": 1})
    assert not payload.is_single([{"a": 1}])
    assert not payload.is_single({"columns": ["a"], "rows": [[1]]})
    assert not payload.is_single({"columns": ["a"], "data": [[1]]})


def test_an_address_without_its_scheme_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(FileMissing) as caught:
        payload.sort(["127.0.0.1:8080"])
    assert caught.value.hint == "did you mean http://127.0.0.1:8080?"
    with pytest.raises(FileMissing) as caught:
        payload.sort(["no-such-rows.csv"])
    assert caught.value.hint == "wherry predict --help"
