"""Asking registries, against a small one on this machine: tokens, refusals, silence, mirrors."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from wherry.deploy import registry
from wherry.deploy.endpoints import endpoints
from wherry.errors import RegistryFailed, RegistryRefused
from wherry.release.reference import Reference

DIGEST = "sha256:" + "d" * 64
SECRET = base64.b64encode(b"carrier:s3cret").decode()


class Small(BaseHTTPRequestHandler):
    """A registry of one repository `model` with the tag `1`; `locked` asks for a token first."""

    rules: ClassVar[dict[str, Any]] = {}

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == "/token":
            given = self.headers.get("Authorization") == f"Basic {SECRET}"
            return self.reply(200 if given else 401, {"token": "pass"})
        if self.rules.get("status"):
            return self.reply(self.rules["status"], {})
        if self.rules.get("locked") and self.headers.get("Authorization") != "Bearer pass":
            realm = f"http://{self.headers['Host']}/token"
            return self.reply(401, {}, {"WWW-Authenticate": f'Bearer realm="{realm}",service="small"'})
        if path in ("/v2/model/manifests/1", f"/v2/model/manifests/{DIGEST}"):
            manifest = {"config": {"digest": "sha256:c"}}
            return self.reply(200, manifest, {"Docker-Content-Digest": DIGEST})
        if path == "/v2/model/blobs/sha256:c":
            return self.reply(200, {"config": {"Labels": {"wherry.dev/content": "abc"}}})
        return self.reply(404, {"errors": []})

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a small registry; nobody is logged in, and no registries.conf is read."""
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "none.conf"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(Small, "rules", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Small)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def log_in(tmp_path: Path, table: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(table))


def test_digest_and_labels_of_a_tag(small: str) -> None:
    reference = Reference.parse(f"{small}/model:1")
    assert registry.digest(reference) == DIGEST
    assert registry.labels(reference) == {"wherry.dev/content": "abc"}


def test_a_tag_that_is_not_there_is_none(small: str) -> None:
    assert registry.digest(Reference.parse(f"{small}/model:2")) is None
    assert registry.labels(Reference.parse(f"{small}/other:1")) == {}


@pytest.mark.parametrize("kept", ["auths", "helper"])
def test_a_token_is_fetched_with_what_login_kept(
    kept: str, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Small.rules["locked"] = True
    if kept == "auths":
        log_in(tmp_path, {"auths": {small: {"auth": SECRET}}})
    else:
        helper = tmp_path / "docker-credential-test"
        helper.write_text('#!/bin/sh\nread host; echo \'{"Username": "carrier", "Secret": "s3cret"}\'\n')
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        log_in(tmp_path, {"credsStore": "test"})
    assert registry.digest(Reference.parse(f"{small}/model:1")) == DIGEST


def test_wrong_credentials_are_refused_with_the_login_to_type(small: str) -> None:
    Small.rules["locked"] = True
    with pytest.raises(RegistryRefused) as caught:
        registry.digest(Reference.parse(f"{small}/model:1"))
    assert f"docker login {small}" in caught.value.hint
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_registry_in_trouble_is_named(status: int, small: str) -> None:
    Small.rules["status"] = status
    with pytest.raises(RegistryFailed, match=f"{small}.*{status}"):
        registry.digest(Reference.parse(f"{small}/model:1"))


def test_a_registry_that_is_down_is_named() -> None:
    with pytest.raises(RegistryFailed, match=r"127\.0\.0\.1:9"):
        registry.digest(Reference.parse("127.0.0.1:9/model:1"))


def test_mirrors_are_asked_first_and_the_registry_when_they_fail(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "registries.conf"
    conf.write_text(
        '[[registry]]\nlocation = "far.example"\ninsecure = true\n'
        '[[registry.mirror]]\nlocation = "127.0.0.1:9"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{small}"\ninsecure = true\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    reference = Reference.parse("far.example/model:1")
    assert [found.base for found in endpoints(reference)] == [
        "http://127.0.0.1:9",
        f"http://{small}",
        "http://far.example",
    ]
    assert registry.digest(reference) == DIGEST


def test_a_prefix_is_moved_to_its_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "registries.conf"
    conf.write_text(
        '[[registry]]\nprefix = "far.example/team"\nlocation = "near.example/held"\n'
        '[[registry]]\nlocation = "far.example"\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    assert [(found.base, found.path) for found in endpoints(Reference.parse("far.example/team/model"))] == [
        ("https://near.example", "held/model")
    ]
    assert endpoints(Reference.parse("far.example/teams/model"))[0].base == "https://far.example"
    assert endpoints(Reference.parse("python"))[0].base == "https://registry-1.docker.io"
