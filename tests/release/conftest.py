"""A manifest and projects to make releases of, and files to hold what was rendered against."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wherry.contract import settings
from wherry.contract.manifest import Conversion, Golden, Manifest, Measured, Origin, Requirements
from wherry.contract.project import Project
from wherry.contract.signature import Column, OutputSpec, Signature

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def manifest() -> Manifest:
    """What pack writes for a small model of two columns."""
    return Manifest(
        format=1,
        name="Breast_Cancer",
        version="1",
        digest="",
        flavor="linear",
        model="model.npz",
        signature=Signature(
            columns=(Column("area_worst", "number"), Column("texture_worst", "number")),
            output=OutputSpec("class", "integer", classes=(0, 1)),
        ),
        golden=Golden("golden.json", 2),
        baseline="baseline.json",
        requirements=Requirements("3.11", {}),
        files={"model.npz": "0" * 64},
        origin=Origin("LogisticRegression"),
        conversion=Conversion("linear"),
        measured=Measured(load_seconds=0.2, peak_bytes=90 * 2**20),
    ).sealed()


@pytest.fixture
def declare() -> Callable[[dict[str, Any]], Project]:
    """The project that a wherry.toml of these tables declares."""

    def make(table: dict[str, Any]) -> Project:
        return settings.resolve(table, {}, {}).project

    return make


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Holds a text against its file in tests/golden.

    WHERRY_UPDATE_GOLDEN=1 writes the files anew instead: look at what git says has changed before committing it.
    """

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("WHERRY_UPDATE_GOLDEN") == "1":
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no {path}: run with WHERRY_UPDATE_GOLDEN=1"
        assert text == path.read_text(encoding="utf-8")

    return check
