"""What browsers are shown: one HTML document each, complete in itself, that asks no other host for anything."""

from __future__ import annotations

from typing import Any

from wherry.contract.manifest import Manifest

# Send it as Content-Security-Policy with both documents: styles and scripts are allowed by their sha-256 alone.
CSP = "default-src 'none'"


def page(manifest: Manifest, example: dict[str, Any]) -> bytes:
    """The page of GET /: a form made from the signature, filled in with `example` (example.json: a request body).

    Send it as text/html; charset=utf-8 with `CSP`; it is the same for every request, so make it once.
    """
    return b"<!doctype html><title>wherry</title>"


def docs_page(manifest: Manifest) -> bytes:
    """The page of GET /docs, which reads ./openapi.json. Send it as `page` is sent."""
    return b"<!doctype html><title>wherry</title>"
