"""What `build` and `deploy` do beside the image: look for known vulnerabilities, attach documents, sign, verify."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from wherry.cli import table
from wherry.cli.console import Console
from wherry.cli.verb import stacked
from wherry.contract.events import Step
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.errors import FileMissing
from wherry.release.reference import Reference

if TYPE_CHECKING:
    from wherry.deploy.attesting.attaching import Attached
    from wherry.deploy.attesting.signing import PrivateKey, PublicKey
    from wherry.deploy.attesting.vulnerabilities import Known
    from wherry.deploy.builders import Built
    from wherry.release.image import ImagePlan

ENV_PASSWORD = "COSIGN_PASSWORD"
SUMMARY_LENGTH = 60

sign_option = click.option(
    "--sign",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY",
    help=f"Sign the pushed image with this private key, as cosign does; a password is read from {ENV_PASSWORD}.",
)
verify_option = click.option(
    "--verify-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY",
    help="Run nothing but an image that the owner of this public key has signed.",
)
attest_options = stacked(
    click.option("--attest/--no-attest", default=None, help="Attach SBOM and provenance to a pushed image."),
    sign_option,
    click.option(
        "--vulnerabilities",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Database of known vulnerabilities to look the packages up in: a folder or zip in OSV's format.",
    ),
    click.option(
        "--severity",
        type=click.Choice(["low", "medium", "high", "critical", "never"]),
        help="From which severity on a known vulnerability keeps the image from being built.",
    ),
)


def text(path: Path | None) -> str | None:
    """A path from a flag as settings hold it."""
    return None if path is None else str(path)


def private_key(console: Console, project: Project) -> PrivateKey | None:
    """The key to sign with, read before anything is built; None where nothing is signed. Raises KeyUnusable."""
    if not project.image.sign:
        return None
    from wherry.deploy.attesting.signing import PrivateKey
    from wherry.errors import KeyUnusable

    def password() -> str:
        if ENV_PASSWORD in os.environ:
            return os.environ[ENV_PASSWORD]
        if console.interactive:
            console.close()
            return str(click.prompt(f"password of {project.image.sign}", hide_input=True, err=True, default=""))
        raise KeyUnusable(project.image.sign, "asks for a password", f"{ENV_PASSWORD}=... wherry build")

    return PrivateKey.read(Path(project.image.sign), password)


def database(project: Project) -> Path | None:
    """The database to look packages up in, None where none is named. Raises FileMissing."""
    if not project.image.vulnerabilities:
        return None
    path = Path(project.image.vulnerabilities)
    if not path.exists():
        raise FileMissing(str(path), "database of vulnerabilities")
    return path


def known(console: Console, project: Project, source: Path | None, plan: ImagePlan, platform: str) -> tuple[Known, ...]:
    """The known vulnerabilities of what will be in the image, told; none looked for without a database.

    Raises TooVulnerable, DatabaseUnreadable.
    """
    if source is None:
        return ()
    from wherry.deploy.attesting import vulnerabilities
    from wherry.deploy.attesting.severity import Level
    from wherry.deploy.attesting.wanted import packages
    from wherry.errors import TooVulnerable

    waived = set(project.image.waived)
    console.tell(Step("looking for known vulnerabilities"))
    found = vulnerabilities.matches(source, packages(plan, platform, console.tell))
    if found:
        lines = "\n  ".join(listed(found, waived))
        count = "1 known vulnerability" if len(found) == 1 else f"{len(found):,} known vulnerabilities"
        console.note(f"{count} in the Python packages:\n  {lines}", warn=True)
    else:
        console.note("no known vulnerability in the Python packages")
    if project.image.severity == "never":
        return found
    limit = Level(project.image.severity).rank
    grave: dict[str, tuple[str, ...]] = {}
    for one in found:
        if one.severity.rank >= limit and not waived.intersection(one.ids):
            package = f"{one.package} {one.version}"
            grave[package] = (*grave.get(package, ()), one.ids[0])
    if grave:
        raise TooVulnerable(grave, project.image.severity)
    return found


def listed(found: tuple[Known, ...], waived: set[str]) -> Iterator[str]:
    """A line each, under a head."""
    rows = []
    for one in found:
        ids = ", ".join(one.ids[:2])
        name = f"{one.package} (of the base)" if one.where == "base" else one.package
        level = "waived" if waived.intersection(one.ids) else one.severity.value
        rows.append((name, one.version, ids, level, one.fixed or "nowhere", one.summary[:SUMMARY_LENGTH]))
    yield from table.lines(("package", "version", "known as", "severity", "fixed in", "what"), rows, width=0)


def attached(
    console: Console, project: Project, plan: ImagePlan, manifest: Manifest, bundle: Path, made: Built, platform: str
) -> Attached | None:
    """What was attached to the pushed image; None where that is not wanted."""
    if project.image.attest is False:
        return None
    from wherry.deploy import direct
    from wherry.deploy.attesting.attaching import attach
    from wherry.deploy.order import Order
    from wherry.deploy.pins import native_platform
    from wherry.errors import BuildFailed

    order = Order(plan, bundle, Reference.parse(made.reference), platform or native_platform())

    def again() -> str:
        try:
            return direct.compute(order).digest
        except BuildFailed:  # it is there, and can be run: that it cannot be built now is no reason to stop
            return ""

    return attach(
        made,
        plan,
        manifest,
        order.platform,
        reproduced=again,
        insist=project.image.attest is True,
        tell=console.tell,
    )


def signed(console: Console, key: PrivateKey, made: Built) -> None:
    """Sign the pushed image."""
    from wherry.deploy.attesting.signatures import sign

    reference = Reference.parse(made.reference)
    new = sign(reference, made.digest, key)
    console.note(f"signed {reference.pinned(made.digest)}" if new else f"{reference} is signed with this key already")


def public_key(project: Project) -> PublicKey | None:
    """The key whose owner must have signed what is run; None where anything is. Raises KeyUnusable."""
    if not project.deploy.verify_key:
        return None
    from wherry.deploy.attesting.signing import PublicKey

    return PublicKey.read(Path(project.deploy.verify_key))


def verified(console: Console, project: Project, key: PublicKey, reference: Reference) -> Reference:
    """The image by the digest whose signature was verified. Raises ImageUnverified and its kinds, RegistryFailed."""
    from wherry.deploy.attesting.verifying import verify

    proven = verify(reference, key)
    console.note(f"{proven} is signed with {project.deploy.verify_key}")
    return proven


class Made(msgspec.Struct, frozen=True):
    """An image with what was found about it and left beside it."""

    built: Built
    attached: Attached | None = None
    signed: bool = False
    known: tuple[Known, ...] = ()
