"""Samples are read whatever their dialect, and every fault is named with its place and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pandas", reason="needs pandas")

from wherry.errors import DataUnreadable, EncodingWrong, FileMissing, TableEmpty, TargetMissing
from wherry.model import tables


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def reader(content: bytes, encoding: str = "utf-8") -> tables.Table:
        path = tmp_path / "sample"
        path.write_bytes(content)
        return tables.read(path, encoding)

    return reader


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(read: Any, delimiter: str) -> None:
    text = (
        '"a, b",c\n1,x\n2,y\n'.replace(",c", f"{delimiter}c")
        .replace(",x", f"{delimiter}x")
        .replace(",y", f"{delimiter}y")
    )
    frame = read(text.encode()).frame
    assert list(frame.columns) == ["a, b", "c"]
    assert frame["a, b"].tolist() == [1, 2]


def test_a_comma_is_the_decimal_sign_between_semicolons(read: Any) -> None:
    assert read(b"a;b\n1,5;x\n-2,25;y\n").frame["a"].tolist() == [1.5, -2.25]
    assert read(b"a;b\n1.5;1,2\n2.5;3,4\n").frame["a"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_says_its_encoding(read: Any, codec: str) -> None:
    frame = read("ville,n\nÅs,1\n".encode(codec)).frame
    assert list(frame.columns) == ["ville", "n"]
    assert frame["ville"].tolist() == ["Ås"]


def test_a_wrong_byte_is_named_with_its_place_and_what_fits(read: Any) -> None:
    content = "city,n\nOslo,1\nÅs,2\n".encode("cp1252")
    with pytest.raises(EncodingWrong) as wrong:
        read(content)
    assert (wrong.value.offset, wrong.value.line, wrong.value.byte) == (14, 3, 0xC5)
    assert wrong.value.fits[:2] == ("cp1252", "latin-1")
    assert "--encoding cp1252" in wrong.value.hint
    assert read(content, "cp1252").frame["city"].tolist() == ["Oslo", "Ås"]


def test_an_encoding_in_which_nothing_fits_is_not_suggested(read: Any) -> None:
    with pytest.raises(EncodingWrong) as wrong:
        read(b"a\n\x81\n")  # cp1252 has no 0x81
    assert "cp1252" not in wrong.value.fits


def test_an_unknown_encoding_is_named(read: Any) -> None:
    with pytest.raises(DataUnreadable, match="'klingon' is not an encoding"):
        read(b"a\n1\n", "klingon")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(b"a\n1\n"), "gzip"),
        (b"PK\x03\x04abc", "Excel"),
        (b"\x80\x04\x95", "pickle"),
        (b"SQLite format 3\0", "SQLite"),
        (b"PAR1 and no more", "Parquet file that cannot be read"),
        (b"a,b\n1,\0\n", "byte 6 .line 2. is 0x00"),
        (b"a,a\n1,2\n", "more than one column called a"),
        (b"1,2\n3,4\n", "no header"),
        (b"a,b\n1,2,3,4\n1,2\n", "names 2 columns, its first row has 4 values"),
        (b"a,b\n1,2\n1,2,3,4\n", "line 3"),
        (b'{"a": 1}\n{"a": \n', "JSON that cannot be read"),
        (b"[1, 2]", "no list of records"),
    ],
)
def test_what_is_no_table_is_named(read: Any, content: bytes, says: str) -> None:
    with pytest.raises(DataUnreadable, match=says) as wrong:
        read(content)
    assert wrong.value.hint


@pytest.mark.parametrize("content", [b"", b" \n\n", b"a,b\n", b"[]"])
def test_no_rows_is_an_error(read: Any, content: bytes) -> None:
    with pytest.raises(TableEmpty):
        read(content)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="no such table"):
        tables.read(tmp_path / "gone.csv")
    with pytest.raises(DataUnreadable, match="is a folder"):
        tables.read(tmp_path)


def test_sizes_in_the_first_row_are_no_header(read: Any) -> None:
    """scikit-learn's own boston_house_prices.csv begins so."""
    with pytest.raises(DataUnreadable, match="names stand in the second row") as wrong:
        read(b'506,13,,\n"CRIM","ZN","INDUS","MEDV"\n0.1,18,2.31,24\n')
    assert "tail -n +2" in wrong.value.hint


def test_json_and_parquet(read: Any, tmp_path: Path) -> None:
    import pandas as pd

    assert read(b'{"a": 1, "b": "x"}\n{"a": 2, "b": null}\n').frame["a"].tolist() == [1, 2]
    assert read(b'[{"a": 1}, {"a": 2}]').frame["a"].tolist() == [1, 2]
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    path = tmp_path / "named.csv"
    pd.DataFrame({"a": [1, 2], 3: [True, False]}).rename(columns=str).to_parquet(path)
    table = tables.read(path)
    assert table.columns == ("a", "3")
    assert str(table.frame["3"].dtype) == "bool"


def test_a_target_is_split_off_or_missed_with_a_suggestion(read: Any) -> None:
    table = read(b"a,diagnosis\n1,M\n2,B\n")
    frame, target = table.split("diagnosis")
    assert list(frame.columns) == ["a"]
    assert target.tolist() == ["M", "B"]
    assert table.split(None)[1] is None
    for typed in ("diagnose", "Diagnosis"):
        with pytest.raises(TargetMissing) as missing:
            table.split(typed)
        assert missing.value.hint == "did you mean --target diagnosis?"
    with pytest.raises(TargetMissing, match="its columns are a, diagnosis"):
        table.split("zzz")
