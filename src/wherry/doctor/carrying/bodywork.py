"""A bodywork.yaml: the stage that serves becomes settings, the others are named."""

from __future__ import annotations

from wherry.contract.names import object_name
from wherry.doctor.carrying.carried import Carried
from wherry.doctor.documents import Document, dig, items
from wherry.doctor.project import Project


def is_bodywork(document: Document) -> bool:
    root = document.root
    head = dig(root, "pipeline") or dig(root, "project")
    return isinstance(head, dict) and isinstance(dig(root, "stages"), dict)


def read_bodywork(project: Project, carried: Carried) -> None:
    for document in project.documents:
        if not is_bodywork(document):
            continue
        carried.found.append(document.path)
        stages = dig(document.root, "stages")
        name = dig(document.root, "pipeline", "name") or dig(document.root, "project", "name")
        if name:
            carried.set("deploy.name", object_name(str(name)))
        for stage, node in stages.items():
            where, module = f"{document.path}:{stages.at[stage]}: ", dig(node, "executable_module_path")
            if dig(node, "service") is None:
                carried.lose(f"{where}the stage {stage}, which runs {module or 'a job'}; run it before pack")
                continue
            read_service(node, where, carried)
            carried.lose(f"{where}{module or stage}: `wherry serve` takes its place")
            needed = ", ".join(str(each) for each in items(dig(node, "requirements")))
            if needed:
                carried.lose(f"{where}requirements {needed}: the bundle says what it needs")


def read_service(node: object, where: str, carried: Carried) -> None:
    port, replicas = str(dig(node, "service", "port") or ""), str(dig(node, "service", "replicas") or "")
    if port.isdigit():
        carried.set("serve.port", int(port))
        carried.set("deploy.service.port", int(port))
    if replicas.isdigit():
        carried.set("deploy.replicas", int(replicas))
    cpu, memory = str(dig(node, "cpu_request") or ""), str(dig(node, "memory_request_mb") or "")
    if cpu.replace(".", "", 1).isdigit():
        carried.set("deploy.resources.cpu", f"{round(float(cpu) * 1000)}m")
    if memory.isdigit():
        carried.set("deploy.resources.memory", f"{memory}Mi")
    if str(dig(node, "service", "ingress")) == "true":
        carried.lose(f'{where}ingress; [deploy.service] type = "LoadBalancer" reaches it from outside')
    for secret in items(dig(node, "secrets")) or list(dig(node, "secrets") or {}):
        carried.lose(f"{where}the secret {secret}")
