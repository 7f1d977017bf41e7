"""Known vulnerabilities of an image's Python packages, from a database in OSV's format that the user gives."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from wherry.deploy.attesting import severity
from wherry.deploy.attesting.sbom import normal
from wherry.deploy.attesting.severity import Level
from wherry.errors import DatabaseUnreadable, ExtraMissing

try:
    from packaging.version import InvalidVersion, Version
except ImportError as missing:
    raise ExtraMissing("packaging", "audit", "looking for known vulnerabilities") from missing

ECOSYSTEM = "PyPI"
PREFERRED = ("GHSA-", "PYSEC-", "CVE-")


class Event(msgspec.Struct, frozen=True):
    """Where a range of versions begins or ends."""

    introduced: str = ""
    fixed: str = ""
    last_affected: str = ""


class Range(msgspec.Struct, frozen=True):
    type: str
    events: tuple[Event, ...] = ()


class Named(msgspec.Struct, frozen=True):
    name: str = ""
    ecosystem: str = ""


class Affected(msgspec.Struct, frozen=True):
    """Which versions of one package."""

    package: Named = Named()
    ranges: tuple[Range, ...] = ()
    versions: tuple[str, ...] = ()
    severity: tuple[dict[str, Any], ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """One entry of the database, as far as it is read."""

    id: str
    aliases: tuple[str, ...] = ()
    summary: str = ""
    withdrawn: str = ""
    affected: tuple[Affected, ...] = ()
    severity: tuple[dict[str, Any], ...] = ()
    database_specific: dict[str, Any] = {}


class Known(msgspec.Struct, frozen=True):
    """A vulnerability of a package of the image. ids: every name that it has; fixed: the first version without it.

    where: `image` for what wherry put there, `base` for what the base brings.
    """

    package: str
    version: str
    where: str
    ids: tuple[str, ...]
    severity: Level
    fixed: str
    summary: str


def matches(database: Path, packages: Iterable[tuple[str, str, str]]) -> tuple[Known, ...]:
    """What the database knows of the packages, each (name, version, where); the worst first.

    Raises DatabaseUnreadable.
    """
    wanted: dict[str, list[tuple[str, str]]] = {}
    for name, version, where in packages:
        held = wanted.setdefault(normal(name), [])
        if (version, where) not in held:
            held.append((version, where))
    found: list[tuple[Entry, Known]] = []
    for entry in entries(database):
        for affected in entry.affected if not entry.withdrawn else ():
            for version, where in wanted.get(normal(affected.package.name), ()):
                if affected.package.ecosystem.partition(":")[0] == ECOSYSTEM and is_affected(version, affected):
                    found.append((entry, known(entry, affected, version, where)))
    return tuple(sorted(merged(found), key=lambda one: (-one.severity.rank, one.package, one.ids)))


def entries(database: Path) -> Iterator[Entry]:
    """Every entry of a folder, of a zip as osv.dev publishes them, or of one file. Raises DatabaseUnreadable."""
    read = 0
    for name, text in documents(database):
        try:
            yield msgspec.json.decode(text, type=Entry)
        except msgspec.DecodeError as error:
            raise DatabaseUnreadable(str(database), f"{name} is no entry in OSV's format: {error}") from error
        read += 1
    if not read:
        raise DatabaseUnreadable(str(database), "holds no .json file")


def documents(database: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if database.is_dir():
            for path in sorted(database.rglob("*.json")):
                yield path.name, path.read_bytes()
        elif zipfile.is_zipfile(database):
            with zipfile.ZipFile(database) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith(".json"):
                        yield name, archive.read(name)
        else:
            yield database.name, database.read_bytes()
    except (OSError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DatabaseUnreadable(str(database), f"cannot be read: {reason.lower()}") from error


def is_affected(version: str, affected: Affected) -> bool:
    """Whether a version is named, or lies in a range: as OSV's schema says it is to be evaluated."""
    if version in affected.versions:
        return True
    try:
        at = Version(version)
    except InvalidVersion:
        return False
    if any(at == one for one in map(parsed, affected.versions)):
        return True
    return any(one.type in ("ECOSYSTEM", "SEMVER") and within(at, one.events) for one in affected.ranges)


def within(at: Version, events: tuple[Event, ...]) -> bool:
    """Whether the version lies behind an `introduced` and before the `fixed` that follows it."""
    inside = False
    for event in sorted(events, key=place):
        point = place(event)[0]
        if event.introduced and at >= point:
            inside = True
        elif (event.fixed and at >= point) or (event.last_affected and at > point):
            inside = False
    return inside


def place(event: Event) -> tuple[Version, int]:
    """Where the event lies among the versions; at one version what is fixed comes first, what is last comes last."""
    text = event.introduced or event.fixed or event.last_affected
    return parsed(text) or Version("0.dev0"), 1 if event.introduced else 2 if event.last_affected else 0


def parsed(text: str) -> Version | None:
    """The version; None where it is `0`, which comes before all, or nothing that PEP 440 orders."""
    try:
        return Version(text) if text != "0" else None
    except InvalidVersion:
        return None


def known(entry: Entry, affected: Affected, version: str, where: str) -> Known:
    level = severity.of(entry.database_specific, (*affected.severity, *entry.severity))
    at = parsed(version)
    ends = [end for one in affected.ranges for event in one.events if (end := parsed(event.fixed)) and at and end > at]
    return Known(
        package=normal(affected.package.name),
        version=version,
        where=where,
        ids=(entry.id, *entry.aliases),
        severity=level,
        fixed=str(min(ends)) if ends else "",
        summary=re.sub(r"\s+", " ", entry.summary).strip(),
    )


def merged(found: list[tuple[Entry, Known]]) -> Iterator[Known]:
    """One for each vulnerability: databases publish the same under several names."""
    groups: list[tuple[set[str], Known]] = []
    for _, one in found:
        names, made = set(one.ids), one
        rest = []
        for held, before in groups:
            same = (before.package, before.version, before.where) == (one.package, one.version, one.where)
            if same and held & names:
                names, made = names | held, together(before, made)
            else:
                rest.append((held, before))
        groups = [*rest, (names, made)]
    for names, one in groups:
        yield msgspec.structs.replace(one, ids=tuple(sorted(names, key=lambda name: (order(name), name))))


def together(first: Known, second: Known) -> Known:
    """Two entries of one vulnerability: the worse severity that is stated, and what either knows."""
    stated = [one for one in (first.severity, second.severity) if one is not Level.unrated]
    return msgspec.structs.replace(
        first,
        severity=max(stated, key=lambda level: level.rank) if stated else Level.unrated,
        fixed=first.fixed or second.fixed,
        summary=first.summary or second.summary,
    )


def order(name: str) -> int:
    """Which of its names a vulnerability is called by first."""
    return next((number for number, start in enumerate(PREFERRED) if name.startswith(start)), len(PREFERRED))
