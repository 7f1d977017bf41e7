"""Every verb, setting, metric and error is documented, and the reference is what the declarations say."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from wherry import errors
from wherry.cli.main import VERBS
from wherry.contract import names
from wherry.contract.settings import declared

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree(base: type[errors.WherryError]) -> Iterator[type[errors.WherryError]]:
    for kind in base.__subclasses__():
        if kind.__module__.startswith(f"{errors.__name__}."):
            yield kind
            yield from tree(kind)


def test_the_reference_is_not_stale(reference: ModuleType) -> None:
    assert reference.main(["--check"]) == 0, "run ./dev docs"


def test_a_stale_page_is_found(reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "settings.md").write_text("old")
    assert reference.main(["--check"]) == 1
    assert reference.stale() == ["settings.md"]


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_is_in_the_reference(verb: str) -> None:
    text = (REFERENCE / "commands.md").read_text()
    assert f"\n## {verb}\n" in text
    assert f"    wherry {verb} " in text


def test_every_setting_has_a_meaning_and_is_in_the_reference() -> None:
    text = (REFERENCE / "settings.md").read_text()
    for setting in declared():
        assert setting.help, f"{setting.path} has no help"
        assert f"`{setting.env}`" in text, setting.path


def test_every_setting_is_read_somewhere() -> None:
    """Where it is declared, and what the doctor reads of other programs, does not count."""
    source = ROOT / "src" / "wherry"
    rooms = ("cli", "deploy", "model", "release", "score", "server", "stress")
    text = "\n".join(path.read_text() for room in rooms for path in (source / room).rglob("*.py"))
    read = set(re.findall(r"\.(\w+)", text))
    assert not [setting.path for setting in declared() if setting.path.rpartition(".")[2] not in read]
    assert "no_such_setting" not in read


def test_every_error_says_what_it_means_and_is_in_the_reference() -> None:
    text = (REFERENCE / "errors.md").read_text()
    for kind in tree(errors.WherryError):
        assert kind.__doc__, f"{kind.__name__} has no docstring"
        shown = getattr(kind, "code", kind.__name__)
        assert f"{shown} " in text or f"`{shown}`" in text or kind is errors.RequestRefused, kind.__name__


def test_every_error_stands_in_the_tree_on_top() -> None:
    drawn = (errors.__doc__ or "").replace(",", " ").replace(":", " ").split()
    assert {kind.__name__ for kind in tree(errors.WherryError)} - set(drawn) == set()


def test_every_metric_is_in_the_reference() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    found = [value for name, value in vars(names).items() if name.startswith("METRIC_")]
    assert found
    for metric in found:
        assert f"`{metric}`" in text


def test_every_local_link_of_the_docs_leads_somewhere() -> None:
    import re

    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
