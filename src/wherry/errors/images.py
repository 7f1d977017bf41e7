"""Images and registries."""

from __future__ import annotations

from wherry.errors.root import UsageRefused, WherryError


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


class BaseUnfit(BuildFailed):
    """The image to build on has another Python than the one that the bundle's libraries are made for, or none."""

    def __init__(self, base: str, has: str, needed: str) -> None:
        self.base, self.has, self.needed = base, has, needed
        found, other = (f"Python {has}", f", or pack the model again under Python {has}") if has else ("no python3", "")
        super().__init__(
            f"the base image {base} has {found}, and the bundle was packed with Python {needed}",
            hint=f"--base python:{needed}-slim{other}",
        )


class EngineUnknown(UsageRefused):
    """An engine that no image can be loaded into."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f"no image can be loaded into {text!r}",
            hint="--load for Docker, --load=containerd, --load=kind[:CLUSTER] or --load=minikube[:PROFILE]",
        )


class PipMissing(BuildFailed):
    """pip, which finds the hashes of what goes into the image, is not in this environment."""

    def __init__(self, python: str) -> None:
        self.python = python
        super().__init__(f"{python} has no pip to resolve the image's packages with", hint=f"{python} -m ensurepip")


class RequirementsUnresolved(BuildFailed):
    """The packages that the model needs cannot be had together for the image's Python and platform."""

    def __init__(self, wanted: tuple[str, ...], python: str, platform: str, lines: tuple[str, ...]) -> None:
        self.wanted, self.python, self.platform = wanted, python, platform
        self.conflict = any("conflict" in line.lower() for line in lines)
        found = "that go together of" if self.conflict else "of"
        mend = "versions that go together" if self.conflict else "versions that have wheels"
        super().__init__(
            f"pip finds no wheels {found} {', '.join(wanted)} for Python {python} on {platform}",
            lines=lines,
            hint=f"pack the model again with {mend}, or mend the package index that pip uses",
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


class RegistryUntrusted(RegistryFailed):
    """A registry's certificate is not one that this machine trusts, or it speaks no TLS at all."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(host, reason)
        own = "SSL_CERT_FILE=ca.pem wherry build ... trusts a certificate of your own"
        self.hint = f"{own}; plain HTTP needs insecure = true under [[registry]] in registries.conf"


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


class KeyUnusable(UsageRefused):
    """A file that was named as a key is none that signs or verifies images."""

    def __init__(self, path: str, reason: str, hint: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"the key {path} {reason}", hint=hint)


class DatabaseUnreadable(UsageRefused):
    """A database of vulnerabilities that cannot be read, or is none."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(
            f"the database of vulnerabilities {path} {reason}",
            hint="it is a folder or zip of OSV entries, as osv.dev publishes them in PyPI/all.zip",
        )


class TooVulnerable(BuildFailed):
    """The image would hold packages with vulnerabilities that are known and not waived. `ids`: by package."""

    def __init__(self, ids: dict[str, tuple[str, ...]], severity: str) -> None:
        self.ids, self.severity = ids, severity
        count = sum(map(len, ids.values()))
        what = f"{count} known vulnerabilit{'y' if count == 1 else 'ies'}"
        where = "; ".join(f"{package}: {', '.join(names)}" for package, names in ids.items())
        first = next(iter(ids.values()))[0]
        super().__init__(
            f"not built: {what} of severity {severity} or worse: {where}",
            hint=f'pack with a fixed version, or waive it: waived = ["{first}"] under [image] in wherry.toml',
        )


class AttachingRefused(BuildFailed):
    """The image is in its registry, and what belongs beside it is not."""

    def __init__(self, reference: str, reason: str) -> None:
        self.reference, self.reason = reference, reason
        super().__init__(f"{reference} was pushed, and nothing could be attached to it: {reason}", hint="--no-attest")


class ImageMissing(BuildFailed):
    """No registry holds an image of this name."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(
            f"no registry holds {reference}", hint="name one that is there, or push it: wherry build --push"
        )


class ImageUnverified(BuildFailed):
    """It is not proven that the owner of the key has signed this image."""


class ImageUnsigned(ImageUnverified):
    """Nobody has signed the image that the name means now."""

    def __init__(self, reference: str, digest: str) -> None:
        self.reference, self.digest = reference, digest
        what = reference if digest in reference else f"{reference}, which is {digest},"
        super().__init__(
            f"{what} is not signed: it is not deployed",
            hint="wherry build --push --sign KEY; was it signed, its tag has been moved to another image since",
        )


class SignatureWrong(ImageUnverified):
    """The image has signatures, and none of this key over this digest. `vouched`: what the key's own are over."""

    def __init__(self, reference: str, digest: str, vouched: tuple[str, ...]) -> None:
        self.reference, self.digest, self.vouched = reference, digest, vouched
        what = reference if digest in reference else f"{reference}, which is {digest},"
        why = "no signature of it is by this key"
        if vouched:
            why = f"the signature by this key is of another image, {', '.join(vouched)}"
        super().__init__(
            f"{what} is not deployed: {why}", hint="name the key of who signed it, or sign it: wherry build --sign KEY"
        )


class DigestDiffers(ImageUnverified):
    """A registry gives other bytes than the digest stands for."""

    def __init__(self, reference: str, host: str, found: str) -> None:
        self.reference, self.host, self.found = reference, host, found
        super().__init__(
            f"what {host} gives as {reference} has the digest {found}: it is not deployed",
            hint="its registry is damaged, or somebody has changed what it holds; push the image again",
        )
