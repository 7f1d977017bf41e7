"""What a registry holds: digests and labels, asked over its HTTP API; and the credentials it is asked with."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

from wherry.deploy.endpoints import HUB_API, Endpoint, endpoints
from wherry.deploy.transport import TIMEOUT_SECONDS, Answer, send
from wherry.errors import RegistryFailed, RegistryRefused
from wherry.release.reference import DOCKER_HUB, Reference

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
HUB_KEY = "https://index.docker.io/v1/"


def digest(reference: Reference) -> str | None:
    """The digest that the registry holds under the reference's tag, None when it holds none.

    Asks each place where the image may lie, mirrors first. Raises RegistryFailed, RegistryRefused.
    """
    return holder(reference)[1]


def holder(reference: Reference) -> tuple[Endpoint, str | None]:
    """The endpoint that holds the reference, or the last that was asked, and the digest."""
    what = reference.digest or reference.tag or "latest"
    troubles: list[RegistryFailed] = []
    silent: Endpoint | None = None
    for endpoint in endpoints(reference):
        try:
            answer = ask(endpoint, "HEAD", f"manifests/{what}", INDEXES + MANIFESTS)
        except RegistryFailed as trouble:
            troubles.append(trouble)
            continue
        if answer.status == 200:
            return endpoint, answer.headers.get("Docker-Content-Digest")
        silent = endpoint
    if silent is None:
        raise troubles[-1]
    return silent, None


def labels(reference: Reference) -> dict[str, str]:
    """The labels of the image, of its first platform where it has several; empty when there is no such image."""
    endpoint, found = holder(reference)
    if found is None:
        return {}
    manifest = document(endpoint, f"manifests/{found}", INDEXES + MANIFESTS)
    if "manifests" in manifest:
        manifest = document(endpoint, f"manifests/{manifest['manifests'][0]['digest']}", MANIFESTS)
    config = document(endpoint, f"blobs/{manifest['config']['digest']}", ("*/*",))
    return dict((config.get("config") or {}).get("Labels") or {})


def document(endpoint: Endpoint, path: str, accept: tuple[str, ...]) -> dict[str, Any]:
    answer = ask(endpoint, "GET", path, accept)
    try:
        found = json.loads(answer.body)
    except ValueError as error:
        raise RegistryFailed(endpoint.host, f"answers {path} with {answer.status} and no JSON") from error
    if answer.status != 200 or not isinstance(found, dict):
        raise RegistryFailed(endpoint.host, f"answers {path} with {answer.status}")
    return found


def ask(endpoint: Endpoint, method: str, path: str, accept: tuple[str, ...]) -> Answer:
    """One question about the endpoint's repository, asked again with a token where the registry wants one."""
    url = f"{endpoint.base}/v2/{endpoint.path}/{path}"
    headers = {"Accept": ", ".join(accept)}
    answer = send(endpoint.host, method, url, headers)
    if answer.status == 401:
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer = send(endpoint.host, method, url, {**headers, "Authorization": authorization(endpoint, challenge)})
    if answer.status in (401, 403):
        raise RegistryRefused(endpoint.host, f"it refuses {method} of {endpoint.path} ({answer.status})")
    if answer.status >= 500 or answer.status == 429:
        raise RegistryFailed(endpoint.host, f"it answers {answer.status}")
    return answer


def authorization(endpoint: Endpoint, challenge: str, scopes: tuple[str, ...] = ()) -> str:
    """The Authorization header that the challenge asks for: a bearer token fetched, or the user's name and password.

    scopes: what a token must allow; by default what the challenge says.
    """
    held = credentials(endpoint.host)
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() != "bearer":
        return f"Basic {held}"
    facts = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm = facts.get("realm", "")
    if urllib.parse.urlsplit(realm).scheme not in ("http", "https"):
        raise RegistryFailed(endpoint.host, f"it asks for a token and names no place to get one: {challenge}")
    query = [("scope", scope) for scope in scopes or (facts.get("scope", f"repository:{endpoint.path}:pull"),)]
    if "service" in facts:
        query.append(("service", facts["service"]))
    answer = send(
        endpoint.host,
        "GET",
        f"{realm}?{urllib.parse.urlencode(query)}",
        {"Authorization": f"Basic {held}"} if held else {},
    )
    if answer.status != 200:
        known = "with the credentials kept here" if held else "without credentials"
        raise RegistryRefused(endpoint.host, f"it gives no token for {endpoint.path} {known} ({answer.status})")
    token = json.loads(answer.body)
    return f"Bearer {token.get('token') or token.get('access_token', '')}"


def credentials(host: str) -> str:
    """What `docker login` or `buildah login` keeps for the registry, name:password in base64; empty when nothing."""
    keys = (HUB_KEY, DOCKER_HUB) if host in (DOCKER_HUB, HUB_API) else (host, f"https://{host}")
    for path in login_files():
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for key in keys:
            entry = table.get("auths", {}).get(key, {})
            if entry.get("auth"):
                return str(entry["auth"])
            helper = table.get("credHelpers", {}).get(key) or table.get("credsStore")
            held = from_helper(helper, key) if helper else ""
            if held:
                return held
    return ""


def from_helper(helper: str, key: str) -> str:
    """What the program docker-credential-HELPER keeps, as `credentials` gives it."""
    try:
        asked = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=key,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
        found = json.loads(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""  # no such helper, or nothing kept: the registry is asked without credentials
    return base64.b64encode(f"{found.get('Username', '')}:{found.get('Secret', '')}".encode()).decode()


def login_files() -> list[Path]:
    found = [Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"]
    if "REGISTRY_AUTH_FILE" in os.environ:
        found.insert(0, Path(os.environ["REGISTRY_AUTH_FILE"]))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        found.append(Path(runtime) / "containers/auth.json")
    return found
