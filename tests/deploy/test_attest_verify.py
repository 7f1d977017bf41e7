"""What is not proven to be signed is refused: nobody's signature, another's, another image's, other bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attesting_parts import BASE, LIBRARIES, image
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from small_registry import OCI, SmallRegistry, small_registry

from wherry.deploy import session
from wherry.deploy.attesting import signatures
from wherry.deploy.attesting.signatures import ANNOTATION, sign, stored
from wherry.deploy.attesting.signing import PrivateKey, PublicKey
from wherry.deploy.attesting.verifying import verify
from wherry.deploy.endpoints import endpoint
from wherry.errors import (
    DigestDiffers,
    ImageMissing,
    ImageUnsigned,
    RegistryFailed,
    RegistryRefused,
    SignatureWrong,
)
from wherry.release.reference import Reference

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data/cosign/signatures.json").read_text())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with an empty cache, no credentials and no mirrors; nothing is waited for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "none.conf"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(session, "FIRST_WAIT_SECONDS", 0.0)
    return tmp_path


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with small_registry() as held:
        yield held


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="module")
def another() -> PrivateKey:
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def tagged(registry: SmallRegistry) -> Reference:
    """An image by its tag; unsigned."""
    image(registry, "ferry", "1", BASE)
    return Reference.parse(f"{registry.address}/ferry:1")


def digest(registry: SmallRegistry, tag: str = "1") -> str:
    return f"sha256:{hashlib.sha256(registry.manifests['ferry', tag][1]).hexdigest()}"


def sig(of: str) -> str:
    return of.replace(":", "-") + ".sig"


def test_a_signed_image_is_named_by_the_digest_that_was_verified(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey
) -> None:
    assert sign(tagged, digest(registry), key)
    proven = verify(tagged, key.public)
    assert str(proven) == f"{registry.address}/ferry@{digest(registry)}"
    assert verify(proven, key.public) == proven


def test_an_unsigned_image_is_refused(registry: SmallRegistry, tagged: Reference, key: PrivateKey) -> None:
    with pytest.raises(ImageUnsigned, match="is not signed: it is not deployed") as caught:
        verify(tagged, key.public)
    assert digest(registry) in str(caught.value)


def test_another_key_is_refused(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey, another: PrivateKey
) -> None:
    sign(tagged, digest(registry), another)
    with pytest.raises(SignatureWrong, match="no signature of it is by this key"):
        verify(tagged, key.public)


def test_a_tag_that_was_moved_after_signing_is_refused(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey
) -> None:
    sign(tagged, digest(registry), key)
    moved = image(registry, "ferry", "1", BASE, LIBRARIES)
    with pytest.raises(ImageUnsigned, match="is not signed") as caught:
        verify(tagged, key.public)
    assert moved in str(caught.value)
    assert "its tag has been moved to another image" in caught.value.hint


def test_a_tag_that_was_moved_with_the_signature_is_refused(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey
) -> None:
    """Whoever can push can also copy the signature to where the other image's would be."""
    signed = digest(registry)
    sign(tagged, signed, key)
    moved = image(registry, "ferry", "1", BASE, LIBRARIES)
    registry.manifests["ferry", sig(moved)] = registry.manifests["ferry", sig(signed)]
    with pytest.raises(SignatureWrong, match=f"of another image, {signed}"):
        verify(tagged, key.public)


def test_a_payload_that_was_changed_is_refused(registry: SmallRegistry, tagged: Reference, key: PrivateKey) -> None:
    """The digest swapped in what was signed: the signature is of other words."""
    signed = digest(registry)
    sign(tagged, signed, key)
    moved = image(registry, "ferry", "1", BASE, LIBRARIES)
    media, text = registry.manifests["ferry", sig(signed)]
    document = json.loads(text)
    payload = registry.blobs["ferry", document["layers"][0]["digest"]].replace(signed.encode(), moved.encode())
    document["layers"][0].update(registry.hold("ferry", payload))
    registry.manifests["ferry", sig(moved)] = (media, json.dumps(document).encode())
    with pytest.raises(SignatureWrong, match="no signature of it is by this key"):
        verify(tagged, key.public)


def test_a_manifest_that_was_changed_in_place_is_refused(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey
) -> None:
    """A layer's digest swapped in the manifest, which is still given under the digest that was signed."""
    signed = digest(registry)
    sign(tagged, signed, key)
    other = registry.hold("ferry", b"evil")
    media, text = registry.manifests["ferry", signed]
    document = json.loads(text)
    document["layers"][0].update(other)
    for name in ("1", signed):
        registry.manifests["ferry", name] = (media, json.dumps(document).encode())
    with pytest.raises(DigestDiffers, match="has the digest sha256:"):
        verify(tagged.pinned(signed), key.public)
    with pytest.raises(ImageUnsigned):
        verify(tagged, key.public)


def test_a_payload_that_is_not_what_its_digest_says_is_left_out(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey
) -> None:
    sign(tagged, digest(registry), key)
    layer = json.loads(registry.manifests["ferry", sig(digest(registry))][1])["layers"][0]
    registry.blobs["ferry", layer["digest"]] += b" "
    with pytest.raises(ImageUnsigned):
        verify(tagged, key.public)


def test_several_sign_one_image(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey, another: PrivateKey
) -> None:
    assert sign(tagged, digest(registry), key)
    assert sign(tagged, digest(registry), another)
    assert not sign(tagged, digest(registry), key)
    document = json.loads(registry.manifests["ferry", sig(digest(registry))][1])
    assert len(document["layers"]) == 2
    config = json.loads(registry.blobs["ferry", document["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in document["layers"]]
    for one in (key, another):
        assert verify(tagged, one.public).digest == digest(registry)


def test_a_signature_that_is_overwritten_is_put_there_again(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey, another: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sign at once: each reads what is there before the other writes."""
    add, lost = signatures.add, []

    def meddled(*given: Any) -> None:
        add(*given)
        if len(lost) < meddle:
            lost.append(registry.manifests.pop(("ferry", sig(digest(registry)))))

    meddle = 1
    monkeypatch.setattr(signatures, "add", meddled)
    assert sign(tagged, digest(registry), key)
    assert verify(tagged, key.public).digest == digest(registry)
    meddle = 99
    with pytest.raises(RegistryFailed, match="does not stay there"):
        sign(tagged, digest(registry), another)


def test_what_cosign_laid_beside_an_image_is_verified(registry: SmallRegistry, tmp_path: Path) -> None:
    """Its published image, manifest and signature as a registry holds them."""
    text = VECTORS["manifest"].encode()
    signed = f"sha256:{hashlib.sha256(text).hexdigest()}"
    vector = VECTORS["valid"][1]
    layer = {
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        **registry.hold("ferry", vector["payload"].encode()),
        "annotations": {ANNOTATION: vector["signature"]},
    }
    registry.tag("ferry", sig(signed), {"mediaType": f"{OCI}.manifest.v1+json", "layers": [layer]})
    for name in ("1", signed):
        registry.manifests["ferry", name] = (json.loads(text)["mediaType"], text)
    (tmp_path / "cosign.pub").write_text(VECTORS["public_key"])
    reference = Reference.parse(f"{registry.address}/ferry:1")
    assert verify(reference, PublicKey.read(tmp_path / "cosign.pub")).digest == signed
    (tmp_path / "cosign.pub").write_text(VECTORS["other_public_key"])
    with pytest.raises(SignatureWrong):
        verify(reference, PublicKey.read(tmp_path / "cosign.pub"))
    registry.manifests["ferry", "1"] = (json.loads(text)["mediaType"], VECTORS["modified_manifest"].encode())
    with pytest.raises(ImageUnsigned):
        verify(reference, PublicKey.read(tmp_path / "cosign.pub"))


def test_our_manifest_is_laid_out_as_cosign_s(registry: SmallRegistry, tagged: Reference, key: PrivateKey) -> None:
    sign(tagged, digest(registry), key)
    media, text = registry.manifests["ferry", sig(digest(registry))]
    document = json.loads(text)
    assert media == document["mediaType"] == f"{OCI}.manifest.v1+json"
    assert document["config"]["mediaType"] == f"{OCI}.config.v1+json"
    (layer,) = document["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert list(layer["annotations"]) == ["dev.cosignproject.cosign/signature"]
    assert stored(endpoint(tagged.host, tagged.path, insecure=False), digest(registry))[0][0].digest == digest(registry)


def test_openssl_verifies_what_we_signed(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey, tmp_path: Path
) -> None:
    """Another's eyes on the bytes that lie in the registry."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    sign(tagged, digest(registry), key)
    (layer,) = json.loads(registry.manifests["ferry", sig(digest(registry))][1])["layers"]
    payload = registry.blobs["ferry", layer["digest"]]
    pem = key.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    held = {"key.pub": pem, "sig": base64.b64decode(layer["annotations"][ANNOTATION]), "payload": payload}
    for name, content in held.items():
        (tmp_path / name).write_bytes(content)
    check = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", "payload"]
    ran = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "Verified OK\n")
    (tmp_path / "payload").write_bytes(payload + b" ")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("layers", [None, {}, [1], [{"mediaType": 1}]])
def test_what_is_no_list_of_signatures_is_said(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey, layers: Any
) -> None:
    document = {"mediaType": f"{OCI}.manifest.v1+json", "layers": layers}
    registry.tag("ferry", sig(digest(registry)), document)
    with pytest.raises((RegistryFailed, ImageUnsigned)):
        verify(tagged, key.public)


def test_what_cannot_be_asked_is_not_taken_on_trust(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey
) -> None:
    sign(tagged, digest(registry), key)
    registry.refused = {"GET": (403, "no")}
    with pytest.raises(RegistryRefused):
        verify(tagged, key.public)
    registry.refused = {"GET": (500, "broken")}
    with pytest.raises(RegistryFailed):
        verify(tagged, key.public)
    registry.refused = {}
    with pytest.raises(ImageMissing, match="no registry holds"):
        verify(tagged.tagged("2"), key.public)


def test_a_mirror_that_holds_no_signature_is_passed_over(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image comes from the mirror, the signature from where it was made; a mirror that swaps images is caught."""
    sign(tagged, digest(registry), key)
    with small_registry() as mirror:
        conf = f'[[registry]]\nlocation = "{registry.address}"\n[[registry.mirror]]\nlocation = "{mirror.address}"\n'
        (home / "mirrors.conf").write_text(conf)
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "mirrors.conf"))
        mirror.manifests["ferry", "1"] = registry.manifests["ferry", "1"]
        assert verify(tagged, key.public).digest == digest(registry)
        assert mirror.asked
        image(mirror, "ferry", "1", BASE, LIBRARIES)
        with pytest.raises(ImageUnsigned):
            verify(tagged, key.public)


def test_a_signing_that_was_cut_leaves_nothing_half_signed(
    registry: SmallRegistry, tagged: Reference, key: PrivateKey
) -> None:
    registry.refused = {"PATCH": (403, "full")}
    with pytest.raises(RegistryRefused):
        sign(tagged, digest(registry), key)
    registry.refused = {}
    with pytest.raises(ImageUnsigned):
        verify(tagged, key.public)
    assert sign(tagged, digest(registry), key)
    verify(tagged, key.public)
