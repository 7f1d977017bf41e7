"""Clusters, and what stands in them."""

from __future__ import annotations

import msgspec

from wherry.errors.root import LockHeld, WherryError


class ClusterFailed(WherryError):
    """A cluster, or what was asked of it. `outcome` says what serves now; until something is applied: as before."""

    outcome = "unchanged"

    def now_serving(self, outcome: str, serving: str) -> None:
        """Says what serves after what was done about it."""
        self.outcome = outcome
        self.args = (f"{self}; {serving}",)


class NoCluster(ClusterFailed):
    """No Kubernetes API answers. server: what was tried, empty when none is known. unheard: nothing connected."""

    def __init__(
        self, reason: str, *, server: str = "", kubeconfig: str = "", hint: str = "", unheard: bool = False
    ) -> None:
        self.server, self.kubeconfig, self.reason, self.unheard = server, kubeconfig, reason, unheard
        where = f"no cluster answers at {server}" if server else "no cluster is known"
        source = f" (from {kubeconfig})" if kubeconfig else ""
        super().__init__(
            f"{where}{source}: {reason}",
            hint=hint
            or "start the cluster, or name another one with --context or --kubeconfig: kubectl config get-contexts",
        )


class CredentialsRefused(ClusterFailed):
    """The cluster answers and does not know who asks."""

    def __init__(self, server: str, context: str, reason: str) -> None:
        self.server, self.context = server, context
        super().__init__(
            f"the cluster at {server} does not accept the credentials of context {context}: {reason}",
            hint=f"log in again, then try: kubectl --context {context} auth whoami",
        )


class ContextUnclear(ClusterFailed):
    """A cluster that is not on this machine is only used when its context was named."""

    def __init__(self, context: str, server: str) -> None:
        self.context, self.server = context, server
        super().__init__(
            f"the current context {context} ({server}) is not on this machine, and nothing names it for this project",
            hint=f'pass --context {context}, or add to wherry.toml: [deploy] context = "{context}"',
        )


class ContextMissing(ClusterFailed):
    """A context was named that the kubeconfig does not have."""

    def __init__(self, context: str, kubeconfig: str, known: tuple[str, ...]) -> None:
        self.context, self.kubeconfig, self.known = context, kubeconfig, known
        has = f"it has {', '.join(known)}" if known else "it has none"
        super().__init__(f"no context {context!r} in {kubeconfig}: {has}", hint="kubectl config get-contexts")


class AccessRule(msgspec.Struct, frozen=True):
    """One thing that must be permitted. resource: plural, with /subresource; group: empty for the core."""

    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


class NotPermitted(ClusterFailed):
    """Whoever asks may not do it. `rbac` is the rules an administrator can add, as YAML."""

    def __init__(self, rules: tuple[AccessRule, ...], namespace: str, user: str = "") -> None:
        self.rules, self.namespace, self.user = rules, namespace, user
        who = user or "this user"
        where = f"in namespace {namespace}" if namespace else "in the whole cluster"
        verbs: dict[tuple[str, str], list[str]] = {}
        for rule in rules:
            verbs.setdefault((rule.group, rule.resource), []).append(rule.verb)
        self.rbac = tuple(
            f'- {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{", ".join(sorted(set(asked)))}]}}'
            for (group, resource), asked in verbs.items()
        )
        acts = [
            f"{'/'.join(asked)} {resource}" + (f".{group}" if group else "")
            for (group, resource), asked in verbs.items()
        ]
        super().__init__(
            f"{who} may not {', '.join(acts)} {where}",
            hint="an administrator can add to a Role's rules:\n" + "\n".join(self.rbac),
        )


class NamespaceMissing(ClusterFailed):
    """The namespace does not exist, and may not be made without a word."""

    def __init__(self, namespace: str, context: str) -> None:
        self.namespace, self.context = namespace, context
        super().__init__(
            f"context {context} has no namespace {namespace}",
            hint="-n NAMESPACE names another; wherry deploy --create-namespace makes it",
        )


class FieldConflict(msgspec.Struct, frozen=True):
    """One field that somebody else's tool owns with another value."""

    field: str
    manager: str


class Conflict(ClusterFailed):
    """Somebody else owns fields that this would change."""

    def __init__(self, what: str, namespace: str, fields: tuple[FieldConflict, ...]) -> None:
        self.what, self.namespace, self.fields = what, namespace, fields
        lines = ", ".join(f"{field.field} (set by {field.manager})" for field in fields)
        if any(field.field == ".spec.replicas" for field in fields):
            hint = "wherry scale N takes the number of replicas over; or leave `replicas` out of wherry.toml"
        else:
            manager = fields[0].manager if fields else "the other tool"
            hint = f"give {what} this value with {manager} too, or remove the field there; it is never overwritten"
        super().__init__(f"{what} in namespace {namespace} has fields that another tool owns: {lines}", hint=hint)


class ObjectForeign(ClusterFailed):
    """An object of that name exists and was not made for this name by wherry."""

    def __init__(self, what: str, namespace: str, owner: str) -> None:
        self.what, self.namespace, self.owner = what, namespace, owner
        made = f"was made by {owner}" if owner else "was not made by wherry"
        super().__init__(
            f"{what} in namespace {namespace} exists already and {made}; it is not taken over",
            hint="deploy under another name ([deploy] name in wherry.toml), into another namespace (-n), or remove it: "
            f"kubectl -n {namespace} delete {what}",
        )


class ObjectRefused(ClusterFailed):
    """The cluster refuses an object: its schema, an admission rule, a quota."""

    def __init__(self, what: str, namespace: str, reason: str, hint: str = "") -> None:
        self.what, self.namespace, self.reason = what, namespace, reason
        super().__init__(
            f"the cluster refuses {what} in namespace {namespace}: {reason}",
            hint=hint or "`wherry render` prints every object as it would be applied",
        )


class ObjectChanged(ObjectRefused):
    """Somebody else made or changed the object in the meantime."""


class ObjectMissing(ClusterFailed):
    """Something that was asked for by name is not there."""

    def __init__(self, what: str, namespace: str) -> None:
        self.what, self.namespace = what, namespace
        super().__init__(f"no {what} in namespace {namespace}", hint="`wherry status` lists what there is")


class SecretMissing(ClusterFailed):
    """The pods need a Secret that is not there; without it they could not start."""

    def __init__(self, name: str, key: str, namespace: str, source: str) -> None:
        self.name, self.key, self.namespace, self.source = name, key, namespace, source
        super().__init__(
            f"the pods need Secret {name} with the key {key} ({source}), and namespace {namespace} has none",
            hint=f"kubectl -n {namespace} create secret generic {name} --from-file={key}=FILE",
        )


class ClaimMissing(ClusterFailed):
    """The pods are to read the model from a claim that is not there."""

    def __init__(self, claim: str, namespace: str) -> None:
        self.claim, self.namespace = claim, namespace
        super().__init__(
            f"the pods need the PersistentVolumeClaim {claim}, and namespace {namespace} has none of that name",
            hint="wherry deploy --copy-model, which makes it and copies the bundle there",
        )


class ClaimUnfit(ClusterFailed):
    """A claim is there, and cannot be mounted by all of the pods."""

    def __init__(self, claim: str, modes: str, pods: str) -> None:
        self.claim, self.modes, self.pods = claim, modes, pods
        super().__init__(
            f"the PersistentVolumeClaim {claim} is {modes}, and {pods} are to mount it",
            hint="have a claim that is ReadOnlyMany or ReadWriteMany, or leave the model in the image",
        )


class ConfigMapMissing(ClusterFailed):
    """The pods need a ConfigMap of the user's that is not there; without it they could not start."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name, self.namespace = name, namespace
        super().__init__(
            f"the pods need the ConfigMap {name} ([deploy] config_map), and namespace {namespace} has none",
            hint=f"kubectl -n {namespace} create configmap {name} --from-literal=MODEL_NAME=NAME",
        )


class CopyFailed(ClusterFailed):
    """A bundle was not copied onto its claim; what was there is there still."""

    def __init__(self, claim: str, reason: str, hint: str = "") -> None:
        self.claim, self.reason = claim, reason
        super().__init__(f"the bundle was not copied to claim {claim}: {reason}", hint=hint)


class WorkloadDiffers(ClusterFailed):
    """The service runs as another kind of workload, since its store was strict and is not any more, or was not."""

    def __init__(self, name: str, live: str, wanted: str, namespace: str) -> None:
        self.name, self.live, self.wanted, self.namespace = name, live, wanted, namespace
        super().__init__(
            f"{name} runs as a {live}, and [store] mode now makes it a {wanted}; the cluster changes no kind",
            hint=f"wherry down {name} -n {namespace}, which keeps claims and Secrets; then deploy again",
        )


class RoomLacking(ClusterFailed):
    """The cluster has no room for what a deploy starts; nothing was built or changed."""

    def __init__(self, name: str, reason: str, hint: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"there is no room for {name}: {reason}", hint=hint)


class RolloutFailed(ClusterFailed):
    """The new version does not come up. `cause` is a stable word, `evidence` what the cluster and the pod say."""

    def __init__(
        self, name: str, cause: str, sentence: str, evidence: tuple[str, ...], *, serving: str, outcome: str, hint: str
    ) -> None:
        self.name, self.cause, self.evidence, self.outcome = name, cause, evidence, outcome
        self.sentence, self.serving = sentence, serving
        super().__init__(self._whole(), hint=hint)

    def _whole(self) -> str:
        return "\n".join((f"{self.sentence}; {self.serving}", *(f"  {line}" for line in self.evidence)))

    def now_serving(self, outcome: str, serving: str) -> None:
        self.outcome, self.serving = outcome, serving
        self.args = (self._whole(),)


class ProbeFailed(ClusterFailed):
    """The pods run, and the service does not answer as the model did when it was packed."""

    outcome = "unproven"

    def __init__(self, name: str, reason: str, *, requests: int, failed: int, hint: str = "") -> None:
        self.name, self.reason, self.requests, self.failed = name, reason, requests, failed
        super().__init__(
            f"{name} runs, and does not answer as it should: {reason} ({requests} requests, {failed} failed)",
            hint=hint or f"wherry logs {name}",
        )


class CanaryAborted(ClusterFailed):
    """A canary was worse than the stable version, and went. cause: errors, latency, answers, differs, crash, not_ready.

    requests, failed: its own, as its pods counted them; seconds: how long it was behind the Service.
    """

    def __init__(self, name: str, cause: str, reason: str, seconds: float, requests: int, failed: int) -> None:
        self.name, self.cause, self.reason = name, cause, reason
        self.seconds, self.requests, self.failed = seconds, requests, failed
        super().__init__(
            f"the canary of {name} was taken away after {seconds:g} s: {reason}",
            hint="wherry releases, which keeps why; [deploy.canary] has the limits",
        )


class ProofUnmade(ClusterFailed):
    """The Job that was to ask the service has asked nothing, so it is not known how the service answers."""

    outcome = "unproven"

    def __init__(self, name: str, reason: str, *, hint: str = "") -> None:
        self.name, self.reason = name, reason
        super().__init__(
            f"no Job could ask {name}: {reason}", hint=hint or "wherry deploy --verify forward asks each pod from here"
        )


class NothingDeployed(ClusterFailed):
    """wherry has made nothing here, or nothing of that name."""

    def __init__(self, name: str, namespace: str, context: str, known: tuple[str, ...] = ()) -> None:
        self.name, self.namespace, self.context, self.known = name, namespace, context, known
        what = f"nothing named {name}" if name else "nothing of wherry's"
        there = f"; there is {', '.join(known)}" if known else ""
        super().__init__(
            f"there is {what} in namespace {namespace} of context {context}{there}",
            hint="-n NAMESPACE and --context CONTEXT look elsewhere",
        )


class ReleaseMissing(ClusterFailed):
    """No release of that number is kept, or none before the one that serves."""

    def __init__(self, name: str, number: int | None, known: tuple[int, ...]) -> None:
        self.name, self.number, self.known = name, number, known
        kept = f"kept are {', '.join(map(str, known))}" if known else "none is kept"
        which = f"release {number} of {name} is not kept" if number else f"{name} has no good release before this one"
        super().__init__(f"{which}: {kept}", hint="wherry releases")


class NameUnclear(ClusterFailed):
    """More than one service is there and none was named."""

    def __init__(self, known: tuple[str, ...], namespace: str) -> None:
        self.known, self.namespace = known, namespace
        super().__init__(
            f"namespace {namespace} has {len(known)} services: {', '.join(known)}", hint="name one of them"
        )


class StillThere(ClusterFailed):
    """Something was told to go, or to become so, and has not in time."""

    def __init__(self, what: str, namespace: str, seconds: float, hint: str = "") -> None:
        self.what, self.namespace, self.seconds = what, namespace, seconds
        super().__init__(
            f"after {seconds:.0f} s still to be waited for in namespace {namespace}: {what}",
            hint=hint or f"kubectl -n {namespace} get all",
        )


class DeployHeld(LockHeld, ClusterFailed):
    """Another deploy of the same service is under way. holder: who, as user@host and process; since: UTC."""

    def __init__(self, name: str, namespace: str, holder: str, since: str) -> None:
        self.name, self.namespace, self.holder, self.since = name, namespace, holder, since
        super().__init__(
            f"{name} in namespace {namespace} is being changed by {holder}, since {since}",
            hint="wait until it is through, then try again; a holder that is gone is forgotten after 15 s",
        )


class NothingReady(ClusterFailed):
    """No pod of the service is ready to answer."""

    def __init__(self, labels: str, namespace: str) -> None:
        self.labels, self.namespace = labels, namespace
        super().__init__(f"no pod of {labels} in namespace {namespace} is ready", hint=f"wherry status -n {namespace}")


class ToolMissing(ClusterFailed):
    """The program that makes clusters of this kind is not installed."""

    def __init__(self, program: str, page: str = "") -> None:
        self.program, self.page = program, page
        super().__init__(f"{program} is not on the PATH", hint=f"install it: {page}" if page else f"install {program}")


class ToolFailed(ClusterFailed):
    """A command that makes or removes a cluster failed; what it last printed, and what was not run after it."""

    def __init__(self, command: str, status: int, lines: tuple[str, ...], left: tuple[str, ...] = ()) -> None:
        self.command, self.status, self.lines, self.left = command, status, lines, left
        said = "".join(f"\n  {line}" for line in lines)
        hint = "mend that, then: " + "\n  ".join((command, *left)) if left else f"mend that, then: {command}"
        super().__init__(f"ended with {status}: {command}{said}", hint=hint)
