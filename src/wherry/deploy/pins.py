"""The base image and the packages as they are right now: a digest for the one, a hash for each of the others."""

from __future__ import annotations

import hashlib
import json
import platform as machine
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from wherry.contract.events import Note, Tell, silent
from wherry.deploy import registry
from wherry.deploy.programs import present, run
from wherry.errors import BaseMissing, PipMissing, RegistryFailed, RequirementsUnresolved
from wherry.release.reference import Reference

ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
# glibc of the oldest base that is reckoned with is 2.34; a wheel for an older one runs on it too.
NEWEST_GLIBC = 34
OLDEST_GLIBC = 5
LEGACY_TAGS = {"x86_64": ("manylinux2014", "manylinux2010", "manylinux1"), "aarch64": ("manylinux2014",)}
DOCKER_SECONDS = 20.0


def native_platform() -> str:
    """This machine's platform as images name it: linux/amd64, linux/arm64."""
    found = machine.machine().lower()
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return f"linux/{names.get(found, found)}"


def pin_base(base: str, tell: Tell = silent) -> Reference:
    """`base` by its digest: from its registry, or from the local Docker daemon where no registry answers.

    Raises BaseMissing, ImageNameRefused.
    """
    reference = Reference.parse(base)
    if reference.digest:
        return reference.pinned(reference.digest)
    try:
        found = registry.digest(reference)
    except RegistryFailed as error:
        local = local_digest(reference)
        if local is None:
            raise BaseMissing(base, str(error)) from error
        tell(Note(f"{error}; the base's digest comes from the local Docker daemon", warn=True))
        return reference.pinned(local)
    if found is None:
        local = local_digest(reference)
        if local is None:
            raise BaseMissing(base, f"{reference.host} has no {reference.path}:{reference.tag or 'latest'}")
        return reference.pinned(local)
    return reference.pinned(found)


def local_digest(reference: Reference) -> str | None:
    """The registry's digest of an image that the local Docker daemon once pulled; None when it holds none."""
    if not present("docker"):
        return None
    asked = run(
        ["docker", "image", "inspect", "--format", "{{json .RepoDigests}}", str(reference)],
        source="docker",
        timeout=DOCKER_SECONDS,
    )
    if asked.status != 0:
        return None
    try:
        found = [Reference.parse(text) for text in json.loads(asked.text) or ()]
    except ValueError:
        return None
    return next((held.digest for held in found if (held.host, held.path) == (reference.host, reference.path)), None)


def pin_requirements(wanted: tuple[str, ...], python: str, platform: str) -> tuple[str, ...]:
    """Each distribution that `wanted` comes to, as NAME==VERSION --hash=sha256:..., sorted by name.

    Asks the package index that pip is set up for, and installs nothing. Raises PipMissing, RequirementsUnresolved.
    """
    with tempfile.TemporaryDirectory(prefix="wherry-") as folder:
        report = Path(folder) / "report.json"
        ran = run(
            [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"),
                # Not quiet: what does not go together with what is told there alone.
                *("--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--only-binary", ":all:"),
                *("--implementation", "cp", "--python-version", python),
                *(part for tag in platform_tags(platform) for part in ("--platform", tag)),
                *("--target", str(Path(folder) / "nothing"), "--report", str(report), *wanted),
            ],
            source="pip",
            environ={"PYTHONWARNINGS": "ignore"},
        )
        if "No module named pip" in ran.text:
            raise PipMissing(sys.executable)
        if ran.status != 0:
            raise RequirementsUnresolved(wanted, python, platform, ran.last)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    lines = []
    for item in found:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        digest = digest_of(item["download_info"])
        lines.append(f"{name.lower().replace('_', '-')}=={version} --hash=sha256:{digest}")
    return tuple(sorted(lines))


def digest_of(download: dict[str, Any]) -> str:
    """The sha-256 of a file that pip chose. pip 23.1 says `hashes`; before it, `hash`, and of a local file nothing."""
    said = download["archive_info"]
    if "hashes" in said:
        return str(said["hashes"]["sha256"])
    if "hash" in said:
        return str(said["hash"]).removeprefix("sha256=")
    return hashlib.sha256(Path(url2pathname(urlsplit(download["url"]).path)).read_bytes()).hexdigest()


def platform_tags(platform: str) -> tuple[str, ...]:
    """The wheel tags that an image of the platform can use, newest first."""
    found = architecture(platform)
    modern = tuple(f"manylinux_2_{minor}_{found}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1))
    legacy = tuple(f"{tag}_{found}" for tag in LEGACY_TAGS.get(found, ()))
    return modern + legacy


def architecture(platform: str) -> str:
    """The platform's architecture as wheels and kernels name it: x86_64 of linux/amd64."""
    name = platform.rpartition("/")[2]
    return ARCHITECTURES.get(name, name)
