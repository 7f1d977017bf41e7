"""Wheels laid down: what goes where, what stays out, and byte code that is the same whoever compiles it."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from wherry.deploy import unpack

SOURCE = '''
"""A module."""
from functools import partial
SEEN = {"b", "a", "."} | frozenset({"x", "."})
def f(a, *, where="."):
    g = lambda b: [a + b + c for c in range(3) if a in {"one", "two", "three"}]
    return partial(g, a), f"{where!r}", (1, 2.5, None, "words of some length", b"bytes")
'''


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with one of everything."""
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    files = {
        "thing/__init__.py": SOURCE,
        "thing/tests/test_a.py": "x = 1",
        "thing/tool.so": "ELF",
        "thing/template.py": "not {% python %}",
        "numpy/tests/test_b.py": "x = 1",
        "numpy/core.pyi": "x: int",
        "numpy/_core/tests/_natype.py": "x = 1",
        "onnxruntime/capi/libonnxruntime.so.1": "ELF",
        "thing-1.0.data/purelib/pure.py": "y = 2",
        "thing-1.0.data/data/share/thing.txt": "text, with a comma",
        "thing-1.0.data/scripts/thing": "#!python\n",
        "thing-1.0.data/headers/thing.h": "int x;",
        "thing-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
        "thing-1.0.dist-info/entry_points.txt": "[console_scripts]\nthing = thing:f\n",
        "thing-1.0.dist-info/RECORD": "stale,,\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if name.endswith(".so") else 0o100664) << 16
            archive.writestr(entry, text)
    return path


def test_files_lie_where_pip_puts_them_and_dead_weight_stays_out(wheel: Path) -> None:
    laid = {file.path: file for file in unpack.files(wheel, "/opt/x", compiled=False)}
    assert sorted(laid) == [
        "numpy/_core/tests/_natype.py",
        "pure.py",
        "share/thing.txt",
        "thing-1.0.dist-info/METADATA",
        "thing-1.0.dist-info/RECORD",
        "thing-1.0.dist-info/entry_points.txt",
        "thing/__init__.py",
        "thing/template.py",
        "thing/tests/test_a.py",  # of a package that nobody has looked into, everything is kept
        "thing/tool.so",
    ]
    assert {path for path, file in laid.items() if file.mode == 0o755} == {"thing/tool.so"}
    assert {file.mode for file in laid.values()} == {0o755, 0o644}


def test_record_lists_what_is_there_with_its_hash(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    unpack.main(str(wheel.parent), str(target))
    distribution = importlib.metadata.PathDistribution(target / "thing-1.0.dist-info")
    listed = {str(file): file for file in distribution.files or ()}
    there = {
        str(path.relative_to(target))
        for path in target.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(listed) == there
    for name, file in listed.items():
        if file.hash is not None:
            digest = hashlib.sha256((target / name).read_bytes()).digest()
            assert file.hash.value == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_byte_code_runs_is_never_checked_and_names_its_place_in_the_image(wheel: Path) -> None:
    laid = {file.path: file for file in unpack.files(wheel, "/opt/x", compiled=True)}
    code = laid[f"thing/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"].content
    assert int.from_bytes(code[4:8], "little") == 1  # hash-based and unchecked
    assert not any("template" in path and path.endswith(".pyc") for path in laid)
    found = marshal.loads(code[16:])
    assert found.co_filename == "/opt/x/thing/__init__.py"
    space: dict[str, object] = {"__name__": "thing"}
    exec(found, space)
    assert "." in space["SEEN"]


def test_byte_code_is_the_same_whoever_compiles_it(wheel: Path, tmp_path: Path) -> None:
    """In another process, with other modules loaded and strings hashed otherwise: as a Docker build would."""
    found = []
    for seed, before in (("1", ""), ("2", "import json, email, http.client, decimal")):
        program = f"{before}\nimport sys; sys.path.insert(0, {str(Path(unpack.__file__).parent)!r})\n"
        program += f"import unpack\nfor file in unpack.files({str(wheel)!r}, '/opt/x', True): print(hash_of(file))"
        program = f"import hashlib\ndef hash_of(f): return f.path, hashlib.sha256(f.content).hexdigest()\n{program}"
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
        )
        found.append(ran.stdout)
    assert found[0] == found[1] != ""
    here = [(file.path, hashlib.sha256(file.content).hexdigest()) for file in unpack.files(wheel, "/opt/x", True)]
    assert "\n".join(map(str, here)) == found[0].strip()


@pytest.mark.parametrize("name", ["../out.py", "/etc/passwd", "a/../../b", "thing.data/data/../../x"])
def test_a_wheel_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ValueError, match="leads out of it"):
        list(unpack.files(path, "/opt/x", compiled=False))
