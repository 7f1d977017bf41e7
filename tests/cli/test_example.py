"""`wherry example`: the list, the copy, and what it never does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.cli import example
from wherry.cli.example import Example, copy, examples

Wherry = Callable[..., subprocess.CompletedProcess[str]]
NAMES = ["breast-cancer", "dry-beans", "house-prices", "image-classifier", "iris", "toy-classifier"]


def test_the_list_names_each_with_what_it_shows(wherry: Wherry) -> None:
    done = wherry("example")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == ["NAME", "WHAT", "IT", "SHOWS"]
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == NAMES
    assert wherry("-q", "example").stdout.split() == NAMES


def test_json_is_a_list_of_objects_with_a_name(wherry: Wherry) -> None:
    done = wherry("example", "--json")
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert [each["name"] for each in said] == NAMES
    assert all(each["title"] for each in said)


def test_a_copy_holds_what_was_written_and_nothing_that_a_run_left(wherry: Wherry, tmp_path: Path) -> None:
    done = wherry("example", "house-prices")
    assert (done.returncode, done.stdout) == (0, "house-prices\n")
    assert "cd house-prices && python train.py" in done.stderr
    made = sorted(path.name for path in (tmp_path / "house-prices").iterdir())
    assert made == ["README.md", "boston_house_prices.csv", "train.py", "wherry.toml"]
    assert [path.name for path in tmp_path.iterdir()] == ["house-prices"], "nothing is left beside it"


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_what_is_there_stays_as_it_is(there: str, wherry: Wherry, tmp_path: Path) -> None:
    target = tmp_path / "iris"
    if there == "folder":
        target.mkdir()
    elif there == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path / "nowhere")
    done = wherry("example", "iris")
    assert done.returncode == 2
    assert "iris is not replaced: it is there already" in done.stderr
    assert "--to" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["iris"]
    assert not target.is_dir() or list(target.iterdir()) == []
    assert wherry("example", "iris", "--to", "deep/mine").returncode == 0
    assert (tmp_path / "deep" / "mine" / "train.py").is_file()


@pytest.mark.parametrize(("typed", "meant"), [("drybeans", "dry-beans"), ("toy", "toy-classifier")])
def test_a_name_that_is_none(typed: str, meant: str, wherry: Wherry) -> None:
    done = wherry("example", typed)
    assert done.returncode == 2
    assert f"no such example: {typed}" in done.stderr
    assert f"did you mean {meant}?" in done.stderr


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(example.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        copy(examples()[0], tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_every_example_has_what_a_copy_needs() -> None:
    for each in examples():
        assert isinstance(each, Example)
        assert (each.path / "train.py").is_file()
