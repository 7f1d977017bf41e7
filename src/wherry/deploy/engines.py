"""Engines of this machine that take an image from a file: Docker, containerd, and the clusters of kind and minikube."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

import msgspec

from wherry.contract.events import Step, Tell, silent
from wherry.deploy.build_failures import failed
from wherry.deploy.programs import present, run
from wherry.errors import BuildFailed, EngineUnknown
from wherry.release.reference import Reference

Kind: TypeAlias = Literal["docker", "containerd", "kind", "minikube"]
# Where the nodes of Kubernetes look for images.
NAMESPACE = "k8s.io"


class Engine(msgspec.Struct, frozen=True):
    """Something that runs images. name: of the cluster, where there can be several; empty for the default one."""

    kind: Kind
    name: str = ""

    @staticmethod
    def parse(text: str) -> Engine:
        """docker, containerd, kind, kind:CLUSTER, minikube or minikube:PROFILE. Raises EngineUnknown."""
        kind, _, name = text.partition(":")
        if kind not in get_args(Kind) or (name and kind not in ("kind", "minikube")):
            raise EngineUnknown(text)
        return Engine(cast(Kind, kind), name)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def taking(self, file: Path) -> list[str]:
        """The command that puts the images of the file among the engine's own."""
        if self.kind == "docker":
            return ["docker", "load", "--input", str(file)]
        if self.kind == "containerd":
            return ["ctr", "--namespace", NAMESPACE, "images", "import", str(file)]
        if self.kind == "kind":
            return ["kind", "load", "image-archive", str(file), *(["--name", self.name] if self.name else [])]
        return ["minikube", *(["--profile", self.name] if self.name else []), "image", "load", str(file)]


def load(engine: Engine, file: Path, reference: Reference, base: str, tell: Tell = silent) -> None:
    """Put the image of the file among the engine's own. Raises BuildFailed and its kinds, DiskFull."""
    program, *_ = command = engine.taking(file)
    if not present(program):
        hint = f"install {program}, or --output FILE and load that where it is"
        raise BuildFailed(f"the {program} command, which loads images into {engine}, is not installed", hint=hint)
    text = f"loading {reference} into {engine}"
    started = time.monotonic()
    tell(Step(text))
    ran = run(command, source=engine.kind, tell=tell)
    if ran.status != 0:
        raise failed(engine.kind, base, reference.host, ran)
    tell(Step(text, time.monotonic() - started))
