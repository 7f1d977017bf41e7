"""A compose file become Kubernetes objects, as kompose does it, with passwords left out and volumes where they belong.

Each service is a Service and a Deployment, or a StatefulSet where it keeps data. Same input, same objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from wherry.contract.events import Note
from wherry.contract.names import LABEL_NAME, object_name
from wherry.errors import ComposeUnreadable
from wherry.release.composing.reading import Read, listed, pairs, ports, words

SECRET = "passwords"
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY|CREDENTIAL", re.IGNORECASE)
WITH_PASSWORD = re.compile(r"^[a-z0-9+.-]+://[^/@:\s]*:[^/@\s]+@", re.IGNORECASE)
SWITCH = frozenset({"", "yes", "no", "true", "false", "1", "0"})
# Where the images of databases keep their data, and as whom they work.
KEEPS = {"mysql": "/var/lib/mysql", "mariadb": "/var/lib/mysql", "postgres": "/var/lib/postgresql/data"}
DATABASE_UID, ALPINE_UID = 999, 70
CLAIM_SIZE = "1Gi"
CONVERTED = frozenset(
    {
        *("image", "ports", "expose", "environment", "volumes", "command", "entrypoint", "working_dir", "user"),
        *("secrets", "tmpfs", "healthcheck", "mem_limit", "stop_grace_period"),
        # What a cluster does in any case, or by other means.
        *("container_name", "depends_on", "restart", "networks", "hostname", "links", "init", "logging", "labels"),
        *("cap_drop", "security_opt", "read_only", "pids_limit", "stdin_open", "tty", "platform", "pull_policy"),
    }
)


class Mount(msgspec.Struct, frozen=True):
    volume: str
    path: str
    read_only: bool = False


class Converted(msgspec.Struct, frozen=True):
    """objects: in the order to apply. commands: what to type first, as the objects name Secrets that nobody made."""

    objects: tuple[dict[str, Any], ...]
    commands: tuple[str, ...]
    notes: tuple[Note, ...]


class Conversion:
    """One conversion: the Secret's keys and the notes add up over the services."""

    def __init__(self, found: Read, source: str, namespace: str) -> None:
        self.found, self.source, self.namespace = found, source, namespace
        self.notes: list[Note] = list(found.notes)
        self.keys: dict[str, str] = {}  # value to the key that holds it: equal values stay equal
        self.files: set[str] = set()

    def done(self, exposed: tuple[str, ...]) -> Converted:
        shared = self.shared()
        services = {name: service for name, service in self.found.services.items() if self.named(name, service)}
        made = [one for name, service in services.items() for one in self.service(name, service)]
        made += [self.claim(volume) for volume in sorted(shared)]
        for name, service in services.items():
            made.append(self.workload(name, service, shared))
        made += [self.exposure(text, services) for text in exposed]
        if not made:
            raise ComposeUnreadable(self.source, "no service in it has an image")
        return Converted(tuple(made), tuple(self.commands()), tuple(self.notes))

    def say(self, text: str, hint: str = "") -> None:
        self.notes.append(Note(text, warn=True, hint=hint))

    def named(self, name: str, service: dict[str, Any]) -> bool:
        """Whether it has an image; without one it is left out. What is not carried over is said."""
        image = service.get("image")
        if not isinstance(image, str) or not image:
            hint = f"build it, push it, and write image: under {name}"
            self.say(f"service {name} is left out: it names no image", hint)
            return False
        if image != image.lower() and re.search(r"[A-Z]", image.partition("@")[0].rpartition(":")[0] or image):
            self.say(f"service {name}: {image} is no name of an image: write it in small letters", "edit image:")
        for key in sorted(set(service) - CONVERTED):
            self.say(f"service {name}: {key} is not carried over")
        return True

    def metadata(self, name: str) -> dict[str, Any]:
        made: dict[str, Any] = {"name": name}
        if self.namespace:
            made["namespace"] = self.namespace
        return {**made, "labels": {LABEL_NAME: name}}

    def service(self, name: str, service: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """How the other services reach it: at its own port, and at the published one where that differs."""
        numbers = sorted({number for pair in self.ports(name, service) for number in pair})
        inside = dict(self.ports(name, service))
        if not numbers:
            return
        targets = {number: inside.get(number, number) for number in numbers}
        yield {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(object_name(name)),
            "spec": {
                "selector": {LABEL_NAME: object_name(name)},
                "ports": [
                    {"name": f"port-{number}", "protocol": "TCP", "port": number, "targetPort": target}
                    for number, target in targets.items()
                ],
            },
        }

    def ports(self, name: str, service: dict[str, Any]) -> list[tuple[int, int]]:
        try:
            return ports([*listed(service.get("ports")), *listed(service.get("expose"))])
        except (ValueError, KeyError) as error:
            raise ComposeUnreadable(self.source, f"service {name} has a port that is none: {error}") from error

    def exposure(self, text: str, services: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """SERVICE=NAME:PORT:TARGET as a LoadBalancer. Raises ComposeUnreadable."""
        matched = re.fullmatch(r"([^=]+)=([^:]+):(\d+):(\d+)", text)
        if not matched:
            raise ComposeUnreadable(self.source, f"--expose {text} is not SERVICE=NAME:PORT:TARGET")
        name, called, port, target = matched[1], matched[2], int(matched[3]), int(matched[4])
        if name not in services:
            raise ComposeUnreadable(self.source, f"--expose {text}: it has {', '.join(services)}, and no {name}")
        self.say(f"{called} lets everybody call {name}", "add loadBalancerSourceRanges, or a token")
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(object_name(called)),
            "spec": {
                "type": "LoadBalancer",
                "selector": {LABEL_NAME: object_name(name)},
                "ports": [{"name": "http", "protocol": "TCP", "port": port, "targetPort": target}],
            },
        }

    def shared(self) -> frozenset[str]:
        """The named volumes that more than one service mounts."""
        uses = [volume for one in self.found.services.values() for volume in {m.volume for m in mounts_of(one)}]
        return frozenset(volume for volume in uses if uses.count(volume) > 1)

    def claim(self, volume: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": self.metadata(object_name(volume)),
            "spec": claimed(),
        }

    def workload(self, name: str, service: dict[str, Any], shared: frozenset[str]) -> dict[str, Any]:
        """A Deployment; a StatefulSet with claims of its own where it keeps data."""
        called = object_name(name)
        database = database_of(service)
        mounts = list(self.mounts(name, service, database))
        own = [mount for mount in mounts if mount.volume not in shared]
        container = self.container(called, name, service, mounts)
        pod: dict[str, Any] = {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": self.user(service, database),
            "containers": [container],
        }
        volumes = [
            {"name": object_name(volume), "persistentVolumeClaim": {"claimName": object_name(volume)}}
            for volume in sorted({mount.volume for mount in mounts} & shared)
        ]
        volumes += list(self.more_volumes(service))
        if volumes:
            pod["volumes"] = volumes
        spec: dict[str, Any] = {"replicas": 1, "selector": {"matchLabels": {LABEL_NAME: called}}}
        if own:
            spec["serviceName"] = called
        elif mounts:
            spec["strategy"] = {"type": "Recreate"}
        spec["template"] = {"metadata": {"labels": {LABEL_NAME: called}}, "spec": pod}
        if own:
            spec["volumeClaimTemplates"] = [
                {"metadata": {"name": object_name(volume)}, "spec": claimed()}
                for volume in dict.fromkeys(mount.volume for mount in own)
            ]
        kind = "StatefulSet" if own else "Deployment"
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": self.metadata(called), "spec": spec}

    def mounts(self, name: str, service: dict[str, Any], database: str) -> Iterator[Mount]:
        """The named volumes; a database's where its data lies, wherever the file has it."""
        found = list(mounts_of(service))
        for text in (str(one) for one in listed(service.get("volumes")) if not isinstance(one, dict)):
            if text.startswith(("/", ".", "~")) and ":" in text:
                self.say(f"service {name}: {text} lies on your machine, and is left out", "put it into the image")
        keeps = KEEPS.get(database, "")
        if keeps and not any(keeps.startswith(mount.path.rstrip("/")) for mount in found):
            if found:
                self.say(f"service {name}: {database} keeps nothing in {found[0].path}: mounted on {keeps} instead")
                found[0] = msgspec.structs.replace(found[0], path=keeps)
            else:
                self.say(f"service {name}: {database} had no volume, and would lose its data: it has a claim now")
                found = [Mount(f"{name}-data", keeps)]
        yield from found

    def container(self, called: str, name: str, service: dict[str, Any], mounts: list[Mount]) -> dict[str, Any]:
        made: dict[str, Any] = {"name": called, "image": service["image"]}
        for key, field in (("entrypoint", "command"), ("command", "args")):
            if service.get(key):
                made[field] = words(service[key])
        if service.get("working_dir"):
            made["workingDir"] = service["working_dir"]
        numbers = sorted({inside for _, inside in self.ports(name, service)})
        if numbers:
            made["ports"] = [{"containerPort": number, "protocol": "TCP"} for number in numbers]
        environ = [self.variable(key, value) for key, value in pairs(service.get("environment")).items()]
        if environ:
            made["env"] = environ
        made["securityContext"] = {"allowPrivilegeEscalation": False}
        if database_of(service):
            made["securityContext"]["capabilities"] = {"drop": ["ALL"]}
        probe = probe_of(service.get("healthcheck"))
        if probe:
            made["readinessProbe"] = probe
        # Below the volume's top, where a fresh file system may have lost+found.
        places = [
            {
                "name": object_name(mount.volume),
                "mountPath": mount.path,
                "subPath": "data",
                **({"readOnly": True} if mount.read_only else {}),
            }
            for mount in mounts
        ]
        places += [
            {"name": volume["name"], **where}
            for volume, where in zip(self.more_volumes(service), self.more_places(service), strict=True)
        ]
        if places:
            made["volumeMounts"] = places
        return made

    def variable(self, name: str, value: str) -> dict[str, Any]:
        """A variable; one that holds a password names the Secret in its place."""
        secret = SECRET_NAME.search(name) and not name.endswith("_FILE") and value.lower() not in SWITCH
        if not secret and not WITH_PASSWORD.match(value):
            return {"name": name, "value": value}
        key = self.keys.setdefault(value, name)
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}}

    def user(self, service: dict[str, Any], database: str) -> dict[str, Any]:
        """As whom it runs: as the file says, a database as its image's own user, anything else as its image says."""
        made: dict[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
        stated = str(service.get("user", "")).partition(":")[0]
        number = int(stated) if stated.isdecimal() else 0
        if not number and database:
            number = ALPINE_UID if "alpine" in service["image"] else DATABASE_UID
        if number:
            made |= {"runAsNonRoot": True, "runAsUser": number, "runAsGroup": number, "fsGroup": number}
        return made

    def more_volumes(self, service: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for place, _ in enumerate(listed(service.get("tmpfs"))):
            yield {"name": f"tmp-{place}", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
        for secret in secrets_of(service):
            self.files.add(secret)
            yield {"name": f"secret-{object_name(secret)}", "secret": {"secretName": object_name(secret)}}

    def more_places(self, service: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for path in listed(service.get("tmpfs")):
            yield {"mountPath": str(path).partition(":")[0]}
        for secret in secrets_of(service):
            yield {"mountPath": f"/run/secrets/{secret}", "subPath": secret, "readOnly": True}

    def commands(self) -> Iterator[str]:
        """What makes the Secrets: their values stay with whoever types it."""
        to = f" -n {self.namespace}" if self.namespace else ""
        if self.keys:
            literals = " ".join(f'--from-literal={key}="${key}"' for key in sorted(set(self.keys.values())))
            yield f"kubectl{to} create secret generic {SECRET} {literals}"
        for name in sorted(self.files):
            file = self.found.secrets.get(name, name)
            yield f"kubectl{to} create secret generic {object_name(name)} --from-file={name}={file}"


def convert(found: Read, source: str, *, exposed: tuple[str, ...] = (), namespace: str = "") -> Converted:
    """The objects of a compose file. Raises ComposeUnreadable."""
    return Conversion(found, source, namespace).done(exposed)


def claimed() -> dict[str, Any]:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": CLAIM_SIZE}}}


def database_of(service: dict[str, Any]) -> str:
    """Which database the image is; empty when it is none that we know."""
    name = str(service.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
    return name if name in KEEPS else ""


def mounts_of(service: dict[str, Any]) -> Iterator[Mount]:
    """The named volumes of a service."""
    for one in listed(service.get("volumes")):
        if isinstance(one, dict):
            if one.get("type", "volume") == "volume" and one.get("source"):
                yield Mount(str(one["source"]), str(one["target"]), one.get("read_only") == "true")
            continue
        volume, sign, rest = str(one).partition(":")
        if sign and not volume.startswith(("/", ".", "~")):
            path, _, mode = rest.partition(":")
            yield Mount(volume, path, "ro" in mode.split(","))


def secrets_of(service: dict[str, Any]) -> list[str]:
    return [str(one["source"]) if isinstance(one, dict) else str(one) for one in listed(service.get("secrets"))]


def probe_of(check: Any) -> dict[str, Any]:
    """A health check as a readiness probe; nothing when there is none, or it is switched off."""
    test = check.get("test") if isinstance(check, dict) else None
    if isinstance(test, str):
        test = ["CMD-SHELL", test]
    if not test or test[0] not in ("CMD", "CMD-SHELL"):
        return {}
    command = list(test[1:]) if test[0] == "CMD" else ["sh", "-c", *test[1:2]]
    return {"exec": {"command": command}, "periodSeconds": 10, "timeoutSeconds": 5}
