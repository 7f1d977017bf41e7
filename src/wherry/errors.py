# long because every error that wherry raises stands here, under one tree, each with its sentence and its hint
"""Every error wherry raises. Facts are attributes, the sentence is composed in the class, `hint` is what to type next.

    WherryError
      UsageRefused            what was asked cannot be done as it was asked: flags, settings, files that are not there
        SettingsRefused  SettingsUnreadable  FileMissing  FolderTaken  ExtraMissing  NoImageName  ImageNameRefused
        NotVouched  NotConfirmed  StoreRefused  ExpressionRefused  LoadRefused
      DataUnreadable          a table or a target that cannot be used: EncodingWrong, TableEmpty, TargetMissing
        SampleUnfit
      ModelUnreadable         a model file: ModelUnknown, ModelUnsafe, ModelNotFitted, VersionDrift, NotStorable
      BundleUnreadable        a bundle: BundleMissing, BundleDamaged, FormatUnknown, BundleUnfit, GoldenDiffers
      RequestRefused          a request to the service, by cause; server.problems knows the HTTP status of each
        BodyUnreadable  FramingWrong  TokenRefused  SwitchedOff  PathUnknown  MethodWrong  TooSlow  TooLarge
        UrlTooLong  MediaWrong  HostUnknown  FieldsRefused  HeadersTooLarge  Overloaded  DeadlinePassed
      ModelFailed             the model raised, or answered what cannot be sent
      ServiceFailed           the service cannot start or go on: PortTaken, AddressUnusable, StoreFailed
        WorkerFailed
      CallFailed              a service that wherry called did not answer as it should: ServiceUnreachable, CallRefused
        StoreUnreachable
      BuildFailed             an image: NoBuilder, BaseMissing, PipMissing, RequirementsUnresolved, LockUnreadable
        WheelMissing  CacheUnusable  RegistryFailed  RegistryRefused  RepositoryMissing  ImageTaken
      ClusterFailed           no cluster to use: NoCluster, CredentialsRefused, ContextUnclear, ContextMissing
        NotPermitted  NamespaceMissing  Conflict  ObjectForeign  ObjectRefused  ObjectMissing  SecretMissing
        ObjectChanged  RolloutFailed  ProbeFailed  NothingDeployed  ReleaseMissing  NameUnclear
        StillThere
      LockHeld                somebody else is at it: SpoolHeld, DeployHeld
      DiskFull

No HTTP status and no exit code here: server.problems and cli.main hold those tables.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class WherryError(Exception):
    """Something a user can mend. `str()` is the sentence, `hint` the next thing to type."""

    hint = ""

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        if hint:
            self.hint = hint


class UsageRefused(WherryError):
    """What was asked cannot be done as it was asked."""


class SettingProblem(msgspec.Struct, frozen=True):
    """One setting that cannot be taken: its path, why, and what to do."""

    path: str
    reason: str
    hint: str = ""


class SettingsRefused(UsageRefused):
    """One or more settings cannot be taken; all of them are named."""

    def __init__(self, problems: tuple[SettingProblem, ...], source: str) -> None:
        self.problems = problems
        self.source = source
        lines = [f"{p.path} {p.reason}" + (f" ({p.hint})" if p.hint else "") for p in problems]
        super().__init__(f"{source}: " + "; ".join(lines), hint="`wherry config` prints every setting")


class SettingsUnreadable(UsageRefused):
    """The project's file is not TOML."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        self.path, self.line, self.reason = path, line, reason
        super().__init__(f"{path}, line {line}: {reason}", hint=f"mend line {line} of {path}")


class NoImageName(UsageRefused):
    """An image was to be made or run, and nothing says what it is called."""

    def __init__(self, verb: str, name: str) -> None:
        self.verb = verb
        super().__init__(
            "the image has no name",
            hint=f'wherry {verb} --image REGISTRY/{name}, or image = "REGISTRY/{name}" under [deploy] in wherry.toml',
        )


class NotConfirmed(UsageRefused):
    """Nobody was there to say yes, or the answer was no."""

    def __init__(self, question: str, flag: str) -> None:
        self.question, self.flag = question, flag
        super().__init__(f"not done without a yes: {question}", hint=f"say it with {flag}")


class FileMissing(UsageRefused):
    """A file that was named is not there."""

    def __init__(self, path: str, what: str = "file", hint: str = "") -> None:
        self.path = path
        super().__init__(f"no such {what}: {path}", hint=hint)


class ExtraMissing(UsageRefused):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        self.library, self.extra = library, extra
        super().__init__(f"{purpose} needs {library}, which is not installed", hint=f"pip install 'wherry[{extra}]'")


class BundleUnreadable(WherryError):
    """A bundle's file is not what it should be."""

    def __init__(self, path: str, reason: str, hint: str = "pack the model again") -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}", hint=hint)


class BundleMissing(UsageRefused):
    """A folder that should hold a bundle has no manifest.json."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"no bundle in {path} (it has no manifest.json)", hint="wherry pack MODEL --data FILE --target COLUMN"
        )


class BundleDamaged(BundleUnreadable):
    """A file's content is not what was packed."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(path, f"its sha-256 is {found}, the manifest says {expected}")


class FormatUnknown(BundleUnreadable):
    """A bundle was written in a format that this wherry does not read."""

    def __init__(self, found: object, known: int) -> None:
        self.found, self.known = found, known
        hint = "upgrade wherry" if isinstance(found, int) and found > known else "pack the model again"
        super().__init__("manifest.json", f"has format {found!r}; this wherry reads format {known}", hint)


class FolderTaken(UsageRefused):
    """A bundle would have to replace something that is no bundle."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path} is not replaced: {reason}", hint="name another folder with --to")


class BundleUnfit(BundleUnreadable):
    """The bundle is sound, but it was made for other versions than those that are here."""

    def __init__(self, package: str, wanted: str, found: str, *, at_least: bool = False) -> None:
        self.package, self.wanted, self.found = package, wanted, found
        needed = f"{wanted} or newer" if at_least else wanted
        have = f"this environment has {found}" if found else "this environment does not have it"
        if package == "python":
            hint = f"run it with Python {wanted}, or pack the model again with Python {found}"
        else:
            hint = f"pip install '{package}{'>=' if at_least else '=='}{wanted}', or pack the model again"
        super().__init__("the bundle", f"needs {package} {needed}; {have}", hint)


class GoldenDiffers(BundleUnreadable):
    """The model answers its golden rows otherwise than at pack."""

    def __init__(self, row: int, expected: Any, found: Any, *, differing: int, total: int) -> None:
        self.row, self.expected, self.found, self.differing, self.total = row, expected, found, differing, total
        super().__init__(
            "the model",
            f"answers {differing} of {total} golden rows otherwise than when it was packed: "
            f"row {row} was {expected!r}, is {found!r}",
        )


class ModelUnreadable(WherryError):
    """A model that cannot be read, or cannot be kept."""


class NotVouched(UsageRefused):
    """A file that can run code when it is loaded, and nobody vouched for it (or for another file's digest).

    verdict: what its names say; estimator: the class that it would make, empty when the file does not tell.
    """

    def __init__(self, path: str, digest: str, verdict: str, estimator: str, *, given: str = "") -> None:
        self.path, self.digest, self.verdict, self.estimator, self.given = path, digest, verdict, estimator, given
        holds = f"it holds {estimator} and " if estimator else "it "
        if given:
            sentence = f"{path} has sha256:{digest}, and {given} is what was vouched for: it is not loaded"
        else:
            sentence = f"{path} is not loaded, as nobody vouched for it: {holds}{verdict}"
        super().__init__(sentence, hint=f"if you know who made it: --trust=sha256:{digest}")


class ModelUnknown(ModelUnreadable):
    """A file or an object that is no model wherry can pack."""

    def __init__(self, path: str, what: str, reason: str, hint: str = "") -> None:
        self.path, self.what, self.reason = path, what, reason
        subject = f"{path}: {what}" if path else what
        super().__init__(
            f"{subject} {reason}",
            hint=hint or "wherry packs fitted scikit-learn estimators: live, or in a joblib, pickle or skops file",
        )


class ModelUnsafe(ModelUnreadable):
    """A model file that breaks while it is loaded, or that is larger than it may be."""

    def __init__(self, path: str, reason: str, hint: str = "save the model again with joblib.dump") -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}", hint=hint)


class ModelNotFitted(ModelUnreadable):
    """An estimator that was never fitted has no answers."""

    def __init__(self, estimator: str) -> None:
        self.estimator = estimator
        super().__init__(
            f"this {estimator} is not fitted: it has no answers", hint="call fit(X, y), and save or pack it then"
        )


class DataUnreadable(WherryError):
    """A table that is not what it should be."""

    def __init__(
        self, path: str, reason: str, hint: str = "give a CSV, Parquet or JSON-lines file with a header"
    ) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}", hint=hint)


class EncodingWrong(DataUnreadable):
    """A byte that the encoding does not have. fits: encodings in which the whole file can be read."""

    def __init__(self, path: str, encoding: str, offset: int, line: int, byte: int, fits: tuple[str, ...]) -> None:
        self.encoding, self.offset, self.line, self.byte, self.fits = encoding, offset, line, byte, fits
        hint = f"--encoding {fits[0]}" + (f" (or {', '.join(fits[1:])})" if len(fits) > 1 else "") if fits else ""
        super().__init__(
            path,
            f"byte {offset} (line {line}), 0x{byte:02x}, is not {encoding}",
            hint or "name the file's encoding with --encoding",
        )


class TableEmpty(DataUnreadable):
    """No rows to learn anything from."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason, "give the rows that the model was trained on")


class TargetMissing(DataUnreadable):
    """The column of right answers is not there."""

    def __init__(self, path: str, target: str, columns: tuple[str, ...], near: str = "") -> None:
        self.target, self.columns, self.near = target, columns, near
        shown = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
        super().__init__(
            path,
            f"has no column {target!r}; its columns are {shown}",
            f"did you mean --target {near}?" if near else "name one of these columns with --target",
        )


class SampleUnfit(DataUnreadable):
    """The rows are not what the model was fitted on."""


class VersionDrift(ModelUnreadable):
    """A model file was written by another version of a library than the one that is here."""

    def __init__(self, package: str, wanted: str, found: str, estimator: str = "") -> None:
        self.package, self.wanted, self.found, self.estimator = package, wanted, found, estimator
        what = f"{estimator} was saved" if estimator else "the model was saved"
        super().__init__(
            f"{what} with {package} {wanted}; this environment has {found}",
            hint=f"pip install '{package}=={wanted}', or train it again here",
        )


class NotStorable(ModelUnreadable):
    """No form that cannot run code holds this model. `types` are those that wherry does not know to be safe."""

    def __init__(self, types: tuple[str, ...], refused: dict[str, str]) -> None:
        self.types, self.refused = types, refused
        if types:
            reason = f"it is made of types that wherry does not know to be safe: {', '.join(types)}"
        else:
            reason = "; ".join(f"{form}: {why}" for form, why in refused.items())
        hint = "--allow-pickle keeps pickle in the bundle (recorded in its manifest): loading it can run code"
        if any(name.startswith("__main__.") for name in types):  # which pickle would not find again
            hint = "what lives in a script or notebook is not found again: put it in a module that can be imported"
        super().__init__(f"the model cannot be stored without pickle: {reason}", hint=hint)


class CallFailed(WherryError):
    """A service that wherry called did not answer as it should."""


class ServiceUnreachable(CallFailed):
    """Nobody answers at the address, or not in time."""

    def __init__(self, url: str, reason: str, hint: str = "") -> None:
        self.url, self.reason = url, reason
        super().__init__(f"{url} did not answer: {reason}", hint=hint)


class StoreUnreachable(CallFailed):
    """The database with the predictions cannot be used. `shown` is what may be shown of its url."""

    def __init__(self, shown: str, reason: str, hint: str = "") -> None:
        self.shown, self.reason = shown, reason
        super().__init__(f"{shown}: {reason}", hint=hint)


class CallRefused(CallFailed):
    """The service answered, and the answer is an error. `problem` is its body, where that was JSON."""

    def __init__(self, url: str, status: int, sentence: str, hint: str = "", problem: object = None) -> None:
        self.url, self.status, self.problem = url, status, problem
        super().__init__(f"{status}: {sentence}", hint=hint)


class ImageNameRefused(UsageRefused):
    """A text that is no name of an image."""

    def __init__(self, text: str, reason: str, better: str) -> None:
        self.text = text
        super().__init__(f"{text!r} {reason}", hint=f"--image {better}")


class BuildFailed(WherryError):
    """No image came of it. `lines`: the last that the builder printed."""

    def __init__(self, sentence: str, *, lines: tuple[str, ...] = (), hint: str = "") -> None:
        self.lines = lines
        super().__init__("\n  ".join([sentence, *lines]), hint=hint)


class NoBuilder(BuildFailed):
    """No program that builds images is here, or none of them can be used. `reasons`: one a program."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(
            f"no image can be built here: {why}",
            hint="add --push or --output FILE, start Docker, or apt-get install buildah",
        )


class BaseMissing(BuildFailed):
    """The image to build on cannot be had."""

    def __init__(self, base: str, reason: str, *, lines: tuple[str, ...] = ()) -> None:
        self.base, self.reason = base, reason
        hint = "name another with --base REF, or base = under [image] in wherry.toml"
        super().__init__(f"the base image {base} cannot be had: {reason}", lines=lines, hint=hint)


class PipMissing(BuildFailed):
    """pip, which finds the hashes of what goes into the image, is not in this environment."""

    def __init__(self, python: str) -> None:
        self.python = python
        super().__init__(f"{python} has no pip to resolve the image's packages with", hint=f"{python} -m ensurepip")


class RequirementsUnresolved(BuildFailed):
    """The packages that the model needs cannot be had for the image's Python and platform."""

    def __init__(self, wanted: tuple[str, ...], python: str, platform: str, lines: tuple[str, ...]) -> None:
        self.wanted, self.python, self.platform = wanted, python, platform
        super().__init__(
            f"pip finds no wheels of {', '.join(wanted)} for Python {python} on {platform}",
            lines=lines,
            hint="pack the model again with versions that have wheels, or mend the package index that pip uses",
        )


class WheelMissing(BuildFailed):
    """A package that wherry.lock names cannot be had as a wheel with that hash. `lines`: what pip said."""

    def __init__(self, names: tuple[str, ...], python: str, platform: str, lines: tuple[str, ...] = ()) -> None:
        self.names, self.python, self.platform = names, python, platform
        super().__init__(
            f"no wheel with the hash of wherry.lock was found of {', '.join(names)} for Python {python} on {platform}",
            lines=lines,
            hint="remove [packages] from wherry.lock to have them resolved again, or mend the package index of pip",
        )


class CacheUnusable(BuildFailed):
    """The folder that keeps wheels and layers between builds cannot be written."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"the cache {path} cannot be written: {reason}", hint="XDG_CACHE_HOME=/tmp/cache wherry build")


class LockUnreadable(BuildFailed):
    """wherry.lock is not what wherry writes."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}", hint=f"rm {path}; the next build writes it anew")


class RegistryFailed(BuildFailed):
    """A registry does not answer, or not as one does."""

    def __init__(self, host: str, reason: str, *, lines: tuple[str, ...] = ()) -> None:
        self.host, self.reason = host, reason
        super().__init__(f"the registry {host} cannot be used: {reason}", lines=lines, hint=f"curl -i {host}/v2/")


class RegistryRefused(RegistryFailed):
    """A registry answers, and these credentials may not do that."""

    def __init__(self, host: str, reason: str, *, lines: tuple[str, ...] = ()) -> None:
        super().__init__(host, reason, lines=lines)
        self.hint = f"docker login {host}, or buildah login {host}"


class RepositoryMissing(RegistryRefused):
    """A registry that makes no repositories by itself has none of this name."""

    def __init__(self, host: str, path: str, reason: str) -> None:
        self.path = path
        super().__init__(host, f"it has no repository {path}, and makes none when it is pushed to: {reason}")
        self.hint = f"create {path} there, or name another with --image"


class ImageTaken(BuildFailed):
    """The tag that was asked for names another image, and is not moved without a word."""

    def __init__(self, reference: str, digest: str) -> None:
        self.reference, self.digest = reference, digest
        super().__init__(
            f"{reference} is another image already ({digest})",
            hint="choose another tag, none (one is made of the content), or --force to move it",
        )


class ClusterFailed(WherryError):
    """A cluster, or what was asked of it. `outcome` says what serves now; until something is applied: as before."""

    outcome = "unchanged"

    def now_serving(self, outcome: str, serving: str) -> None:
        """Says what serves after what was done about it."""
        self.outcome = outcome
        self.args = (f"{self}; {serving}",)


class NoCluster(ClusterFailed):
    """No Kubernetes API answers. server: what was tried, empty when none is known."""

    def __init__(self, reason: str, *, server: str = "", kubeconfig: str = "", hint: str = "") -> None:
        self.server, self.kubeconfig, self.reason = server, kubeconfig, reason
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
            hint="pass --create-namespace to make it, or -n NAMESPACE to name another",
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


class LockHeld(WherryError):
    """Somebody else is at it."""


class DeployHeld(LockHeld, ClusterFailed):
    """Another deploy of the same service is under way. holder: who, as user@host and process; since: UTC."""

    def __init__(self, name: str, namespace: str, holder: str, since: str) -> None:
        self.name, self.namespace, self.holder, self.since = name, namespace, holder, since
        super().__init__(
            f"{name} in namespace {namespace} is being changed by {holder}, since {since}",
            hint="wait until it is through, then try again; a holder that is gone is forgotten after 15 s",
        )


class DiskFull(WherryError):
    """The disk is full; nothing half-written is left behind."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"no space left on the disk that holds {path}", hint=f"df -h {path}")


class ServiceFailed(WherryError):
    """The service cannot start or go on."""


class StoreFailed(ServiceFailed):
    """A prediction cannot be kept, so it is not acknowledged."""

    def __init__(self, path: str, reason: str, hint: str = "") -> None:
        self.path, self.reason = path, reason
        super().__init__(f"predictions cannot be kept in {path}: {reason}", hint=hint)


class SpoolHeld(LockHeld):
    """Another service keeps its predictions in the folder; `pid` is 0 when it cannot be told."""

    def __init__(self, folder: str, pid: int) -> None:
        self.folder, self.pid = folder, pid
        who = f"the service with process id {pid}" if pid else "another service"
        super().__init__(
            f"{who} keeps its predictions in {folder}",
            hint=f"stop it (kill {pid})" if pid else "stop it, or start this one in another folder",
        )


class StoreRefused(UsageRefused):
    """The store's database is one that this version cannot write to. Never shows the url: it may hold a password."""

    def __init__(self, scheme: str, source: str, supported: tuple[str, ...]) -> None:
        self.scheme, self.source, self.supported = scheme, source, supported
        names = " and ".join(supported)
        super().__init__(
            f"{source} names a {scheme or 'nameless'} database; this version stores predictions in {names}",
            hint=f"{supported[0]}:///predictions.db, or leave it out: {supported[0]} in .wherry/ is the default",
        )


class PortTaken(ServiceFailed):
    """Another process listens on the port; `holder` names it where it can be told."""

    def __init__(self, host: str, port: int, holder: str = "", setting: str = "--port") -> None:
        self.host, self.port, self.holder = host, port, holder
        who = f"by {holder}" if holder else "by another process"
        super().__init__(f"port {port} of {host} is taken {who}", hint=f"stop it, or choose another with {setting}")


class AddressUnusable(ServiceFailed):
    """The address cannot be listened on: it is not this machine's, or the port may not be opened by this user."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host, self.port, self.reason = host, port, reason
        super().__init__(f"cannot listen on {host} port {port}: {reason}", hint="choose others with --host and --port")


class WorkerFailed(ServiceFailed):
    """A worker process could not start, and none was ready yet; `reason` says why."""

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason = reason
        super().__init__(reason, hint=hint or "try it with one worker: --workers 1")


class ModelFailed(WherryError):
    """The model raised, or answered what cannot be sent; `rows` are those concerned, as far as that can be told.

    outputs: the answers of all rows (contract.wire.Outputs), whose prediction is None at each of `rows`; None when no
    row could be answered. So the other rows of a batch lose nothing.
    """

    def __init__(self, reason: str, rows: tuple[int, ...] = (), outputs: Any = None) -> None:
        self.reason, self.rows, self.outputs = reason, rows, outputs
        super().__init__(f"the model {reason}", hint="the service's log says more")


class RequestRefused(WherryError):
    """A request to the service cannot be answered. `code` is stable; clients may rely on it."""

    code = "refused"
    title = "Request refused"


class BodyUnreadable(RequestRefused):
    """The body is not what its content type says; `place` is the byte, from 0, where that shows."""

    code, title = "body-unreadable", "Body unreadable"

    def __init__(self, reason: str, place: int | None = None, hint: str = "send one JSON value") -> None:
        self.place = place
        super().__init__(reason + ("" if place is None else f" (byte {place})"), hint=hint)


class FramingWrong(RequestRefused):
    """The bytes are not one clear HTTP/1.1 request."""

    code, title = "framing", "Not a clear HTTP request"


class TokenRefused(RequestRefused):
    """The service needs a token, and none of those it accepts came."""

    code, title = "token", "Token needed"

    def __init__(self, sent: bool) -> None:
        super().__init__(
            "the token is not accepted" if sent else "this service needs a token",
            hint="curl -H 'Authorization: Bearer TOKEN', or the header X-Api-Key",
        )


class SwitchedOff(RequestRefused):
    """The project has switched this off; the hint names the setting."""

    code, title = "switched-off", "Switched off"


class PathUnknown(RequestRefused):
    """There is nothing at this path."""

    code, title = "path-unknown", "No such path"


class MethodWrong(RequestRefused):
    """The path is there, and does not take this method; Allow names those that it takes."""

    code, title = "method", "Method not allowed"

    def __init__(self, method: str, path: str, allowed: tuple[str, ...], hint: str = "") -> None:
        self.allowed = allowed
        super().__init__(f"{path} does not take {method}, only {' and '.join(allowed)}", hint=hint)


class TooSlow(RequestRefused):
    """The request did not arrive in time."""

    code, title = "too-slow", "Request too slow"


class TooLarge(RequestRefused):
    """The body is over the limit."""

    code, title = "too-large", "Body too large"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the body is over {limit:,} bytes", hint="send fewer rows a request")


class UrlTooLong(RequestRefused):
    """The address is longer than a request line may be."""

    code, title = "url-too-long", "URL too long"


class MediaWrong(RequestRefused):
    """The body's content type or encoding is none that is read here; the hint is a line that works."""

    code, title = "media-type", "Content type not supported"


class HostUnknown(RequestRefused):
    """The Host header names a host that this service does not answer to."""

    code, title = "host", "Host not served here"

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"this service listens on this machine only and does not answer for host {host!r}",
            hint='call it as 127.0.0.1 or localhost, or set [serve] allowed_hosts = ["NAME"]',
        )


class FieldAtFault(Protocol):
    """What is read of a contract.wire.FieldProblem here: this room imports no other."""

    @property
    def row(self) -> int: ...

    @property
    def field(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def hint(self) -> str: ...


class FieldsRefused(RequestRefused):
    """Rows that do not fit the model's columns; `problems` names each row, field and what to do.

    record: the first row at fault as it was sent, where there is one; a corrected request can be made from it.
    rows: the places of all rows that were asked, where known; table: whether they all have the same columns.
    """

    code, title = "fields", "Fields refused"

    def __init__(
        self, problems: tuple[FieldAtFault, ...], record: Any = None, rows: range = range(0), table: bool = False
    ) -> None:
        self.problems, self.record, self.rows, self.table = problems, record, rows, table
        first = problems[0]
        rest = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        where = f"row {first.row}: " if first.row else ""
        name = f"{first.field} " if first.field else ""
        super().__init__(f"{where}{name}{first.reason}{rest}", hint=first.hint)


class HeadersTooLarge(RequestRefused):
    """The headers are larger than the service reads."""

    code, title = "headers-too-large", "Header section too large"


class Overloaded(RequestRefused):
    """More waits than can be answered in time; come back after `retry_after` seconds."""

    code, title = "overloaded", "Too busy"

    def __init__(self, reason: str, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(reason, hint=f"try again in {retry_after} s")


class DeadlinePassed(RequestRefused):
    """No answer in the time that a request may take."""

    code, title = "deadline", "No answer in time"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the answer took longer than {seconds:g} s", hint="send fewer rows, or raise request_seconds")


class ExpressionRefused(UsageRefused):
    """A short text with a grammar of its own that cannot be read. `place` counts its characters from 1."""

    def __init__(self, flag: str, text: str, place: int, reason: str, hint: str) -> None:
        self.flag, self.text, self.place, self.reason = flag, text, place, reason
        rest = text[place - 1 : place + 19]
        where = f"at character {place}, {rest!r}" if rest else f"after {text!r}" if text else "it is empty"
        super().__init__(f"{flag} {text!r}: {where}: {reason}", hint=hint)


class LoadRefused(UsageRefused):
    """A load beyond what this tool will ever put on a service, or none at all."""

    def __init__(self, unit: str, asked: float, most: float) -> None:
        self.unit, self.asked, self.most = unit, asked, most
        if asked:
            super().__init__(f"{asked:,.0f} {unit} are asked; the most is {most:,.0f}", hint=f"stay under {most:,.0f}")
        else:
            super().__init__("this load holds no request", hint="raise --rate or --duration")
