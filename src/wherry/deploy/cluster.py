"""The only module that speaks to the Kubernetes API: plain dicts in and out, a deadline on every call.

The official client reads the kubeconfig (contexts, exec plugins, in-cluster tokens) and makes the TLS connections; its
generated models are not used, so an object travels as it was written.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode

import msgspec

from wherry.contract.names import MANAGER
from wherry.deploy import patience
from wherry.deploy.contexts import (
    DEFAULT_KUBECONFIG,
    IN_CLUSTER,
    Context,
    choose,
    is_local,
    read,
    require_named,
    source_of,
)
from wherry.deploy.patience import patiently
from wherry.deploy.refusals import Asked, explain, is_busy, is_status, reason, status_of
from wherry.deploy.resources import ACCESS_REVIEW, EVENT, POD, SERVICE, Kind, Object, kind_of, name_of
from wherry.errors import ExtraMissing, NoCluster, NotPermitted, ObjectMissing

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
# A field manager of its own for `wherry scale`: what it sets outlives the next deploy.
SCALE_MANAGER = "wherry-scale"

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_APPLY = "application/apply-patch+yaml"
Pairs: TypeAlias = Mapping[str, str] | None


class Answer(msgspec.Struct, frozen=True):
    """What a service behind the API server's proxy, or behind a forward, answered. headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Change(msgspec.Struct, frozen=True):
    """One change that a watch saw."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object


def connect(context: str = "", namespace: str = "", kubeconfig: str = "") -> Cluster:
    """The cluster that is meant, by the kubeconfig's conventions. Nothing is asked of it yet.

    context, namespace, kubeconfig: as named by flag or project, empty when they were not. Raises ExtraMissing,
    NoCluster, ContextMissing; ContextUnclear for a cluster off this machine that nobody named.
    """
    try:
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config import ConfigException, kube_config, load_incluster_config
    except ImportError as error:
        raise ExtraMissing("kubernetes", "kubernetes", "talking to a cluster") from error
    configuration = Configuration()
    source = kubeconfig or os.environ.get("KUBECONFIG", "")
    if not source and not Path(DEFAULT_KUBECONFIG).expanduser().exists() and _SERVICE_ACCOUNT.exists():
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # the library is untyped
        inside = _SERVICE_ACCOUNT.with_name("namespace")
        own = inside.read_text().strip() if inside.exists() else "default"
        return Cluster(ApiClient(configuration), Context(IN_CLUSTER, IN_CLUSTER, own), namespace, "", local=False)
    source = source_of(kubeconfig)
    contexts, current = read(source)
    chosen = choose(context, contexts, current, source)
    try:
        kube_config.load_kube_config(  # type: ignore[no-untyped-call]  # the library is untyped
            config_file=source, context=chosen.name, client_configuration=configuration, persist_config=False
        )
    except ConfigException as error:
        raise NoCluster(str(error), kubeconfig=source) from error
    local = is_local(chosen, configuration.host)
    require_named(context, chosen, configuration.host, local)
    return Cluster(ApiClient(configuration), chosen, namespace, source, local)


class Cluster:
    """One cluster and one namespace of it. Every method raises NoCluster, CredentialsRefused or NotPermitted."""

    def __init__(self, client: Any, context: Context, namespace: str, kubeconfig: str, local: bool) -> None:
        self._client = client
        self.context = context.name
        self.namespace = namespace or context.namespace
        self.server = str(client.configuration.host).rstrip("/")
        self.kubeconfig = kubeconfig
        self.is_local = local
        self._patience = 0.0

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """An API server that restarts meanwhile, or has no time, is waited for: what is safe to ask again is."""
        self._patience = patience.AWAY_SECONDS
        try:
            yield
        finally:
            self._patience = 0.0

    def get(self, kind: Kind, name: str) -> Object | None:
        """One object, None when there is none of that name."""
        try:
            return self._json("GET", self._asked("get", kind, name))
        except ObjectMissing:
            return None

    def list(self, kind: Kind, labels: str = "", fields: str = "") -> tuple[Object, ...]:
        """All objects of the kind in the namespace that the selectors match. Each carries its kind."""
        return self._listed(kind, labels, fields)[0]

    def apply(self, made: Object, *, manager: str = MANAGER, dry_run: bool = False, force: bool = False) -> Object:
        """The object as the server has it after a server-side apply with strict field validation.

        Raises Conflict naming who owns which field, ObjectRefused, NamespaceMissing.
        """
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower()}
        query["dryRun"] = "All" if dry_run else ""  # what is empty is not sent
        asked = self._asked("patch", kind_of(made), name_of(made))
        return self._json("PATCH", asked, query, json.dumps(made).encode(), {"Content-Type": _APPLY})

    def create(self, made: Object) -> Object:
        """The object as the server has it. Raises ObjectChanged where there is one of that name already."""
        ask = functools.partial(
            self._json, "POST", self._asked("create", kind_of(made)), body=json.dumps(made).encode()
        )
        return patience.once(ask, lambda: self.get(kind_of(made), name_of(made)), made, self._patience)

    def replace(self, made: Object) -> Object:
        """The object in the place of the version that its resourceVersion names; ObjectChanged where that is past."""
        return self._json("PUT", self._asked("update", kind_of(made), name_of(made)), body=json.dumps(made).encode())

    def delete(
        self,
        kind: Kind,
        name: str,
        propagation: Literal["Background", "Foreground"] = "Background",
        only: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether there was something to delete; with Foreground it stays until what it owns is gone.

        only: the uid and resourceVersion that it must have. Raises ObjectChanged where it has others.
        """
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        body = json.dumps(options | ({"preconditions": dict(only)} if only else {})).encode()
        try:
            self._json("DELETE", self._asked("delete", kind, name), body=body)
        except ObjectMissing:
            return False
        return True

    def watch(self, kind: Kind, labels: str = "", *, since: str = "", seconds: float = 60.0) -> Iterator[Change]:
        """Changes as they come, for `seconds`; a cut connection and an expired version are taken up again.

        since: the resourceVersion to go on from; empty: begins with everything there is, as ADDED.
        """
        until, version = time.monotonic() + seconds, since
        while (left := until - time.monotonic()) > 0:
            if not version:
                known, version = self._listed(kind, labels, "")
                yield from (Change("ADDED", made) for made in known)
            query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
            query |= {"timeoutSeconds": str(max(1, round(left))), "labelSelector": labels}
            for event in self._events(self._asked("watch", kind), query, left):
                if event["type"] == "ERROR":
                    version = ""  # 410 Gone: too old to go on from; begin again with everything there is
                    time.sleep(min(patience.ASK_AGAIN, left))
                    break
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    yield Change(event["type"], event["object"])

    def version_of(self, kind: Kind, labels: str = "") -> str:
        """The resourceVersion from which a watch misses nothing that happens after now."""
        return self._listed(kind, labels, "")[1]

    def may(self, verb: str, group: str, resource: str, namespaced: bool = True) -> bool:
        """Whether whoever asks may do this here."""
        plural, _, subresource = resource.partition("/")
        wish = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
        if namespaced:
            wish["namespace"] = self.namespace
        review = {
            "apiVersion": ACCESS_REVIEW.api_version,
            "kind": ACCESS_REVIEW.kind,
            "spec": {"resourceAttributes": wish},
        }
        reply = self._json("POST", self._asked("create", ACCESS_REVIEW), body=json.dumps(review).encode())
        return bool(reply["status"].get("allowed"))

    def ask_service(
        self, service: str, port: int | str, path: str, body: bytes, headers: Mapping[str, str], seconds: float = 30.0
    ) -> Answer:
        """POST to a Service through the API server's own proxy. The answer's status may be any.

        Raises NotPermitted where the proxy is not allowed. The proxy drops an Authorization header.
        """
        asked = self._asked("create", SERVICE, service, "proxy")
        where = SERVICE.path(self.namespace, f"{service}:{port}", "proxy") + path
        # What the service says is its answer, whatever the status; a prediction is safe to ask for again.
        ask = functools.partial(self._send, "POST", where, None, body, headers, seconds=seconds)
        reply = patiently(ask, self._patience, safe=True)
        if reply.status == 403 and is_status(reply.data):
            raise explain(403, json.loads(reply.data), asked)
        return Answer(reply.status, {key.lower(): value for key, value in reply.headers.items()}, bytes(reply.data))

    def ask_pod(
        self, pod: str, port: int, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float = 30.0
    ) -> Answer:
        """POST to one pod, or GET without a body, over a forward of its port. Raises NotPermitted, NoCluster."""
        connection = http.client.HTTPConnection("localhost", port)
        connection.sock = self.tunnel(pod, port)
        with contextlib.closing(connection):
            connection.sock.settimeout(seconds)
            try:
                sent = headers if body is None else {"Content-Type": "application/json", **headers}
                connection.request("GET" if body is None else "POST", path, body, dict(sent))
                reply = connection.getresponse()
                read = reply.read()
            except (OSError, http.client.HTTPException) as error:
                raise NoCluster(f"pod {pod} does not answer on port {port}: {error}", server=self.server) from error
        return Answer(reply.status, {key.lower(): value for key, value in reply.getheaders()}, read)

    def logs(
        self, pod: str, *, container: str = "", tail: int | None = None, follow: bool = False, previous: bool = False
    ) -> Iterator[str]:
        """The lines of a pod's log, oldest first; with `follow` until the container ends. Raises ObjectMissing."""
        query = {"container": container, "follow": str(follow).lower(), "previous": str(previous).lower()}
        query["tailLines"] = "" if tail is None else str(tail)
        asked = self._asked("get", POD, pod, "log")
        path = POD.path(self.namespace, pod, "log")
        reply = self._send("GET", path, query, stream=True, seconds=None if follow else READ_SECONDS)
        try:
            if reply.status >= 400:
                raise explain(reply.status, status_of(reply.read()), asked)
            yield from (line.decode("utf-8", "replace") for line in _lines(reply))
        finally:
            reply.close()

    def tunnel(self, pod: str, port: int) -> Any:
        """A socket to a port of a pod, through the API server. Raises NotPermitted, NoCluster."""
        from kubernetes.client import ApiException
        from kubernetes.stream.ws_client import portforward_call

        url = f"{self.server}{POD.path(self.namespace, pod, 'portforward')}?ports={port}"
        try:
            made = portforward_call(  # type: ignore[no-untyped-call]  # the library is untyped
                self._client.configuration, "GET", url, headers=self._credentials()
            )
        except ApiException as error:
            if "403" in str(error):
                asked = self._asked("create", POD, pod, "portforward")
                raise NotPermitted((asked.rule,), self.namespace) from error
            raise NoCluster(str(error.reason), server=self.server, kubeconfig=self.kubeconfig) from error
        return made.socket(port)

    def warnings(self) -> tuple[Object, ...]:
        """The namespace's events of type Warning, as the cluster keeps them (an hour)."""
        return self.list(EVENT, fields="type=Warning")

    def kinds(self) -> tuple[tuple[Kind, frozenset[str]], ...]:
        """Every namespaced kind this cluster knows, with the verbs it takes."""
        accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
        found = []
        for path in ("/api", "/apis"):
            for group in json.loads(self._send("GET", path, headers=accept).data).get("items", ()):
                version = group["versions"][0]
                for entry in version["resources"]:
                    if entry["scope"] == "Namespaced":
                        name = (group.get("metadata") or {}).get("name") or ""
                        kind = Kind(entry["responseKind"]["kind"], entry["resource"], name, version["version"])
                        found.append((kind, frozenset(entry["verbs"])))
        return tuple(found)

    @property
    def kubectl(self) -> str:
        """How kubectl is called to speak to the same cluster and namespace."""
        named = self.kubeconfig not in ("", DEFAULT_KUBECONFIG, os.environ.get("KUBECONFIG"))
        config = f" --kubeconfig {self.kubeconfig}" if named else ""
        context = f" --context {self.context}" if self.kubeconfig else ""
        return f"kubectl{config}{context} -n {self.namespace}"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *ended: object) -> None:
        self._client.rest_client.pool_manager.clear()

    def _credentials(self) -> dict[str, str]:
        settings = self._client.configuration.auth_settings().values()
        return {one["key"]: one["value"] for one in settings if one["in"] == "header" and one["value"]}

    def _asked(self, verb: str, kind: Kind, name: str = "", subresource: str = "") -> Asked:
        return Asked(self.server, self.context, verb, kind, self.namespace, name, subresource)

    def _listed(self, kind: Kind, labels: str, fields: str) -> tuple[tuple[Object, ...], str]:
        items: list[Object] = []
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": "500"}
        while True:
            reply = self._json("GET", self._asked("list", kind), query)
            items += reply["items"]
            query["continue"] = reply["metadata"].get("continue", "")
            if not query["continue"]:
                break
        for item in items:  # a list's items leave out what the list says once
            item |= {"kind": kind.kind, "apiVersion": kind.api_version} | item
        return tuple(items), str(reply["metadata"].get("resourceVersion", ""))  # metrics have none

    def _json(
        self, method: str, asked: Asked, query: Pairs = None, body: bytes | None = None, headers: Pairs = None
    ) -> Object:
        path = asked.kind.path(asked.namespace, asked.name)
        reply = patiently(
            lambda: self._send(method, path, query, body, headers),
            self._patience,
            safe=method in ("GET", "PATCH", "DELETE"),  # every PATCH is an apply
            busy=lambda reply: is_busy(reply.status, reply.data),
        )
        if reply.status >= 400:
            raise explain(reply.status, status_of(reply.data), asked)
        return json.loads(reply.data)  # type: ignore[no-any-return]  # the API answers objects

    def _events(self, asked: Asked, query: Mapping[str, str], seconds: float) -> Iterator[Object]:
        """The events of one watch connection, until the server or the wire ends it."""
        import urllib3

        path, limit = asked.kind.path(asked.namespace), seconds + CONNECT_SECONDS
        reply = self._send("GET", path, query, stream=True, seconds=limit)
        try:
            said = reply.read() if reply.status >= 400 else b""
            if reply.status == 410 or is_busy(reply.status, said):
                yield {"type": "ERROR", "object": {}}
                return
            if reply.status >= 400:
                raise explain(reply.status, status_of(said), asked)
            yield from map(json.loads, _lines(reply))
        except (urllib3.exceptions.HTTPError, OSError):
            return  # cut: the caller goes on from the last version it saw
        finally:
            reply.close()

    def _send(
        self,
        method: str,
        path: str,
        query: Pairs = None,
        body: bytes | None = None,
        headers: Pairs = None,
        *,
        stream: bool = False,
        seconds: float | None = READ_SECONDS,
    ) -> Any:
        """One HTTP exchange. Only what is safe to repeat is repeated, and only when no connection came about."""
        import urllib3

        carried = {} if body is None else {"Content-Type": "application/json"}
        sent = (
            {"Accept": "application/json", "User-Agent": "wherry"} | carried | dict(headers or {}) | self._credentials()
        )
        filled = {key: value for key, value in (query or {}).items() if value}
        url = f"{self.server}{path}" + (f"?{urlencode(filled)}" if filled else "")
        try:
            return self._client.rest_client.pool_manager.request(
                method,
                url,
                body=body,
                headers=sent,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
                retries=patience.retries(throttled="/proxy/" not in path),  # behind that, the service answers
                preload_content=not stream,
            )
        except urllib3.exceptions.HTTPError as error:
            unheard = isinstance(getattr(error, "reason", None), urllib3.exceptions.NewConnectionError)
            raise NoCluster(reason(error), server=self.server, kubeconfig=self.kubeconfig, unheard=unheard) from error


def _lines(reply: Any) -> Iterator[bytes]:
    """Whole lines of a streamed reply, each as soon as it is there."""
    left = b""
    for chunk in reply.stream(65536):
        *whole, left = (left + chunk).split(b"\n")
        yield from whole
    if left:
        yield left
