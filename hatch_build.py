"""Compiles what wherry has in C where there is a compiler; the wheel is a pure one where there is none.

Python does the same work without it, in more steps, so no installation fails for it. WHERRY_PURE=1 leaves it out on
purpose; CC names the compiler.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = ("wherry/server/doors/_flat", "wherry/server/_quick")
FLAGS = ("-std=c11", "-O2", "-shared", "-fPIC", *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()))


class Compiled(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile: beside the source for an editable installation, else aside, as what a checkout holds may be old."""
        editable = version == "editable"
        self.aside = tempfile.TemporaryDirectory(prefix="wherry-")
        source = Path(self.root, "src")
        root = source if editable else Path(self.aside.name)
        made = {module: root / f"{module}.abi3.so" for module in MODULES}
        try:
            for path in made.values():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
            troubles = (compiled(source / f"{module}.c", path) for module, path in made.items())
            trouble = next(filter(None, troubles), "")  # one is not compiled without the other
        except OSError as error:
            trouble = str(error)
        if trouble:
            for path in made.values():
                path.unlink(missing_ok=True)
            self.app.display_warning(f"wherry without its part in C, whose work Python does: {trouble}")
        elif not editable:
            tag = sysconfig.get_platform().replace("universal2", platform.machine())
            build_data["tag"] = f"cp311-abi3-{tag.replace('-', '_').replace('.', '_')}"
            build_data["pure_python"] = False
            build_data["force_include"] |= {str(path): f"{module}.abi3.so" for module, path in made.items()}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self.aside.cleanup()


def compiled(source: Path, made: Path) -> str:
    """Make `made` of `source`; why it could not be made, in a line, empty when it was."""
    if os.environ.get("WHERRY_PURE") == "1":
        return "WHERRY_PURE=1"
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this Python lacks the stable ABI"
    names = [os.environ["CC"]] if os.environ.get("CC") else [sysconfig.get_config_var("CC") or "", "cc"]
    compiler = next((words for words in map(str.split, names) if words and shutil.which(words[0])), None)
    if compiler is None:
        return "no C compiler was found"
    command = [*compiler, *FLAGS, "-I", sysconfig.get_path("include"), str(source), "-o", str(made)]
    ran = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env={**os.environ, "LC_ALL": "C"}, check=False
    )
    if ran.returncode == 0:
        return ""
    made.unlink(missing_ok=True)
    return next((line for line in ran.stderr.splitlines() if "error" in line), f"{compiler[0]}: exit {ran.returncode}")
