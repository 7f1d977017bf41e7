"""The Dockerfile: what it is made from, what it takes in, what it starts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wherry.doctor.dockerfile import Dockerfile, Instruction
from wherry.doctor.project import Project
from wherry.doctor.rule import Edit, Place, rule
from wherry.doctor.rules.containers import all_containers

IGNORE = (".git", ".venv", "venv", "__pycache__", "*.pyc", ".env", ".ipynb_checkpoints", "node_modules")
ENDED = re.compile(
    r"(?P<python>(^|[/ ])python:(2|3\.[0-9])(?![0-9])[\w.-]*)|(?P<mysql>(^|/)mysql:5\.[\w.-]*)"
    r"|(?P<debian>(^|/)debian:(jessie|stretch|buster|8|9|10)\b[\w.-]*)|(?P<ubuntu>(^|/)ubuntu:(14|16|18)\.04)"
    r"|(?P<postgres>(^|/)postgres:(9|10|11|12)\b[\w.-]*)|(?P<node>(^|/)node:(8|10|12|14|16|18)\b[\w.-]*)"
)
PLAIN_WORD = re.compile(r"[\w./:=@,+-]+")


@rule(
    "dangerous",
    consequence="the repository's history, data and secrets are in the image, for whoever pulls it",
    fix="write a .dockerignore, or copy by name",
    source="https://docs.docker.com/build/concepts/context/#dockerignore-files",
)
def everything_copied(project: Project) -> Iterator[Place]:
    """the whole folder is copied into the image, and there is no .dockerignore"""
    there = {text.path for text in project.texts}
    for dockerfile in project.dockerfiles:
        prefix = f"{dockerfile.folder}/" if dockerfile.folder else ""
        if {".dockerignore", f"{prefix}.dockerignore", f"{dockerfile.path}.dockerignore"} & there:
            continue
        for one in dockerfile.of("COPY", "ADD"):
            words = [word for word in one.words if not word.startswith("--")]
            if words[:1] in (["."], ["./"]) and "--from" not in one.rest:
                yield Place(
                    dockerfile.path, one.line, f"{one.word} {one.rest}", Edit(f"{prefix}.dockerignore", 1, 0, IGNORE)
                )


@rule(
    "broken",
    consequence="nobody mends its holes any more, and wheels for it grow rare",
    fix="take one that is maintained, and pin it: python:3.12-slim, mysql:8.4",
    source="https://endoflife.date",
)
def end_of_life(project: Project) -> Iterator[Place]:
    """a release is past its end of life"""
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("FROM"):
            if ENDED.search(one.rest.split()[0]):
                yield Place(dockerfile.path, one.line, one.rest.split()[0])
    for document, container in all_containers(project):
        if ENDED.search(container.image):
            yield Place(document.path, getattr(container.node.get("image"), "line", container.line), container.image)
    for command in project.commands:
        if found := re.search(
            r"\b(?:conda create\b.*|pyenv install )\b(?:python=)?((?:2|3)\.[0-9])(?![0-9])", command.text
        ):
            yield Place(command.file, command.line, f"Python {found[1]}")


@rule(
    "broken",
    consequence="apt-get update fails: the release was moved to archive.debian.org",
    fix="take an image of a release that is on the mirrors: -bookworm, or no release at all (-slim)",
    source="https://www.debian.org/releases/",
)
def debian_gone(project: Project) -> Iterator[Place]:
    """the image's Debian left the mirrors"""
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("FROM"):
            if re.search(r"[-:](buster|stretch|jessie)\b", one.rest):
                yield Place(dockerfile.path, one.line, one.rest.split()[0])


@rule(
    "misleading",
    consequence="it answers one request well, and has no limits, no time-outs and no graceful stop",
    fix='start gunicorn or uvicorn: CMD ["gunicorn", "--bind", ":8080", "app:app"]',
    source="https://flask.palletsprojects.com/en/stable/deploying/",
)
def development_server(project: Project) -> Iterator[Place]:
    """the image starts the development server"""
    for dockerfile in project.dockerfiles:
        start = dockerfile.start
        if start is None:
            continue
        said = " ".join(start.words)
        if re.search(r"\bflask\b.*\brun\b|manage\.py runserver", said) or starts_flask(project, said):
            yield Place(dockerfile.path, start.line, f"{start.word} {start.rest}")


def starts_flask(project: Project, said: str) -> bool:
    """Whether a command runs a module that calls app.run() of Flask."""
    script = re.search(r"\bpython[\d.]*\s+(?:-u\s+)?(\S+\.py)\b", said)
    if not script:
        return False
    name = script[1].rpartition("/")[2]
    return any(
        source.path.rpartition("/")[2] == name
        and "flask" in source.text
        and any(called.endswith(".run") and called != "uvicorn.run" for _, called in source.calls())
        for source in project.sources
    )


@rule(
    "misleading",
    consequence="the image gets other versions than those that were tested",
    fix="pipenv install --deploy fails when the lock is stale",
    source="https://pipenv.pypa.io/en/latest/cli.html#install",
)
def pipenv_relocks(project: Project) -> Iterator[Place]:
    """pipenv install locks again when its lock is stale"""
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("RUN"):
            if re.search(r"\bpipenv install\b(?!.*--(deploy|ignore-pipfile))(?!\s+[a-z])", one.rest):
                text = dockerfile.lines[one.line - 1]
                edit = Edit(
                    dockerfile.path, one.line, one.line, (text.replace("pipenv install", "pipenv install --deploy", 1),)
                )
                yield Place(dockerfile.path, one.line, one.rest, edit if one.line == one.last else None)


@rule(
    "misleading",
    consequence="who believes it looks for apk and musl; slim images are Debian without documentation",
    fix="say Debian; an image of Alpine has -alpine in its name",
    source="https://hub.docker.com/_/python",
)
def slim_called_alpine(project: Project) -> Iterator[Place]:
    """a slim image is taken for Alpine"""
    for text in project.named(".md", ".markdown"):
        for number, line in enumerate(text.lines, 1):
            if re.search(r":[\w.]+-slim\b[^.]*\bAlpine\b(?! image)", line) and "not Alpine" not in line:
                yield Place(text.path, number)
    for dockerfile in project.dockerfiles:
        if "slim" in dockerfile.image:
            for one in dockerfile.of("RUN"):
                if re.search(r"\bapk add\b", one.rest):
                    yield Place(dockerfile.path, one.line, one.rest[:100])


@rule(
    "misleading",
    consequence="every build may get another pip, and with it another resolution",
    fix="name the version, or leave the one that the image has",
    source="https://docs.docker.com/build/building/best-practices/#pin-base-image-versions",
)
def pip_upgraded(project: Project) -> Iterator[Place]:
    """the image upgrades pip to whatever is newest"""
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("RUN"):
            if re.search(r"\bpip[\d.]* install\b.*(--upgrade|-U)\b(\s+\S+)*\s+pip(\s|$)", one.rest):
                yield Place(dockerfile.path, one.line, one.rest)


@rule(
    "misleading",
    consequence="each holds a copy of the model; 2 * cores + 1 is for workers that wait, not for those that compute",
    fix="as many workers as cores, threads for more, and --preload to share what can be shared",
    source="https://docs.gunicorn.org/en/stable/design.html#how-many-workers",
)
def workers_with_copies(project: Project) -> Iterator[Place]:
    """many workers, each with a copy of the model"""
    for dockerfile in project.dockerfiles:
        start = dockerfile.start
        if start is None or not project.serves:
            continue
        found = re.search(r"(?:--workers|-w)[ =](\d+)", " ".join(start.words))
        if found and int(found[1]) > 3 and "--preload" not in start.words:
            yield Place(dockerfile.path, start.line, f"{found[1]} workers")


@rule(
    "misleading",
    consequence="a shell is process 1 and keeps SIGTERM to itself: a stop takes the whole grace period",
    fix='write it as a list: CMD ["gunicorn", "app:app"]',
    source="https://docs.docker.com/reference/dockerfile/#shell-and-exec-form",
)
def shell_form(project: Project) -> Iterator[Place]:
    """the entry point is in shell form"""
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("CMD", "ENTRYPOINT"):
            if one.argv is None and not one.rest.startswith("exec "):
                yield Place(dockerfile.path, one.line, f"{one.word} {one.rest}", as_list(dockerfile, one))


def as_list(dockerfile: Dockerfile, one: Instruction) -> Edit | None:
    """The same as a list, where a shell would have changed nothing in it."""
    words = one.rest.split()
    if one.line != one.last or not all(PLAIN_WORD.fullmatch(word) for word in words) or "=" in words[0]:
        return None
    text = dockerfile.lines[one.line - 1]
    listed = ", ".join(f'"{word}"' for word in words)
    return Edit(dockerfile.path, one.line, one.line, (text.replace(one.rest, f"[{listed}]", 1),))


@rule(
    "misleading",
    consequence="what runs changes without a release, and nobody can say what ran before",
    fix="name a version, or better a digest",
    source="https://kubernetes.io/docs/concepts/containers/images/#image-names",
)
def latest_tag(project: Project) -> Iterator[Place]:
    """an image is taken without a version"""
    for dockerfile in project.dockerfiles:
        stages = {each.rest.split()[-1] for each in dockerfile.of("FROM") if " as " in each.rest.lower()}
        for one in dockerfile.of("FROM"):
            words = [word for word in one.rest.split() if not word.startswith("--")]
            name = words[0] if words else ""
            if unversioned(name) and name not in stages and name != "scratch":
                yield Place(dockerfile.path, one.line, name)
    for document, container in all_containers(project):
        if unversioned(container.image) and "build" not in container.node:
            yield Place(document.path, getattr(container.node.get("image"), "line", container.line), container.image)
    for command in project.commands:
        found = re.search(r"kubectl (?:create deployment|run)\b.*--image[= ](\S+)", command.text)
        if found and unversioned(found[1]) and "--dry-run" not in command.text:
            yield Place(command.file, command.line, found[1])


def unversioned(image: str) -> bool:
    """Whether a name says no version. A placeholder says nothing."""
    if not image or image.isupper() or "@" in image or "$" in image or "<" in image:
        return False
    last = image.rpartition("/")[2]
    return ":" not in last or last.endswith(":latest")
