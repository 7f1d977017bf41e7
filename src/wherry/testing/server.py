"""The API over HTTP on 127.0.0.1, as the official client speaks to it."""

from __future__ import annotations

import copy
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from wherry.testing.api import KINDS, VERBS, FakeApi, Refused
from wherry.testing.fields import Key, Object

PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[a-z]+)(?P<rest>/.*)?)?)?$"
)


class FakeApiServer:
    """`with FakeApiServer() as server:` an API at `server.url`, its state at `server.api`."""

    def __init__(self) -> None:
        self.api = FakeApi()
        api = self.api

        class Bound(_Handler):
            state = api

        self._http = _Server(("127.0.0.1", 0), Bound)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def kubeconfig(self, path: Path, namespace: str = "default", context: str = "fake") -> Path:
        """Writes a kubeconfig whose current context is this server."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": context, "cluster": {"server": self.url}}],
            "users": [{"name": context, "user": {"token": "any"}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": namespace}}],
        }
        path.write_text(json.dumps(config))
        return path

    def __enter__(self) -> FakeApiServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is no error: a watch ends so."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: without this each reply waits 40 ms for an ACK
    state: FakeApi

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        split = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(split.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.requests.append((self.command, self.path))
        try:
            found = self._route(split.path, query, body)
        except Refused as refused:
            self._reply(refused.code, json.dumps(refused.status).encode())
        else:
            if found is not None:
                self._reply(200, json.dumps(found).encode())

    def _route(self, path: str, query: Mapping[str, str], body: bytes) -> Object | None:
        if path in ("/api", "/apis"):
            return discovery(path == "/api")
        found = PATH.match(path)
        if found is None:
            raise Refused(404, "404 page not found")
        plural, namespace, name = found["plural"], found["namespace"] or "", unquote(found["name"] or "")
        if plural == "selfsubjectaccessreviews":
            wish = json.loads(body)["spec"]["resourceAttributes"]
            resource = wish["resource"] + (f"/{wish['subresource']}" if wish.get("subresource") else "")
            asked = (wish["verb"], resource)
            return {"status": {"allowed": not self.state.denied if "*" in asked else asked not in self.state.denied}}
        if plural not in KINDS:
            raise Refused(404, "the server could not find the requested resource")
        self._permit(plural, name, found["sub"] or "", namespace, query)
        if found["group"] == "metrics.k8s.io":
            with self.state.changed:
                return self.state.measured(namespace, query.get("labelSelector", ""))
        if found["sub"] == "proxy":
            with self.state.changed:
                self.state.get((plural, namespace, name.split(":")[0]))
            status, headers, answer = self.state.answer(name.split(":")[0], body)
            self._reply(status, answer, headers)
            return None
        if found["sub"] == "log":
            self._log(namespace, name)
            return None
        return self._objects((plural, namespace, name), query, body)

    def _objects(self, key: Key, query: Mapping[str, str], body: bytes) -> Object | None:
        api = self.state
        if self.command == "GET" and query.get("watch"):
            self._stream(
                api.watch(
                    key[0],
                    key[1],
                    int(query["resourceVersion"]),
                    query.get("labelSelector", ""),
                    float(query.get("timeoutSeconds", 60)),
                )
            )
            return None
        with api.changed:
            if self.command == "PATCH":
                wish, manager = json.loads(body), query["fieldManager"]
                made = api.apply(key, wish, manager, query.get("force") == "true", query.get("dryRun") == "All")
            elif self.command == "POST":
                made = api.create(key[0], key[1], json.loads(body))
            elif self.command == "PUT":
                made = api.replace(key, json.loads(body))
            elif self.command == "DELETE":
                made = api.delete(key, json.loads(body or b"{}").get("preconditions"))
            elif key[2]:
                made = api.get(key)
            else:
                made = api.list(key[0], key[1], query.get("labelSelector", ""), query.get("fieldSelector", ""))
            return copy.deepcopy(made)

    def _permit(self, plural: str, name: str, sub: str, namespace: str, query: Mapping[str, str]) -> None:
        verb = {"PATCH": "patch", "PUT": "update", "DELETE": "delete", "POST": "create"}.get(
            self.command, "get" if name else "list"
        )
        verb = "watch" if query.get("watch") else verb
        resource = f"{plural}/{sub}" if sub else plural
        if (verb, resource) in self.state.denied:
            group = KINDS[plural][0].rpartition("/")[0]
            where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
            raise Refused(
                403,
                f'{plural} "{name}" is forbidden: User "poor" cannot {verb} resource "{resource}" in API group '
                f'"{group}"{where}',
            )

    def _log(self, namespace: str, name: str) -> None:
        self.state.get(("pods", namespace, name))
        self._reply(200, self.state.logs.get(name, "").encode(), {"Content-Type": "text/plain"})

    def _stream(self, events: Iterator[Object]) -> None:
        """One chunk an event, as the API server sends them."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for event in events:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # whoever watched has gone

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def discovery(core: bool) -> Object:
    """Every kind, as the aggregated discovery of /api or /apis lists them."""
    groups: dict[str, list[Object]] = {}
    for plural, (api, kind, namespaced) in KINDS.items():
        if ("/" not in api) == core:
            scope = "Namespaced" if namespaced else "Cluster"
            entry = {"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": VERBS}
            groups.setdefault(api, []).append(entry)
    items = []
    for api, resources in groups.items():
        group, _, version = api.rpartition("/")
        items.append({"metadata": {"name": group}, "versions": [{"version": version, "resources": resources}]})
    return {"kind": "APIGroupDiscoveryList", "items": items}
