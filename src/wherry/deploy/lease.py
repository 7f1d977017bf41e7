"""One deploy of a service at a time: a Lease that whoever changes it holds, and that is forgotten when they are gone.

The holder renews it every few seconds. Whether it is still held is judged by what is seen to change on one's own clock,
never by comparing two machines' clocks.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator

from wherry.contract.events import Note, Tell, silent
from wherry.contract.names import LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGER
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import LEASE, Object, utc_now
from wherry.errors import ClusterFailed, DeployHeld, ObjectChanged, ObjectMissing

TTL_SECONDS = 15.0  # how long a holder that is gone stands in the way
RENEWALS = 5  # in that time
LOOK_AGAIN = 0.3


@contextlib.contextmanager
def hold(cluster: Cluster, name: str, tell: Tell = silent, *, ttl: float = TTL_SECONDS) -> Iterator[Lock]:
    """Nobody else changes the service called `name` while this lasts. Raises DeployHeld, which names the holder.

    An API server that restarts meanwhile is waited for.
    """
    lock = Lock(cluster, name, ttl)
    with cluster.patient():
        lock.take(tell)
    try:
        with cluster.patient():
            yield lock
    finally:
        lock.give_back()


class Lock:
    """The right to change one service, ours from `take` to `give_back`."""

    def __init__(self, cluster: Cluster, name: str, ttl: float) -> None:
        self.cluster, self.name, self.ttl = cluster, name, ttl
        self.holder = identity()
        self.taken = ""
        self._live: Object = {}
        self._renewed = 0.0  # when the cluster last agreed
        self._lost = False
        self._stop = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True)

    def take(self, tell: Tell) -> None:
        """Ours at once where nobody has it, after its time where the holder is silent. Raises DeployHeld."""
        seen: tuple[str, str] | None = None
        since = 0.0
        while True:
            live = self.cluster.get(LEASE, self._name)
            if live is None:
                if self._took(None):
                    return
                continue
            mark = (_holder(live), str(live["spec"].get("renewTime")))
            if seen is None:
                seen, since = mark, time.monotonic()
                tell(Note(f"{self.name} was being changed by {told(mark[0])}; seeing whether it still is"))
            elif mark != seen:
                raise self._held(live)
            elif time.monotonic() - since >= min(60.0, float(live["spec"].get("leaseDurationSeconds", self.ttl))):
                if self._took(live):
                    tell(Note(f"{told(mark[0])} is gone; going on in its place"))
                    return
                continue
            time.sleep(LOOK_AGAIN)

    def check(self) -> None:
        """Returns while the lock is ours. Raises DeployHeld when somebody else took it, as after a long sleep."""
        if not self._lost and time.monotonic() - self._renewed <= self.ttl:
            return
        live = self.cluster.get(LEASE, self._name)
        if live is None or _holder(live) != self.holder:
            raise self._held(live or self._live)

    def give_back(self) -> None:
        """Free for the next one; nothing is left behind."""
        self._stop.set()
        self._renewer.join()
        ours = {field: self._live["metadata"][field] for field in ("uid", "resourceVersion")}
        with contextlib.suppress(ClusterFailed):  # it ends by itself, and what was to be done is done
            self.cluster.delete(LEASE, self._name, only=ours)

    @property
    def _name(self) -> str:
        return f"{self.name}-deploy"[-63:].lstrip("-")

    def _took(self, before: Object | None) -> bool:
        """Whether it is ours now; False when somebody else was faster."""
        self.taken = _now()
        try:
            self._live = self.cluster.replace(self._wish(before)) if before else self.cluster.create(self._wish(None))
        except (ObjectChanged, ObjectMissing):
            return False
        self._renewed = time.monotonic()
        self._renewer.start()
        return True

    def _renew(self) -> None:
        while not self._stop.wait(self.ttl / RENEWALS):
            asked = time.monotonic()
            try:
                self._live = self.cluster.replace(self._wish(self._live))
                self._renewed = asked
            except (ObjectChanged, ObjectMissing):
                self._lost = True
                return
            except ClusterFailed:
                continue  # an API server that restarts is back in time, or `check` says that it was not

    def _wish(self, before: Object | None) -> Object:
        labels = {LABEL_INSTANCE: self.name, LABEL_MANAGED_BY: MANAGER}
        meta = {"name": self._name, "namespace": self.cluster.namespace, "labels": labels}
        if before is not None:
            meta["resourceVersion"] = before["metadata"]["resourceVersion"]
        spec = {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": max(1, round(self.ttl)),
            "acquireTime": self.taken,
            "renewTime": _now(),
        }
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": meta, "spec": spec}

    def _held(self, live: Object) -> DeployHeld:
        since = str(live["spec"].get("acquireTime") or "")[:19].replace("T", " ")
        return DeployHeld(self.name, self.cluster.namespace, told(_holder(live)), since)


def identity() -> str:
    """Who we are, as a person recognises it, and a mark that no other deploy of ours has."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}, process {os.getpid()}, {uuid.uuid4().hex[:8]}"


def told(holder: str) -> str:
    """The holder without the mark."""
    return holder.rpartition(", ")[0] or holder or "somebody"


def _holder(live: Object) -> str:
    return str(live["spec"].get("holderIdentity") or "")


def _now() -> str:
    return utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
