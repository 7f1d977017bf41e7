"""Signatures as cosign makes them, held against vectors that others published; and keys that are none."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wherry.deploy.attesting import signatures, signing
from wherry.deploy.attesting.signatures import Signature
from wherry.deploy.attesting.signing import CryptoError, PrivateKey, PublicKey
from wherry.errors import KeyUnusable
from wherry.release.reference import Reference

DATA = Path(__file__).parents[1] / "data" / "cosign"
VECTORS: dict[str, Any] = json.loads((DATA / "signatures.json").read_text())
KEYS: dict[str, Any] = json.loads((DATA / "keys.json").read_text())
DIGEST = "sha256:634a8f35b5f16dcf4aaa0822adc0b1964bb786fca12f6831de8ddc45e5986a00"


def public(tmp_path: Path, text: str) -> PublicKey:
    (tmp_path / "key.pub").write_text(text)
    return PublicKey.read(tmp_path / "key.pub")


def private(tmp_path: Path, text: str, password: str = "") -> PrivateKey:
    (tmp_path / "image.key").write_text(text)
    return PrivateKey.read(tmp_path / "image.key", lambda: password)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["from"])
def test_what_cosign_signed_is_verified(vector: dict[str, str], tmp_path: Path) -> None:
    key = public(tmp_path, VECTORS["public_key"])
    payload = vector["payload"].encode()
    assert key.signed(payload, vector["signature"])
    assert Signature(payload, vector["signature"]).digest == DIGEST
    assert not key.signed(payload + b" ", vector["signature"])
    assert not key.signed(payload, vector["signature"].replace("A", "B", 1))
    assert not public(tmp_path, VECTORS["other_public_key"]).signed(payload, vector["signature"])


def test_what_another_signed_is_not_verified(tmp_path: Path) -> None:
    (vector,) = VECTORS["unknown_key"]
    assert not public(tmp_path, VECTORS["public_key"]).signed(vector["payload"].encode(), vector["signature"])


@pytest.mark.parametrize("text", ["", "no base64", "AAAA", "MEYC", base64.b64encode(b"\x30\x00").decode()])
def test_no_signature_is_no_signature(text: str, tmp_path: Path) -> None:
    assert not public(tmp_path, VECTORS["public_key"]).signed(b"payload", text)


def test_payload_is_cosign_s_byte_for_byte() -> None:
    reference = Reference.parse("192.168.64.2:5000/cosign-signed-single-sample:1")
    assert signatures.payload(reference, DIGEST).decode() == VECTORS["valid"][0]["payload"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"critical": {"type": "cosign container image signature"}}',
        b'{"critical": {"type": "another", "image": {"docker-manifest-digest": "sha256:1"}}}',
        b'{"critical": {"type": "cosign container image signature", "image": []}}',
    ],
)
def test_a_payload_of_another_kind_vouches_for_nothing(payload: bytes) -> None:
    assert Signature(payload, "").digest == ""


@pytest.mark.parametrize("name", ["p256", "p256_pkcs8", "cosign", "sigstore"])
def test_keys_sign(name: str, tmp_path: Path) -> None:
    key = private(tmp_path, KEYS[name], KEYS["password"])
    signature = key.sign(b"payload")
    assert key.public.signed(b"payload", signature)
    assert not key.public.signed(b"another", signature)
    assert not public(tmp_path, VECTORS["public_key"]).signed(b"payload", signature)


@pytest.mark.parametrize("name", ["cosign", "sigstore"])
def test_a_wrong_password_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="is not opened by this password"):
        private(tmp_path, KEYS[name], "wrong")


def test_a_plain_key_asks_for_no_password(tmp_path: Path) -> None:
    (tmp_path / "image.key").write_text(KEYS["p256"])

    def asked() -> str:
        raise AssertionError("it asked")

    PrivateKey.read(tmp_path / "image.key", asked)


def test_boxes_open_as_their_library_opens_them() -> None:
    boxes = KEYS["boxes"]
    for box in boxes["opens"]:
        body = base64.b64encode(json.dumps(box).encode())
        plain = signing.opened(body, boxes["password"].encode())  # Go writes bytes as base64 in JSON
        assert base64.b64decode(json.loads(plain)) == boxes["plaintext"].encode()
        with pytest.raises(CryptoError):
            signing.opened(body, b"\0upersecret")
    with pytest.raises(ValueError, match="at costs that cosign does not use"):
        signing.opened(base64.b64encode(json.dumps(boxes["refused"]).encode()), boxes["password"].encode())


@pytest.mark.parametrize("name", ["p384", "ed25519"])
def test_other_kinds_of_keys_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="another kind than ECDSA over P-256") as caught:
        private(tmp_path, KEYS[name])
    assert "prime256v1" in caught.value.hint


def test_a_damaged_box_is_no_key(tmp_path: Path) -> None:
    lines = KEYS["sigstore"].splitlines()
    for body in (lines[1:3], [base64.b64encode(b"[]").decode()], [base64.b64encode(b'{"kdf": {}}').decode()]):
        with pytest.raises(KeyUnusable, match="is no private key in PEM"):
            private(tmp_path, "\n".join([lines[0], *body, lines[-1]]), KEYS["password"])


def test_halves_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="is a public key; signing takes the private one"):
        private(tmp_path, VECTORS["public_key"])
    with pytest.raises(KeyUnusable, match="is a private key; verifying takes the public one") as caught:
        public(tmp_path, KEYS["p256"])
    assert "-pubout" in caught.value.hint
    for text in ("", "nothing", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(KeyUnusable, match="is no public key in PEM"):
            public(tmp_path, text)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="cannot be read: no such file or directory") as caught:
        PublicKey.read(tmp_path / "none.pub")
    assert "-pubout" in caught.value.hint
    with pytest.raises(KeyUnusable, match="cannot be read: is a directory"):
        PrivateKey.read(tmp_path, str)


def test_without_the_libraries_the_extra_is_named() -> None:
    """In a process of its own, where importing them fails."""
    program = """
import sys
sys.modules["cryptography"] = None
from wherry.errors import ExtraMissing
try:
    import wherry.deploy.attesting.signing
except ExtraMissing as error:
    print(error, error.hint)
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "needs cryptography" in child.stdout
    assert "pip install 'wherry[sign]'" in child.stdout
