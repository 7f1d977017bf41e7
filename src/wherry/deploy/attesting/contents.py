"""What lies in an image: the packages that it names, and the model's files. Each layer is read once."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from email.parser import BytesHeaderParser
from functools import partial
from typing import IO, Literal

import msgspec

from wherry.contract.events import Step, Tell, silent
from wherry.contract.names import IMAGE_BUNDLE
from wherry.deploy import bases, caches
from wherry.deploy.bases import Base, Blob
from wherry.deploy.uploads import key
from wherry.errors import BuildFailed

# Raised when layers are to be read again, because more is looked for.
READING = "1"
CHUNK = 1 << 20
LARGEST = 4 << 20  # no description of a package is larger
MARK, OPAQUE = ".wh.", ".wh..wh..opq"
INFO = re.compile(r"(?P<folder>(?:.*/)?[^/]+\.(?:dist|egg)-info)(?:/(?P<file>[^/]+))?")
DPKG = re.compile(r"var/lib/dpkg/status(?:\.d/[^/]+)?")
RELEASES = ("etc/os-release", "usr/lib/os-release")
BUNDLE = IMAGE_BUNDLE.lstrip("/") + "/"


class Package(msgspec.Struct, frozen=True):
    """Something that is installed. path: where the image says so; licence: as its maker states it.

    stated: whether the licence is an SPDX expression, or a name that anybody may have written.
    """

    kind: Literal["pypi", "deb"]
    name: str
    version: str
    path: str
    licence: str = ""
    stated: Literal["expression", "name"] = "name"
    architecture: str = ""


class Held(msgspec.Struct, frozen=True):
    """What one layer says, or several laid over each other. Keys are paths without a leading slash.

    files: of the bundle, path beneath it to sha-256; gone: paths that the layer removes, with a slash at the end where
    the folder itself stays.
    """

    packages: dict[str, tuple[Package, ...]] = {}
    files: dict[str, str] = {}
    release: dict[str, str] = {}
    gone: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[Package, ...]:
        """All packages, by kind, name and path."""
        found = [package for held in self.packages.values() for package in held]
        return tuple(sorted(found, key=lambda package: (package.kind != "pypi", package.name.lower(), package.path)))

    def under(self, above: Held) -> Held:
        """This, and `above` laid over it."""
        packages = {path: held for path, held in self.packages.items() if not removed(path, above.gone)}
        files = {path: digest for path, digest in self.files.items() if not removed(BUNDLE + path, above.gone)}
        return Held({**packages, **above.packages}, {**files, **above.files}, {**self.release, **above.release})


def removed(path: str, gone: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith(one if one.endswith("/") else f"{one}/") for one in gone)


def of_image(image: Base, tell: Tell = silent) -> Held:
    """What all layers of the image come to. Raises RegistryFailed, BuildFailed, DiskFull, CacheUnusable."""
    found = Held()
    for blob in image.layers:
        found = found.under(of_layer(image, blob, tell))
    return found


def of_layer(image: Base, blob: Blob, tell: Tell = silent) -> Held:
    """What a layer says; read from its blob once, remembered from then on."""
    name = key("contents", READING, blob.digest)
    known: Held | None = caches.recall("contents", name, Held)
    if known is not None:
        caches.used(caches.note("contents", name))
        return known
    tell(Step(f"reading the layer {blob.digest[7:19]} of {image.reference.path}"))
    bases.pull(image, blob, tell)
    try:
        with caches.blob(blob.digest).open("rb") as file:
            found = read(file)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        reason = f"its layer {blob.digest} ({blob.media}) cannot be read: {error}"
        raise BuildFailed(f"what {image.reference} holds is not known: {reason}") from error
    caches.remember("contents", name, found)
    return found


def read(layer: IO[bytes]) -> Held:
    """What the tar archive, compressed or not, says of packages and of the bundle."""
    packages: dict[str, tuple[Package, ...]] = {}
    files: dict[str, str] = {}
    release: dict[str, str] = {}
    gone: list[str] = []
    with tarfile.open(fileobj=layer, mode="r:*") as archive:
        for info in archive:
            path = info.name.removeprefix("./").strip("/")
            folder, _, name = path.rpartition("/")
            if name.startswith(MARK):
                gone.append(f"{folder}/{'' if name == OPAQUE else name.removeprefix(MARK)}".lstrip("/"))
                continue
            stream = archive.extractfile(info) if info.isreg() else None
            if stream is None:
                continue
            if path.startswith(BUNDLE):
                files[path.removeprefix(BUNDLE)] = digest_of(stream)
            elif path in RELEASES:
                release.update(released(stream.read(LARGEST)))
            elif DPKG.fullmatch(path):
                packages[path] = of_dpkg(stream.read(LARGEST), path)
            elif found := INFO.fullmatch(path):
                described = found["file"] in ("METADATA", "PKG-INFO", None)
                if described or found["folder"] not in packages:
                    text = stream.read(LARGEST) if described else b""
                    packages[found["folder"]] = (distribution(text, found["folder"]),)
    return Held(packages, files, release, tuple(gone))


def digest_of(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in iter(partial(stream.read, CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()


def distribution(text: bytes, folder: str) -> Package:
    """A Python distribution: as METADATA describes it, as far as that is there, else as its folder is called."""
    headers = BytesHeaderParser().parsebytes(text)
    name, _, version = folder.rpartition("/")[2].rpartition(".")[0].partition("-")
    expression = str(headers.get("License-Expression") or "").strip()
    licence = expression or named_licence(str(headers.get("License") or ""), headers.get_all("Classifier") or [])
    return Package(
        "pypi",
        str(headers.get("Name") or name).strip(),
        str(headers.get("Version") or version).strip(),
        f"/{folder}",
        licence,
        "expression" if expression else "name",
    )


def named_licence(text: str, classifiers: list[str]) -> str:
    """The licence in a few words: the field where it has but one line, else what the classifiers say."""
    said = [str(one).split(" :: ")[-1].strip() for one in classifiers if str(one).startswith("License :: ")]
    lines = text.strip().splitlines()
    if len(lines) == 1 and 0 < len(lines[0]) < 100 and lines[0].strip().upper() != "UNKNOWN":
        return lines[0].strip()
    return ", ".join(one for one in said if one != "OSI Approved")


def of_dpkg(text: bytes, path: str) -> tuple[Package, ...]:
    """The Debian packages that a status file says are installed."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text.decode("utf-8", "replace")):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.+)$", paragraph, re.MULTILINE))
        if "Package" in fields and fields.get("Status", "install ok installed").endswith(" installed"):
            version, architecture = fields.get("Version", ""), fields.get("Architecture", "")
            found.append(Package("deb", fields["Package"], version, f"/{path}", architecture=architecture))
    return tuple(found)


def released(text: bytes) -> dict[str, str]:
    """What os-release says of the distribution: ID, VERSION_ID."""
    lines = re.findall(r"^(ID|VERSION_ID)=(.*)$", text.decode("utf-8", "replace"), re.MULTILINE)
    return {name: value.strip("\"'") for name, value in lines}
