"""How a deployment grew under load: when the first pod came, how many there were, whether its maximum held it back.

Pure, from a recording.
"""

from __future__ import annotations

import msgspec

from wherry.contract.recording import Recording

TIMELINE = 12  # lines on a terminal


class Moment(msgspec.Struct, frozen=True):
    """Something that happened, in seconds after the load began."""

    at: float
    text: str


class Scaling(msgspec.Struct, frozen=True):
    """Replicas at the start, most that were ready, at the end; maximum None without an autoscaler.

    first_created: seconds from the load's start until the first further pod was made; first_ready: from there until it
    was ready. worst_ready: of all pods that came. held_back: seconds at the maximum with CPU over the target.
    """

    begun: int
    most: int
    ended: int
    maximum: int | None
    first_created: float | None
    first_ready: float | None
    worst_ready: float | None
    held_back: int
    highest_cpu: float | None
    timeline: tuple[Moment, ...]

    @property
    def limited(self) -> bool:
        """Whether the autoscaler would have had more pods and was not allowed to."""
        return self.held_back >= 15  # a turn of its loop


def scaling_of(run: Recording) -> Scaling:
    """What a recording says of scaling."""
    ready = [one.ready for one in run.seconds if one.ready is not None] or [0]
    maximum = run.conditions.max_replicas or None
    target = run.conditions.cpu_target * (1 + run.conditions.tolerance)
    # Those that are scheduled while others start: a pod that was there before the load began is no news.
    created = {one.who: one.at for one in run.happenings if one.kind == "pod_created" and one.at > 0}
    become = {one.who: one.at for one in run.happenings if one.kind == "pod_ready"}
    waits = [round(become[pod] - created[pod], 2) for pod in sorted(created, key=created.__getitem__) if pod in become]
    seen = [one.hpa_current for one in run.seconds if one.hpa_current is not None]
    held = sum(
        one.desired == maximum and one.hpa_current is not None and one.hpa_current > target for one in run.seconds
    )
    return Scaling(
        begun=ready[0],
        most=max(ready),
        ended=ready[-1],
        maximum=maximum,
        first_created=round(min(created.values()), 2) if created else None,
        first_ready=waits[0] if waits else None,
        worst_ready=max(waits, default=None),
        held_back=held,
        highest_cpu=max(seen, default=None),
        timeline=tuple(moments(run)),
    )


def moments(run: Recording) -> list[Moment]:
    """What happened, in words."""
    words = {"pod_created": "pod created", "pod_ready": "pod ready", "pod_ended": "pod gone", "rescaled": "rescaled"}
    return [
        Moment(one.at, f"{words[one.kind]}: {one.text or one.who}" if one.text or one.who else words[one.kind])
        for one in run.happenings
        if one.kind in words
    ]


def lines(scaling: Scaling) -> list[str]:
    """For a terminal."""
    most = f", at most {scaling.maximum}" if scaling.maximum is not None else ""
    found = [
        f"{'replicas':<12}{scaling.begun} at the start, {scaling.most} at the peak, {scaling.ended} at the end{most}"
    ]
    if scaling.first_created is not None:
        ready = f", ready {scaling.first_ready:.1f} s later" if scaling.first_ready is not None else ", never ready"
        found.append(f"{'':<12}the first further pod came {scaling.first_created:.1f} s after the load began{ready}")
    if scaling.limited:
        found.append(
            f"{'':<12}its maximum held it back for {scaling.held_back} s, with CPU at up to "
            f"{scaling.highest_cpu:.0f} % of the request"
        )
    for place, one in enumerate(scaling.timeline[:TIMELINE]):
        found.append(f"{'' if place else 'timeline':<12}{one.at:>6.1f} s  {one.text}")
    if len(scaling.timeline) > TIMELINE:
        found.append(f"{'':<12}and {len(scaling.timeline) - TIMELINE} more: --html or --record have them all")
    return found
