"""Work at set times: when it runs, how, and what is refused before a cluster sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.errors import SettingsRefused
from wherry.release.objects import cron
from wherry.release.release import Object, Release, compose
from wherry.release.text import to_yaml

IMAGE = "registry.example/breast@sha256:" + "1" * 64
PRUNE = {"cron": "30 3 * * *", "command": ["python3", "-m", "wherry.server.pruning"]}
SCHEDULED: dict[str, Any] = {
    "serve": {"token_file": "tokens"},
    "store": {"url": "postgresql://writer@192.0.2.7/predictions", "secret": {"name": "db"}, "keep_days": 90},
    "deploy": {
        "resources": {"cpu_limit": "2"},
        "schedule": {
            "prune": {**PRUNE, "time_zone": "Europe/Oslo", "secret": "db-owner"},
            "report": {
                "cron": "*/15 8-17 * jan,6-12/2 mon-fri",
                "command": ["python3", "-c", "print('{{ .Values.image }}')"],
                "overlap": "replace",
                "start_within": 60,
                "run_seconds": 300,
                "retries": 0,
                "keep_succeeded": 0,
                "keep_failed": 1,
                "suspended": True,
                "image": "registry.example/report:2",
                "env": {"TO": "somebody@example.org"},
                "cpu": "50m",
                "memory": "64Mi",
            },
        },
    },
}
Declare = Callable[[dict[str, Any]], Project]


def release(project: Project, manifest: Manifest) -> Release:
    return compose(project, manifest, image=IMAGE, namespace="models", local=True)


def cron_jobs(made: Release) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in made.objects if one["kind"] == "CronJob"}


def test_rendered_text_is_the_golden_file(
    manifest: Manifest, declare: Declare, golden: Callable[[str, str], None]
) -> None:
    golden("release-scheduled.yaml", to_yaml(release(declare(SCHEDULED), manifest).objects))


def test_a_job_is_the_service_s_own_pod_and_is_not_taken_for_one(manifest: Manifest, declare: Declare) -> None:
    made = release(declare(SCHEDULED), manifest)
    served = made.workload["spec"]["template"]["spec"]
    spec = cron_jobs(made)["breast-cancer-prune"]["spec"]
    template = spec["jobTemplate"]["spec"]["template"]
    (job,), (server,) = template["spec"]["containers"], served["containers"]
    assert template["spec"]["securityContext"] == served["securityContext"]
    assert template["spec"]["serviceAccountName"] == served["serviceAccountName"]
    assert job["securityContext"] == server["securityContext"]
    assert job["image"] == IMAGE
    assert job["envFrom"] == [*server["envFrom"], {"secretRef": {"name": "db-owner"}}]
    assert {volume["name"] for volume in template["spec"]["volumes"]} == {"tmp", "store-password", "token"}
    for selector in (made.find("Service")["spec"]["selector"], made.workload["spec"]["selector"]["matchLabels"]):
        assert not selector.items() <= template["metadata"]["labels"].items()
    assert (spec["concurrencyPolicy"], spec["timeZone"], spec["startingDeadlineSeconds"]) == (
        "Forbid",
        "Europe/Oslo",
        600,
    )


def test_a_job_may_call_what_the_service_may_and_the_service(manifest: Manifest, declare: Declare) -> None:
    made = release(declare(SCHEDULED), manifest)
    policies = {one["metadata"]["name"]: one["spec"] for one in made.objects if one["kind"] == "NetworkPolicy"}
    own, serving = policies["breast-cancer-schedule"], policies["breast-cancer"]
    labels = cron_jobs(made)["breast-cancer-prune"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert own["podSelector"]["matchLabels"].items() <= labels.items()
    assert own["ingress"] == []
    assert own["egress"][:-1] == serving["egress"]
    assert own["egress"][-1]["to"] == [{"podSelector": serving["podSelector"]}]
    beside = declare({"store": {"database": {"kind": "mariadb"}}, "deploy": {"schedule": {"prune": PRUNE}}})
    callers = next(one for one in release(beside, manifest).objects if one["metadata"]["name"].endswith("-database"))
    assert len(callers["spec"]["ingress"][0]["from"]) == 2


def test_without_schedules_nothing_is_added(manifest: Manifest, declare: Declare) -> None:
    made = release(declare({}), manifest)
    assert cron_jobs(made) == {}
    assert [one["metadata"]["name"] for one in made.objects if one["kind"] == "NetworkPolicy"] == ["breast-cancer"]


@pytest.mark.parametrize(
    ("schedule", "path", "words"),
    [
        ({"prune": {"command": ["x"]}}, "deploy.schedule.prune.cron", "is needed"),
        ({"prune": {"cron": "@daily"}}, "deploy.schedule.prune.command", "is needed"),
        ({"prune": {**PRUNE, "cron": "30 3 * *"}}, "deploy.schedule.prune.cron", "has 4 fields, not five"),
        ({"prune": {**PRUNE, "time_zone": "Local"}}, "deploy.schedule.prune.time_zone", "no time zone"),
        ({"prune": {**PRUNE, "time_zone": "Oslo; x"}}, "deploy.schedule.prune.time_zone", "no time zone"),
        ({"Nightly": PRUNE}, "deploy.schedule.Nightly", "is no name"),
        ({"n" * 39: PRUNE}, f"deploy.schedule.{'n' * 39}", "too long a name beside breast-cancer"),
    ],
)
def test_what_cannot_run_is_refused_by_name(
    manifest: Manifest, declare: Declare, schedule: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(SettingsRefused) as refused:
        release(declare({"deploy": {"schedule": schedule}}), manifest)
    [problem] = refused.value.problems
    assert problem.path == path
    assert words in problem.reason
    assert problem.hint


def test_the_longest_name_is_taken(manifest: Manifest, declare: Declare) -> None:
    made = release(declare({"deploy": {"schedule": {"n" * 38: PRUNE}}}), manifest)
    assert [len(name) for name in cron_jobs(made)] == [52]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"start_within": 9}, "start_within"),
        ({"overlap": "maybe"}, "overlap"),
        ({"run_seconds": 0}, "run_seconds"),
        ({"crom": "x"}, "crom"),
    ],
)
def test_values_out_of_bounds_and_unknown_keys_are_refused(declare: Declare, table: Any, words: str) -> None:
    with pytest.raises(SettingsRefused, match=words):
        declare({"deploy": {"schedule": {"prune": {**PRUNE, **table}}}})


@pytest.mark.parametrize(
    "text",
    [
        *("* * * * *", "0 0 1 1 *", "*/15 8-17 * * 1-5", "0,30 22 * jan-mar,DEC sun,6", "5/10 0 ? * ?", "@daily"),
        *("0 0 29 2 *", "0 0 31 2,3 *", "0 0 31 2 mon"),
    ],
)
def test_what_cron_takes(text: str) -> None:
    assert cron.trouble(text) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("60 * * * *", "its minute is 60, not from 0 to 59"),
        ("* 24 * * *", "its hour is 24"),
        ("* * 0 * *", "its day of the month is 0"),
        ("* * * 13 *", "its month is 13"),
        ("* * * * 7", "its day of the week is 7"),
        ("* * * * mo", "its day of the week is mo"),
        ("30-10 * * * *", "runs backwards"),
        ("*/0 * * * *", "a step of 0"),
        ("*-5 * * * *", "no value, range, list or step"),
        ("1,,2 * * * *", "no value, range, list or step"),
        ("0 0 * * * *", "has 6 fields"),
        ("", "has 0 fields"),
        ("@every 1h", "is none of"),
        ("TZ=Europe/Oslo 0 0 * * *", "stands in time_zone"),
        ("0 0 30 feb *", "never comes"),
        ("0 0 31 4,6 ?", "never comes"),
    ],
)
def test_what_it_does_not_take_and_what_never_comes(text: str, words: str) -> None:
    assert words in cron.trouble(text)


@pytest.mark.parametrize(
    ("text", "zone", "after", "then"),
    [
        ("30 3 * * *", "Etc/UTC", "2026-03-01T03:29", "2026-03-01T03:30"),
        ("30 3 * * *", "Etc/UTC", "2026-03-01T03:30", "2026-03-02T03:30"),
        ("30 3 * * *", "Europe/Oslo", "2026-03-01T12:00", "2026-03-02T02:30"),
        ("30 3 * * *", "Europe/Oslo", "2026-03-29T00:00", "2026-03-29T01:30"),  # summer time has begun an hour before
        ("@weekly", "Etc/UTC", "2026-03-02T00:00", "2026-03-08T00:00"),  # a Sunday
        ("*/20 9-17 * * mon-fri", "Etc/UTC", "2026-03-06T17:41", "2026-03-09T09:00"),
        ("0 0 29 2 *", "Etc/UTC", "2026-03-01T00:00", "2028-02-29T00:00"),
        ("0 0 13 * fri", "Etc/UTC", "2026-03-01T00:00", "2026-03-06T00:00"),  # either day, as cron has it
        ("0 0 * * *", "Nowhere/Land", "2026-03-01T00:00", ""),
    ],
)
def test_when_it_runs_next(text: str, zone: str, after: str, then: str) -> None:
    found = cron.following(text, zone, datetime.fromisoformat(f"{after}+00:00"))
    assert (found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") if found else "") == then
