"""A recorded run survives the disk, and a file that is none says so."""

from __future__ import annotations

import pytest

from wherry.contract.recording import Conditions, Happening, PodCpu, Recording, Second, decode, encode


def recorded() -> Recording:
    return Recording(
        start=1_700_000_000.5,
        load="step:20,80",
        conditions=Conditions(name="breast", cpu_request=250, min_replicas=1, max_replicas=3, cpu_target=60),
        seconds=(Second(at=0.0, offered=20.0, sent=20, ok=20, p99=4.5, desired=1, created=1, ready=1), Second(at=1.0)),
        cpu=(PodCpu(at=3.2, scraped=-8.0, pod="breast-1", millicores=31.0),),
        happenings=(Happening(at=40.0, kind="rescaled", who="breast", value=3),),
    )


def test_a_recording_survives_the_disk() -> None:
    assert decode(encode(recorded())) == recorded()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"seconds,rate\n0,1\n", encode(recorded()).replace(b'"format":1', b'"format":99')],
    ids=["empty", "cut off", "a list", "a trace", "another format"],
)
def test_what_is_no_recording_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode(content)
