"""What fits together over several files: ports, images, the environment; and compose files themselves."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from wherry.doctor.documents import Document, dig, items, line_of, walk
from wherry.doctor.project import Project
from wherry.doctor.rule import Edit, Place, rule
from wherry.doctor.rules.containers import Container, all_containers, containers, environment
from wherry.doctor.source import constant, keyword

# Keys that the interpreter, a server or a library reads.
OTHERS_READ = re.compile(
    r"^(PYTHON|PIP|FLASK|GUNICORN|UVICORN|WEB_CONCURRENCY|PORT$|HOST$|PATH$|HOME$|TZ$|LANG|LC_|OMP_|MKL_|KMP_|OPENBLAS_|TF_"
    r"|CUDA|NVIDIA|AWS_|GOOGLE_|GCP_|AZURE_|HTTPS?_PROXY|NO_PROXY|WHERRY_|OTEL_|DATABASE_URL|SSL_|REQUESTS_|HF_|TORCH|DEBUG$)"
)
PUBLIC_GCR = re.compile(
    r"^((us|eu|asia)\.)?gcr\.io/(distroless|cloud-builders|google-containers|kaniko-project|google\.com|cloud-marketplace|google_containers)/"
)
GCR = re.compile(r"(?<![\w.-])((?:us\.|eu\.|asia\.)?gcr\.io\\?/[^\s\"']+)")


def listening(project: Project) -> list[tuple[str, int, str]]:
    """Where the service listens: file, line, port. What the image starts goes over what a module says."""
    found: list[tuple[str, int, str]] = []
    scripts = set()
    for dockerfile in project.dockerfiles:
        start = dockerfile.start
        if start is None:
            continue
        said = " ".join(start.words)
        if port := re.search(r"(?:--bind|-b)[ =]\S*?:(\d+)|(?:--port|-p)[ =](\d+)", said):
            found.append((dockerfile.path, start.line, port[1] or port[2]))
        elif re.search(r"\bflask\b.*\brun\b", said):
            found.append((dockerfile.path, start.line, "5000"))
        elif re.search(r"\b(gunicorn|uvicorn)\b", said):
            found.append((dockerfile.path, start.line, "8000"))
        scripts.update(re.findall(r"(\S+)\.py\b", said))
    if found:
        return found
    for source in project.sources:
        stem = source.path.rpartition("/")[2].removesuffix(".py")
        for call, name in source.calls():
            serves = name == "uvicorn.run" or (name.endswith(".run") and "flask" in source.imports.get("Flask", ""))
            port_given = constant(keyword(call, "port"))
            if (
                serves
                and isinstance(port_given, int)
                and (not scripts or stem in {each.rpartition("/")[2] for each in scripts})
            ):
                found.append((source.path, source.at(call), str(port_given)))
    return found


def expected(project: Project) -> list[tuple[str, int, str]]:
    """Where others think that it listens."""
    found: list[tuple[str, int, str]] = []
    for dockerfile in project.dockerfiles:
        found.extend(
            (dockerfile.path, one.line, port.partition("/")[0])
            for one in dockerfile.of("EXPOSE")
            for port in one.rest.split()
        )
    built = built_images(project)
    for document, container in all_containers(project):
        if not ours(project, container, built):
            continue
        if document.is_compose:
            for port in items(container.node.get("ports")):
                if isinstance(port, str):
                    found.append((document.path, line_of(port), port.split("/")[0].rpartition(":")[2]))
        else:
            for port in items(container.node.get("ports")):
                if dig(port, "containerPort"):
                    found.append((document.path, line_of(dig(port, "containerPort")), str(dig(port, "containerPort"))))
    for command in project.commands:
        if re.match(r"(sudo )?docker run\b", command.text):
            found.extend(
                (command.file, command.line, port)
                for port in re.findall(r"-[a-z]*p[ =]?(?:[\d.]+:)?\d+:(\d+)", command.text)
            )
    return found


def built_images(project: Project) -> dict[str, tuple[str, int]]:
    """The images that commands build: name without a tag to file and line."""
    found: dict[str, tuple[str, int]] = {}
    for command in project.commands:
        if re.search(r"\b(docker|buildah|podman)\b.*\bbuild\b", command.text):
            for name in re.findall(r"(?:-t|--tag)[ =](\S+)", command.text):
                found.setdefault(bare(name), (command.file, command.line))
    return found


def bare(image: str) -> str:
    """A name without its tag and digest."""
    image = image.partition("@")[0]
    head, slash, last = image.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def ours(project: Project, container: Container, built: dict[str, tuple[str, int]]) -> bool:
    """Whether a container runs the project's own image, as far as the files tell."""
    if "build" in container.node:
        return True
    last = bare(container.image).rpartition("/")[2]
    if container.image.isupper() or any(name.rpartition("/")[2] == last for name in built):
        return True
    if not project.dockerfiles:
        return False
    official = "/" not in container.image
    return not official and not re.match(r"(docker\.io/library|quay\.io|registry\.k8s\.io|ghcr\.io)/", container.image)


@rule(
    "broken",
    consequence="nothing answers on the port that others call",
    fix="use one port in the service, the Dockerfile, docker run and the manifests",
    source="https://kubernetes.io/docs/concepts/services-networking/service/#field-spec-ports",
)
def ports_differ(project: Project) -> Iterator[Place]:
    """the service listens on one port, and everything else calls another"""
    listens, wanted = listening(project), expected(project)
    ports = {port for *_, port in listens}
    if not ports or not wanted or ports & {port for *_, port in wanted}:
        return
    others = ", ".join(f"{port} in {file}" for file, port in dict.fromkeys((file, port) for file, _, port in wanted))
    for file, line, port in listens:
        yield Place(file, line, f"{port} here, {others}")


@rule(
    "broken",
    consequence="the cluster cannot pull it: ImagePullBackOff",
    fix="build and push one name: docker build -t REGISTRY/NAME:TAG . && docker push REGISTRY/NAME:TAG",
    source="https://kubernetes.io/docs/concepts/containers/images/",
)
def image_never_pushed(project: Project) -> Iterator[Place]:
    """the image that is deployed is built under another name, and never pushed"""
    pushed = " ".join(
        command.text for command in project.commands if re.search(r"\b(push|tag|image load|kind load)\b", command.text)
    )
    for name, (file, line) in built_images(project).items():
        last = name.rpartition("/")[2]
        for document, container in all_containers(project):
            image = bare(container.image)
            if document.kind and image != name and image.rpartition("/")[2] == last and last not in pushed:
                yield Place(file, line, f"builds {name}; {document.path} deploys {container.image}")


@rule(
    "broken",
    consequence="Container Registry was shut on 2025-03-18: such a name works only where Artifact Registry hosts it",
    fix="use Artifact Registry: LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/NAME",
    source="https://cloud.google.com/artifact-registry/docs/transition/prepare-gcr-shutdown",
)
def container_registry_gone(project: Project) -> Iterator[Place]:
    """an image has a name in Google's Container Registry"""
    lines: list[tuple[str, int, str]] = [
        (one.path, each.line, each.rest) for one in project.dockerfiles for each in one.of("FROM")
    ]
    lines += [(command.file, command.line, command.text) for command in project.commands]
    lines += [
        (document.path, line_of(value, holder.line), value)
        for document in project.documents
        for holder, _, value in walk(document.root)
        if isinstance(value, str)
    ]
    seen: set[tuple[str, int]] = set()
    for file, line, text in lines:
        found = GCR.search(text)
        if found and not PUBLIC_GCR.match(found[1]) and (file, line) not in seen:
            seen.add((file, line))
            yield Place(file, line, found[1][:80])


@rule(
    "misleading",
    consequence="who changes it changes nothing, and believes otherwise",
    fix="read it in the service, or take it out",
    source="https://12factor.net/config",
)
def environment_not_read(project: Project) -> Iterator[Place]:
    """a key of the environment that nothing reads"""
    if not project.serves:
        return
    code = "\n".join(
        text.text for text in project.texts if not text.name.lower().endswith((".md", ".yaml", ".yml", ".txt", ".toml"))
    )
    read = set(re.findall(r"[A-Z][A-Z0-9_]{2,}", code))
    built = built_images(project)
    for document in project.documents:
        given = [
            (key, line)
            for container in containers(document)
            if ours(project, container, built)
            for key, _, line in environment(container)
        ]
        if document.kind == "ConfigMap":
            given += [(key, line_of(value)) for key, value in (dig(document.root, "data") or {}).items()]
        for key, line in given:
            if re.fullmatch(r"[A-Z][A-Z0-9_]+", key) and key not in read and not OTHERS_READ.match(key):
                near = difflib.get_close_matches(key, read, n=1, cutoff=0.7)
                yield Place(document.path, line, key + (f"; the service reads {near[0]}" if near else ""))


@rule(
    "broken",
    consequence="compose ignores it and warns at every call",
    fix="take the line out",
    source="https://docs.docker.com/reference/compose-file/version-and-name/",
)
def compose_version(project: Project) -> Iterator[Place]:
    """the compose file has a version"""
    for document in project.documents:
        if document.is_compose and "version" in document.root:
            line = document.root.at["version"]
            yield Place(
                document.path, line, f"version: {document.root['version']}", Edit(document.path, line, line, ())
            )


def published(project: Project) -> Iterator[tuple[str, int, str]]:
    """The ports of the desk that are taken, by compose and by docker run."""
    for document in project.documents:
        for container in containers(document) if document.is_compose else []:
            for port in items(container.node.get("ports")):
                parts = str(port).split("/")[0].split(":")
                if isinstance(port, str) and len(parts) > 1:
                    yield document.path, line_of(port), parts[-2]
    for command in project.commands:
        if re.match(r"(sudo )?docker run\b|kubectl port-forward\b", command.text):
            for port in re.findall(r"(?:^|\s)(?:-[a-z]*p[ =]?)?(?:[\d.]+:)?(\d{2,5}):\d{2,5}(?=\s|$)", command.text):
                yield command.file, command.line, port


@rule(
    "broken",
    consequence="on macOS 12 and later AirPlay answers there: the service cannot bind, or 403 comes from the system",
    fix="publish another port: -p 8080:5000",
    source="https://developer.apple.com/forums/thread/682332",
)
def port_of_airplay(project: Project) -> Iterator[Place]:
    """port 5000 of the desk is taken, and on a Mac it is AirPlay's"""
    for file, line, port in published(project):
        if port == "5000":
            yield Place(file, line)


def documents_of_kind(project: Project, kind: str) -> list[Document]:
    return [document for document in project.documents if document.kind == kind]
