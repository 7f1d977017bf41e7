"""What --fix writes: the right lines, nothing else of the file, and never half of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from doctor_cases import CASES
from doctor_listings import write

from wherry.doctor import mending
from wherry.doctor.examine import examine

MENDS = [
    *("everything-copied", "compose-version", "brew-cask", "vm-driver", "docker-compose-v1", "shell-form"),
    *("pipenv-relocks", "volume-misses-data"),
]


def fix(folder: Path) -> list[mending.Mended]:
    files = mending.mended(folder, examine(folder).edits)
    mending.write(folder, files)
    return files


@pytest.mark.parametrize("rule", MENDS)
def test_what_can_be_mended_is_gone_afterwards(rule: str, tmp_path: Path) -> None:
    write(tmp_path, CASES[rule][0])
    assert [each for each in examine(tmp_path).findings if each.rule == rule and each.mends]
    assert fix(tmp_path)
    assert rule not in {each.rule for each in examine(tmp_path).findings}
    assert fix(tmp_path) == [], "a second time there is nothing to do"


def test_the_list_of_what_is_mended_is_whole(tmp_path: Path) -> None:
    mended = {
        rule
        for rule, (bad, _) in CASES.items()
        for each in examine(write(tmp_path / rule, bad)).findings
        if each.mends and each.rule == rule
    }
    assert mended == set(MENDS)


def test_line_ends_mode_comments_and_a_missing_last_newline_stay(tmp_path: Path) -> None:
    compose = tmp_path / "compose.yaml"
    before = b"version: '3.7'\r\n# ours\r\nservices:\r\n    app:   {image: \"app:1\"}   # as it is"
    compose.write_bytes(before)
    compose.chmod(0o640)
    fix(tmp_path)
    assert compose.read_bytes() == before.removeprefix(b"version: '3.7'\r\n")
    assert compose.stat().st_mode & 0o777 == 0o640


def test_the_diff_says_what_was_written(tmp_path: Path) -> None:
    write(tmp_path, CASES["shell-form"][0])
    (file,) = mending.mended(tmp_path, examine(tmp_path).edits)
    assert list(file.diff())[-2:] == ["-CMD gunicorn app:app", '+CMD ["gunicorn", "app:app"]']
    assert (tmp_path / "Dockerfile").read_text() == CASES["shell-form"][0]["Dockerfile"], "a diff writes nothing"


def test_what_a_shell_would_have_read_is_left_to_its_author(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": "FROM python:3.12-slim\nCMD gunicorn -b :$PORT app:app && true\n"})
    (finding,) = (each for each in examine(tmp_path).findings if each.rule == "shell-form")
    assert not finding.mends


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, CASES["docker-compose-v1"][0])
    files = mending.mended(tmp_path, examine(tmp_path).edits)
    (tmp_path / "do.sh").write_text("docker-compose down\n")
    with pytest.raises(OSError, match=r"do\.sh changed"):
        mending.write(tmp_path, files)
    assert (tmp_path / "do.sh").read_text() == "docker-compose down\n"


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, CASES["docker-compose-v1"][0])
    files = mending.mended(tmp_path, examine(tmp_path).edits)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        mending.write(tmp_path, files)
    assert [path.name for path in tmp_path.iterdir()] == ["do.sh"]
    assert (tmp_path / "do.sh").read_text() == "docker-compose up\n"
