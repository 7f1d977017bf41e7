"""`wherry build` where something is wrong: what it says, what it leaves behind, and that the next run goes on."""

from __future__ import annotations

import http.server
import importlib.util
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.contract import settings
from wherry.deploy import bases, pins, registry, session
from wherry.deploy.lock import Lock, Packages, write
from wherry.deploy.wheel import requirements
from wherry.deploy.wheels import digest_of
from wherry.errors import BaseMissing, RegistryUntrusted, RequirementsUnresolved
from wherry.model import bundle as bundles
from wherry.release import image
from wherry.release.reference import Reference

found = importlib.util.spec_from_file_location("small_registry", Path(__file__).with_name("small_registry.py"))
assert found is not None
assert found.loader is not None
small = importlib.util.module_from_spec(found)
found.loader.exec_module(small)

PATIENCE = 60.0


@pytest.fixture
def held() -> Iterator[Any]:
    with small.small_registry() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, held: Any, linear_bundle: Path) -> Path:
    """A project whose lock is settled on one small wheel and the small registry's base."""
    home = tmp_path / "project"
    home.mkdir()
    manifest = bundles.read_manifest(linear_bundle)
    wheel = home / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("noise.bin", os.urandom(600_000))
        archive.writestr("thing-1.0.dist-info/RECORD", "")
    digest = f"sha256:{digest_of(wheel)}"
    kept = home / "cache" / "wherry" / "wheels" / digest.removeprefix("sha256:")
    kept.mkdir(parents=True)
    wheel.rename(kept / wheel.name)
    asked = image.wanted(settings.resolve({}, {}, {}).project, manifest)
    open_ones = dict(zip(asked, requirements(asked), strict=True))
    wanted = tuple(f"{name}=={version}" if version else open_ones[name] for name, version in asked.items())
    base = f"{held.address}/library/base:1"
    key = f"{manifest.requirements.python} {pins.native_platform()}"
    lock = Lock({base: held.base()}, {key: Packages(wanted, (f"thing==1.0 --hash={digest}",))})
    write(home / "wherry.lock", lock)
    (home / "wherry.toml").write_text(f'[image]\nbase = "{base}"\nattest = false\n')
    (home / "bundle").symlink_to(linear_bundle)
    return home


def environ(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WHERRY_")}
    return {**kept, "XDG_CACHE_HOME": str(folder / "cache"), "DOCKER_CONFIG": str(folder), "NO_COLOR": "1"}


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wherry", "build", "--builder", "direct", *words],
        cwd=folder,
        env=environ(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def half_written(folder: Path) -> list[str]:
    """What no finished write leaves behind."""
    every = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in every if path.name.startswith(".") or "new-" in path.name]


def test_ctrl_c_says_what_stands_and_the_next_run_goes_on(held: Any, folder: Path) -> None:
    """In the middle of a push: no tag, nothing half-written, exit code 130; then not a byte twice."""
    name = f"{held.address}/ferry:1"
    held.pause_after = 200_000
    process = start(folder, "-t", name, "--push")
    assert held.paused.wait(PATIENCE), process.communicate(timeout=5)[1]
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, told
    assert "interrupted: no tag was set" in told
    assert "run the same command again" in told
    assert ("ferry", "1") not in held.manifests
    assert half_written(folder) == []
    held.going.set()
    until = time.monotonic() + PATIENCE
    while held.receiving and time.monotonic() < until:
        time.sleep(0.01)
    arrived = held.received
    again = start(folder, "-t", name, "--push")
    _, told = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, told
    assert ("ferry", "1") in held.manifests
    below = {digest for repository, digest in held.blobs if repository == "library/base"}
    ours = [blob for (repository, digest), blob in held.blobs.items() if repository == "ferry" and digest not in below]
    assert 200_000 <= arrived < held.received == sum(map(len, ours))


def test_ctrl_c_while_a_file_is_written_leaves_none(held: Any, folder: Path) -> None:
    held.holds_layers = True  # the base's layer, which the file needs, does not come
    process = start(folder, "-t", "ferry:1", "--output", "ferry.tar")
    assert held.paused.wait(PATIENCE), process.communicate(timeout=5)[1]
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    held.going.set()
    assert process.returncode == 130, told
    assert not (folder / "ferry.tar").exists()
    assert half_written(folder) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot mount a small disk here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_full_is_said_and_left_as_it_was(held: Any, folder: Path, small_disk: Path) -> None:
    """The cache on it, the file on it: neither is half there, and freeing space is all it takes."""
    process = start(folder, "-t", "ferry:1", "--output", str(small_disk / "ferry.tar"))
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, told
    assert f"no space left on the disk that holds {small_disk}" in told
    assert f"df -h {small_disk}" in told
    assert list(small_disk.iterdir()) == []
    whole = start(folder, "-t", "ferry:1", "--output", "ferry.tar")
    assert (whole.communicate(timeout=PATIENCE), whole.returncode)[1] == 0
    (small_disk / "wherry").mkdir()
    (small_disk / "wherry" / "wheels").symlink_to(folder / "cache" / "wherry" / "wheels")
    crowded = subprocess.run(
        [sys.executable, "-m", "wherry", "build", "--builder", "direct", "-t", "ferry:1", "--output", "other.tar"],
        cwd=folder,
        env={**environ(folder), "XDG_CACHE_HOME": str(small_disk)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert crowded.returncode == 1
    assert f"no space left on the disk that holds {small_disk}" in crowded.stderr
    assert half_written(small_disk) == []
    assert not (folder / "other.tar").exists()


def test_a_certificate_that_nobody_vouches_for_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, without five tries, with what makes it trusted; and trusted it is then."""
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:far.localhost,IP:127.0.0.1", "-days", "2"),
            *("-keyout", "key.pem", "-out", "ca.pem"),
        ],
        cwd=tmp_path,
        capture_output=True,
    )
    assert made.returncode == 0, made.stderr
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    conf = tmp_path / "registries.conf"
    place = f"far.localhost:{server.server_port}"
    conf.write_text("")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("socket.getaddrinfo", here(server.server_port))
    waits: list[float] = []
    try:
        reference = Reference.parse(f"{place}/model:1")
        with pytest.raises(RegistryUntrusted, match="certificate verify failed") as caught:
            session.patiently(lambda: registry.digest(reference), wait=waits.append)
        assert waits == []
        assert "SSL_CERT_FILE" in caught.value.hint
        with pytest.raises(BaseMissing, match="certificate verify failed"):
            bases.fetch(reference.pinned("sha256:" + "a" * 64), "linux/amd64")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert registry.digest(reference) is None
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def here(port: int) -> Callable[..., Any]:
    """Every name is this machine."""
    import socket

    place = ("127.0.0.1", port)
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)]


class Silent(http.server.BaseHTTPRequestHandler):
    """A registry that holds nothing."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_packages_that_do_not_go_together_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version, needs in (("one", "1.0", "two<2"), ("two", "1.0", ""), ("two", "2.0", "")):
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(tmp_path / f"{name}-{version}-py3-none-any.whl", "w") as made:
            line = f"Requires-Dist: {needs}\n" if needs else ""
            made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{line}")
            made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            made.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(RequirementsUnresolved, match=r"that go together of one==1\.0, two==2\.0") as caught:
        pins.pin_requirements(("one==1.0", "two==2.0"), "3.11", "linux/amd64")
    assert "versions that go together" in caught.value.hint
    assert any("one 1.0 depends on two<2" in line for line in caught.value.lines)
    assert pins.pin_requirements(("one==1.0", "two"), "3.11", "linux/amd64")  # with one that does, they are found
