"""The rollout's state machine, from objects as the API gives them: when it is done, when it has failed and why."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from wherry.deploy.rollout import REVISION, Rollout, Snapshot
from wherry.deploy.troubles import pulls, unhealthy

IMAGE = "registry.example/ferry@sha256:" + "1" * 64
OLD_IMAGE = "registry.example/ferry@sha256:" + "0" * 64


def deployment(
    replicas: int = 2,
    *,
    generation: int = 2,
    observed: int | None = None,
    image: str = IMAGE,
    conditions: list[Any] | None = None,
    paused: bool = False,
    **status: int,
) -> dict[str, Any]:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
    return {
        "metadata": {
            "name": "ferry",
            "uid": "d",
            "generation": generation,
            "annotations": {REVISION: "2"},
        },
        "spec": {
            "replicas": replicas,
            "paused": paused,
            "template": {"spec": {"containers": [{"name": "server", "image": image}]}},
        },
        "status": {
            "observedGeneration": generation if observed is None else observed,
            "conditions": conditions or [],
            **counts,
            **status,
        },
    }


def counted(**status: int) -> dict[str, Any]:
    made = deployment()
    return {**made, "status": {**made["status"], **status}}


def replica_set(revision: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"ferry-{revision}",
            "uid": f"rs-{revision}",
            "annotations": {REVISION: revision},
            "ownerReferences": [{"uid": "d"}],
        }
    }


def pod(
    name: str = "new-1",
    *,
    revision: str = "2",
    ready: bool = True,
    ending: bool = False,
    phase: str = "Running",
    image: str = IMAGE,
    container: dict[str, Any] | None = None,
    conditions: list[Any] | None = None,
) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "ownerReferences": [{"uid": f"rs-{revision}"}],
    }
    if ending:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    running = {"name": "server", "ready": ready, "restartCount": 0, "state": {"running": {}}}
    return {
        "metadata": meta,
        "spec": {"containers": [{"name": "server", "image": image}]},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}, *(conditions or [])],
            "containerStatuses": [{**running, **(container or {})}],
        },
    }


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"ready": False, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def event(reason: str, message: str, of: str = "new-1", count: int = 1) -> dict[str, Any]:
    return {"reason": reason, "message": message, "count": count, "involvedObject": {"uid": f"uid-{of}"}}


def snapshot(at: float, *pods: Any, of: Any = None, events: tuple[Any, ...] = ()) -> Snapshot:
    return Snapshot(at, of or deployment(), (replica_set("1"), replica_set("2")), pods, events)


def start(**more: Any) -> Rollout:
    return Rollout(**{"name": "ferry", "image": IMAGE, "startup": 30.0, "patience": 180.0, "began": 0.0, **more})


BOTH = (pod("new-1"), pod("new-2"))


def test_all_new_and_nothing_old_is_done() -> None:
    assert start().see(snapshot(1, *BOTH)).verdict == "done"


@pytest.mark.parametrize(
    ("reason", "seen"),
    [
        ("the controller has not seen this generation", snapshot(1, *BOTH, of=deployment(observed=1))),
        ("a pod is not updated", snapshot(1, *BOTH, of=deployment(updatedReplicas=1))),
        ("a pod is not available for long enough", snapshot(1, *BOTH, of=deployment(availableReplicas=1))),
        ("a pod is not ready", snapshot(1, *BOTH, of=deployment(readyReplicas=1))),
        ("a pod of the old version is counted", snapshot(1, *BOTH, of=counted(replicas=3))),
        ("a pod of the old version still runs", snapshot(1, *BOTH, pod("old", revision="1", image=OLD_IMAGE))),
        ("an old pod is ending", snapshot(1, *BOTH, pod("old", revision="1", ending=True))),
        ("a surplus new pod is ending", snapshot(1, *BOTH, pod("new-3", ending=True))),
        ("a new pod is missing from the list", snapshot(1, BOTH[0])),
        ("the new ReplicaSet is not there yet", Snapshot(1, deployment(), (replica_set("1"),), BOTH)),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_it_is_not_done_while(reason: str, seen: Snapshot) -> None:
    assert start().see(seen).verdict == "going", reason


def test_the_applied_generation_counts_even_when_the_list_is_older() -> None:
    stale = snapshot(1, *BOTH, of=deployment(generation=2))
    assert start(generation=3).see(stale).verdict == "going"


def test_old_pods_that_have_ended_do_not_count() -> None:
    ended = pod("old", revision="1", phase="Succeeded", ready=False)
    assert start().see(snapshot(1, *BOTH, ended)).verdict == "done"


def test_no_pods_wanted_and_none_there_is_done() -> None:
    assert start().see(snapshot(1, of=deployment(0))).verdict == "done"


def test_a_verdict_stays() -> None:
    done = start().see(snapshot(1, *BOTH))
    assert done.see(snapshot(2)) is done


def test_a_mirror_that_keeps_the_digest_is_the_same_image() -> None:
    mirrored = tuple(pod(name, image="mirror.example/x/ferry@sha256:" + "1" * 64) for name in ("new-1", "new-2"))
    assert start().see(snapshot(1, *mirrored)).verdict == "done"


def failed(*seen: Snapshot, **more: Any) -> tuple[str, str]:
    """The cause and its message after the last snapshot; before it there must be no verdict."""
    rollout = start(**more)
    for one in seen[:-1]:
        rollout = rollout.see(one)
        assert rollout.verdict == "going", f"too early, at {one.at}: {rollout.cause}"
    rollout = rollout.see(seen[-1])
    assert rollout.verdict == "failed"
    assert rollout.cause is not None
    return rollout.cause.name, rollout.cause.message


def unready(container: dict[str, Any], at: float, *events: Any, **more: Any) -> Snapshot:
    one = pod("new-1", ready=False, phase="Pending", container=container, **more)
    return snapshot(at, one, events=tuple(events))


PULL = 'Failed to pull image "ferry": not found'


def test_three_failed_pulls() -> None:
    back_off = waiting("ImagePullBackOff")
    assert failed(
        unready(waiting("ErrImagePull"), 1, event("Failed", PULL)),
        unready(back_off, 12, event("Failed", PULL, count=2)),
        unready(back_off, 30, event("Failed", "Error: ImagePullBackOff", count=9), event("Failed", PULL, count=3)),
    ) == ("image_pull", PULL)


def test_pulls_that_nobody_counted_fail_by_time_whatever_name_the_wait_has() -> None:
    assert failed(
        unready(waiting("ErrImagePull", "no"), 1),
        unready(waiting("ImagePullBackOff", "no"), 20),
        unready(waiting("ErrImagePull", "no"), 32),
        unready(waiting("ImagePullBackOff", "no"), 33),
    ) == ("image_pull", "no")


def test_a_pull_that_succeeds_after_all_is_forgotten() -> None:
    rollout = start().see(unready(waiting("ErrImagePull"), 1)).see(unready(waiting("ContainerCreating"), 20))
    rollout = rollout.see(unready(waiting("ErrImagePull"), 30)).see(unready(waiting("ErrImagePull"), 60))
    assert rollout.verdict == "going"


def test_an_image_name_that_cannot_be() -> None:
    assert failed(unready(waiting("InvalidImageName", "bad"), 1)) == ("image_name", "bad")


def test_settings_that_cannot_be_had() -> None:
    bad = waiting("CreateContainerConfigError", 'secret "s" not found')
    assert failed(unready(bad, 1), unready(bad, 5), unready(bad, 6))[0] == "container_config"


@pytest.mark.parametrize("reason", ["CreateContainerError", "RunContainerError"])
def test_a_program_that_cannot_start(reason: str) -> None:
    bad = waiting(reason, "no such file")
    assert failed(unready(bad, 1), unready(bad, 10), unready(bad, 11)) == ("container_start", "no such file")


def crashed(restarts: int, code: int = 1, reason: str = "Error") -> dict[str, Any]:
    ended = {"terminated": {"exitCode": code, "reason": reason}}
    return waiting("CrashLoopBackOff", "back-off", restartCount=restarts, lastState=ended)


def test_two_restarts_are_a_crash() -> None:
    rollout = start().see(unready(crashed(1), 1)).see(unready(crashed(2, 3), 12))
    assert rollout.cause is not None
    assert (rollout.cause.name, rollout.cause.restarts, rollout.cause.exit_code) == ("crash", 2, 3)
    assert rollout.cause.pod == "new-1"


def test_memory_is_known_at_the_first_end() -> None:
    assert failed(unready(crashed(1, 137, "OOMKilled"), 1))[0] == "out_of_memory"


def test_a_program_that_the_runtime_refuses() -> None:
    bad = crashed(1, 128, "StartError")
    assert failed(unready(bad, 1), unready(bad, 11))[0] == "container_start"


def test_running_and_not_ready_past_the_budget() -> None:
    refused = event("Unhealthy", "Startup probe failed: dial tcp:\n connection refused")
    running = {"ready": False, "state": {"running": {}}}
    assert failed(
        unready(waiting("ContainerCreating"), 1),
        unready(running, 50, refused),
        unready(running, 79, refused),
        unready(running, 80, refused),
    ) == ("never_ready", "Startup probe failed: dial tcp: connection refused")


def test_the_budget_goes_on_over_a_restart_by_the_probe() -> None:
    running = {"ready": False, "state": {"running": {}}}
    restarted = waiting("ContainerCreating", restartCount=1, lastState={"terminated": {"exitCode": 137}})
    assert failed(unready(running, 0), unready(restarted, 28), unready(running, 30))[0] == "never_ready"


def test_a_pod_that_becomes_ready_in_time_is_no_trouble() -> None:
    running = {"ready": False, "state": {"running": {}}}
    rollout = start().see(unready(running, 0)).see(unready(running, 29)).see(snapshot(31, *BOTH))
    assert rollout.verdict == "done"


def test_no_node_for_a_minute() -> None:
    nowhere = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]

    def at(seconds: float) -> Snapshot:
        return snapshot(seconds, pod(ready=False, phase="Pending", container=waiting(""), conditions=nowhere))

    assert failed(at(0), at(59), at(60)) == ("unschedulable", "0/1 nodes")


def test_a_volume_that_cannot_be_mounted() -> None:
    mount = event("FailedMount", 'secret "s" not found')
    creating = waiting("ContainerCreating")
    assert failed(unready(creating, 0, mount), unready(creating, 19, mount), unready(creating, 20, mount)) == (
        "mount",
        'secret "s" not found',
    )


def test_an_old_mount_warning_of_a_pod_that_runs_is_no_trouble() -> None:
    mount = event("FailedMount", "not yet registered")
    running = {"ready": False, "state": {"running": {}}}
    assert start().see(unready(running, 0, mount)).see(unready(running, 29, mount)).verdict == "going"


@pytest.mark.parametrize(
    ("message", "cause"),
    [('pods "x" is forbidden: exceeded quota: small', "quota"), ("violates PodSecurity", "pods_refused")],
)
def test_pods_that_may_not_be_made(message: str, cause: str) -> None:
    refused = deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": message}])
    assert failed(snapshot(0, of=refused), snapshot(4, of=refused), snapshot(5, of=refused)) == (cause, message)


def test_evictions_again_and_again() -> None:
    gone = [pod(f"gone-{n}", phase="Failed", ready=False) for n in range(3)]
    assert start().see(snapshot(0, *gone[:2])).verdict == "going"
    assert failed(snapshot(0, *gone))[0] == "evicted"


def test_evicted_pods_do_not_keep_it_from_being_done() -> None:
    assert start().see(snapshot(1, *BOTH, pod("gone", phase="Failed", ready=False))).verdict == "done"


def test_another_deploy_in_between() -> None:
    other = deployment(image="registry.example/ferry:other")
    assert failed(snapshot(0, of=other)) == ("superseded", "the Deployment now names registry.example/ferry:other")


def test_an_image_that_something_changed() -> None:
    assert failed(snapshot(0, pod(image="registry.example/else:1"), of=deployment()))[0] == "wrong_image"


def test_a_paused_deployment() -> None:
    assert failed(snapshot(0, of=deployment(paused=True)))[0] == "paused"


def test_a_deployment_that_is_gone() -> None:
    assert failed(Snapshot(0, None))[0] == "gone"


def test_the_controllers_deadline_yields_to_a_cause_that_names_itself() -> None:
    late = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}]
    assert failed(snapshot(0, of=deployment(conditions=late))) == ("no_progress", "late")
    both = Snapshot(
        0,
        deployment(conditions=late),
        (replica_set("2"),),
        (pod(ready=False, container=waiting("InvalidImageName", "bad")),),
    )
    assert failed(both)[0] == "image_name"


def test_nothing_moves_for_too_long() -> None:
    still = snapshot(0, *BOTH, pod("old", revision="1"))
    later = [snapshot(at, *BOTH, pod("old", revision="1")) for at in (100, 179, 180)]
    assert failed(still, *later)[0] == "no_progress"


def test_any_progress_begins_the_wait_anew() -> None:
    old = [pod("old-1", revision="1"), pod("old-2", revision="1")]
    rollout = start().see(snapshot(0, *BOTH, *old)).see(snapshot(170, *BOTH, old[0])).see(snapshot(340, *BOTH, old[0]))
    assert rollout.verdict == "going"
    assert rollout.see(snapshot(350, *BOTH, old[0])).verdict == "failed"


def test_without_progress_a_known_trouble_is_the_cause() -> None:
    nowhere = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]
    one = pod(ready=False, phase="Pending", container=waiting(""), conditions=nowhere)
    assert failed(snapshot(0, one), snapshot(20, one), patience=20.0)[0] == "unschedulable"


def test_nothing_is_judged_before_the_controller_has_seen_the_change() -> None:
    """The figures and the newest ReplicaSet are still those of the version before."""
    stale = deployment(observed=1, conditions=[{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}])
    assert start().see(snapshot(0, *BOTH, of=stale)).verdict == "going"


def test_who_serves_meanwhile() -> None:
    rollout = start().see(
        snapshot(
            3,
            pod("new-1", ready=False, container=crashed(0)),
            pod("new-2"),
            pod("old-1", revision="1"),
            pod("old-2", revision="1", ending=True),
            pod("old-3", revision="1", ready=False),
        )
    )
    assert (rollout.serving_old(), rollout.serving_new()) == (1, 1)
    view = rollout.view()
    assert (view.wanted, view.ready, view.elapsed) == (2, 1, 3)
    assert [(one.name, one.new, one.phase, one.reason) for one in view.pods] == [
        ("new-1", True, "Running", "CrashLoopBackOff"),
        ("new-2", True, "Running", ""),
        ("old-1", False, "Running", ""),
        ("old-2", False, "Ending", ""),
        ("old-3", False, "Running", ""),
    ]


def test_seeing_changes_nothing_that_was_given() -> None:
    first = start()
    given = snapshot(1, *BOTH)
    before = copy.deepcopy(given)
    first.see(given)
    assert first == start()
    assert given == before


def test_events_are_counted_as_the_cluster_folds_them() -> None:
    assert pulls([event("Failed", PULL, count=2), event("Failed", "Error: ErrImagePull", count=5)]) == (2, PULL)
    assert pulls([]) == (0, "")
    assert unhealthy([event("Unhealthy", "first"), event("Unhealthy", "last")]) == "last"
