"""Runs a script of this folder with what it fuzzes compiled under gcc's sanitizers.

They are those of addresses and of undefined behaviour. Python takes all memory from malloc, so that one byte read
behind an object is seen.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FLAGS = ("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
WATCHED = ("-fsanitize=address,undefined", "-fno-sanitize-recover")
SUFFIX = ".abi3.so"


def run(about: str | None, sources: Sequence[Path], fuzz: Callable[..., str]) -> int:
    """The exit code of the script that was started, whose command line is [SECONDS] [--source FILE].

    sources: of what is compiled; FILE is read in place of the first. fuzz: is given the modules, seconds and a seed in
    another process, and returns what it did or raises AssertionError.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=60.0)
    parser.add_argument("--source", type=Path, default=sources[0])
    parser.add_argument("--modules", type=Path, help="where all is compiled already, and watched by whoever calls this")
    asked = parser.parse_args()
    names = [source.stem for source in sources]
    if asked.modules is None:
        with tempfile.TemporaryDirectory() as folder:
            for name, source in zip(names, (asked.source, *sources[1:]), strict=True):
                compile_watched(source, Path(folder, name + SUFFIX))
            return watched(Path(folder), asked.seconds)
    seed = time.time_ns()
    try:
        print(fuzz(*(loaded(asked.modules, name) for name in names), asked.seconds, seed))
    except AssertionError as error:
        print(f"broken, seed {seed}: {error}")
        return 1
    return 0


def compile_watched(source: Path, module: Path) -> None:
    include = sysconfig.get_paths()["include"]
    subprocess.run(["gcc", *FLAGS, *WATCHED, f"-I{include}", str(source), "-o", str(module)], check=True)


def loaded(folder: Path, name: str) -> Any:
    """The compiled module `name` in `folder`."""
    spec = importlib.util.spec_from_file_location(name, folder / (name + SUFFIX))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def watched(modules: Path, seconds: float) -> int:
    """The exit code of the script that was started, run again with the sanitizers."""
    libraries = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environ = os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:malloc_context_size=8",  # Python leaves some to its end; short traces for speed
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, sys.argv[0], str(seconds), "--modules", str(modules)]
    return subprocess.run(command, env=environ).returncode
