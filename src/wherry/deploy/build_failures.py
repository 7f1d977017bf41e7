"""Why a builder failed, read from its last lines: the same few causes whatever the program."""

from __future__ import annotations

import re

from wherry.deploy.programs import Ran
from wherry.errors import BaseMissing, BuildFailed, DiskFull, RegistryFailed, RegistryRefused, WherryError

DISK = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
BASE = re.compile(
    r"pull access denied|manifest unknown|manifest for .* not found|failed to resolve source metadata|"
    r"repository .* (?:does not exist|not found)|initializing source docker://|short-name .* did not resolve",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"unauthorized|authentication required|no basic auth credentials|requested access .* denied|"
    r"denied: |403 forbidden|insufficient_scope",
    re.IGNORECASE,
)
UNREACHED = re.compile(
    r"connection refused|no such host|i/o timeout|TLS handshake|server gave HTTP response|dial tcp|EOF$|"
    r"connection reset|pinging container registry",
    re.IGNORECASE,
)
PACKAGES = re.compile(r"DO NOT MATCH THE HASHES|No matching distribution|pip\._vendor|Could not find a version")


def failed(builder: str, base: str, host: str, ran: Ran) -> WherryError:
    """The error that the builder's end amounts to, with the last lines that it printed."""
    said = next((line for line in reversed(ran.last) if line), f"it ended with {ran.status}")
    if DISK.search(ran.text):
        return DiskFull(f"what {builder} builds")
    if PACKAGES.search(ran.text):
        return BuildFailed(
            "pip could not install the locked packages in the image",
            lines=ran.last,
            hint="the base must be a glibc Linux with the bundle's Python, and reach the package index; "
            "to resolve the packages again, remove [packages] from wherry.lock",
        )
    if BASE.search(ran.text):
        return BaseMissing(base, f"{builder} says: {said}")
    if REFUSED.search(ran.text):
        return RegistryRefused(host, f"{builder} says: {said}", lines=ran.last[:-1])
    if UNREACHED.search(ran.text):
        return RegistryFailed(host, f"{builder} says: {said}", lines=ran.last[:-1])
    return BuildFailed(f"{builder} ended with {ran.status}", lines=ran.last, hint="wherry render --dockerfile")
