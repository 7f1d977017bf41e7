"""Why a rollout does not come up, in words, with what the cluster said and what to type next. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from wherry.deploy.troubles import Cause
from wherry.errors import RolloutFailed

LOG_LINES = 15


class Facts(msgspec.Struct, frozen=True):
    """What the words need. old, new: ready pods of the version before and of the new one. log: the pod's last lines."""

    name: str
    namespace: str
    image: str
    memory: str = ""
    old: int = 0
    new: int = 0
    log: tuple[str, ...] = ()


class Words(msgspec.Struct, frozen=True):
    sentence: str
    hint: str


def diagnose(cause: Cause, facts: Facts) -> RolloutFailed:
    """The error that says why `facts.name` does not come up, whether anything still serves, and what to type."""
    words = words_of(cause, facts)
    evidence = []
    if cause.message and cause.message not in words.sentence:
        evidence.append(f"{f'pod {cause.pod}' if cause.pod else 'the cluster'} says: {_one_line(cause.message)}")
    elif cause.pod:
        evidence.append(f"pod {cause.pod}")
    if facts.log:
        evidence.append("last lines of its log:")
        evidence += [f"  {line}" for line in facts.log[-LOG_LINES:]]
    outcome, serving = serves(facts.old, facts.new)
    return RolloutFailed(
        facts.name, cause.name, words.sentence, tuple(evidence), serving=serving, outcome=outcome, hint=words.hint
    )


def words_of(cause: Cause, facts: Facts) -> Words:
    """What is wrong in a sentence, and what to type about it."""
    return _WORDS[cause.name](cause, facts)


def serves(old: int, new: int) -> tuple[str, str]:
    """What serves now, as a stable word and as half a sentence."""
    if old:
        return "unchanged", f"the version before still serves ({old} {'pod' if old == 1 else 'pods'})"
    if new:
        return "partly_serving", f"only {new} {'pod' if new == 1 else 'pods'} of the new version serve"
    return "nothing_serving", "nothing serves"


def wants_log(cause: Cause) -> bool:
    """Whether the pod's log says more: only where its process ran."""
    return cause.name in ("crash", "out_of_memory", "never_ready", "container_start")


def _pull(cause: Cause, facts: Facts) -> Words:
    said = cause.message.replace(facts.image, "").lower()  # the image's own name must not read as a reason
    host = facts.image.split("/", 1)[0]
    if any(words in said for words in _UNREACHABLE):
        return Words(
            f"the nodes cannot reach the registry of the image {facts.image}",
            f"name a registry that the nodes can reach instead of {host}: wherry deploy --image REGISTRY/NAME",
        )
    if any(words in said for words in ("unauthorized", "denied", "authentication", "forbidden")):
        return Words(
            f"the cluster may not pull the image {facts.image}, or it does not exist",
            f"kubectl -n {facts.namespace} create secret docker-registry pull --docker-server={host} "
            "--docker-username=USER --docker-password=PASSWORD, and name it in the ServiceAccount's imagePullSecrets",
        )
    if "no match for platform" in said or "no matching manifest" in said:
        return Words(
            f"the image {facts.image} is not built for the nodes' architecture",
            "wherry build --platform linux/amd64 (or linux/arm64, as `kubectl get nodes -o wide` says)",
        )
    if any(words in said for words in ("not found", "manifest unknown", "name unknown", "does not exist")):
        return Words(
            f"the image {facts.image} is not in its registry",
            f"push it, or check its name and tag: docker manifest inspect {facts.image}",
        )
    return Words(f"the image {facts.image} cannot be pulled", f"kubectl -n {facts.namespace} describe pod {cause.pod}")


_UNREACHABLE = (
    "no such host",
    "connection refused",
    "i/o timeout",
    "deadline exceeded",
    "http response to https",
    "tls: ",
    "x509: ",
    "network is unreachable",
    "no route to host",
)


def _name(cause: Cause, facts: Facts) -> Words:
    return Words(
        f"{facts.image} is not an image name that the cluster can use",
        "write it as registry/name:tag in lower case: wherry deploy --image REGISTRY/NAME:TAG",
    )


def _config(cause: Cause, facts: Facts) -> Words:
    found = re.search(r'(secret|configmap) "(?P<name>[^"]+)" not found', cause.message, re.IGNORECASE)
    if found and found[1].lower() == "secret":
        return Words(
            f"the pods need Secret {found['name']}, which namespace {facts.namespace} does not have",
            f"kubectl -n {facts.namespace} create secret generic {found['name']} --from-file=KEY=FILE",
        )
    if found:
        return Words(
            f"the pods need ConfigMap {found['name']}, which namespace {facts.namespace} does not have",
            "deploy again: it makes the ConfigMaps that its pods name",
        )
    if "runAsNonRoot" in cause.message or "non-root" in cause.message:
        return Words(
            "the image runs as root, which the pods are not allowed to",
            "build it with wherry, or give it a USER number",
        )
    return Words(
        "a container cannot be made from its settings", f"kubectl -n {facts.namespace} describe pod {cause.pod}"
    )


def _start(cause: Cause, facts: Facts) -> Words:
    return Words(
        f"the container's program cannot be started from the image {facts.image}",
        f"try it here: docker run --rm {facts.image}",
    )


def _crash(cause: Cause, facts: Facts) -> Words:
    code = f" with exit code {cause.exit_code}" if cause.exit_code is not None else ""
    sentence = f"the new version crashes: it ended{code} and was restarted {cause.restarts} times"
    if any("exec format error" in line for line in facts.log):
        sentence = f"the image {facts.image} is built for another processor than the nodes have"
        return Words(sentence, "wherry build --platform linux/amd64 (or linux/arm64), then deploy again")
    return Words(
        sentence, f"the log above says why; all of it: kubectl -n {facts.namespace} logs {cause.pod} --previous"
    )


def _memory(cause: Cause, facts: Facts) -> Words:
    limit = f" of {facts.memory}" if facts.memory else ""
    larger = _doubled(facts.memory) or "1Gi"
    return Words(
        f"the new version needs more memory than its limit{limit} and was killed",
        f'allow it more in wherry.toml: [deploy.resources] memory = "{larger}"',
    )


def _never_ready(cause: Cause, facts: Facts) -> Words:
    said = cause.message.lower()
    sentence = f"the new version runs and is not ready after its start-up budget of {cause.seconds:.0f} s"
    if "connection refused" in said:
        port = re.search(r":(\d+)/", cause.message)
        where = f" {port[1]}" if port else ""
        return Words(
            f"{sentence}: nothing listens on port{where}",
            f"wherry logs {facts.name}: does it still load, or listen elsewhere than [serve] port in wherry.toml says?",
        )
    if "deadline exceeded" in said or "timeout" in said:
        return Words(f"{sentence}: it does not answer its probe in time", f"wherry logs {facts.name}")
    return Words(sentence, f"wherry logs {facts.name}")


def _unschedulable(cause: Cause, facts: Facts) -> Words:
    said = cause.message
    lacking = re.findall(r"Insufficient ([\w./-]*\w)", said)
    if lacking:
        what = " and ".join(sorted(set(lacking)))
        return Words(
            f"no node has enough {what} free for one more pod",
            "ask for less ([deploy.resources] in wherry.toml), or see who uses it: kubectl describe nodes",
        )
    if "PersistentVolumeClaim" in said or "persistentvolumeclaim" in said:
        return Words(
            "a pod waits for a volume that nobody provides",
            f"kubectl -n {facts.namespace} get pvc, and kubectl get storageclass",
        )
    if "taint" in said or "affinity" in said or "selector" in said:
        return Words(
            "no node accepts the pods", "kubectl get nodes --show-labels, and kubectl describe nodes | grep Taints"
        )
    return Words("no node takes the pods", f"kubectl -n {facts.namespace} describe pod {cause.pod}")


def _mount(cause: Cause, facts: Facts) -> Words:
    found = re.search(r'(secret|configmap|persistentvolumeclaim) "(?P<name>[^"]+)" not found', cause.message)
    if found:
        made = {"secret": "secret generic", "configmap": "configmap"}.get(found[1])
        hint = (
            f"kubectl -n {facts.namespace} create {made} {found['name']} --from-file=KEY=FILE, then deploy again"
            if made
            else f"kubectl -n {facts.namespace} get pvc"
        )
        return Words(f"the pods mount {found[1]} {found['name']}, which is not there", hint)
    return Words("a volume cannot be mounted", f"kubectl -n {facts.namespace} describe pod {cause.pod}")


def _refused(cause: Cause, facts: Facts) -> Words:
    if "violates PodSecurity" in cause.message:
        return Words(
            "the namespace's Pod Security level refuses the pods",
            f"kubectl get namespace {facts.namespace} -o yaml shows the level",
        )
    return Words(
        "the cluster refuses to make the pods",
        f"kubectl -n {facts.namespace} describe replicaset -l app.kubernetes.io/instance={facts.name}",
    )


def _quota(cause: Cause, facts: Facts) -> Words:
    return Words(
        "the namespace's quota does not allow one more pod",
        f"kubectl -n {facts.namespace} describe resourcequota; ask for less in [deploy.resources]",
    )


def _evicted(cause: Cause, facts: Facts) -> Words:
    return Words("pods of the new version are evicted again and again", "kubectl describe nodes | grep -A8 Conditions")


def _wrong_image(cause: Cause, facts: Facts) -> Words:
    return Words(
        "something in the cluster changes the pods' image", "kubectl get mutatingwebhookconfigurations lists what may"
    )


def _superseded(cause: Cause, facts: Facts) -> Words:
    return Words(
        f"another deploy of {facts.name} came in between", f"wherry status {facts.name}, then deploy again if need be"
    )


def _paused(cause: Cause, facts: Facts) -> Words:
    return Words(
        "the Deployment is paused, so nothing is rolled out",
        f"kubectl -n {facts.namespace} rollout resume deployment/{facts.name}",
    )


def _gone(cause: Cause, facts: Facts) -> Words:
    return Words(f"{facts.name} was deleted while it was rolled out", "deploy again")


def _no_progress(cause: Cause, facts: Facts) -> Words:
    return Words(
        "the rollout does not go on",
        f"kubectl -n {facts.namespace} describe deployment {facts.name}; --timeout waits longer",
    )


_WORDS: dict[str, Callable[[Cause, Facts], Words]] = {
    "image_pull": _pull,
    "image_name": _name,
    "container_config": _config,
    "container_start": _start,
    "crash": _crash,
    "out_of_memory": _memory,
    "never_ready": _never_ready,
    "unschedulable": _unschedulable,
    "mount": _mount,
    "evicted": _evicted,
    "pods_refused": _refused,
    "quota": _quota,
    "wrong_image": _wrong_image,
    "superseded": _superseded,
    "paused": _paused,
    "gone": _gone,
    "no_progress": _no_progress,
}


def causes() -> Sequence[str]:
    """Every cause that has words."""
    return tuple(_WORDS)


def _doubled(quantity: str) -> str:
    found = re.fullmatch(r"(\d+)([A-Za-z]*)", quantity)
    return f"{int(found[1]) * 2}{found[2]}" if found else ""


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
