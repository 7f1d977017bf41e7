"""Every block of the README and of docs/ is run or checked, so that what they say stays true.

The words after a block's language say what it is:

    sh               run in the user's folder, the document's blocks in their order; it must succeed
    sh serve         a service: run in the background until the document ends; what follows waits until it is ready
    sh cluster       run only where there is a cluster
    sh clone         typed in a clone of the repository: scripts/fresh-clone-test runs it in a clean Debian
    python           run in the user's folder
    toml             settings: written to wherry.toml for what follows, and accepted without a warning
    json             read as JSON; `json reply`: what the block before it printed
    text             shown only; `text output`: each line stands in what the block before it printed
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.contract.settings import resolve

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "examples").rglob("README.md")),
    # requests.md is run line by line against services of its own, by tests/server/test_requests_page.py
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if "reference" not in p.parts and p.name != "requests.md"),
]
FENCE = re.compile(r"^```(?P<tag>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {
    *("sh", "sh serve", "sh cluster", "sh clone", "python", "toml", "json", "json reply", "text", "text output"),
}


@dataclasses.dataclass(frozen=True)
class Block:
    document: Path
    line: int
    tag: str
    body: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line} ({self.tag})"


def blocks(document: Path) -> list[Block]:
    text = document.read_text()
    return [
        Block(document, text.count("\n", 0, match.start()) + 1, match["tag"].strip(), match["body"])
        for match in FENCE.finditer(text)
    ]


def needs_running(document: Path) -> bool:
    return any(block.tag.split()[0] in ("sh", "python") for block in blocks(document) if block.tag != "sh clone")


def has_cluster(document: Path) -> bool:
    return any(block.tag == "sh cluster" for block in blocks(document))


def called(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=called)
def test_every_block_says_what_it_is(document: Path) -> None:
    assert [str(block) for block in blocks(document) if block.tag not in KNOWN] == []
    assert document.read_text().count("\n```") % 2 == 0, "a block is not closed"


@pytest.mark.parametrize("document", DOCUMENTS, ids=called)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCE.sub("", document.read_text()))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=called)
def test_data_blocks_are_read_as_what_they_are(document: Path) -> None:
    for block in blocks(document):
        if block.tag == "toml":
            assert resolve(tomllib.loads(block.body), {}, {}).warnings == (), str(block)
        elif block.tag.startswith("json"):
            json.loads(block.body)


def test_a_clone_s_commands_are_those_that_the_clean_debian_runs() -> None:
    script = (ROOT / "scripts" / "fresh-clone-test").read_text()
    typed = [line for block in blocks(ROOT / "README.md") if block.tag == "sh clone" for line in commands(block)]
    ours = [line for line in typed if line.startswith("./dev ")]
    assert ours == ["./dev demo", "./dev test"]
    assert all(f"(in_debian {line})" in script for line in ours)


def commands(block: Block) -> list[str]:
    """The block's lines without comments and blanks."""
    lines = (re.sub(r"\s+#.*$", "", line).strip() for line in block.body.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


# --- running them -------------------------------------------------------------------------------------------------


class Reader:
    """A user who types a document's blocks, one after the other, in a folder of their own."""

    def __init__(self, folder: Path, port: int, forking: Any, environ: dict[str, str], rewrite: dict[str, str]) -> None:
        """forking: what a `wherry` that is typed is forked by."""
        self.folder = folder
        self.passed = [forking.ours.fileno()]
        self.port = port
        here = f"127.0.0.1:{port}"
        ports = {f"{host}:{old}": f"{host}:{port}" for host in ("127.0.0.1", "localhost") for old in (8080, 8000)}
        self.rewrite = ports | {"127.0.0.1:5000": here} | rewrite  # localhost:5000 is a registry's
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"WHERRY_SERVE_DRAIN_SECONDS": "0.1", "PATH": programs, "PORT": str(port), "COLUMNS": "120"}
        (folder.parent / "bin").mkdir(exist_ok=True)
        self.environ = {**kept, **own, **environ, **forking.shell(folder.parent / "bin")}
        self.services: list[subprocess.Popen[bytes]] = []
        self.printed = ""

    def read(self, block: Block) -> None:
        text = block.body
        for said, meant in self.rewrite.items():
            text = text.replace(said, meant)
        if "curl" in text and block.tag.startswith("sh") and not shutil.which("curl"):
            pytest.skip(f"needs curl: {block}")
        if block.tag in ("sh", "sh cluster"):
            self.run(["bash", "-euo", "pipefail", "-c", text], block)
        elif block.tag == "python":
            self.run([sys.executable, "-c", text], block)
        elif block.tag == "sh serve":
            self.serve(text, block)
        elif block.tag == "toml":
            (self.folder / "wherry.toml").write_text(text)
        elif block.tag == "text output":
            missing = [line for line in text.splitlines() if squeezed(line) not in squeezed(self.printed)]
            assert missing == [], f"{block}: not in what was printed:\n{self.printed}"
        elif block.tag == "json reply":
            assert json.loads(text) == json.loads(self.printed), f"{block}: {self.printed}"

    def run(self, argv: list[str], block: Block) -> None:
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environ,
            pass_fds=self.passed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        self.printed = done.stdout
        assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"

    def serve(self, text: str, block: Block) -> None:
        self.stop()
        log = self.folder / ".serve.log"
        with log.open("wb") as sink:
            service = subprocess.Popen(
                ["bash", "-c", f"exec {text}"],
                cwd=self.folder,
                env=self.environ,
                pass_fds=self.passed,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        self.services.append(service)
        deadline = time.monotonic() + PATIENCE
        while not answers(f"http://127.0.0.1:{self.port}/readyz"):
            assert service.poll() is None, f"{block} ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{block} is not ready:\n{log.read_text()}"
            time.sleep(0.05)

    def stop(self) -> None:
        while self.services:
            service = self.services.pop()
            service.terminate()
            service.wait(PATIENCE)


def answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def squeezed(text: str) -> str:
    """Without colours, and with single blanks: how wide a column is printed does not matter."""
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text)).strip()


@pytest.fixture
def user(
    tmp_path: Path, breast_cancer: Path, free_ports: Callable[[int], list[int]], forking: Any
) -> Iterator[Callable[..., Reader]]:
    """A folder with a trained model.joblib and its train.csv, as in the README's story; an example's is its own."""
    readers: list[Reader] = []

    def reader(document: Path, environ: dict[str, str] | None = None, rewrite: dict[str, str] | None = None) -> Reader:
        folder = tmp_path / "project"
        if document.is_relative_to(ROOT / "examples"):
            shutil.copytree(document.parent, folder, ignore=shutil.ignore_patterns("README.md", "__pycache__"))
        else:
            folder.mkdir()
            shutil.copy(breast_cancer / "model" / "model_binary.dat.gz", folder / "model.joblib")
            shutil.copy(breast_cancer / "train.csv", folder / "train.csv")
        readers.append(Reader(folder, free_ports(1)[0], forking, environ or {}, rewrite or {}))
        return readers[-1]

    yield reader
    for each in readers:
        each.stop()


# An example's blocks are run by tests/test_examples.py, in the folder that `wherry example` makes; those that need
# a cluster, by tests/scripts/test_story.py.
OURS = [path for path in DOCUMENTS if needs_running(path) and not path.is_relative_to(ROOT / "examples")]


@pytest.mark.parametrize("document", OURS, ids=called)
def test_blocks_run(document: Path, user: Callable[..., Reader]) -> None:
    reader = user(document)
    for block in blocks(document):
        if block.tag != "sh cluster":
            reader.read(block)
        else:
            reader.printed = ""


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("document", [path for path in OURS if has_cluster(path)], ids=called)
def test_blocks_run_with_a_cluster(
    document: Path, user: Callable[..., Reader], cluster: Any, registry: str, namespace: str, tmp_path: Path
) -> None:
    """The same, with the deploys: into a namespace of the test's own, by a kubeconfig whose context says so."""
    config = json.loads(cluster.kubeconfig.read_text())
    for entry in config["contexts"]:
        entry["context"]["namespace"] = namespace
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    reader = user(document, {"KUBECONFIG": str(kubeconfig)}, {"localhost:5000": registry})
    for block in blocks(document):
        reader.read(block)
