"""docs/requests.md: every line is run as it stands there, and gives what stands below it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from serving import Fake, Running

from wherry.contract.project import Project
from wherry.contract.settings import resolve
from wherry.contract.signature import Column, OutputSpec, Signature

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "requests.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SIGNATURE = Signature((Column("area", "number"), Column("age", "integer")), OutputSpec("number", "number"))


def steps() -> list[tuple[Project, str, str, str]]:
    """Each thing to run: the project that is declared by then, its language, its text, and what it gives."""
    found, project = [], Project()
    blocks = BLOCK.findall(PAGE.read_text())
    for place, (language, text) in enumerate(blocks):
        if language == "toml":
            project = resolve(tomllib.loads(text), {}, {}).project
        elif language in ("sh", "python"):
            found.append((project, language, text, blocks[place + 1][1]))
    return found


def run(language: str, text: str) -> list[str]:
    """What it prints, a line a command."""
    if language == "python":
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(text, str(PAGE), "exec"), {})
        return [said.getvalue()]
    lines = text.splitlines()
    return [subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout for line in lines]


def same(printed: str, shown: str) -> bool:
    if not shown.startswith(("{", "[")):
        return printed.strip() == shown.strip()
    return bool(json.loads(printed) == json.loads(shown))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("project", "language", "text", "shown"), steps())
def test_every_line_gives_what_stands_below_it(project: Project, language: str, text: str, shown: str) -> None:
    for library in re.findall(r"^(?:import|from) (pyarrow|tritonclient)", text, re.MULTILINE):
        pytest.importorskip(library)
    with Running(Fake(lambda row: row[0] * row[1]), signature=SIGNATURE, project=project) as service:
        for printed in run(language, text.replace("127.0.0.1:8080", f"127.0.0.1:{service.address[1]}")):
            assert same(printed, shown), printed


def test_the_page_shows_every_way_in() -> None:
    text = PAGE.read_text()
    for path in (
        "/predict",
        "/invocations",
        "/v1/models/breast:predict",
        "/v2/models/breast/infer",
        "/api/v1.0/predictions",
    ):
        assert f"http://127.0.0.1:8080{path}" in text
    assert len(steps()) >= 15
