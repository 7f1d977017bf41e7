"""The wheels that wherry.lock names, each held against its hash: downloaded once, by the pip of this environment."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from wherry.contract.events import Step, Tell, silent
from wherry.deploy import caches
from wherry.deploy.pins import platform_tags
from wherry.deploy.programs import run
from wherry.errors import BuildFailed, DiskFull, PipMissing, WheelMissing

LOCKED = re.compile(r"(?P<name>\S+)==(?P<version>\S+)(?: --hash=sha256:(?P<sha256>[0-9a-f]{64}))+")


class Wheel(msgspec.Struct, frozen=True):
    """A distribution of the image: its name, its version, the hash that the lock demands."""

    name: str
    version: str
    sha256: str

    @property
    def folder(self) -> Path:
        """Where the file lies once it was downloaded, under the name that its index gave it."""
        return caches.root() / "wheels" / self.sha256

    @property
    def file(self) -> Path | None:
        return next((caches.used(path) for path in self.folder.glob("*.whl")), None)

    def held_against(self, file: Path) -> None:
        """Raises BuildFailed when the file is not the one that the lock names: a cache can rot."""
        if digest_of(file) != self.sha256:
            raise BuildFailed(f"{file} is not what was downloaded as {self.name} {self.version}", hint=f"rm {file}")


def parse(requirements: str) -> tuple[Wheel, ...]:
    """The wheels that a requirements.txt with a hash a line names."""
    found = [match for line in requirements.splitlines() if (match := LOCKED.fullmatch(line.strip()))]
    return tuple(Wheel(match["name"], match["version"], match["sha256"]) for match in found)


def fetch(requirements: str, python: str, platform: str, tell: Tell = silent) -> tuple[tuple[Wheel, Path], ...]:
    """Every wheel of the requirements, and the file that holds it.

    Asks the index that pip is set up for, only for what is not in the cache. Raises PipMissing, WheelMissing, DiskFull,
    CacheUnusable.
    """
    wanted = parse(requirements)
    missing = tuple(wheel for wheel in wanted if wheel.file is None)
    if missing:
        text = f"downloading {len(missing)} of {len(wanted)} wheels"
        tell(Step(text))
        started = time.monotonic()
        download(missing, python, platform, tell)
        tell(Step(text, time.monotonic() - started))
    files = [(wheel, wheel.file) for wheel in wanted]
    gone = tuple(f"{wheel.name}=={wheel.version}" for wheel, file in files if file is None)
    if gone:
        raise WheelMissing(gone, python, platform)
    return tuple((wheel, file) for wheel, file in files if file is not None)


def download(missing: tuple[Wheel, ...], python: str, platform: str, tell: Tell) -> None:
    """Have pip download the wheels, and put each that has the hash into the cache."""
    home = caches.root() / "wheels"
    with caches.spoken(home / "new"):
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=home) as name:
            folder = Path(name)
            listed = folder / "requirements.txt"
            listed.write_text("".join(f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in missing))
            ran = run(
                [
                    *(sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps", "--quiet"),
                    *("--disable-pip-version-check", "--no-input", "--only-binary", ":all:"),
                    *("--implementation", "cp", "--python-version", python),
                    *(part for tag in platform_tags(platform) for part in ("--platform", tag)),
                    *("--dest", str(folder), "--requirement", str(listed)),
                ],
                source="pip",
                tell=tell,
                environ={"PYTHONWARNINGS": "ignore"},
            )
            if "No module named pip" in ran.text:
                raise PipMissing(sys.executable)
            if "No space left on device" in ran.text:
                raise DiskFull(str(home))
            if ran.status != 0:
                named = tuple(f"{w.name}=={w.version}" for w in missing if w.name.lower() in ran.text.lower())
                asked = named or tuple(f"{wheel.name}=={wheel.version}" for wheel in missing)
                raise WheelMissing(asked, python, platform, ran.last)
            for file in folder.glob("*.whl"):
                keep(file, missing)


def keep(file: Path, missing: tuple[Wheel, ...]) -> None:
    """Move a wheel into the cache if its hash is one that was asked for."""
    digest = digest_of(file)
    for wheel in missing:
        if wheel.sha256 == digest:
            with caches.writing(wheel.folder / file.name) as kept, file.open("rb") as stream:
                shutil.copyfileobj(stream, kept)


def digest_of(file: Path) -> str:
    """The sha-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
