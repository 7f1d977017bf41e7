"""The work at set times of a service: when each ran last, what came of it, and when it runs next."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec

from wherry.contract.names import LABEL_SCHEDULE
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import CRON_JOB, JOB, Object, condition, match, name_of, selector
from wherry.errors import ClusterFailed, NoCluster
from wherry.release.objects.cron import following

Outcome: TypeAlias = Literal["", "running", "succeeded", "failed"]


class Scheduled(msgspec.Struct, frozen=True):
    """One work. last, next: as the cluster's clock and the schedule have them, empty where there is none.

    outcome: of the last run; why: what it failed of. job: the Job of that run, while the cluster keeps it.
    """

    name: str
    cron: str
    time_zone: str
    suspended: bool
    last: str
    outcome: Outcome
    why: str
    next: str
    job: str = ""

    @property
    def words(self) -> str:
        ran = f"last {self.last[:16].replace('T', ' ')}Z" if self.last else "never yet"
        became = f", {self.outcome}" if self.outcome else ""
        reason = f": {self.why}" if self.why else ""
        then = "suspended" if self.suspended else f"next {self.next[:16].replace('T', ' ')}Z"
        return f"{self.name}: {ran}{became}{reason}; {then} ({self.cron} {self.time_zone})"


def scheduled(cluster: Cluster, name: str, now: datetime) -> tuple[Scheduled, ...]:
    """All of the service `name`, by name; none where they may not be read."""
    try:
        found = cluster.list(CRON_JOB, selector(name))
        jobs = cluster.list(JOB, selector(name)) if found else ()
    except NoCluster:
        raise
    except ClusterFailed:
        return ()
    return tuple(one_of(made, jobs, name, now) for made in sorted(found, key=name_of))


def one_of(made: Object, jobs: Iterable[Object], service: str, now: datetime) -> Scheduled:
    """A CronJob with the newest of its Jobs."""
    spec, state = made["spec"], made.get("status") or {}
    own = [job for job in jobs if any(owner["uid"] == made["metadata"]["uid"] for owner in owners(job))]
    newest = max(own, key=lambda job: str(job["metadata"].get("creationTimestamp", "")), default=None)
    outcome, why = ended(newest) if newest is not None else ("", "")
    last = str(state.get("lastScheduleTime") or "")
    if newest is None and last and last <= str(state.get("lastSuccessfulTime") or ""):
        outcome = "succeeded"  # its Job is gone, and this is what the cluster remembers of it
    zone = str(spec.get("timeZone") or "Etc/UTC")
    then = following(str(spec["schedule"]), zone, now)
    return Scheduled(
        name=name_of(made).removeprefix(f"{service}-"),
        cron=str(spec["schedule"]),
        time_zone=zone,
        suspended=bool(spec.get("suspend")),
        last=last or str(newest["metadata"].get("creationTimestamp", "") if newest is not None else ""),
        outcome=outcome,
        why=why,
        next=then.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if then else "",
        job=name_of(newest) if newest is not None else "",
    )


def ended(job: Object) -> tuple[Outcome, str]:
    """What came of a run, and why where it failed."""
    failed = condition(job, "Failed")
    if failed.get("status") == "True":
        return "failed", str(failed.get("message") or failed.get("reason") or "")
    return ("succeeded", "") if condition(job, "Complete").get("status") == "True" else ("running", "")


def owners(made: Object) -> list[Object]:
    return list(made["metadata"].get("ownerReferences") or ())


def pods_of(service: str, work: str) -> str:
    """The label selector for the pods of a work's runs."""
    return f"{selector(service)},{match({LABEL_SCHEDULE: work})}"
