"""The child process of test_malicious: opens every file as pack, serve and inspect do, and counts what runs.

Prints one JSON line: what each way said of each file, the canaries that exist, and every audit event that no honest
reading of a file has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from wherry.errors import WherryError
from wherry.model.reading import known

FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "pty.spawn",
    "subprocess.Popen",
    "ctypes.dlopen",
)


def main(folder: Path) -> None:
    # What the libraries themselves need is loaded before anybody watches.
    import joblib  # noqa: F401  # imported before the hook watches
    import skops.io  # noqa: F401  # imported before the hook watches

    from wherry.model import inspect, pack
    from wherry.model.flavors.sklearn import restore  # noqa: F401  # imported before the hook watches
    from wherry.model.flavors.sklearn.describing import describe  # noqa: F401  # imported before the hook watches

    here = ["", ""]
    events: list[tuple[str, str, str]] = []

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if not here[0]:
            return
        if event in FORBIDDEN:
            events.append((here[0], here[1], event))
        if event == "pickle.find_class" and not known.is_known(*args[:2]):
            events.append((here[0], here[1], f"looked up {args[0]}.{args[1]}"))
        if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            events.append((here[0], here[1], f"opened {args[0]} to write"))

    sys.addaudithook(watch)
    said: dict[str, dict[str, str]] = {}
    ways = {
        "inspect": lambda path: inspect.inspect(path),
        "pack": lambda path: pack.pack_file(
            path, data=folder / "sample.csv", target=None, to=folder / "out" / "bundle"
        ),
        "serve": lambda path: pack.pack_file(path, data=None, target=None, to=folder / "out" / "bundle"),
    }
    for path in sorted(folder.glob("*.model")):
        said[path.stem] = {}
        for way, do in ways.items():
            here[:] = [path.stem, way]
            try:
                found = do(path)
                answer = getattr(found, "verdict", "loaded")
            except WherryError as error:
                answer = type(error).__name__
            except BaseException as error:  # anything else is a finding, and the list must go on
                answer = f"!{type(error).__name__}: {error}"
            here[:] = ["", ""]
            said[path.stem][way] = answer
    canaries = sorted(path.name for path in folder.glob("*.canary"))
    sys.stdout.write("\n" + json.dumps({"said": said, "canaries": canaries, "events": events}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
