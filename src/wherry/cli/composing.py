"""A compose file and its secrets on disk: passwords are made once, are yours alone, and stay out of the repository."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.contract.project import Project
from wherry.errors import FileMissing, FileTaken

if TYPE_CHECKING:
    from wherry.release.composing.file import ComposeFile

PASSWORD_BYTES = 24
# Compose mounts the files as they are, and the containers' users are not yours: so the files may be read, and nobody
# but you can get to them, as the folder is yours alone.
FOLDER_MODE, FILE_MODE = 0o700, 0o444
IGNORED = "/.wherry/secrets/"
# Lines of a .gitignore that keep the folder out too.
ENOUGH = frozenset(
    {"*", *(f"{head}.wherry{tail}" for head in ("", "/") for tail in ("", "/", "/*", "/secrets", "/secrets/"))}
)


def check(target: Path) -> None:
    """Raises FileTaken when `target` holds what wherry did not write."""
    from wherry.release.composing.file import MARK

    if target.exists() and not (target.is_file() and target.read_text("utf-8", "replace").startswith(MARK)):
        raise FileTaken(str(target))


def write(target: Path, made: ComposeFile, project: Project) -> list[tuple[Path, bool]]:
    """Writes the file, then each secret that is not there; the secrets with whether they are new."""
    from wherry.release.composing.file import SECRETS_DIR

    target.parent.mkdir(parents=True, exist_ok=True)
    kept = []
    if made.secrets:
        folder = target.parent / SECRETS_DIR
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE)
        ignore(target.parent / ".gitignore")
        for one in made.secrets:
            path = folder / one.name
            if path.exists():
                kept.append((path, False))
            elif (content := content_of(one.source, made, project)) is not None:
                with path.open("x", encoding="utf-8") as file:
                    file.write(content)
                path.chmod(FILE_MODE)
                kept.append((path, True))
    target.write_text(made.text, encoding="utf-8")
    return kept


def content_of(source: str, made: ComposeFile, project: Project) -> str | None:
    """A password made now, or what the project holds; None where only the user knows it. Raises FileMissing."""
    if source == "store.url":
        return project.store.url
    if source == "serve.token_file":
        try:
            return Path(project.serve.token_file).read_text(encoding="utf-8")
        except OSError as error:
            raise FileMissing(
                project.serve.token_file, "file with the tokens", "[serve] token_file names it"
            ) from error
    return None if source == "yours" else secrets.token_urlsafe(PASSWORD_BYTES)


def lacking(target: Path, made: ComposeFile) -> Iterator[Path]:
    """The secrets that are named and not there."""
    from wherry.release.composing.file import SECRETS_DIR

    for one in made.secrets:
        path = target.parent / SECRETS_DIR / one.name
        if not path.exists():
            yield path


def ignore(path: Path) -> None:
    """Has git leave the secrets alone, by one line at most."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if ENOUGH.isdisjoint(line.strip() for line in text.splitlines()):
        path.write_text(text + ("" if not text or text.endswith("\n") else "\n") + f"{IGNORED}\n", encoding="utf-8")
