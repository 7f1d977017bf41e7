"""What somebody types, on a desk: tools that are gone, downloads that nobody checks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wherry.doctor.commands import Command
from wherry.doctor.project import Project
from wherry.doctor.rule import Edit, Place, rule

BINARY = re.compile(
    r"\b(curl|wget)\b.*https?://\S*(releases?/download|\.(tar\.gz|tgz|zip|deb|rpm|sh|bin)\b|-(linux|darwin|amd64)\b)"
)
CHECKS = re.compile(r"\b(sha\d+sum|shasum|gpg --verify|cosign verify|openssl dgst|--checksum)\b")


def replaced(project: Project, command: Command, old: str, new: str) -> Edit | None:
    """The command's line with `old` as `new`, where it is there once and in one line."""
    text = next(text for text in project.texts if text.path == command.file)
    line = text.lines[command.line - 1]
    if command.line != command.last or len(re.findall(old, line)) != 1 or command.place == "notebook":
        return None
    return Edit(command.file, command.line, command.line, (re.sub(old, new, line),))


@rule(
    "broken",
    consequence="Homebrew removed the command: it fails",
    fix="brew install --cask",
    source="https://docs.brew.sh/Cask-Cookbook",
)
def brew_cask(project: Project) -> Iterator[Place]:
    """`brew cask` is gone"""
    for command in project.commands:
        if re.search(r"\bbrew cask install\b", command.text):
            edit = replaced(project, command, r"\bbrew cask install\b", "brew install --cask")
            yield Place(command.file, command.line, command.text[:100], edit)


@rule(
    "broken",
    consequence="minikube warns today, and drops the flag some day",
    fix="--driver",
    source="https://minikube.sigs.k8s.io/docs/drivers/",
)
def vm_driver(project: Project) -> Iterator[Place]:
    """minikube's --vm-driver is deprecated"""
    for command in project.commands:
        if re.search(r"\bminikube\b.*--vm-driver\b", command.text):
            edit = replaced(project, command, r"--vm-driver\b", "--driver")
            yield Place(command.file, command.line, command.text[:100], edit)


@rule(
    "broken",
    consequence="Compose V1 had its last release in 2021 and is in no current Docker",
    fix="docker compose",
    source="https://docs.docker.com/compose/releases/migrate/",
)
def docker_compose_v1(project: Project) -> Iterator[Place]:
    """`docker-compose` is gone"""
    for command in project.commands:
        if re.match(
            r"(sudo )?docker-compose\s+(up|down|build|run|logs|ps|exec|pull|push|stop|start|restart|config)\b",
            command.text,
        ):
            edit = replaced(project, command, r"\bdocker-compose(?=\s+[a-z])", "docker compose")
            yield Place(command.file, command.line, command.text[:100], edit)


@rule(
    "dangerous",
    consequence="whoever can change it on the way, or on the server, runs code on your machine, with sudo as root",
    fix="check its sha-256 against the one that its release notes state, before it is made executable",
    source="https://slsa.dev/",
)
def unchecked_download(project: Project) -> Iterator[Place]:
    """a program is downloaded, and nobody checks its checksum"""
    for command in project.commands:
        if re.search(r"\b(curl|wget)\b[^|]*\|\s*(sudo )?(ba|z)?sh\b", command.text):
            yield Place(command.file, command.line, command.text[:100])
            continue
        if not BINARY.search(command.text) or CHECKS.search(command.text):
            continue
        behind = [
            each
            for each in project.commands
            if each.file == command.file and command.line <= each.line <= command.line + 12
        ]
        used = any(
            re.search(r"\bchmod \+?[0-7x]|\bsudo (mv|install|cp)\b|\btar x|\bdpkg -i", each.text) for each in behind
        )
        if used and not any(CHECKS.search(each.text) for each in behind):
            yield Place(command.file, command.line, command.text[:100])
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("ADD"):
            if re.search(r"https?://", one.rest) and "--checksum" not in one.rest:
                yield Place(dockerfile.path, one.line, one.rest[:100])


@rule(
    "dangerous",
    consequence="0.0.0.0 is every interface: what is thought to be seen here alone is seen by the whole network",
    fix="listen on 127.0.0.1 for this machine alone, and call localhost",
    source="https://www.rfc-editor.org/rfc/rfc1122#section-3.2.1.3",
)
def everywhere_called_localhost(project: Project) -> Iterator[Place]:
    """0.0.0.0 is taken for localhost"""
    for text in project.texts:
        if text.name.lower().endswith((".md", ".markdown", ".py")):
            for number, line in enumerate(text.lines, 1):
                prose = "#" in line or not text.name.endswith(".py")
                if prose and re.search(
                    r"0\.0\.0\.0[`'\"]?\s*\((i\.e\. )?localhost\)|localhost\s*\([`'\"]?0\.0\.0\.0", line
                ):
                    yield Place(text.path, number)
    for command in project.commands:
        if re.search(r"\b(curl|wget|http)\b.*\b0\.0\.0\.0:\d+", command.text):
            edit = None
            yield Place(command.file, command.line, re.sub(r"^.*?(\S*0\.0\.0\.0\S*).*$", r"\1", command.text), edit)


@rule(
    "broken",
    consequence="the second release finds no placeholder any more, and changes nothing",
    fix="keep the placeholder: sed 's|IMAGE|...|' file.yaml | kubectl apply -f -; or kustomize edit set image",
    source="https://kubernetes.io/docs/tasks/manage-kubernetes-objects/kustomization/#customizing",
)
def placeholder_consumed(project: Project) -> Iterator[Place]:
    """sed replaces its own placeholder in the file"""
    for command in project.commands:
        in_place = re.search(r"\bsed\b(?=.*\s-i)(?=.*\.ya?ml).*\bs(.)[A-Z_<{}>]{3,}\1", command.text)
        if in_place:
            yield Place(command.file, command.line, command.text[:100])


@rule(
    "broken",
    consequence="at first the column says <pending>, and the script goes on with that",
    fix="kubectl get svc NAME -o jsonpath='{.status.loadBalancer.ingress[0].ip}', after kubectl wait",
    source="https://kubernetes.io/docs/reference/kubectl/jsonpath/",
)
def column_of_a_table(project: Project) -> Iterator[Place]:
    """an address is cut out of kubectl's table"""
    for command in project.commands:
        if re.search(r"kubectl get (svc|services?)\b.*\|\s*(awk|cut)\b", command.text):
            yield Place(command.file, command.line, command.text[:100])


@rule(
    "broken",
    consequence="its address stays <pending>: minikube gives none by itself",
    fix="minikube tunnel in a second terminal, or minikube service NAME",
    source="https://minikube.sigs.k8s.io/docs/handbook/accessing/#loadbalancer-access",
)
def load_balancer_on_minikube(project: Project) -> Iterator[Place]:
    """a LoadBalancer on minikube, and no tunnel"""
    texts = [command.text for command in project.commands]
    if not any(re.match(r"minikube start\b", text) for text in texts) or any(
        "minikube tunnel" in text for text in texts
    ):
        return
    for command in project.commands:
        if re.search(r"kubectl expose\b.*--type[= ]LoadBalancer", command.text):
            yield Place(command.file, command.line, command.text[:100])
    for document in project.documents:
        root = document.root
        if document.kind == "Service" and (root.get("spec") or {}).get("type") == "LoadBalancer":
            yield Place(document.path, root["spec"].at["type"], document.name)
