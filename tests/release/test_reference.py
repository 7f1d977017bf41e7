"""Names of images, taken apart as Docker takes them."""

from __future__ import annotations

import pytest

from wherry.errors import ImageNameRefused
from wherry.release.reference import Reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", "", ""),
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim", ""),
        ("me/model:1", "docker.io", "me/model", "1", ""),
        ("localhost/model", "localhost", "model", "", ""),
        ("localhost:5000/a/b:t", "localhost:5000", "a/b", "t", ""),
        (f"ghcr.io/a/b@{DIGEST}", "ghcr.io", "a/b", "", DIGEST),
        (f"[::1]:5000/a:t@{DIGEST}", "[::1]:5000", "a", "t", DIGEST),
        ("docker.io/python", "docker.io", "library/python", "", ""),
    ],
)
def test_parts(text: str, host: str, path: str, tag: str, digest: str) -> None:
    found = Reference.parse(text)
    assert (found.host, found.path, found.tag, found.digest) == (host, path, tag, digest)
    assert str(found) == text


@pytest.mark.parametrize(
    "text", ["", "Breast", "a b", "host.example/", "a:", "a@", "a@sha256:12", "a:b c", "x/Y:1", "a//b"]
)
def test_what_is_no_name_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(ImageNameRefused) as caught:
        Reference.parse(text)
    assert caught.value.hint.startswith("--image ")


def test_tagged_and_pinned() -> None:
    found = Reference.parse(f"localhost:5000/a:t@{DIGEST}")
    assert str(found.tagged("new")) == "localhost:5000/a:new"
    assert str(found.pinned(DIGEST)) == f"localhost:5000/a@{DIGEST}"
