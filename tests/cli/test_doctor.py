"""`wherry doctor` as its user sees it: words, exit codes, --json, --diff, --fix, --exporter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Wherry = Callable[..., subprocess.CompletedProcess[str]]
DOCKERFILE = "FROM python:3.6-slim\nCOPY . .\nCMD flask run\n"


def test_an_empty_folder_is_clean(wherry: Wherry) -> None:
    done = wherry("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "no mistake found in 0 files\n"


def test_findings_say_what_where_why_and_what_to_do(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    done = wherry("doctor")
    assert done.returncode == 4
    assert "Dangerous\n" in done.stdout and "Misleads or costs\n" in done.stdout
    assert "    Dockerfile:1  python:3.6-slim\n" in done.stdout
    assert "    so  nobody mends its holes any more" in done.stdout
    assert "    do  take one that is maintained" in done.stdout
    assert done.stdout.endswith("4 findings of 4 rules in 1 file\n")
    assert "2 of them can be mended without asking\n  wherry doctor --diff shows how; --fix does it" in done.stderr


def test_quiet_is_a_line_a_finding(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    done = wherry("-q", "doctor")
    assert done.stderr == ""
    assert "Dockerfile:1: end-of-life: a release is past its end of life" in done.stdout.splitlines()
    assert len(done.stdout.splitlines()) == 4


def test_json_is_one_document(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "broken.py").write_text("print 'two'\n")
    done = wherry("doctor", "--json")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (4, "", 1)
    said = json.loads(done.stdout)
    assert said["files"] == 2 and len(said["notes"]) == 1
    one = next(each for each in said["findings"] if each["rule"] == "end-of-life")
    assert set(one) == {
        *("rule", "severity", "title", "consequence", "fix", "source", "file", "line", "detail", "mends"),
    }
    assert (one["file"], one["line"], one["mends"]) == ("Dockerfile", 1, False)


def test_diff_writes_nothing_and_fix_writes_what_diff_showed(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.12-slim\nCOPY . .\nCMD gunicorn app:app\n")
    shown = wherry("doctor", "--diff")
    assert shown.returncode == 4
    assert '+CMD ["gunicorn", "app:app"]\n' in shown.stdout and "+++ b/.dockerignore\n" in shown.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["Dockerfile"]
    done = wherry("doctor", "--fix")
    assert done.returncode == 0
    assert done.stdout.startswith(shown.stdout.partition("Dangerous")[0])
    assert done.stdout.endswith("no mistake found in 2 files\n")
    assert (tmp_path / "Dockerfile").read_text().endswith('CMD ["gunicorn", "app:app"]\n')


def test_the_exporter_is_printed_alone(wherry: Wherry) -> None:
    done = wherry("doctor", "--exporter")
    assert (done.returncode, done.stderr) == (0, "")
    compile(done.stdout, "export_model.py", "exec")


def test_a_folder_that_is_not_there_is_a_usage_error(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    done = wherry("doctor", "servics")
    assert done.returncode == 2
    assert "no such folder: servics" in done.stderr
    assert "did you mean service?" in done.stderr
