"""Images and registries."""

from __future__ import annotations

from wherry.errors.root import WherryError


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
