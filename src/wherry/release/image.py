"""The container image: a Dockerfile that reads well, what its build needs beside it, and a tag that its content makes.

Two stages of the same base, so that what pip leaves behind stays behind. The bundle is copied last: a model that is
packed again changes one small layer.
"""

from __future__ import annotations

import hashlib
import json

import msgspec

from wherry.contract import settings
from wherry.contract.manifest import Manifest
from wherry.contract.names import (
    ADMIN_PORT,
    ANNOTATION_CONTENT,
    ANNOTATION_DIGEST,
    ENV_BUNDLE,
    IMAGE_BUNDLE,
    IMAGE_USER,
    MANIFEST_FILE,
    RUNTIME,
    SERVING_PORT,
    SPOOL_DIR,
)
from wherry.contract.project import Project
from wherry.errors import SettingProblem, SettingsRefused
from wherry.release.objects.config import contained
from wherry.release.objects.model import outside
from wherry.release.objects.storage import keeping
from wherry.release.objects.workload import CACHES

LIBRARIES = "/opt/libraries"
STORE = "/opt/store"
OWN = "/opt/wherry"
REQUIREMENTS_FILE = "requirements.txt"
STORE_FILE = "store.txt"
UNPACK_FILE = "unpack.py"
# python3: where Python is the system's own, there may be no python.
ENTRYPOINT = ("python3", "-m", "wherry.server")
STOP_SIGNAL = "SIGTERM"
TAG_LENGTH = 12
# BuildKit reads no longer line than this.
LONGEST_LINE = 60_000
PYTHON = {
    "PYTHONPATH": f"{OWN}:{LIBRARIES}",
    "PYTHONSAFEPATH": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
# What speaks to a database, where predictions are stored in one.
DRIVERS = {"mysql": "pymysql", "mariadb": "pymysql", "postgresql": "psycopg"}
# What speaks to a collector, where [serve] collector names one.
TELEMETRY = ("opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk")
# What is in an image for the store's sake alone: a layer of its own, absent where predictions are not stored.
OF_STORE = frozenset({"greenlet", "psycopg", "psycopg-binary", "pymysql", "sqlalchemy", "typing-extensions"})
DOCKERFILE = """\
# {model}, as wherry packed it. The base is {base_name}.
FROM {base} AS libraries
USER 0
COPY {unpack} /build/

# Every file is held against its hash, and only wheels are taken: nothing is built, nothing of theirs runs.
{wheels}

# wherry itself comes from the build context, never from a package index.
COPY wheels/{wheel} /build/own/
RUN python3 /build/{unpack} /build/own {own}

# Compiled above, since the root may be read-only where it runs.
FROM {base}
USER 0
RUN install -d -o {user} -g {user} {spool}
WORKDIR {spool}
{copies}
{python}

# The project's settings; the environment of the container wins over them.
{environ}

# A number, so that Kubernetes can see that it is not root. Any other works too.
USER {user}:{user}
EXPOSE {serving} {admin}
STOPSIGNAL {signal}
ENTRYPOINT {entrypoint}
{labels}
"""
MODEL_LAYER = f"""
# Last, so that a model packed again is one new layer.
COPY bundle/ {IMAGE_BUNDLE}/
"""


# What is downloaded from `listed` is laid down in `target`.
WHEELS = """\
COPY {listed} /build/
RUN python3 -m pip download --require-hashes --no-deps --only-binary :all: --dest /build/{name} \\
      --no-cache-dir --disable-pip-version-check -r /build/{listed} \\
 && python3 /build/{unpack} /build/{name} {target}"""


class ImageConfig(msgspec.Struct, frozen=True):
    """What the image says of how it runs, beside what its base says."""

    environ: dict[str, str]
    labels: dict[str, str]
    ports: tuple[str, ...]
    user: str = f"{IMAGE_USER}:{IMAGE_USER}"
    folder: str = SPOOL_DIR
    entrypoint: tuple[str, ...] = ENTRYPOINT
    signal: str = STOP_SIGNAL


class ImagePlan(msgspec.Struct, frozen=True):
    """What a builder needs. context: path to bytes, beside the bundle's files, which go into bundle/; STORE_FILE is in
    it only where predictions are stored.

    config says for builders that read no Dockerfile what the Dockerfile says; python: the minor version of the base.
    """

    dockerfile: str
    dockerignore: str
    context: dict[str, bytes]
    bundle_files: tuple[str, ...]
    content_tag: str
    base: str
    config: ImageConfig
    python: str
    model: str

    @property
    def locked(self) -> str:
        """Every distribution of the image but wherry, as a requirements.txt with a hash a line states it."""
        return "".join(self.context.get(path, b"").decode() for path in (REQUIREMENTS_FILE, STORE_FILE))

    @property
    def wheel(self) -> str:
        """Where wherry's own wheel lies in the context."""
        return next(path for path in self.context if path.startswith("wheels/"))


def default_base(manifest: Manifest) -> str:
    """The official image of the Python that the model was packed with."""
    needs = manifest.requirements
    # LightGBM's wheel has no OpenMP of its own, as others have, and the slim image none either.
    return f"python:{needs.python}" if "lightgbm" in needs.packages else f"python:{needs.python}-slim"


def wanted(project: Project, manifest: Manifest) -> dict[str, str]:
    """The distributions in the image: name to exact version, empty where the bundle leaves it open."""
    kept = keeping(project)
    names = [*RUNTIME, *(["sqlalchemy"] if kept.kind != "nothing" else [])]
    names += [driver for scheme, driver in DRIVERS.items() if kept.kind == "database" and kept.dialect == scheme]
    names += TELEMETRY if project.serve.collector else ()
    return dict(sorted({**dict.fromkeys(names, ""), **manifest.requirements.packages}.items()))


def plan(
    project: Project,
    manifest: Manifest,
    *,
    base: str = "",
    requirements: str = "",
    wheel: tuple[str, bytes] = ("wherry-0-py3-none-any.whl", b""),
    unpack: bytes = b"",
    base_name: str = "",
) -> ImagePlan:
    """The image of `manifest`. Same input, same bytes.

    base: the reference to build on, best by digest; base_name: what it was resolved from. requirements: the text of a
    requirements.txt that states a hash for each file. wheel: wherry itself. unpack: the program that lays wheels down.
    Raises SettingsRefused.
    """
    base = base or project.image.base or default_base(manifest)
    environ = image_environ(project)
    too_long = tuple(
        SettingProblem(name, "is too long for a Dockerfile", "shorten it, or set it where the image is run")
        for name, value in environ.items()
        if len(value.encode()) > LONGEST_LINE or "\n" in value
    )
    if too_long:
        raise SettingsRefused(too_long, "the image")
    libraries, store = split(requirements) if keeping(project).kind != "nothing" else (requirements, "")
    held = not outside(project)  # a model on a volume leaves the image as it is when it is packed again
    labels = {
        "org.opencontainers.image.title": manifest.name,
        **({"org.opencontainers.image.version": manifest.version} if held else {}),
        "org.opencontainers.image.base.name": base_name or base,
        **({ANNOTATION_DIGEST: manifest.digest} if held else {}),
    }
    ports = (environ.get("WHERRY_SERVE_PORT", SERVING_PORT), environ.get("WHERRY_SERVE_ADMIN_PORT", ADMIN_PORT))
    python = {**PYTHON, "PYTHONPATH": f"{PYTHON['PYTHONPATH']}:{STORE}"} if store else PYTHON
    config = ImageConfig({**python, **CACHES, **environ}, labels, tuple(map(str, ports)))
    model = " ".join(f"{manifest.name} {manifest.version if held else 'without its model'}".split())
    text = dockerfile(config, model, base, base_name or base, wheel[0], environ, store=bool(store))
    copy = MODEL_LAYER if held else ""
    listed = {REQUIREMENTS_FILE: libraries.encode(), **({STORE_FILE: store.encode()} if store else {})}
    context = {**listed, UNPACK_FILE: unpack, f"wheels/{wheel[0]}": wheel[1]}
    tag = content_tag(text + copy, context, manifest.digest if held else "")
    return ImagePlan(
        dockerfile=f"{text}{copy}LABEL {ANNOTATION_CONTENT}={quoted(tag)}\n",
        dockerignore="*\n"
        + "".join(f"!{path}\n" for path in (*listed, UNPACK_FILE, "wheels", *(["bundle"] if held else []))),
        context=context,
        bundle_files=(MANIFEST_FILE, *sorted(manifest.files)) if held else (),
        content_tag=tag,
        base=base,
        config=msgspec.structs.replace(config, labels={**labels, ANNOTATION_CONTENT: tag}),
        python=manifest.requirements.python,
        model=model,
    )


def split(requirements: str) -> tuple[str, str]:
    """The lines of a requirements.txt that the model and the service need, and those that only the store does."""
    lines = requirements.splitlines(keepends=True)
    store = [line for line in lines if line.partition("==")[0] in OF_STORE]
    return "".join(line for line in lines if line not in store), "".join(store)


def content_tag(text: str, context: dict[str, bytes], model: str) -> str:
    """Twelve hex digits that change when anything in the image does. model: the digest of the one in it."""
    digest = hashlib.sha256()
    for part in (text.encode(), *(context[path] for path in sorted(context)), model.encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:TAG_LENGTH]


def image_environ(project: Project) -> dict[str, str]:
    """The project's settings as they hold wherever the image runs: no password, and no file that only a cluster has."""
    inside = contained(project)
    kept = keeping(project)
    if kept.kind == "claim" or kept.secret or kept.beside:
        inside = msgspec.structs.replace(inside, store=msgspec.structs.replace(inside.store, url="", enabled=None))
    return {ENV_BUNDLE: IMAGE_BUNDLE, **dict(sorted(settings.to_environ(inside).items()))}


def dockerfile(
    config: ImageConfig, model: str, base: str, base_name: str, wheel: str, environ: dict[str, str], *, store: bool
) -> str:
    """The Dockerfile's text, without the model and the label of its content."""
    parts = [("libraries", REQUIREMENTS_FILE, LIBRARIES), *([("store", STORE_FILE, STORE)] if store else [])]
    filled = [WHEELS.format(name=name, listed=listed, unpack=UNPACK_FILE, target=to) for name, listed, to in parts]
    return DOCKERFILE.format(
        model=model,
        base=base,
        base_name=base_name,
        unpack=UNPACK_FILE,
        wheels="\n".join(filled),
        copies="\n".join(f"COPY --from=libraries {path} {path}" for path in (*(to for *_, to in parts), OWN)),
        own=OWN,
        wheel=wheel,
        user=IMAGE_USER,
        spool=SPOOL_DIR,
        python=statement("ENV", {name: config.environ[name] for name in (*PYTHON, *CACHES)}),
        environ=statement("ENV", environ),
        serving=config.ports[0],
        admin=config.ports[1],
        signal=config.signal,
        entrypoint=json.dumps(config.entrypoint),
        labels=statement("LABEL", config.labels),
    )


def statement(word: str, values: dict[str, str]) -> str:
    """One instruction, a value a line."""
    return f"{word} " + " \\\n    ".join(f"{name}={quoted(value)}" for name, value in values.items())


def quoted(text: str) -> str:
    """`text` as a Dockerfile takes it literally: in single quotes, or in double ones with `$` and backslash escaped."""
    if "'" not in text:
        return f"'{text}'" if any(sign in text for sign in ' "\\$#{}[]') else text or "''"
    return json.dumps(text, ensure_ascii=False).replace("$", "\\$")
