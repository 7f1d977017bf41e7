"""What a build leaves beside its image: documents that are true, equal for equal images, and found by any client."""

from __future__ import annotations

import copy
import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from attesting_parts import (
    BASE,
    BUNDLE,
    LIBRARIES,
    WHEEL_HASH,
    image,
    layer,
    manifest,
    pushed,
)
from referencing import Registry, Resource
from small_registry import SmallRegistry, small_registry

from wherry.contract.events import Event, Note
from wherry.deploy import bases, caches, session
from wherry.deploy.attesting import attaching, contents, provenance, referrers, sbom
from wherry.deploy.attesting.attaching import attach
from wherry.deploy.attesting.contents import Held
from wherry.deploy.builders import Built
from wherry.errors import AttachingRefused, BuildFailed
from wherry.release.image import ImagePlan
from wherry.release.reference import Reference

DATA = Path(__file__).parents[1] / "data" / "cyclonedx"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with an empty cache, no credentials and no mirrors; nothing is waited for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "none.conf"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(session, "FIRST_WAIT_SECONDS", 0.0)
    return tmp_path


@pytest.fixture(params=[False, True], ids=["by tag", "by the registry"])
def registry(request: pytest.FixtureRequest) -> Iterator[SmallRegistry]:
    """A registry that does not list what refers to an image, and one that does."""
    with small_registry() as held:
        held.referrers = request.param
        yield held


@pytest.fixture
def plain() -> Iterator[SmallRegistry]:
    """A registry that lists nothing by itself, as the most do."""
    with small_registry() as held:
        yield held


@pytest.fixture(scope="session")
def schema() -> jsonschema.protocols.Validator:
    """The official schema of CycloneDX 1.6."""
    files = {path.name: json.loads(path.read_text()) for path in DATA.glob("*.json")}
    held: Registry[Any] = Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name}", Resource.from_contents(text)) for name, text in files.items()
    )
    return jsonschema.Draft7Validator(files["bom-1.6.schema.json"], registry=held)


def documents(held: SmallRegistry, digest: str, repository: str = "ferry") -> dict[str, Any]:
    """What refers to the image, by type, as a client without wherry would find it."""
    found = {}
    for entry in listed(held, digest, repository):
        media, text = held.manifests[repository, entry["digest"]]
        tied = json.loads(text)
        assert media == tied["mediaType"] == entry["mediaType"]
        assert (len(text), tied["subject"]["digest"]) == (entry["size"], digest)
        assert tied["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
        assert held.blobs[repository, tied["config"]["digest"]] == b"{}"
        assert entry["artifactType"] == tied["artifactType"] == tied["layers"][0]["mediaType"]
        found[entry["artifactType"]] = json.loads(held.blobs[repository, tied["layers"][0]["digest"]])
    return found


def listed(held: SmallRegistry, digest: str, repository: str = "ferry") -> list[dict[str, Any]]:
    reference = Reference.parse(f"{held.address}/{repository}@{digest}")
    return referrers.listed(reference, digest)


def attached(held: SmallRegistry, **table: Any) -> tuple[Built, ImagePlan]:
    made, plan = pushed(held, **table)
    attach(made, plan, manifest(), "linux/amd64")
    return made, plan


def test_bill_lists_all_that_is_in_the_image(registry: SmallRegistry, schema: jsonschema.protocols.Validator) -> None:
    made, _ = attached(registry)
    bill = documents(registry, made.digest)["application/vnd.cyclonedx+json"]
    schema.validate(bill)
    by_ref = {component["bom-ref"]: component for component in bill["components"]}
    folders = {
        "/" + path.partition(".dist-info")[0] + ".dist-info" for path in {**BASE, **LIBRARIES} if ".dist-info" in path
    }
    assert folders == {ref for ref in by_ref if ref.endswith(".dist-info")}
    thing = by_ref["/opt/libraries/thing_one-1.0.dist-info"]
    assert (thing["name"], thing["version"], thing["purl"]) == ("Thing.One", "1.0", "pkg:pypi/thing-one@1.0")
    assert thing["licenses"] == [{"expression": "MIT AND BSD-3-Clause", "acknowledgement": "declared"}]
    assert by_ref["/opt/libraries/bare-2.5.dist-info"]["purl"] == "pkg:pypi/bare@2.5"
    pip = by_ref["/usr/lib/python3/dist-packages/pip-23.0.dist-info"]
    assert pip["licenses"] == [{"license": {"name": "MIT", "acknowledgement": "declared"}}]
    old = by_ref["/usr/lib/python3/dist-packages/old-1.egg-info"]
    assert old["licenses"][0]["license"]["name"] == "MIT License"
    libc = by_ref["/var/lib/dpkg/status#libc6:amd64"]
    assert libc["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12"
    assert not [ref for ref in by_ref if "gone" in ref or "not-this" in ref]
    parts = {component["name"]: component["properties"][0]["value"] for component in (thing, pip, libc)}
    assert parts == {"Thing.One": "image", "pip": "base", "libc6": "base"}


def test_bill_names_base_and_model_by_their_digests(plain: SmallRegistry) -> None:
    made, plan = attached(plain)
    bill = documents(plain, made.digest)["application/vnd.cyclonedx+json"]
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": made.digest[7:]}]
    base, model = bill["components"][:2]
    assert base["type"] == "container"
    assert plan.base.endswith(f"@sha256:{base['hashes'][0]['content']}")
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "ferry", "1")
    assert model["hashes"][0]["content"] == manifest().files["model.npz"]
    assert [one["name"] for one in model["components"]] == ["manifest.json", "model.npz"]


def test_schema_refuses_what_is_wrong(plain: SmallRegistry, schema: jsonschema.protocols.Validator) -> None:
    made, _ = attached(plain)
    bill = documents(plain, made.digest)["application/vnd.cyclonedx+json"]
    for spoil in (
        lambda body: body["components"][2].pop("name"),
        lambda body: body.update(serialNumber="urn:uuid:random"),
        lambda body: body["components"][1]["hashes"][0].update(content="short"),
        lambda body: body["components"].append(body["components"][2]),
    ):
        spoilt = copy.deepcopy(bill)
        spoil(spoilt)
        with pytest.raises(jsonschema.ValidationError):
            schema.validate(spoilt)


def test_provenance_names_every_input(plain: SmallRegistry) -> None:
    made, plan = attached(plain, serve={"port": 9000})
    stated = documents(plain, made.digest)["application/vnd.in-toto+json"]
    assert (stated["_type"], stated["predicateType"]) == (provenance.STATEMENT, provenance.PREDICATE)
    assert stated["subject"] == [{"name": f"{plain.address}/ferry", "digest": {"sha256": made.digest[7:]}}]
    build = stated["predicate"]["buildDefinition"]
    inputs = {one["name"]: one["digest"]["sha256"] for one in build["resolvedDependencies"]}
    assert inputs["base"] == plan.base.partition("@sha256:")[2]
    assert inputs["thing-one"] == WHEEL_HASH
    assert inputs["model.npz"] == manifest().files["model.npz"]
    assert set(inputs) == {"base", "thing-one", "wherry", "manifest.json", "model.npz"}
    assert build["externalParameters"]["model"] == {"name": "ferry", "version": "1", "digest": "2" * 64}
    assert build["externalParameters"]["settings"]["WHERRY_SERVE_PORT"] == "9000"
    assert stated["predicate"]["runDetails"]["builder"]["id"].endswith("/direct")
    assert stated["predicate"]["runDetails"]["builder"]["version"]["wherry"]


def test_equal_images_have_equal_documents(
    registry: SmallRegistry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour later, with an empty cache: nothing is sent again."""
    made, plan = pushed(registry)
    first = attach(made, plan, manifest(), "linux/amd64")
    before = dict(registry.manifests)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 3600)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "other"))
    sent = registry.sent("PUT") + registry.sent("PATCH")
    assert attach(made, plan, manifest(), "linux/amd64") == first
    assert registry.sent("PUT") + registry.sent("PATCH") == sent
    assert registry.manifests == before
    assert len(listed(registry, made.digest)) == 2


def test_time_is_stated_only_where_it_is_given(plain: SmallRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    made, plan = pushed(plain)
    untimed = attach(made, plan, manifest(), "linux/amd64")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    timed = attach(made, plan, manifest(), "linux/amd64")
    assert timed.sbom != untimed.sbom
    assert timed.provenance == untimed.provenance
    tied = json.loads(plain.manifests["ferry", timed.sbom][1])
    bill = json.loads(plain.blobs["ferry", tied["layers"][0]["digest"]])
    assert bill["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"


def test_the_image_stays_what_it_was(registry: SmallRegistry) -> None:
    made, plan = pushed(registry)
    before = {key: value for key, value in registry.manifests.items() if key[0] == "ferry"}
    attach(made, plan, manifest(), "linux/amd64")
    assert before.items() <= registry.manifests.items()
    assert registry.manifests["ferry", "1"] == before["ferry", made.digest]


def test_an_image_that_was_found_gets_no_provenance_on_trust(plain: SmallRegistry) -> None:
    """Nobody here has seen how it was made, but what it holds can be read; unless the same bytes come out again."""
    made, plan = pushed(plain)
    found = Built(made.reference, made.digest, "", pushed=True)
    assert attach(found, plan, manifest(), "linux/amd64", reproduced=lambda: "sha256:other").provenance == ""
    assert set(documents(plain, made.digest)) == {sbom.MEDIA}
    whole = attach(found, plan, manifest(), "linux/amd64", reproduced=lambda: made.digest)
    assert attach(made, plan, manifest(), "linux/amd64") == whole
    asked = len(plain.asked)
    assert attach(found, plan, manifest(), "linux/amd64") == whole
    assert [line.split()[0] for line in plain.asked[asked:]] == ["GET", "GET"]


def test_what_others_attached_is_kept(plain: SmallRegistry) -> None:
    made, plan = pushed(plain)
    other = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": made.digest, "size": 1}
    tag = made.digest.replace(":", "-")
    plain.tag("ferry", tag, {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [other]})
    attach(made, plan, manifest(), "linux/amd64")
    assert [one.get("artifactType") for one in listed(plain, made.digest)] == [None, sbom.MEDIA, provenance.MEDIA]


def test_a_list_that_is_overwritten_meanwhile_is_written_again(
    plain: SmallRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads before us and writes after us, twice; then not any more."""
    made, plan = pushed(plain)
    tagged, lost, meddle = referrers.tagged, [], 2

    def meddled(asked: session.Session, digest: str) -> Any:
        key = ("ferry", referrers.tag_of(digest))
        if key in plain.manifests and len(lost) < meddle:
            lost.append(plain.manifests.pop(key))
        return tagged(asked, digest)

    monkeypatch.setattr(referrers, "tagged", meddled)
    attach(made, plan, manifest(), "linux/amd64")
    assert len(lost) == 2
    assert len(listed(plain, made.digest)) == 2
    meddle = 99
    del plain.manifests["ferry", made.digest.replace(":", "-")]
    with pytest.raises(AttachingRefused, match="others keep overwriting"):
        attach(made, plan, manifest(), "linux/amd64", insist=True)


@pytest.mark.parametrize("after", range(1, 10))
def test_attaching_that_was_cut_is_completed(after: int, plain: SmallRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it ends: nothing lists what is not there, and the next run brings what lacks."""
    made, plan = pushed(plain)
    asked: list[str] = []
    ask = session.Session.ask

    def cut(self: session.Session, method: str, target: str, *given: Any, **named: Any) -> Any:
        if method in ("PUT", "PATCH", "POST"):
            asked.append(target)
            if len(asked) == after:
                raise KeyboardInterrupt
        return ask(self, method, target, *given, **named)

    monkeypatch.setattr(session.Session, "ask", cut)
    with pytest.raises(KeyboardInterrupt):
        attach(made, plan, manifest(), "linux/amd64")
    monkeypatch.setattr(session.Session, "ask", ask)
    documents(plain, made.digest)
    attach(made, plan, manifest(), "linux/amd64")
    assert set(documents(plain, made.digest)) == {sbom.MEDIA, provenance.MEDIA}


def test_a_registry_that_takes_no_documents_is_told_of(plain: SmallRegistry) -> None:
    made, plan = pushed(plain)
    plain.takes_artifacts = False
    told: list[Event] = []
    assert attach(made, plan, manifest(), "linux/amd64", tell=told.append) == attaching.Attached()
    (note,) = [event for event in told if isinstance(event, Note)]
    assert note.warn
    assert "unknown artifact" in note.text
    assert "--no-attest" in note.hint
    with pytest.raises(AttachingRefused, match="was pushed, and nothing could be attached to it"):
        attach(made, plan, manifest(), "linux/amd64", insist=True)


def test_a_registry_that_takes_the_image_and_no_more_is_told_of(plain: SmallRegistry) -> None:
    made, plan = pushed(plain)
    plain.refused = {"POST": (403, "read only")}
    told: list[Event] = []
    assert attach(made, plan, manifest(), "linux/amd64", tell=told.append) == attaching.Attached()
    assert any(isinstance(event, Note) and "read only" in event.text for event in told)
    plain.refused = {"GET": (500, "broken")}
    found = Built(made.reference, made.digest, "", pushed=True)
    assert attach(found, plan, manifest(), "linux/amd64") == attaching.Attached()
    plain.refused = {"POST": (403, "read only")}
    with pytest.raises(AttachingRefused, match="read only"):
        attach(made, plan, manifest(), "linux/amd64", insist=True)


def test_a_registry_that_forbids_the_question_is_asked_by_tag(registry: SmallRegistry) -> None:
    registry.forbids_referrers = True
    made, _ = attached(registry)
    assert len(listed(registry, made.digest)) == 2
    assert ("ferry", made.digest.replace(":", "-")) in registry.manifests


def test_a_layer_that_cannot_be_read_is_named(plain: SmallRegistry) -> None:
    """As one that zstd compressed, which this Python does not read."""
    made, plan = pushed(plain)
    tied = json.loads(plain.manifests["ferry", "1"][1])
    blob = plain.hold("ferry", b"\x28\xb5\x2f\xfd" + b"no tar" * 100)
    tied["layers"][1].update(blob)
    digest = plain.tag("ferry", "1", tied)
    with pytest.raises(AttachingRefused, match=f"its layer {blob['digest']} .* cannot be read"):
        attach(Built(made.reference, digest, "direct", pushed=True), plan, manifest(), "linux/amd64", insist=True)
    with pytest.raises(BuildFailed, match="is not known"):
        contents.of_image(bases.fetch(Reference.parse(f"{plain.address}/ferry@{digest}"), "linux/amd64"))


def test_each_layer_is_read_once(plain: SmallRegistry) -> None:
    made, plan = pushed(plain)
    attach(made, plan, manifest(), "linux/amd64")
    again = image(plain, "ferry", "2", BASE, LIBRARIES, {**BUNDLE, "srv/bundle/model.npz": "other"})
    for path in (caches.root() / "blobs").iterdir():
        path.unlink()
    asked = len(plain.asked)
    attach(Built(f"{plain.address}/ferry:2", again, "direct", pushed=True), plan, manifest(), "linux/amd64")
    layers = {one["digest"] for one in json.loads(plain.manifests["ferry", "2"][1])["layers"]}
    read = [line for line in plain.asked[asked:] if line.startswith("GET") and line.rpartition("/")[2] in layers]
    assert len(read) == 1


def held_of(*layers: dict[str, str]) -> Held:
    found = Held()
    for files in layers:
        found = found.under(contents.read(io.BytesIO(layer(files))))
    return found


@pytest.mark.parametrize(
    "marks",
    [
        {"opt/libraries/.wh.thing_one-1.0.dist-info": ""},
        {"opt/libraries/.wh..wh..opq": ""},
        {"opt/.wh.libraries": ""},
    ],
    ids=["itself", "all in its folder", "its folder"],
)
def test_what_a_layer_removes_is_not_listed(marks: dict[str, str]) -> None:
    names = [package.name for package in held_of(LIBRARIES, marks).every]
    assert "Thing.One" not in names
    assert [package.name for package in held_of(marks, LIBRARIES).every] == ["bare", "Thing.One"]
    assert held_of(BUNDLE, {"srv/bundle/.wh.model.npz": ""}).files.keys() == {"manifest.json"}


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("License: BSD-3-Clause\n", "BSD-3-Clause"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: BSD License\n", "BSD License"),
        (
            "License: Copyright (c)\n        a whole text\nClassifier: License :: OSI Approved :: MIT License\n",
            "MIT License",
        ),
        ("Classifier: License :: OSI Approved\n", ""),
        ("License-Expression: MIT\nLicense: BSD\n", "MIT"),
    ],
)
def test_licences_are_as_their_makers_state_them(text: str, licence: str) -> None:
    assert contents.distribution(f"Name: x\nVersion: 1\n{text}".encode(), "x-1.dist-info").licence == licence


def test_links_and_devices_are_no_descriptions() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        link = tarfile.TarInfo("opt/x-1.dist-info/METADATA")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(link)
    packed.seek(0)
    assert contents.read(packed) == Held()


def test_a_list_that_is_none_is_said(plain: SmallRegistry) -> None:
    made, plan = pushed(plain)
    plain.tag("ferry", made.digest.replace(":", "-"), {"mediaType": "application/vnd.oci.image.index.v1+json"})
    with pytest.raises(AttachingRefused, match="it holds no list of manifests"):
        attach(made, plan, manifest(), "linux/amd64", insist=True)
