"""The proof that a service answers as the model did when it was packed: golden rows asked through the Service."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from wherry.contract import wire
from wherry.contract.events import Note, Tell
from wherry.contract.golden import GoldenRows, differences
from wherry.contract.manifest import Manifest
from wherry.contract.names import HEADER_MODEL_DIGEST, HEADER_NO_STORE, NATIVE_MEDIA, PROBING
from wherry.deploy import proof_job
from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.resources import name_of
from wherry.errors import ClusterFailed, NoCluster, NotPermitted, ObjectRefused, ProbeFailed, ProofUnmade

Way: TypeAlias = Literal["proxy", "job", "forward"]
Verify: TypeAlias = Literal["auto", "proxy", "job", "forward"]
Ask: TypeAlias = Callable[[], Answer]

REQUESTS = 10  # more than the pods of most first deploys, each with every golden row; a few tenths of a second in all
# The lists of endpoints trail the pods, and what stands before the service may need a moment to know the new ones.
SETTLE_SECONDS = 15.0
ASK_AGAIN = 0.1


class Probe(msgspec.Struct, frozen=True):
    """A request and what a right service answers. predictions: empty where the model was packed without golden rows:
    then any reply with status 200 will do. token: sent as X-Api-Key, which the API server's proxy lets through.
    """

    body: bytes
    predictions: tuple[Any, ...]
    rtol: float = 1e-6
    atol: float = 1e-9
    token: str = ""

    @staticmethod
    def of(golden: GoldenRows, manifest: Manifest, token: str = "") -> Probe:
        """The probe that asks for all golden rows at once."""
        body = json.dumps(golden.request()).encode()
        return Probe(body, golden.predictions, manifest.golden.rtol, manifest.golden.atol, token)

    @property
    def headers(self) -> dict[str, str]:
        asked = {"Accept": NATIVE_MEDIA, "Content-Type": wire.JSON, HEADER_NO_STORE: PROBING}
        return asked | ({"X-Api-Key": self.token} if self.token else {})


class Proof(msgspec.Struct, frozen=True):
    """How a service was proven. way: `proxy` is the API server's service proxy, `job` a Job in the cluster, both
    through the Service; `forward` is a forward to each pod."""

    way: Way
    requests: int
    failed: int
    worst_ms: float

    @property
    def how(self) -> str:
        """The way in words."""
        ways = {"proxy": "through the Service", "job": "through the Service, by a Job"}
        return ways.get(self.way, "at each pod, not through the Service")


def prove(
    cluster: Cluster,
    service: str,
    probe: Probe,
    *,
    service_port: int | str,
    pods: Sequence[dict[str, Any]],
    port: int,
    digest: str,
    verify: Verify,
    tell: Tell,
) -> Proof:
    """Asks until every request was answered right. Raises ProbeFailed at the first wrong answer.

    service_port, port: of the Service and of the pods. pods: those of the new version. digest: of the model that must
    answer. verify: `auto` goes through the Service, by a Job where the API server cannot, and to each pod where no Job
    can.
    """
    requests = max(REQUESTS, 2 * len(pods))
    if verify in ("auto", "proxy"):
        ask = _through_service(cluster, service, service_port, probe)
        try:
            settle(ask, digest)
            return _count(service, "proxy", [ask] * requests, probe, digest)
        except (NotPermitted, NoRoute) as error:
            if verify == "proxy":
                raise
            tell(Note(f"the service cannot be asked through the API server's proxy ({error}); a Job asks it instead"))
    if verify in ("auto", "job"):
        try:
            return _by_job(cluster, service, probe, pods[0], requests, digest, tell)
        except (NotPermitted, ProofUnmade, ObjectRefused) as error:
            if verify == "job":
                raise
            tell(Note(f"{error}; each pod is asked instead"))
    asks = [_at_pod(cluster, name_of(pod), port, probe) for pod in pods]
    return _count(service, "forward", asks * max(1, -(-REQUESTS // max(1, len(asks)))), probe, digest)


class NoRoute(ClusterFailed):
    """The API server has no way to the pods: a network policy, a firewall, or no endpoint."""

    outcome = "unproven"


def wrong(answer: Answer, probe: Probe, digest: str) -> str:
    """What is wrong with an answer, empty when nothing is."""
    if answer.status != 200:
        return f"HTTP {answer.status}: {answer.body.decode('utf-8', 'replace').strip()[:300]}"
    found = _digest(answer, digest)
    if found != digest:
        return f"the model with digest {found[:12]} answers, not {digest[:12]}"
    if not probe.predictions:
        return ""
    try:
        predictions = json.loads(answer.body)["predictions"]
    except (ValueError, KeyError, TypeError):
        return f"no predictions in the reply: {answer.body.decode('utf-8', 'replace')[:300]}"
    off = differences(probe.predictions, predictions, rtol=probe.rtol, atol=probe.atol)
    if off:
        first = off[0]
        return (
            f"{len(off)} of {len(probe.predictions)} golden rows are answered otherwise: "
            f"row {first.row} should be {first.expected!r} and is {first.found!r}"
        )
    return ""


def _by_job(
    cluster: Cluster, service: str, probe: Probe, pod: dict[str, Any], requests: int, digest: str, tell: Tell
) -> Proof:
    """Asked from inside the cluster, judged here."""
    replies = proof_job.ask(cluster, service, probe.headers, pod, requests=requests, settle=SETTLE_SECONDS, tell=tell)
    if not replies:
        raise ProofUnmade(service, "the Job has ended and said nothing")

    def answer(reply: proof_job.Reply) -> Answer:
        if reply.error:
            raise NoCluster(reply.error)
        return reply.answer

    proof = _count(service, "job", [functools.partial(answer, reply) for reply in replies], probe, digest)
    return msgspec.structs.replace(proof, worst_ms=max(reply.ms for reply in replies))


def _through_service(cluster: Cluster, service: str, port: int | str, probe: Probe) -> Ask:
    return lambda: cluster.ask_service(service, port, wire.PREDICT, probe.body, probe.headers)


def _at_pod(cluster: Cluster, pod: str, port: int, probe: Probe) -> Ask:
    return lambda: cluster.ask_pod(pod, port, wire.PREDICT, probe.body, probe.headers)


def settle(ask: Ask, digest: str, in_a_row: int = 1) -> None:
    """Until the Service has found the pods of the model, or time is up: what then answers is judged by who proves it.

    in_a_row: answers of the model with none of another between them. Raises NoRoute where the API server has no way to
    any pod.
    """
    until, right = time.monotonic() + SETTLE_SECONDS, 0
    while right < in_a_row:
        answer = ask()
        lost = from_api_server(answer)
        right = right + 1 if not lost and _digest(answer, digest) == digest else 0
        if right == 0:
            if time.monotonic() > until:
                if lost:
                    raise NoRoute(_message(answer) or f"HTTP {answer.status}")
                return
            time.sleep(ASK_AGAIN)


def _digest(answer: Answer, unnamed: str) -> str:
    """Of the model that answered; `unnamed` where the answer names none."""
    return answer.headers.get(HEADER_MODEL_DIGEST.lower(), unnamed)


def _count(service: str, way: Way, asks: Sequence[Ask], probe: Probe, digest: str) -> Proof:
    worst = 0.0
    for done, ask in enumerate(asks):
        began = time.perf_counter()
        try:
            reason = wrong(ask(), probe, digest)
        except NoCluster as error:
            reason = str(error)
        worst = max(worst, time.perf_counter() - began)
        if reason:
            raise ProbeFailed(service, reason, requests=done + 1, failed=1)
    return Proof(way, len(asks), 0, round(worst * 1000, 1))


def from_api_server(answer: Answer) -> bool:
    """Whether the API server speaks for itself: it found no endpoint, or could not reach one."""
    return answer.status in (404, 500, 502, 503, 504) and b'"kind":"Status"' in answer.body.replace(b" ", b"")


def _message(answer: Answer) -> str:
    try:
        return str(json.loads(answer.body).get("message", ""))
    except ValueError:
        return ""
