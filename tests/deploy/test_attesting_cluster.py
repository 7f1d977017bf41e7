"""What is attached to real images in a real registry, and deploys of what nobody has signed.

Needs a registry (WHERRY_TEST_REGISTRY), the package index, for some tests Docker and a cluster; skips without.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import secrets
import shutil
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from image_files import config, file_system, get
from image_files import manifest as manifest_of

from wherry.contract.names import ENV_TEST_REGISTRY
from wherry.deploy.attesting import provenance, sbom
from wherry.deploy.docker import Docker
from wherry.deploy.pins import native_platform
from wherry.deploy.programs import run

REGISTRY = os.environ.get(ENV_TEST_REGISTRY, "")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(not REGISTRY, reason=f"{ENV_TEST_REGISTRY} names no registry"),
]
Wherry = Callable[..., subprocess.CompletedProcess[str]]
DIST_INFO = re.compile(r"((?:.*/)?[^/]+\.dist-info)/.*")


@pytest.fixture
def path() -> Iterator[str]:
    """A repository of this test's own; what Docker built for it is gone afterwards."""
    name = f"wherry-test-{secrets.token_hex(4)}"
    yield name
    if not Docker().trouble():
        for image in run(["docker", "images", "--quiet", f"{REGISTRY}/{name}"], source="docker", timeout=60).lines:
            run(["docker", "rmi", "--force", image], source="docker", timeout=60)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """Two pairs, made as the documentation says."""
    found = {}
    for name in ("image", "other"):
        secret, public = tmp_path / f"{name}.key", tmp_path / f"{name}.pub"
        make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", secret]
        subprocess.run(make, check=True, capture_output=True)
        subprocess.run(["openssl", "ec", "-in", secret, "-pubout", "-out", public], check=True, capture_output=True)
        found[f"{name}.key"], found[f"{name}.pub"] = secret, public
    return found


def built(wherry: Wherry, bundle: Path, path: str, *flags: str, **environ: str) -> str:
    """Build and push by the command line; the digest."""
    ran = wherry("build", bundle, "--image", f"{REGISTRY}/{path}", "--push", "--json", *flags, timeout=280, **environ)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return str(json.loads(ran.stdout)["digest"])


def referring(path: str, digest: str) -> dict[str, tuple[str, bytes]]:
    """What refers to the image, by type: the manifest's digest and the document."""
    index = json.loads(get(REGISTRY, f"{path}/manifests/{digest.replace(':', '-')}"))
    found = {}
    for entry in index["manifests"]:
        tied = json.loads(get(REGISTRY, f"{path}/manifests/{entry['digest']}"))
        assert tied["subject"]["digest"] == digest
        found[entry["artifactType"]] = (entry["digest"], get(REGISTRY, f"{path}/blobs/{tied['layers'][0]['digest']}"))
    return found


def everything(path: str, *names: str) -> dict[str, bytes]:
    """All that lies in the repository under these names: manifests, and blobs as they are and unpacked."""
    found = {}
    for name in names:
        found[name] = get(REGISTRY, f"{path}/manifests/{name}")
        document = json.loads(found[name])
        for blob in (document.get("config"), *document.get("layers", ())):
            if blob is not None and blob["size"] < 60_000_000:
                content = get(REGISTRY, f"{path}/blobs/{blob['digest']}")
                found[blob["digest"]] = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        for entry in document.get("manifests", ()):
            found |= everything(path, entry["digest"])
    return found


def spellings(secret: str) -> set[bytes]:
    """The secret as it may have been written: in base64 at any offset, in a URL."""
    text = secret.encode()
    coded = {base64.b64encode(b" " * shift + text)[4 if shift else 0 : -4] for shift in range(3)}
    return {text, urllib.parse.quote(secret, safe="").encode(), *coded}


@pytest.mark.parametrize("builder", ["direct", "docker"])
def test_a_bill_lists_all_that_is_there_and_nothing_holds_a_secret(
    builder: str, wherry: Wherry, linear_bundle: Path, path: str, keys: dict[str, Path], tmp_path: Path
) -> None:
    """T46 and T44 (layers), of one image: with canaries in all that a build can see of the desk."""
    if builder == "docker" and Docker().trouble():
        pytest.skip(Docker().trouble())
    canaries = {name: f"canary-{name}-{secrets.token_hex(12)}" for name in ("env", "token", "store", "login", "file")}
    (tmp_path / "docker").mkdir()
    login = {"auths": {"registry.example": {"auth": base64.b64encode(f"user:{canaries['login']}".encode()).decode()}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(login))
    (tmp_path / "token.txt").write_text(canaries["token"])
    (tmp_path / ".env").write_text(canaries["file"])
    bundle = shutil.copytree(linear_bundle, tmp_path / "bundle")
    (tmp_path / "wherry.toml").write_text('[serve]\ntoken_file = "token.txt"\n')
    digest = built(
        wherry,
        bundle,
        path,
        *("--builder", builder, "--sign", str(keys["image.key"])),
        AWS_SECRET_ACCESS_KEY=canaries["env"],
        DOCKER_CONFIG=str(tmp_path / "docker"),
        WHERRY_STORE_URL=f"postgresql://ferry:{canaries['store']}@db.example/ferry",
    )
    documents = referring(path, digest)
    true_to_the_image(path, digest, json.loads(documents[sbom.MEDIA][1]))
    stated = json.loads(documents[provenance.MEDIA][1])
    assert stated["predicate"]["runDetails"]["builder"]["id"].endswith(f"/{builder}")

    tag = digest.replace(":", "-")
    held = everything(path, digest, tag, f"{tag}.sig")
    canaries["key"] = keys["image.key"].read_text().splitlines()[1]
    assert hits(canaries, held) == set()
    # The control: a secret that is there is seen, and so is what belongs there.
    planted = base64.b64encode(b"user:" + canaries["login"].encode())
    assert hits(canaries, {**held, "planted": planted}) == {("login", "planted")}
    known = json.loads((bundle / "manifest.json").read_text())["digest"]
    assert sum(known.encode() in text for text in held.values()) >= 4
    print(f"\n{builder}: {len(canaries)} canaries in {len(held)} documents and layers, 0 hits")


def true_to_the_image(path: str, digest: str, bill: dict[str, Any]) -> None:
    """The bill says of distributions and of the model's files what the file system shows, no more and no less."""
    lies = file_system(REGISTRY, path, digest)
    there = {f"/{found[1]}" for one in lies if (found := DIST_INFO.fullmatch(one))}
    listed = {one["bom-ref"]: one for one in bill["components"] if one["bom-ref"].endswith(".dist-info")}
    assert there == set(listed)
    assert len(there) > 5
    for folder, component in listed.items():
        name, version = folder.rpartition("/")[2].removesuffix(".dist-info").split("-", 1)
        assert (sbom.normal(component["name"]), component["version"]) == (sbom.normal(name), version)
    model = next(one for one in bill["components"] if one["type"] == "machine-learning-model")
    files = {one["bom-ref"][1:]: one["hashes"][0]["content"] for one in model["components"]}
    assert files == {one: held.content for one, held in lies.items() if one.startswith("srv/bundle/") and held.content}
    assert any(one.get("purl", "").startswith("pkg:deb/") for one in bill["components"])
    print(f"\n{len(there)} distributions, {len(bill['components'])} components, difference 0")


def hits(canaries: dict[str, str], held: dict[str, bytes]) -> set[tuple[str, str]]:
    """Which canary was found where."""
    return {
        (name, where)
        for name, secret in canaries.items()
        for where, text in held.items()
        if any(spelling in text for spelling in spellings(secret))
    }


def test_what_is_not_proven_to_be_signed_is_not_deployed(
    wherry: Wherry, linear_bundle: Path, path: str, keys: dict[str, Path], cluster: Any, namespace: str, kube: Any
) -> None:
    """T48: unsigned, by another key, a tag that was moved, a digest that was swapped; and what is signed runs."""
    signed = built(wherry, linear_bundle, path, "--tag", "1", "--sign", str(keys["image.key"]))
    by_other = built(wherry, linear_bundle, f"{path}/other", "--tag", "1", "--sign", str(keys["other.key"]))
    moved = built(wherry, linear_bundle, path, "--tag", "1", "--force", WHERRY_SERVE_PAGE="false")
    assert len({signed, by_other, moved}) == 2

    def deployed(image: str, key: str = "image.pub", *flags: str) -> subprocess.CompletedProcess[str]:
        named = ("--image", f"{REGISTRY}/{image}", "--verify-key", keys[key], "-n", namespace)
        return wherry("deploy", linear_bundle, "--no-build", *named, *flags, timeout=200, **cluster.environ)

    refused = {
        "unsigned": (f"{path}@{moved}", "is not signed"),
        "another key": (f"{path}/other:1", "no signature of it is by this key"),
        "moved tag": (f"{path}:1", "is not signed"),
    }
    for case, (image, words) in refused.items():
        ran = deployed(image)
        assert (ran.returncode, words in ran.stderr) == (1, True), f"{case}: {ran.stderr}"
    # The signature, copied to where that of another image would be: whoever can push can do that.
    copied(path, f"{signed.replace(':', '-')}.sig", f"{moved.replace(':', '-')}.sig")
    ran = deployed(f"{path}@{moved}")
    assert (ran.returncode, "of another image" in ran.stderr) == (1, True), ran.stderr
    # Building is no way around it, where nothing signs.
    built_now = ("--image", f"{REGISTRY}/{path}/fresh", "--verify-key", keys["image.pub"], "-n", namespace)
    ran = wherry("deploy", linear_bundle, *built_now, timeout=200, **cluster.environ)
    assert (ran.returncode, "is not signed" in ran.stderr) == (1, True), ran.stderr
    for kind in ("deployments", "replicasets"):
        assert kube.items(f"/apis/apps/v1/namespaces/{namespace}/{kind}") == [], "a deploy proceeded"

    ran = deployed(f"{path}@{signed}")
    assert ran.returncode == 0, ran.stderr
    (made,) = kube.items(f"/apis/apps/v1/namespaces/{namespace}/deployments")
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == f"{REGISTRY}/{path}@{signed}"
    print("\n5 of 5 refused, 0 proceeded; the signed image runs by its digest")


def copied(path: str, source: str, target: str) -> None:
    """A manifest put under another tag, as a registry's client would."""
    import urllib.request

    body = get(REGISTRY, f"{path}/manifests/{source}")
    headers = {"Content-Type": json.loads(body)["mediaType"]}
    url = f"http://{REGISTRY}/v2/{path}/manifests/{target}"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT"), timeout=30) as reply:
        assert reply.status == 201


def test_signing_and_attaching_leave_the_image_as_it_was(
    wherry: Wherry, linear_bundle: Path, path: str, keys: dict[str, Path]
) -> None:
    """The same digest with and without; and again, nothing new."""
    bare = built(wherry, linear_bundle, f"{path}/bare", "--builder", "direct", "--no-attest")
    signed = built(wherry, linear_bundle, path, "--builder", "direct", "--sign", str(keys["image.key"]))
    assert bare == signed
    tag = signed.replace(":", "-")
    first = [get.__wrapped__(REGISTRY, f"{path}/manifests/{name}") for name in (tag, f"{tag}.sig")]
    built(wherry, linear_bundle, path, "--builder", "direct", "--force", "--sign", str(keys["image.key"]))
    again = [get.__wrapped__(REGISTRY, f"{path}/manifests/{name}") for name in (tag, f"{tag}.sig")]
    assert first == again
    assert config(REGISTRY, path, signed)["architecture"] == native_platform().rpartition("/")[2]
    assert manifest_of(REGISTRY, path, signed)["layers"]
