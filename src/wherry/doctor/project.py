"""A project's folder, read once within limits: the files that a rule can say something about, by kind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import msgspec

from wherry.contract.names import MANIFEST_FILE
from wherry.doctor.commands import Command, commands_of
from wherry.doctor.dockerfile import Dockerfile
from wherry.doctor.documents import Document, documents_of
from wherry.doctor.notebook import python_of
from wherry.doctor.source import Source, source_of
from wherry.errors import FileMissing

MAX_FILES = 5_000
MAX_TEXT = 1 << 20
MAX_MODEL = 256 << 20
IGNORED = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", "site-packages", ".tox", ".nox", ".wherry"}
    | {".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints", ".idea", ".vscode", ".eggs"}
)
DOCKERFILE = re.compile(
    r"(?i)^(docker|container)file(\.(?!py$|md$|txt$|rs$|go$|js$|ts$).*)?$|\.(docker|container)file$"
)
TEXTS = frozenset({".py", ".ipynb", ".yaml", ".yml", ".txt", ".md", ".sh", ".toml", ".cfg", ".ini", ".html", ".env"})
TABLES = frozenset({".csv", ".tsv", ".json", ".parquet", ".jpg", ".jpeg", ".png", ".svg", ".gif", ".pdf", ".lock"})


class Text(msgspec.Struct, frozen=True, dict=True):
    """A file that holds text; path: below the project, with slashes."""

    path: str
    text: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()


class Project:
    """What lies in a folder. Each view is made when a rule first asks for it."""

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise FileMissing(str(root), "folder")
        self.root = root if root.is_dir() else root.parent
        self.notes: list[str] = []
        self.paths = [root] if root.is_file() else list(self.walk(root))

    def walk(self, root: Path) -> Iterator[Path]:
        """Regular files, in the order of their names; what git, an environment or a bundle holds is left out."""
        found = 0
        for where, folders, names in os.walk(root):
            here = Path(where)
            folders[:] = sorted(name for name in folders if not left_out(here / name))
            for name in sorted(names):
                path = here / name
                if path.is_symlink() or not path.is_file():
                    continue
                found += 1
                if found > MAX_FILES:
                    self.notes.append(f"more than {MAX_FILES:,} files: those behind {self.below(path)} were not read")
                    return
                yield path

    def below(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    @cached_property
    def texts(self) -> list[Text]:
        """Every file of text that is no table."""
        return [text for path in self.paths if path.suffix.lower() not in TABLES and (text := self.text(path))]

    def text(self, path: Path) -> Text | None:
        """The file as text; None when it is none. What cannot be read is noted."""
        known = path.suffix.lower() in TEXTS or bool(DOCKERFILE.search(path.name)) or path.name.startswith(".")
        try:
            size = path.stat().st_size
            if size > MAX_TEXT:
                if known:
                    self.notes.append(f"{self.below(path)} is larger than {MAX_TEXT:,} bytes and was not read")
                return None
            content = path.read_bytes()
        except OSError as error:
            self.notes.append(f"{self.below(path)} was not read: {(error.strerror or str(error)).lower()}")
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            if known:
                self.notes.append(f"{self.below(path)} was not read: it is not UTF-8")
            return None
        return None if "\0" in text else Text(self.below(path), text.replace("\r\n", "\n"))

    def named(self, *endings: str) -> list[Text]:
        return [text for text in self.texts if text.name.lower().endswith(endings)]

    @cached_property
    def sources(self) -> list[Source]:
        """Python: modules and the cells of notebooks. A line that cannot be read is left out, and noted."""
        found = [source_of(text.path, text.text) for text in self.named(".py")]
        for text in self.named(".ipynb"):
            code = python_of(text.text)
            if code is None:
                self.notes.append(f"{text.path} is no notebook that can be read")
            else:
                found.append(source_of(text.path, code.text, code.lines))
        self.notes.extend(note for source in found for note in source.notes)
        return found

    @cached_property
    def dockerfiles(self) -> list[Dockerfile]:
        return [Dockerfile(text.path, text.text) for text in self.texts if DOCKERFILE.search(text.name)]

    @cached_property
    def documents(self) -> list[Document]:
        """Every YAML document, read as far as it goes."""
        return [document for text in self.named(".yaml", ".yml") for document in documents_of(text.path, text.text)]

    @cached_property
    def commands(self) -> list[Command]:
        """What somebody types: scripts, blocks of READMEs, RUN lines, steps of a pipeline."""
        return list(commands_of(self))

    @property
    def requirements(self) -> list[Text]:
        return [text for text in self.named(".txt") if text.name.lower().startswith("requirements")]

    @cached_property
    def serves(self) -> bool:
        """Whether there is a service of Python's here."""
        return any(source.routes for source in self.sources)


def left_out(folder: Path) -> bool:
    if folder.name in IGNORED or folder.is_symlink():
        return True
    return (folder / "pyvenv.cfg").is_file() or (folder / MANIFEST_FILE).is_file()
