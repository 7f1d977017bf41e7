"""docs/requests.md: every line is run as it stands there, and gives what stands below it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serving import Fake, Running

import wherry
from wherry.contract.project import Project
from wherry.contract.settings import resolve
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Outputs

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "requests.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SIGNATURE = Signature((Column("area", "number"), Column("age", "integer")), OutputSpec("number", "number"))
CLASSES = OutputSpec("class", "integer", classes=(0, 1), probabilities=True)


class Likely(Fake):
    """A classifier that is always as sure."""

    def score(self, rows: Any, probabilities: bool = True) -> Outputs:
        return Outputs([1] * len(rows), [[0.25, 0.75]] * len(rows))


def steps(pictures: bool) -> list[tuple[Project, str, str, str]]:
    """Each thing to run: the project that is declared by then, its language, its text, and what it gives.

    pictures: those of the section that asks a model of pictures, else the others.
    """
    found, project = [], Project()
    before, section, after = re.split(r"(?s)(## Pictures\n.*?)(?=^## )", PAGE.read_text(), flags=re.MULTILINE)
    blocks = BLOCK.findall(section if pictures else before + after)
    for place, (language, text) in enumerate(blocks):
        if language == "toml":
            project = resolve(tomllib.loads(text), {}, {}).project
        elif language in ("sh", "python"):
            found.append((project, language, text, blocks[place + 1][1]))
    return found


def run(language: str, text: str, folder: Path | None = None) -> list[str]:
    """What it prints, a line a command."""
    if language == "python":
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(text, str(PAGE), "exec"), {})
        return [said.getvalue()]
    lines = text.splitlines()
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return [
        subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, cwd=folder, env=environ).stdout
        for line in lines
    ]


def same(printed: str, shown: str) -> bool:
    if not shown.startswith(("{", "[")):
        return printed.strip() == shown.strip()
    return near(json.loads(printed), json.loads(shown))


def near(told: Any, shown: Any) -> bool:
    """Equal, a probability as far as the page writes it out."""
    if isinstance(shown, dict):
        return list(told) == list(shown) and all(near(told[key], shown[key]) for key in shown)
    if isinstance(shown, list):
        return len(told) == len(shown) and all(map(near, told, shown))
    return bool(told == pytest.approx(shown, abs=1e-3) if isinstance(shown, float) and 0 < shown < 1 else told == shown)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("project", "language", "text", "shown"), steps(False))
def test_every_line_gives_what_stands_below_it(project: Project, language: str, text: str, shown: str) -> None:
    for library in re.findall(r"^(?:import|from) (pyarrow|tritonclient)", text, re.MULTILINE):
        pytest.importorskip(library)
    model, signature = Fake(lambda row: row[0] * row[1]), SIGNATURE
    if "probabilities" in text:
        model, signature = Likely(model.answer), msgspec.structs.replace(SIGNATURE, output=CLASSES)
    with Running(model, signature=signature, project=project) as service:
        for printed in run(language, text.replace("127.0.0.1:8080", f"127.0.0.1:{service.address[1]}")):
            assert same(printed, shown), printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("project", "language", "text", "shown"), steps(True))
def test_every_line_about_pictures_too(
    project: Project, language: str, text: str, shown: str, picture_bundle: Path, pictures: Any, tmp_path: Path
) -> None:
    pictures.written(tmp_path)
    (tmp_path / "wherry.toml").write_text('[model.image]\nlabels = "labels.txt"\n')
    (tmp_path / "red.jpg").write_bytes(pictures.picture("red", kind="JPEG"))
    (tmp_path / "blue.png").write_bytes(pictures.picture("blue"))
    model = wherry.load(picture_bundle)
    with Running(model, signature=model.signature, project=project) as service:
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{service.address[1]}").replace(
            "colours:predict", "breast:predict"
        )
        for printed in run(language, text, tmp_path):
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
    assert len(steps(False)) >= 15
    assert len(steps(True)) >= 4
