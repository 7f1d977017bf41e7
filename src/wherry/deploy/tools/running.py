"""A plan's commands run one after the other, each told before it runs."""

from __future__ import annotations

from pathlib import Path

from wherry.contract.events import Note, Tell, silent
from wherry.deploy import programs
from wherry.deploy.tools.desktop import DockerDesktop
from wherry.deploy.tools.gke import Gke
from wherry.deploy.tools.kind import Kind
from wherry.deploy.tools.minikube import Minikube
from wherry.deploy.tools.plan import Command, Plan, Tool
from wherry.errors import ToolFailed, ToolMissing

TOOLS: dict[str, Tool] = {
    "minikube": Minikube(),
    "kind": Kind(),
    "docker-desktop": DockerDesktop(),
    "gke": Gke(),
}
INSTALL = {
    "minikube": "https://minikube.sigs.k8s.io/docs/start",
    "kind": "https://kind.sigs.k8s.io/docs/user/quick-start",
    "gcloud": "https://cloud.google.com/sdk/docs/install",
    "kubectl": "https://kubernetes.io/docs/tasks/tools",
}


def carry_out(plan: Plan, tell: Tell = silent) -> None:
    """Write the plan's files and run its commands; a failed one that must succeed ends it.

    Raises ToolMissing before anything is run, ToolFailed.
    """
    missing = [word for word in dict.fromkeys(each.words[0] for each in plan.commands) if not programs.present(word)]
    if missing:
        raise ToolMissing(missing[0], INSTALL.get(missing[0], ""))
    for path, text in plan.files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    for place, command in enumerate(plan.commands):
        run(command, tell, tuple(str(each) for each in plan.commands[place + 1 :]))


def run(command: Command, tell: Tell = silent, left: tuple[str, ...] = ()) -> None:
    """One command with its output told. left: what would come after it. Raises ToolFailed where it must succeed."""
    tell(Note(f"+ {command}"))
    ran = programs.run(command.words, source=command.words[0], tell=tell)
    if ran.status and command.must:
        raise ToolFailed(str(command), ran.status, ran.last, left)
    if ran.status:
        tell(Note(f"{command.words[0]} ended with {ran.status}; going on", warn=True))
