"""The builder without a daemon, against a small registry that can be made to fail."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import importlib.util
import io
import json
import os
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from wherry.contract import settings
from wherry.contract.events import Event, Note, Progress
from wherry.contract.manifest import Conversion, Golden, Manifest, Measured, Origin, Requirements
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.deploy import builders, caches, direct, explain, layers, session, uploads, wheels
from wherry.deploy.builders import Built, build
from wherry.errors import (
    BaseMissing,
    BaseUnfit,
    BuildFailed,
    CacheUnusable,
    DiskFull,
    FileMissing,
    NoBuilder,
    RegistryFailed,
    RegistryRefused,
    RepositoryMissing,
    SettingsRefused,
    WheelMissing,
)
from wherry.release.image import ImagePlan, plan
from wherry.release.reference import Reference

found = importlib.util.spec_from_file_location("small_registry", Path(__file__).with_name("small_registry.py"))
assert found is not None
assert found.loader is not None
sys.modules["small_registry"] = helper = importlib.util.module_from_spec(found)
found.loader.exec_module(helper)
SmallRegistry = Any  # helper.SmallRegistry, loaded from its path

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
Make = Callable[..., ImagePlan]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with an empty cache, no credentials, no mirrors and no Docker; nothing is waited for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "none.conf"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(session, "FIRST_WAIT_SECONDS", 0.0)
    return tmp_path


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with helper.small_registry() as held:
        yield held


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, text in {"manifest.json": "{}", "model.npz": "weights" * 1000, "example.json": "{}"}.items():
        (folder / name).write_text(text)
    return folder


def manifest_of(bundle: Path) -> Manifest:
    return Manifest(
        format=1,
        name="ferry",
        version="1",
        digest=hashlib.sha256((bundle / "model.npz").read_bytes()).hexdigest(),
        flavor="linear",
        model="model.npz",
        signature=Signature(columns=(Column("a", "number"),), output=OutputSpec("class", "integer", classes=(0, 1))),
        golden=Golden("golden.json", 1),
        baseline="baseline.json",
        requirements=Requirements(HERE, {}),
        files={"model.npz": "", "example.json": ""},
        origin=Origin("LogisticRegression"),
        conversion=Conversion("linear"),
        measured=Measured(0.1, 1),
    )


@pytest.fixture
def locked(home: Path) -> str:
    """One small wheel, downloaded already; its line of requirements.txt."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        # As large as several pieces of an upload, and no smaller when it is compressed.
        noise = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(20_000))
        for name, content in {"thing.py": b"x = 1\n", "noise.bin": noise, "thing-1.0.dist-info/RECORD": b""}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    with caches.writing(caches.root() / "wheels" / digest / "thing-1.0-py3-none-any.whl") as file:
        file.write(packed.getvalue())
    return f"thing==1.0 --hash=sha256:{digest}\n"


def small_wheel() -> bytes:
    """What stands for wherry itself: the real one takes a while to compile."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("wherry/__init__.py", "wherry/server/run.py", "wherry-0.1.0.dist-info/RECORD"):
            archive.writestr(zipfile.ZipInfo(name), "")
    return packed.getvalue()


@pytest.fixture
def make(registry: SmallRegistry, bundle: Path, locked: str) -> Make:
    """The plan of the bundle's image on the small registry's base."""

    def made(base: str = "", *, folder: Path = bundle, requirements: str = locked) -> ImagePlan:
        digest = base or registry.base()
        return plan(
            settings.resolve({}, {}, {}).project,
            manifest_of(folder),
            base=f"{registry.address}/library/base@{digest}",
            requirements=requirements,
            wheel=("wherry-0.1.0-py3-none-any.whl", small_wheel()),
            unpack=builders.program(),
        )

    return made


def pushed(
    registry: SmallRegistry, planned: ImagePlan, bundle: Path, to: str = "ferry", told: list[Event] | None = None
) -> Built:
    tell = (told if told is not None else []).append
    return build(planned, bundle, f"{registry.address}/{to}", builder="direct", platform="linux/amd64", tell=tell)


def document(registry: SmallRegistry, made: Built, repository: str = "ferry") -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the configuration as the registry has them."""
    manifest = json.loads(registry.manifests[repository, made.digest][1])
    return manifest, json.loads(registry.blobs[repository, manifest["config"]["digest"]])


def names(registry: SmallRegistry, manifest: dict[str, Any], number: int) -> dict[str, tarfile.TarInfo]:
    content = registry.blobs["ferry", manifest["layers"][number]["digest"]]
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {info.name: info for info in archive}


def test_layers_lie_on_the_base_in_the_order_in_which_they_change(
    registry: SmallRegistry, make: Make, bundle: Path
) -> None:
    manifest, config = document(registry, pushed(registry, make(), bundle))
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 4
    assert "opt/libraries/thing.py" in names(registry, manifest, 1)
    own = names(registry, manifest, 2)
    assert "opt/wherry/wherry/server/run.py" in own
    assert (own["var/spool/wherry"].uid, own["var/spool/wherry"].mode) == (10001, 0o755)
    model = names(registry, manifest, 3)
    assert [name for name, info in model.items() if info.isreg()] == [
        *("srv/bundle/manifest.json", "srv/bundle/example.json", "srv/bundle/model.npz"),
    ]
    for info in model.values():
        assert (info.uid, info.gid, info.uname, info.mtime) == (0, 0, "", 0)
        assert info.mode == (0o755 if info.isdir() else 0o644)
    for layer, diff_id in zip(manifest["layers"][1:], config["rootfs"]["diff_ids"][1:], strict=True):
        content = gzip.decompress(registry.blobs["ferry", layer["digest"]])
        assert diff_id == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_config_is_the_base_s_with_ours_over_it(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    planned = make(registry.base(OnBuild=["RUN x"], Volumes={"/data": {}}))
    _, config = document(registry, pushed(registry, planned, bundle))
    inner = config["config"]
    assert inner["Env"][0] == "PATH=/usr/local/bin:/usr/bin"
    assert "WHERRY_BUNDLE=/srv/bundle" in inner["Env"]
    assert inner["Entrypoint"] == ["python3", "-m", "wherry.server"]
    assert (inner["User"], inner["StopSignal"]) == ("10001:10001", "SIGTERM")
    assert inner["ExposedPorts"] == {"8080/tcp": {}, "8082/tcp": {}}
    assert (inner["Labels"]["of"], inner["Labels"]["wherry.dev/content"]) == ("base", planned.content_tag)
    assert inner["Volumes"] == {"/data": {}}
    assert "Cmd" not in inner
    assert "OnBuild" not in inner
    assert (config["created"], config["architecture"]) == ("1970-01-01T00:00:00Z", "amd64")


def test_two_builds_elsewhere_and_later_have_one_digest(
    registry: SmallRegistry, make: Make, bundle: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder, another umask, an hour later, an empty cache."""
    first = pushed(registry, make(), bundle)
    kept = {line: (caches.root() / line).read_bytes() for line in wheels_there()}
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "other"))
    for line, content in kept.items():
        with caches.writing(caches.root() / line) as file:
            file.write(content)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 3600)
    before = os.umask(0o077)
    try:
        elsewhere = home / "else" / "where"
        elsewhere.mkdir(parents=True)
        for path in sorted(bundle.iterdir(), reverse=True):
            (elsewhere / path.name).write_bytes(path.read_bytes())
            os.utime(elsewhere / path.name, (1, 1))
        second = pushed(registry, make(folder=elsewhere), elsewhere, "other")
    finally:
        os.umask(before)
    assert first.digest == second.digest
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    third = pushed(registry, make(), bundle, "third")
    assert third.digest != first.digest
    assert document(registry, third, "third")[1]["created"] == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(SettingsRefused, match="SOURCE_DATE_EPOCH"):
        pushed(registry, make(), bundle, "fourth")


def wheels_there() -> list[str]:
    return [str(path.relative_to(caches.root())) for path in caches.root().glob("wheels/*/*.whl")]


def test_a_new_model_is_one_new_layer(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    """At most the model and 64 KB are sent; what lies in a neighbour is taken over, not sent."""
    before, _ = document(registry, pushed(registry, make(), bundle))
    (bundle / "model.npz").write_bytes(os.urandom(100_000))
    registry.received = 0
    after, _ = document(registry, pushed(registry, make(), bundle))
    assert registry.received <= 100_000 + 64 * 1024
    same = [one["digest"] == other["digest"] for one, other in zip(before["layers"], after["layers"], strict=True)]
    assert same == [True, True, True, False]
    registry.received = 0
    pushed(registry, make(), bundle, "elsewhere")
    assert registry.received == 0  # all of it was mounted


def test_base_of_another_registry_is_pulled_and_sent(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    planned = make()
    with helper.small_registry() as other:
        made = pushed(other, planned, bundle)
        layer = document(other, made)[0]["layers"][0]["digest"]
        assert other.blobs["ferry", layer] == registry.blobs["library/base", layer]


def test_platform_is_chosen_from_an_index(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    arms = registry.base(architecture="arm64")
    entries = [
        {"digest": digest, "platform": {"os": "linux", "architecture": name}}
        for name, digest in (("amd64", registry.base()), ("arm64", arms))
    ]
    for media in (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ):
        index = registry.tag("library/base", "many", {"mediaType": media, "manifests": entries})
        planned = make(index)
        made = build(planned, bundle, f"{registry.address}/arm", builder="direct", platform="linux/arm64", force=True)
        assert document(registry, made, "arm")[1]["architecture"] == "arm64"
        with pytest.raises(BaseMissing, match=r"linux/riscv64, only for linux/amd64, linux/arm64"):
            build(planned, bundle, f"{registry.address}/x", builder="direct", platform="linux/riscv64")
    with pytest.raises(BaseMissing, match="made for linux/arm64, not for linux/amd64"):
        build(make(arms), bundle, f"{registry.address}/x", builder="direct", platform="linux/amd64")


def test_no_byte_code_for_another_python_and_it_is_said(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    told: list[Event] = []
    other = msgspec.structs.replace(make(registry.base(python="3.99.1")), python="3.99")
    manifest, _ = document(registry, pushed(registry, other, bundle, told=told))
    assert not [name for name in names(registry, manifest, 2) if name.endswith(".pyc")]
    assert any(isinstance(event, Note) and "the base has 3.99" in event.text for event in told)
    manifest, _ = document(registry, pushed(registry, make(registry.base(python=f"{HERE}.1")), bundle))
    assert [name for name in names(registry, manifest, 2) if name.endswith(".pyc")]


def test_a_base_with_another_python_is_refused(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    """The libraries are made for one minor version: nothing would start."""
    with pytest.raises(BaseUnfit, match=f"has Python 3.99, and the bundle was packed with Python {HERE}") as caught:
        pushed(registry, make(registry.base(python="3.99.1")), bundle)
    assert f"--base python:{HERE}-slim" in caught.value.hint
    with pytest.raises(BaseUnfit, match="has no python3"):
        pushed(registry, make(registry.base(python="")), bundle)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (("usr/bin/python3.11",), "3.11"),
        (("./usr/bin/python3.9", "./usr/bin/python3.11", "./usr/bin/python3.11-config"), "3.11"),
        (("usr/local/bin/python3.12", "usr/bin/python3.13"), "3.12"),  # what PATH finds first
        (("opt/python3.12",), ""),
    ],
)
def test_a_base_that_does_not_say_its_python_is_looked_into(
    registry: SmallRegistry, there: tuple[str, ...], found: str
) -> None:
    digest = registry.base(python="", files=there)
    base = direct.bases.fetch(Reference.parse(f"{registry.address}/library/base@{digest}"), "linux/amd64")
    assert direct.bases.python(base) == found
    asked = len(registry.asked)
    assert direct.bases.python(base) == found
    assert len(registry.asked) == asked


def test_an_interrupted_push_goes_on_where_it_was_cut(
    registry: SmallRegistry, make: Make, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = size_of_a_push(registry, make, bundle)
    registry.blobs = {key: value for key, value in registry.blobs.items() if key[0].startswith("library/")}
    registry.manifests = {key: value for key, value in registry.manifests.items() if key[0].startswith("library/")}
    forget_homes()
    registry.received, registry.cut_after = 0, 200_000
    monkeypatch.setattr(session, "ATTEMPTS", 1)
    with pytest.raises(RegistryFailed) as caught:
        pushed(registry, make(), bundle)
    assert caught.value.hint == uploads.AGAIN
    assert ("ferry", make().content_tag) not in registry.manifests
    told: list[Event] = []
    made = pushed(registry, make(), bundle, told=told)
    document(registry, made)
    # Not a byte twice: what had arrived, and the rest.
    assert registry.received == whole
    assert any(isinstance(event, Progress) and event.done == event.total for event in told)


@pytest.mark.parametrize("forgets", [False, True])
def test_a_cut_in_mid_push_is_mended_at_once(registry: SmallRegistry, make: Make, bundle: Path, forgets: bool) -> None:
    """Where the registry forgets what it had, the blob is sent again from its first byte."""
    registry.cut_after, registry.forgets = 200_000, forgets
    document(registry, pushed(registry, make(), bundle))


def size_of_a_push(registry: SmallRegistry, make: Make, bundle: Path) -> int:
    registry.received = 0
    pushed(registry, make(), bundle)
    return cast(int, registry.received)


def forget_homes() -> None:
    for path in (caches.root() / "homes").glob("*"):
        path.unlink()


def test_a_registry_that_falters_is_asked_again(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    planned = make()
    registry.failing = 3
    document(registry, pushed(registry, planned, bundle))
    registry.failing = 1000
    (bundle / "model.npz").write_text("new")
    with pytest.raises(RegistryFailed, match="503"):
        pushed(registry, make(), bundle)


def test_a_registry_that_is_gone_in_mid_push_leaves_no_tag(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    registry.refused = {"PATCH": (507, "no space left")}
    with pytest.raises(RegistryFailed, match=r"pushing ferry with 507 \(no space left\)"):
        pushed(registry, make(), bundle)
    assert ("ferry", make().content_tag) not in registry.manifests


@pytest.mark.parametrize(
    ("body", "told"),
    [
        # As docker-registry 2.8 says it when its disk is full.
        (b'{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"Op":"write","Err":28}}]}', "disk is full"),
        (b"write /var/lib/registry: no space left on device", "disk is full"),
        (b'{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"Op":"write","Err":5}}]}', ""),
    ],
)
def test_a_registry_that_is_full_is_said_to_be(body: bytes, told: str) -> None:
    said = session.said(session.Answer(500, Message(), body))
    assert said.startswith("500")
    assert ("disk is full" in said) == bool(told)


def test_credentials_that_do_not_do_are_said_with_what_to_type(
    registry: SmallRegistry, make: Make, bundle: Path, home: Path
) -> None:
    planned = make()
    registry.basic = base64.b64encode(b"carrier:secret").decode()
    with pytest.raises(BaseMissing, match="it refuses reading library/base: 401"):
        pushed(registry, planned, bundle)
    (home / "docker").mkdir()
    log_in = home / "docker" / "config.json"
    log_in.write_text(json.dumps({"auths": {registry.address: {"auth": registry.basic}}}))
    document(registry, pushed(registry, planned, bundle))
    registry.refused = {"POST": (403, "quota exceeded")}
    (bundle / "model.npz").write_text("new")
    with pytest.raises(RegistryRefused, match=r"refuses pushing ferry: 403 \(quota exceeded\)") as caught:
        pushed(registry, make(), bundle)
    assert caught.value.hint.startswith(f"docker login {registry.address}")


def test_a_repository_that_nobody_made_is_named(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    registry.strict_repositories = True
    registry.base("library/base", Labels={"of": "elsewhere"})
    with pytest.raises(RepositoryMissing, match="no repository ferry") as caught:
        pushed(registry, make(), bundle)
    assert "create ferry there" in caught.value.hint


def test_a_base_that_is_not_there_or_not_what_it_says(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    with pytest.raises(BaseMissing, match="has no library/base@sha256:ffff"):
        pushed(registry, make("sha256:" + "f" * 64), bundle)
    digest = registry.base()
    registry.manifests["library/base", digest] = ("application/vnd.oci.image.manifest.v1+json", b'{"swapped": true}')
    with pytest.raises(BaseMissing, match="does not have that digest"):
        pushed(registry, make(digest), bundle)


def test_a_wheel_that_cannot_be_had_is_named(
    registry: SmallRegistry, make: Make, bundle: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    requirements = f"no-such-thing==9.9 --hash=sha256:{'1' * 64}\n"
    with pytest.raises(WheelMissing, match=r"no-such-thing==9\.9 for Python .* on linux/amd64"):
        pushed(registry, make(requirements=requirements), bundle)
    # What has another hash than the lock's is not taken, whatever its name.
    (home / "index").mkdir()
    with zipfile.ZipFile(home / "index" / "no_such_thing-9.9-py3-none-any.whl", "w") as archive:
        archive.writestr("x.py", "")
        archive.writestr(
            "no_such_thing-9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: no-such-thing\nVersion: 9.9"
        )
        archive.writestr("no_such_thing-9.9.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home / "index"))
    with pytest.raises(WheelMissing, match="DO NOT MATCH THE HASHES"):
        pushed(registry, make(requirements=requirements), bundle)
    assert len(wheels_there()) == 1


def test_a_wheel_is_downloaded_once_and_held_against_its_hash(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(home / "index"))
    (home / "index").mkdir()
    path = home / "index" / "thing-2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing.py", "")
        archive.writestr("thing-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 2.0")
        archive.writestr("thing-2.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    line = f"thing==2.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    ((_, file),) = wheels.fetch(line, HERE, "linux/arm64")
    assert file.read_bytes() == path.read_bytes()
    path.unlink()
    assert wheels.fetch(line, HERE, "linux/arm64")[0][1] == file


def test_a_cache_that_rots_is_noticed(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    """A document is fetched anew, a layer that was cut computed anew, and a wheel refused."""
    first = pushed(registry, make(), bundle)
    for path in (caches.root() / "blobs").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert pushed(registry, make(), bundle, "again").digest == first.digest
    for line in wheels_there():
        (caches.root() / line).write_bytes(b"other")
    for path in (caches.root() / "layers").iterdir():
        path.unlink()
    with pytest.raises(BuildFailed, match=r"is not what was downloaded as thing 1\.0"):
        pushed(registry, make(), bundle, "third")


def test_a_full_disk_leaves_nothing_half_written(
    registry: SmallRegistry, make: Make, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    planned = make()
    monkeypatch.setattr(layers.Packed, "put", full)
    with pytest.raises(DiskFull):
        pushed(registry, planned, bundle)
    assert [path.name for path in caches.root().rglob("*new-*")] == []
    assert not (caches.root() / "layers").exists()


def test_a_cache_that_cannot_be_written_is_said(
    registry: SmallRegistry, make: Make, bundle: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = make()
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    with pytest.raises(CacheUnusable) as caught:
        pushed(registry, planned, bundle)
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_a_bundle_that_lacks_a_file_is_said(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    planned = make()
    (bundle / "model.npz").unlink()
    with pytest.raises(FileMissing, match=r"model\.npz"):
        pushed(registry, planned, bundle)


def test_an_image_must_go_somewhere(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    with pytest.raises(NoBuilder, match="the image would be nowhere"):
        build(make(), bundle, "ferry", builder="direct", push=False)


def test_output_is_a_layout_and_an_archive_in_one(
    registry: SmallRegistry, make: Make, bundle: Path, home: Path
) -> None:
    output = home / "out" / "ferry.tar"
    for _ in range(2):
        made = build(make(), bundle, "ferry:1", builder="direct", push=False, output=output, platform="linux/amd64")
        content = output.read_bytes()
    assert content == output.read_bytes()
    with tarfile.open(output) as archive:
        held = {info.name: cast(Any, archive.extractfile(info)).read() for info in archive}
    (described,) = json.loads(held["index.json"])["manifests"]
    manifest = json.loads(held[f"blobs/{described['digest'].replace(':', '/')}"])
    (archived,) = json.loads(held["manifest.json"])
    assert json.loads(held["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert archived["RepoTags"] == ["ferry:1"]
    assert archived["Config"] == f"blobs/{manifest['config']['digest'].replace(':', '/')}"
    assert archived["Layers"] == [f"blobs/{layer['digest'].replace(':', '/')}" for layer in manifest["layers"]]
    for name, blob in held.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"
    assert made.digest == manifest["config"]["digest"]
    assert [path.name for path in output.parent.iterdir()] == ["ferry.tar"]


def test_explanation_names_packages_changes_and_what_the_base_brings(
    registry: SmallRegistry, make: Make, bundle: Path
) -> None:
    planned = make()
    given = {"platform": "linux/amd64"}
    first = builders.explained(planned, bundle, f"{registry.address}/ferry", **given)
    assert first.changes == ("this is the first build of this image here",)
    parts = {part.name: part for layer in first.layers for part in layer.parts}
    assert parts["thing"].version == "1.0"
    assert parts["model.npz"].size == 7000
    assert {finding.what: finding.paths for finding in first.findings} == {
        "files that run as another user (setuid, setgid)": ("/usr/bin/passwd",),
        "pip": ("/usr/lib/pip",),
    }
    assert registry.sent("PATCH") == 0
    pushed(registry, planned, bundle)
    same = builders.explained(planned, bundle, f"{registry.address}/ferry", **given)
    assert same.changes == ("nothing has changed since the last build",)
    (bundle / "model.npz").write_text("smaller")
    (change,) = builders.explained(make(), bundle, f"{registry.address}/ferry", **given).changes
    assert change.startswith("model: model.npz has -6,993 bytes (")


def test_explanation_compares_with_what_carries_the_tag(
    registry: SmallRegistry, make: Make, bundle: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a machine that did not build it, package by package and file by file."""

    def told(name: str = "ferry:1") -> tuple[str, ...]:
        planned = make()
        return builders.explained(planned, bundle, f"{registry.address}/{name}", platform="linux/amd64").published

    assert told() == (f"{registry.address}/ferry:1 is not in its registry",)
    assert told("ferry") == ()  # no tag was typed
    pushed(registry, make(), bundle, "ferry:1")
    assert told() == (f"it is {registry.address}/ferry:1 as it is there",)
    for path in (caches.root() / "builds").iterdir():
        path.unlink()
    for path in (caches.root() / "blobs").iterdir():
        path.unlink()
    (bundle / "model.npz").write_text("smaller")
    (change,) = told()
    assert change.startswith("model: model.npz has -6,993 bytes (")
    registry.failing = 1000
    assert "cannot be compared" in told()[0]


def test_advice_names_the_largest_gain_first() -> None:
    parts = (layers.Part("scikit-learn", "1", 40_000_000),)
    made = (layers.Layer("libraries", "", 1, "", 1, parts), layers.Layer("store", "", 1, "", 9_000_000, ()))
    told = explain.advice(200_000_000, made)
    assert [line.split(":")[0] for line in told] == ["140 MB", "40 MB", "9 MB"]
    assert explain.advice(1, ()) == ()


def test_changes_name_versions() -> None:
    def layer(digest: str, *parts: tuple[str, str]) -> layers.Layer:
        return layers.Layer("libraries", digest, 10, "", 10, tuple(layers.Part(*part, 1) for part in parts))

    before = layer("a", ("numpy", "2.0"), ("gone", "1"))
    (told,) = explain.changes((before,), (layer("b", ("numpy", "2.1"), ("new", "3")),))
    assert told == "libraries: gone 1 is gone; new 3 is new; numpy 2.0 is 2.1 (+0 bytes compressed)"


def test_what_nobody_used_for_a_month_is_removed(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    pushed(registry, make(), bundle)
    old = caches.root() / "blobs" / "old"
    old.write_text("x")
    os.utime(old, (1, 1))
    caches.tidy()
    assert not old.exists()
    assert wheels_there()


def test_an_image_is_computed_from_values_alone(registry: SmallRegistry, make: Make, bundle: Path) -> None:
    """Without history of its own the base gets one, so that other tools can build on what we made."""
    order = builders.Order(make(), bundle, msgspec.UNSET, "linux/amd64")
    image = direct.compute(order)
    assert image == direct.compute(order)
    assert json.loads(image.config)["history"][0]["created_by"] == "the base"
