"""The autoscaler's arithmetic, each case worked out by hand from what Kubernetes documents and does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.stress.forecasting.autoscaler import (
    Autoscaler,
    Behavior,
    Loop,
    Pods,
    Policy,
    Rules,
    behavior_of,
    recommended,
)

FREE = Rules(0, (Policy("Percent", 1000, 15),))  # as fast as it wants, at once


def asked(current: int, counted: int, usage: float, *, target: int = 50, unready: int = 0, missing: int = 0) -> int:
    found = recommended(current, Pods(counted, usage, unready, missing), target, 0.1)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        (100, 6),  # ratio 2: 3 pods become 6
        (75, 5),  # ratio 1.5: 4.5 is rounded up
        (55, 3),  # ratio 1.1 is within the tolerance, edge included
        (56, 4),  # 1.12 is not: 3.36
        (45, 3),  # 0.9 is within
        (44, 3),  # 0.88 is not, but 2.64 is rounded up
        (30, 2),  # 0.6: 1.8
        (0, 0),  # nothing to do; the minimum comes later
        (55.9, 3),  # utilization is cut to a whole percent first: 55
    ],
)
def test_ready_pods_alone(usage: float, wanted: int) -> None:
    assert asked(3, 3, usage) == wanted


def test_unready_pods_count_as_idle_on_the_way_up() -> None:
    # two of four are ready and use 150 %: over all four it is 75 %, ratio 1.5, six pods
    assert asked(4, 2, 150, unready=2) == 6
    # without them it would have been six of two, ceil(3 * 2)
    assert asked(2, 2, 150) == 6
    # one ready at 60 %, three not: 15 % over all turns the direction, so nothing changes
    assert asked(4, 1, 60, unready=3) == 4
    # two ready at 110 %, two not: 55 % over all is within the tolerance
    assert asked(4, 2, 110, unready=2) == 4


def test_unready_pods_are_left_out_on_the_way_down() -> None:
    assert asked(6, 4, 25, unready=2) == 2


def test_missing_metrics_are_taken_cautiously() -> None:
    # down: the one without a metric counts as 100 %: (3 * 20 + 100) / 4 = 40, ratio 0.8, ceil(3.2) = 4
    assert asked(4, 3, 20, missing=1) == 4
    # (3 * 10 + 100) / 4 = 32, ratio 0.64, ceil(2.56) = 3
    assert asked(4, 3, 10, missing=1) == 3
    # a target above 100 % is itself what a missing one counts as: (200 + 2 * 20) / 3 = 80, 0.4, ceil(1.2) = 2
    assert asked(3, 2, 20, target=200, missing=1) == 2
    # up: it counts as idle: (2 * 100 + 0) / 3 = 66, ratio 1.32, ceil(3.96) = 4
    assert asked(3, 2, 100, missing=1) == 4
    # up with both: (1 * 300) / 3 = 100, ratio 2, 6
    assert asked(3, 1, 300, unready=1, missing=1) == 6


def test_without_a_metric_nothing_is_recommended() -> None:
    assert recommended(3, Pods(0, None), 50, 0.1) is None
    assert recommended(3, Pods(0, 80.0, unready=3), 50, 0.1) is None


def test_scale_down_waits_for_the_largest_recommendation_of_the_window() -> None:
    loop = Loop(Autoscaler(min=1, max=10, target=50, behavior=Behavior(FREE, Rules(60, FREE.policies))))
    assert loop.decide(0, 4, Pods(4, 50)) == 4
    for now in (15, 30, 45):
        assert loop.decide(now, 4, Pods(4, 10)) == 4  # four was asked for within 60 s
    assert loop.decide(60, 4, Pods(4, 10)) == 1  # what was asked at 0 is 60 s old and no longer counts


def test_scale_up_waits_for_the_least_recommendation_of_its_window() -> None:
    loop = Loop(Autoscaler(min=1, max=10, target=50, behavior=Behavior(Rules(30, FREE.policies), FREE)))
    assert loop.decide(0, 2, Pods(2, 50)) == 2
    assert loop.decide(15, 2, Pods(2, 150)) == 2
    assert loop.decide(30, 2, Pods(2, 100)) == 4  # the least of 6 and 4
    assert loop.decide(45, 4, Pods(4, 50)) == 4


def test_policies_bound_each_period() -> None:
    up = Rules(0, (Policy("Percent", 100, 15), Policy("Pods", 4, 15)))
    loop = Loop(Autoscaler(min=1, max=100, target=50, behavior=Behavior(up, FREE)))
    assert loop.decide(0, 1, Pods(1, 5000)) == 5  # the larger of +100 % and +4
    assert loop.decide(10, 5, Pods(5, 5000)) == 5  # the period began with one: five is as far as it goes
    assert loop.decide(20, 5, Pods(5, 5000)) == 10  # +100 % of five
    assert loop.decide(35, 10, Pods(10, 5000)) == 20


def test_select_policy_min_and_disabled() -> None:
    two = (Policy("Percent", 100, 15), Policy("Pods", 4, 15))
    slowest = Autoscaler(min=1, max=100, target=50, behavior=Behavior(Rules(0, two, "Min"), FREE))
    assert Loop(slowest).decide(0, 2, Pods(2, 5000)) == 4
    never = Autoscaler(min=1, max=100, target=50, behavior=Behavior(FREE, Rules(0, two, "Disabled")))
    assert Loop(never).decide(0, 8, Pods(8, 0)) == 8
    careful = Autoscaler(min=1, max=100, target=50, behavior=Behavior(FREE, Rules(0, two, "Min")))
    assert Loop(careful).decide(0, 20, Pods(20, 0)) == 16  # -4 is less than -100 %


def test_scale_down_by_one_pod_a_minute() -> None:
    down = Rules(0, (Policy("Pods", 1, 60),))
    loop = Loop(Autoscaler(min=1, max=10, target=50, behavior=Behavior(FREE, down)))
    current, seen = 5, []
    for turn in range(10):
        current = loop.decide(turn * 15.0, current, Pods(current, 5))
        seen.append(current)
    assert seen == [4, 4, 4, 4, 3, 3, 3, 3, 2, 2]


def test_percent_is_rounded_up_on_the_way_up_and_cut_on_the_way_down() -> None:
    ten = (Policy("Percent", 10, 60),)
    both = Behavior(Rules(0, ten), Rules(0, ten))
    assert Loop(Autoscaler(min=1, max=99, target=50, behavior=both)).decide(0, 11, Pods(11, 500)) == 13  # 12.1
    assert Loop(Autoscaler(min=1, max=99, target=50, behavior=both)).decide(0, 11, Pods(11, 1)) == 9  # 9.9


def test_changes_both_ways_count_in_a_period() -> None:
    loop = Loop(Autoscaler(min=1, max=20, target=50, behavior=Behavior(Rules(0, (Policy("Pods", 4, 60),)), FREE)))
    assert loop.decide(0, 2, Pods(2, 500)) == 6
    assert loop.decide(15, 6, Pods(6, 1)) == 1
    # of the period's start, 2: added 4, removed 5; from 1 - 4 + 5 = 2 it may reach 6
    assert loop.decide(30, 1, Pods(1, 5000)) == 6


def test_bounds_are_restored_whatever_the_metrics_say() -> None:
    loop = Loop(Autoscaler(min=3, max=5, target=50))
    assert loop.decide(0, 1, Pods(1, 0)) == 3
    assert loop.decide(15, 9, Pods(9, 500)) == 5
    assert loop.decide(30, 4, Pods(0, None)) == 4


def test_behavior_as_a_cluster_gives_it() -> None:
    assert behavior_of({}) == Behavior()
    found = behavior_of(
        {
            "scaleDown": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Min",
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
            }
        }
    )
    assert found == Behavior(Behavior().up, Rules(0, (Policy("Pods", 1, 60),), "Min"))


policies = st.builds(
    Policy, st.sampled_from(["Pods", "Percent"]), st.integers(1, 200), st.sampled_from([15, 30, 60, 300])
)
rules = st.builds(
    Rules,
    st.sampled_from([0, 15, 60, 300]),
    st.lists(policies, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["Max", "Min", "Disabled"]),
)


@given(
    st.integers(1, 20),
    st.integers(0, 30),
    rules,
    rules,
    st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60),
)
def test_never_outside_the_bounds(
    least: int, more: int, up: Rules, down: Rules, seen: list[tuple[float, int, int]]
) -> None:
    loop = Loop(Autoscaler(min=least, max=least + more, target=60, behavior=Behavior(up, down)))
    current = least
    for turn, (usage, unready, missing) in enumerate(seen):
        counted = max(0, current - unready - missing)
        current = loop.decide(turn * 15.0, current, Pods(counted, usage, unready, missing))
        assert least <= current <= least + more


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.sampled_from([0, 15, 40, 300]), st.integers(0, 30))
def test_stabilization_is_the_plain_minimum_and_maximum_of_the_window(
    asked_for: list[int], window: int, current: int
) -> None:
    """Against the definition, which looks at every recommendation of the window."""
    loop = Loop(
        Autoscaler(min=1, max=99, target=50, behavior=Behavior(Rules(window, ()), Rules(2 * window, FREE.policies)))
    )
    past: list[tuple[float, int]] = []
    for turn, value in enumerate(asked_for):
        now = turn * 15.0
        least = min([value, *(v for at, v in past if at > now - window)])
        most = max([value, *(v for at, v in past if at > now - 2 * window)])
        past.append((now, value))
        assert loop.stabilize(now, current, value) == min(max(current, least), most)
