"""wherry.lock: resolved once, kept until what was asked for changes, never half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from wherry.contract.events import Event, Note
from wherry.deploy import pins
from wherry.deploy.lock import Lock, Packages, read, settle, write
from wherry.errors import LockUnreadable
from wherry.release.reference import Reference

DIGEST = "sha256:" + "e" * 64
LOCKED = ("numpy==2.0.0 --hash=sha256:" + "f" * 64,)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was resolved, in order; nothing is really asked."""
    made: list[str] = []

    def base(name: str, tell: object = None) -> Reference:
        made.append(name)
        return Reference.parse(name).pinned(DIGEST)

    def requirements(wanted: tuple[str, ...], python: str, platform: str) -> tuple[str, ...]:
        made.append(f"{' '.join(wanted)} {python} {platform}")
        return LOCKED

    monkeypatch.setattr(pins, "pin_base", base)
    monkeypatch.setattr(pins, "pin_requirements", requirements)
    return made


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    held = Lock({"python:3.11-slim": DIGEST}, {"3.11 linux/amd64": Packages(("numpy>=1", 'odd"name'), LOCKED)})
    write(tmp_path / "wherry.lock", held)
    assert read(tmp_path / "wherry.lock") == held
    assert [path.name for path in tmp_path.iterdir()] == ["wherry.lock"]
    assert read(tmp_path / "none.lock") == Lock()


def test_resolved_once_and_kept(tmp_path: Path, asked: list[str]) -> None:
    path = tmp_path / "wherry.lock"
    told: list[Event] = []
    first = settle(
        path, base="python:3.11-slim", wanted=("numpy>=1",), python="3.11", platform="linux/amd64", tell=told.append
    )
    assert str(first.base) == f"python@{DIGEST}"
    assert first.base_name == "python:3.11-slim"
    assert first.requirements == LOCKED[0] + "\n"
    assert [event.text for event in told if isinstance(event, Note)] == [f"wrote {path}: base and packages resolved"]
    before = path.read_bytes()
    again = settle(path, base="python:3.11-slim", wanted=("numpy>=1",), python="3.11", platform="linux/amd64")
    assert again == first
    assert path.read_bytes() == before
    assert asked == ["python:3.11-slim", "numpy>=1 3.11 linux/amd64"]


def test_only_what_changed_is_resolved_again(tmp_path: Path, asked: list[str]) -> None:
    path = tmp_path / "wherry.lock"
    for wanted, python, platform in [
        (("numpy>=1",), "3.11", "linux/amd64"),
        (("numpy>=1", "skops==1"), "3.11", "linux/amd64"),
        (("numpy>=1", "skops==1"), "3.11", "linux/arm64"),
    ]:
        settle(path, base="mine:1", wanted=wanted, python=python, platform=platform)
    assert asked == [
        "mine:1",
        "numpy>=1 3.11 linux/amd64",
        "numpy>=1 skops==1 3.11 linux/amd64",
        "numpy>=1 skops==1 3.11 linux/arm64",
    ]
    assert sorted(read(path).packages) == ["3.11 linux/amd64", "3.11 linux/arm64"]


def test_refreshing_resolves_again_and_tells_what_differs(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wherry.lock"
    given = {"base": "python:3.11-slim", "wanted": ("numpy>=1",), "python": "3.11", "platform": "linux/amd64"}
    told: list[Event] = []
    settle(path, **given)
    settle(path, **given, refresh=True, tell=told.append)
    assert len(asked) == 4
    assert [event.text for event in told if isinstance(event, Note)] == [
        "base and packages are as wherry.lock has them"
    ]
    newer = ("numpy==2.0.1 --hash=sha256:" + "a" * 64,)
    monkeypatch.setattr(pins, "pin_requirements", lambda *_: newer)
    monkeypatch.setattr(pins, "pin_base", lambda name, tell: Reference.parse(name).pinned("sha256:" + "1" * 64))
    settle(path, **given, refresh=True, tell=told.append)
    assert told[-1] == Note("the base is sha256:111111111111, no longer sha256:eeeeeeeeeeee; numpy 2.0.0 is 2.0.1")
    assert read(path).packages["3.11 linux/amd64"].locked == newer


@pytest.mark.parametrize(
    "text",
    ["version = 1\n[base]\nx = ", "version = 9\n", "version = 1\nbase = 3\n", 'version = 1\n[base]\nx = "latest"\n'],
)
def test_a_lock_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "wherry.lock"
    path.write_text(text)
    with pytest.raises(LockUnreadable) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint.startswith(f"rm {path}")


def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockUnreadable, match="cannot be written"):
        write(tmp_path / "no" / "wherry.lock", Lock())
