"""`wherry predict`: a service and a bundle answer alike, whatever the rows come in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wherry.cli.quality import quality

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]


@pytest.fixture(scope="module")
def answers(linear_bundle: Path) -> list[Any]:
    import wherry

    return wherry.load(linear_bundle).predict(ROWS)


@pytest.fixture(scope="module")
def columns(linear_bundle: Path) -> list[str]:
    from wherry.model.bundle import read_manifest

    return list(read_manifest(linear_bundle).signature.names)


@pytest.fixture
def rows(tmp_path: Path, columns: list[str], answers: list[Any], linear_bundle: Path) -> dict[str, Path]:
    """The same three rows in every form, those with a table with the right answers and shuffled columns."""
    from wherry.model.bundle import read_manifest

    target = read_manifest(linear_bundle).signature.target
    records = [dict(zip(columns, row, strict=True)) for row in ROWS]
    shuffled = list(reversed(columns))
    table = [
        [target, *shuffled],
        *([answer, *(record[c] for c in shuffled)] for record, answer in zip(records, answers, strict=True)),
    ]
    files = {
        "records": json.dumps(records),
        "split": json.dumps({"columns": columns, "data": ROWS, "index": [0, 1, 2]}),
        "lists": json.dumps(ROWS),
        "lines": "".join(json.dumps(record) + "\n" for record in records),
        "csv": "".join(",".join(map(str, row)) + "\n" for row in table),
        "one": json.dumps(records[0]),
    }
    found = {}
    for name, text in files.items():
        found[name] = tmp_path / name
        found[name].write_text(text)
    return found


def lines(answers: list[Any]) -> str:
    return "".join(f"{json.dumps(answer)}\n" for answer in answers)


@pytest.mark.slow
def test_a_service_answers_in_every_form(
    wherry: Wherry, service: Callable[..., Any], linear_bundle: Path, rows: dict[str, Path], answers: list[Any]
) -> None:
    running = service(linear_bundle)
    for form in ("records", "split", "lists", "lines", "csv"):
        done = wherry("predict", running.url, rows[form])
        assert (done.returncode, done.stdout) == (0, lines(answers)), f"{form}: {done.stderr}"
    one = wherry("predict", running.url, rows["one"])
    assert one.stdout == f'{{"prediction":{json.dumps(answers[0])}}}\n'
    piped = wherry("predict", running.url, "-", stdin=rows["csv"].read_text())
    assert piped.stdout == lines(answers)
    assert "accuracy" in piped.stderr and "BASELINE" in piped.stderr
    record = json.loads(rows["one"].read_text())
    pairs = wherry("predict", running.url, *(f"{key}={value}" for key, value in record.items()))
    assert json.loads(pairs.stdout) == {"prediction": answers[0]}
    checked = wherry("predict", "--check", running.url, linear_bundle)
    assert checked.returncode == 0
    assert "golden rows as when it was packed" in checked.stdout


def test_a_bundle_answers_in_every_form(
    wherry: Wherry, linear_bundle: Path, rows: dict[str, Path], answers: list[Any]
) -> None:
    for form in ("records", "split", "lists", "lines", "csv"):
        done = wherry("predict", linear_bundle, rows[form])
        assert (done.returncode, done.stdout) == (0, lines(answers)), f"{form}: {done.stderr}"
    document = json.loads(wherry("predict", linear_bundle, rows["csv"], "--json").stdout)
    assert document["predictions"] == answers
    assert document["metrics"][0]["name"] == "accuracy"


def test_a_project_s_shape_is_printed_as_it_is_sent(
    wherry: Wherry,
    service: Callable[..., Any],
    linear_bundle: Path,
    rows: dict[str, Path],
    answers: list[Any],
    tmp_path: Path,
) -> None:
    (tmp_path / "wherry.toml").write_text('[reply]\nrecord = { output = "$prediction", info = "hello" }\n')
    running = service(linear_bundle)
    one = wherry("predict", running.url, rows["one"])
    assert json.loads(one.stdout) == {"output": answers[0], "info": "hello"}
    assert wherry("predict", running.url, rows["records"]).stdout == lines(answers)


def test_fields_at_fault_are_named_with_what_to_do(
    wherry: Wherry, service: Callable[..., Any], linear_bundle: Path, columns: list[str]
) -> None:
    for where in (service(linear_bundle).url, linear_bundle):
        done = wherry("predict", where, f"{columns[0]}=1", f"{columns[1][:-1]}x=2")
        assert done.returncode == 1
        assert done.stdout == ""
        assert f"{columns[1]} is missing" in done.stderr
        assert "did you mean" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_changed_model_is_told_by_its_golden_rows(
    wherry: Wherry, linear_bundle: Path, onnx_bundle: Path, tmp_path: Path
) -> None:
    same = wherry("predict", "--check", linear_bundle)
    assert same.returncode == 0, same.stderr
    from wherry.model import bundle

    manifest = bundle.read_manifest(linear_bundle)
    files = {name: (linear_bundle / name).read_bytes() for name in manifest.files}
    golden = json.loads(files[manifest.golden.file])
    golden["predictions"][3] = next(c for c in manifest.signature.output.classes if c != golden["predictions"][3])
    files[manifest.golden.file] = json.dumps(golden).encode()
    bundle.write(tmp_path / "other", manifest, files)
    differs = wherry("predict", "--check", tmp_path / "other")
    assert differs.returncode == 4
    assert "ROW" in differs.stdout and "\n3 " in differs.stdout
    document = json.loads(wherry("predict", "--check", tmp_path / "other", "--json").stdout)
    assert [d["row"] for d in document["differences"]] == [3]


def test_nothing_to_ask_is_said_so(wherry: Wherry, linear_bundle: Path) -> None:
    done = wherry("predict", linear_bundle)
    assert done.returncode == 2
    assert "nothing to ask" in done.stderr
    assert f"wherry predict {linear_bundle} {linear_bundle}/example.json" in done.stderr


def test_an_empty_folder_is_said_so(wherry: Wherry) -> None:
    done = wherry("predict")
    assert done.returncode == 2
    assert "there is no bundle here" in done.stderr and "no service is named" in done.stderr
    assert "hint: wherry predict http://127.0.0.1:8080 FILE, or wherry predict BUNDLE FILE" in done.stderr
    looked = wherry("inspect")
    assert looked.returncode == 2
    assert "there is no bundle here" in looked.stderr and "wherry pack" in looked.stderr


def test_broken_json_names_the_place(wherry: Wherry, linear_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"a": 1,}')
    done = wherry("predict", linear_bundle, "broken.json")
    assert done.returncode == 1
    assert "broken.json is not JSON" in done.stderr and "column 9" in done.stderr


def test_quality_stands_beside_that_of_the_dullest_answer() -> None:
    (accuracy,) = quality("class", ["M", "B", "M", "M"], ["M", "B", "B", "M"])
    assert (accuracy.value, accuracy.baseline, accuracy.rows) == (0.75, 0.5, 4)
    (error,) = quality("number", [1.0, 2.0, 3.0], [1.0, 2.0, None])
    assert (error.value, error.baseline, error.rows) == (0.0, 0.5, 2)
    assert quality("class", [1], [""]) == []
    assert quality("class", [1, 0], ["1", "0"])[0].value == 1.0


def test_nothing_to_check_with_is_no_success(wherry: Wherry, tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / "boats.py").write_text(
            f"def predict(x: list[float]) -> list[float]:\n    return [{version} * each for each in x]\n"
        )
        packed = wherry("pack", tmp_path / "boats.py", "--trust", "--version", version, "--to", tmp_path / version)
        assert packed.returncode == 0, packed.stderr
    checked = wherry("predict", "--check", tmp_path / "1", "http://127.0.0.1:9")
    assert checked.returncode == 2
    assert "holds no golden rows to check" in checked.stderr
    compared = wherry("inspect", tmp_path / "1", tmp_path / "2")
    assert "their answers were not compared" in compared.stdout
    assert "differs" not in compared.stdout
