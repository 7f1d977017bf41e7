"""Known vulnerabilities from a database in OSV's format: which versions, how bad, where fixed."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attesting_parts import BASE, image, planned
from small_registry import small_registry

from wherry.deploy.attesting import severity, vulnerabilities
from wherry.deploy.attesting.severity import Level
from wherry.deploy.attesting.vulnerabilities import Known
from wherry.deploy.attesting.wanted import packages
from wherry.errors import DatabaseUnreadable

HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"


def entry(name: str = "GHSA-aaaa", package: str = "thing-one", **further: Any) -> dict[str, Any]:
    """One entry as osv.dev publishes it: everything below 1.5 unless `events` or `versions` say otherwise."""
    events = further.pop("events", [{"introduced": "0"}, {"fixed": "1.5"}])
    affected = {
        "package": {"ecosystem": further.pop("ecosystem", "PyPI"), "name": package},
        "ranges": [{"type": further.pop("kind", "ECOSYSTEM"), "events": events}] if events else [],
        "versions": further.pop("versions", []),
    }
    return {
        "schema_version": "1.6.0",
        "id": name,
        "modified": "2026-01-01T00:00:00Z",
        "affected": [affected],
        **further,
    }


def database(folder: Path, *entries: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for one in entries:
        (folder / f"{one['id']}.json").write_text(json.dumps(one))
    return folder


def matched(
    tmp_path: Path, *entries: dict[str, Any], version: str = "1.0", name: str = "thing-one"
) -> tuple[Known, ...]:
    return vulnerabilities.matches(database(tmp_path / "osv", *entries), [(name, version, "image")])


def test_a_match_says_package_version_names_severity_and_where_it_is_fixed(tmp_path: Path) -> None:
    stated = entry(aliases=["CVE-2026-1"], summary="It is\n wrong", database_specific={"severity": "MODERATE"})
    (known,) = matched(tmp_path, stated)
    assert known == Known("thing-one", "1.0", "image", ("GHSA-aaaa", "CVE-2026-1"), Level.medium, "1.5", "It is wrong")


@pytest.mark.parametrize(
    ("version", "events", "hit"),
    [
        ("1.0", [{"introduced": "0"}, {"fixed": "1.5"}], True),
        ("1.5", [{"introduced": "0"}, {"fixed": "1.5"}], False),
        ("1.5rc1", [{"introduced": "0"}, {"fixed": "1.5"}], True),
        ("1.5.post1", [{"introduced": "0"}, {"fixed": "1.5"}], False),
        ("1.10", [{"introduced": "1.9"}, {"fixed": "1.11"}], True),
        ("1.2", [{"introduced": "1.9"}, {"fixed": "1.11"}], False),
        ("1!0.1", [{"introduced": "0"}, {"fixed": "2.0"}], False),
        ("2.0", [{"introduced": "0"}], True),
        ("1.0", [{"introduced": "1.0"}, {"last_affected": "1.0"}], True),
        ("1.1", [{"introduced": "1.0"}, {"last_affected": "1.0"}], False),
        ("2.5", [{"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"fixed": "3.0"}], True),
        ("1.7", [{"introduced": "2.0"}, {"fixed": "3.0"}, {"introduced": "0"}, {"fixed": "1.5"}], False),
        ("1.0", [{"introduced": "0"}, {"fixed": "nonsense"}], True),
        ("not-a-version", [{"introduced": "0"}], False),
    ],
)
def test_ranges_are_those_of_pep_440(version: str, events: list[dict[str, str]], hit: bool, tmp_path: Path) -> None:
    assert bool(matched(tmp_path, entry(events=events), version=version)) is hit


def test_versions_that_are_named_are_affected(tmp_path: Path) -> None:
    named = entry(events=[], versions=["1.0.0", "2.0"])
    assert matched(tmp_path, named, version="1.0")
    assert matched(tmp_path, named, version="2.0")
    assert not matched(tmp_path, named, version="1.1")


@pytest.mark.parametrize(
    "other",
    [
        entry(package="another"),
        entry(ecosystem="npm"),
        entry(withdrawn="2026-02-01T00:00:00Z"),
        entry(kind="GIT", events=[{"introduced": "0"}]),
    ],
    ids=["package", "ecosystem", "withdrawn", "commits"],
)
def test_what_concerns_others_is_no_match(other: dict[str, Any], tmp_path: Path) -> None:
    assert matched(tmp_path, other) == ()
    assert matched(tmp_path, entry("GHSA-real"))


def test_names_are_compared_as_the_index_compares_them(tmp_path: Path) -> None:
    assert matched(tmp_path, entry(package="Thing_One"), name="thing.one")


def test_one_vulnerability_under_several_names_is_listed_once(tmp_path: Path) -> None:
    """PYSEC states no severity, GHSA does; each names the other."""
    first = entry("PYSEC-2026-1", aliases=["CVE-2026-1"], summary="From PYSEC")
    second = entry(
        "GHSA-aaaa", aliases=["CVE-2026-1"], database_specific={"severity": "CRITICAL"}, events=[{"introduced": "0"}]
    )
    third = entry("GHSA-bbbb", aliases=["CVE-2026-2"])
    worst, other = matched(tmp_path, first, second, third)
    assert worst.ids == ("GHSA-aaaa", "PYSEC-2026-1", "CVE-2026-1")
    assert (worst.severity, worst.fixed, worst.summary) == (Level.critical, "1.5", "From PYSEC")
    assert (other.ids[0], other.severity) == ("GHSA-bbbb", Level.unrated)


def test_the_next_version_that_is_fixed_is_named(tmp_path: Path) -> None:
    events = [
        {"introduced": "0"},
        {"fixed": "0.9"},
        {"introduced": "1.0"},
        {"fixed": "1.4"},
        {"introduced": "2"},
        {"fixed": "2.2"},
    ]
    assert matched(tmp_path, entry(events=events))[0].fixed == "1.4"
    assert matched(tmp_path, entry(events=[{"introduced": "0"}]))[0].fixed == ""


@pytest.mark.parametrize(
    ("vector", "score", "level"),
    [
        # From the examples of FIRST's specification of CVSS 3.1 and its calculator.
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4, Level.medium),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1, Level.medium),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, Level.critical),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0, Level.critical),
        (HIGH, 7.5, Level.high),
        ("CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", 1.8, Level.low),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1, Level.low),
        ("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 6.8, Level.medium),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0, Level.low),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None, Level.unrated),
        ("CVSS:3.1/AV:N", None, Level.unrated),
        ("7.5", None, Level.unrated),
    ],
)
def test_vectors_are_scored(vector: str, score: float | None, level: Level) -> None:
    assert severity.score(vector) == score
    assert severity.of({}, [{"type": "CVSS_V3", "score": vector}]) is level


def test_the_database_s_own_word_comes_first() -> None:
    assert severity.of({"severity": "LOW"}, [{"score": HIGH}]) is Level.low
    assert severity.of({"severity": "NOBODY KNOWS"}, [{"score": HIGH}]) is Level.high
    assert severity.of({}, []) is Level.unrated
    assert Level.unrated.rank == Level.high.rank


def test_folders_zips_and_single_files_are_read(tmp_path: Path) -> None:
    folder = database(tmp_path / "osv", entry())
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("GHSA-aaaa.json", json.dumps(entry()))
        archive.writestr("README", "no entry")
    for source in (folder, tmp_path / "all.zip", folder / "GHSA-aaaa.json"):
        assert len(vulnerabilities.matches(source, [("thing-one", "1.0", "image")])) == 1


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.json").write_text("nothing")
    (tmp_path / "other.json").write_text('{"name": "no id"}')
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    for name, words in {
        "empty": "holds no .json file",
        "none": "cannot be read: no such file",
        "text.json": "text.json is no entry in OSV's format",
        "other.json": "is no entry in OSV's format",
        "cut.zip": "is no entry in OSV's format",
    }.items():
        with pytest.raises(DatabaseUnreadable, match=words) as caught:
            vulnerabilities.matches(tmp_path / name, [("thing-one", "1.0", "image")])
        assert "osv.dev" in caught.value.hint


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "none.conf"))
    with small_registry() as held:
        yield held


def test_packages_are_those_of_the_lock_and_of_the_base(registry: Any) -> None:
    plan = planned(registry, image(registry, "library/base", "1", BASE))
    assert packages(plan, "linux/amd64") == (
        ("wherry", "0.1.0", "image"),
        ("thing-one", "1.0", "image"),
        ("old", "1", "base"),
        ("pip", "23.0", "base"),
    )


def test_without_the_library_the_extra_is_named() -> None:
    """In a process of its own, where importing it fails."""
    program = """
import sys
sys.modules["packaging.version"] = None
from wherry.errors import ExtraMissing
try:
    import wherry.deploy.attesting.vulnerabilities
except ExtraMissing as error:
    print(error.hint)
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'wherry[audit]'" in child.stdout
