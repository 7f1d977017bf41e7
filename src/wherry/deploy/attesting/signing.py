"""Keys, and what is signed with them: ECDSA over P-256, as cosign's pairs are. The libraries live here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wherry.errors import ExtraMissing, KeyUnusable

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        SECP256R1,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import (
        load_der_private_key,
        load_pem_private_key,
        load_pem_public_key,
    )
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox
except ImportError as missing:
    raise ExtraMissing(missing.name or "cryptography", "sign", "signing images and verifying signatures") from missing

# What `cosign generate-key-pair` writes, now and before: JSON with the key in a box that a password opens.
BOXED = re.compile(
    rb"-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----(?P<body>[A-Za-z0-9+/=\s]+)"
    rb"-----END ENCRYPTED \1 PRIVATE KEY-----"
)
# The costs that cosign's own library takes; any other is a mistake, or wants our memory.
COSTS = tuple({"N": number, "r": 8, "p": 1} for number in (1 << 15, 1 << 16, 1 << 17))
KEY_BYTES, MEMORY = 32, 256 << 20
LARGEST = 1 << 16
MAKE_ONE = "openssl ecparam -name prime256v1 -genkey -noout -out image.key"
TAKE_PUBLIC = "openssl ec -in image.key -pubout -out image.pub"
PASSWORD = "COSIGN_PASSWORD=..."
OTHER_KIND = "is of another kind than ECDSA over P-256, which cosign's own keys are"


class PublicKey:
    """Says whether a signature is of its other half."""

    def __init__(self, key: EllipticCurvePublicKey) -> None:
        self.key = key

    @staticmethod
    def read(path: Path) -> PublicKey:
        """The key in a PEM file, as `cosign.pub` is. Raises KeyUnusable."""
        text = content(path, TAKE_PUBLIC)
        if b"PRIVATE KEY-----" in text:
            reason = "is a private key; verifying takes the public one"
            raise KeyUnusable(str(path), reason, f"openssl ec -in {path} -pubout, or cosign public-key --key {path}")
        try:
            key = load_pem_public_key(text)
        except (ValueError, UnsupportedAlgorithm) as error:
            reason = "is no public key in PEM, which begins with -----BEGIN PUBLIC KEY-----"
            raise KeyUnusable(str(path), reason, "cosign public-key --key cosign.key") from error
        if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
            raise KeyUnusable(str(path), OTHER_KIND, MAKE_ONE)
        return PublicKey(key)

    def signed(self, payload: bytes, signature: str) -> bool:
        """Whether the base64 text is a signature of the payload by this key's other half."""
        try:
            self.key.verify(base64.b64decode(signature, validate=True), payload, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


class PrivateKey:
    """Signs, and knows its public half."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self.key = key
        self.public = PublicKey(key.public_key())

    @staticmethod
    def read(path: Path, password: Callable[[], str]) -> PrivateKey:
        """The key in a PEM file: plain, encrypted, or as `cosign generate-key-pair` writes it.

        password: called where the file asks for one. Raises KeyUnusable.
        """
        text = content(path, MAKE_ONE)
        boxed = BOXED.search(text)
        encrypted = b"ENCRYPTED" in text
        secret = password().encode() if encrypted else None
        try:
            key = load_der_private_key(opened(boxed["body"], secret or b""), None) if boxed else None
            key = key or load_pem_private_key(text, secret)
        except (ValueError, TypeError, KeyError, UnsupportedAlgorithm, CryptoError) as error:
            if encrypted and (isinstance(error, CryptoError) or not boxed):
                raise KeyUnusable(str(path), "is not opened by this password", PASSWORD) from error
            reason = "is no private key in PEM"
            if b"PUBLIC KEY" in text:
                reason = "is a public key; signing takes the private one"
            raise KeyUnusable(str(path), reason, MAKE_ONE) from error
        if not (isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)):
            raise KeyUnusable(str(path), OTHER_KIND, MAKE_ONE)
        return PrivateKey(key)

    def sign(self, payload: bytes) -> str:
        """The signature in base64, as cosign's annotation has it."""
        return base64.b64encode(self.key.sign(payload, ECDSA(SHA256()))).decode()


def opened(body: bytes, secret: bytes) -> bytes:
    """What lies in a box of cosign's. Raises CryptoError for a wrong password, ValueError for what is no such box."""
    try:
        box: dict[str, Any] = json.loads(base64.b64decode(body))
        names, costs = (box["kdf"]["name"], box["cipher"]["name"]), box["kdf"]["params"]
        salt, nonce = (base64.b64decode(text) for text in (box["kdf"]["salt"], box["cipher"]["nonce"]))
        sealed = base64.b64decode(box["ciphertext"])
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError("it is damaged") from error
    if names != ("scrypt", "nacl/secretbox") or costs not in COSTS:
        raise ValueError(f"it is locked by {' and '.join(names)} at costs that cosign does not use")
    key = hashlib.scrypt(secret, salt=salt, n=costs["N"], r=costs["r"], p=costs["p"], dklen=KEY_BYTES, maxmem=MEMORY)
    return bytes(SecretBox(key).decrypt(sealed, nonce))


def content(path: Path, missing: str) -> bytes:
    """The file's bytes; `missing` is what to type where there is none. Raises KeyUnusable."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
        hint = missing if isinstance(error, FileNotFoundError) else f"ls -l {path}"
        raise KeyUnusable(str(path), reason, hint) from error
