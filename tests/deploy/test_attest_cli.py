"""What build and deploy take on the command line for what lies beside an image, and what they say of bad input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attesting_parts import BASE, image, manifest, planned, pushed
from small_registry import SmallRegistry, small_registry

from wherry.cli import supply
from wherry.cli.console import Console
from wherry.cli.failures import NO, exit_code
from wherry.contract import settings
from wherry.contract.project import Project
from wherry.deploy import session
from wherry.deploy.attesting.verifying import verify
from wherry.errors import ImageUnsigned, KeyUnusable, TooVulnerable
from wherry.release.reference import Reference

Wherry = Callable[..., subprocess.CompletedProcess[str]]
KEYS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data/cosign/keys.json").read_text())
PUBLIC = json.loads((Path(__file__).parents[1] / "data/cosign/signatures.json").read_text())["public_key"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "none.conf"))
    monkeypatch.delenv("COSIGN_PASSWORD", raising=False)
    monkeypatch.setattr(session, "FIRST_WAIT_SECONDS", 0.0)
    return tmp_path


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with small_registry() as held:
        yield held


@pytest.fixture
def osv(tmp_path: Path) -> Path:
    """A database that knows something grave of thing-one and something light of the base's pip."""
    folder = tmp_path / "osv"
    folder.mkdir()
    for name, package, word in (("GHSA-1", "thing-one", "CRITICAL"), ("GHSA-2", "pip", "LOW")):
        affected = {"package": {"ecosystem": "PyPI", "name": package}, "versions": ["1.0", "23.0"]}
        entry = {"id": name, "affected": [affected], "database_specific": {"severity": word}}
        (folder / f"{name}.json").write_text(json.dumps(entry))
    return folder


def project(**table: Any) -> Project:
    return settings.resolve(table, {}, {}).project


def test_a_grave_vulnerability_keeps_the_image_from_being_built(
    registry: SmallRegistry, osv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(registry, image(registry, "library/base", "1", BASE))
    with Console() as console, pytest.raises(TooVulnerable, match=r"thing-one 1\.0: GHSA-1") as caught:
        supply.known(console, project(), osv, plan, "linux/amd64")
    said = capsys.readouterr().err
    assert "2 known vulnerabilities" in said
    assert "pip (of the base)" in said
    assert exit_code(caught.value) == NO == 4
    assert 'waived = ["GHSA-1"]' in caught.value.hint


@pytest.mark.parametrize(
    ("table", "grave"),
    [
        ({"severity": "low"}, {"thing-one 1.0": ("GHSA-1",), "pip 23.0": ("GHSA-2",)}),
        ({"severity": "critical"}, {"thing-one 1.0": ("GHSA-1",)}),
        ({"severity": "low", "waived": ["GHSA-1"]}, {"pip 23.0": ("GHSA-2",)}),
        ({"waived": ["GHSA-1"]}, {}),
        ({"severity": "never"}, {}),
    ],
)
def test_severity_and_waivers_decide(
    table: dict[str, Any], grave: dict[str, tuple[str, ...]], registry: SmallRegistry, osv: Path
) -> None:
    plan = planned(registry, image(registry, "library/base", "1", BASE))
    wanted = project(image=table)
    with Console(quiet=True) as console:
        if not grave:
            assert len(supply.known(console, wanted, osv, plan, "linux/amd64")) == 2
            return
        with pytest.raises(TooVulnerable) as caught:
            supply.known(console, wanted, osv, plan, "linux/amd64")
        assert caught.value.ids == grave


def test_without_a_database_nothing_is_looked_up(registry: SmallRegistry) -> None:
    plan = planned(registry, image(registry, "library/base", "1", BASE))
    asked = len(registry.asked)
    with Console(quiet=True) as console:
        assert supply.known(console, project(), supply.database(project()), plan, "linux/amd64") == ()
    assert len(registry.asked) == asked


def test_a_password_is_read_from_where_cosign_reads_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "cosign.key").write_text(KEYS["sigstore"])
    wanted = project(image={"sign": str(home / "cosign.key")})
    with Console(quiet=True) as console:
        with pytest.raises(KeyUnusable, match="asks for a password") as caught:
            supply.private_key(console, wanted)
        assert "COSIGN_PASSWORD" in caught.value.hint
        monkeypatch.setenv("COSIGN_PASSWORD", KEYS["password"])
        assert supply.private_key(console, wanted) is not None
        assert supply.private_key(console, project()) is None


def test_what_is_signed_is_what_is_verified(registry: SmallRegistry, home: Path) -> None:
    made, plan = pushed(registry)
    (home / "image.key").write_text(KEYS["p256"])
    with Console(quiet=True) as console:
        key = supply.private_key(console, project(image={"sign": str(home / "image.key")}))
        assert key is not None
        supply.signed(console, key, made)
        reference = Reference.parse(made.reference)
        assert supply.verified(console, project(), key.public, reference) == reference.pinned(made.digest)
        held = supply.attached(console, project(), plan, manifest(), home, made, "linux/amd64")
        assert held is not None
        assert held.sbom
        assert supply.attached(console, project(image={"attest": False}), plan, manifest(), home, made, "") is None
        moved = image(registry, "ferry", "1", BASE)
        with pytest.raises(ImageUnsigned, match=moved):
            verify(reference, key.public)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "--sign", "image.key"), "--sign signs what is in a registry; add --push"),
        (("build", "--push", "--sign", "none.key"), "none.key cannot be read: no such file or directory"),
        (("build", "--push", "--sign", "image.pub"), "is a public key; signing takes the private one"),
        (("build", "--severity", "worst"), "'worst' is not one of"),
        (("build", "--push", "--vulnerabilities", "none.zip"), "no such database of vulnerabilities: none.zip"),
        (("deploy", "--verify-key", "image.key"), "is a private key; verifying takes the public one"),
        (("deploy", "--verify-key", "none.pub"), "none.pub cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_said_before_anything_is_built(
    words: tuple[str, ...], said: str, wherry: Wherry, linear_bundle: Path, home: Path
) -> None:
    (home / "image.key").write_text(KEYS["p256"])
    (home / "image.pub").write_text(PUBLIC)
    verb, *flags = words
    # The base is at a port where nobody listens: what asks for it has gone too far.
    ran = wherry(verb, linear_bundle, "--image", "localhost:1/ferry", *flags, WHERRY_IMAGE_BASE="localhost:1/base:1")
    assert (ran.returncode, said in ran.stderr) == (2, True), ran.stderr
    assert "hint: " in ran.stderr


def test_good_input_goes_on_to_the_base(wherry: Wherry, linear_bundle: Path, home: Path) -> None:
    """The control of the above: what is all right is stopped by the base that is not there."""
    (home / "image.key").write_text(KEYS["p256"])
    flags = ("--push", "--sign", "image.key")
    ran = wherry("build", linear_bundle, "--image", "localhost:1/ferry", *flags, WHERRY_IMAGE_BASE="localhost:1/base:1")
    assert (ran.returncode, "localhost:1" in ran.stderr) == (1, True), ran.stderr
