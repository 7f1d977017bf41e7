"""The walkthroughs' listings as folders."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data" / "walkthroughs"
NUMBERS = tuple(range(5))


def files_of(number: int) -> dict[str, str]:
    """The files that a walkthrough prints, by path."""
    parts = (DATA / f"{number}.txt").read_text(encoding="utf-8").split("==== ")[1:]
    return {path: text for path, _, text in (part.partition("\n") for part in parts)}


def write(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def unpack(number: int, folder: Path) -> Path:
    """The walkthrough's project in `folder`."""
    return write(folder, files_of(number))
